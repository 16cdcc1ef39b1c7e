//! Heads in and out of their time and size, with the clock standing still where it can.

use super::app::Connections;
use super::io::{Guarded, Serving};
use crate::bounds::HEAD_BYTES;
use pingora::protocols::Stream;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn guarded() -> (Stream, DuplexStream) {
    let (near, far) = duplex(1 << 20);
    let permit = Connections::default().admit(1).unwrap();
    (Box::new(Guarded::new(Box::new(near), SECOND, permit)), far)
}

/// Sends one byte every 300 ms until the other side has gone.
fn drip(mut far: DuplexStream) {
    tokio::spawn(async move {
        while far.write_all(b"x").await.is_ok() {
            sleep(SECOND * 3 / 10).await
        }
    });
}

async fn error(stream: &mut Stream) -> (io::ErrorKind, Duration) {
    let began = Instant::now();
    loop {
        if let Err(error) = stream.read(&mut [0; 4096]).await {
            return (error.kind(), began.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_from_its_first_byte() {
    let (mut stream, far) = guarded();
    assert!(timeout(SECOND * 60, stream.read(&mut [0])).await.is_err(), "silence is not timed");
    drip(far);
    assert_eq!(error(&mut stream).await.0, io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn every_head_is_timed_and_no_body() {
    let (mut stream, mut far) = guarded();
    for _ in 0..3 {
        far.write_all(b"he").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        let serving = Serving::begin(&stream).unwrap();
        assert!(timeout(SECOND * 5, stream.read(&mut [0])).await.is_err());
        far.write_all(&[b'b'; 2 * HEAD_BYTES]).await.unwrap();
        stream.read_exact(&mut [0; 2 * HEAD_BYTES]).await.unwrap();
        drop(serving);
        assert!(timeout(SECOND * 5, stream.read(&mut [0])).await.is_err());
    }
    drip(far);
    let (kind, after) = error(&mut stream).await;
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!((SECOND..SECOND * 11 / 10).contains(&after), "{after:?}");
}

#[tokio::test]
async fn a_head_may_have_so_many_bytes_and_no_more() {
    let (mut stream, mut far) = guarded();
    far.write_all(&vec![b'h'; HEAD_BYTES + 1]).await.unwrap();
    let mut seen = vec![0; HEAD_BYTES];
    stream.read_exact(&mut seen).await.unwrap();
    assert_eq!(error(&mut stream).await.0, io::ErrorKind::InvalidData);
    let mut answer = [0; 13];
    far.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431 ");
    drop(Serving::begin(&stream).unwrap());
    assert_eq!(stream.read(&mut seen).await.unwrap(), 1, "the next head counts from nothing");
}

#[tokio::test]
async fn a_read_stops_where_the_head_must_end() {
    let (mut stream, mut far) = guarded();
    far.write_all(&vec![b'h'; 2 * HEAD_BYTES]).await.unwrap();
    let mut seen = vec![0; 2 * HEAD_BYTES];
    assert_eq!(stream.read(&mut seen).await.unwrap(), HEAD_BYTES);
    assert!(seen[..HEAD_BYTES].iter().all(|byte| *byte == b'h'));
    let _serving = Serving::begin(&stream).unwrap();
    assert_eq!(stream.read(&mut seen).await.unwrap(), HEAD_BYTES, "the rest is a body");
}

#[test]
fn a_strange_stream_is_not_guarded() {
    let strange: Stream = Box::new(duplex(1).0);
    assert!(Serving::begin(&strange).is_none());
}
