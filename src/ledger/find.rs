//! Looking a generation up where it is: in slots, in memory, in the sink.

use super::codec;
use super::prices::Prices;
use super::record::{Record, flag};
use super::settle::settle;
use super::shared::Shared;
use super::sink::sqlite::Reader;
use super::slot::{CLAIMED, DISPATCHED, Image, SEALED, Slot, generation_hash};
use super::{Found, intent};
use crate::bounds::RECENT_GENERATIONS;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::fence;

/// A slot changes its state this often from one attempt to the next.
const STATES: usize = 4;

impl Shared {
    pub(super) fn find(&self, generation_id: &str) -> Found {
        let mut rows = Vec::new();
        for image in self.images(Some(generation_hash(generation_id))) {
            let Some(intent) = intent::get(&mut codec::Reader(&image.intent)) else { continue };
            if intent.generation_id != generation_id {
                continue;
            }
            if image.state != SEALED {
                let terminal = image.flags & flag::TERMINAL != 0;
                return Found::InFlight { terminal, workspace: intent.workspace.into_owned() };
            }
            let settled = settle(self.writer.node, &image, &mut Prices::default());
            rows.extend(settled.map(|(record, _)| record));
        }
        self.recent.lock().find(self.writer.node, generation_id, &mut rows);
        let mut whole = self.behind() <= RECENT_GENERATIONS as u64;
        let last = rows.iter().map(|row| usize::from(row.intent.attempt)).max().unwrap_or(0);
        if last == 0 || unique(&mut rows) < last {
            let stored = self.stored(generation_id);
            // Before its first row it may have no table yet.
            whole &= stored.is_some() || self.depth().rows_flushed == 0;
            rows.extend(stored.unwrap_or_default());
            unique(&mut rows);
        }
        match rows.is_empty() {
            false => Found::Rows(rows),
            true if whole => Found::Unknown,
            true => Found::NotYet,
        }
    }

    /// Copies of the live slots, of all or of those whose generation has this hash.
    pub(super) fn images(&self, hash: Option<u64>) -> impl Iterator<Item = Image> {
        let used = self.high.load(Relaxed) as usize;
        self.map.slots().iter().take(used).filter_map(move |slot| stable_image(slot, hash))
    }

    /// What the database has of it; `None` if it cannot be read.
    fn stored(&self, generation_id: &str) -> Option<Vec<Record>> {
        let mut reader = self.reader.lock();
        let found = match reader.as_mut() {
            Some(open) => open.generation(generation_id),
            None => Reader::open(&self.options.sqlite)
                .and_then(|open| reader.insert(open).generation(generation_id)),
        };
        if let Err(error) = &found {
            tracing::warn!(%error, "the ledger database could not be read");
            *reader = None;
        }
        found.ok()
    }
}

/// A copy of a live slot of this generation that was not taken while the slot changed.
///
/// A slot that is sealed meanwhile is copied again: its record is in no other place yet. One that is
/// released meanwhile can be found in memory, where its record went before.
fn stable_image(slot: &Slot, hash: Option<u64>) -> Option<Image> {
    for _ in 0..STATES {
        let state = slot.state.load(Acquire);
        let live = matches!(state, CLAIMED | DISPATCHED | SEALED);
        if !live || hash.is_some_and(|hash| slot.generation.load(Relaxed) != hash) {
            return None;
        }
        let image = slot.image();
        fence(Acquire);
        if slot.state.load(Relaxed) == state
            && let Some(image) = image
            && slot.seq.load(Relaxed) == image.identity.seq
        {
            return Some(image);
        }
    }
    None
}

/// Sorts by attempt, keeps one of each key, and says how many there are.
fn unique(rows: &mut Vec<Record>) -> usize {
    rows.sort_by_key(|row| (row.intent.attempt, row.key));
    rows.dedup_by_key(|row| row.key);
    rows.len()
}
