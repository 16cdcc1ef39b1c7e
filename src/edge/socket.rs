//! Listening sockets: bound before anything is served, so that an address that is taken is an error.

use super::wire::Wire;
use crate::bounds;
use crate::config::Address;
use socket2::SockRef;
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::{net, os::unix};
use tokio::net::{TcpListener, UnixListener};

/// A socket that listens, though nobody accepts yet.
#[derive(Debug)]
pub enum Bound {
    Tcp(net::TcpListener),
    Unix(unix::net::UnixListener),
}

impl Bound {
    /// Listens at `address`; a Unix socket gets this mode, or what the umask leaves.
    ///
    /// # Errors
    /// The address is taken or not this host's, or the directory cannot be written.
    pub fn to(address: &Address, mode: Option<u32>) -> io::Result<Self> {
        let bound = match address {
            Address::Tcp(address) => {
                let socket = net::TcpListener::bind(address)?;
                // Connections inherit both (S3).
                SockRef::from(&socket).set_tcp_notsent_lowat(bounds::UNSENT_BYTES)?;
                SockRef::from(&socket).set_tcp_nodelay(true)?;
                socket.set_nonblocking(true)?;
                Self::Tcp(socket)
            }
            Address::Unix(path) => {
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                let socket = unix::net::UnixListener::bind(path)?;
                if let Some(mode) = mode {
                    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
                }
                socket.set_nonblocking(true)?;
                Self::Unix(socket)
            }
        };
        SockRef::from(&bound).listen(bounds::BACKLOG)?;
        Ok(bound)
    }

    /// Hands the socket to the runtime this is called on.
    ///
    /// # Errors
    /// The runtime does not take it.
    pub fn listen(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket)?),
            Self::Unix(socket) => Listener::Unix(UnixListener::from_std(socket)?),
        })
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// A socket whose connections can be accepted.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// The next connection.
    ///
    /// # Errors
    /// As accept(2).
    pub async fn accept(&self) -> io::Result<Wire> {
        Ok(match self {
            Self::Tcp(socket) => {
                socket.accept().await.map(|(stream, peer)| Wire::tcp(stream, peer))?
            }
            Self::Unix(socket) => socket.accept().await.map(|(stream, _)| Wire::unix(stream))?,
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}
