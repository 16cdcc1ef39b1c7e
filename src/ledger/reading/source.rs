//! The bytes of a segment as they are read, while its writer may still append and anybody may cut it.

use crate::ledger::segments::Segment;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

pub(super) struct Source {
    segment: Arc<Segment>,
    file: File,
    /// Where a segment ends that is shorter than it was.
    cut: Option<u64>,
    /// Bytes from `base` on, of which `used` have been scanned.
    pub(super) buffer: Vec<u8>,
    base: u64,
    pub(super) used: usize,
}

impl Source {
    pub(super) fn new(segment: Arc<Segment>, file: File, start: u64) -> Self {
        Self { segment, file, cut: None, buffer: Vec::new(), base: start, used: 0 }
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    pub(super) fn shared(&self) -> Arc<Segment> {
        self.segment.clone()
    }

    /// Up to where it has been scanned.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.used as u64
    }

    /// Whether all that was read has been scanned.
    pub(super) fn at_end(&self) -> bool {
        self.used == self.buffer.len()
    }

    /// Reads what was appended, once all before it has been scanned. True: nothing follows it.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        let (bytes, closed) = self.segment.extent();
        let bytes = self.cut.unwrap_or(bytes);
        if self.at_end() {
            (self.base, self.used) = (self.offset(), 0);
            let fresh = usize::try_from(bytes.saturating_sub(self.base));
            let fresh = fresh.map_err(io::Error::other)?;
            self.buffer.clear();
            self.buffer.resize(fresh, 0);
            let read = read(&self.file, &mut self.buffer, self.base)?;
            if read < fresh {
                self.shortened(read, closed);
                return Ok(closed);
            }
        }
        Ok(closed && self.base + self.buffer.len() as u64 >= bytes)
    }

    /// `read` bytes are all there is from `base` on. While it is written the place of what is gone is kept: it
    /// is read once the writer, who is told, has ended the segment behind it.
    fn shortened(&mut self, read: usize, closed: bool) {
        self.segment.mark_taken();
        self.buffer.truncate(if closed { read } else { 0 });
        self.cut = closed.then_some(self.base + read as u64);
    }
}

/// Reads until the room or the file ends.
fn read(file: &File, room: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = room.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Release;

    fn source(bytes: u64, closed: bool) -> (tempfile::TempDir, Source) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("spool");
        std::fs::write(&path, [7; 100]).unwrap();
        let file = File::open(&path).unwrap();
        let segment = Arc::new(Segment::left(path, bytes));
        segment.closed.store(closed, Release);
        (place, Source::new(segment, file, 64))
    }

    #[test]
    fn a_closed_file_that_is_shorter_ends_where_it_ends() {
        let (_place, mut source) = source(120, true);
        assert!(source.fill().unwrap());
        assert_eq!((source.buffer.len(), source.segment.is_taken()), (36, true));
        source.used = 36;
        assert!(source.fill().unwrap() && source.at_end());
        assert_eq!(source.offset(), 100);
    }

    #[test]
    fn one_that_is_being_written_is_waited_for() {
        let (place, mut source) = source(120, false);
        assert!(!source.fill().unwrap() && source.at_end());
        assert_eq!((source.offset(), source.segment.is_taken()), (64, true));
        std::fs::write(place.path().join("spool"), [7; 120]).unwrap();
        source.segment.close();
        assert!(source.fill().unwrap());
        assert_eq!(source.buffer.len(), 56);
    }

    /// An error of the disk is none of the file's length: it is read again.
    #[test]
    fn a_file_that_cannot_be_read_is_not_shorter() {
        let (place, mut source) = source(120, true);
        let path = place.path().join("spool");
        source.file = File::options().write(true).open(path).unwrap();
        assert!(source.fill().is_err());
        assert_eq!((source.cut, source.segment.is_taken()), (None, false));
    }
}
