//! Memory while a sink is away: what waits is on disk, and takes none.

#[cfg(test)]
#[path = "ledger/truth.rs"]
#[allow(dead_code, reason = "the tests that compare rows use the rest")]
mod truth;

#[cfg(test)]
mod memory {
    use crate::truth::{attempt, options};
    use std::fs::{self, File};
    use std::time::{Duration, Instant};
    use weir::ledger::{Ledger, Options, Target};

    /// More rows than are kept readable in memory, so that all that is bounded is full.
    const BACKLOG: usize = 17_000;
    /// A third of what four backlogs take as rows; segments and caches are a few MiB each.
    const SLACK_KB: u64 = 24 << 10;

    /// Most that this process ever had resident.
    fn peak_kb() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < deadline, "gave up waiting: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn f66_four_times_the_backlog_takes_no_more_memory() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("lines");
        fs::write(&directory, "in the way").unwrap();
        let lines = Target::JsonLines { directory: directory.clone(), rotate_bytes: 1 << 30 };
        let own = Options { slots: 2_048, spool_bytes: 16 << 20, ..options(place.path()) };
        let ledger = Ledger::open(Options { others: vec![lines], ..own }).unwrap();
        let log = File::create("/dev/null").unwrap();
        // Every fifth is never dispatched, and every 101st takes its time.
        let mut numbers = (1_u64..).filter(|n| n % 5 != 0 && n % 101 != 0);
        let mut record = |rows| {
            for n in numbers.by_ref().take(rows) {
                until("a slot is free", || attempt(&ledger, &log, "memory", n));
            }
            until("all are in the spool", || ledger.depth().slots_used == 0);
            peak_kb()
        };
        let (once, four) = (record(BACKLOG), record(3 * BACKLOG));
        assert!(ledger.depth().rows_pending >= 4 * BACKLOG as u64);
        fs::remove_file(&directory).unwrap();
        assert!(ledger.shutdown(Duration::from_secs(60)), "{:?}", ledger.depth());
        let drained = peak_kb();
        println!("{once} kB with one backlog, {four} with four, {drained} once they are drained");
        assert!(drained < once + SLACK_KB, "{once} kB, then {four}, {drained}");
    }
}
