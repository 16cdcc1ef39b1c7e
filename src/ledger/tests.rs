use super::index_list::IndexList;
use super::record::{Source, flag};
use super::testing::{
    ESTIMATOR, NOW_US, complete, crash, dispatched, intent, options, price, terms, until,
};
use super::*;
use crate::meter::{CLASSES, Delivered, Tally};
use crate::outcome::Outcome;
use crate::price::PriceVersion;
use crate::usage::{Kind, Usage};
use std::sync::atomic::{AtomicU32, Ordering};

fn rows(found: Found) -> Vec<Record> {
    match found {
        Found::Rows(rows) => rows,
        other => panic!("rows expected, not {other:?}"),
    }
}

#[test]
fn an_attempt_goes_from_slot_to_sink_and_is_found_all_the_way() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(place.path())).unwrap();
    assert_eq!(ledger.find("gen-1"), Found::Unknown);
    let claim = dispatched(&ledger, "gen-1", 1);
    let open = |terminal| Found::InFlight { terminal, workspace: "acme".to_owned() };
    assert_eq!(ledger.find("gen-1"), open(false));
    claim.terminal();
    assert_eq!(ledger.find("gen-1"), open(true));
    claim.outcome(Outcome::ServerError);
    claim.status(500);
    drop(claim);
    complete(&ledger, "gen-1", 2);
    let sealed = rows(ledger.find("gen-1"));
    assert_eq!(sealed.len(), 2);
    assert_eq!(
        (sealed[0].outcome, sealed[0].status, sealed[0].source),
        (Outcome::ServerError, 500, Source::None)
    );
    let last = &sealed[1];
    assert_eq!((last.usage.get(Kind::Input), last.cost, last.charge), (10, 55, 55));
    assert_eq!((last.first_content_us, last.duration_us), (Some(40), 900));
    assert!(ledger.shutdown(Duration::from_secs(10)));
    drop(ledger);

    let again = Ledger::open(options(place.path())).unwrap();
    assert_eq!(rows(again.find("gen-1")), sealed);
    assert_eq!(again.depth().recovered, 0);
}

/// What memory no longer holds may wait in the spool: to call it unknown would be a lie.
#[test]
fn what_may_wait_in_the_spool_is_not_said_to_be_unknown() {
    let place = tempfile::tempdir().unwrap();
    let options = options(place.path());
    std::fs::create_dir_all(&options.sqlite).unwrap();
    let ledger = Ledger::open(options).unwrap();
    complete(&ledger, "gen-1", 1);
    assert_eq!(ledger.find("gen-2"), Found::Unknown, "all there is, is in memory");
    depth::add(&ledger.shared.counters.appended, crate::bounds::RECENT_GENERATIONS as u64);
    until("its row is in memory", || matches!(ledger.find("gen-1"), Found::Rows(_)));
    until("the database is too far behind", || ledger.find("gen-2") == Found::NotYet);
}

#[test]
fn a_claim_that_was_never_dispatched_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(place.path())).unwrap();
    drop(ledger.claim(&intent("gen-1", 1), &terms(), ESTIMATOR).unwrap());
    assert_eq!((ledger.find("gen-1"), ledger.depth().slots_used), (Found::Unknown, 0));
    assert!(ledger.shutdown(Duration::from_secs(10)));
}

#[test]
fn what_is_open_when_the_process_ends_is_recovered_once() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(place.path())).unwrap();
    let _bare = dispatched(&ledger, "gen-bare", 1);
    let cut = dispatched(&ledger, "gen-cut", 1);
    (&cut).delivered(&Delivered([100; CLASSES]));
    cut.committed();
    let told = dispatched(&ledger, "gen-told", 1);
    (&told).reported(&Usage::ZERO.with(Kind::Input, 3));
    (&told).reported(&Usage::ZERO.with(Kind::Input, 7));
    let whole = dispatched(&ledger, "gen-whole", 1);
    (&whole).reported(&Usage::ZERO.with(Kind::Output, 9));
    whole.terminal();
    let _idle = ledger.claim(&intent("gen-idle", 1), &terms(), ESTIMATOR).unwrap();
    complete(&ledger, "gen-done", 1);
    let done = rows(ledger.find("gen-done"));

    let crashed = crash(place.path());
    let again = Ledger::open(Options { slots: 9, ..options(crashed.path()) }).unwrap();
    assert_eq!(rows(again.find("gen-done")), done);
    assert_eq!(again.find("gen-idle"), Found::Unknown);
    let complete = &rows(again.find("gen-whole"))[0];
    assert_eq!((complete.outcome, complete.source), (Outcome::Ok, Source::Reported));
    assert_eq!(complete.flags, flag::TERMINAL | flag::CRASH_RECOVERED);
    let want =
        [("gen-bare", Source::None), ("gen-cut", Source::Estimated), ("gen-told", Source::Partial)];
    for (generation, source) in want {
        let found = rows(again.find(generation));
        let [row] = &found[..] else { panic!("one row expected: {found:?}") };
        assert_eq!((row.outcome, row.source), (Outcome::CrashRecovered, source));
        assert_eq!(row.usage == Usage::ZERO, source == Source::None);
        assert_eq!(row.cost, price().cost(&row.usage, row.started_us));
        assert_ne!(row.flags & flag::CRASH_RECOVERED, 0);
        let epoch = ledger.shared.writer.epoch;
        assert_eq!((row.charge, row.key.epoch), (0, epoch), "no caller pays for what a crash cut");
    }
    assert_eq!((again.depth().crash_recovered, again.depth().rows_lost), (3, 0));
    assert!(again.shutdown(Duration::from_secs(10)));
    drop(again);
    let last = Ledger::open(options(crashed.path())).unwrap();
    assert_eq!((last.depth().recovered, rows(last.find("gen-cut")).len()), (0, 1));
}

