//! Tool calls are judged after their reply was delivered, on a thread of their own: no request waits.

use crate::bounds::JUDGED_LATER;
use crate::edge::clock::now_ms;
use crate::snapshot::Target;
use crate::tools::{self, Calls, Verdict};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// A reply to be judged.
struct Case {
    target: Arc<Target>,
    /// The request's `tools`: a copy, so that its body can go.
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
    pub fn take(&self, target: &Arc<Target>, tools: &[u8], calls: Calls) {
        let case = Case { target: Arc::clone(target), tools: tools.into(), calls };
        if self.0.try_send(case).is_err() {
            target.metrics.tool_reply(Verdict::Unjudged);
        }
    }
}

fn judge_all(cases: &Receiver<Case>) {
    for Case { target, tools, calls } in cases {
        let verdict = tools::judge(&tools, &calls);
        target.metrics.tool_reply(verdict);
        if let Some(good) = verdict.is_good() {
            target.live.judged(good, now_ms());
        }
    }
}
