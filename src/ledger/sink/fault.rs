//! Whose fault an error of a sink is: one row's, which will never be taken, or the sink's own, which passes
//! once somebody has seen to it (F69, F71).
//!
//! Two tables say it. What they hold against a row is believed only while others are taken (`poison`).

use super::SinkError;
use rusqlite::ErrorCode;
use tokio_postgres::error::SqlState;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Row,
    /// And what to do about it.
    Sink(&'static str),
}

use Fault::{Row, Sink};

const DAMAGED: &str = "stop Weir, put a copy of the file back or save what `sqlite3 FILE .recover` reads, \
                       or move the file away to begin a new one";
const WRITABLE: &str = "let Weir's user write the file and its directory, on a file system mounted \
                        for writing";
const ROOM: &str = "make room on the disk";
const LOCKED: &str = "find out which other process keeps the database locked";
const PARTITION: &str =
    "attach the table of the month to weir.attempt again, or give it another name";
const SCHEMA: &str = "give the tables back what was changed about them";

/// SQLite's result codes. What is not here is the sink's fault.
const SQLITE: [(ErrorCode, Fault); 16] = [
    // A check, a trigger's RAISE, an index that must be unique, a type that a strict table does not take.
    (ErrorCode::ConstraintViolation, Row),
    (ErrorCode::TypeMismatch, Row),
    (ErrorCode::TooBig, Row),
    (ErrorCode::DatabaseCorrupt, Sink(DAMAGED)),
    (ErrorCode::NotADatabase, Sink(DAMAGED)),
    (ErrorCode::ReadOnly, Sink(WRITABLE)),
    (ErrorCode::PermissionDenied, Sink(WRITABLE)),
    (ErrorCode::AuthorizationForStatementDenied, Sink(WRITABLE)),
    (ErrorCode::CannotOpen, Sink(WRITABLE)),
    (ErrorCode::DiskFull, Sink(ROOM)),
    (ErrorCode::SystemIoFailure, Sink("look at the disk, and for its errors in the kernel's log")),
    (ErrorCode::DatabaseBusy, Sink(LOCKED)),
    (ErrorCode::DatabaseLocked, Sink(LOCKED)),
    (ErrorCode::FileLockingProtocolFailed, Sink(LOCKED)),
    // An absent table or column, and a statement that does not fit them.
    (ErrorCode::Unknown, Sink(SCHEMA)),
    (ErrorCode::SchemaChanged, Sink(SCHEMA)),
];

/// Classes of SQLSTATE (PostgreSQL, appendix A). A class that is not here is none of PostgreSQL's: a trigger
/// made it up to refuse a row.
const SQLSTATE: [(&str, Fault); 13] = [
    // Triggers, CASE, cardinality, data, constraints, routines, a check option, a program's limit (of the
    // length of a row, or of an entry of an index), RAISE.
    ("09 20 21 22 23 27 2F 38 39 44 54 P0", Row),
    ("08", Sink("find out whether the server runs and can be reached")),
    ("25", Sink("let the server take writes: it is a standby, or read-only")),
    ("28", Sink("correct user or password in the connection string")),
    ("3D", Sink("create the database that the connection string names")),
    ("0L 0P 2B 3F", Sink("give Weir's user its rights on schema weir")),
    ("40", Sink("nothing: others wrote the same at the same time")),
    (
        "42",
        Sink("give Weir's user its rights on schema weir, and its tables back what was changed"),
    ),
    ("53", Sink("make room on the server: disk, memory or connections")),
    ("55", Sink("find out who keeps the tables locked")),
    ("57", Sink("find out why the server ended it: a shutdown, or a statement that took too long")),
    ("72", Sink("nothing: a snapshot was too old")),
    ("00 01 02 03 0A 0B 0F 0Z 24 26 2D 34 3B 58 F0 HV XX", Sink("look at the server's log")),
];

impl SinkError {
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Refused(_) => Row,
            Self::Sqlite(error) => {
                let code = error.sqlite_error_code();
                let known = SQLITE.iter().find(|(known, _)| Some(*known) == code);
                known.map_or(Sink("look at the file"), |(_, fault)| *fault)
            }
            // A check has a name; without one a partition is missing, which no row can help.
            Self::Postgres(error)
                if error.code() == Some(&SqlState::CHECK_VIOLATION)
                    && error.as_db_error().is_some_and(|told| told.constraint().is_none()) =>
            {
                Sink(PARTITION)
            }
            Self::Postgres(error) => match error.code() {
                Some(state) => of_state(state.code()),
                None => {
                    Sink("find out whether the server runs, can be reached and speaks TLS as asked")
                }
            },
            Self::Damaged(_) => Sink(DAMAGED),
            Self::Moved => Sink("nothing: it is asked where it stands, and goes on from there"),
            Self::File(_) => Sink("let Weir's user write there, on a disk with room"),
            Self::Nats(_) | Self::Slow(_) => Sink("find out whether the server runs and keeps up"),
            Self::Denied(_) => Sink("correct user, password or certificates of the NATS servers"),
            Self::Newer { .. } => Sink("start the version that wrote it"),
        }
    }

    /// What to do about it.
    pub(in crate::ledger) fn remedy(&self) -> &'static str {
        match self.fault() {
            Row => "look at constraints and triggers of the table: it takes no row at all",
            Sink(remedy) => remedy,
        }
    }
}

fn of_state(code: &str) -> Fault {
    let of = |classes: &str| classes.split(' ').any(|class| code.starts_with(class));
    let known = SQLSTATE.iter().find(|(classes, _)| of(classes));
    known.map_or(Row, |(_, fault)| *fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_stands_once_and_no_fault_of_the_whole_server_is_held_against_a_row() {
        let classes: Vec<_> = SQLSTATE.iter().flat_map(|(classes, _)| classes.split(' ')).collect();
        for (at, class) in classes.iter().enumerate() {
            assert!(class.len() == 2 && !classes[..at].contains(class), "{class}");
        }
        for (at, (code, _)) in SQLITE.iter().enumerate() {
            assert!(SQLITE[..at].iter().all(|(other, _)| other != code), "{code:?}");
        }
        // Connection, disk full, missing table, permission, read-only, lock, syntax, shutdown, damage.
        for code in
            ["08006", "53100", "42P01", "42501", "25006", "55P03", "42601", "57P01", "XX001"]
        {
            assert_ne!(of_state(code), Row, "{code}");
        }
        // A trigger's exception, and its own code; a check; a number that does not fit; a row too long.
        for code in ["P0001", "WEIRD", "23514", "22003", "54000"] {
            assert_eq!(of_state(code), Row, "{code}");
        }
    }
}