/// Strict: an answer waits for its record, and what is told of it after that changes nothing.
#[test]
fn a_complete_answer_waits_for_its_record_where_durability_is_strict() {
    for durability in [Durability::Strict, Durability::CrashSafe] {
        let place = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(Options { durability, ..options(place.path()) }).unwrap();
        let claim = dispatched(&ledger, "gen-1", 1);
        claim.terminal();
        claim.outcome(Outcome::Ok);
        assert_eq!(claim.waits(), durability == Durability::Strict);
        assert!(claim.complete(Duration::from_secs(10)));
        let used = ledger.depth().slots_used;
        assert_eq!(used, u64::from(durability == Durability::CrashSafe));
        let next = dispatched(&ledger, "gen-2", 1);
        claim.outcome(Outcome::Reset);
        drop((claim, next));
        let strict = durability == Durability::Strict;
        let want = if strict { Outcome::Ok } else { Outcome::Reset };
        assert_eq!(rows(ledger.find("gen-1"))[0].outcome, want);
        assert_eq!(rows(ledger.find("gen-2"))[0].outcome, Outcome::Internal);
        assert!(ledger.shutdown(Duration::from_secs(10)));
        assert_eq!(ledger.depth().rows_flushed, 2);
    }
}

#[test]
fn f74_a_panic_seals_its_slot_as_internal() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(place.path())).unwrap();
    let held = ledger.clone();
    let panicked = std::thread::spawn(move || {
        let _claim = dispatched(&held, "gen-1", 1);
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    let rows = rows(ledger.find("gen-1"));
    assert_eq!((rows[0].outcome, rows[0].flags & flag::CRASH_RECOVERED), (Outcome::Internal, 0));
}

#[test]
fn slots_are_claimed_to_the_last_and_not_beyond() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(Options { slots: 2, ..options(place.path()) }).unwrap();
    let claim = || ledger.claim(&intent("gen-1", 1), &terms(), ESTIMATOR);
    let (one, two) = (claim(), claim());
    assert!(one.is_some() && two.is_some() && claim().is_none());
    drop(one);
    assert!(claim().is_some());
    assert_eq!(ledger.depth().refused, 1);
}

#[test]
fn a_second_process_is_told_who_is_there() {
    let place = tempfile::tempdir().unwrap();
    let _first = Ledger::open(options(place.path())).unwrap();
    let refused = Ledger::open(options(place.path())).err().unwrap();
    assert!(refused.to_string().contains("another process uses the state directory"));
}

#[test]
fn f71_rows_wait_for_a_locked_sink() {
    let place = tempfile::tempdir().unwrap();
    let options = options(place.path());
    let ledger = Ledger::open(options.clone()).unwrap();
    let other = rusqlite::Connection::open(&options.sqlite).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    (0..200).for_each(|n| {
        complete(&ledger, &format!("gen-{n}"), 1);
        if n % 50 == 49 {
            until("slots are freed while the sink is locked", || ledger.depth().slots_used == 0);
        }
    });
    until("the sink refuses", || ledger.depth().sink_errors > 0);
    assert_eq!((ledger.depth().rows_pending, ledger.depth().rows_flushed), (200, 0));
    other.execute_batch("ROLLBACK").unwrap();
    assert!(ledger.shutdown(Duration::from_secs(10)));
    assert_eq!(ledger.depth().rows_flushed, 200);
}

#[test]
fn what_the_hot_path_costs() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(Options { slots: 16_384, ..options(place.path()) }).unwrap();
    let (intent, terms) = (intent("gen-1", 1), terms());
    let mut best = f64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..200 {
            let claim = ledger.claim(&intent, &terms, ESTIMATOR).unwrap();
            claim.dispatched();
            claim.ended(NOW_US, 1);
        }
        best = best.min(start.elapsed().as_nanos() as f64 / 200.0);
        std::thread::sleep(Duration::from_millis(12));
    }
    println!("claim, dispatch, end and seal: {best:.0} ns");
}

#[test]
fn the_last_number_in_is_the_first_one_out() {
    let list = IndexList::new(2);
    (0..3).for_each(|n| list.push(n));
    assert_eq!((list.pop(), list.pop(), list.pop()), (Some(1), Some(0), None));
}

