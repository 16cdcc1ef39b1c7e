//! Telling the service manager how far along the process is: `sd_notify(3)`, one datagram each.
//!
//! Without `NOTIFY_SOCKET` every message goes nowhere, so callers need not ask who started them.

use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The environment variable that names the manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// A line to the service manager, or to nobody.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// The manager that started this process, if one did and asked to be told.
    ///
    /// # Errors
    /// `NOTIFY_SOCKET` is set and cannot be used.
    pub fn from_env() -> io::Result<Self> {
        match std::env::var_os(SOCKET) {
            Some(address) if !address.is_empty() => Self::to(&address),
            _ => Ok(Self::default()),
        }
    }

    /// `address`: an absolute path, or `@` and an abstract name.
    fn to(address: &OsStr) -> io::Result<Self> {
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
        Ok(Self { socket: Some((socket, address)) })
    }

    /// Start or reload is done; listeners accept.
    ///
    /// # Errors
    /// The manager's socket does not take the message. So for every message.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)))
    }

    /// A reload begins; [`Notifier::ready`] ends it, whatever came of it.
    ///
    /// # Errors
    /// As [`Notifier::ready`].
    pub fn reloading(&self) -> io::Result<()> {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"))
    }

    /// The drain begins.
    ///
    /// # Errors
    /// As [`Notifier::ready`].
    pub fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1\nSTATUS=Draining")
    }

    /// One line for `systemctl status`.
    ///
    /// # Errors
    /// As [`Notifier::ready`].
    pub fn status(&self, status: &str) -> io::Result<()> {
        self.send(&format!("STATUS={}", one_line(status)))
    }

    fn send(&self, message: &str) -> io::Result<()> {
        let Some((socket, address)) = &self.socket else { return Ok(()) };
        socket.send_to_addr(message.as_bytes(), address).map(drop)
    }
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
    fn each_step_is_one_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        notifier.ready("3 models\nFDSTORE=1").unwrap();
        assert_eq!(next(&manager), "READY=1\nSTATUS=3 models FDSTORE=1");
        notifier.reloading().unwrap();
        let reloading = next(&manager);
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
        notifier.status("serving").unwrap();
        assert_eq!(next(&manager), "STATUS=serving");
        notifier.stopping().unwrap();
        assert!(next(&manager).starts_with("STOPPING=1\n"));
    }

    #[test]
    fn an_abstract_socket_is_reached_by_its_name() {
        let name = format!("weir-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::to(OsStr::new(&format!("@{name}"))).unwrap();
        notifier.ready("up").unwrap();
        assert_eq!(next(&manager), "READY=1\nSTATUS=up");
    }

    #[test]
    fn without_a_manager_messages_go_nowhere() {
        let notifier = Notifier::default();
        notifier.ready("up").unwrap();
        notifier.stopping().unwrap();
    }

    #[test]
    fn an_unusable_address_is_an_error_and_an_absent_manager_is_seen() {
        for wrong in ["relative/path", "vsock:2:1"] {
            assert!(Notifier::to(OsStr::new(wrong)).is_err(), "{wrong}");
        }
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        assert!(Notifier::to(gone.as_os_str()).unwrap().ready("up").is_err());
    }
}
