//! Whose a token is, by the API server's TokenReview.

use super::Cluster;
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ca::{AUDIENCE, MAX_TOKEN, TokenError, TokenVerifier};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, api::PostParams};
use model::{Identity, TrustDomain};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::Semaphore;

/// How long an answer is believed: a token that was revoked is good for so long.
const BELIEVED: Duration = Duration::from_secs(10);
/// How many answers are kept.
const MOST: usize = 4_096;
/// How many questions are asked at once; more wait.
const AT_ONCE: usize = 16;
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);

type Digest = [u8; 32];
type Verdict = Result<Identity, TokenError>;

/// Asks the API server.
pub struct Reviewer {
    api: Api<TokenReview>,
    trust_domain: TrustDomain,
    answers: Mutex<HashMap<Digest, (Instant, Verdict)>>,
    room: Semaphore,
}

impl Reviewer {
    /// For tokens of a cluster.
    pub fn new(cluster: &Cluster, trust_domain: TrustDomain) -> Self {
        let api = Api::all(cluster.client.clone());
        Self { api, trust_domain, answers: Mutex::default(), room: Semaphore::new(AT_ONCE) }
    }

    fn known(&self, digest: &Digest) -> Option<Verdict> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, verdict) = answers.get(digest)?;
        (Instant::now() < *until).then(|| verdict.clone())
    }

    fn remember(&self, digest: Digest, verdict: &Verdict) {
        let (now, mut answers) = (Instant::now(), self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        if answers.len() >= MOST {
            answers.retain(|_, (until, _)| now < *until);
        }
        // Whoever fills it with tokens that are none loses nothing for others but a second question.
        if answers.len() < MOST {
            answers.insert(digest, (now + BELIEVED, verdict.clone()));
        }
    }

    async fn ask(&self, token: &str) -> Verdict {
        let unavailable = |error: &dyn std::fmt::Display| TokenError::Unavailable(error.to_string());
        let _permit = self.room.acquire().await.map_err(|error| unavailable(&error))?;
        let spec = TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: token.to_owned() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let parameters = PostParams::default();
        let answer = tokio::time::timeout(PATIENCE, self.api.create(&parameters, &review)).await;
        let answer = answer.map_err(|error| unavailable(&error))?.map_err(|error| unavailable(&error))?;
        self.read(answer.status.unwrap_or_default())
    }

    fn read(&self, status: TokenReviewStatus) -> Verdict {
        if !status.authenticated.unwrap_or_default() {
            tracing::debug!(error = status.error, "the API server doesn't know a token");
            return Err(TokenError::Forged);
        }
        // An API server that doesn't know audiences names none.
        let audiences = status.audiences.unwrap_or_default();
        if !audiences.iter().any(|audience| audience == AUDIENCE) {
            return Err(TokenError::Audience(audiences.join(", ")));
        }
        let name = status.user.and_then(|user| user.username).unwrap_or_default();
        let account = name.strip_prefix("system:serviceaccount:").and_then(|name| name.split_once(':'));
        let (namespace, service_account) = account.ok_or(TokenError::Malformed)?;
        Ok(Identity {
            trust_domain: self.trust_domain.clone(),
            namespace: namespace.into(),
            service_account: service_account.into(),
        })
    }
}

#[tonic::async_trait]
impl TokenVerifier for Reviewer {
    async fn verify(&self, token: &str, _now: SystemTime) -> Result<Identity, TokenError> {
        look(token)?;
        let mut hash = Digest::default();
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        if let Some(verdict) = self.known(&hash) {
            return verdict;
        }
        let verdict = self.ask(token).await;
        // That nobody could be asked is no answer.
        if !matches!(verdict, Err(TokenError::Unavailable(_))) {
            self.remember(hash, &verdict);
        }
        verdict
    }
}

/// Refuses what can't be a token of a service account for us, so that strangers don't make us ask the API server. What it
/// says is believed in nothing else.
fn look(token: &str) -> Result<(), TokenError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenError::Malformed);
    }
    let [_, claims, _] = *token.split('.').collect::<Vec<_>>() else { return Err(TokenError::Malformed) };
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| TokenError::Malformed)?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).map_err(|_| TokenError::Malformed)?;
    if !claims["sub"].as_str().is_some_and(|subject| subject.starts_with("system:serviceaccount:")) {
        return Err(TokenError::Malformed);
    }
    let audience = &claims["aud"];
    let is_ours = |one: &serde_json::Value| one == AUDIENCE;
    match is_ours(audience) || audience.as_array().is_some_and(|all| all.iter().any(is_ours)) {
        true => Ok(()),
        false => Err(TokenError::Audience(audience.to_string().chars().take(200).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn what_can_not_be_a_token_for_us_is_not_asked_about() {
        let sub = r#""sub":"system:serviceaccount:n:a""#;
        assert_eq!(look(&token(&format!(r#"{{"aud":["istio-ca"],{sub}}}"#))), Ok(()));
        assert_eq!(look(&token(&format!(r#"{{"aud":"istio-ca",{sub}}}"#))), Ok(()));
        let other = look(&token(&format!(r#"{{"aud":["vault"],{sub}}}"#)));
        assert_eq!(other, Err(TokenError::Audience(r#"["vault"]"#.into())));
        for garbage in [
            "",
            "..",
            "a.b",
            "a.b.c.d",
            &token("{"),
            &token(r#"{"aud":["istio-ca"],"sub":"admin"}"#),
            &"a".repeat(MAX_TOKEN + 1),
        ] {
            assert_eq!(look(garbage), Err(TokenError::Malformed), "{garbage:.40}");
        }
    }
}
