//! The service manager's side of the daemon: systemd's notify protocol. Without systemd, every call does nothing.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

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

/// How long a manager that does not read may hold us up. `sd_notify::notify` waits for ever, and with it a SIGTERM would.
const WITHIN: Duration = Duration::from_millis(100);

fn send(states: &[NotifyState<'_>]) {
    let Some(manager) = env::var_os("NOTIFY_SOCKET") else { return };
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    // A service manager that does not read is no error of the daemon.
    if let Err(error) = tell(&manager, &text) {
        debug!(%error, "the service manager cannot be told");
    }
}

/// Sends `text` to the socket `manager`: a path, or an abstract name after an `@`.
fn tell(manager: &OsStr, text: &str) -> io::Result<()> {
    let address = match manager.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(manager)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(WITHIN))?;
    socket.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_reads_is_told_and_one_that_does_not_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        tell(path.as_os_str(), "READY=1\n").unwrap();
        let mut heard = [0; 64];
        let length = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1\n");

        // Until the queue is full.
        let refused = (0..100_000).find_map(|_| tell(path.as_os_str(), "WATCHDOG=1\n").err());
        assert_eq!(refused.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn an_abstract_name_is_one() {
        let name = format!("maskd-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        tell(OsStr::new(&format!("@{name}")), "STOPPING=1\n").unwrap();
        let mut heard = [0; 64];
        assert_eq!(manager.recv(&mut heard).unwrap(), 11);
    }
}
