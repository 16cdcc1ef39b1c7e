//! Slots that a power cut or a hand has damaged (F64).

use super::testing::{self, dispatched, options};
use super::{Found, Ledger, OpenError, Options, Target, losses, saved};
use crate::meter::Tally;
use crate::usage::{Kind, Usage};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A slot whose intent was torn by a power cut is counted, not guessed at.
#[test]
fn a_torn_slot_is_counted_as_lost() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(place.path())).unwrap();
    let _torn = dispatched(&ledger, "gen-torn", 1);
    let _whole = dispatched(&ledger, "gen-whole", 1);
    let crashed = testing::crash(place.path());
    let slots = crashed.path().join("state/slots");
    let mut bytes = fs::read(&slots).unwrap();
    let at = bytes.windows(8).position(|w| w == b"gen-torn").unwrap();
    bytes[at] ^= 1;
    fs::write(&slots, bytes).unwrap();
    let again = Ledger::open(options(crashed.path())).unwrap();
    assert_eq!((again.depth().recovered, again.depth().rows_lost), (1, 1));
    let noted = losses::read(&crashed.path().join("state")).unwrap().losses;
    let places: Vec<_> = noted.iter().map(|loss| (loss.sink.as_str(), loss.offset)).collect();
    assert_eq!(places, [(losses::SLOTS, 1)]);
}

/// The state directory as a power cut leaves it: the mapped slots are those of `then`.
fn cut(place: &Path, then: &[u8]) -> tempfile::TempDir {
    let after = testing::crash(place);
    let mut slots = then.to_vec();
    // Another mount than the one on which these were stored.
    let residence = std::mem::offset_of!(super::map::Header, residence);
    slots[residence] ^= 1;
    fs::write(after.path().join("state/slots"), slots).unwrap();
    after
}

#[test]
fn f64_after_a_power_cut_open_attempts_are_what_was_saved_of_them() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(place.path())).unwrap();
    let before = fs::read(place.path().join("state/slots")).unwrap();
    let open = dispatched(&ledger, "gen-open", 1);
    (&open).reported(&Usage::ZERO.with(Kind::Input, 3));
    let saved = || saved::load(&place.path().join("state"), ledger.shared.writer.node);
    testing::until("it is saved", || {
        saved().iter().any(|slot| slot.reported() == Some(Usage::ZERO.with(Kind::Input, 3)))
    });
    // No page of the map was written since before the claim.
    let after = cut(place.path(), &before);
    let again = Ledger::open(options(after.path())).unwrap();
    assert_eq!((again.depth().recovered, again.depth().crash_recovered), (1, 1));
    let Found::Rows(rows) = again.find("gen-open") else { panic!("not found") };
    assert_eq!(rows[0].usage, Usage::ZERO.with(Kind::Input, 3));
}

#[test]
fn f64_after_a_power_cut_no_slot_makes_a_second_row_of_what_the_database_has() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(place.path())).unwrap();
    let open = dispatched(&ledger, "gen-1", 1);
    let stale = fs::read(place.path().join("state/slots")).unwrap();
    drop(open);
    testing::until("it is delivered", || ledger.depth().rows_flushed == 1);
    // The database as it is, the slots as they were: the page was written in between.
    let again = cut(place.path(), &stale);
    for name in ["ledger.db", "ledger.db-wal"] {
        fs::copy(place.path().join(name), again.path().join(name)).unwrap();
    }
    let again = Ledger::open(options(again.path())).unwrap();
    assert_eq!((again.depth().recovered, again.depth().conflicts), (0, 0));
}

