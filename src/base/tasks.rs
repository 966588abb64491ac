//! Named tasks with an owner. This is the only place that spawns.

use crate::drain::{self, Drain, Drainer};
use futures::FutureExt;
use std::{borrow::Cow, future::Future, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// A group of tasks that end together. Cloning shares the group.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    drainer: Drainer,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { tracker: TaskTracker::new(), drainer: drain::channel().0 }
    }
}

impl Tasks {
    /// Starts a task on the current runtime. It should end soon after its [`Drain`] says so; a panic in it is logged
    /// with its name and ends only that task.
    pub fn spawn<F>(&self, name: impl Into<Cow<'static, str>>, task: impl FnOnce(Drain) -> F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(named(name.into(), task(self.drainer.subscribe())))
    }

    /// The same on the thread's own `LocalSet` or local runtime, for futures that stay on one worker.
    pub fn spawn_local<F>(&self, name: &'static str, task: impl FnOnce(Drain) -> F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + 'static,
    {
        self.tracker.spawn_local(named(name.into(), task(self.drainer.subscribe())))
    }

    /// A side of the group's drain for something that isn't a task of its own.
    pub fn drain(&self) -> Drain {
        self.drainer.subscribe()
    }

    /// Asks every task to end and waits for them, at most so long. Says whether all have ended.
    pub async fn end(&self, limit: Duration) -> bool {
        self.drainer.drain();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}

/// Not an async function: that would hold the task twice, as its argument and as what it waits for.
fn named(name: Cow<'static, str>, task: impl Future<Output = ()>) -> impl Future<Output = ()> {
    let guard = Named(name);
    task.map(move |()| drop(guard))
}

/// Says which task it was when a panic unwinds through it.
struct Named(Cow<'static, str>);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = %self.0, "task panicked");
        }
    }
}

/// Starts an operating system thread with a name, such as a worker with a runtime of its own.
///
/// # Errors
/// If the system refuses another thread.
pub fn thread<T: Send + 'static>(
    name: impl Into<String>,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    #[tokio::test]
    async fn a_drain_ends_the_group_and_a_panic_ends_one_task() {
        let tasks = Tasks::default();
        let ended = Arc::new(AtomicBool::new(false));
        let flag = ended.clone();
        tasks.spawn("waits", |mut drain| async move {
            drain.drained().await;
            flag.store(true, Ordering::SeqCst);
        });
        tasks.spawn("panics", |_| async { panic!("as the test wants") });
        assert!(tasks.end(Duration::from_secs(30)).await);
        assert!(ended.load(Ordering::SeqCst));
    }

    #[test]
    fn a_name_costs_its_own_size() {
        let large = [0u8; 4096];
        let task = async move {
            std::future::pending::<()>().await;
            std::hint::black_box(large);
        };
        let size = size_of_val(&task);
        assert!(size_of_val(&named("large".into(), task)) <= size + 64);
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_reported() {
        let tasks = Tasks::default();
        tasks.spawn("stays", |_| std::future::pending());
        assert!(!tasks.end(Duration::from_millis(10)).await);
    }
}
