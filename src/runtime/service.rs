//! The service manager's side of the daemon: systemd's notify protocol. Without systemd, every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// Everything is loaded and open: units ordered after this one may start.
pub(super) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The daemon drains.
pub(super) fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// The line that `systemctl status` shows.
pub(super) fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// Still alive; to be sent more often than [`watchdog_interval`] says.
pub(super) fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// Half of `WatchdogSec=`: how often the manager wants to hear of us, if at all.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|interval| !interval.is_zero())
}

fn send(states: &[NotifyState<'_>]) {
    // A manager that does not listen is its own trouble, not ours.
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager cannot be told");
    }
}
