//! Values for the ledger's own tests.

use super::prices::Prices;
use super::record::{Intent, Record, RecordKey, Source};
use super::settle::{self, settle};
use super::sink::{Advance, Position, Sink};
use super::slot::{Basis, Identity, Image, SEALED};
use super::{Claim, Durability, Ledger, Options, SpoolFull, intent};
use crate::meter::{CLASSES, Delivered, Estimator, Family, Finish, Tally};
use crate::outcome::Outcome;
use crate::price::{Policy, PriceVersion, Terms};
use crate::request::route::{Face, Operation};
use crate::usage::{KINDS, Kind, Usage};
use proptest::prelude::*;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// 2023-11-14 22:13:20 UTC.
pub(super) const NOW_US: u64 = 1_700_000_000_000_000;

pub(super) fn options(directory: &Path) -> Options {
    Options {
        directory: directory.join("state"),
        slots: 64,
        durability: Durability::CrashSafe,
        sqlite: directory.join("ledger.db"),
        others: Vec::new(),
        spool_bytes: 1 << 30,
        spool_full: SpoolFull::Refuse,
    }
}

pub(super) fn intent(generation: &str, attempt: u8) -> Intent<'static> {
    Intent {
        generation_id: Cow::Owned(generation.to_owned()),
        attempt,
        face: Face::OpenRouter,
        operation: Operation::Chat,
        streamed: true,
        workspace: "acme".into(),
        key_hash: [3; 32],
        app: "editor".into(),
        session: "s-1".into(),
        user: "u-1".into(),
        model: "meta/llama".into(),
        provider: "deepinfra".into(),
        provider_name: "DeepInfra".into(),
        endpoint: "meta/llama@deepinfra/turbo".into(),
        upstream_model: "Llama-3".into(),
        credential: "deepinfra/main".into(),
        tier: "".into(),
        price: price().hash(),
        prompt_bytes: 100,
        max_tokens: Some(512),
    }
}

/// Kind `n` costs `n + 1` pico-dollars, the spares nothing.
pub(super) fn price() -> Arc<PriceVersion> {
    let mut unit = [0; KINDS];
    unit.iter_mut().zip(1..).take(Kind::ALL.len()).for_each(|(price, n)| *price = n);
    Arc::new(PriceVersion::flat(unit))
}

pub(super) const ESTIMATOR: Estimator = Estimator::of(Family::Other);

pub(super) fn terms() -> Terms {
    Terms { version: price(), started_us: NOW_US, policy: Policy::Insured, earlier: 0 }
}

pub(super) fn basis() -> Basis {
    Basis { policy: Policy::Insured, estimator: ESTIMATOR }
}

pub(super) fn image(of: &Intent<'_>) -> Image {
    let mut bytes = Vec::new();
    intent::put(&mut bytes, of);
    Image {
        state: SEALED,
        identity: Identity { epoch: 1, seq: 1, started_us: NOW_US },
        ended_us: NOW_US + 5,
        duration_us: 5,
        first_content_us: Some(2),
        status: 200,
        outcome: Outcome::Ok as u8,
        finish: 1,
        flags: 0,
        committed: false,
        reported: None,
        delivered: Delivered::default(),
        native_finish: "stop".to_owned(),
        upstream_id: "chatcmpl-1".to_owned(),
        intent: bytes,
        price: price().text().to_owned(),
        basis: basis(),
    }
}

pub(super) fn record(seq: u64) -> Record {
    let mut image = image(&intent(&format!("gen-{seq}"), 1));
    image.identity.seq = seq;
    image.committed = true;
    image.reported = Some(Usage::ZERO.with(Kind::Input, seq).with(Kind::Output, 2));
    settle([7; 16], &image, &mut Prices::default()).unwrap().0
}

/// Any record that a settlement can make.
pub(super) fn records() -> impl Strategy<Value = Record> {
    let numbers = (any::<[u64; 6]>(), any::<[u64; KINDS]>(), any::<[u64; CLASSES]>());
    let texts = (".{0,20}", "[a-z]{0,30}", ".{0,12}");
    let small = (0..Outcome::ALL.len(), 0u8..6, any::<(bool, u16, u32)>(), any::<[i64; 2]>());
    (numbers, texts, small).prop_map(
        |((n, usage, delivered), texts, (outcome, finish, some, money))| {
            let mut intent = intent(&texts.0, 3);
            intent.app = Cow::Owned(texts.2);
            intent.max_tokens = some.0.then_some(n[4]);
            Record {
                key: RecordKey { node: [7; 16], epoch: n[0], seq: n[1] },
                intent,
                outcome: Outcome::ALL[outcome].0,
                status: some.1,
                finish: settle::finish_from_code(finish),
                native_finish: texts.1.clone(),
                upstream_id: texts.1,
                started_us: n[2],
                ended_us: n[3],
                first_content_us: some.0.then_some(n[5]),
                duration_us: n[4],
                source: Source::ALL[finish as usize % 4].0,
                estimator: Cow::Borrowed("e1"),
                usage: Usage(usage),
                delivered,
                committed: some.0,
                cost: i128::from(money[0]) * 3,
                charge: i128::from(money[1]),
                policy: Cow::Borrowed(Policy::Insured.as_str()),
                flags: some.2,
            }
        },
    )
}

/// Moves a node's cursor from where it is.
pub(super) fn advance(sink: &mut dyn Sink, node: [u8; 16], to: Position) -> Option<Advance> {
    Some(Advance { node, from: sink.cursor(node).unwrap(), to })
}

/// How many rows a database has.
pub(super) fn count(sqlite: &Path) -> u64 {
    let database = rusqlite::Connection::open(sqlite).unwrap();
    database.query_row("SELECT count(*) FROM attempt", [], |row| row.get(0)).unwrap()
}

/// Claims, dispatches and completes one attempt with a reported usage.
pub(super) fn complete(ledger: &Ledger, generation: &str, attempt: u8) {
    let claim = dispatched(ledger, generation, attempt);
    claim.status(200);
    claim.first_content(40);
    claim.committed();
    let mut tally = &claim;
    tally.delivered(&Delivered([8; CLASSES]));
    tally.finish(Finish::Stop, "stop");
    tally.upstream_id("chatcmpl-1");
    tally.reported(&Usage::ZERO.with(Kind::Input, 10).with(Kind::Output, 5));
    claim.terminal();
    claim.outcome(Outcome::Ok);
    claim.ended(NOW_US + 1_000, 900);
}

pub(super) fn dispatched(ledger: &Ledger, generation: &str, attempt: u8) -> Claim {
    let claim = ledger.claim(&intent(generation, attempt), &terms(), ESTIMATOR).unwrap();
    claim.dispatched();
    claim
}

/// Waits until `done`, for at most ten seconds.
pub(super) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < limit, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The state directory as a crash at this moment leaves it, in a new place. Slots are copied first:
/// what leaves them meanwhile is in the spool that is copied after.
pub(super) fn crash(place: &Path) -> tempfile::TempDir {
    let after = tempfile::tempdir().unwrap();
    let (from, to) = (place.join("state"), after.path().join("state"));
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(from.join("slots"), to.join("slots")).unwrap();
    for entry in std::fs::read_dir(&from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "slots" {
            std::fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
    after
}
