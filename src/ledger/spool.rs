//! Writing the spool: rows appended to segments, synced, rotated. One thread only.

use super::codec::Put;
use super::directory::{Writer, is_at, sync_directory};
use super::names::{Given, Pair};
use super::prices::Priced;
use super::segments::{Segment, Segments};
use super::{row, segment};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// The segment that is written now, and the one after it.
pub(super) struct Spool {
    directory: PathBuf,
    writer: Writer,
    segments: Arc<Segments>,
    current: Open,
    /// Made ready when the current one is half full, so that a full disk is noticed while there is
    /// room left for what is in flight (F62).
    next: Option<Open>,
    buffer: Vec<u8>,
    /// Where in it the rows of the last batch stand, without the numbers of their names.
    rows: Vec<(Range<usize>, Pair)>,
    segment_bytes: u64,
}

struct Open {
    number: u64,
    file: File,
    shared: Arc<Segment>,
    bytes: u64,
    index: u32,
    /// Rows the node had spooled before this segment.
    first: u64,
    /// Prices this segment holds already.
    prices: HashSet<[u8; 32]>,
    names: Given,
}

impl Spool {
    /// Begins the first segment of an epoch, before which the node had spooled so many `rows`; each ends
    /// once it has `segment_bytes`.
    pub(super) fn begin(
        directory: &Path,
        writer: Writer,
        segments: Arc<Segments>,
        segment_bytes: u64,
        rows: u64,
    ) -> io::Result<Self> {
        let mut current = Open::create(directory, (writer, 0), &segments, segment_bytes)?;
        current.start(rows)?;
        Ok(Self {
            directory: directory.to_owned(),
            writer,
            segments,
            current,
            next: None,
            buffer: Vec::new(),
            rows: Vec::new(),
            segment_bytes,
        })
    }

    /// Appends records with the prices they name; returned means written, not yet synced or shown to the
    /// sinks. After an error nothing of the batch counts.
    ///
    /// # Errors
    /// The write failed. `StorageFull` and `QuotaExceeded` may be tried again; nothing else may.
    pub(super) fn append(&mut self, batch: &[Priced]) -> io::Result<()> {
        let Self { buffer, rows, current, .. } = self;
        buffer.clear();
        rows.clear();
        current.names.at(current.bytes);
        let mut index = current.index;
        let mut fresh = Vec::new();
        for (record, price) in batch {
            let hash = record.intent.price;
            if !current.prices.contains(&hash) && !fresh.contains(&hash) {
                segment::put_frame(buffer, index, segment::PRICE, |out| {
                    out.put(&hash);
                    out.put(price.text().as_bytes());
                });
                fresh.push(hash);
            }
            let (numbers, names) = current.names.put(buffer, index, record);
            let mut own = 0;
            segment::put_frame(buffer, index, segment::ROW, |out| {
                numbers.into_iter().for_each(|number| out.varint(number));
                own = out.len();
                row::put_own(out, record);
            });
            rows.push((own..buffer.len(), names));
            index += 1;
        }
        current.write(buffer).inspect_err(|_| current.names.forget())?;
        current.index = index;
        current.shared.rows.store(index.into(), Relaxed);
        current.prices.extend(fresh);
        Ok(())
    }

