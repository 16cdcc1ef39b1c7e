//! A scripted attempt that says what it does in a log of its own, and the comparison of that log with
//! the ledger: what must, what may and what must not have a row.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use weir::ledger::record::{Intent, Record, Source, flag};
use weir::ledger::{Durability, Found, Ledger, Options, SpoolFull};
use weir::meter::{CLASSES, Delivered, Estimator, Family, Finish, Tally};
use weir::outcome::Outcome;
use weir::price::{Policy, PriceVersion, Terms};
use weir::request::route::{Face, Operation};
use weir::usage::{KINDS, Kind, Usage};

pub(crate) const NOW_US: u64 = 1_700_000_000_000_000;

/// How far an attempt is known to have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Is about to be claimed, and will never be dispatched.
    Idle,
    /// Is about to be claimed and dispatched.
    Begun,
    Dispatched,
    Sealed,
}

const STEPS: [(Step, char); 4] =
    [(Step::Idle, 'I'), (Step::Begun, 'B'), (Step::Dispatched, 'D'), (Step::Sealed, 'S')];

pub(crate) fn options(place: &Path) -> Options {
    Options {
        directory: place.join("state"),
        slots: 256,
        durability: Durability::CrashSafe,
        sqlite: place.join("ledger.db"),
        others: Vec::new(),
        spool_bytes: 1 << 30,
        spool_full: SpoolFull::Refuse,
    }
}

fn intent(generation: &str) -> Intent<'_> {
    Intent {
        generation_id: generation.into(),
        attempt: 1,
        face: Face::Faithful,
        operation: Operation::Chat,
        streamed: true,
        workspace: "w".into(),
        key_hash: [1; 32],
        app: "".into(),
        session: "".into(),
        user: "".into(),
        model: "m".into(),
        provider: "p".into(),
        provider_name: "P".into(),
        endpoint: "m@p".into(),
        upstream_model: "u".into(),
        credential: "p/c".into(),
        tier: "".into(),
        price: terms().version.hash(),
        prompt_bytes: 10,
        max_tokens: None,
    }
}

fn terms() -> Terms {
    let version = Arc::new(PriceVersion::flat([3; KINDS]));
    Terms { version, started_us: NOW_US, policy: Policy::Delivered, earlier: 0 }
}

/// All kinds the same: a usage mixed from two reports shows.
fn usage(n: u64) -> Usage {
    Usage([n; KINDS])
}

/// Makes attempt `n`; false if it was refused.
pub(crate) fn attempt(ledger: &Ledger, mut log: &File, name: &str, n: u64) -> bool {
    let generation = format!("gen-{name}-{n}");
    let mut note = |step: Step| {
        let mark = STEPS.iter().find(|(own, _)| *own == step).unwrap().1;
        log.write_all(format!("{mark} {n}\n").as_bytes()).unwrap();
    };
    let idle = n.is_multiple_of(5);
    note(if idle { Step::Idle } else { Step::Begun });
    let estimator = Estimator::of(Family::Other);
    let Some(claim) = ledger.claim(&intent(&generation), &terms(), estimator) else {
        note(Step::Idle);
        std::thread::yield_now();
        return false;
    };
    if idle {
        return true;
    }
    claim.dispatched();
    note(Step::Dispatched);
    let mut tally = &claim;
    claim.status(200);
    if n.is_multiple_of(3) {
        claim.committed();
        (1..=n % 50).for_each(|k| tally.delivered(&Delivered([k; CLASSES])));
    }
    if !n.is_multiple_of(7) {
        (1..=n % 50).chain([n]).for_each(|k| tally.reported(&usage(k)));
    }
    if n.is_multiple_of(101) {
        std::thread::sleep(Duration::from_millis(n % 30));
    }
    tally.finish(Finish::Stop, "stop");
    claim.terminal();
    claim.outcome(Outcome::Ok);
    claim.ended(NOW_US + n, n);
    drop(claim);
    note(Step::Sealed);
    true
}

/// Each attempt's last step by the logs of these names.
fn truth(place: &Path, names: &[String]) -> BTreeMap<(String, u64), Step> {
    let mut steps = BTreeMap::new();
    for name in names {
        let log = fs::read_to_string(place.join(format!("truth-{name}"))).unwrap_or_default();
        for line in log.lines() {
            let (mark, n) = line.split_once(' ').unwrap();
            let step = STEPS.iter().find(|(_, own)| mark == own.to_string()).unwrap().0;
            steps.insert((name.clone(), n.parse().unwrap()), step);
        }
    }
    steps
}

