//! Open attempts where a power cut cannot reach them (reliability 4.1, F64).
//!
//! What a mapped slot says survives its process, not its host. To sync the map itself would
//! write-protect its pages, and the next store of a request thread to each would fault. So the flusher
//! copies the slots in use to a file of their own and syncs that; two files take turns, so that one of
//! them is always whole. The map stays the better witness while its pages are still in memory:
//! [`residence`] tells.

use super::codec::Reader;
use super::directory::{Writer, sync_directory};
use super::slot::{DISPATCHED, SEALED, Slot};
use crate::bounds::SLOTS_MAX;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed};

const MAGIC: &[u8; 8] = b"WEIRSAVE";
/// Format of these files; that of the words of a slot is the slot file's.
const VERSION: u64 = 1;
/// Bytes before the first slot: magic, version, node, epoch, turn, slots, CRC32C of all else; a word
/// each, two the node.
const HEAD: usize = 64;
/// Where in it the CRC32C stands.
const SUM: usize = HEAD - 8;
/// Bytes written at once: thousands of open streams are megabytes.
const PIECE: usize = 64 << 10;

fn path(directory: &Path, turn: u64) -> PathBuf {
    directory.join(if turn.is_multiple_of(2) { "open.0" } else { "open.1" })
}

/// Saves the slots in use, again and again.
pub(super) struct Saver {
    files: [File; 2],
    writer: Writer,
    turn: u64,
    /// A piece on its way to the file.
    bytes: Vec<u8>,
}

impl Saver {
    /// Opens or creates both files.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn open(directory: &Path, writer: Writer) -> io::Result<Self> {
        let open = |turn| {
            let mut options = File::options();
            options.write(true).create(true).truncate(false).open(path(directory, turn))
        };
        let files = [open(0)?, open(1)?];
        sync_directory(directory)?;
        Ok(Self { files, writer, turn: 0, bytes: vec![] })
    }

    /// Makes what these slots say of open attempts durable.
    ///
    /// # Errors
    /// What was saved the turn before stays. As for any file, a failed sync must not be retried.
    pub(super) fn save(&mut self, slots: &[Slot]) -> io::Result<()> {
        self.turn += 1;
        self.bytes.clear();
        let (mut saved, mut count) = (Saved::default(), 0_u64);
        for slot in slots {
            if matches!(slot.state.load(Acquire), DISPATCHED | SEALED) {
                slot.copy(&mut self.bytes);
                count += 1;
            }
            if self.bytes.len() >= PIECE {
                self.write(&mut saved)?;
            }
        }
        self.write(&mut saved)?;
        let node = self.writer.node.as_chunks().0.iter().copied();
        let numbers = [self.writer.epoch, self.turn, count, 0].map(u64::to_le_bytes);
        let head = [*MAGIC, VERSION.to_le_bytes()].into_iter().chain(node).chain(numbers);
        let mut head: Vec<u8> = head.flatten().collect();
        let sum = crc32c::crc32c_combine(crc32c::crc32c(&head), saved.sum, saved.length);
        head.truncate(SUM);
        head.extend(u64::from(sum).to_le_bytes());
        let file = self.file();
        file.write_all_at(&head, 0)?;
        file.sync_data().map_err(io::Error::other)
    }

    /// Writes the piece behind what is saved.
    fn write(&mut self, saved: &mut Saved) -> io::Result<()> {
        self.file().write_all_at(&self.bytes, (HEAD + saved.length) as u64)?;
        saved.sum = crc32c::crc32c_append(saved.sum, &self.bytes);
        saved.length += self.bytes.len();
        self.bytes.clear();
        Ok(())
    }

    fn file(&self) -> &File {
        let [even, odd] = &self.files;
        if self.turn.is_multiple_of(2) { even } else { odd }
    }
}

/// What of a turn is written behind its head.
#[derive(Default)]
struct Saved {
    sum: u32,
    length: usize,
}

/// The slots that were saved last by any epoch of this node.
pub(super) fn load(directory: &Path, node: [u8; 16]) -> Vec<Slot> {
    let sides = [0, 1].map(|turn| fs::read(path(directory, turn)).ok());
    let sides = sides.into_iter().flatten().filter_map(|bytes| parse(&bytes, node));
    sides.max_by_key(|side| side.turn).map(|side| side.slots).unwrap_or_default()
}

struct Side {
    /// Epoch, and turn within it.
    turn: (u64, u64),
    slots: Vec<Slot>,
}

/// A side that is whole and this node's.
fn parse(bytes: &[u8], node: [u8; 16]) -> Option<Side> {
    let mut rest = Reader(bytes);
    let known = rest.bytes(8)? == MAGIC && rest.array()? == VERSION.to_le_bytes();
    if !known || rest.bytes(node.len())? != node {
        return None;
    }
    let mut number = || rest.array().map(u64::from_le_bytes);
    let (turn, count, sum) = ((number()?, number()?), number()?, number()?);
    if count > SLOTS_MAX as u64 {
        return None;
    }
    let slots = (0..count).map(|_| Slot::restore(&mut rest)).collect::<Option<Vec<_>>>()?;
    // A shorter turn leaves the rest of a longer one behind it.
    let (head, own) = bytes.get(..bytes.len() - rest.0.len())?.split_at_checked(HEAD)?;
    let head = crc32c::crc32c_append(crc32c::crc32c(head.get(..SUM)?), &[0; 8]);
    (u64::from(crc32c::crc32c_append(head, own)) == sum).then_some(Side { turn, slots })
}

