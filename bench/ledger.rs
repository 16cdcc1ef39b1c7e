//! What recording costs: attempts claimed and sealed without a proxy around them, at a steady pace and
//! then at once, and the CPU of each ledger thread for it.
//!
//!     cargo run --release --example bench-ledger -- [--rows N] [--rate N] [--postgres URL] [--nats URL]
//!         [--backlog N] [--attempts N]
//!
//! A line per phase: microseconds of CPU a row and thread, rows a second until the last sink has the
//! last row, most memory. With `--backlog` the sinks are away at first: N rows are recorded, "ready" is
//! printed, and once a line comes in the sinks are there and the rest is measured. With `--attempts` only
//! what an attempt costs the request's own thread is: claim, dispatch, counts, usage and seal.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring tool")]

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weir::ledger::record::Intent;
use weir::ledger::{Durability, Ledger, Options, SpoolFull, Target};
use weir::meter::{Delivered, Estimator, Family, Finish, Tally};
use weir::outcome::Outcome;
use weir::price::{Policy, PriceVersion, Terms};
use weir::request::route::{Face, Operation};
use weir::usage::{KINDS, Kind, Usage};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Arguments {
    rows: u64,
    rate: u64,
    backlog: Option<u64>,
    attempts: Option<u64>,
    others: Vec<Target>,
}

fn arguments() -> Arguments {
    let (backlog, attempts, others) = (None, None, Vec::new());
    let mut found = Arguments { rows: 50_000, rate: 1_000, backlog, attempts, others };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match word.as_str() {
            "--rows" => found.rows = value.parse().unwrap(),
            "--rate" => found.rate = value.parse().unwrap(),
            "--backlog" => found.backlog = Some(value.parse().unwrap()),
            "--attempts" => found.attempts = Some(value.parse().unwrap()),
            "--postgres" => found.others.push(Target::Postgres(value.into())),
            "--nats" => {
                let (urls, stream) = (value.into(), "bench".to_owned());
                found.others.push(Target::Nats { urls, stream });
            }
            _ => std::process::exit(2),
        }
    }
    found
}

fn main() {
    let Arguments { rows, rate, backlog, attempts, others } = arguments();
    let place = std::env::temp_dir().join(format!("weir-bench-ledger-{}", std::process::id()));
    let ledger = Ledger::open(Options {
        directory: place.join("state"),
        slots: 16_384,
        durability: Durability::CrashSafe,
        sqlite: place.join("ledger.sqlite"),
        others,
        spool_bytes: 8 << 30,
        spool_full: SpoolFull::Refuse,
    })
    .unwrap();
    let callers = Callers::new();
    if let Some(count) = attempts {
        let ns = callers.request_thread(&ledger, count).as_nanos() as u64 / count;
        println!("{ns} ns an attempt on its request thread");
    } else if let Some(rows) = backlog {
        let phase = Phase::begin(&ledger, rows);
        phase.record(&callers, None);
        phase.ends("backlog", ledger.depth().spool_bytes);
        println!("ready");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        let phase = Phase::begin(&ledger, 0);
        phase.delivered(rows);
        phase.ends("drained", 0);
    } else {
        for (name, rows, rate) in [("paced", rate * 10, Some(rate)), ("at once", rows, None)] {
            let phase = Phase::begin(&ledger, rows);
            phase.record(&callers, rate);
            phase.delivered(rows);
            phase.ends(name, 0);
        }
    }
    let whole = ledger.shutdown(Duration::from_secs(60));
    let _ = fs::remove_dir_all(&place);
    assert!(whole, "not everything was delivered");
}

/// A stretch of work and what was spent before it.
struct Phase<'a> {
    ledger: &'a Ledger,
    rows: Cell<u64>,
    before: BTreeMap<String, u64>,
    flushed: u64,
    began: Instant,
    /// Most resident memory seen, kB.
    peak: Cell<u64>,
}

impl<'a> Phase<'a> {
    fn begin(ledger: &'a Ledger, rows: u64) -> Self {
        let (before, flushed, began) = (threads(), ledger.depth().rows_flushed, Instant::now());
        Self { ledger, rows: Cell::new(rows), before, flushed, began, peak: Cell::new(0) }
    }

    fn look(&self) {
        self.peak.set(self.peak.get().max(memory_kb()));
    }

