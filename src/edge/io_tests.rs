//! Heads in and out of their time and size, with the clock standing still where it can.

use super::app::Connections;
use super::frames::PREFACE;
use super::io::{Guarded, Serving};
use crate::bounds::HEAD_BYTES;
use crate::metrics::{H2Abuse, Metrics};
use pingora::protocols::Stream;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// Frames a second.
const RATE: u32 = 10;

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap())
}

fn guarded() -> (Stream, DuplexStream) {
    let (near, far) = duplex(1 << 20);
    let permit = Connections::default().admit(1).unwrap();
    (Box::new(Guarded::new(Box::new(near), SECOND, RATE, metrics(), permit)), far)
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

/// A connection on which HTTP/2 begins.
fn speaking_h2(metrics: &Arc<Metrics>) -> (Stream, DuplexStream) {
    let (near, far) = duplex(1 << 20);
    let permit = Connections::default().admit(1).unwrap();
    let metrics = Arc::clone(metrics);
    let mut guarded = Guarded::new(Box::new(near), SECOND, RATE, metrics, permit);
    guarded.speak_h2();
    (Box::new(guarded), far)
}

/// A frame without payload.
fn frame(kind: u8, flags: u8) -> [u8; 9] {
    [0, 0, 0, kind, flags, 0, 0, 0, 1]
}

#[tokio::test(start_paused = true)]
async fn on_h2_a_preface_and_each_header_block_have_their_time_and_silence_has_any() {
    let (headers, continuation, end_headers) = (1, 9, 4);
    let metrics = metrics();
    let (mut stream, mut far) = speaking_h2(&metrics);
    far.write_all(&PREFACE[..23]).await.unwrap();
    let (kind, after) = error(&mut stream).await;
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!((SECOND..SECOND * 11 / 10).contains(&after), "{after:?}");

    let (mut stream, mut far) = speaking_h2(&metrics);
    far.write_all(PREFACE).await.unwrap();
    stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
    for _ in 0..3 {
        assert!(timeout(SECOND * 60, stream.read(&mut [0])).await.is_err(), "silence is not timed");
        far.write_all(&frame(headers, 0)).await.unwrap();
        stream.read_exact(&mut [0; 9]).await.unwrap();
        assert!(timeout(SECOND * 9 / 10, stream.read(&mut [0])).await.is_err());
        far.write_all(&frame(continuation, end_headers)).await.unwrap();
        stream.read_exact(&mut [0; 9]).await.unwrap();
    }
    far.write_all(&frame(headers, 0)).await.unwrap();
    stream.read_exact(&mut [0; 9]).await.unwrap();
    let drip = async {
        loop {
            sleep(SECOND * 3 / 10).await;
            far.write_all(&frame(continuation, 0)[..1]).await.unwrap();
        }
    };
    let (kind, after) =
        tokio::select! { ended = error(&mut stream) => ended, () = drip => unreachable!() };
    assert_eq!(kind, io::ErrorKind::TimedOut, "more of the same block gives it no more time");
    assert!((SECOND..SECOND * 11 / 10).contains(&after), "{after:?}");
    assert_eq!(metrics.h2_abuse.get(H2Abuse::SlowHead), 2);
}

#[tokio::test]
async fn too_many_frames_end_a_connection_and_are_counted() {
    const PING: u8 = 6;
    let metrics = metrics();
    let (mut stream, mut far) = speaking_h2(&metrics);
    far.write_all(PREFACE).await.unwrap();
    far.write_all(&frame(PING, 0).repeat(20 * RATE as usize)).await.unwrap();
    assert_eq!(error(&mut stream).await.0, io::ErrorKind::InvalidData);
    assert_eq!(metrics.h2_abuse.get(H2Abuse::Ping), 1);
}
