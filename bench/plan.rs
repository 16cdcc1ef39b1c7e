//! What planning costs: from a request's body to the order in which endpoints are tried.
//!
//! `bench-plan` prints a table. `bench-plan count CASE TIMES` plans so often and no more, for callgrind.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program: it prints, and ends where something is wrong"
)]

use allocation_counter::{AllocationInfo, measure};
use http::HeaderMap;
use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir::access::Caller;
use weir::choose::Request;
use weir::config::{self, Loaded};
use weir::endpoint::{Report, Sample};
use weir::metrics::Metrics;
use weir::outcome::Outcome;
use weir::request::envelope::{self, Envelope};
use weir::request::route::Operation;
use weir::snapshot::{Live, Snapshot};

const PLAIN: &str = r#"{"model":"author/model","messages":[{"role":"system","content":"You are brief."},{"role":"user","content":"Why is the sky blue?"}],"max_tokens":256,"temperature":0.2}"#;
const WISHES: &str = r#"{"model":"author/model","messages":[{"role":"user","content":"Why is the sky blue?"}],"max_tokens":256,"provider":{"ignore":["p3","p5"],"quantizations":["fp8","bf16"],"data_collection":"deny","max_price":{"prompt":"9"},"preferred_max_latency":{"p90":9}}}"#;

/// A catalogue and a request.
struct Case {
    name: &'static str,
    /// Endpoints of the model that is asked for.
    pool: usize,
    /// Other models, of ten endpoints each.
    others: usize,
    body: &'static str,
    governed: bool,
    /// Rules of patterns that are looked at, of which [`MATCHING`] match.
    rules: usize,
    /// Rules with an expression, one of which matches.
    expressions: usize,
}

const SMALL: Case = Case {
    name: "6-of-6",
    pool: 6,
    others: 0,
    body: PLAIN,
    governed: false,
    rules: 0,
    expressions: 0,
};
const TWENTY: Case = Case { name: "20-of-20", pool: 20, ..SMALL };
const CASES: [Case; 8] = [
    SMALL,
    Case { name: "6-of-10000", others: 999, ..SMALL },
    TWENTY,
    Case { name: "20-of-20-governed", governed: true, ..TWENTY },
    Case { name: "20-of-20-wishes", body: WISHES, governed: true, ..TWENTY },
    Case { name: "20-of-20-10-rules", rules: 10, ..TWENTY },
    Case { name: "20-of-20-100-rules", rules: 100, ..TWENTY },
    Case { name: "20-of-20-10-rules-2-cel", rules: 10, expressions: 2, ..TWENTY },
];

/// Rules of a case that match: one narrows, one prefers, one gives a default.
const MATCHING: &str = r#"
[[rule]]
name = "narrow"
when = { key = "bench", model = "author/*" }
constrain = { ignore = ["p4"], max_price = { prompt = "5" } }

[[rule]]
name = "prefer"
when = { workspace = "team", stream = false }
prefer = ["p3", "p1"]

[[rule]]
name = "default"
defaults = { preferred_max_latency = 9 }
"#;

/// As many rules as the case has.
fn rules(case: &Case) -> String {
    let mut text = if case.rules > 0 { MATCHING.to_owned() } else { String::new() };
    for nth in text.matches("[[rule]]").count()..case.rules {
        let _ = writeln!(
            text,
            "[[rule]]\nname = \"other-{nth}\"\nwhen = {{ key = [\"team-{nth}-*\", \"ci\"], \
             header = {{ x-team = \"blue*\" }} }}\nreject = {{ status = 403, message = \"No.\" }}"
        );
    }
    for nth in 0..case.expressions {
        let least = if nth == 0 { 1_000 } else { 1 };
        let _ = writeln!(
            text,
            "[[rule]]\nname = \"cel-{nth}\"\nwhen = {{ cel = \"max_tokens >= {least} && !tools\" }}\n\
             constrain = {{ ignore = [\"p5\"] }}"
        );
    }
    text
}

const PROVIDERS: usize = 40;

