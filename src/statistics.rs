//! Statistics of endpoints survive a restart: by a small file, written now and then and at the end.

use crate::bounds::{STATISTICS_BYTES, STATISTICS_EVERY, STATISTICS_KEPT};
use crate::edge::clock::{now_ms, wall_us};
use crate::endpoint::{Registry, Saved};
use crate::state::State;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

/// In the state directory.
const NAME: &str = "statistics.jsonl";
const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    weir_statistics: u32,
    /// Milliseconds since the Unix epoch.
    at_ms: u64,
}

/// Every further line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    endpoint: String,
    saved: Saved,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("line {line} is damaged: {source}")]
    Damaged { line: usize, source: serde_json::Error },
    #[error("it is of version {0}, not {VERSION}")]
    Version(u32),
    #[error("it is larger than {STATISTICS_BYTES} bytes")]
    Large,
}

/// The file of one process.
#[derive(Debug)]
pub struct Keeper {
    /// One at a time writes it.
    path: Mutex<PathBuf>,
}

impl Keeper {
    /// The file in a state directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { path: Mutex::new(directory.join(NAME)) }
    }

    /// Gives endpoints back what an earlier process has measured. A file that cannot be used is warned of,
    /// and written over later.
    pub fn take_up(&self, registry: &Registry) {
        let path = self.path.lock();
        match load(&path, registry, now_ms(), wall_us() / 1_000) {
            Ok(0) => {}
            Ok(endpoints) => tracing::info!(endpoints, "statistics are taken up"),
            Err(error) => tracing::warn!(%error, "statistics in {} are not used", path.display()),
        }
    }

    /// Writes what is known now.
    pub fn write(&self, registry: &Registry) {
        let path = self.path.lock();
        if let Err(error) = store(&path, registry, now_ms(), wall_us() / 1_000) {
            tracing::warn!(%error, "statistics cannot be written to {}", path.display());
        }
    }
}

/// Begins to write the file every now and then, for as long as the process lives.
///
/// # Errors
/// The thread cannot be started.
pub fn start(state: &Arc<State>) -> io::Result<()> {
    let state = Arc::clone(state);
    let work = move || {
        loop {
            thread::sleep(STATISTICS_EVERY);
            state.statistics.write(&state.live.endpoints);
        }
    };
    thread::Builder::new().name("weir-statistics".to_owned()).spawn(work).map(drop)
}

/// Writes what is known of every endpoint that was ever used, in place of the file there was. The disk is
/// not waited for: what a power cut damages is not used.
fn store(path: &Path, registry: &Registry, now_ms: u64, at_ms: u64) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = BufWriter::new(File::create(&fresh)?);
    let mut left = STATISTICS_BYTES;
    let mut write = |line: Vec<u8>| match left.checked_sub(line.len() + 1) {
        Some(rest) => {
            left = rest;
            file.write_all(&line)?;
            file.write_all(b"\n")
        }
        None => Ok(()),
    };
    write(serde_json::to_vec(&Header { weir_statistics: VERSION, at_ms })?)?;
    for (endpoint, live) in registry.all() {
        if let Some(saved) = live.save(now_ms) {
            write(serde_json::to_vec(&Line { endpoint: endpoint.to_string(), saved })?)?;
        }
    }
    file.flush()?;
    fs::rename(fresh, path)
}

