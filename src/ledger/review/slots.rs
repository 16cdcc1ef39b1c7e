//! What the slot file of a state directory says: looked at as it is, while Weir runs or after it died.

use crate::bounds::SLOTS_MAX;
use crate::ledger::header::Format;
use crate::ledger::map::{Map, SLOT_BYTES};
use crate::ledger::prices::Prices;
use crate::ledger::record::Record;
use crate::ledger::settle::settle;
use crate::ledger::slot::SEALED;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::Acquire;

/// What a slot file knows.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Rows the node has spooled and synced, and how many of these every sink had, where that is sound.
    pub(super) spooled: Option<u64>,
    pub(super) delivered: Option<u64>,
    /// Attempts that have ended; the spool may have them by now.
    pub(super) sealed: Vec<Record>,
}

/// What the slot file of a node knows; `None` where there is no sound one of this version.
pub(super) fn held(state: &Path, node: [u8; 16]) -> io::Result<Option<Held>> {
    let file = match File::open(state.join("slots")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = file.metadata()?.len();
    let count = bytes.saturating_sub(Map::file_bytes(0)) / SLOT_BYTES as u64;
    if bytes < Map::file_bytes(0) || count > SLOTS_MAX as u64 {
        return Ok(None);
    }
    let map = Map::look(&file, count as usize)?;
    let header = map.header();
    if header.format(count) != Format::Own || header.writer().node != node {
        return Ok(None);
    }
    let mut prices = Prices::default();
    let sealed = map.slots().iter().filter(|slot| slot.state.load(Acquire) == SEALED);
    let settled = sealed.filter_map(|slot| settle(node, &slot.image()?, &mut prices));
    Ok(Some(Held {
        spooled: header.spooled(),
        delivered: header.delivered(),
        sealed: settled.map(|(record, _)| record).collect(),
    }))
}
