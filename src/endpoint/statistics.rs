//! Rolling statistics of one endpoint: how fast, how reliable, how well cached. Fixed memory, no lock.

mod sample;

use super::Window;
use super::histogram::Histogram;
use super::saved::Saved;
use super::uptime::Uptime;
use crate::outcome::Outcome;
use crate::selection::{Facts, Grade, PERCENTILES};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

pub use sample::{ErrorClass, Sample};

const MINUTE_MS: u64 = 60_000;
/// How long what was summed up for selection holds.
const FRESH_MS: u64 = 1_000;
/// Fewest attempts that give an uptime grade, and its borders in percent (contract 3.3).
const GRADED_FROM: u64 = 100;
const NORMAL_PERCENT: u64 = 95;
const LOWER_PERCENT: u64 = 80;

/// What is told of one endpoint (contract 1.5). Shares are in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Milliseconds to first content over 30 minutes, at each of [`PERCENTILES`].
    pub latency_30m: Option<[u32; 4]>,
    /// Tenths of a token per second over 30 minutes.
    pub throughput_30m: Option<[u32; 4]>,
    pub uptime_5m: Option<u32>,
    pub uptime_30m: Option<u32>,
    pub uptime_1d: Option<u32>,
    /// Replies of the last 30 minutes that read from the provider's cache.
    pub cache_hits: Option<u32>,
    /// Replies of the last 2 hours that called tools, of which those whose calls were no good.
    pub tool_errors: Option<u32>,
    /// Replies of the last 2 hours to requests with tools, of which those that were cut short.
    pub cut_short: Option<u32>,
    /// Errors of the last 30 minutes by [`ErrorClass`].
    pub errors: [u64; ErrorClass::ALL.len()],
}

/// All of it. About 17 kB.
#[derive(Debug)]
pub struct Statistics {
    latency: (Histogram<6>, Histogram<7>),
    throughput: (Histogram<6>, Histogram<7>),
    uptime: Uptime,
    /// Successes and failures of 30 minutes.
    attempts: Window<7>,
    /// Replies, and those that read from a cache, of 30 minutes.
    cache: Window<7>,
    /// Replies that called tools, and those whose calls were no good, of 2 hours.
    tools: Window<9>,
    /// Replies to requests with tools, and those that were cut short, of 2 hours.
    finishes: Window<9>,
    /// Two classes a window.
    errors: [Window<7>; ErrorClass::ALL.len() / 2],
    summary: Summary,
}

/// What selection reads: summed up again when it is older than [`FRESH_MS`], by whoever comes first.
#[derive(Debug, Default)]
struct Summary {
    due: AtomicU64,
    latency: [AtomicU32; PERCENTILES.len()],
    throughput: [AtomicU32; PERCENTILES.len()],
    grade: AtomicU32,
    attempts: AtomicU32,
    tools: [AtomicU32; 2],
    finishes: [AtomicU32; 2],
}

impl Default for Statistics {
    fn default() -> Self {
        let five = || (Histogram::new(MINUTE_MS), Histogram::new(5 * MINUTE_MS));
        Self {
            latency: five(),
            throughput: five(),
            uptime: Uptime::default(),
            attempts: Window::new(5 * MINUTE_MS),
            cache: Window::new(5 * MINUTE_MS),
            tools: Window::new(15 * MINUTE_MS),
            finishes: Window::new(15 * MINUTE_MS),
            errors: [const { Window::new(5 * MINUTE_MS) }; 3],
            summary: Summary::default(),
        }
    }
}

impl Statistics {
    /// Takes in how an attempt went.
    pub fn add(&self, sample: &Sample, now_ms: u64) {
        if let Some(success) = sample.counts() {
            self.uptime.add(now_ms, success);
            self.attempts.add(now_ms, u64::from(success), u64::from(!success));
        }
        if let Some(class) = ErrorClass::of(sample.outcome.meaning(sample.status))
            && let Some(window) = self.errors.get(class as usize / 2)
        {
            let second = class as u64 % 2;
            window.add(now_ms, 1 - second, second);
        }
        // 0 would say that nothing is known.
        if let Some(ms) = sample.first_content_ms.map(|ms| ms.max(1)) {
            self.latency.0.add(now_ms, ms);
            self.latency.1.add(now_ms, ms);
        }
        if sample.outcome == Outcome::Ok {
            if let Some(speed) = sample.throughput() {
                self.throughput.0.add(now_ms, speed);
                self.throughput.1.add(now_ms, speed);
            }
            if let Some(cut_short) = sample.cut_short {
                self.finishes.add(now_ms, 1, cut_short.into());
            }
            if sample.prompt_tokens > 0 {
                self.cache.add(now_ms, 1, u64::from(sample.cached_tokens > 0));
            }
        }
    }

    /// Takes in whether the tool calls of a reply were good.
    pub fn judged(&self, good: bool, now_ms: u64) {
        self.tools.add(now_ms, 1, u64::from(!good));
    }

