//! Why a drain stops or waits.

use crate::ledger::sink::SinkError;
use std::io;
use std::path::PathBuf;

/// Why nothing more is moved. Nothing is lost: what was not committed stays in the stream.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    #[error("the NATS servers: {0}: {remedy}", remedy = .0.remedy())]
    Source(SinkError),
    #[error("the {to}: {error}: {remedy}", remedy = .error.remedy())]
    Target { to: &'static str, error: SinkError },
    #[error("{}: {error}: name a directory that can be written with --dead-letters", .path.display())]
    DeadLetters { path: PathBuf, error: io::Error },
    #[error(
        "{subject} holds what a newer version wrote (number {found}, this one reads {known}): drain it with \
         that version; it stays in the stream"
    )]
    Newer { subject: String, found: u64, known: u64 },
    #[error("the servers have no stream {name}: they have {}", listed(.known))]
    NoStream { name: String, known: Vec<String> },
}

/// Classes of SQLSTATE that no waiting helps: rights, user and password, a database or a schema that is not
/// there, statements that do not fit the tables.
const LASTING: [&str; 7] = ["0L", "0P", "28", "2B", "3D", "3F", "42"];

impl DrainError {
    /// Whether it may help to try again.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Target { error: SinkError::Postgres(error), .. } => error
                .code()
                .is_none_or(|state| !LASTING.iter().any(|class| state.code().starts_with(class))),
            Self::Target { error, .. } => !matches!(error, SinkError::Newer { .. }),
            Self::Source(error) => !matches!(error, SinkError::Denied(_)),
            Self::DeadLetters { .. } => true,
            Self::Newer { .. } | Self::NoStream { .. } => false,
        }
    }
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "none yet".to_owned() } else { known.join(", ") }
}
