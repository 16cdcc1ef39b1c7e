//! `weir.toml`: what is set once for the whole process.

use super::document::Section;
use super::limits::{self, Limits};
use super::listen::{self, Admin, Listener};
use super::policy;
use super::secret::{self, Environment, Resolved};
use super::value::{self, Bytes, Pause};
use crate::ledger::{Durability, SpoolFull, Target};
use crate::price::Policy;
use crate::selection::Constraint;
use crate::{bounds, host};
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything `weir.toml` says. Paths are resolved.
#[derive(Debug)]
pub struct Settings {
    pub listeners: Vec<Listener>,
    pub admin: Admin,
    /// Where slots, spool and the embedded ledger live.
    pub state_directory: PathBuf,
    /// Threads that serve requests.
    pub threads: usize,
    /// How long SIGTERM waits for open requests.
    pub drain: Duration,
    pub limits: Limits,
    pub ledger: LedgerSettings,
    pub log: LogFormat,
    /// Silence on an `/api/v1` stream after which a comment is sent; zero for never.
    pub keepalive_comment: Duration,
    /// Deployment-wide policy; merged into every request's.
    pub constraint: Constraint,
}

/// Where attempts are recorded.
#[derive(Debug, Clone)]
pub struct LedgerSettings {
    /// Attempts that can be open or unflushed at once.
    pub slots: usize,
    /// What a power cut may cost.
    pub durability: Durability,
    pub sqlite: PathBuf,
    /// What else takes the rows.
    pub others: Vec<Target>,
    /// Most bytes the spool may take while the sink is away.
    pub spool_bytes: u64,
    /// What becomes of requests once it has.
    pub spool_full: SpoolFull,
    /// What callers pay of what attempts cost.
    pub charge: Policy,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The state directory where neither the configuration nor systemd names one.
pub const STATE: &str = "state";
/// The embedded ledger in it.
pub const DATABASE: &str = "ledger.sqlite";

pub(super) const KEYS: &[&str] = &[
    "listener",
    "admin",
    "state_directory",
    "rules",
    "catalog",
    "threads",
    "drain",
    "log",
    "keepalive_comment",
    "limits",
    "ledger",
    "policy",
];
pub(super) const LEDGER: &[&str] = &[
    "slots",
    "durability",
    "sqlite",
    "postgres",
    "jsonl",
    "nats",
    "spool_bytes",
    "spool_full",
    "charge",
];

pub(super) const JSONL: &[&str] = &["directory", "rotate"];
pub(super) const NATS: &[&str] = &["urls", "stream"];

/// Reads the settings. `known` are the names that the policy may use, as in [`policy::read`].
pub(super) fn read(
    root: &Section<'_>,
    known: Option<&[&str]>,
    environment: Environment<'_>,
) -> Settings {
    let state_directory =
        state_directory(root, environment).unwrap_or_else(|| PathBuf::from(STATE));
    let ledger = ledger(&root.table("ledger", LEDGER), &state_directory, environment);
    let threads = root.checked("threads", |count: u64| between(count, 1, 1024));
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let listeners = listen::listeners(root);
    let admin_section = root.table("admin", listen::ADMIN);
    let admin = listen::admin(&admin_section, environment);
    if listeners.iter().any(|listener| listener.address == admin.address) {
        admin_section.problem("address", "callers are listened to at this address already");
    }
    Settings {
        listeners,
        admin,
        threads: threads.unwrap_or_else(cores),
        drain: root.or("drain", Duration::from_secs(300)),
        limits: limits::read(&root.table("limits", limits::LIMITS), host::descriptors()),
        log: root.choice("log", &words).unwrap_or(LogFormat::Text),
        keepalive_comment: root.or("keepalive_comment", Pause(Duration::from_secs(10))).0,
        constraint: policy::read(&root.table("policy", policy::KEYS), known),
        state_directory,
        ledger,
    }
}

/// The directory that is named, or else the one that systemd gives.
fn state_directory(root: &Section<'_>, environment: Environment<'_>) -> Option<PathBuf> {
    if let Some(path) = root.get::<PathBuf>("state_directory") {
        return Some(root.resolve(&path));
    }
    // systemd separates several directories by colons; the first is the unit's main one.
    let systemd = environment("STATE_DIRECTORY").and_then(|list| list.into_string().ok());
    let first = systemd.and_then(|list| list.split(':').next().map(PathBuf::from));
    first.filter(|path| path.is_absolute())
}

/// Where attempts were recorded, for whoever only reads them: no key and no provider's secret is needed.
#[derive(Debug)]
pub struct LedgerPlace {
    /// `None` where systemd gives it, and does not here.
    pub state_directory: Option<PathBuf>,
    /// `None`: in the state directory.
    pub sqlite: Option<PathBuf>,
    /// The connection string, read only if it is asked for.
    pub postgres: Option<SecretString>,
}

/// Reads of `weir.toml` where its ledger is.
pub(super) fn ledger_place(
    root: &Section<'_>,
    with_postgres: bool,
    environment: Environment<'_>,
) -> LedgerPlace {
    let section = root.table("ledger", LEDGER);
    let postgres = if with_postgres { postgres(&section, environment) } else { None };
    if with_postgres && !section.has("postgres") {
        section.problem("postgres", "missing: this configuration keeps no rows in PostgreSQL");
    }
    LedgerPlace {
        state_directory: state_directory(root, environment),
        sqlite: sqlite(&section),
        postgres,
    }
}

fn sqlite(ledger: &Section<'_>) -> Option<PathBuf> {
    ledger.get::<PathBuf>("sqlite").map(|path| ledger.resolve(&path))
}

/// A secret that is not there is a problem: rows would have nowhere to go.
fn postgres(ledger: &Section<'_>, environment: Environment<'_>) -> Option<SecretString> {
    match secret::read(ledger, "postgres", environment)? {
        Resolved::Found { secret, .. } => return Some(secret),
        Resolved::Absent(why) => ledger.problem("postgres", why),
        Resolved::Wrong => {}
    }
    None
}

/// Sinks beside SQLite.
fn others(section: &Section<'_>, environment: Environment<'_>) -> Vec<Target> {
    let mut targets = Vec::new();
    targets.extend(postgres(section, environment).map(Target::Postgres));
    if section.has("jsonl") {
        let files = section.table("jsonl", JSONL);
        let rotate_bytes = files
            .checked("rotate", |Bytes(count)| between(count, 1 << 10, 1 << 40))
            .map_or(64 << 20, |count| count as u64);
        if let Some(directory) = files.get::<PathBuf>("directory") {
            let directory = files.resolve(&directory);
            targets.push(Target::JsonLines { directory, rotate_bytes });
        } else if !files.has("directory") {
            files.problem("directory", "say where the files go");
        }
    }
    if section.has("nats") {
        let nats = section.table("nats", NATS);
        let stream = nats.checked("stream", stream_name).unwrap_or_else(|| "weir".to_owned());
        match secret::read(&nats, "urls", environment) {
            Some(Resolved::Found { secret: urls, .. }) => {
                targets.push(Target::Nats { urls, stream })
            }
            Some(Resolved::Absent(why)) => nats.problem("urls", why),
            None => nats.problem("urls", "say where the servers are"),
            Some(Resolved::Wrong) => {}
        }
    }
    targets
}

/// As NATS has it: no dot.
fn stream_name(text: String) -> Result<String, String> {
    match text.contains('.') {
        true => Err("expected a name without a dot".to_owned()),
        false => value::slug(text),
    }
}

fn ledger(
    section: &Section<'_>,
    state_directory: &Path,
    environment: Environment<'_>,
) -> LedgerSettings {
    let least = 4 * bounds::SEGMENT_BYTES;
    LedgerSettings {
        slots: section
            .checked("slots", |count: u64| between(count, 64, 1 << 20))
            .unwrap_or(bounds::SLOTS_DEFAULT),
        durability: section.choice("durability", &Durability::ALL).unwrap_or_default(),
        sqlite: sqlite(section).unwrap_or_else(|| state_directory.join(DATABASE)),
        others: others(section, environment),
        spool_bytes: section
            .checked("spool_bytes", |Bytes(count)| between(count, least, 1 << 40))
            .map_or(4 << 30, |count| count as u64),
        charge: section.choice("charge", &Policy::ALL).unwrap_or_default(),
        spool_full: section.choice("spool_full", &SpoolFull::ALL).unwrap_or_default(),
    }
}

/// A count within its bounds.
pub(super) fn between(count: u64, least: u64, most: u64) -> Result<usize, String> {
    match usize::try_from(count) {
        Ok(size) if (least..=most).contains(&count) => Ok(size),
        _ => Err(format!("expected {least} to {most}")),
    }
}
