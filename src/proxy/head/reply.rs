//! The head of a response.

use super::Fields;

/// The head of a response.
#[derive(Debug)]
pub struct Reply {
    /// The code, 100 to 999.
    pub status: u16,
    /// Its fields.
    pub fields: Fields,
}

impl Default for Reply {
    fn default() -> Self {
        Self { status: 200, fields: Fields::default() }
    }
}

impl Reply {
    /// Forgets everything and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.status = 200;
        self.fields.clear();
    }
}
