//! How long a caller may leave what is to be sent untaken (P3, S3, F45).
//!
//! A caller has an account of time. Waiting for it draws on the account, and every byte it takes pays
//! in what that byte may cost at the least rate, up to `limits.write_timeout`. So one that takes
//! nothing is given up after that time, one slower than the rate in the long run, and one that stalls
//! now and then and catches up never.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// One caller's account.
#[derive(Debug)]
pub(super) struct Pace {
    most: Duration,
    /// Bytes a second; 0 where any byte pays in all.
    rate: usize,
    left: Duration,
    /// Since when the caller has been waited for.
    since: Option<Instant>,
    /// Kept from wait to wait.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(most: Duration, rate: usize) -> Self {
        Self { most, rate, left: most, since: None, timer: None }
    }

    /// What a write came to, given what the stream said. Costs a compare where the caller keeps up.
    pub(super) fn judge<T: Taken>(
        &mut self,
        cx: &mut Context<'_>,
        said: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &said {
            Poll::Pending if self.is_over(cx) => return Poll::Ready(Err(stalled())),
            Poll::Pending | Poll::Ready(Err(_)) => {}
            Poll::Ready(Ok(taken)) => {
                if let Some(since) = self.since.take() {
                    self.left = self.left.saturating_sub(since.elapsed());
                }
                if self.left < self.most {
                    self.pay_in(taken.bytes());
                }
            }
        }
        said
    }

    fn pay_in(&mut self, bytes: usize) {
        let paid = match (bytes, self.rate) {
            (0, _) => Duration::ZERO,
            (_, 0) => self.most,
            (bytes, rate) => Duration::from_secs_f64(bytes as f64 / rate as f64),
        };
        self.left = self.left.saturating_add(paid).min(self.most);
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let begun = self.since.is_some();
        let until = *self.since.get_or_insert_with(Instant::now) + self.left;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if !begun {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the caller does not take what is sent")
}

/// What a write or a flush gives back.
pub(super) trait Taken {
    fn bytes(&self) -> usize;
}

impl Taken for usize {
    fn bytes(&self) -> usize {
        *self
    }
}

impl Taken for () {
    fn bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::{advance, timeout};

    const SECOND: Duration = Duration::from_secs(1);

    /// How long the caller is waited for before it is given up.
    async fn waited(pace: &mut Pace) -> Duration {
        let began = Instant::now();
        let waiting = poll_fn(|cx| pace.judge(cx, Poll::<io::Result<usize>>::Pending));
        let error = timeout(SECOND * 1_000, waiting).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        began.elapsed()
    }

    /// Waits for so long, and takes so many bytes then.
    async fn takes(pace: &mut Pace, after: Duration, bytes: usize) -> bool {
        let waiting = poll_fn(|cx| pace.judge(cx, Poll::<io::Result<usize>>::Pending));
        let in_time = timeout(after, waiting).await.is_err();
        let said = poll_fn(|cx| pace.judge(cx, Poll::Ready(Ok(bytes)))).await;
        in_time && said.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_takes_nothing_has_the_whole_time_once() {
        let mut pace = Pace::new(SECOND * 30, 1_024);
        let after = waited(&mut pace).await;
        assert!((SECOND * 30..SECOND * 31).contains(&after), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn stalls_with_enough_between_them_never_add_up() {
        let mut pace = Pace::new(SECOND * 30, 1_024);
        for _ in 0..100 {
            assert!(takes(&mut pace, SECOND * 29, 30 << 10).await);
            advance(SECOND * 100).await; // nothing to send is no stall
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_below_the_rate_runs_out_and_one_at_it_does_not() {
        let mut slow = Pace::new(SECOND * 30, 1_024);
        let mut turns = 0;
        while takes(&mut slow, SECOND * 9, 5 << 10).await {
            turns += 1;
            assert!(turns < 100);
        }
        assert_eq!(turns, 6, "nine seconds drawn and five paid in, from thirty on");
        let mut steady = Pace::new(SECOND * 30, 1_024);
        for _ in 0..100 {
            assert!(takes(&mut steady, SECOND * 10, 10 << 10).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_every_byte_starts_over() {
        let mut pace = Pace::new(SECOND * 30, 0);
        for _ in 0..10 {
            assert!(takes(&mut pace, SECOND * 29, 1).await);
        }
        assert!(waited(&mut pace).await >= SECOND * 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_that_takes_nothing_pays_nothing_in() {
        let mut pace = Pace::new(SECOND * 30, 1_024);
        assert!(takes(&mut pace, SECOND * 20, 0).await);
        let after = waited(&mut pace).await;
        assert!((SECOND * 10..SECOND * 11).contains(&after), "{after:?}");
    }
}