/// Takes up a file; gives how many endpoints it helped. All of it is read before any of it is used.
fn load(path: &Path, registry: &Registry, now_ms: u64, wall_ms: u64) -> Result<usize, Unusable> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    if file.metadata()?.len() > STATISTICS_BYTES as u64 {
        return Err(Unusable::Large);
    }
    let mut lines = BufReader::new(file.take(STATISTICS_BYTES as u64)).lines().zip(1..);
    let damaged = |line| move |source| Unusable::Damaged { line, source };
    let Some((first, line)) = lines.next() else { return Ok(0) };
    let header: Header = serde_json::from_str(&first?).map_err(damaged(line))?;
    if header.weir_statistics != VERSION {
        return Err(Unusable::Version(header.weir_statistics));
    }
    let mut all = Vec::new();
    for (text, line) in lines {
        all.push(serde_json::from_str::<Line>(&text?).map_err(damaged(line))?);
    }
    let gap_ms = wall_ms.saturating_sub(header.at_ms);
    if u128::from(gap_ms) > STATISTICS_KEPT.as_millis() {
        return Ok(0);
    }
    let known = all.iter().filter_map(|line| Some((registry.known(&line.endpoint)?, &line.saved)));
    Ok(known.map(|(live, saved)| live.restore(saved, now_ms, gap_ms)).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Report, Sample};
    use crate::outcome::Outcome;

    const SAMPLE: Sample = Sample {
        outcome: Outcome::Ok,
        status: 200,
        first_content_ms: Some(300),
        elapsed_ms: 2_000,
        output_tokens: 100,
        prompt_tokens: 1_000,
        cached_tokens: 10,
        cut_short: None,
    };
    const HOUR_MS: u64 = 3_600_000;

    /// A file of one used endpoint, with what was known of it.
    fn written(path: &Path) -> Report {
        let registry = Registry::default();
        let live = registry.endpoint(&"a/m@used".into());
        let _idle = registry.endpoint(&"a/m@idle".into());
        for nth in (0..60_u64).rev() {
            let outcome = if nth % 5 == 0 { Outcome::ServerError } else { Outcome::Ok };
            live.measure(&Sample { outcome, ..SAMPLE }, HOUR_MS - nth * 5_000);
        }
        store(path, &registry, HOUR_MS, 1_000_000).unwrap();
        live.report(HOUR_MS)
    }

    fn taken_up(path: &Path, gap_ms: u64) -> (Result<usize, String>, Report) {
        let registry = Registry::default();
        let live = registry.endpoint(&"a/m@used".into());
        let count = load(path, &registry, 0, 1_000_000 + gap_ms);
        (count.map_err(|error| error.to_string()), live.report(0))
    }

    #[test]
    fn what_was_known_is_known_again_and_grows_old() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        assert_eq!(taken_up(&path, 0), (Ok(0), Report::default()), "there is none");
        let known = written(&path);
        assert!(known.latency_30m.is_some() && known.uptime_5m.is_some());
        assert_eq!(taken_up(&path, 0), (Ok(1), known));
        let (_, later) = taken_up(&path, HOUR_MS);
        assert_eq!((later.latency_30m, later.uptime_30m), (None, None));
        assert_eq!(later.uptime_1d, known.uptime_1d);
        assert_eq!(taken_up(&path, 25 * HOUR_MS), (Ok(0), Report::default()));
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing stays beside it");
    }

    #[test]
    fn a_file_that_cannot_be_used_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        written(&path);
        let whole = fs::read(&path).unwrap();
        let lines = whole.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines, 2, "an endpoint that was never used is not in it");
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap();
        let mut damaged: Vec<Vec<u8>> = vec![
            whole.get(1..).unwrap().to_vec(),
            [&whole[..], b"{}\n"].concat(),
            [&whole[..], b"\xff\n"].concat(),
            String::from_utf8(whole.clone()).unwrap().replace("uptime", "downtime").into(),
        ];
        damaged.extend((first + 2..whole.len() - 1).step_by(7).map(|end| whole[..end].to_vec()));
        for text in damaged {
            fs::write(&path, text).unwrap();
            let (found, report) = taken_up(&path, 0);
            assert!(found.is_err());
            assert_eq!(report, Report::default());
        }
        fs::write(&path, b"{\"weir_statistics\":2,\"at_ms\":1}\n").unwrap();
        assert_eq!(taken_up(&path, 0).0, Err("it is of version 2, not 1".to_owned()));
        File::create(&path).unwrap().set_len(STATISTICS_BYTES as u64 + 1).unwrap();
        assert_eq!(taken_up(&path, 0).0, Err("it is larger than 67108864 bytes".to_owned()));
    }
}