/// Slots of attempts, each attempt once: as the map says it, unless what was saved is further.
pub(super) fn furthest<'a>(mapped_and_saved: impl Iterator<Item = &'a Slot>) -> Vec<&'a Slot> {
    let used = |slot: &&Slot| matches!(slot.state.load(Relaxed), DISPATCHED | SEALED);
    let key = |slot: &Slot| (slot.epoch.load(Relaxed), slot.seq.load(Relaxed));
    let reach = |slot: &Slot| {
        slot.image().map(|image| (image.state, image.reported.is_some(), image.delivered.0))
    };
    let mut found = BTreeMap::new();
    for slot in mapped_and_saved.filter(used) {
        let known = found.entry(key(slot)).or_insert(slot);
        if reach(slot) > reach(known) {
            *known = slot;
        }
    }
    found.into_values().collect()
}

/// Says where the pages of a file are in memory: this start of the host, and this mount. While both
/// stay the same, a mapped file says what was stored last, whether or not any disk knows. `None`:
/// the host does not tell.
pub(super) fn residence(file: &File) -> Option<[u64; 3]> {
    /// Linux 6.8; before, ids of mounts are used again.
    const UNIQUE: u32 = 0x4000;
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let boot = u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()?;
    let flags = rustix::fs::StatxFlags::MNT_ID | rustix::fs::StatxFlags::from_bits_retain(UNIQUE);
    let stat = rustix::fs::statx(file, "", rustix::fs::AtFlags::EMPTY_PATH, flags).ok()?;
    Some([boot as u64, (boot >> 64) as u64, stat.stx_mnt_id])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::slot::Identity;
    use crate::ledger::testing;
    use crate::usage::{Kind, Usage};
    use std::sync::atomic::Ordering::Release;

    const WRITER: Writer = Writer { node: [7; 16], epoch: 4 };

    fn slot(seq: u64, input: u64) -> Slot {
        let slot = Slot::default();
        let identity = Identity { epoch: 4, seq, started_us: testing::NOW_US };
        let intent = testing::intent(&format!("gen-{seq}"), 1);
        let basis = testing::basis();
        slot.claim(identity, &intent, testing::price().text(), basis);
        slot.report(&Usage::ZERO.with(Kind::Input, input));
        slot.state.store(DISPATCHED, Release);
        slot
    }

    fn inputs<'a>(slots: impl IntoIterator<Item = &'a Slot>) -> Vec<u64> {
        let input = |slot: &Slot| slot.image()?.reported.map(|usage| usage.get(Kind::Input));
        slots.into_iter().filter_map(input).collect()
    }

    #[test]
    fn what_was_saved_last_is_loaded_and_a_torn_turn_leaves_the_one_before() {
        let place = tempfile::tempdir().unwrap();
        let mut saver = Saver::open(place.path(), WRITER).unwrap();
        assert!(load(place.path(), WRITER.node).is_empty());
        saver.save(&[slot(1, 10), Slot::default(), slot(2, 20), slot(3, 30)]).unwrap();
        let found = load(place.path(), WRITER.node);
        assert_eq!(inputs(&found), [10, 20, 30]);
        assert_eq!(found[1].image().unwrap().identity.seq, 2);
        saver.save(&[slot(1, 11)]).unwrap();
        assert_eq!(inputs(&load(place.path(), WRITER.node)), [11]);
        saver.save(&[slot(1, 12)]).unwrap();
        assert_eq!(inputs(&load(place.path(), WRITER.node)), [12], "shorter than what it replaced");
        for at in [0, 8, 32, 47, 60, 80, 700] {
            let torn = path(place.path(), 3);
            let sound = fs::read(&torn).unwrap();
            let mut bytes = sound.clone();
            bytes[at] ^= 4;
            fs::write(&torn, bytes).unwrap();
            assert_eq!(inputs(&load(place.path(), WRITER.node)), [11], "torn at {at}");
            fs::write(&torn, sound).unwrap();
        }
        assert!(load(place.path(), [8; 16]).is_empty(), "another node's");
        let mut later = Saver::open(place.path(), Writer { epoch: 5, ..WRITER }).unwrap();
        later.save(&[slot(9, 90)]).unwrap();
        assert_eq!(inputs(&load(place.path(), WRITER.node)), [90], "a later epoch");
    }

    #[test]
    fn each_attempt_counts_once_as_far_as_it_came() {
        let sealed = slot(2, 21);
        sealed.state.store(SEALED, Release);
        let (mapped, saved) =
            ([slot(1, 10), sealed, slot(4, 40)], [slot(1, 0), slot(2, 22), slot(3, 30)]);
        saved[0].state.store(SEALED, Release);
        assert_eq!(inputs(furthest(mapped.iter().chain(&saved))), [0, 21, 30, 40]);
    }

    #[test]
    fn a_file_resides_where_it_is_mounted() {
        let (here, there) = (tempfile::tempfile().unwrap(), File::open("/proc/self/stat").unwrap());
        assert_eq!(residence(&here), residence(&here));
        assert!(residence(&here).is_some() && residence(&here) != residence(&there));
    }
}
