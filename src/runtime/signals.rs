//! SIGTERM and SIGINT end the daemon; SIGHUP has it read its configuration again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both ways to ask a process to stop.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// SIGHUP.
pub(super) struct Hangups(Signal);

impl Hangups {
    /// Takes the signal over from the system, which would end the process.
    pub(super) fn install() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one; several at once are one. Cancelling loses nothing.
    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// One of them, received.
#[derive(Clone, Copy, Debug)]
pub(super) struct StopSignal {
    /// As in logs.
    pub(super) name: &'static str,
    /// As in exit codes: 128 + this.
    pub(super) number: i32,
}

impl Signals {
    /// Takes the signals over from the system, which would end the process at once.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal { name: "SIGTERM", number: 15 },
            _ = self.interrupt.recv() => StopSignal { name: "SIGINT", number: 2 },
        }
    }
}
