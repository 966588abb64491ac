//! The head of a response.

use super::Fields;

/// The head of a response, without hop-by-hop fields once it has been checked.
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
