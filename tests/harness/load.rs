//! Steady load that repeats nothing: every request that is not answered as wanted is a failure that is kept.

use crate::http::{Answer, Call, Connection, call};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinHandle;

/// What came of the requests so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By what answered: `200 a` is status and backend.
    pub answers: BTreeMap<String, u64>,
    /// Requests that got no whole answer, or one that was not allowed; the first 20.
    pub failures: Vec<String>,
    /// How many failed.
    pub failed: u64,
    /// How many were sent.
    pub sent: u64,
}

/// A running load; dropping it stops it.
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// `connections` keep-alive connections and one that connects anew for each request; each sends a request every
    /// `pause` after the last answer. `allowed` says which answers are no failures.
    pub fn start(
        to: SocketAddr,
        request: Call,
        connections: usize,
        pause: Duration,
        allowed: fn(&Answer) -> bool,
    ) -> Self {
        let tally: Arc<Mutex<Tally>> = Arc::default();
        let mut tasks = Vec::new();
        for index in 0..=connections {
            let (tally, request) = (tally.clone(), request.clone());
            tasks.push(tokio::spawn(async move {
                let mut kept: Option<Connection> = None;
                loop {
                    let outcome =
                        if index == 0 { call(to, &request).await } else { through(to, &request, &mut kept).await };
                    if let Ok(mut tally) = tally.lock() {
                        tally.sent += 1;
                        match outcome {
                            Ok(answer) => {
                                let key = format!("{} {}", answer.status, answer.backend().unwrap_or("-"));
                                if !allowed(&answer) {
                                    tally.fail(format!("{key} {}", String::from_utf8_lossy(&answer.body)));
                                }
                                *tally.answers.entry(key).or_default() += 1;
                            }
                            Err(error) => tally.fail(format!("{error:#}")),
                        }
                    }
                    tokio::time::sleep(pause).await;
                }
            }));
        }
        Self { tally, tasks }
    }

    /// What came of it so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().map(|tally| tally.clone()).unwrap_or_default()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Tally {
    fn fail(&mut self, what: String) {
        self.failed += 1;
        if self.failures.len() < 20 {
            self.failures.push(what);
        }
    }
}

async fn through(to: SocketAddr, request: &Call, kept: &mut Option<Connection>) -> anyhow::Result<Answer> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(to, request).await?,
    };
    let (answer, again) = connection.send(request).await?;
    if again {
        *kept = Some(connection);
    }
    Ok(answer)
}
