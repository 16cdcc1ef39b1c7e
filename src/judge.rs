//! Tool calls are judged after their reply was delivered, on a thread of their own: no request waits.

use crate::bounds::JUDGED_LATER;
use crate::edge::clock::now_ms;
use crate::endpoint::Live;
use crate::metrics::EndpointMetrics;
use crate::snapshot::Target;
use crate::tools::{self, Calls, Verdict};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

/// A reply to be judged.
struct Case {
    live: Arc<Live>,
    metrics: Arc<EndpointMetrics>,
    /// The request's `tools`.
    tools: Box<[u8]>,
    calls: Calls,
}

/// Takes replies to be judged. What comes while too many wait is not judged.
pub struct Judge(SyncSender<Case>);

impl Judge {
    /// Starts the thread. It ends with the judge.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start() -> io::Result<Self> {
        let (sender, receiver) = sync_channel(JUDGED_LATER);
        let work = move || judge_all(&receiver);
        thread::Builder::new().name("weir-judge".to_owned()).spawn(work)?;
        Ok(Self(sender))
    }

    /// Has `calls` of a reply of `target` judged by the text of its request's `tools`.
    pub fn take(&self, target: &Target, tools: Box<[u8]>, calls: Calls) {
        let (live, metrics) = (Arc::clone(&target.live), Arc::clone(&target.metrics));
        self.queue(Case { live, metrics, tools, calls });
    }

    fn queue(&self, case: Case) {
        if let Err(TrySendError::Full(case) | TrySendError::Disconnected(case)) =
            self.0.try_send(case)
        {
            case.metrics.tool_reply(Verdict::Unjudged);
        }
    }
}

fn judge_all(cases: &Receiver<Case>) {
    for Case { live, metrics, tools, calls } in cases {
        let verdict = tools::judge(&tools, &calls);
        if let Some(good) = verdict.is_good() {
            live.judged(good, now_ms());
        }
        metrics.tool_reply(verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::tools::Piece;

    fn case(metrics: &Metrics, name: &str) -> Case {
        let mut calls = Calls::default();
        calls.add(&Piece { name, arguments: "{}", ..Piece::default() });
        Case {
            live: Arc::default(),
            metrics: metrics.endpoint("a/m", "p").unwrap(),
            tools: (*br#"[{"function":{"name":"f"}}]"#).into(),
            calls,
        }
    }

    #[test]
    fn a_reply_is_judged_later_and_counts_for_its_endpoint() {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let (sender, receiver) = sync_channel(JUDGED_LATER);
        let judge = Judge(sender);
        let (good, bad) = (case(&metrics, "f"), case(&metrics, "g"));
        let live = [Arc::clone(&good.live), Arc::clone(&bad.live)];
        judge.queue(good);
        judge.queue(bad);
        drop(judge);
        judge_all(&receiver);
        let errors = live.map(|live| live.report(now_ms()).tool_errors);
        assert_eq!(errors, [Some(0), Some(1_000)]);
    }

    #[test]
    fn as_many_as_the_bound_wait_and_one_more_is_not_judged() {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let (sender, _receiver) = sync_channel(JUDGED_LATER);
        let judge = Judge(sender);
        let unjudged = || metrics.endpoint("a/m", "p").unwrap().tool_replies(Verdict::Unjudged);
        (0..JUDGED_LATER).for_each(|_| judge.queue(case(&metrics, "f")));
        assert_eq!(unjudged(), 0);
        judge.queue(case(&metrics, "f"));
        assert_eq!(unjudged(), 1);
    }
}
