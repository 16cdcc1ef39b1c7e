use super::*;
use crate::bounds::{RULE_NAME_BYTES, RULES};
use http::{HeaderMap, HeaderValue};

fn rules(text: &str) -> Rules {
    Rules::compile(&[(PathBuf::from("10-test.toml"), text.to_owned())]).unwrap()
}

/// What is wrong with `text`, a line each.
fn problems(text: &str) -> String {
    let found = Rules::compile(&[(PathBuf::from("r.toml"), text.to_owned())]).unwrap_err();
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

struct Request {
    model: &'static str,
    key: &'static str,
    workspace: &'static str,
    tags: Vec<Arc<str>>,
    stream: bool,
    headers: HeaderMap,
}

fn request() -> Request {
    let headers = HeaderMap::new();
    let tags = vec!["batch".into(), "eu".into()];
    Request { model: "openai/gpt-5", key: "ci", workspace: "blue", tags, stream: true, headers }
}

impl Request {
    fn facts(&self) -> Facts<'_> {
        let Self { model, key, workspace, stream, headers, .. } = self;
        Facts {
            model,
            slug: model,
            key,
            workspace,
            tags: &self.tags,
            stream: *stream,
            tools: false,
            max_tokens: 64,
            prompt_tokens: 1_000,
            headers,
            dry: false,
        }
    }
}

fn status(rules: &Rules, request: &Request) -> Option<u16> {
    rules.decide(&request.facts()).err().map(|error| error.status)
}

const REJECT: &str = "reject = { status = 403, message = \"no\" }";

#[test]
fn a_rule_on_a_model_holds_by_whatever_name_it_is_asked_for() {
    let matches = |when: &str, model: &'static str, slug: &str| {
        let rules = rules(&format!("[[rule]]\nname = \"x\"\nwhen = {{ {when} }}\n{REJECT}\n"));
        let request = Request { model, ..request() };
        rules.decide(&Facts { slug, ..request.facts() }).is_err()
    };
    for when in ["model = \"a/*\"", "model = \"one\"", "cel = \"model == 'a/one'\""] {
        assert!(matches(when, "one", "a/one"), "{when}");
    }
    assert!(!matches("model = \"b/*\"", "one", "a/one"));
}

#[test]
fn quantizations_are_checked() {
    let when = "[[rule]]\nname = \"x\"\nwhen = { key = \"ci\" }\n";
    let source = |word: &str| format!("{when}constrain = {{ quantizations = [\"{word}\"] }}\n");
    let problems =
        |word| Rules::compile(&[("r.toml".into(), source(word))]).err().unwrap_or_default();
    assert_eq!(problems("fp8"), []);
    let [problem] = &*problems("fp9") else { panic!("one problem") };
    assert!(
        problem.to_string().contains("constrain.quantizations: no such quantization"),
        "{problem}"
    );
}

#[test]
fn forbidden_providers_are_ignored() {
    let rules =
        rules("[[rule]]\nname = \"x\"\nwhen = { key = \"ci\" }\nforbid = [\"groq\", \"x/y\"]\n");
    let request = request();
    let decision = rules.decide(&request.facts()).unwrap();
    assert_eq!(decision.constraint.ignore, ["groq".into(), "x/y".into()]);
}

