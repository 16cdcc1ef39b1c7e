//! A connection that keeps a head until its body comes.

use async_trait::async_trait;
use memchr::memmem;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A body up to this size is copied behind its head; a larger one follows in a send of its own.
const COPIED_BYTES: usize = 16 << 10;

/// Bytes that came on idle connections.
static UNEXPECTED: AtomicU64 = AtomicU64::new(0);

/// How often an upstream wrote to an idle connection, which ends it (F08).
#[must_use]
pub fn unexpected_data() -> u64 {
    UNEXPECTED.load(Ordering::Relaxed)
}

/// Where in its requests a connection is.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// The next write is a head.
    Idle,
    /// The head is kept, this many body bytes follow it.
    Head(u64),
    /// This many body bytes are still to come.
    Body(u64),
    /// A head without a length was seen: everything passes.
    Through,
}

/// A connection whose heads wait for their bodies.
#[derive(Debug)]
pub(super) struct Merged {
    inner: Stream,
    phase: Phase,
    /// Accepted and not yet written.
    kept: Vec<u8>,
    written: usize,
}

impl Merged {
    pub(super) fn new(inner: Stream) -> Self {
        Self { inner, phase: Phase::Idle, kept: Vec::new(), written: 0 }
    }

    /// Writes what was kept.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.kept.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        // Not cleared: it would stay as large as the last body until the connection ends.
        self.kept = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn pass(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.drain(cx))?;
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        if let Phase::Body(left) = &mut self.phase {
            *left = left.saturating_sub(count as u64);
            if *left == 0 {
                self.phase = Phase::Idle;
            }
        }
        Poll::Ready(Ok(count))
    }
}

/// The `Content-Length` of a head this process wrote.
fn body_length(head: &[u8]) -> Option<u64> {
    let lower = head.to_ascii_lowercase();
    let name = b"\r\ncontent-length: ";
    let at = memmem::find(&lower, name)? + name.len();
    let mut digits = head.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit());
    digits.try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

impl AsyncWrite for Merged {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.phase {
            Phase::Idle => {
                ready!(self.drain(cx))?;
                self.phase = match body_length(bytes) {
                    Some(length) if length > 0 && bytes.ends_with(b"\r\n\r\n") => {
                        Phase::Head(length)
                    }
                    _ => {
                        self.phase = Phase::Through;
                        return self.pass(cx, bytes);
                    }
                };
                self.kept.extend_from_slice(bytes);
                Poll::Ready(Ok(bytes.len()))
            }
            Phase::Head(length) => {
                self.phase = Phase::Body(length);
                if bytes.len() > COPIED_BYTES || bytes.len() as u64 != length {
                    return self.pass(cx, bytes);
                }
                self.kept.extend_from_slice(bytes);
                self.phase = Phase::Idle;
                // What does not go out now goes with the flush that follows every body.
                match self.drain(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    _ => Poll::Ready(Ok(bytes.len())),
                }
            }
            Phase::Body(_) | Phase::Through => self.pass(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.phase, Phase::Head(_)) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl AsyncRead for Merged {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Pingora's pool, and nobody else, reads one byte at a time: to see an idle connection end.
        let idle = into.remaining() == 1;
        let done = Pin::new(&mut self.inner).poll_read(cx, into);
        if idle && matches!(done, Poll::Ready(Ok(()))) && into.remaining() == 0 {
            UNEXPECTED.fetch_add(1, Ordering::Relaxed);
        }
        done
    }
}

#[async_trait]
impl Shutdown for Merged {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

#[async_trait]
impl Peek for Merged {
    async fn try_peek(&mut self, into: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(into).await
    }
}

impl UniqueID for Merged {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Merged {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Merged {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for Merged {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.inner.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Merged {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.inner.set_socket_digest(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    fn merged(capacity: usize) -> (Merged, DuplexStream) {
        let (near, far) = duplex(capacity);
        (Merged::new(Box::new(near)), far)
    }

    fn head(length: usize) -> Vec<u8> {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes()
    }

    #[tokio::test]
    async fn a_head_waits_for_its_body_and_both_leave_together() {
        let (mut merged, mut far) = merged(1 << 16);
        let mut seen = vec![0; 256];
        merged.write_all(&head(4)).await.unwrap();
        merged.flush().await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(20), far.read(&mut seen)).await;
        assert!(early.is_err(), "the head left before its body");
        merged.write_all(b"body").await.unwrap();
        merged.flush().await.unwrap();
        let count = far.read(&mut seen).await.unwrap();
        assert_eq!(&seen[..count], [head(4), b"body".to_vec()].concat());
    }

    #[tokio::test]
    async fn every_size_arrives_whole_request_after_request() {
        for length in [1, COPIED_BYTES, COPIED_BYTES + 1, 300_000] {
            let (mut merged, mut far) = merged(1_000);
            let body = vec![b'x'; length];
            let sent = [head(length), body.clone()].concat().repeat(2);
            let writer = tokio::spawn(async move {
                for _ in 0..2 {
                    merged.write_all(&head(length)).await.unwrap();
                    merged.flush().await.unwrap();
                    merged.write_all(&body).await.unwrap();
                    merged.flush().await.unwrap();
                }
            });
            let mut seen = vec![0; sent.len()];
            far.read_exact(&mut seen).await.unwrap();
            writer.await.unwrap();
            assert_eq!(seen, sent, "length {length}");
        }
    }
}