    /// Records its rows, at this rate or as fast as slots come free.
    fn record(&self, callers: &Callers, rate: Option<u64>) {
        for row in 0..self.rows.get() {
            if let Some(rate) = rate {
                let due = self.began + Duration::from_secs(row) / rate as u32;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            while !callers.attempt(self.ledger, row) {
                std::thread::sleep(Duration::from_millis(1));
            }
            if row.is_multiple_of(4_096) {
                self.look();
            }
        }
    }

    /// Waits until every sink has so many more.
    fn delivered(&self, rows: u64) {
        self.rows.set(rows);
        while self.ledger.depth().rows_flushed < self.flushed + rows {
            std::thread::sleep(Duration::from_millis(5));
            self.look();
        }
    }

    fn ends(&self, name: &str, spooled: u64) {
        let (seconds, rows) = (self.began.elapsed().as_secs_f64(), self.rows.get() as f64);
        print!(
            "{name}: {rows} rows, {:.0} rows/s, {} kB resident at most",
            rows / seconds,
            self.peak.get()
        );
        if spooled > 0 {
            print!(", {:.0} bytes a row in the spool", spooled as f64 / rows);
        }
        for (thread, spent) in threads() {
            let own = spent.saturating_sub(self.before.get(&thread).copied().unwrap_or(0));
            if thread.starts_with("weir-") {
                print!(", {thread} {:.1} us", own as f64 / 1e3 / rows);
            }
        }
        println!();
    }
}

/// Nanoseconds of CPU by name of thread.
fn threads() -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = fs::read_to_string(task.join("comm")).unwrap().trim().to_owned();
        let spent = fs::read_to_string(task.join("schedstat")).unwrap();
        let spent: u64 = spent.split(' ').next().unwrap().parse().unwrap();
        *found.entry(name).or_default() += spent;
    }
    found
}

fn memory_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn thread_cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

fn mix(row: u64) -> u64 {
    row.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Some keys that ask for some models.
struct Callers {
    price: Arc<PriceVersion>,
}

impl Callers {
    fn new() -> Self {
        let mut unit = [0; KINDS];
        unit.iter_mut().zip([150_000, 75_000]).for_each(|(price, pico)| *price = pico);
        Self { price: Arc::new(PriceVersion::flat(unit)) }
    }

    fn intent(&self, row: u64) -> Intent<'static> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let key = row % 50;
        let mix = mix(row);
        let (model, provider) = ((row % 7).to_string(), (row % 3).to_string());
        Intent {
            generation_id: format!("gen-{}-{mix:020}", now.as_secs()).into(),
            attempt: 1,
            face: Face::Faithful,
            operation: Operation::Chat,
            streamed: row.is_multiple_of(2),
            workspace: "acme".into(),
            key_hash: [key as u8; 32],
            app: "https://editor.example/".into(),
            session: Cow::Borrowed(""),
            user: Cow::Borrowed(""),
            model: format!("openai/gpt-4o-mini-{model}").into(),
            provider: format!("provider-{provider}").into(),
            provider_name: "Provider".into(),
            endpoint: format!("openai/gpt-4o-mini-{model}@provider-{provider}").into(),
            upstream_model: "gpt-4o-mini-2024-07-18".into(),
            credential: "provider/default".into(),
            tier: Cow::Borrowed(""),
            price: self.price.hash(),
            prompt_bytes: 2_000 + mix % 4_000,
            max_tokens: Some(1_024),
        }
    }

    /// CPU of this thread for so many attempts, made in turns so that slots come free.
    fn request_thread(&self, ledger: &Ledger, count: u64) -> Duration {
        let rows: Vec<u64> = (0..count).collect();
        let mut spent = Duration::ZERO;
        for rows in rows.chunks(500) {
            let intents: Vec<_> = rows.iter().map(|row| (*row, self.intent(*row))).collect();
            let before = thread_cpu();
            for (row, intent) in &intents {
                assert!(self.attempt_of(ledger, intent, *row), "no slot is free");
            }
            spent += thread_cpu() - before;
            std::thread::sleep(Duration::from_millis(20));
        }
        spent
    }

    fn attempt(&self, ledger: &Ledger, row: u64) -> bool {
        self.attempt_of(ledger, &self.intent(row), row)
    }

    /// One attempt as a small answer makes it. False: no slot is free.
    fn attempt_of(&self, ledger: &Ledger, intent: &Intent<'_>, row: u64) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let (now_us, mix) = (now.as_micros() as u64, mix(row));
        let version = self.price.clone();
        let terms = Terms { version, started_us: now_us, policy: Policy::Insured, earlier: 0 };
        let estimator = Estimator::of(Family::O200k);
        let Some(claim) = ledger.claim(intent, &terms, estimator) else { return false };
        claim.dispatched();
        claim.status(200);
        claim.first_content(350_000 + mix % 100_000);
        claim.committed();
        let mut tally = &claim;
        tally.delivered(&Delivered([400 + mix % 1_000, 90, 20, 0, 0, 0, 0, 0]));
        tally.finish(Finish::Stop, "stop");
        tally.upstream_id(&format!("chatcmpl-{mix:029}"));
        let usage = Usage::ZERO.with(Kind::Input, 500 + mix % 1_000);
        tally.reported(&usage.with(Kind::Output, 100 + mix % 300));
        claim.terminal();
        claim.outcome(Outcome::Ok);
        claim.ended(now_us + 1_500_000, 1_500_000);
        true
    }
}
