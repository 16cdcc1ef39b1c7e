//! `kill -9` at random times: the ledger against a log of what really happened (F72).
//!
//! The test runs itself as a child that claims, streams and seals in threads, and kills it. Each
//! thread writes a line to its own log before or after each step, so that the log says what must,
//! what may and what must not have a row. Several rounds share one state directory, so recovery is
//! killed as well.

#[cfg(test)]
#[path = "ledger/truth.rs"]
mod truth;

#[cfg(test)]
mod kill {
    use crate::truth::{attempt, check, deliver_all, options};
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::time::{Duration, SystemTime};
    use weir::ledger::Ledger;

    const CHILD: &str = "WEIR_LEDGER_KILL_CHILD";
    const ROUNDS: u64 = 15;
    const THREADS: u64 = 3;

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
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
                (1..u64::MAX).for_each(|n| {
                    attempt(&ledger, &log, &name, n);
                });
            });
        }
        std::thread::sleep(Duration::from_secs(10));
    }

    /// Names of a round's logs.
    fn names(round: u64) -> Vec<String> {
        (0..THREADS).map(|thread| format!("{round}-{thread}")).collect()
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
            deliver_all(options(place.path()));
            let ledger = Ledger::open(options(place.path())).unwrap();
            for round in unchecked.drain(..) {
                let (more, more_cut) = check(&ledger, place.path(), &names(round));
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
