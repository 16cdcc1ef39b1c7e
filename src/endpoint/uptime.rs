//! Uptime by the contract's minute rule (1.5): the share of minutes with at least 80 % success, among
//! those with at least 10 attempts.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

const MINUTE_MS: u64 = 60_000;
/// Minutes kept: one day.
const MINUTES: usize = 24 * 60;
const LEAST_ATTEMPTS: u64 = 10;
const GOOD_PERCENT: u64 = 80;

/// What is known of a minute that is over.
const UNKNOWN: u8 = 0;
const BAD: u8 = 1;
const GOOD: u8 = 2;

/// Verdicts as they are saved.
const LETTERS: [(char, u8); 3] = [('.', UNKNOWN), ('-', BAD), ('+', GOOD)];

/// Bits of one count in the current minute.
const COUNT_BITS: u32 = 16;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// The minutes of one endpoint's last day.
#[derive(Debug)]
pub(super) struct Uptime {
    /// Minute, successes and failures of the current one, changed as one.
    current: AtomicU64,
    closed: [AtomicU8; MINUTES],
}

impl Default for Uptime {
    fn default() -> Self {
        Self { current: AtomicU64::new(0), closed: [const { AtomicU8::new(UNKNOWN) }; MINUTES] }
    }
}

impl Uptime {
    /// Counts an attempt. Who opens a minute closes the one before, and those between, in which
    /// nothing happened.
    pub(super) fn add(&self, now_ms: u64, success: bool) {
        let minute = minute(now_ms);
        let add = |packed: u64| {
            let (of, good, bad) = unpack(packed);
            // A late attempt counts in the minute that is open.
            let (of, good, bad) = if of < minute { (minute, 0, 0) } else { (of, good, bad) };
            Some(pack(of, good + u64::from(success), bad + u64::from(!success)))
        };
        let Ok(before) = self.current.fetch_update(Relaxed, Relaxed, add) else { return };
        let (of, good, bad) = unpack(before);
        if of >= minute {
            return;
        }
        let first = (of + 1).max(minute.saturating_sub(MINUTES as u64 - 1));
        for between in first..=minute {
            self.close(between, UNKNOWN);
        }
        if of > 0 && minute - of < MINUTES as u64 {
            self.close(of, verdict(good, bad));
        }
    }

    /// Share of good minutes among the last `minutes`, the current one included, in thousandths;
    /// `None` if none of them had enough attempts.
    #[must_use]
    pub(super) fn share(&self, now_ms: u64, minutes: usize) -> Option<u32> {
        let now = minute(now_ms);
        let (open, good, bad) = unpack(self.current.load(Relaxed));
        let oldest = (now + 1).saturating_sub(minutes.min(MINUTES) as u64).max(1);
        let (mut counted, mut well) = (0_u32, 0_u32);
        for minute in oldest..=now.min(open) {
            let verdict = if minute == open {
                verdict(good, bad)
            } else if open - minute < MINUTES as u64 {
                self.closed.get(place(minute)).map_or(UNKNOWN, |cell| cell.load(Relaxed))
            } else {
                UNKNOWN
            };
            counted += u32::from(verdict != UNKNOWN);
            well += u32::from(verdict == GOOD);
        }
        (well * 1_000).checked_div(counted)
    }

    /// The verdict of every minute, the newest first.
    pub(super) fn save(&self, now_ms: u64) -> String {
        let (now, (open, good, bad)) = (minute(now_ms), unpack(self.current.load(Relaxed)));
        let letter = |age: u64| {
            let minute = now.saturating_sub(age);
            let known = match open {
                _ if minute == open => verdict(good, bad),
                _ if minute < open && open - minute < MINUTES as u64 => {
                    self.closed.get(place(minute)).map_or(UNKNOWN, |cell| cell.load(Relaxed))
                }
                _ => UNKNOWN,
            };
            LETTERS.iter().find(|(_, verdict)| *verdict == known).map_or('.', |(letter, _)| *letter)
        };
        let all: String = (0..MINUTES as u64).map(letter).collect();
        all.trim_end_matches('.').to_owned()
    }

    /// Takes in what was saved `gap_ms` ago; what has become too old is left out.
    pub(super) fn restore(&self, saved: &str, now_ms: u64, gap_ms: u64) {
        let now = minute(now_ms);
        let mut open = (0, 0);
        for (letter, age) in saved.chars().zip((gap_ms / MINUTE_MS)..) {
            let known = LETTERS.iter().find(|(known, _)| *known == letter);
            let minute = now.checked_sub(age).filter(|_| age < MINUTES as u64);
            match (known, minute) {
                (Some((_, GOOD)), Some(minute)) if minute == now => open = (LEAST_ATTEMPTS, 0),
                (Some((_, BAD)), Some(minute)) if minute == now => open = (0, LEAST_ATTEMPTS),
                (Some((_, verdict)), Some(minute)) => self.close(minute, *verdict),
                _ => {}
            }
        }
        let (good, bad) = open;
        let _ = self.current.compare_exchange(0, pack(now, good, bad), Relaxed, Relaxed);
    }

