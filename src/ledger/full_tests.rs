//! A spool that is full (F62).

use super::directory::Directory;
use super::testing::{self, ESTIMATOR, dispatched, options, terms};
use super::{Claim, Gate, Ledger, Options, SpoolFull, recover};
use crate::meter::Tally;
use crate::usage::{Kind, Usage};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn f62_a_full_spool_alarms_early_and_refuses_until_the_sink_has_caught_up() {
    let place = tempfile::tempdir().unwrap();
    let small = Options { spool_bytes: 5_000, ..options(place.path()) };
    let ledger = Ledger::open(small.clone()).unwrap();
    let other = rusqlite::Connection::open(&small.sqlite).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut early = 0;
    while !ledger.depth().alarm() {
        testing::complete(&ledger, &format!("gen-early-{early}"), 1);
        testing::until("it is in the spool", || ledger.depth().sealed == 0);
        early += 1;
    }
    assert_eq!(ledger.depth().gate, Gate::Open, "the alarm comes while all are admitted");
    testing::until("their slots are free", || ledger.depth().slots_used == 0);
    // All are claimed before the first is sealed: the gate may close at any time after.
    let open: Vec<_> = (0..60).map(|n| dispatched(&ledger, &format!("gen-{n}"), 1)).collect();
    drop(open);
    testing::until("the gate closes", || ledger.depth().gate == Gate::Full);
    let claim = || ledger.claim(&testing::intent("gen-1", 1), &terms(), ESTIMATOR);
    assert!(claim().is_none() && ledger.admits().is_err());
    other.execute_batch("ROLLBACK").unwrap();
    testing::until("the gate opens", || ledger.depth().gate == Gate::Open);
    assert!(claim().is_some());
    assert!(ledger.shutdown(Duration::from_secs(10)));
    assert_eq!((ledger.depth().rows_flushed, ledger.depth().refused), (early + 60, 1));
}

#[test]
fn f62_a_full_spool_serves_unbilled_where_the_policy_says_so() {
    let place = tempfile::tempdir().unwrap();
    let options = Options { spool_full: SpoolFull::ServeUnbilled, ..options(place.path()) };
    let directory = Directory::lock(&options.directory).unwrap();
    let (shared, _spool) = recover::start(directory, options).unwrap();
    let shared = Arc::new(shared);
    shared.set_gate(Gate::Full);
    assert_eq!(shared.admits(), Ok(()));
    let intent = testing::intent("gen-1", 1);
    let claim = Claim::new(&shared, &intent, &terms(), ESTIMATOR).unwrap();
    claim.dispatched();
    (&claim).reported(&Usage::ZERO.with(Kind::Input, 3));
    assert!(claim.complete(Duration::ZERO));
    drop(claim);
    let depth = shared.depth();
    assert_eq!((depth.unbilled, depth.refused, depth.slots_used, depth.sealed), (1, 0, 0, 0));
    shared.set_gate(Gate::Failed);
    assert!(shared.admits().is_err());
    assert!(Claim::new(&shared, &intent, &terms(), ESTIMATOR).is_none());
}
