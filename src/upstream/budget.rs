//! The retry budget: retries may add a fifth to the load, never multiply it (reliability 1.1).

use crate::bounds::{RETRY_BUDGET_FLOOR, RETRY_BUDGET_PERCENT, RETRY_BUDGET_WINDOW};
use crate::endpoint::Window;

const BUCKETS: usize = 10;

/// Requests and retries of the last [`RETRY_BUDGET_WINDOW`], for the whole process. Lock-free.
#[derive(Debug)]
pub struct RetryBudget(Window<BUCKETS>);

impl Default for RetryBudget {
    fn default() -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a window of seconds")]
        let window_ms = RETRY_BUDGET_WINDOW.as_millis() as u64;
        Self(Window::new(window_ms / BUCKETS as u64))
    }
}

impl RetryBudget {
    /// Counts a request: to be called once for each, before its first try.
    pub fn request(&self, now_ms: u64) {
        self.0.add(now_ms, 1, 0);
    }

    /// Takes one retry out of the budget, or refuses.
    ///
    /// Within the window retries stay under 20 % of requests plus 10 a second. Threads that ask in
    /// the same instant can each take the last one: the excess is bounded by their number.
    #[must_use]
    pub fn withdraw(&self, now_ms: u64) -> bool {
        let (requests, retries) = self.0.sums(now_ms);
        let floor = RETRY_BUDGET_FLOOR * RETRY_BUDGET_WINDOW.as_secs();
        let allowed = retries < floor + requests * RETRY_BUDGET_PERCENT / 100;
        if allowed {
            self.0.add(now_ms, 0, 1);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: usize = 100;

    fn withdraw_all(budget: &RetryBudget, now_ms: u64) -> usize {
        (0..10_000).take_while(|_| budget.withdraw(now_ms)).count()
    }

    #[test]
    fn an_idle_process_has_the_floor_and_no_more() {
        let budget = RetryBudget::default();
        assert_eq!(withdraw_all(&budget, 0), FLOOR);
        assert!(!budget.withdraw(9_999), "one past the bound");
        assert_eq!(withdraw_all(&budget, 10_000), FLOOR);
    }

    #[test]
    fn a_fifth_of_the_requests_comes_on_top() {
        let budget = RetryBudget::default();
        (0..1_000).for_each(|_| budget.request(3_000));
        assert_eq!(withdraw_all(&budget, 4_000), FLOOR + 200);
    }

    #[test]
    fn requests_before_the_window_do_not_count() {
        let budget = RetryBudget::default();
        (0..1_000).for_each(|_| budget.request(0));
        assert_eq!(withdraw_all(&budget, 10_000), FLOOR);
    }
}
