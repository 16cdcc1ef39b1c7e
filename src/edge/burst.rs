//! Events that come in a burst leave in one write.
//!
//! Pingora hands over at most [`HANDFUL`] pieces of a reply and has each handful written. A whole one
//! means that more may be at hand, so it is kept until the proxy loop has looked: it takes what the
//! upstream's connection has already given before it sleeps. Nothing waits for the network.

use crate::bounds::BURST_BYTES;
use bytes::{BufMut, BytesMut};
use pingora::protocols::http::HttpTask;
use std::future::poll_fn;
use std::task::Poll;

/// Most tasks Pingora hands over at once: the size of its channel from the upstream.
const HANDFUL: usize = 4;

/// Polls in which nothing comes until nothing is at hand. Pingora polls its halves in turns and the
/// branches of each in any order: the first poll ends the turn of the handful, in the second the
/// upstream's half may not have read yet, in the third its next handful may be seen after this.
const LOOKS: u8 = 3;

/// What a reply's next write begins with.
#[derive(Debug, Default)]
pub(super) struct Burst {
    bytes: BytesMut,
    looks: u8,
}

impl Burst {
    /// Keeps a whole handful of body, or gives what is to be written now, with all that was kept.
    pub(super) fn gather(&mut self, tasks: Vec<HttpTask>) -> Vec<HttpTask> {
        self.looks = 0;
        let whole = tasks.len() == HANDFUL && tasks.iter().all(|task| piece(task).is_some());
        let length: usize = tasks.iter().filter_map(piece).map(<[u8]>::len).sum();
        let kept = whole && self.bytes.len() + length < BURST_BYTES;
        if !kept && self.bytes.is_empty() {
            return tasks;
        }
        let mut rest = tasks.into_iter().peekable();
        while let Some(task) = rest.next_if(|task| piece(task).is_some()) {
            self.bytes.put_slice(piece(&task).unwrap_or_default());
        }
        if kept { Vec::new() } else { self.take().into_iter().chain(rest).collect() }
    }

    /// All that was kept.
    pub(super) fn take(&mut self) -> Option<HttpTask> {
        let kept = self.bytes.split().freeze();
        (!kept.is_empty()).then_some(HttpTask::Body(Some(kept), false))
    }

    /// Completes, in the task's next turns, when something is kept and no more of it has come; at
    /// once when nothing is kept. Cancel safe.
    pub(super) async fn over(&mut self) {
        poll_fn(|cx| {
            if self.bytes.is_empty() || self.looks == LOOKS {
                return Poll::Ready(());
            }
            self.looks += 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// The bytes of a body task that is not the last.
fn piece(task: &HttpTask) -> Option<&[u8]> {
    match task {
        HttpTask::Body(Some(bytes), false) => Some(bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures::FutureExt;

    fn body(text: &'static str) -> HttpTask {
        HttpTask::Body(Some(Bytes::from_static(text.as_bytes())), false)
    }

    fn handful() -> Vec<HttpTask> {
        ["a", "b", "c", "d"].map(body).into()
    }

    fn text(tasks: &[HttpTask]) -> String {
        tasks.iter().map(|task| String::from_utf8_lossy(piece(task).unwrap_or(b"!"))).collect()
    }

    #[test]
    fn a_handful_waits_for_what_follows_and_less_than_one_does_not() {
        let mut burst = Burst::default();
        assert_eq!(burst.gather(vec![body("1")]).len(), 1);
        assert!(burst.gather(handful()).is_empty());
        assert!(burst.gather(handful()).is_empty());
        let out = burst.gather(vec![body("e"), HttpTask::Done]);
        assert_eq!((out.len(), text(&out).as_str()), (2, "abcdabcde!"));
        assert!(burst.take().is_none());
    }

    #[test]
    fn an_end_or_a_failure_takes_everything_along_in_order() {
        for last in [HttpTask::Done, HttpTask::Body(Some(Bytes::from_static(b"z")), true)] {
            let mut burst = Burst::default();
            assert!(burst.gather(handful()).is_empty());
            let out = burst.gather(vec![body("x"), body("y"), body("-"), last]);
            assert_eq!((out.len(), text(&out).as_str()), (2, "abcdxy-!"));
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let large = Bytes::from(vec![b'x'; BURST_BYTES / 4]);
        let mut burst = Burst::default();
        assert!(burst.gather(handful()).is_empty());
        let more = (0..4).map(|_| HttpTask::Body(Some(large.clone()), false)).collect();
        assert_eq!(burst.gather(more).len(), 1);
    }

    #[test]
    fn it_is_over_when_nothing_came_in_so_many_looks() {
        let mut burst = Burst::default();
        assert!(burst.over().now_or_never().is_some(), "nothing is kept");
        for _ in 0..2 {
            burst.gather(handful());
            for _ in 0..LOOKS {
                assert!(burst.over().now_or_never().is_none());
            }
        }
        assert!(burst.over().now_or_never().is_some());
        assert_eq!(text(&burst.take().into_iter().collect::<Vec<_>>()), "abcdabcd");
    }
}
