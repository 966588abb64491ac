//! Finding the first route that matches.

use super::{Headers, Request};
use crate::config::{Route, VirtualHost};

/// Finds the first route that matches.
#[derive(Clone, Debug, Default)]
pub struct RouteIndex;

impl RouteIndex {
    pub(crate) fn new(_routes: &[Route]) -> Self {
        Self
    }
}

impl VirtualHost {
    /// The first route that matches.
    pub fn select<H: Headers + ?Sized>(&self, request: &Request<'_, H>) -> Option<&Route> {
        self.routes.iter().find(|route| route.matches.matches(request))
    }
}