#[test]
fn f64_after_a_power_cut_no_slot_makes_a_second_row_of_what_the_spool_has() {
    let place = tempfile::tempdir().unwrap();
    let options = |place: &Path| {
        let (directory, rotate_bytes) = (place.join("lines"), 1 << 20);
        Options { others: vec![Target::JsonLines { directory, rotate_bytes }], ..options(place) }
    };
    let ledger = Ledger::open(options(place.path())).unwrap();
    let other = rusqlite::Connection::open(place.path().join("ledger.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let open = dispatched(&ledger, "gen-1", 1);
    let stale = fs::read(place.path().join("state/slots")).unwrap();
    drop(open);
    testing::until("its record is synced", || ledger.depth().slots_used == 0);
    // The database without its row, the slots as they were.
    let again = cut(place.path(), &stale);
    let again = Ledger::open(options(again.path())).unwrap();
    assert_eq!(again.depth().recovered, 0);
    assert!(again.shutdown(Duration::from_secs(10)));
    let depth = again.depth();
    assert_eq!((depth.rows_flushed, depth.conflicts), (1, 0), "{depth:?}");
}

/// Whatever is done to the slot file, the attempts whose slots it still has are recovered, none is lost that
/// was not, and the start goes on.
#[test]
fn f65_a_damaged_or_cut_slot_file_gives_what_it_still_has() {
    use super::map::{Header, Map, SLOT_BYTES};
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage, u64); 6] = [
        ("count", |bytes| bytes[std::mem::offset_of!(Header, count)] ^= 1, 2),
        ("node", |bytes| bytes[std::mem::offset_of!(Header, node)] ^= 1, 2),
        ("magic", |bytes| bytes[0] ^= 1, 2),
        ("spooled", |bytes| bytes[std::mem::offset_of!(Header, sealed) + 7] ^= 1, 2),
        ("half a slot", |bytes| bytes.truncate(bytes.len() - SLOT_BYTES / 2), 2),
        ("second slot", |bytes| bytes.truncate(Map::file_bytes(1) as usize + 9), 1),
    ];
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(place.path())).unwrap();
    let _open = [dispatched(&ledger, "gen-1", 1), dispatched(&ledger, "gen-2", 1)];
    for (name, damage, recovered) in damages {
        let crashed = testing::crash(place.path());
        ["open.0", "open.1"].iter().for_each(|saved| {
            fs::remove_file(crashed.path().join("state").join(saved)).unwrap();
        });
        let slots = crashed.path().join("state/slots");
        let mut bytes = fs::read(&slots).unwrap();
        damage(&mut bytes);
        fs::write(&slots, bytes).unwrap();
        let again = Ledger::open(options(crashed.path())).unwrap();
        testing::until("they are delivered", || again.depth().rows_pending == 0);
        let depth = again.depth();
        assert_eq!((depth.recovered, depth.rows_lost), (recovered, 0), "{name}");
        assert_eq!(again.shared.writer.node, ledger.shared.writer.node, "{name}");
        assert_eq!(slots.with_extension("bad").exists(), name != "spooled", "{name}");
        drop(again);
        let again = Ledger::open(options(crashed.path())).unwrap();
        assert_eq!((again.depth().recovered, again.depth().rows_lost), (0, 0), "{name}");
    }
}

#[test]
fn a_slot_file_of_another_format_is_refused_and_garbage_set_aside() {
    let place = tempfile::tempdir().unwrap();
    drop(Ledger::open(options(place.path())).unwrap());
    let slots = place.path().join("state/slots");
    let sound = fs::read(&slots).unwrap();
    let mut newer = sound.clone();
    let stamped = std::mem::offset_of!(super::map::Header, stamped);
    newer[8] = 9;
    newer[stamped..stamped + 8].fill(0);
    fs::write(&slots, newer).unwrap();
    let refused = Ledger::open(options(place.path())).err().unwrap();
    assert!(matches!(refused, OpenError::SlotFormat { .. }), "{refused}");
    fs::write(&slots, b"garbage").unwrap();
    drop(Ledger::open(options(place.path())).unwrap());
    assert_eq!(fs::read(slots.with_extension("bad")).unwrap(), b"garbage");
    assert_eq!(fs::metadata(&slots).unwrap().len(), sound.len() as u64);
}
