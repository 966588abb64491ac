//! JSON Web Tokens: who a request is from, by tokens that somebody signed whom the configuration trusts.
//!
//! A token that is there and not valid ends the request; none passes where the configuration says so, and policies
//! decide what may be done without. Keys come with the configuration: nothing is fetched here.

mod keys;
mod locate;
mod token;

pub use keys::Keys;
pub use locate::{Location, Place};
pub use token::{Failure, Token, audience};

use crate::{authz::Metadata, config::Name, head::Head};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustc_hash::FxHashMap;
use serde_json::Value;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Longest token, bytes.
const LONGEST: usize = 16 << 10;
/// Tokens of one provider whose signature is known to be good.
const MOST_KNOWN: usize = 1024;
/// Longest token that is remembered, bytes.
const LONGEST_KNOWN: usize = 4 << 10;
/// Longest path in a challenge, bytes.
const LONGEST_REALM: usize = 256;

/// The filter: what is required of every request.
#[derive(Debug)]
pub struct JwtFilter {
    /// By the index that requirements name.
    pub providers: Box<[Provider]>,
    /// None lets everything through.
    pub requires: Option<Requirement>,
}

/// What is required.
#[derive(Debug)]
pub enum Requirement {
    /// All tokens at a provider's places are valid, and there is one.
    Provider(usize),
    /// One of these.
    Any(Vec<Requirement>),
    /// All of these.
    All(Vec<Requirement>),
    /// No token at the places of these providers.
    Missing(Vec<usize>),
}

/// An issuer of tokens, and what becomes of them.
pub struct Provider {
    /// By which it is known in the configuration.
    pub name: Name,
    /// Who must have issued a token; empty is anybody.
    pub issuer: Name,
    /// For whom a token must be: any of these, in the form that they are compared in. Empty is anybody.
    pub audiences: Box<[Name]>,
    /// Its keys.
    pub keys: Keys,
    /// Where its tokens are.
    pub places: Box<[Place]>,
    /// Whether the backend gets the token.
    pub forward: bool,
    /// The header that gets the payload.
    pub payload_header: Option<Name>,
    /// Whether that is padded.
    pub pad_payload: bool,
    /// Headers that get claims: header and path of the claim.
    pub claim_headers: Box<[(Name, Box<[Name]>)]>,
    /// The key under which policies find the claims.
    pub payload_key: Option<Name>,
    /// Claims that are lists, separated by blanks.
    pub space_delimited: Box<[Name]>,
    /// How far clocks may differ, seconds.
    pub clock_skew: u64,
    /// Tokens that were verified.
    pub known: Known,
}

/// Tokens whose signatures were verified, a bounded number. Time and audience are looked at each time.
#[derive(Default)]
pub struct Known(Mutex<FxHashMap<Box<str>, Arc<Token>>>);

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub failure: Failure,
    /// The provider that said so last.
    pub provider: Name,
}

impl JwtFilter {
    /// Verifies the tokens of a request. Headers that stand for claims are ours to write, whoever sent them.
    ///
    /// # Errors
    /// If what is required is not there.
    pub fn check(&self, head: &mut Head, metadata: &mut Metadata, now: SystemTime) -> Result<(), Refusal> {
        for provider in &self.providers {
            let claims = provider.claim_headers.iter().map(|(header, _)| header);
            claims.chain(&provider.payload_header).for_each(|name| head.fields_mut().remove(name));
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.requires.as_ref().map_or(Ok(()), |requirement| self.require(requirement, head, metadata, now))
    }

    fn require(
        &self,
        requirement: &Requirement,
        head: &mut Head,
        metadata: &mut Metadata,
        now: u64,
    ) -> Result<(), Refusal> {
        match requirement {
            Requirement::Provider(index) => self.providers[*index].check(head, metadata, now),
            Requirement::All(all) => all.iter().try_for_each(|one| self.require(one, head, metadata, now)),
            Requirement::Any(any) => {
                let mut last = None;
                for one in any {
                    match (one, self.require(one, head, metadata, now)) {
                        (_, Ok(())) => return Ok(()),
                        // That there is a token says nothing of what is wrong with it.
                        (Requirement::Missing(_), Err(why)) => last = last.or(Some(why)),
                        (_, Err(why)) => last = Some(why),
                    }
                }
                last.map_or(Ok(()), Err)
            }
            Requirement::Missing(providers) => {
                let there = |index: &&usize| !locate::find(&self.providers[**index].places, head).is_empty();
                match providers.iter().find(there) {
                    None => Ok(()),
                    Some(index) => Err(self.providers[*index].refusal(Failure::UnknownIssuer)),
                }
            }
        }
    }
}

impl Provider {
    fn refusal(&self, failure: Failure) -> Refusal {
        Refusal { failure, provider: self.name.clone() }
    }

