//! A database that is damaged when Weir starts, or cannot be written (F71).

use super::testing::{complete, count, options, until};
use super::{Gate, Ledger, sink};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Rows of some pages.
const ROWS: u64 = 600;

fn filled(place: &Path) {
    let ledger = Ledger::open(options(place)).unwrap();
    for number in 0..ROWS {
        until("a slot is free", || ledger.depth().slots_used < 60);
        complete(&ledger, &format!("gen-{number}"), 1);
    }
    assert!(ledger.shutdown(Duration::from_secs(10)));
}

/// Serves, keeps its rows in the spool, and says so.
fn waits(ledger: &Ledger) {
    (0..3).for_each(|number| complete(ledger, &format!("gen-new-{number}"), 1));
    until("the sink refuses", || ledger.depth().sinks_refusing == 1);
    until("all is in the spool", || ledger.depth().slots_used == 0);
    let depth = ledger.depth();
    assert_eq!((depth.rows_pending, depth.rows_flushed, depth.gate), (3, 0, Gate::Open));
}

#[test]
fn f71_a_damaged_database_is_found_before_the_first_row_and_costs_none() {
    type Damage = fn(&File);
    let damages: [(&str, Damage); 4] = [
        ("pages", |file| {
            let length = file.metadata().unwrap().len();
            file.write_all_at(&[0xff; 40_000], length / 2).unwrap();
        }),
        ("truncated", |file| file.set_len(file.metadata().unwrap().len() / 2).unwrap()),
        ("header", |file| file.write_all_at(&[0xff; 100], 0).unwrap()),
        ("schema", |file| file.write_all_at(&[0xff; 2_000], 100).unwrap()),
    ];
    let place = tempfile::tempdir().unwrap();
    filled(place.path());
    let options = options(place.path());
    let sound = place.path().join("sound");
    fs::copy(&options.sqlite, &sound).unwrap();
    for (expected, (name, damage)) in (ROWS..).step_by(3).zip(damages) {
        damage(&File::options().read(true).write(true).open(&options.sqlite).unwrap());
        let ledger = Ledger::open(options.clone()).unwrap();
        waits(&ledger);
        // The operator does what the log says.
        for end in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{end}", options.sqlite.display()));
        }
        fs::rename(&sound, &options.sqlite).unwrap();
        assert!(ledger.shutdown(Duration::from_secs(20)), "{name}: {:?}", ledger.depth());
        let depth = ledger.depth();
        assert_eq!((depth.rows_lost, depth.sinks_refusing), (0, 0), "{name}");
        drop(ledger);
        fs::copy(&options.sqlite, &sound).unwrap();
        assert_eq!(count(&options.sqlite), expected + 3, "{name}");
    }
}

/// A look for damage ends when it is told to, and has found nothing then.
#[test]
fn f71_an_examination_is_bounded() {
    use sink::Sink;
    let place = tempfile::tempdir().unwrap();
    filled(place.path());
    let mut sqlite = sink::sqlite::Sqlite::open(&options(place.path()).sqlite).unwrap();
    let (asked, looks) = std::sync::mpsc::channel();
    sqlite.examine(Box::new(move || asked.send(()).is_ok())).unwrap();
    assert_eq!(looks.iter().count(), 1);
    sqlite.examine(Box::new(|| false)).unwrap();
}
