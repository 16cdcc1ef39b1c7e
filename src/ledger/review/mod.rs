//! Looking at a ledger from outside: is it whole, what is in it, does it agree with the metrics.
//!
//! Reads only; Weir may run meanwhile. What it writes at that moment may look like a torn tail.

mod epochs;
mod export;
#[cfg(test)]
mod loss_tests;
mod metrics;
mod slots;
mod spool;
#[cfg(test)]
mod tests;
mod verify;
mod whole;

pub use epochs::{Balance, Compared, Epoch, compare};
pub use export::{Form, export};
pub use metrics::{Sums, Told, told};
pub use spool::{Spooled, spooled};
pub use verify::{Checked, check};
pub use whole::Beside;
pub(super) use whole::Whole;

use super::directory::{self, Writer};
use super::sink::reader::{Base, ReadError};
use std::io;
use std::path::{Path, PathBuf};

/// A ledger as reports read it.
#[derive(Debug, Clone)]
pub struct Books {
    pub base: Base,
    /// The state directory of the Weir that writes it, where it is known: of its spool and its dead
    /// letters.
    pub state: Option<PathBuf>,
    /// Where else there are dead letters of the database, as those of `weir drain`.
    pub dead_letters: Option<PathBuf>,
}

/// Who writes in a state directory.
fn writer(state: &Path) -> Result<Writer, ReviewError> {
    directory::writer(state).map_err(ReviewError::State)?.ok_or(ReviewError::NoNode)
}

/// Why a ledger cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Of the database.
    #[error(transparent)]
    Base(#[from] ReadError),
    /// Of the spool or the dead letters.
    #[error("a file of the ledger cannot be read: {0}")]
    State(io::Error),
    #[error("it has no file `identity`: this is not the state directory of a Weir that has run")]
    NoNode,
    /// Of what is printed.
    #[error("{0}")]
    Out(io::Error),
}

/// Hears how far a long report has come, and what it passes over.
pub trait Watch {
    /// A step begins: what it goes through, and how many of them; 0 where nobody knows.
    fn begin(&self, what: &'static str, of: u64);
    fn seen(&self, more: u64);
    /// Something cannot be counted: where it is, and why.
    fn odd(&self, what: &str);
}

/// Nobody waits.
impl Watch for () {
    fn begin(&self, _: &'static str, _: u64) {}
    fn seen(&self, _: u64) {}
    fn odd(&self, _: &str) {}
}