/// The configuration of a case, as an operator would write it.
fn write(case: &Case, directory: &Path) {
    let mut providers = String::new();
    for nth in 0..PROVIDERS {
        let _ = writeln!(
            providers,
            "[[provider]]\nslug = \"p{nth}\"\nname = \"Provider {nth}\"\ndialect = \"openai-chat\"\n\
             base_url = \"http://127.0.0.1:9/{nth}\"\nkeyless = true\nprivate_addresses = true\n\
             policy = {{ trains = false, retains = false }}"
        );
    }
    let mut models = String::new();
    let slugs = (0..case.others).map(|nth| (format!("other/model-{nth}"), 10));
    for (slug, count) in std::iter::once(("author/model".to_owned(), case.pool)).chain(slugs) {
        let _ = writeln!(models, "[[model]]\nslug = \"{slug}\"\ncontext_length = 131072");
        for nth in 0..count {
            let _ = writeln!(
                models,
                "[[model.endpoint]]\nprovider = \"p{nth}\"\nmodel = \"m\"\nquantization = \"fp8\"\n\
                 price = {{ input = \"0.{}\", output = \"0.{}\", cache_read = \"0.05\" }}",
                10 + nth,
                40 + nth
            );
        }
    }
    let policy = "no_collection = true\nignore = [\"p7\"]\nmax_price = { prompt = \"5\" }\n";
    let governed = |text: &'static str| if case.governed { text } else { "" };
    let hash = "ab".repeat(32);
    let keys = format!(
        "[[workspace]]\nslug = \"team\"\n{}\n[[key]]\nname = \"bench\"\nhash = \"{hash}\"\n\
         workspace = \"team\"\n{}",
        governed("quantizations = [\"fp8\", \"bf16\"]\n"),
        governed("ignore = [\"p9\"]\n")
    );
    let settings = format!("rules = \"rules\"\n[policy]\n{}", governed(policy));
    fs::create_dir(directory.join("rules")).unwrap();
    for (name, text) in [
        ("weir.toml", settings),
        ("providers.toml", providers),
        ("models.toml", models),
        ("keys.toml", keys),
        ("rules/10.toml", rules(case)),
    ] {
        fs::write(directory.join(name), text).unwrap();
    }
}

/// A case made ready: endpoints that have been used, so that there are statistics to read.
struct World {
    snapshot: Snapshot,
    caller: Arc<Caller>,
    envelope: Envelope,
    body: &'static str,
    headers: HeaderMap,
    live: Live,
}

impl World {
    fn new(case: &Case) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write(case, directory.path());
        let loaded = config::load(directory.path());
        let Loaded { settings, catalog, keys, rules, .. } =
            loaded.map_err(|problems| format!("{problems:?}")).unwrap();
        let live = Live::default();
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let snapshot =
            Snapshot::build(Arc::new(settings), &catalog, rules, &live, &metrics).unwrap();
        for target in &snapshot.pool("author/model").unwrap().targets {
            for _ in 0..200 {
                target.live.record(Outcome::Ok, 0, None);
                target.live.measure(&SAMPLE, 0);
            }
        }
        let envelope = envelope::read(case.body.as_bytes(), Operation::Chat).unwrap();
        let caller = Arc::clone(keys.callers().next().unwrap());
        Self { snapshot, caller, envelope, body: case.body, headers: HeaderMap::new(), live }
    }

    /// One plan, as the proxy makes it. Never inlined: callgrind counts from its begin to its end.
    #[inline(never)]
    fn plan(&self, seed: u64) {
        let request = Request {
            snapshot: &self.snapshot,
            caller: &self.caller,
            envelope: &self.envelope,
            headers: &self.headers,
            body: self.body.as_bytes(),
            facts: &|target| target.facts(0),
            report: &|_| Report::default(),
            last: &|key| self.live.conversations.find(key, 0),
            seed,
            dry: false,
            now_us: 0,
        };
        let chosen = request.choose().unwrap();
        for reason in chosen.excluded() {
            black_box(reason);
        }
        assert!(chosen.refusal().is_none(), "something is left to try");
        black_box(chosen.orders());
    }

    /// Nanoseconds of one plan: the median of many short runs.
    fn nanoseconds(&self) -> f64 {
        const RUN: u32 = 500;
        let run = |nth: u32| {
            let start = Instant::now();
            (0..RUN).for_each(|seed| self.plan(u64::from(nth * RUN + seed)));
            start.elapsed()
        };
        let mut runs: Vec<Duration> = (0..400).map(run).collect();
        runs.sort_unstable();
        let median = runs.get(runs.len() / 2).copied().unwrap_or_default();
        median.as_secs_f64() * 1e9 / f64::from(RUN)
    }

    fn allocations(&self) -> AllocationInfo {
        self.plan(1);
        measure(|| self.plan(2))
    }
}

const SAMPLE: Sample = Sample {
    outcome: Outcome::Ok,
    status: 200,
    first_content_ms: Some(300),
    elapsed_ms: 2_000,
    output_tokens: 200,
    prompt_tokens: 1_000,
    cached_tokens: 0,
    cut_short: None,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = |name: &str| CASES.iter().find(|case| case.name == name);
    match &*arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        ["count", name, times] => {
            let world = World::new(named(name).unwrap());
            (0..times.parse().unwrap()).for_each(|seed| world.plan(seed));
        }
        [] => {
            println!("| plan | ns | allocations | bytes |\n|---|---|---|---|");
            for case in &CASES {
                let world = World::new(case);
                let AllocationInfo { count_total, bytes_total, .. } = world.allocations();
                let name = case.name;
                println!("| {name} | {:.0} | {count_total} | {bytes_total} |", world.nanoseconds());
            }
        }
        _ => println!("bench-plan [count CASE TIMES]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plan_allocates_does_not_grow_with_the_catalogue() {
        let [small, large] = [0, 1].map(|place: usize| World::new(CASES.get(place).unwrap()));
        let (small, large) = (small.allocations(), large.allocations());
        assert_eq!(small.count_total, large.count_total);
        assert_eq!(small.bytes_total, large.bytes_total);
        assert!(small.count_total > 0, "they are counted");
    }
}
