//! Bearer tokens: who verifies them, and the kind that we make ourselves for a machine without a cluster.

use crate::{RootError, plug_in::read_bounded, root_file::write_whole};
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use model::Identity;
use std::{
    fmt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The longest token that is looked at, in bytes. Kubernetes' service account tokens have about 1 KiB.
pub const MAX_TOKEN: usize = 16 * 1024;

/// What a token must be meant for.
pub const AUDIENCE: &str = "istio-ca";

/// Says whose a bearer token is.
#[tonic::async_trait]
pub trait TokenVerifier: Send + Sync + 'static {
    /// The identity that the token proves at `now`.
    async fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, TokenError>;
}

/// Why a token proves nothing. For our log: its bearer learns only that it was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It is no token of this kind.
    Malformed,
    /// We did not make it, or somebody changed it.
    Forged,
    /// It is meant for something else.
    Audience(String),
    /// Its time is over.
    Expired,
    /// Whoever knows can't be asked now.
    Unavailable(String),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the token can't be read"),
            Self::Forged => f.write_str("the token is not one of ours"),
            Self::Audience(seen) => write!(f, "the token is for {seen:?}, wanted {AUDIENCE:?}"),
            Self::Expired => f.write_str("the token has expired"),
            Self::Unavailable(why) => write!(f, "the token can't be verified now: {why}"),
        }
    }
}

impl std::error::Error for TokenError {}

/// Tokens that we made: `<claims>.<tag>`, both in URL-safe Base64. The claims are three lines, audience, identity and
/// the second of expiry since 1970; the tag is their HMAC-SHA256 under a secret that stays in our data directory.
pub struct BootstrapTokens(hmac::Key);

impl BootstrapTokens {
    /// Reads the secret, `token.key` in the directory, or makes one.
    pub fn open(dir: &Path) -> Result<Self, RootError> {
        let path = dir.join("token.key");
        let secret = match read_bounded(&path) {
            Ok(secret) if secret.len() == 32 => secret,
            Ok(secret) => {
                let why = format!("wanted 32 bytes, saw {}: remove it, and a new one is made", secret.len());
                return Err(RootError::Content { path, why });
            }
            Err(RootError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut secret = vec![0; 32];
                aws_lc_rs::rand::fill(&mut secret)
                    .map_err(|_| RootError::Content { path: path.clone(), why: "no random numbers".into() })?;
                std::fs::create_dir_all(dir).map_err(|error| RootError::File { path: dir.to_owned(), error })?;
                write_whole(&path, &secret, 0o600)?;
                secret
            }
            Err(error) => return Err(error),
        };
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// A token for an identity.
    pub fn issue(&self, identity: &Identity, expires: SystemTime) -> String {
        self.seal(AUDIENCE, identity, expires)
    }

    fn seal(&self, audience: &str, identity: &Identity, expires: SystemTime) -> String {
        let expires = expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = format!("{audience}\n{identity}\n{expires}");
        let tag = hmac::sign(&self.0, claims.as_bytes());
        format!("{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whose a token is. The claims are not looked at before the tag is known to be ours.
    pub fn check(&self, token: &str, now: SystemTime) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (claims, tag) = token.split_once('.').ok_or(TokenError::Malformed)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| TokenError::Malformed)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| TokenError::Malformed)?;
        hmac::verify(&self.0, &claims, &tag).map_err(|_| TokenError::Forged)?;
        let claims = std::str::from_utf8(&claims).map_err(|_| TokenError::Malformed)?;
        let [audience, identity, expires] = *claims.split('\n').collect::<Vec<_>>() else {
            return Err(TokenError::Malformed);
        };
        if audience != AUDIENCE {
            return Err(TokenError::Audience(audience.into()));
        }
        let expires =
            UNIX_EPOCH + Duration::from_secs(expires.parse::<u32>().map_err(|_| TokenError::Malformed)?.into());
        if expires <= now {
            return Err(TokenError::Expired);
        }
        identity.parse().map_err(|_| TokenError::Malformed)
    }
}

#[tonic::async_trait]
impl TokenVerifier for BootstrapTokens {
    async fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, TokenError> {
        self.check(token, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_lies_proves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = BootstrapTokens::open(dir.path()).unwrap();
        let web: Identity = "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let end = now + Duration::from_secs(60);
        let token = tokens.issue(&web, end);
        assert_eq!(tokens.check(&token, now), Ok(web.clone()));
        assert_eq!(BootstrapTokens::open(dir.path()).unwrap().check(&token, now), Ok(web.clone()), "after a restart");
        assert_eq!(tokens.check(&token, end), Err(TokenError::Expired));
        assert_eq!(tokens.check(&tokens.seal("vault", &web, end), now), Err(TokenError::Audience("vault".into())));

        let (_, tag) = token.split_once('.').unwrap();
        let lie =
            URL_SAFE_NO_PAD.encode(format!("{AUDIENCE}\nspiffe://cluster.local/ns/kube-system/sa/root\n1800000060"));
        assert_eq!(tokens.check(&format!("{lie}.{tag}"), now), Err(TokenError::Forged));
        let other = BootstrapTokens::open(tempfile::tempdir().unwrap().path()).unwrap();
        assert_eq!(other.check(&token, now), Err(TokenError::Forged));
        for garbage in
            ["", ".", "a.b", "é.é", &token[..token.len() - 1], &format!("{token}="), &"a".repeat(MAX_TOKEN + 1)]
        {
            let seen = tokens.check(garbage, now);
            assert!(matches!(seen, Err(TokenError::Malformed | TokenError::Forged)), "{garbage:.20} {seen:?}");
        }
    }

    #[test]
    fn the_secret_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        drop(BootstrapTokens::open(dir.path()).unwrap());
        let mode = std::fs::metadata(dir.path().join("token.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(dir.path().join("token.key"), "short").unwrap();
        assert!(BootstrapTokens::open(dir.path()).is_err());
    }
}
