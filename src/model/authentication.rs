//! Request authentication: whose tokens are believed.
//!
//! Semantics (Istio RequestAuthentication): a token at a rule's places that is not valid is refused; without a token a
//! request passes, and policies decide. The claims of a valid token are what policies compare.

use crate::ObjectKey;
use std::sync::Arc;

/// What one RequestAuthentication asks of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Authentication {
    /// The RequestAuthentication.
    pub key: ObjectKey,
    /// Its rules, in their order.
    pub rules: Vec<JwtRule>,
}

/// An issuer, its keys, and where its tokens are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JwtRule {
    /// Its place in the object.
    pub index: u32,
    /// `iss` of its tokens.
    pub issuer: Arc<str>,
    /// Any of these must be in `aud`; empty is any.
    pub audiences: Vec<Arc<str>>,
    /// Public keys as a JSON Web Key Set that has only keys which both data planes can use. Without any no token is valid.
    pub keys: Arc<str>,
    /// Header and what stands before the token.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// Query parameters.
    pub parameters: Vec<Arc<str>>,
    /// Cookies.
    pub cookies: Vec<Arc<str>>,
    /// The header towards the backend that gets the payload.
    pub payload_header: Option<Arc<str>>,
    /// Headers towards the backend that get claims: header and claim, in which a dot leads further in.
    pub claim_headers: Vec<(Arc<str>, Arc<str>)>,
    /// Whether the backend gets the token.
    pub forward: bool,
    /// Claims that are lists, separated by blanks.
    pub space_delimited: Vec<Arc<str>>,
    /// Whether there must be a token.
    pub required: bool,
}
