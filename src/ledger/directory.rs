//! The state directory: its lock, who this node is, and which start of it this is.

use super::OpenError;
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file that says who writes in a state directory.
const IDENTITY: &str = "identity";

/// A locked directory. The lock ends with the process, however it ends.
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

/// Who writes: `node` for the life of the directory, `epoch` for this start of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) node: [u8; 16],
    pub(super) epoch: u64,
}

impl Directory {
    /// Creates the directory if need be, readable by its owner only, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, OpenError> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(OpenError::io("create", path))?;
        let name = path.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&name)
            .map_err(OpenError::io("open", &name))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked(path.to_owned())),
            Err(errno) => Err(OpenError::io("lock", &name)(errno.into())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins the next epoch and makes that durable. `seen` is what the slot file knows, or else the newest
    /// sound segment; `spooled` is the newest epoch of the spool: they stand in for a lost identity and keep
    /// an epoch from being used twice. So does the time, Unix milliseconds, which an epoch is not before: a
    /// directory that is put back from a copy, or runs in two places, does not know what else was begun.
    pub(super) fn begin(
        &self,
        seen: Option<Writer>,
        spooled: Option<u64>,
        now_ms: u64,
    ) -> Result<Writer, OpenError> {
        let path = self.path.join(IDENTITY);
        let stored = writer(&self.path).map_err(OpenError::io("read", &path))?;
        let last = match (stored, seen) {
            (Some(own), Some(seen)) if own.node == seen.node => {
                Writer { epoch: own.epoch.max(seen.epoch), ..own }
            }
            (Some(own), _) => own,
            (None, Some(seen)) => seen,
            (None, None) => Writer { node: rand::random(), epoch: 0 },
        };
        let epoch = last.epoch.max(spooled.unwrap_or(0)).saturating_add(1).max(now_ms);
        let writer = Writer { epoch, ..last };
        let text = format!("node {}\nepoch {}\n", hex::encode(writer.node), writer.epoch);
        replace(&path, text.as_bytes()).map_err(OpenError::io("write", &path))?;
        Ok(writer)
    }
}

/// Who wrote last in a state directory, if its identity is there and says so.
pub(super) fn writer(path: &Path) -> io::Result<Option<Writer>> {
    match fs::read_to_string(path.join(IDENTITY)) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Option<Writer> {
    let (first, second) = text.split_once('\n')?;
    let mut node = [0; 16];
    hex::decode_to_slice(first.strip_prefix("node ")?, &mut node).ok()?;
    Some(Writer { node, epoch: second.trim_end().strip_prefix("epoch ")?.parse().ok()? })
}

/// Replaces a small file durably: either its old or its new content survives.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_directory(path.parent().unwrap_or(path))
}

/// Makes creations, renames and removals in a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whether a file is the one at a path, as far as the host can tell.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let id = |it: fs::Metadata| (it.dev(), it.ino());
    match (file.metadata().map(id), fs::metadata(path).map(id)) {
        (Ok(own), Ok(there)) => own == there,
        (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
        (Err(_), _) => true,
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Sets a damaged file aside as `<name>.bad`, for the operator to look at; one more of that name as
/// `<name>.bad.1` and so on.
pub(super) fn quarantine(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".bad");
    let mut bad = PathBuf::from(&name);
    for number in 1.. {
        if !bad.exists() {
            break;
        }
        bad = PathBuf::from(&name).with_added_extension(number.to_string());
    }
    fs::rename(path, &bad)?;
    sync_directory(bad.parent().unwrap_or(&bad))?;
    Ok(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_ends() {
        let place = tempfile::tempdir().unwrap();
        let first = Directory::lock(place.path()).unwrap();
        assert!(matches!(Directory::lock(place.path()), Err(OpenError::Locked(_))));
        drop(first);
        assert!(Directory::lock(place.path()).is_ok());
    }

    #[test]
    fn the_node_stays_and_the_epoch_grows() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::lock(place.path()).unwrap();
        let begin = |seen, now_ms| directory.begin(seen, None, now_ms).unwrap();
        let (first, second) = (begin(None, 0), begin(None, 0));
        assert_eq!((second.node, first.epoch, second.epoch), (first.node, 1, 2));
        let later = Writer { epoch: 9, ..first };
        assert_eq!(begin(Some(later), 10).epoch, 10);
        fs::write(place.path().join("identity"), "garbage").unwrap();
        assert_eq!(begin(Some(later), 10), later_by_one(later));
        assert_eq!((begin(None, 500).epoch, begin(None, 500).epoch), (500, 501));
        assert_eq!(begin(None, 100).epoch, 502, "a clock put back");
    }

    fn later_by_one(writer: Writer) -> Writer {
        Writer { epoch: writer.epoch + 1, ..writer }
    }
}
