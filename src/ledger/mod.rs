//! The ledger: slot, spool, flusher, sinks. Every dispatched attempt leaves exactly one record.
//!
//! A request thread claims a slot of a mapped file before dispatch, keeps its numbers in it while
//! bytes flow, and seals it by `Drop`. The flusher's thread settles sealed slots and appends their
//! records to the spool; only then is a slot free again. The delivering thread reads the spool and
//! writes rows and cursor into the sink in one transaction; only then is a segment deleted. So a
//! process that dies anywhere leaves each record in slot, spool or sink, and the primary key
//! (node, epoch, seq) makes it once. What that promises: `kill -9` loses nothing; a power cut loses
//! what [`Durability`] says: slots are mapped, and what they say of open attempts is saved beside them. A
//! slot is free again only when its record is synced, so that a failed sync loses nothing either (F63).

mod activity;
mod atomic {
    pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}
mod claim;
mod codec;
#[cfg(test)]
mod copy_tests;
#[cfg(test)]
mod cut_tests;
#[cfg(test)]
mod damage_tests;
mod deliver;
mod depth;
mod directory;
pub mod drain;
mod durability;
#[cfg(test)]
mod edge_tests;
mod find;
mod flush;
#[cfg(test)]
mod full_tests;
mod header;
mod index_list;
mod intent;
pub mod invoice;
mod losses;
mod map;
mod names;
mod prices;
mod reading;
mod recent;
pub mod record;
mod recover;
pub mod redeliver;
pub mod report;
pub mod review;
mod row;
mod saved;
mod segment;
mod segments;
mod settle;
mod shared;
mod sink;
mod slot;
mod spool;
#[cfg(test)]
mod taken_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unsound_tests;

pub use activity::{Activity, ActivityError, Place, Total, Wanted};
pub use claim::Claim;
pub use depth::{Depth, Gate};
pub use durability::{Durability, SpoolFull};
pub use sink::reader::{Base, ReadError};
pub use sink::{SinkError, Target};

use crate::bounds::SINKS;
use crate::meter::Estimator;
use crate::price::Terms;
use directory::Directory;
use parking_lot::Mutex;
use record::{Intent, Record};
use shared::{Shared, Stop};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where the ledger lives and how it writes.
#[derive(Debug, Clone)]
pub struct Options {
    /// State directory: slots, spool, identity. One process at a time.
    pub directory: PathBuf,
    /// Attempts that can be open or unflushed at once.
    pub slots: usize,
    /// What a power cut may cost.
    pub durability: Durability,
    /// Database file of the SQLite sink, which is always there.
    pub sqlite: PathBuf,
    /// What else takes the rows; at most [`crate::bounds::SINKS`] with it.
    pub others: Vec<Target>,
    /// Bytes of undelivered spool beyond which nothing new is recorded (at 95 %, F62).
    pub spool_bytes: u64,
    /// What becomes of attempts then.
    pub spool_full: SpoolFull,
}

impl Options {
    /// Every sink.
    fn sinks(&self) -> impl Iterator<Item = Target> {
        let sqlite = Target::Sqlite(self.sqlite.clone());
        std::iter::once(sqlite).chain(self.others.iter().cloned()).take(SINKS)
    }
}

/// Why the ledger cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "another process uses the state directory {}: stop it, or give each its own", .0.display()
    )]
    Locked(PathBuf),
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "{} has slot format {found}, this version writes {expected}: start and stop the version \
         that wrote it once, or move the file away and lose the attempts it holds", path.display()
    )]
    SlotFormat { path: PathBuf, found: String, expected: String },
    #[error("{0} slots asked for: choose 1 to {max}", max = crate::bounds::SLOTS_MAX)]
    Slots(usize),
    #[error("cannot open the ledger database {}: {source}", path.display())]
    Sink { path: PathBuf, source: SinkError },
}

impl OpenError {
    fn io<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// What is known of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An attempt of it is open. `terminal`: its last event has been seen.
    InFlight {
        terminal: bool,
        workspace: String,
    },
    /// Its attempts in order.
    Rows(Vec<Record>),
    /// None is in memory, and the database cannot be read or lacks more than memory holds.
    NotYet,
    Unknown,
}

/// Sees every record of this epoch once, on the flusher's thread, as it goes into the spool.
pub type Observer = Box<dyn Fn(&Record) + Send + Sync>;

