//! One slot of the mapped file: the state of one attempt, stored before each byte it explains.
//!
//! Life of a slot: free -> claimed (intent written) -> dispatched -> sealed -> free. A claimed slot
//! that was never dispatched leaves nothing. A process may be killed between any two stores, so
//! whatever takes several stores is written aside first and then switched to by one store.

mod image;
mod text;

use super::codec::{Fixed, Put, Reader};
use super::intent;
use super::map::words;
use super::record::Intent;
use crate::bounds::{INTENT_BYTES, PRICE_BYTES};
use crate::meter::{CLASSES, Delivered};
use crate::usage::{KINDS, Usage};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use text::{Text, load_bytes, store_bytes};

pub(super) use image::{Basis, Identity, Image};

pub(super) const FREE: u64 = 0;
pub(super) const CLAIMED: u64 = 1;
pub(super) const DISPATCHED: u64 = 2;
pub(super) const SEALED: u64 = 3;

/// Bits of [`Slot::marks`] that are not record flags.
pub(super) const COMMITTED: u64 = 1 << 32;

/// Format of the slot below; any change to it is a new version.
pub(super) const SLOT_VERSION: u64 = 3;

/// Plain words without padding; `map` lends mapped memory as this, and this as [`words`].
#[derive(Default)]
#[repr(C)]
pub(super) struct Slot {
    pub(super) state: AtomicU64,
    pub(super) epoch: AtomicU64,
    pub(super) seq: AtomicU64,
    /// [`generation_hash`], so that a search reads one cache line per slot.
    pub(super) generation: AtomicU64,
    pub(super) started_us: AtomicU64,
    pub(super) ended_us: AtomicU64,
    pub(super) duration_us: AtomicU64,
    /// 0, or one more than the time.
    pub(super) first_content: AtomicU64,
    pub(super) status: AtomicU64,
    /// [`crate::outcome::Outcome`], 0 while none is set.
    pub(super) outcome: AtomicU64,
    pub(super) finish: AtomicU64,
    /// Record flags, and [`COMMITTED`].
    pub(super) marks: AtomicU64,
    /// Which usage is valid: 0 none, 1 or 2; CRC32C of attempt and usage in the high half, because
    /// a power cut may leave a part of either.
    usage_side: AtomicU64,
    /// Length of what is told, and CRC32C of identity, basis and that in the high half.
    check: AtomicU64,
    /// Charge policy in the low byte, estimator above it, in the high 16 bits the length of the price.
    basis: AtomicU64,
    usage: [[AtomicU64; KINDS]; 2],
    delivered: [AtomicU64; CLASSES],
    native_finish: Text<8>,
    upstream_id: Text<16>,
    /// The text of the attempt's price version, so that a slot can be settled without any table, and
    /// behind it the intent. Last, because most of it is unused.
    told: Told,
}

#[repr(C)]
struct Told([AtomicU64; TOLD_BYTES / 8]);

impl Default for Told {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::default()))
    }
}

/// Most bytes of price and intent.
const TOLD_BYTES: usize = PRICE_BYTES + INTENT_BYTES;
const PRICE_SHIFT: u32 = 48;

impl Slot {
    /// Words of a slot before what is told.
    const FIXED: usize = (size_of::<Self>() - TOLD_BYTES) / 8;

    /// Appends what the slot says, as far as what is told reaches: how many words, and these.
    pub(super) fn copy(&self, into: &mut impl Put) {
        let told = usize::try_from(self.check.load(Relaxed) & 0xffff_ffff).unwrap_or(0);
        let words = words(self);
        let used = words.get(..Self::FIXED + told.div_ceil(8)).unwrap_or(words);
        into.put(&(used.len() as u64).to_le_bytes());
        used.iter().for_each(|word| into.put(&word.load(Relaxed).to_le_bytes()));
    }

    /// Takes what [`Slot::copy`] appended off the front. `None`: it did not.
    pub(super) fn restore(from: &mut Reader<'_>) -> Option<Self> {
        let slot = Self::default();
        let used = usize::try_from(u64::from_le_bytes(from.array()?)).ok()?;
        for word in words(&slot).get(..used)? {
            word.store(u64::from_le_bytes(from.array()?), Relaxed);
        }
        Some(slot)
    }

    /// Prepares a free slot for one attempt. The caller owns it alone until it is claimed here.
    pub(super) fn claim(&self, identity: Identity, intent: &Intent<'_>, price: &str, basis: Basis) {
        for word in [
            &self.ended_us,
            &self.duration_us,
            &self.first_content,
            &self.status,
            &self.outcome,
            &self.finish,
            &self.usage_side,
            &self.native_finish.len,
            &self.upstream_id.len,
        ] {
            word.store(0, Relaxed);
        }
        self.delivered.iter().for_each(|word| word.store(0, Relaxed));
        let mut bytes = Fixed::<TOLD_BYTES>::new();
        bytes.put(price.as_bytes());
        let cut = intent::put(&mut bytes, intent);
        let bytes = bytes.as_slice();
        self.marks.store(if cut { u64::from(super::record::flag::CUT_INTENT) } else { 0 }, Relaxed);
        self.epoch.store(identity.epoch, Relaxed);
        self.seq.store(identity.seq, Relaxed);
        self.started_us.store(identity.started_us, Relaxed);
        self.generation.store(generation_hash(&intent.generation_id), Relaxed);
        store_bytes(&self.told.0, bytes);
        let basis = basis.code() | (price.len() as u64) << PRICE_SHIFT;
        self.basis.store(basis, Relaxed);
        self.check.store(check(identity, basis, bytes), Relaxed);
        self.state.store(CLAIMED, Release);
    }