#[test]
fn threads_never_hold_the_same_number() {
    const NUMBERS: u32 = 8;
    let list = IndexList::new(NUMBERS as usize);
    (0..NUMBERS).for_each(|n| list.push(n));
    let held: Vec<_> = (0..NUMBERS).map(|_| AtomicU32::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50_000 {
                    let Some(n) = list.pop() else { continue };
                    assert_eq!(held[n as usize].fetch_add(1, Ordering::SeqCst), 0);
                    held[n as usize].fetch_sub(1, Ordering::SeqCst);
                    list.push(n);
                }
            });
        }
    });
    assert_eq!(std::iter::from_fn(|| list.pop()).count(), NUMBERS as usize);
}

#[test]
fn a_number_of_slots_out_of_bounds_is_refused() {
    for slots in [0, crate::bounds::SLOTS_MAX + 1] {
        let place = tempfile::tempdir().unwrap();
        let refused = Ledger::open(Options { slots, ..options(place.path()) }).err().unwrap();
        assert!(refused.to_string().contains("choose 1 to 1048576"), "{refused}");
    }
}

/// Names of any length are kept as far as they fit, and the row says that they were cut.
#[test]
fn texts_beyond_their_share_of_the_slot_are_cut_and_flagged() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(place.path())).unwrap();
    let mut long = intent("gen-long", 1);
    long.app = "é".repeat(1_000).into();
    let claim = ledger.claim(&long, &terms(), ESTIMATOR).unwrap();
    claim.dispatched();
    let mut tally = &claim;
    tally.upstream_id(&"i".repeat(129));
    tally.finish(crate::meter::Finish::Length, &"é".repeat(33));
    tally.suspect();
    drop(claim);
    let found = rows(ledger.find("gen-long"));
    let row = &found[0];
    assert_eq!(row.flags, flag::CUT_INTENT | flag::SUSPECT_USAGE | flag::QUARANTINED);
    assert_eq!(row.intent.app, "é".repeat(64));
    assert_eq!((row.upstream_id.len(), row.native_finish.as_str()), (128, "é".repeat(32).as_str()));
    assert_eq!((row.outcome, row.finish), (Outcome::Internal, Some(crate::meter::Finish::Length)));
}

/// Billed as served (contract 3.8): the record has tier and price of the reply, and all that was seen before.
#[test]
fn an_attempt_that_is_served_at_another_tier_keeps_its_number_and_what_it_has_seen() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(place.path())).unwrap();
    let mut claim = dispatched(&ledger, "gen-1", 1);
    claim.media();
    claim.status(200);
    claim.first_content(40);
    claim.committed();
    let mut tally = &claim;
    tally.upstream_id("chatcmpl-1");
    tally.reported(&Usage::ZERO.with(Kind::Input, 10).with(Kind::Output, 5));
    let version = Arc::new(PriceVersion::parse("input=1000 output=2000").unwrap());
    let terms = Terms { version: version.clone(), ..terms() };
    let mut served = intent("gen-1", 1);
    (served.tier, served.price) = ("priority".into(), version.hash());
    assert!(claim.serve(&served, &terms, ESTIMATOR));
    assert_eq!(ledger.depth().slots_used, 1);
    claim.terminal();
    claim.outcome(Outcome::Ok);
    // What a kill here leaves, and what goes on.
    let after = crash(place.path());
    let recovered = Ledger::open(options(after.path())).unwrap();
    drop(claim);
    until("it is delivered", || ledger.depth().rows_flushed == 1);
    for found in [ledger.find("gen-1"), recovered.find("gen-1")] {
        let Found::Rows(rows) = found else { panic!("{found:?}") };
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((&*row.intent.tier, row.key.seq, row.cost), ("priority", 1, 20_000));
        assert_eq!((row.status, &*row.upstream_id, row.committed), (200, "chatcmpl-1", true));
        assert!(row.flags & flag::MEDIA > 0 && row.first_content_us == Some(40));
    }
}

/// The reply shows the price that the record has, so it has to know before.
#[test]
fn a_record_follows_a_reply_to_another_tier_only_where_a_slot_is_kept_for_it() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(Options { slots: 2, ..options(place.path()) }).unwrap();
    let mut claim = dispatched(&ledger, "gen-1", 1);
    let other = dispatched(&ledger, "gen-2", 1);
    assert!(!claim.may_follow() && !claim.serve(&intent("gen-1", 1), &terms(), ESTIMATOR));
    drop(other);
    until("a slot is free", || ledger.depth().slots_used == 1);
    assert!(claim.may_follow() && claim.may_follow());
    assert!(ledger.claim(&intent("gen-3", 1), &terms(), ESTIMATOR).is_none(), "it is kept");
    let mut served = intent("gen-1", 1);
    served.tier = "flex".into();
    assert!(claim.serve(&served, &terms(), ESTIMATOR));
    assert!(claim.may_follow(), "the first one is free again");
    drop(claim);
    until("none is kept", || ledger.depth().slots_used == 0);
    assert_eq!(rows(ledger.find("gen-1"))[0].intent.tier, "flex");
}
