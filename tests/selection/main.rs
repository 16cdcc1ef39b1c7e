//! Selection by example: each file of `cases/` is a request, a pool with what is known of it, and
//! the plan, reasons or refusal they must come to. `row` names the row of the contract it shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod case;
mod explain;
mod pool;

use case::{Case, Expect};
use pool::candidates;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use weir::choose;
use weir::request::envelope::{self, Envelope};
use weir::request::preferences;
use weir::request::route::Operation;
use weir::selection::{Constraint, Funnel, Layers, Plan, Question, Variants, nothing_left, plan};

const LEAST_CASES: usize = 250;

/// Rows of sections 2.3 and 3 of the contract that say what becomes of a plan. 3.9 is about credentials and
/// 3.11 about the moment of the first byte: both are tested where they live.
const ROWS: [&str; 24] = [
    "2.3 order",
    "2.3 only",
    "2.3 ignore",
    "2.3 allow_fallbacks",
    "2.3 require_parameters",
    "2.3 data_collection",
    "2.3 zdr",
    "2.3 enforce_distillable_text",
    "2.3 quantizations",
    "2.3 sort",
    "2.3 preferred_min_throughput",
    "2.3 preferred_max_latency",
    "2.3 max_price",
    "2.3 options",
    "2.3 slug matching",
    "3.1",
    "3.2",
    "3.3",
    "3.4",
    "3.5",
    "3.6",
    "3.7",
    "3.8",
    "3.10",
];

/// Seeds for which a plan that leaves nothing to chance must be the same.
const SEEDS: u64 = 40;
/// Draws of a case that is about chances, and how far a share may be from its expected one.
const DRAWS: u64 = 100_000;
const TOLERANCE: f64 = 0.01;

/// A case made ready.
struct World<'a> {
    case: &'a Case,
    envelope: Envelope,
    body_bytes: usize,
    /// Of the case's policies.
    layers: Vec<Constraint>,
    variants: Variants,
}

impl<'a> World<'a> {
    fn new(case: &'a Case) -> Result<Self, String> {
        let model = case.model.as_deref().unwrap_or("author/model");
        let members = case.request.trim();
        let inside = members.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let members = inside.unwrap_or_default().trim();
        let comma = if members.is_empty() { "" } else { "," };
        let input = if members.contains("\"messages\"") { "" } else { ",\"messages\":[]" };
        let body = format!("{{\"model\":\"{model}\"{input}{comma}{members}}}");
        let envelope = envelope::read(body.as_bytes(), Operation::Chat);
        let envelope = envelope.map_err(|error| error.to_string())?;
        let layer = |text: &String| preferences::parse(text).unwrap().constraint;
        let layers = case.layers.iter().map(layer).collect();
        let variants = Variants::split(model).map_or_else(Variants::default, |(_, found)| found);
        let body_bytes = case.body_bytes.unwrap_or(body.len());
        Ok(Self { case, envelope, body_bytes, layers, variants })
    }

    /// Every constraint that holds, the request's own last.
    fn constraints(&self) -> Vec<&Constraint> {
        self.layers.iter().chain([&self.envelope.provider.constraint]).collect()
    }

    fn question<'w>(&'w self, constraints: &'w [&'w Constraint]) -> Question<'w> {
        choose::question(
            &self.envelope,
            &self.envelope.provider,
            self.variants,
            Layers(constraints),
            self.body_bytes,
        )
    }

    fn tag(&self, index: usize) -> &str {
        &self.case.endpoint[index].tag
    }

    fn order(&self, plan: &Plan) -> Vec<&str> {
        plan.order().map(|index| self.tag(index)).collect()
    }

    fn check(&self) {
        let pool = pool::endpoints(&self.case.endpoint);
        let candidates = candidates(&pool, &self.case.endpoint);
        let constraints = self.constraints();
        let question = self.question(&constraints);
        let expect = &self.case.expect;
        for seed in 0..SEEDS {
            let made = plan(&candidates, &question, seed);
            if let Some(order) = &expect.order {
                assert_eq!(&self.order(&made), order, "seed {seed}");
            }
            if let Some(last) = &expect.last {
                assert_eq!(self.order(&made).last(), Some(&last.as_str()), "seed {seed}");
            }
            let mut all: Vec<usize> = made.order().collect();
            all.extend(made.excluded.iter().map(|(index, _)| *index));
            all.sort_unstable();
            assert!(
                all.into_iter().eq(0..candidates.len()),
                "each endpoint is planned or excluded"
            );
        }
        let made = plan(&candidates, &question, 1);
        self.reasons(&made, expect);
        if let Some(refused) = &expect.refused {
            let mut funnel = Funnel::default();
            funnel.add("author/model", &question.needs, &made, &candidates);
            assert_eq!(self.order(&made), [] as [&str; 0]);
            refused.check(&nothing_left(&funnel));
        }
        if !expect.first.is_empty() {
            let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
            for seed in 0..DRAWS {
                let made = plan(&candidates, &question, seed);
                *seen.entry(self.tag(made.ranked[0].index)).or_default() += 1;
            }
            for (tag, share) in &expect.first {
                let found = *seen.get(tag.as_str()).unwrap_or(&0) as f64 / DRAWS as f64;
                assert!((found - share).abs() <= TOLERANCE, "{tag}: {found} instead of {share}");
            }
            let known: f64 = expect.first.values().sum();
            assert!((known - 1.0).abs() < 1e-3, "the expected shares of a case are all of it");
        }
    }

    fn reasons(&self, made: &Plan, expect: &Expect) {
        if let Some(excluded) = &expect.excluded {
            let found = made.excluded.iter().map(|(index, why)| (self.tag(*index), why.as_str()));
            let expected = excluded.iter().map(|(tag, why)| (tag.as_str(), why.as_str()));
            assert_eq!(found.collect::<BTreeMap<_, _>>(), expected.collect::<BTreeMap<_, _>>());
        }
        for (tag, labels) in &expect.demoted {
            let score = made.ranked.iter().find(|score| self.tag(score.index) == tag);
            let found: Vec<&str> = score.expect("it is planned").demotion.labels().collect();
            assert_eq!(&found, labels, "{tag}");
        }
    }
}

fn read(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

fn run(path: &Path) {
    let case = read(path);
    assert!(!case.row.is_empty() && !case.says.is_empty(), "a case names its row and what it says");
    match (World::new(&case), &case.expect.bad) {
        (Ok(world), None) => world.check(),
        (Err(found), Some(expected)) => assert_eq!(&found, expected),
        (Err(found), None) => panic!("{found}"),
        (Ok(_), Some(expected)) => panic!("accepted, and should say: {expected}"),
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/selection/cases");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    files.sort_unstable();
    files
}

#[test]
fn every_row_of_the_contract_has_a_case_and_six_are_about_chances() {
    let cases: Vec<Case> = files().iter().map(|path| read(path)).collect();
    for row in ROWS {
        let own = |case: &&Case| {
            case.row.strip_prefix(row).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        assert!(cases.iter().any(|case| own(&case)), "{row}");
    }
    let drawn = cases.iter().filter(|case| case.expect.first.len() > 1).count();
    assert!(drawn >= 6, "only {drawn} cases draw among several");
}

#[test]
fn every_case_comes_to_what_it_says() {
    let files = files();
    let mut failed = Vec::new();
    assert!(files.len() >= LEAST_CASES, "only {} cases were found", files.len());
    for path in &files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if let Err(cause) = std::panic::catch_unwind(|| run(path)) {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            failed.push(format!("{name}: {}", text.unwrap_or_default()));
        }
    }
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), files.len(), failed.join("\n"));
}
