//! The data paths of all Gateways in some files.

use super::{Outcome, Request, Verdict};
use crate::offline::World;
use anyhow::{Context, ensure};
use proto::Scope;
use proxy::rehearsal::Rehearsal;
use std::collections::BTreeMap;

/// The data paths of all Gateways in some files.
pub struct Stage<'w> {
    world: &'w World,
    gateways: BTreeMap<Scope, Rehearsal>,
}

impl<'w> Stage<'w> {
    /// Loads what the Gateways' proxies would get.
    ///
    /// # Errors
    /// If there is no Gateway, or a proxy refuses what it would get: that is a bug of ours.
    pub fn new(world: &'w World) -> anyhow::Result<Self> {
        let scopes: std::collections::BTreeSet<&Scope> = world.resources.keys().map(|key| &key.scope).collect();
        ensure!(
            !scopes.is_empty(),
            "{} have no Gateway of ours that serves anything: windlass analyze says what is wrong",
            world.origin
        );
        let mut gateways = BTreeMap::new();
        for scope in scopes {
            let resources = world.resources.iter().filter(|(key, _)| key.scope == *scope);
            let resources = resources.map(|(key, resource)| (key.type_url, &key.name, &**resource));
            let rehearsal = Rehearsal::new(resources).context("the data path can't be started")?;
            if let Some((type_url, refusal)) = rehearsal.refused().first() {
                anyhow::bail!("the proxy refuses {type_url} {}: {} (a bug of ours)", refusal.name, refusal.error);
            }
            gateways.insert(scope.clone(), rehearsal);
        }
        Ok(Self { world, gateways })
    }

    /// What becomes of a request. With several Gateways it is the one that takes it, or that comes nearest.
    ///
    /// # Errors
    /// If the request is none, or names a Gateway that isn't there.
    pub fn ask(&self, request: &Request) -> anyhow::Result<Verdict> {
        let question = request.question()?;
        let wanted = request.gateway.as_deref().map(|name| {
            let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
            Scope::gateway(namespace, name)
        });
        let candidates =
            self.gateways.iter().filter(|(scope, _)| wanted.as_ref().is_none_or(|wanted| wanted == *scope));
        let verdicts = candidates.map(|(scope, rehearsal)| {
            let answer = rehearsal.ask(&question);
            Verdict::new(self.world, scope, request, &question, answer)
        });
        let best = verdicts.min_by_key(|verdict| verdict.outcome.rank());
        best.with_context(|| {
            format!("there is no Gateway {} of ours in {}", request.gateway.as_deref().unwrap_or(""), self.world.origin)
        })
    }
}

impl Outcome {
    /// Which of several Gateways is meant: the one that has most to do with the request.
    fn rank(self) -> u8 {
        match self {
            Outcome::Forwarded | Outcome::Redirected | Outcome::Answered => 0,
            Outcome::Denied | Outcome::Failed | Outcome::Unknown => 1,
            Outcome::Refused => 2,
            Outcome::NotFound => 3,
            Outcome::Closed => 4,
        }
    }
}
