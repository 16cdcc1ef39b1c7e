//! Totals out of the ledger's database, for `weir usage`.