    fn close(&self, minute: u64, verdict: u8) {
        if let Some(cell) = self.closed.get(place(minute)) {
            cell.store(verdict, Relaxed);
        }
    }
}

fn verdict(good: u64, bad: u64) -> u8 {
    match good + bad {
        0..LEAST_ATTEMPTS => UNKNOWN,
        all if good * 100 >= all * GOOD_PERCENT => GOOD,
        _ => BAD,
    }
}

/// Minutes start past the day that is kept, so that those before the process have numbers too.
const fn minute(now_ms: u64) -> u64 {
    now_ms / MINUTE_MS + MINUTES as u64
}

fn place(minute: u64) -> usize {
    usize::try_from(minute % MINUTES as u64).unwrap_or(0)
}

fn pack(minute: u64, good: u64, bad: u64) -> u64 {
    minute << (2 * COUNT_BITS) | good.min(COUNT_MAX) << COUNT_BITS | bad.min(COUNT_MAX)
}

const fn unpack(packed: u64) -> (u64, u64, u64) {
    (packed >> (2 * COUNT_BITS), packed >> COUNT_BITS & COUNT_MAX, packed & COUNT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn minute_of(uptime: &Uptime, minute: u64, good: u32, bad: u32) {
        (0..good).for_each(|_| uptime.add(minute * MINUTE_MS, true));
        (0..bad).for_each(|_| uptime.add(minute * MINUTE_MS, false));
    }

    #[test]
    fn a_minute_counts_from_ten_attempts_and_is_good_from_eighty_percent() {
        let share = |good, bad| {
            let uptime = Uptime::default();
            minute_of(&uptime, 3, good, bad);
            uptime.share(3 * MINUTE_MS, 5)
        };
        assert_eq!(share(9, 0), None);
        assert_eq!(share(10, 0), Some(1_000));
        assert_eq!(share(8, 2), Some(1_000));
        assert_eq!(share(7, 3), Some(0));
        assert_eq!(share(79, 21), Some(0));
        assert_eq!(share(80, 20), Some(1_000));
    }

    #[test]
    fn minutes_leave_the_window_and_idle_ones_do_not_count() {
        let uptime = Uptime::default();
        minute_of(&uptime, 0, 10, 0);
        minute_of(&uptime, 2, 0, 10);
        minute_of(&uptime, 6, 9, 0);
        let at = |minute: u64, minutes| uptime.share(minute * MINUTE_MS, minutes);
        assert_eq!(at(6, 30), Some(500));
        assert_eq!(at(6, 5), Some(0), "minute 0 is out");
        assert_eq!(at(7, 5), None);
        assert_eq!(at(2_000, MINUTES), None);
    }

    proptest! {
        #[test]
        fn equals_a_list_of_minutes(
            steps in prop::collection::vec((0..900_u64, 0..25_u32, 0..6_u32), 1..40),
            window in prop::sample::select(vec![5, 30, MINUTES]),
        ) {
            let uptime = Uptime::default();
            let (mut now, mut all) = (0, std::collections::BTreeMap::new());
            for (step, good, bad) in steps {
                now += step;
                minute_of(&uptime, now, good, bad);
                let cell: &mut (u32, u32) = all.entry(now).or_default();
                *cell = (cell.0 + good, cell.1 + bad);
                let known = all.iter().filter(|(minute, (g, b))| now - **minute < window as u64 && g + b >= 10);
                let good: Vec<bool> = known.map(|(_, (g, b))| g * 100 >= (g + b) * 80).collect();
                let well = good.iter().filter(|good| **good).count() as u32;
                let share = (well * 1_000).checked_div(good.len() as u32);
                prop_assert_eq!(uptime.share(now * MINUTE_MS, window), share);
            }
        }
    }

    #[test]
    fn no_attempt_is_lost_between_threads() {
        let uptime = std::sync::Arc::new(Uptime::default());
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let uptime = std::sync::Arc::clone(&uptime);
                std::thread::spawn(move || (0..1_000).for_each(|_| uptime.add(5, n != 0)))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(unpack(uptime.current.load(Relaxed)), (minute(5), 3_000, 1_000));
    }
}
