//! The slot file from one start to the next.

use crate::bounds::SLOTS_MAX;
use crate::ledger::OpenError;
use crate::ledger::directory::{Writer, quarantine, sync_directory};
use crate::ledger::header::Format;
use crate::ledger::map::{Map, SLOT_BYTES};
use crate::ledger::saved::residence;
use crate::ledger::shared::now_us;
use crate::ledger::slot::{FREE, SLOT_VERSION, Slot};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

/// The slot file as an earlier epoch left it.
pub(super) struct Old {
    pub(super) map: Map,
    /// Header and length are as they were written.
    sound: bool,
}

impl Old {
    /// Opens it, if it is there. What is none is set aside.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, OpenError> {
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io("open", path)(error)),
        };
        let bytes = file.metadata().map_err(OpenError::io("read", path))?.len();
        let count = bytes.saturating_sub(Map::file_bytes(0)) / SLOT_BYTES as u64;
        if bytes < Map::file_bytes(0) || count > SLOTS_MAX as u64 {
            return Self::strange(path);
        }
        let map = Map::new(&file, count as usize).map_err(OpenError::io("map", path))?;
        match map.header().format(count) {
            Format::Own => Ok(Some(Self { map, sound: true })),
            Format::Damaged => {
                tracing::error!(
                    file = %path.display(),
                    "the slot file is damaged or was cut: attempts in slots that are sound, or saved in open.0 \
                     and open.1, are recovered, and it is set aside"
                );
                Ok(Some(Self { map, sound: false }))
            }
            Format::Strange => Self::strange(path),
            Format::Other(version, bytes) => Err(OpenError::SlotFormat {
                path: path.to_owned(),
                found: format!("{version} ({bytes} bytes)"),
                expected: format!("{SLOT_VERSION} ({SLOT_BYTES} bytes)"),
            }),
        }
    }

    fn strange(path: &Path) -> Result<Option<Self>, OpenError> {
        tracing::error!(file = %path.display(), "this is no slot file, or less than its header: set aside");
        quarantine(path).map_err(OpenError::io("set aside", path))?;
        Ok(None)
    }

    /// Who wrote it, as far as that is sound.
    pub(super) fn writer(&self) -> Option<Writer> {
        self.sound.then(|| self.map.header().writer())
    }

    /// Whether the map says what was stored last: its pages have not left memory since.
    pub(super) fn resides(&self) -> bool {
        let then = self.map.header().residence.each_ref().map(|word| word.load(Relaxed));
        self.sound && residence(self.map.file()) == Some(then)
    }

    /// When its process was last alive.
    pub(super) fn last_alive(&self) -> u64 {
        self.map.header().alive_us.load(Relaxed).min(now_us())
    }

    /// Its slots; of a file that is not sound those that are.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.map.slots().iter().filter(|slot| self.sound || slot.image().is_some())
    }
}

/// The slot file for this epoch, all slots free: the old one if it is sound and its size right, else a new
/// one. Before any is given up it says how many rows were `spooled`, and how many `delivered`.
pub(super) fn ready(
    path: &Path,
    old: Option<Old>,
    count: usize,
    (writer, spooled, delivered): (Writer, u64, u64),
) -> Result<Map, OpenError> {
    match old {
        Some(Old { map, sound: true }) if map.slots().len() == count => {
            map.header().set_spooled(spooled);
            map.header().set_delivered(delivered);
            let used = map.slots().iter().filter(|slot| slot.state.load(Relaxed) != FREE);
            used.for_each(|slot| slot.state.store(FREE, Relaxed));
            stamp(&map, count, writer);
            return Ok(map);
        }
        Some(Old { sound: false, .. }) => {
            quarantine(path).map_err(OpenError::io("set aside", path))?;
        }
        _ => {}
    }
    create(path, count, (writer, spooled, delivered)).map_err(OpenError::io("create", path))
}

/// Preallocates a new file beside the old one, then takes its place.
fn create(
    path: &Path,
    count: usize,
    (writer, spooled, delivered): (Writer, u64, u64),
) -> io::Result<Map> {
    let fresh = path.with_extension("new");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&fresh)?;
    let bytes = Map::file_bytes(count);
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => {}
        Err(rustix::io::Errno::OPNOTSUPP) => {
            io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut &file)?;
        }
        Err(errno) => return Err(errno.into()),
    }
    let map = Map::new(&file, count)?;
    map.header().set_spooled(spooled);
    map.header().set_delivered(delivered);
    stamp(&map, count, writer);
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_directory(path.parent().unwrap_or(path))?;
    Ok(map)
}

fn stamp(map: &Map, count: usize, writer: Writer) {
    map.header().alive_us.store(now_us(), Relaxed);
    map.header().stamp(count, writer, residence(map.file()).unwrap_or_default());
}
