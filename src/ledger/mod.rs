//! The ledger: slot, spool, flusher, sinks. Every dispatched attempt leaves exactly one record.

pub mod record;