    /// Adds to `facts` what selection may know.
    pub fn tell(&self, facts: &mut Facts, now_ms: u64) {
        let summary = &self.summary;
        let due = summary.due.load(Relaxed);
        let renews = || {
            let next = now_ms.saturating_add(FRESH_MS);
            summary.due.compare_exchange(due, next, Relaxed, Relaxed).is_ok()
        };
        if now_ms >= due && renews() {
            self.sum_up(now_ms);
        }
        let read = |cells: &[AtomicU32; 4]| cells.each_ref().map(|cell| cell.load(Relaxed));
        facts.latency_ms = read(&summary.latency);
        facts.throughput = read(&summary.throughput);
        facts.attempts = summary.attempts.load(Relaxed);
        let pair = |cells: &[AtomicU32; 2]| cells.each_ref().map(|cell| cell.load(Relaxed)).into();
        (facts.tool_replies, facts.tool_errors) = pair(&summary.tools);
        (facts.finishes, facts.cut_short) = pair(&summary.finishes);
        facts.grade = match summary.grade.load(Relaxed) {
            0 => Grade::Normal,
            1 => Grade::Lower,
            _ => Grade::Fallback,
        };
    }

    fn sum_up(&self, now_ms: u64) {
        let summary = &self.summary;
        let (latency, _) = self.latency.0.percentiles(now_ms, PERCENTILES.map(|(_, p)| p));
        let (throughput, _) = self.throughput.0.percentiles(now_ms, SLOWER);
        let store = |cells: &[AtomicU32; 4], values: [u32; 4]| {
            cells.iter().zip(values).for_each(|(cell, value)| cell.store(value, Relaxed));
        };
        store(&summary.latency, latency);
        store(&summary.throughput, throughput);
        let (good, bad) = self.attempts.sums(now_ms);
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        summary.attempts.store(count(good + bad), Relaxed);
        summary.grade.store(grade(good, bad) as u32, Relaxed);
        for (window, [all, bad]) in
            [(&self.tools, &summary.tools), (&self.finishes, &summary.finishes)]
        {
            let (replies, errors) = window.sums(now_ms);
            all.store(count(replies), Relaxed);
            bad.store(count(errors), Relaxed);
        }
    }

    /// What is kept over a restart.
    #[must_use]
    pub fn save(&self, now_ms: u64) -> Saved {
        Saved {
            latency: [self.latency.0.save(now_ms), self.latency.1.save(now_ms)],
            throughput: [self.throughput.0.save(now_ms), self.throughput.1.save(now_ms)],
            uptime: self.uptime.save(now_ms),
            attempts: self.attempts.save(now_ms),
            cache: self.cache.save(now_ms),
            tools: self.tools.save(now_ms),
            finishes: self.finishes.save(now_ms),
            errors: self.errors.each_ref().map(|window| window.save(now_ms)),
        }
    }

    /// Takes in what was saved `gap_ms` ago.
    pub fn restore(&self, saved: &Saved, now_ms: u64, gap_ms: u64) {
        let [five, thirty] = &saved.latency;
        self.latency.0.restore(five, now_ms, gap_ms);
        self.latency.1.restore(thirty, now_ms, gap_ms);
        let [five, thirty] = &saved.throughput;
        self.throughput.0.restore(five, now_ms, gap_ms);
        self.throughput.1.restore(thirty, now_ms, gap_ms);
        self.uptime.restore(&saved.uptime, now_ms, gap_ms);
        self.attempts.restore(&saved.attempts, now_ms, gap_ms);
        self.cache.restore(&saved.cache, now_ms, gap_ms);
        self.tools.restore(&saved.tools, now_ms, gap_ms);
        self.finishes.restore(&saved.finishes, now_ms, gap_ms);
        for (window, saved) in self.errors.iter().zip(&saved.errors) {
            window.restore(saved, now_ms, gap_ms);
        }
    }

    /// Everything that is told of the endpoint.
    #[must_use]
    pub fn report(&self, now_ms: u64) -> Report {
        let known = |(values, count): ([u32; 4], u64)| (count > 0).then_some(values);
        let share = |(all, part): (u64, u64)| {
            (part * 1_000).checked_div(all).and_then(|share| u32::try_from(share).ok())
        };
        let [one, two, three] = self.errors.each_ref().map(|window| window.sums(now_ms));
        Report {
            latency_30m: known(self.latency.1.percentiles(now_ms, PERCENTILES.map(|(_, p)| p))),
            throughput_30m: known(self.throughput.1.percentiles(now_ms, SLOWER)),
            uptime_5m: self.uptime.share(now_ms, 5),
            uptime_30m: self.uptime.share(now_ms, 30),
            uptime_1d: self.uptime.share(now_ms, 24 * 60),
            cache_hits: share(self.cache.sums(now_ms)),
            tool_errors: share(self.tools.sums(now_ms)),
            cut_short: share(self.finishes.sums(now_ms)),
            errors: [one.0, one.1, two.0, two.1, three.0, three.1],
        }
    }
}

/// [`PERCENTILES`] of throughput, counted from the fastest: p90 is what 90 % of replies reach.
const SLOWER: [u32; PERCENTILES.len()] = [50, 25, 10, 1];

fn grade(good: u64, bad: u64) -> Grade {
    match good + bad {
        0..GRADED_FROM => Grade::Normal,
        all if good * 100 >= all * NORMAL_PERCENT => Grade::Normal,
        all if good * 100 >= all * LOWER_PERCENT => Grade::Lower,
        _ => Grade::Fallback,
    }
}

#[cfg(test)]
mod tests;