#[test]
fn every_given_condition_must_hold_and_any_entry_of_a_list_will_do() {
    type Change = fn(&mut Request);
    let matches = |when: &str, change: Change| {
        let rules = rules(&format!("[[rule]]\nname = \"x\"\nwhen = {when}\n{REJECT}\n"));
        let mut request = request();
        change(&mut request);
        status(&rules, &request) == Some(403)
    };
    let cases: &[(&str, Change, bool)] = &[
        ("{}", |_| (), true),
        ("{ model = [\"x\", \"openai/*\"] }", |_| (), true),
        ("{ model = \"openai/*\" }", |_| (), true),
        ("{ model = [\"openai\"] }", |_| (), false),
        ("{ model = [\"OpenAI/*\"] }", |_| (), false),
        ("{ key = [\"ci\"], workspace = [\"blue\"] }", |_| (), true),
        ("{ key = [\"ci\"], workspace = [\"red\"] }", |_| (), false),
        ("{ tag = [\"us\", \"e*\"] }", |_| (), true),
        ("{ tag = \"us\" }", |_| (), false),
        ("{ tag = \"*\" }", |it| it.tags.clear(), false),
        ("{ cel = \"prompt_tokens > 500 && 'eu' in tags\" }", |_| (), true),
        ("{ cel = \"prompt_tokens > 5000\" }", |_| (), false),
        ("{ cel = \"stream\", key = \"other\" }", |_| (), false),
        ("{ stream = true }", |_| (), true),
        ("{ stream = false }", |_| (), false),
        ("{ stream = false }", |it| it.stream = false, true),
        ("{ header = { \"X-Team\" = \"blue*\" } }", |_| (), false),
        ("{ header = { \"X-Team\" = \"blue*\" } }", |it| sent(it, "blue-1"), true),
        ("{ header = { \"x-team\" = [\"red\", \"blue\"] } }", |it| sent(it, "blue"), true),
        ("{ header = { x-team = \"b\" } }", |it| (sent(it, "a"), sent(it, "b")).1, true),
        ("{ header = { x-team = \"*\", x-other = \"*\" } }", |it| sent(it, "a"), false),
        ("{ header = { x-team = \"*\" }, model = \"z\" }", |it| sent(it, "a"), false),
    ];
    for (when, change, expected) in cases {
        assert_eq!(matches(when, *change), *expected, "{when}");
    }
}

#[test]
fn a_list_of_models_knows_the_caller_and_no_request() {
    let counts = |when: &str| {
        let rules = rules(&format!("[[rule]]\nname = \"x\"\nwhen = {when}\n{REJECT}\n"));
        let mut request = request();
        sent(&mut request, "a");
        assert_eq!(status(&rules, &request), Some(403), "{when}");
        rules.decide_unasked(&request.facts()).is_err()
    };
    let caller = ["model = \"openai/*\"", "key = \"ci\"", "workspace = \"blue\"", "tag = \"eu\""];
    for when in caller {
        assert!(counts(&format!("{{ {when} }}")), "{when}");
    }
    for when in ["stream = true", "header = { x-team = \"*\" }", "cel = \"key == 'ci'\""] {
        assert!(!counts(&format!("{{ {when} }}")), "{when}");
        assert!(!counts(&format!("{{ model = \"openai/*\", {when} }}")), "{when}");
    }
}

fn sent(request: &mut Request, team: &'static str) {
    request.headers.append("x-team", HeaderValue::from_static(team));
}

#[test]
fn rules_run_in_order_over_all_files_and_a_rename_is_seen_by_the_later() {
    let late = "[[rule]]\nname = \"no-b\"\nwhen = { model = \"b/x\" }\n".to_owned() + REJECT;
    let early = "[[rule]]\nname = \"a-is-b\"\nwhen = { model = \"a/*\" }\nrename = \"b/x\"\n\
        [[rule]]\nname = \"b-is-c\"\nwhen = { model = \"b/x\", stream = false }\nrename = \"c/x\"\n";
    let sources = [(PathBuf::from("20.toml"), late), (PathBuf::from("10.toml"), early.to_owned())];
    let rules = Rules::compile(&sources).unwrap();
    let mut request = Request { model: "a/1", ..request() };
    assert_eq!(status(&rules, &request), Some(403));
    request.stream = false;
    let decision = rules.decide(&request.facts()).unwrap();
    assert_eq!(decision.rename, Some("c/x"));
    let hits: Vec<_> = rules.hits().collect();
    assert_eq!(hits, [("a-is-b", 2), ("b-is-c", 1), ("no-b", 1)]);
    let named: Vec<_> =
        rules.model_names().map(|it| (it.name, it.file.to_owned(), it.line, it.key)).collect();
    let file = PathBuf::from("10.toml");
    assert_eq!(
        named,
        [
            ("b/x", file.clone(), 4, "rule.a-is-b.rename".to_owned()),
            ("c/x", file, 8, "rule.b-is-c.rename".to_owned()),
        ]
    );
}

