//! What a slot says, copied out of it.

use crate::meter::{Delivered, Estimator};
use crate::price::Policy;
use crate::usage::Usage;

/// What identifies a slot's attempt and when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct Identity {
    pub(in crate::ledger) epoch: u64,
    pub(in crate::ledger) seq: u64,
    pub(in crate::ledger) started_us: u64,
}

/// By what an attempt will be settled, as it stood when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct Basis {
    pub(in crate::ledger) policy: Policy,
    pub(in crate::ledger) estimator: Estimator,
}

impl Basis {
    pub(super) fn code(self) -> u64 {
        self.policy as u64 | self.estimator.code() << 8
    }

    pub(super) fn from_code(code: u64) -> Option<Self> {
        let policy = Policy::from_code(code & 0xff)?;
        Some(Self { policy, estimator: Estimator::from_code(code >> 8)? })
    }
}

/// All that a slot says, copied out of it.
#[derive(Debug, Clone)]
pub(in crate::ledger) struct Image {
    pub(in crate::ledger) state: u64,
    pub(in crate::ledger) identity: Identity,
    pub(in crate::ledger) ended_us: u64,
    pub(in crate::ledger) duration_us: u64,
    pub(in crate::ledger) first_content_us: Option<u64>,
    pub(in crate::ledger) status: u16,
    pub(in crate::ledger) outcome: u8,
    pub(in crate::ledger) finish: u8,
    pub(in crate::ledger) flags: u32,
    pub(in crate::ledger) committed: bool,
    pub(in crate::ledger) reported: Option<Usage>,
    pub(in crate::ledger) delivered: Delivered,
    pub(in crate::ledger) native_finish: String,
    pub(in crate::ledger) upstream_id: String,
    /// As `intent::put` wrote it.
    pub(in crate::ledger) intent: Vec<u8>,
    /// Text of the price version.
    pub(in crate::ledger) price: String,
    pub(in crate::ledger) basis: Basis,
}