fn check_sealed(row: &Record, n: u64) {
    let committed = n.is_multiple_of(3);
    let reported = !n.is_multiple_of(7);
    let source = match (reported, committed) {
        (true, _) => Source::Reported,
        (false, true) => Source::Estimated,
        (false, false) => Source::None,
    };
    assert_eq!((row.outcome, row.source, row.status), (Outcome::Ok, source, 200), "{n}");
    // Large reports claim more than what was delivered explains.
    let flags = row.flags & !flag::QUARANTINED;
    assert_eq!((flags, row.native_finish.as_str()), (flag::TERMINAL, "stop"), "{n}");
    assert_eq!((row.ended_us, row.duration_us), (NOW_US + n, n));
    if reported {
        assert_eq!((row.usage, row.cost), (usage(n), i128::from(n) * 3 * 14), "{n}");
    }
    assert_eq!(row.charge, if committed { row.cost } else { 0 }, "{n}");
    if committed {
        assert_eq!(row.delivered, [n % 50; CLASSES], "{n}");
    }
}

fn check_cut(row: &Record, n: u64) {
    if row.flags & flag::TERMINAL != 0 {
        // Killed between the terminal event and its seal: complete (reliability 4.4).
        assert_eq!((row.outcome, row.status), (Outcome::Ok, 200), "{n}");
        let reported = !n.is_multiple_of(7);
        assert_eq!(row.source == Source::Reported, reported, "{n}");
        assert!(!reported || row.usage == usage(n), "{n}: {:?}", row.usage);
        return;
    }
    assert_eq!((row.outcome, row.intent.attempt), (Outcome::CrashRecovered, 1));
    match row.source {
        Source::Reported | Source::Partial => {
            let first = row.usage.0[0];
            let output = row.usage.get(Kind::Output);
            let grown = usage(first).with(Kind::Output, output);
            assert!(row.usage == grown && first <= n && output >= first, "{n}: {:?}", row.usage);
            assert!(row.source == Source::Partial || output == first, "{n}: {:?}", row.usage);
        }
        Source::Estimated => assert!(row.committed || row.delivered[0] > 0, "{n}"),
        Source::None => assert_eq!((row.cost, row.charge, row.usage), (0, 0, Usage::ZERO)),
    }
}

/// Compares the attempts of these logs row by row; says how many rows they have, and how many were
/// cut.
pub(crate) fn check(ledger: &Ledger, place: &Path, names: &[String]) -> (u64, u64) {
    let (mut count, mut cut) = (0, 0);
    for ((name, n), step) in truth(place, names) {
        let generation = format!("gen-{name}-{n}");
        let rows = match ledger.find(&generation) {
            Found::Rows(rows) => rows,
            Found::Unknown => Vec::new(),
            open @ (Found::InFlight { .. } | Found::NotYet) => panic!("{generation} is {open:?}"),
        };
        let allowed = match step {
            Step::Idle => 0..=0,
            Step::Begun => 0..=1,
            Step::Dispatched | Step::Sealed => 1..=1,
        };
        assert!(allowed.contains(&rows.len()), "{generation} at {step:?}: {rows:?}");
        count += rows.len() as u64;
        for row in &rows {
            let flagged = row.flags & flag::CRASH_RECOVERED != 0;
            assert!(!(flagged && step == Step::Sealed), "{generation} was sealed: {row:?}");
            cut += u64::from(flagged);
            if flagged { check_cut(row, n) } else { check_sealed(row, n) }
        }
    }
    (count, cut)
}

/// Starts a ledger and has it deliver all that earlier ones left; nothing may be lost or differ.
pub(crate) fn deliver_all(options: Options) {
    let ledger = Ledger::open(options).unwrap();
    assert!(ledger.shutdown(Duration::from_secs(60)), "{:?}", ledger.depth());
    let depth = ledger.depth();
    assert_eq!((depth.conflicts, depth.rows_lost, depth.rows_pending), (0, 0, 0), "{depth:?}");
}