/// The running ledger. Dropping it stops both threads where they are; use [`Ledger::shutdown`] to
/// end in order.
pub struct Ledger {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Ledger {
    /// Locks the directory, begins an epoch, recovers what earlier ones left in slots and spool,
    /// and starts the flushing and the delivering thread.
    ///
    /// A sink that is busy or damaged does not keep it from starting (F71); one that cannot be
    /// created does.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: Options) -> Result<Arc<Self>, OpenError> {
        let directory = Directory::lock(&options.directory)?;
        sink::probe(&options.sqlite)
            .map_err(|source| OpenError::Sink { path: options.sqlite.clone(), source })?;
        let (shared, spool) = recover::start(directory, options)?;
        let shared = Arc::new(shared);
        let place = shared.directory.path();
        let saver = saved::Saver::open(place, shared.writer)
            .map_err(OpenError::io("create files in", place))?;
        let flusher = flush::Flusher::new(shared.clone(), spool, saver);
        let ledger = Arc::new(Self { shared: shared.clone(), threads: Mutex::default() });
        ledger.spawn("weir-flush", move || flusher.run())?;
        for (number, target) in shared.options.sinks().enumerate() {
            let deliverer = deliver::Deliverer::new(shared.clone(), target, number);
            let name =
                if number == 0 { "weir-deliver".to_owned() } else { format!("weir-sink-{number}") };
            ledger.spawn(&name, move || deliverer.run())?;
        }
        Ok(ledger)
    }

    /// Shows every record from now on to `observer`; metrics of usage come from there, so that they
    /// agree with the rows (I7). The first call counts.
    pub fn observe(&self, observer: Observer) {
        let taken = self.shared.observer.set(observer).is_err();
        debug_assert!(!taken, "the ledger has an observer already");
    }

    /// Claims a slot for one attempt, before its dispatch. `None`: no slot is free, the spool is
    /// full or writing failed; the caller answers 503. Takes no lock, allocates nothing. With
    /// [`SpoolFull::ServeUnbilled`] a full spool gives a claim that leaves no record.
    #[must_use]
    pub fn claim(&self, intent: &Intent<'_>, terms: &Terms, estimator: Estimator) -> Option<Claim> {
        Claim::new(&self.shared, intent, terms, estimator)
    }

    /// What is known of a generation, from slots, memory and sink in this order: readable from its
    /// claim on. Not for the hot path: it may read the database.
    #[must_use]
    pub fn find(&self, generation_id: &str) -> Found {
        self.shared.find(generation_id)
    }

    /// What a workspace has used, up to this moment. Not for the hot path: it searches the database.
    ///
    /// # Errors
    /// The database is too far behind, busy, or cannot be read.
    pub fn activity(&self, wanted: &Wanted) -> Result<Activity, ActivityError> {
        self.shared.activity(wanted)
    }

    /// Whether new attempts are admitted; [`Gate::Failed`] asks for a restart of the process (F63).
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.shared.gate()
    }

    /// Whether attempts are admitted, with a record or, where that is wanted, without.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self) -> Result<(), &'static str> {
        self.shared.admits()
    }

    /// How full things are.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.shared.depth()
    }

    /// Delivers everything sealed so far to the sink and stops both threads, within `limit`. True
    /// if all was delivered; what was not stays in slots and spool for the next start.
    #[must_use]
    pub fn shutdown(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        self.shared.stop(Stop::Drain);
        let mut threads = self.threads.lock();
        threads.iter().for_each(|thread| thread.thread().unpark());
        while threads.iter().any(|t| !t.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.halt(&mut threads);
        let empty = self.shared.segments.is_empty() && self.depth().sealed == 0;
        empty && self.shared.gate() != Gate::Failed
    }

    /// Runs a thread whose panic closes the gate: a ledger without it must not go unnoticed (F74).
    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let watch = Watch(self.shared.clone());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _watch = watch;
            run();
        });
        let failed = OpenError::io("start a thread for", self.shared.directory.path());
        self.threads.lock().push(thread.map_err(failed)?);
        Ok(())
    }

    fn halt(&self, threads: &mut Vec<JoinHandle<()>>) {
        self.shared.stop(Stop::Halt);
        for thread in threads.drain(..) {
            thread.thread().unpark();
            // Its own watch has told of a panic.
            let _ = thread.join();
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.halt(&mut self.threads.lock());
    }
}

/// Held by a ledger thread.
struct Watch(Arc<Shared>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a ledger thread panicked: new requests are refused; restart");
            self.0.set_gate(Gate::Failed);
        }
    }
}
