//! Ending in order: one side asks for the end, the other finishes what it has begun.

use tokio::sync::watch;

/// The side that asks for the end.
#[derive(Clone, Debug)]
pub struct Drainer(watch::Sender<bool>);

/// The side that is asked; cheap to clone, one for each task.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

/// A connected pair.
pub fn channel() -> (Drainer, Drain) {
    let (sender, receiver) = watch::channel(false);
    (Drainer(sender), Drain(receiver))
}

impl Drainer {
    /// Asks every holder of a [`Drain`] to end. Asking twice is asking once.
    pub fn drain(&self) {
        self.0.send_replace(true);
    }

    /// One more side that is asked.
    pub fn subscribe(&self) -> Drain {
        Drain(self.0.subscribe())
    }
}

impl Drain {
    /// Whether the end has been asked for.
    pub fn is_draining(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the end is asked for; a [`Drainer`] that is gone has asked.
    pub async fn drained(&mut self) {
        // The error says that the sender is gone: nobody is left to keep the task alive for.
        let _ = self.0.wait_for(|draining| *draining).await;
    }
}

/// Waits for SIGTERM or SIGINT (Ctrl-C).
///
/// # Errors
/// If the process may not install signal handlers.
pub async fn signalled() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