#[test]
fn constraints_narrow_and_never_loosen() {
    let rules = rules(
        "[[rule]]\nname = \"a\"\nconstrain = { only = [\"x\", \"y\"], ignore = [\"p\"], zdr = true }\n\
         [[rule]]\nname = \"b\"\nconstrain = { only = [\"y\", \"z\"], ignore = \"q\", no_fallbacks = true }\n\
         [[rule]]\nname = \"c\"\nconstrain = { ignore = [\"p\"], no_collection = true }\n",
    );
    let constraint = rules.decide(&request().facts()).unwrap().constraint.into_owned();
    let expected = Constraint {
        only: Some(vec!["y".into()]),
        ignore: vec!["p".into(), "q".into()],
        zdr: true,
        no_collection: true,
        no_fallbacks: true,
        ..Constraint::default()
    };
    assert_eq!(constraint, expected);
    let names: Vec<_> = rules.provider_names().map(|it| it.name).collect();
    assert_eq!(names, ["x", "y", "p", "y", "z", "q", "p"]);
}

#[test]
fn a_reject_ends_and_says_what_the_rule_says() {
    let rules = rules(
        "[[rule]]\nname = \"a\"\nrename = \"b/c\"\n[[rule]]\nname = \"b\"\nwhen = { stream = true }\n\
         reject = { status = 429, message = \"Slow down.\" }\n[[rule]]\nname = \"c\"\nrename = \"d/e\"\n",
    );
    let error = rules.decide(&request().facts()).unwrap_err();
    assert_eq!((error.status, &*error.message, error.retryable), (429, "Slow down.", true));
    assert_eq!(rules.hits().map(|(_, hits)| hits).collect::<Vec<_>>(), [1, 1, 0]);
}

#[test]
fn counts_go_on_over_a_reload_for_rules_that_keep_their_names() {
    let text = |name| format!("[[rule]]\nname = \"{name}\"\nrename = \"b/c\"\n");
    let old = rules(&(text("a") + &text("b")));
    assert!(old.decide(&request().facts()).unwrap().rename.is_some());
    let mut new = rules(&(text("b") + &text("c")));
    new.inherit(&old);
    assert!(new.decide(&request().facts()).unwrap().rename.is_some());
    assert_eq!(new.hits().collect::<Vec<_>>(), [("b", 2), ("c", 1)]);
    assert_eq!(old.hits().collect::<Vec<_>>(), [("a", 1), ("b", 2)], "old requests still count");
}