    /// All tokens at its places must be valid: of two, the backend might believe the other one.
    fn check(&self, head: &mut Head, metadata: &mut Metadata, now: u64) -> Result<(), Refusal> {
        let found = locate::find(&self.places, head);
        if found.is_empty() {
            return Err(self.refusal(Failure::Missing));
        }
        let verified = found.into_iter().rev().map(|(location, text)| {
            let token = self.verify(&text, now).map_err(|failure| self.refusal(failure))?;
            Ok((location, token))
        });
        for (location, token) in verified.collect::<Result<Vec<_>, Refusal>>()? {
            self.accept(head, metadata, &location, &token);
        }
        Ok(())
    }

    fn verify(&self, text: &str, now: u64) -> Result<Arc<Token>, Failure> {
        if text.len() > LONGEST {
            return Err(Failure::Form);
        }
        let known = self.known.get(text);
        let token = match &known {
            Some(token) => token.clone(),
            None => Arc::new(Token::parse(text, &self.space_delimited)?),
        };
        if !self.issuer.is_empty() && token.issuer() != &*self.issuer {
            return Err(Failure::UnknownIssuer);
        }
        token.check_time(now, self.clock_skew)?;
        if !self.audiences.is_empty() && !token.audiences().any(|one| self.audiences.iter().any(|ours| **ours == *one))
        {
            return Err(Failure::Audience);
        }
        if known.is_none() {
            self.keys.verify(&token, text)?;
            self.known.insert(text, &token);
        }
        Ok(token)
    }

    /// What becomes of a valid token.
    fn accept(&self, head: &mut Head, metadata: &mut Metadata, location: &Location, token: &Token) {
        if let Some(name) = &self.payload_header {
            let mut payload = token.payload.to_string();
            while self.pad_payload && !payload.len().is_multiple_of(4) {
                payload.push('=');
            }
            head.fields_mut().append(name, payload.as_bytes());
        }
        for (header, path) in &self.claim_headers {
            if let Some(value) = claim_text(&token.claims, path) {
                head.fields_mut().append(header, value.as_bytes());
            }
        }
        if !self.forward {
            locate::remove(location, head);
        }
        if let Some(key) = &self.payload_key {
            metadata.add_claims(key, &token.claims);
        }
    }
}

/// A claim as a header has it: a text, a number, a truth value, or JSON in base64. A text that would end the header is
/// left out.
fn claim_text(claims: &serde_json::Map<String, Value>, path: &[Name]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let value = rest.iter().try_fold(claims.get(&**first)?, |value, key| value.get(&**key))?;
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.as_u64() {
            Some(number) => number.to_string(),
            None => format!("{:.6}", number.as_f64()?),
        },
        Value::Array(_) | Value::Object(_) => BASE64_STANDARD.encode(value.to_string()),
        Value::Null => return None,
    };
    (!text.is_empty() && !text.bytes().any(|byte| byte.is_ascii_control())).then_some(text)
}

/// The challenge of an answer (RFC 6750).
pub fn challenge(head: &Head, failure: Failure) -> String {
    let path = head.target();
    let path = path.get(..LONGEST_REALM).unwrap_or(path);
    let error = if failure == Failure::Missing { "" } else { ", error=\"invalid_token\"" };
    format!("Bearer realm=\"{}://{}{path}\"{error}", head.scheme(), head.authority())
}

impl Known {
    fn get(&self, text: &str) -> Option<Arc<Token>> {
        if text.len() > LONGEST_KNOWN {
            return None;
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned()
    }

    fn insert(&self, text: &str, token: &Arc<Token>) {
        if text.len() > LONGEST_KNOWN {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(text.into(), token.clone());
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Provider");
        out.field("name", &self.name).field("issuer", &self.issuer).field("audiences", &self.audiences);
        out.field("places", &self.places).field("keys", &self.keys).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