    /// Takes over what another slot says of the reply to the same attempt.
    pub(super) fn follow(&self, other: &Self) {
        for (own, word) in [
            (&self.ended_us, &other.ended_us),
            (&self.duration_us, &other.duration_us),
            (&self.first_content, &other.first_content),
            (&self.status, &other.status),
            (&self.outcome, &other.outcome),
            (&self.finish, &other.finish),
        ] {
            own.store(word.load(Relaxed), Relaxed);
        }
        self.mark(other.marks.load(Relaxed));
        if let Some(usage) = other.reported() {
            self.report(&usage);
        }
        self.deliver(&other.delivered.each_ref().map(|word| word.load(Relaxed)));
        self.native_finish.store(&other.native_finish.load());
        self.upstream_id.store(&other.upstream_id.load());
    }

    /// Replaces the reported usage as a whole.
    pub(super) fn report(&self, usage: &Usage) {
        let [first, second] = &self.usage;
        let (side, room) =
            if self.usage_side.load(Relaxed) as u32 == 1 { (2, second) } else { (1, first) };
        room.iter().zip(&usage.0).for_each(|(word, count)| word.store(*count, Relaxed));
        self.usage_side.store(self.usage_check(usage) | side, Release);
    }

    /// The usage reported last, as far as it is this attempt's and whole.
    pub(super) fn reported(&self) -> Option<Usage> {
        let [first, second] = &self.usage;
        let side = self.usage_side.load(Acquire);
        let room = match side as u32 {
            1 => first,
            2 => second,
            _ => return None,
        };
        let usage = Usage(room.each_ref().map(|word| word.load(Relaxed)));
        (self.usage_check(&usage) == side & !0xffff_ffff).then_some(usage)
    }

    /// In the high half.
    fn usage_check(&self, usage: &Usage) -> u64 {
        let seq = self.seq.load(Relaxed).to_le_bytes();
        let counts = usage.0.map(u64::to_le_bytes);
        u64::from(crc32c::crc32c_append(crc32c::crc32c(&seq), counts.as_flattened())) << 32
    }

    pub(super) fn deliver(&self, delivered: &[u64; CLASSES]) {
        self.delivered.iter().zip(delivered).for_each(|(word, total)| word.store(*total, Relaxed));
    }

    pub(super) fn finish(&self, finish: u8, native: &str) {
        self.native_finish.store(native);
        self.finish.store(u64::from(finish), Relaxed);
    }

    pub(super) fn name(&self, upstream_id: &str) {
        self.upstream_id.store(upstream_id);
    }

    pub(super) fn mark(&self, bits: u64) {
        // One request thread writes a slot at a time: no read-modify-write is needed.
        self.marks.store(self.marks.load(Relaxed) | bits, Relaxed);
    }

    /// Copies the slot out. `None` if its check does not hold: torn by a power cut or damaged.
    pub(super) fn image(&self) -> Option<Image> {
        let state = self.state.load(Acquire);
        let identity = Identity {
            epoch: self.epoch.load(Relaxed),
            seq: self.seq.load(Relaxed),
            started_us: self.started_us.load(Relaxed),
        };
        let stored = self.check.load(Relaxed);
        let mut told = Vec::new();
        load_bytes(&self.told.0, stored & 0xffff_ffff, &mut told);
        let basis = self.basis.load(Relaxed);
        if check(identity, basis, &told) != stored {
            return None;
        }
        let price = usize::from((basis >> PRICE_SHIFT) as u16);
        let (price, intent) = told.split_at_checked(price)?;
        let marks = self.marks.load(Relaxed);
        Some(Image {
            state,
            identity,
            ended_us: self.ended_us.load(Relaxed),
            duration_us: self.duration_us.load(Relaxed),
            first_content_us: self.first_content.load(Relaxed).checked_sub(1),
            status: self.status.load(Relaxed) as u16,
            outcome: self.outcome.load(Relaxed) as u8,
            finish: self.finish.load(Relaxed) as u8,
            flags: marks as u32,
            committed: marks & COMMITTED != 0,
            reported: self.reported(),
            delivered: Delivered(self.delivered.each_ref().map(|word| word.load(Relaxed))),
            native_finish: self.native_finish.load(),
            upstream_id: self.upstream_id.load(),
            price: str::from_utf8(price).ok()?.to_owned(),
            intent: intent.to_vec(),
            basis: Basis::from_code(basis & !(u64::MAX << PRICE_SHIFT))?,
        })
    }
}

/// Length of what is told in the low half, CRC32C in the high half.
fn check(identity: Identity, basis: u64, told: &[u8]) -> u64 {
    let head = [identity.epoch, identity.seq, identity.started_us, basis].map(u64::to_le_bytes);
    let crc = crc32c::crc32c_append(crc32c::crc32c(head.as_flattened()), told);
    u64::from(crc) << 32 | told.len() as u64
}

/// FNV-1a of a generation's id: finds candidates, which are then compared in full.
pub(super) fn generation_hash(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
