//! Telling the service manager how far along the process is: `sd_notify(3)`, one datagram each.
//!
//! Without `NOTIFY_SOCKET` every message goes nowhere, so callers need not ask who started them. A
//! message that cannot be sent is a line in the log: nothing depends on it but the manager's view.

use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The environment variable that names the manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Start is done: configuration loaded, ledger recovered, listeners accepting. Also ends a reload,
/// whatever came of it. `status` is one line for `systemctl status`.
pub fn ready(status: &str) {
    notify(&format!("READY=1\nSTATUS={}", one_line(status)));
}

/// A reload begins; [`ready`] ends it.
pub fn reloading() {
    notify(&reload_message());
}

/// The drain begins.
pub fn stopping() {
    notify("STOPPING=1\nSTATUS=draining");
}

/// Sends assignments, one a line, to the manager that asked to be told.
pub fn notify(message: &str) {
    let Some(address) = std::env::var_os(SOCKET).filter(|address| !address.is_empty()) else {
        return;
    };
    if let Err(error) = send(&address, message) {
        tracing::warn!(%error, "the service manager was not told");
    }
}

/// `address`: an absolute path, or `@` and an abstract name.
fn send(address: &OsStr, message: &str) -> io::Result<()> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => {
            let wrong = format!("{SOCKET} must begin with / or @");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, wrong));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}

/// `MONOTONIC_USEC` is what `Type=notify-reload` tells the reload of this signal from others by.
fn reload_message() -> String {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
    format!("RELOADING=1\nMONOTONIC_USEC={micros}")
}

/// Without line ends: each line of a message is an assignment of its own.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_message_is_one_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1\nSTATUS=serving").unwrap();
        assert_eq!(next(&manager), "READY=1\nSTATUS=serving");
        send(path.as_os_str(), &reload_message()).unwrap();
        let reloading = next(&manager);
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn an_abstract_socket_is_reached_by_its_name() {
        let name = format!("weir-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{name}")), "READY=1").unwrap();
        assert_eq!(next(&manager), "READY=1");
    }

    #[test]
    fn a_status_is_one_assignment() {
        assert_eq!(one_line("3 models\r\nFDSTORE=1"), "3 models  FDSTORE=1");
    }

    #[test]
    fn an_unusable_address_and_an_absent_manager_are_errors() {
        for wrong in ["relative/path", "vsock:2:1", ""] {
            assert!(send(OsStr::new(wrong), "READY=1").is_err(), "{wrong}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(send(folder.path().join("gone").as_os_str(), "READY=1").is_err());
    }
}
