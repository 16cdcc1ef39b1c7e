//! Every durable system call of the ledger as a place to die and as a place to fail (F62, F63, F73).
//!
//! The test runs itself as a child whose ledger is traced by strace, one thread at a time: the one
//! that opens (and so recovers), the flusher's, the deliverer's. A first run counts the durable calls
//! of each; then each is, in a run of its own, the one at which the process is killed, or which fails
//! with EIO or ENOSPC. After every run the ledger is compared with the child's log.
//!
//! `tests/soak/run --faults F73` takes every point in turn; here it is a share of them.

#[cfg(test)]
#[path = "ledger/truth.rs"]
mod truth;

#[cfg(test)]
mod faults {
    use crate::truth::{self, attempt, check, deliver_all};
    use std::collections::BTreeMap;
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};
    use std::process::{Command, ExitStatus, Stdio};
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    use weir::ledger::{Gate, Ledger, Options};

    /// Where the child works; its other orders are in the file `orders` there.
    const CHILD: &str = "WEIR_LEDGER_FAULTS_CHILD";
    const CALLS: &str = "openat,write,pwrite64,fallocate,ftruncate,fdatasync,fsync,msync,rename,\
                         unlink,mkdir";
    const THREADS: [&str; 3] = ["open", "weir-flush", "weir-deliver"];
    /// In place of a thread: leave something to recover.
    const LEFT: &str = "left";
    const ACTIONS: [&str; 3] = ["signal=SIGKILL", "error=EIO", "error=ENOSPC"];
    /// Enough for the spool's segments to turn several times.
    const ATTEMPTS: u64 = 120;
    const SHARE: usize = 60;
    /// What the child ends with when the ledger refused to start, or failed while it ran.
    const FAILED: i32 = 3;

    fn options(place: &Path) -> Options {
        Options { slots: 64, spool_bytes: 16 << 10, ..truth::options(place) }
    }

    /// A durable call: which thread makes it, and the how manieth of its sort it is there.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Point {
        thread: &'static str,
        call: String,
        number: usize,
        action: &'static str,
    }

    impl Point {
        fn inject(&self) -> String {
            // A full disk stays full for a while.
            let last = if self.action == "error=ENOSPC" { self.number + 2 } else { self.number };
            format!("inject={}:{}:when={}..{last}", self.call, self.action, self.number)
        }
    }

    /// Traces the thread of this process that has this name, until one of both ends. False: strace
    /// may not.
    fn trace(thread: &str, orders: &str, log: &Path) -> bool {
        let task = Path::new("/proc/self/task");
        let named = |tid: &PathBuf| {
            fs::read_to_string(tid.join("comm")).is_ok_and(|name| name.trim() == thread)
        };
        // A thread takes its name a moment after it was begun.
        let tid = loop {
            let mut all = fs::read_dir(task).unwrap().map(|entry| entry.unwrap().path());
            if let Some(tid) = all.find(named) {
                break tid;
            }
        };
        let mut strace = Command::new("strace")
            .args(["-qq", "-o"])
            .arg(log)
            .args(["-e", &format!("trace={CALLS}"), "-p"])
            .arg(tid.file_name().unwrap())
            .args(orders.split_whitespace().flat_map(|order| ["-e", order]))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while fs::read_to_string(tid.join("status")).unwrap().contains("TracerPid:\t0") {
            if strace.try_wait().unwrap().is_some() {
                strace.wait().unwrap();
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::spawn(move || drop(strace.wait()));
        true
    }

    #[test]
    fn child() {
        let Some(place) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
        let text = fs::read_to_string(place.join("orders")).unwrap();
        let (thread, orders) = text.split_once('\n').unwrap();
        if thread == LEFT {
            leave(&place);
        }
        let log = place.join("strace");
        let ledger = match open(&place, (thread, orders), &log) {
            Some(ledger) => ledger,
            None => std::process::exit(FAILED),
        };
        if thread != "open" {
            assert!(trace(thread, orders, &log));
        }
        let truth = File::create(place.join("truth-child")).unwrap();
        let limit = Instant::now() + Duration::from_secs(20);
        for n in 1..=ATTEMPTS {
            while !attempt(&ledger, &truth, "child", n) {
                if ledger.gate() == Gate::Failed || Instant::now() > limit {
                    std::process::exit(FAILED);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            if n.is_multiple_of(20) {
                std::thread::sleep(Duration::from_millis(25));
            }
        }
        let whole = ledger.shutdown(Duration::from_secs(10));
        std::process::exit(if whole { 0 } else { FAILED });
    }

    fn open(place: &Path, (thread, orders): (&str, &str), log: &Path) -> Option<Arc<Ledger>> {
        let options = options(place);
        if thread != "open" {
            return Ledger::open(options).ok();
        }
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let opening = std::thread::Builder::new().name("open".to_owned());
        let opening = opening.spawn(move || {
            wait.recv().unwrap();
            Ledger::open(options).ok()
        });
        assert!(trace(thread, orders, log));
        go.send(()).unwrap();
        opening.unwrap().join().unwrap()
    }

    /// A place as a killed process leaves it: sealed slots, and rows no sink has.
    fn left(place: &Path) {
        assert!(Ledger::open(options(place)).unwrap().shutdown(Duration::from_secs(10)));
        let locked = rusqlite::Connection::open(place.join("ledger.db")).unwrap();
        locked.execute_batch("BEGIN EXCLUSIVE").unwrap();
        assert_eq!(run(place, LEFT, "").code(), None, "it is to die");
    }

    /// Dies with the last attempts in their slots.
    fn leave(place: &Path) -> ! {
        let ledger = Ledger::open(options(place)).unwrap();
        let log = File::create(place.join("truth-before")).unwrap();
        for n in 1..=70 {
            while !attempt(&ledger, &log, "before", n) {
                std::thread::sleep(Duration::from_millis(1));
            }
            if n == 40 {
                std::thread::sleep(Duration::from_millis(120));
            }
        }
        std::process::abort()
    }

    fn run(place: &Path, thread: &str, orders: &str) -> ExitStatus {
        fs::write(place.join("orders"), format!("{thread}\n{orders}")).unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::child"])
            .env(CHILD, place)
            .stdout(Stdio::null())
            .stderr(File::create(place.join("stderr")).unwrap())
            .status()
            .unwrap()
    }

    /// Durable calls of each thread, as many as an undisturbed run makes of each sort.
    fn points() -> Vec<Point> {
        let mut points = Vec::new();
        for thread in THREADS {
            let place = tempfile::tempdir().unwrap();
            left(place.path());
            let status = run(place.path(), thread, "");
            let said = fs::read_to_string(place.path().join("stderr")).unwrap();
            assert_eq!(status.code(), Some(0), "undisturbed: {said}");
            let log = fs::read_to_string(place.path().join("strace")).unwrap();
            let mut counts = BTreeMap::<String, usize>::new();
            for call in log.lines().filter_map(|line| line.split_once('(')).map(|(call, _)| call) {
                *counts.entry(call.to_owned()).or_default() += 1;
            }
            println!("{thread}: {counts:?}");
            for (call, count) in counts {
                for (number, action) in (1..=count).flat_map(|n| ACTIONS.map(|a| (n, a))) {
                    points.push(Point { thread, call: call.clone(), number, action });
                }
            }
        }
        points
    }

    /// One run with one fault; what is wrong after it panics.
    fn judge(point: &Point) -> ExitStatus {
        let place = tempfile::tempdir().unwrap();
        left(place.path());
        let status = run(place.path(), point.thread, &point.inject());
        let killed = status.code().is_none();
        assert!(killed || matches!(status.code(), Some(0 | FAILED)), "{point:?}: {status}");
        deliver_all(options(place.path()));
        let ledger = Ledger::open(options(place.path())).unwrap();
        let names = ["before".to_owned(), "child".to_owned()];
        let (rows, _) = check(&ledger, place.path(), &names);
        let database = rusqlite::Connection::open(place.path().join("ledger.db")).unwrap();
        let stored =
            database.query_row("SELECT count(*) FROM attempt", [], |row| row.get::<_, u64>(0));
        assert_eq!(stored.unwrap(), rows, "{point:?}: rows without an attempt");
        status
    }

    fn may_trace() -> bool {
        let place = tempfile::tempdir().unwrap();
        let found = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
            && run(place.path(), "weir-flush", "").code() == Some(0)
    }

    /// A share of all points, or `WEIR_POINTS` of them from the one with the number `WEIR_SEED` on.
    fn chosen(all: &[Point]) -> Vec<(usize, &Point)> {
        let given = |name| std::env::var(name).ok().and_then(|n: String| n.parse::<usize>().ok());
        let numbered = (1..).zip(all.iter().cycle());
        if let Some(count) = given("WEIR_POINTS") {
            return numbered.skip(given("WEIR_SEED").unwrap_or(1) - 1).take(count).collect();
        }
        // Not a multiple of their number, or one action would be all there is.
        let share = all.len().div_ceil(SHARE);
        let share = share + usize::from(share.is_multiple_of(ACTIONS.len()));
        numbered.take(all.len()).step_by(share).collect()
    }

    #[test]
    fn f73_no_durable_call_can_die_or_fail_without_the_ledger_staying_whole() {
        if !may_trace() {
            println!("skipped: strace is missing or may not attach");
            return;
        }
        let all = points();
        let chosen = chosen(&all);
        let (mut killed, mut failed) = (0, 0);
        for (seed, point) in &chosen {
            let verdict = std::panic::catch_unwind(|| judge(point));
            let Ok(status) = verdict else { panic!("seed {seed}: {point:?}") };
            killed += u64::from(status.code().is_none());
            failed += u64::from(status.code() == Some(FAILED));
        }
        println!(
            "{} durable calls x faults enumerated, {} run: {killed} killed, {failed} ended by \
             themselves with an error, 0 differences",
            all.len(),
            chosen.len()
        );
        assert!(killed > 0 && failed > 0 || chosen.len() < ACTIONS.len());
    }
}