    /// The records of the last batch as they were encoded: bytes of their own, and names.
    pub(super) fn appended(&self) -> impl Iterator<Item = (&[u8], &Pair)> {
        let own = |range: &Range<usize>| self.buffer.get(range.clone()).unwrap_or_default();
        self.rows.iter().map(move |(range, names)| (own(range), names))
    }

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// The sync failed: what was appended since the last one may be lost, and no later sync can
    /// say otherwise.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.current.sync()?;
        if !is_at(&self.current.file, &self.current.shared.path) {
            self.current.shared.mark_taken();
        }
        Ok(())
    }

    /// Shows the sinks everything appended so far. Their slots are to be free by now: what a sink has, no
    /// recovery finds again.
    pub(super) fn publish(&self) {
        self.current.publish();
    }

    /// Whether [`Spool::turn`] would end the current segment.
    pub(super) fn turns(&self) -> bool {
        self.current.shared.is_taken() || self.current.bytes >= self.segment_bytes
    }

    /// Prepares and changes segments where it is time, or the current one was taken: what it has is read from
    /// its file while that is open, and what comes now is to be safe.
    ///
    /// # Errors
    /// The next segment cannot be made, or the current one not be closed.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        let turns = self.turns();
        if (turns || self.current.bytes >= self.segment_bytes / 2) && self.next.is_none() {
            let id = (self.writer, self.current.number + 1);
            let next = Open::create(&self.directory, id, &self.segments, self.segment_bytes)?;
            self.next = Some(next);
        }
        if turns && self.next.is_some() {
            self.close()?;
            let spooled = self.spooled();
            if let Some(next) = self.next.take() {
                self.current = next;
                self.current.start(spooled)?;
            }
        }
        Ok(())
    }

    /// Rows the node has spooled, in all epochs.
    pub(super) fn spooled(&self) -> u64 {
        self.current.first + u64::from(self.current.index)
    }

    /// Ends the current segment durably.
    fn close(&mut self) -> io::Result<()> {
        self.buffer.clear();
        segment::put_frame(&mut self.buffer, self.current.index, segment::END, |_| ());
        self.current.write(&self.buffer)?;
        self.current.sync()?;
        self.current.publish();
        self.current.shared.close();
        Ok(())
    }

    /// Ends the epoch: nothing more will be appended.
    ///
    /// # Errors
    /// The last segment could not be written or synced.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.close()?;
        self.abandon();
        Ok(())
    }

    /// Appends go to `file` from now on, which fails them in its own way.
    #[cfg(test)]
    pub(super) fn sabotage(&mut self, file: File) {
        self.current.file = file;
    }

    /// Segments end once they have so many bytes from now on.
    #[cfg(test)]
    pub(super) fn shrink(&mut self, segment_bytes: u64) {
        self.segment_bytes = segment_bytes;
    }

    /// Lets readers know that nothing follows, also where the end could not be written.
    pub(super) fn abandon(&self) {
        for open in std::iter::once(&self.current).chain(&self.next) {
            open.shared.close();
        }
    }
}

impl Open {
    fn create(
        directory: &Path,
        (writer, number): (Writer, u64),
        segments: &Segments,
        reserved: u64,
    ) -> io::Result<Self> {
        let path = directory.join(format!("spool-{:010}-{number:06}.log", writer.epoch));
        let made = Self::make(&path, writer, number, reserved);
        let file = made.inspect_err(|_| drop(fs::remove_file(&path)))?;
        let bytes = segment::HEADER_BYTES as u64;
        let segment = Segment::begun(path, bytes, file.try_clone()?);
        let shared = segments.add((writer.epoch, number), segment);
        let (prices, names) = (HashSet::new(), Given::default());
        Ok(Self { number, file, shared, bytes, index: 0, first: 0, prices, names })
    }

    fn make(path: &Path, writer: Writer, number: u64, reserved: u64) -> io::Result<File> {
        let mut file = File::options().create_new(true).read(true).write(true).open(path)?;
        let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&file, keep, 0, reserved) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
        let header = segment::Header { node: writer.node, epoch: writer.epoch, number };
        file.write_all(&header.encode())?;
        file.sync_all()?;
        sync_directory(path.parent().unwrap_or(path))?;
        Ok(file)
    }

    fn start(&mut self, rows: u64) -> io::Result<()> {
        self.first = rows;
        self.shared.first.get_or_init(|| rows);
        let mut frame = Vec::new();
        segment::put_frame(&mut frame, 0, segment::START, |out| out.varint(rows));
        self.write(&frame)?;
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        self.shared.bytes.store(self.bytes, Release);
    }

    /// An error is of no sort that is tried again, not even for want of space: what a second sync
    /// says of the same pages means nothing (F63).
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data().map_err(io::Error::other)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Not behind whatever is there: what a hand cuts off while it is written leaves a hole, and nothing moves.
        if let Err(error) = self.file.write_all_at(bytes, self.bytes) {
            // Frames cut in half must not stand before later ones.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
