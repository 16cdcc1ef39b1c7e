//! Framing lets one well-formed request through at a time, however its bytes come.

use super::framing::{Framing, Step};
use crate::bounds::{HEAD_BYTES, PIPELINED_BYTES};
use crate::metrics::Metrics;
use crate::request::bad_request::BadRequest;
use prometheus::Registry;
use proptest::prelude::*;
use std::sync::Arc;
use tokio::io::ReadBuf;

const LENGTH: &[u8] = b"POST /v1/x HTTP/1.1\r\nHost: w\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &[u8] =
    b"POST /v1/x HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const BARE: &[u8] = b"GET /v1/models HTTP/1.1\r\nHost: w\r\n\r\n";

fn framing() -> (Framing, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new(&Registry::new()).unwrap());
    (Framing::new(Arc::clone(&metrics)), metrics)
}

/// What comes through of these pieces, each arriving in a read of its own.
fn through(framing: &mut Framing, pieces: &[&[u8]], serving: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        if let Step::Pass(count) = framing.arrived(piece, serving) {
            out.extend_from_slice(&piece[..count]);
        }
        let mut buffer = [0; 16];
        let mut into = ReadBuf::new(&mut buffer);
        while framing.hand_over(&mut into) {
            out.extend_from_slice(into.filled());
            into.clear();
        }
    }
    out
}

#[test]
fn a_request_passes_and_the_next_one_after_it() {
    let (mut framing, metrics) = framing();
    for request in [LENGTH, CHUNKED, BARE, LENGTH] {
        assert_eq!(through(&mut framing, &[request], false), request);
        assert!(!framing.is_ended(true) && !framing.is_ended(false));
    }
    assert_eq!(metrics.pipelined.get(), 0);
}

#[test]
fn a_head_passes_when_it_is_whole() {
    let (mut framing, _) = framing();
    assert_eq!(framing.arrived(b"GET /v1/models HT", false), Step::Hold);
    assert_eq!(through(&mut framing, &[b"TP/1.1\r\nHost: w\r\n\r"], false), b"");
    assert_eq!(through(&mut framing, &[b"\n"], false), BARE);
}

#[test]
fn a_head_may_have_so_many_bytes_and_no_more() {
    let head = |bytes: usize| {
        let rest = bytes - BARE.len() - "X: \r\n".len();
        [&BARE[..BARE.len() - 2], b"X: ", vec![b'x'; rest].as_slice(), b"\r\n\r\n"].concat()
    };
    let (whole, long) = (head(HEAD_BYTES), head(HEAD_BYTES + 1));
    let (mut first, _) = framing();
    assert_eq!(first.arrived(&whole, false), Step::Pass(HEAD_BYTES));
    let (mut second, metrics) = framing();
    assert_eq!(second.arrived(&long[..HEAD_BYTES - 1], false), Step::Hold);
    assert_eq!(
        second.arrived(&long[HEAD_BYTES - 1..HEAD_BYTES], false),
        Step::Refuse(BadRequest::HeadSize)
    );
    assert_eq!(metrics.bad_request.get(BadRequest::HeadSize), 1);
}

#[test]
fn what_is_sent_behind_a_request_is_dropped_and_ends_the_connection() {
    for request in [LENGTH, CHUNKED, BARE] {
        let (mut framing, metrics) = framing();
        let both = [request, LENGTH].concat();
        assert_eq!(through(&mut framing, &[&both], false), request);
        assert_eq!(framing.arrived(LENGTH, true), Step::Hold);
        assert!(framing.is_pipelined() && !framing.is_ended(true) && framing.is_ended(false));
        assert_eq!(metrics.pipelined.get(), 1);
        assert!(!framing.is_flooded());
        framing.arrived(&vec![b'x'; PIPELINED_BYTES], true);
        assert!(framing.is_flooded());
    }
}

#[test]
fn a_bad_head_is_refused_whole_and_a_bad_body_broken_off() {
    let (mut first, metrics) = framing();
    assert_eq!(first.arrived(b"GET /v1/models HTTP/1.1\r\nHost: w", false), Step::Hold);
    assert_eq!(first.arrived(b"\n", false), Step::Refuse(BadRequest::Line));
    assert!(first.is_ended(false) && !first.hand_over(&mut ReadBuf::new(&mut [0; 9])));
    assert_eq!(metrics.bad_request.get(BadRequest::Line), 1);
    let (mut second, metrics) = framing();
    let head = CHUNKED.len() - 15;
    assert_eq!(second.arrived(&CHUNKED[..head], false), Step::Pass(head));
    assert_eq!(second.arrived(b"5\nhello", true), Step::Break);
    assert!(second.is_ended(true));
    assert_eq!(metrics.bad_request.get(BadRequest::Chunk), 1);
    let (mut third, _) = framing();
    let both = [&CHUNKED[..head], b"x"].concat();
    assert_eq!(third.arrived(&both, false), Step::Refuse(BadRequest::Chunk));
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        which in 0..3_usize, behind in 0..2_usize, cuts in prop::collection::vec(0..120_usize, 0..5),
    ) {
        let request = [LENGTH, CHUNKED, BARE][which];
        let all = [request, &LENGTH[..behind * LENGTH.len()]].concat();
        let mut ends: Vec<_> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
        ends.extend([0, request.len(), all.len()]);
        ends.sort_unstable();
        let pieces: Vec<_> = ends.windows(2).map(|pair| &all[pair[0]..pair[1]]).collect();
        let (mut framing, metrics) = framing();
        // Served from the last byte of its head on: what is behind it must not become a head.
        let mut out = Vec::new();
        for piece in pieces {
            let serving = out.len() >= request.len();
            out.extend(through(&mut framing, &[piece], serving));
        }
        prop_assert_eq!(out, request);
        prop_assert_eq!(metrics.pipelined.get(), behind as u64);
    }
}
