//! `kill -9` at random times: the ledger against a log of what really happened (F72).
//!
//! The test runs itself as a child that claims, streams and seals in threads, and kills it. Each
//! thread writes a line to its own log before or after each step, so that the log says what must,
//! what may and what must not have a row. Several rounds share one state directory, so recovery is
//! killed as well.

#[cfg(test)]
mod kill {
    use std::collections::BTreeMap;
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};
    use weir::ledger::record::{Intent, Record, Source, flag};
    use weir::ledger::{Found, Ledger, Options};
    use weir::meter::{CLASSES, Delivered, Finish, Tally};
    use weir::outcome::Outcome;
    use weir::price::PriceVersion;
    use weir::request::route::{Face, Operation};
    use weir::usage::{KINDS, Usage};

    const CHILD: &str = "WEIR_LEDGER_KILL_CHILD";
    const ROUNDS: u64 = 15;
    const THREADS: u64 = 3;
    const NOW_US: u64 = 1_700_000_000_000_000;

    /// How far an attempt is known to have come.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Step {
        /// Is about to be claimed, and will never be dispatched.
        Idle,
        /// Is about to be claimed and dispatched.
        Begun,
        Dispatched,
        Sealed,
    }

    const STEPS: [(Step, char); 4] =
        [(Step::Idle, 'I'), (Step::Begun, 'B'), (Step::Dispatched, 'D'), (Step::Sealed, 'S')];

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    }

    fn options(place: &Path) -> Options {
        Options {
            directory: place.join("state"),
            slots: 256,
            sync_interval: Duration::from_millis(20),
            sqlite: place.join("ledger.db"),
            spool_bytes: 1 << 30,
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
            price: [2; 32],
            prompt_bytes: 10,
            max_tokens: None,
        }
    }

    fn price() -> Arc<PriceVersion> {
        Arc::new(PriceVersion { hash: [2; 32], unit: [3; KINDS] })
    }

    /// All kinds the same: a usage mixed from two reports shows.
    fn usage(n: u64) -> Usage {
        Usage([n; KINDS])
    }

    /// Works until it is killed; for ten seconds at most.
    #[test]
    fn child() {
        let Some(place) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
        let round = fs::read_to_string(place.join("round")).unwrap();
        let ledger = Ledger::open(options(&place)).unwrap();
        for thread in 0..THREADS {
            let log = File::create(place.join(format!("truth-{round}-{thread}"))).unwrap();
            let (ledger, name) = (ledger.clone(), format!("{round}-{thread}"));
            std::thread::spawn(move || {
                (1..u64::MAX).for_each(|n| attempt(&ledger, &log, &name, n))
            });
        }
        std::thread::sleep(Duration::from_secs(10));
    }

    fn attempt(ledger: &Ledger, mut log: &File, name: &str, n: u64) {
        let generation = format!("gen-{name}-{n}");
        let mut note = |step: Step| {
            let mark = STEPS.iter().find(|(own, _)| *own == step).unwrap().1;
            log.write_all(format!("{mark} {n}\n").as_bytes()).unwrap();
        };
        let idle = n.is_multiple_of(5);
        note(if idle { Step::Idle } else { Step::Begun });
        let Some(claim) = ledger.claim(&intent(&generation), price(), NOW_US) else {
            return std::thread::yield_now();
        };
        if idle {
            return;
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
    }

    /// Each attempt's last step by the logs of one round.
    fn truth(place: &Path, round: u64) -> BTreeMap<(String, u64), Step> {
        let mut steps = BTreeMap::new();
        for thread in 0..THREADS {
            let name = format!("{round}-{thread}");
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
        assert_eq!((row.flags, row.native_finish.as_str()), (flag::TERMINAL, "stop"), "{n}");
        assert_eq!((row.ended_us, row.duration_us), (NOW_US + n, n));
        if reported {
            assert_eq!((row.usage, row.cost), (usage(n), i128::from(n) * 3 * 16), "{n}");
        }
        assert_eq!(row.charge, if committed { row.cost } else { 0 }, "{n}");
        if committed {
            assert_eq!(row.delivered, [n % 50; CLASSES], "{n}");
        }
    }

    fn check_cut(row: &Record, n: u64) {
        assert_eq!((row.outcome, row.intent.attempt), (Outcome::CrashRecovered, 1));
        match row.source {
            Source::Reported => {
                let first = row.usage.0[0];
                assert!(row.usage == usage(first) && first <= n, "{n}: {:?}", row.usage);
            }
            Source::Estimated => assert!(row.committed || row.delivered[0] > 0, "{n}"),
            Source::None => assert_eq!((row.cost, row.charge, row.usage), (0, 0, Usage::ZERO)),
        }
    }

    /// Compares one round row by row; says how many rows it has, and how many were cut.
    fn check(ledger: &Ledger, place: &Path, round: u64) -> (u64, u64) {
        let (mut count, mut cut) = (0, 0);
        for ((name, n), step) in truth(place, round) {
            let generation = format!("gen-{name}-{n}");
            let rows = match ledger.find(&generation) {
                Found::Rows(rows) => rows,
                Found::Unknown => Vec::new(),
                open @ Found::InFlight { .. } => panic!("{generation} is {open:?}"),
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

    fn run_and_kill(place: &Path, round: u64, delay: Duration) {
        fs::write(place.join("round"), round.to_string()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child"])
            .env(CHILD, place)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(delay);
        assert_eq!(child.try_wait().unwrap(), None, "the child ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn deliver_all(place: &Path) {
        let ledger = Ledger::open(options(place)).unwrap();
        assert!(ledger.shutdown(Duration::from_secs(60)), "{:?}", ledger.depth());
        let depth = ledger.depth();
        assert_eq!((depth.conflicts, depth.rows_lost, depth.rows_pending), (0, 0, 0), "{depth:?}");
    }

    #[test]
    fn every_attempt_has_its_row_whenever_the_process_is_killed() {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(clock.as_nanos() as u64);
        println!("seed {seed}: set WEIR_SEED to repeat");
        let place = tempfile::tempdir().unwrap();
        let (mut state, mut unchecked) = (seed, Vec::new());
        let (mut rows, mut cut) = (0, 0);
        for round in 0..ROUNDS {
            let delay = Duration::from_millis(20 + random(&mut state) % 300);
            run_and_kill(place.path(), round, delay);
            unchecked.push(round);
            if random(&mut state).is_multiple_of(2) && round + 1 < ROUNDS {
                continue;
            }
            deliver_all(place.path());
            let ledger = Ledger::open(options(place.path())).unwrap();
            for round in unchecked.drain(..) {
                let (more, more_cut) = check(&ledger, place.path(), round);
                (rows, cut) = (rows + more, cut + more_cut);
            }
        }
        let database = rusqlite::Connection::open(place.path().join("ledger.db")).unwrap();
        let count = |sql| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        let stored = count("SELECT count(*) FROM attempt");
        assert_eq!(stored as u64, rows, "rows without an attempt");
        assert_eq!(stored, count("SELECT count(DISTINCT generation_id) FROM attempt"));
        println!("{ROUNDS} kills, {rows} rows, {cut} of them cut");
        assert!(rows > 0);
    }
}