#[test]
fn all_problems_come_at_once_with_their_lines() {
    let text = r#"colour = "red"
[[rule]]
name = "Bad Name"
when = { modle = ["x"], key = 5, stream = "yes", model = [] }
reject = { status = 200, message = "m" }

[[rule]]
name = "two"
rename = "a/b"
constrain = { zdr = false, no_colection = true }

[[rule]]
name = "three"

[[rule]]
rename = "not a model"

[[rule]]
name = "three"
when = { header = { Authorization = "x", "a b" = "y", x-k = "sk-or-v1-abc" } }
constrain = { only = [], ignore = [7] }

[[rule]]
name = "four"
constrain = {}

[[rule]]
name = "five"
reject = { message = "" }
"#;
    insta::assert_snapshot!(problems(text), @r#"
    r.toml:1: colour: unknown key; the keys here are rule
    r.toml:3: rule[0].name: must be at most 64 of a-z, 0-9 and -
    r.toml:4: rule[0].when.modle: unknown key; the keys here are model, key, workspace, tag, header, stream, cel
    r.toml:4: rule[0].when.model: must name something; leave the key out otherwise
    r.toml:4: rule[0].when.key: must be a string that is not empty
    r.toml:4: rule[0].when.stream: must be true or false
    r.toml:5: rule[0].reject.status: must be from 400 to 599
    r.toml:10: rule.two.constrain.no_colection: unknown key; the keys here are only, ignore, quantizations, max_price, zdr, no_collection, distillable, require_parameters, no_fallbacks
    r.toml:10: rule.two.constrain.zdr: can only be true: a rule narrows, it never loosens
    r.toml:7: rule.two: needs exactly one of constrain, defaults, forbid, pin, prefer, reject, rename
    r.toml:12: rule.three: needs exactly one of constrain, defaults, forbid, pin, prefer, reject, rename
    r.toml:15: rule[3]: needs a name: name = "what-it-does"
    r.toml:16: rule[3].rename: must be the name of a model: author/slug
    r.toml:19: rule[4].name: another rule has this name; give it its own
    r.toml:20: rule.three.when.header.Authorization: holds a secret; match the caller's key by its name: key
    r.toml:20: rule.three.when.header.a b: must be the name of a header
    r.toml:20: rule.three.when.header.x-k: looks like a secret; match the caller's key by its name: key
    r.toml:21: rule.three.constrain.only: must name something; leave the key out otherwise
    r.toml:21: rule.three.constrain.ignore: must be a string that is not empty
    r.toml:25: rule.four.constrain: must narrow something: only, ignore, zdr, ...
    r.toml:29: rule.five.reject: needs both: { status = 403, message = "..." }
    "#);
    assert!(!problems(text).contains("abc"), "no value is quoted");
}

#[test]
fn what_is_not_toml_is_a_problem_with_its_line() {
    let found = problems("[[rule]]\nname = \"a\"\nrename = \n");
    assert!(found.starts_with("r.toml:3: toml: "), "{found}");
    assert!(problems("rule = 5\n").contains("r.toml:1: rule: must be a list: write [[rule]]"));
    assert!(problems("[rule]\nname = \"a\"\n").contains("write [[rule]]"));
}

#[test]
fn a_rule_behind_one_that_rejects_everything_is_an_error() {
    for when in ["", "when = {}\n", "when = { model = [\"a\", \"*\"], key = \"**\" }\n"] {
        let text = format!(
            "[[rule]]\nname = \"wall\"\n{when}{REJECT}\n[[rule]]\nname = \"b\"\nrename = \"c/d\"\n"
        );
        let found = problems(&text);
        assert!(found.contains("rule.b: never reached: rule `wall` before it rejects"), "{found}");
    }
    let open = format!(
        "[[rule]]\nname = \"a\"\nwhen = {{ stream = true }}\n{REJECT}\n[[rule]]\nname = \"b\"\nrename = \"c/d\"\n"
    );
    assert_eq!(rules(&open).hits().count(), 2);
}

#[test]
fn a_rule_that_can_never_count_is_an_error() {
    let two = |first: &str, second: &str| {
        format!("[[rule]]\nname = \"a\"\n{first}\n[[rule]]\nname = \"b\"\n{second}\n")
    };
    let renames = "rename = \"c/d\"";
    for (first, second, says) in [
        (renames, "when = { model = \"e/*\" }\nrename = \"f/g\"", "never holds: rule `a`"),
        ("prefer = \"x\"", "when = { stream = true }\nprefer = \"y\"", "never counts: rule `a`"),
        ("pin = \"x\"", "pin = \"y\"", "says pin for every request"),
        ("defaults = { sort = \"price\" }", "defaults = { order = [\"x\"] }", "says defaults"),
    ] {
        let found = problems(&two(first, second));
        assert!(found.contains("r.toml:4: rule.b: never"), "{found}");
        assert!(found.contains(says), "{found}");
    }
    for (first, second) in [
        (renames, "when = { model = \"c/*\" }\nprefer = \"x\""),
        ("when = { stream = true }\nprefer = \"x\"", "prefer = \"y\""),
        ("prefer = \"x\"", "pin = \"y\""),
        ("constrain = { zdr = true }", "constrain = { zdr = true }"),
    ] {
        assert_eq!(rules(&two(first, second)).hits().count(), 2, "{first}, {second}");
    }
}

#[test]
fn the_first_preference_pin_and_defaults_count() {
    let rules = rules(
        "[[rule]]\nname = \"a\"\nwhen = { tag = \"eu\" }\nprefer = [\"x\", \"y/z\"]\n\
         [[rule]]\nname = \"b\"\nprefer = \"w\"\n\
         [[rule]]\nname = \"c\"\npin = \"x/flex\"\n\
         [[rule]]\nname = \"d\"\nwhen = { stream = true }\n\
         defaults = { order = [\"x\"], sort = { by = \"latency\" }, preferred_max_latency = 2.5 }\n",
    );
    let mut request = request();
    let facts = request.facts();
    let decision = rules.decide(&facts).unwrap();
    assert_eq!(decision.prefer, ["x".into(), "y/z".into()]);
    assert_eq!(decision.pin.unwrap().only, Some(vec!["x/flex".into()]));
    let ask = decision.defaults.unwrap().ask();
    assert_eq!((ask.order, ask.max_latency[0]), (&["x".into()][..], Some(2_500)));
    let names: Vec<_> = rules.provider_names().map(|it| (it.name, it.key)).collect();
    assert_eq!(names[4], ("x", "rule.d.defaults.order".to_owned()));
    assert_eq!(
        names.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["x", "y/z", "w", "x/flex", "x"]
    );
    request.tags.clear();
    let facts = request.facts();
    assert_eq!(rules.decide(&facts).unwrap().prefer, ["w".into()]);
}

#[test]
fn an_expression_that_fails_refuses_the_request_and_is_counted() {
    let text = "[[rule]]\nname = \"a\"\n\
        when = { cel = \"header_x_team != '' && int(header_x_team) > 5\" }\nconstrain = { zdr = true }\n";
    let rules = rules(text);
    let mut request = request();
    assert!(rules.decide(&request.facts()).is_ok());
    sent(&mut request, "blue");
    let error = rules.decide(&request.facts()).unwrap_err();
    assert_eq!((error.status, &*error.message), (500, "The rule a cannot be evaluated"));
    assert_eq!((rules.faults(), rules.hits().next()), (1, Some(("a", 0))));
}

#[test]
fn a_request_that_is_only_explained_counts_for_no_rule() {
    let rules = rules("[[rule]]\nname = \"a\"\nprefer = \"x\"\n");
    let request = request();
    let decision = rules.decide(&Facts { dry: true, ..request.facts() }).unwrap();
    assert_eq!((decision.prefer.len(), rules.hits().next()), (1, Some(("a", 0))));
}

#[test]
fn models_that_rules_wait_for_are_named_unless_they_are_old_names() {
    let rules = rules(&format!(
        "[[rule]]\nname = \"a\"\nwhen = {{ model = [\"old\", \"x/y\", \"z/*\"] }}\nprefer = \"p\"\n\
         [[rule]]\nname = \"b\"\nwhen = {{ model = \"gone\" }}\n{REJECT}\n\
         [[rule]]\nname = \"c\"\nwhen = {{ model = \"ol*\" }}\nrename = \"n/w\"\n"
    ));
    let names: Vec<_> = rules.model_names().map(|it| (it.name, it.key)).collect();
    let expected = [("x/y", "rule.a.when.model".to_owned()), ("n/w", "rule.c.rename".to_owned())];
    assert_eq!(names, expected);
}

#[test]
fn bounds_are_held_at_the_bound_and_one_past_it() {
    let many = |n: usize| -> String {
        (0..n).map(|i| format!("[[rule]]\nname = \"r{i}\"\nrename = \"a/b\"\n")).collect()
    };
    assert_eq!(rules(&many(RULES)).hits().count(), RULES);
    assert!(problems(&many(RULES + 1)).contains("at most 1000 rules"));
    let named = |n: usize| format!("[[rule]]\nname = \"{}\"\nrename = \"a/b\"\n", "n".repeat(n));
    assert_eq!(rules(&named(RULE_NAME_BYTES)).hits().count(), 1);
    assert!(problems(&named(RULE_NAME_BYTES + 1)).contains("at most 64 of a-z"));
}

#[test]
fn no_rule_decides_nothing() {
    let rules = Rules::default();
    let decision = rules.decide(&request().facts()).unwrap();
    assert_eq!((decision.rename, &*decision.constraint), (None, &Constraint::default()));
}

#[test]
fn the_shipped_files_compile_and_change_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua-free-rules");
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            sources.push((path, text));
        }
    }
    assert!(!sources.is_empty());
    let rules = Rules::compile(&sources).unwrap();
    assert!(rules.hits().count() > 0, "an example that runs");
    assert!(rules.decide(&request().facts()).is_ok());
    assert!(rules.hits().all(|(_, hits)| hits == 0));
    let uncommented: String = sources.iter().map(|(_, text)| text.replace("\n# ", "\n")).collect();
    assert!(uncommented.contains("[[rule]]"));
}
