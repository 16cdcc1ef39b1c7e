//! Heads in and out of their time and size, with the clock standing still where it can.

use super::ending::Ending;
use super::frames::PREFACE;
use super::io::{Guarded, Serving};
use crate::bounds::HEAD_BYTES;
use crate::config::Limits;
use crate::metrics::{Deadline, H2Abuse, Metrics};
use pingora::protocols::{Shutdown, Stream};
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

fn counted(room: usize) -> (Stream, DuplexStream, Arc<Metrics>) {
    let (near, far) = duplex(room);
    let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
    let limits = Limits {
        head_timeout: SECOND,
        keepalive_idle: SECOND * 120,
        write_timeout: SECOND * 30,
        min_send_rate: 1_024,
        ..Limits::sharing(1_024)
    };
    let ending = Ending::default();
    let stream = Guarded::new(Box::new(near), &limits, Arc::clone(&metrics), ending);
    (Box::new(stream), far, metrics)
}

fn guarded() -> (Stream, DuplexStream) {
    let (stream, far, _) = counted(1 << 20);
    (stream, far)
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

#[tokio::test(start_paused = true)]
async fn a_caller_who_takes_nothing_is_given_up_and_counted() {
    let (mut stream, _far, metrics) = counted(1_000);
    let began = Instant::now();
    let error = stream.write_all(&[b'a'; 4_000]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!((SECOND * 30..SECOND * 31).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(metrics.deadlines.get(Deadline::Write), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_comes_is_idle_from_its_begin() {
    let (mut stream, _far, metrics) = counted(1);
    let (kind, after) = error(&mut stream).await;
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!((SECOND * 120..SECOND * 121).contains(&after), "{after:?}");
    drop(stream);
    assert_eq!(metrics.deadlines.get(Deadline::Idle), 1);
}

#[tokio::test(start_paused = true)]
async fn idle_are_those_dropped_while_a_head_is_waited_for_and_nobody_left() {
    for (leaves, count) in [(false, 1), (true, 0)] {
        let (mut stream, mut far, metrics) = counted(1 << 10);
        far.write_all(b"head").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        drop(Serving::begin(&stream));
        assert!(timeout(SECOND * 5, stream.read(&mut [0])).await.is_err());
        if leaves {
            drop(far);
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }
        drop(stream);
        assert_eq!(metrics.deadlines.get(Deadline::Idle), count);
    }
}

#[tokio::test]
async fn what_is_written_in_pieces_is_sent_in_one() {
    let (mut stream, mut far) = guarded();
    stream.write_all(b"head").await.unwrap();
    stream.write_all(b"body").await.unwrap();
    let mut came = [0; 16];
    let nothing = timeout(SECOND / 20, far.read(&mut came)).await;
    assert!(nothing.is_err(), "before it is flushed");
    stream.flush().await.unwrap();
    assert_eq!(far.read(&mut came).await.unwrap(), 8);
    stream.write_all(b"last").await.unwrap();
    Shutdown::shutdown(&mut *stream).await;
    assert_eq!(far.read(&mut came).await.unwrap(), 4);
}

/// A connection on which HTTP/2 begins.
fn speaking_h2(metrics: &Arc<Metrics>) -> (Stream, DuplexStream) {
    let (near, far) = duplex(1 << 20);
    let limits = Limits { head_timeout: SECOND, h2_frame_rate: RATE, ..Limits::sharing(1_024) };
    let ending = Ending::default();
    let mut guarded = Guarded::new(Box::new(near), &limits, Arc::clone(metrics), ending);
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
