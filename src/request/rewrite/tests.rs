use super::super::envelope::read;
use super::super::route::Operation;
use super::super::scan::tests::json;
use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;

const PLAIN: Edit<'_> = Edit {
    upstream_model: "up",
    face: Face::OpenRouter,
    stream_usage: true,
    declares: &[],
    tier: TierEdit::Keep,
    drops: Parameters::NONE,
    options: &[],
    hashed_user: None,
};

fn edited(body: &str, edit: &Edit<'_>) -> String {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let envelope = read(&body, Operation::Chat).unwrap();
    String::from_utf8(rewrite(&body, &envelope, edit).to_vec()).unwrap()
}

#[test]
fn the_tier_sent_is_the_one_that_is_priced() {
    let cases = [
        (
            TierEdit::Keep,
            r#""service_tier":"flex","speed":"fast""#,
            r#""service_tier":"flex","speed":"fast""#,
        ),
        (
            TierEdit::Set("priority"),
            r#""service_tier":"ultrafast""#,
            r#""service_tier":"priority""#,
        ),
        (
            TierEdit::Set("priority"),
            r#""service_tier":null,"x":1"#,
            r#""service_tier":"priority","x":1"#,
        ),
        (TierEdit::Remove, r#""service_tier":"priority","x":1"#, r#""x":1"#),
        (TierEdit::Remove, r#""x":1,"speed":"fast""#, r#""x":1"#),
    ];
    for (tier, sent, gone) in cases {
        let edit = Edit { tier, ..PLAIN };
        let body = |members: &str| format!("{{\"model\":\"up\",\"messages\":1,{members}}}");
        assert_eq!(edited(&body(sent), &edit), body(gone), "{tier:?}");
    }
    let edit = Edit { tier: TierEdit::Set("flex"), ..PLAIN };
    let asked = edited(r#"{"model":"up","messages":1,"speed":"fast"}"#, &edit);
    assert_eq!(asked, r#"{"service_tier":"flex","model":"up","messages":1}"#);
}

#[test]
fn options_of_the_provider_are_members_of_their_own() {
    let body = r#"{"model":"up","messages":1,"provider":{"options":{"groq":{"x":[1], "y":2}}}}"#;
    let bytes = Bytes::from(body);
    let envelope = read(&bytes, Operation::Chat).unwrap();
    let (_, options) = &envelope.provider.options[0];
    let out = rewrite(&bytes, &envelope, &Edit { options, ..PLAIN });
    assert_eq!(out, r#"{"x":[1],"y":2,"model":"up","messages":1}"#);
    assert_eq!(rewrite(&bytes, &envelope, &PLAIN), r#"{"model":"up","messages":1}"#);
}

#[test]
fn splices_only_what_must_change() {
    let cases = [
        (r#"{"model":"m","messages":[]}"#, r#"{"model":"up","messages":[]}"#),
        (
            r#" { "messages" : [ ] , "mod\u0065l" : "m" } "#,
            r#" { "messages" : [ ] , "mod\u0065l" : "up" } "#,
        ),
        (r#"{"models":["m"],"messages":1}"#, r#"{"model":"up","messages":1}"#),
        (r#"{"model":null,"models":["m"],"messages":1}"#, r#"{"model":"up","messages":1}"#),
        (r#"{"messages":1,"models":["m"]}"#, r#"{"model":"up","messages":1}"#),
        (
            r#"{"messages":1, "usage":{}, "route":"x", "model":"m"}"#,
            r#"{"messages":1, "model":"up"}"#,
        ),
        (
            r#"{"usage":{} , "debug":1 , "messages":1,"model":"m"}"#,
            r#"{"messages":1,"model":"up"}"#,
        ),
        (r#"{"messages":1,"model":"m", "trace":{} }"#, r#"{"messages":1,"model":"up" }"#),
        (
            r#"{"usage":1,"messages":1,"debug":1,"model":"m","trace":1}"#,
            r#"{"messages":1,"model":"up"}"#,
        ),
        (
            r#"{"API_base":"x","messages":1,"model":"m","api_key":"k"}"#,
            r#"{"messages":1,"model":"up"}"#,
        ),
        (
            r#"{"model":"m","messages":1,"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"up","messages":1,"stream":true}"#,
        ),
        (
            r#"{"models":["m"],"messages":1,"stream":true}"#,
            r#"{"model":"up","stream_options":{"include_usage":true},"messages":1,"stream":true}"#,
        ),
        (
            r#"{"model":"m","messages":1,"stream":true,"stream_options":null}"#,
            r#"{"model":"up","messages":1,"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","messages":1,"stream":true,"stream_options":{ }}"#,
            r#"{"model":"up","messages":1,"stream":true,"stream_options":{"include_usage":true }}"#,
        ),
        (
            r#"{"model":"m","messages":1,"stream":true,"stream_options":{ "x":1}}"#,
            r#"{"model":"up","messages":1,"stream":true,"stream_options":{"include_usage":true, "x":1}}"#,
        ),
        (
            r#"{"model":"m","messages":1,"stream":true,"stream_options":{"include_usage": false,"x":1}}"#,
            r#"{"model":"up","messages":1,"stream":true,"stream_options":{"include_usage": true,"x":1}}"#,
        ),
        (
            r#"{"model":"m","messages":1,"stream":true,"stream_options":{"include_usage":null}}"#,
            r#"{"model":"up","messages":1,"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","messages":1,"stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"model":"up","messages":1,"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","messages":1,"stream":false,"stream_options":{"include_usage":false}}"#,
            r#"{"model":"up","messages":1,"stream":false}"#,
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(edited(body, &PLAIN), expected, "{body}");
    }
}

#[test]
fn the_prompt_of_a_chat_becomes_a_message_with_its_own_bytes() {
    let body = r#"{"usage":1, "prompt" : "a\u00e9\"😀" ,"model":"up"}"#;
    let message = r#"{"messages":[{"role":"user","content":"a\u00e9\"😀"}] ,"model":"up"}"#;
    assert_eq!(edited(body, &PLAIN), message);
    let faithful = Edit { face: Face::Faithful, ..PLAIN };
    assert_eq!(edited(body, &faithful), r#"{"prompt" : "a\u00e9\"😀" ,"model":"up"}"#);
    let null = r#"{"messages":null,"model":"up","prompt":"x"}"#;
    assert_eq!(edited(null, &faithful), null);
    let message = r#"{"model":"up","messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(edited(null, &PLAIN), message);
    let null = r#"{"model":"up","prompt":null,"messages":[]}"#;
    assert_eq!(edited(null, &PLAIN), null);
    let body = Bytes::from(r#"{"model":"up","prompt":"x"}"#);
    let envelope = read(&body, Operation::Completion).unwrap();
    assert_eq!(rewrite(&body, &envelope, &PLAIN), body, "a completion has no messages");
}

#[test]
fn a_body_of_weirs_own_words_becomes_a_bare_model() {
    let body = Bytes::from_static(br#"{ "models":["m"] , "usage":{} }"#);
    let envelope = read(&body, Operation::Embedding).unwrap();
    assert_eq!(&rewrite(&body, &envelope, &PLAIN)[..], br#"{"model":"up"  }"#);
}

#[test]
fn nothing_to_change_copies_nothing() {
    let body = Bytes::from_static(br#"{"model":"up","messages":1,"user":"u"}"#);
    let envelope = read(&body, Operation::Chat).unwrap();
    assert_eq!(rewrite(&body, &envelope, &PLAIN).as_ptr(), body.as_ptr());
}

#[test]
fn declared_fields_stay_and_forbidden_ones_never() {
    let declares = ["usage", "models", "api_base"].map(String::from);
    let edit = Edit { declares: &declares, ..PLAIN };
    assert_eq!(
        edited(r#"{"usage":1,"debug":1,"models":["m"],"api_base":"x","messages":1}"#, &edit),
        r#"{"model":"up","usage":1,"models":["m"],"messages":1}"#
    );
}

#[test]
fn words_that_providers_share_pass_only_to_those_that_declare_them_or_as_they_came() {
    let body = r#"{"model":"up","cache_control":{},"max_tool_calls":1,"stop_server_tools_when":[],"deferred_tools":[],"prompt_cache_options":{},"messages":1}"#;
    assert_eq!(edited(body, &PLAIN), r#"{"model":"up","messages":1}"#);
    assert_eq!(edited(body, &Edit { face: Face::Faithful, ..PLAIN }), body);
    let declares = ["cache_control".to_owned()];
    let declared = edited(body, &Edit { declares: &declares, ..PLAIN });
    assert_eq!(declared, r#"{"model":"up","cache_control":{},"messages":1}"#);
}

#[test]
fn options_of_a_stream_go_up_with_a_stream_only() {
    let body = r#"{"model":"up","stream_options":{"include_usage":true},"messages":1}"#;
    assert_eq!(edited(body, &PLAIN), r#"{"model":"up","messages":1}"#);
    assert_eq!(edited(body, &Edit { face: Face::Faithful, ..PLAIN }), body);
}

#[test]
fn parameters_the_endpoint_does_not_honour_are_not_sent() {
    let cases = [
        (&["tools"][..], r#"{"model":"up","tools":[{}],"messages":[]}"#),
        (&["reasoning"], r#"{"model":"up","reasoning_effort":"low","messages":[]}"#),
        (&["top_k", "unheard_of"], r#"{"model":"up","messages":[],"top_k":1}"#),
    ];
    let body = r#"{"model":"up","tools":[{}],"max_tokens":9,"reasoning_effort":"low","messages":[],"top_k":1,"x":1}"#;
    for (honours, kept) in cases {
        let drops = honours.iter().copied().collect::<Parameters>().dropped();
        let sent = edited(body, &Edit { drops, ..PLAIN });
        let without = sent.replace(r#","max_tokens":9"#, "").replace(r#","x":1"#, "");
        assert_eq!(without, kept, "an endpoint with {honours:?}");
        assert_ne!(sent, without, "what bounds the bill, and what no one knows, are sent");
    }
    let drops = Parameters::TOOLS.dropped();
    let repeated =
        edited(r#"{"model":"up","top_k":1,"messages":1,"top_k":2}"#, &Edit { drops, ..PLAIN });
    assert_eq!(repeated, r#"{"model":"up","messages":1}"#);
    let nothing_known = Edit { drops: Parameters::NONE.dropped(), ..PLAIN };
    assert_eq!(edited(body, &nothing_known), body);
}

#[test]
fn usage_is_asked_for_only_where_the_endpoint_knows_the_option() {
    let edit = Edit { stream_usage: false, ..PLAIN };
    let body = r#"{"model":"up","messages":1,"stream":true}"#;
    assert_eq!(edited(body, &edit), body);
}

#[test]
fn names_are_escaped_and_users_replaced_only_where_they_are() {
    let edit = Edit { upstream_model: "a\"b\\c\n", hashed_user: Some("h"), ..PLAIN };
    assert_eq!(
        edited(r#"{"model":"m","messages":1,"user":"u"}"#, &edit),
        r#"{"model":"a\"b\\c\n","messages":1,"user":"h"}"#
    );
    let null = r#"{"model":"m","messages":1,"user":null}"#;
    assert!(edited(null, &edit).ends_with(r#""user":null}"#));
    assert!(!edited(r#"{"model":"m","messages":1}"#, &edit).contains("user"));
    let faithful = Edit { face: Face::Faithful, ..edit };
    let kept = r#"{"model":"m","messages":1,"user":"u"}"#;
    assert!(edited(kept, &faithful).ends_with(r#""user":"u"}"#));
}

/// A document's members in order: unescaped keys, values byte by byte.
struct Members(Vec<(String, String)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push((key, value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Visitor)
    }
}

fn members(body: &[u8]) -> Vec<(String, String)> {
    serde_json::from_slice::<Members>(body).unwrap().0
}

/// A member as text, of a name Weir knows or of none, with a value its type allows.
fn member() -> impl Strategy<Value = (String, String)> {
    let fixed = |key: &'static str, values: Vec<&'static str>| {
        (Just(key.to_owned()), prop::sample::select(values).prop_map(String::from)).boxed()
    };
    let any = |keys: Vec<&'static str>| {
        (prop::sample::select(keys).prop_map(String::from), json()).boxed()
    };
    prop_oneof![
        2 => fixed("stream", vec!["true", "true", "false", "null"]),
        2 => fixed("stream_options", vec![
            "{}", "{ }", "null", "{\"x\":{}}", "{ \"include_usage\" : true}", "{\"y\":1,\"include_usage\":false }",
        ]),
        1 => fixed("models", vec!["[]", "[ \"x/y\", \"z\" ]", "null"]),
        1 => fixed("user", vec!["\"u\"", "null", "\"\\u0041\""]),
        1 => fixed("provider", vec!["{}", "{\"only\":[\"a\"], \"new\" : {} }", "null"]),
        1 => fixed("session_id", vec!["\"s\"", "null"]),
        1 => fixed("preset", vec!["\"p\"", "null"]),
        3 => any(vec!["usage", "plugins", "route", "transforms", "include_reasoning", "debug", "trace"]),
        2 => any(vec!["cache_control", "max_tool_calls", "prompt_cache_options"]),
        2 => any(vec!["api_base", "base_url", "api_key", "extra_headers", "extra_body", "organization"]),
        1 => fixed("n", vec!["1", "-1", "null"]),
        4 => any(vec!["temperature", "messages", "tools", "seed", "metadata", "x"]),
        1 => ("[a-z]{5,9}[0-9]", json()),
    ]
}

/// A chat body with members of distinct names, one of them a model, and odd spacing.
fn body() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", "", " ", "\n\t", "  \r\n"]);
    let parts = prop::collection::vec((member(), space.clone(), space.clone()), 0..12);
    (parts, any::<prop::sample::Index>(), any::<bool>(), space).prop_map(
        |(mut parts, at, listed, outer)| {
            let model = if listed { ("models", "[\"m\"]") } else { ("model", "\"m\"") };
            let model = ((model.0.to_owned(), model.1.to_owned()), " ", "");
            let input = [("prompt", "\"p\\u0041\""), ("messages", "[1]")][at.index(2)];
            let input = ((input.0.to_owned(), input.1.to_owned()), "", " ");
            parts.retain(|((key, _), ..)| *key != model.0.0 && key != "messages");
            parts.insert(at.index(parts.len() + 1), model);
            parts.insert(at.index(parts.len() + 1), input);
            let mut names = std::collections::HashSet::new();
            parts.retain(|((key, _), ..)| names.insert(key.clone()));
            let members: Vec<String> = parts
                .into_iter()
                .map(|((key, value), a, b)| format!("{a}\"{key}\"{b}:{a}{value}{b}"))
                .collect();
            format!("{outer}{{{}}}{outer}", members.join(","))
        },
    )
}

/// What the rewritten members must be, found without offsets.
fn expected(body: &[u8], streams: bool, edit: &Edit<'_>) -> Vec<(String, String)> {
    let original = members(body);
    let mut front = Vec::new();
    let has = |key: &str| original.iter().any(|(name, _)| name == key);
    if !has("model") {
        front.push(("model".to_owned(), "\"up\"".to_owned()));
    }
    if streams && edit.stream_usage && !has("stream_options") {
        front.push(("stream_options".to_owned(), ASKING.to_owned()));
    }
    let by_contract = edit.face == Face::OpenRouter;
    let is_stream = original.contains(&("stream".to_owned(), "true".to_owned()));
    let goes = |key: &str| {
        use super::super::keys::TOP;
        TOP.iter().any(|&(name, fate)| {
            name == key
                && (fate == Fate::Forbidden
                    || matches!(fate, Fate::Steers | Fate::Noted) && unknown(edit, key)
                    || key == "stream_options" && by_contract && !is_stream
                    || (fate == Fate::Consumed || fate == Fate::Shared && by_contract)
                        && !edit.declares.iter().any(|known| known == key))
        })
    };
    let stays = original.iter().filter(|(key, _)| !goes(key)).map(|(key, value)| {
        if key == "prompt" && by_contract {
            let said = format!("[{{\"role\":\"user\",\"content\":{value}}}]");
            return ("messages".to_owned(), said);
        }
        let value = match key.as_str() {
            "model" => "\"up\"".to_owned(),
            "user" if value != "null" && by_contract => {
                edit.hashed_user.map_or(value.clone(), quoted)
            }
            "stream_options" if streams && edit.stream_usage => with_usage(value),
            _ => value.clone(),
        };
        (key.clone(), value)
    });
    front.extend(stays);
    front
}

fn unknown(edit: &Edit<'_>, key: &str) -> bool {
    let parameter = Parameters::named(key);
    !parameter.is_empty() && edit.drops.has(parameter)
}

fn with_usage(options: &str) -> String {
    if options == "null" {
        return ASKING.to_owned();
    }
    if options.contains("include_usage") {
        return options.replace("false", "true");
    }
    let comma = if members(options.as_bytes()).is_empty() { "" } else { "," };
    options.replacen('{', &format!("{{\"include_usage\":true{comma}"), 1)
}

proptest! {
    #[test]
    fn changes_exactly_the_named_members(
        body in body(), stream_usage in any::<bool>(), hash in any::<bool>(), declares_some in any::<bool>(),
        honours in prop::sample::subsequence(vec!["tools", "seed", "temperature"], 0..=3),
        face in prop::sample::select(vec![Face::OpenRouter, Face::Faithful]),
    ) {
        let declared = ["usage", "models", "trace", "max_tool_calls"].map(String::from);
        let declares = if declares_some { &declared[..] } else { &[] };
        let drops = honours.into_iter().collect::<Parameters>().dropped();
        let edit = Edit { stream_usage, declares, drops, face, hashed_user: hash.then_some("hash"), ..PLAIN };
        let body = Bytes::from(body);
        let envelope = read(&body, Operation::Chat).unwrap();
        let streams = members(&body).contains(&("stream".to_owned(), "true".to_owned()));
        let out = rewrite(&body, &envelope, &edit);
        prop_assert_eq!(members(&out), expected(&body, streams, &edit));

        let again = read(&out, Operation::Chat).unwrap();
        prop_assert_eq!(&*again.models[0], "up", "one model, the endpoint's");
        prop_assert_eq!(rewrite(&out, &again, &edit), out, "rewriting twice changes nothing more");
    }

    #[test]
    fn bytes_outside_the_splices_are_the_callers(body in body()) {
        let body = Bytes::from(body);
        let envelope = read(&body, Operation::Chat).unwrap();
        let edit = Edit { stream_usage: false, ..PLAIN };
        let out = rewrite(&body, &envelope, &edit);
        let changes = |it: &&Member| goes(it, &envelope, &edit) || matches!(it.key, "model" | "prompt");
        let touched: Vec<&Member> = envelope.members.iter().filter(changes).collect();
        let first = touched.iter().map(|it| it.lead.min(it.span.start)).min().unwrap();
        let last = touched.iter().map(|it| it.tail).max().unwrap();
        let first = if envelope.member("model").is_none() { envelope.open } else { first };
        prop_assert!(out.starts_with(&body[..first]));
        prop_assert!(out.ends_with(&body[last..]));
    }
}

/// Every recorded request of a dialect Weir serves is understood, and sent on as it came but for
/// what is Weir's own.
#[test]
fn recorded_requests_are_understood_and_sent_on_as_they_came() {
    let Some(folder) = std::env::var_os("WEIR_CORPUS") else {
        println!("skipped: WEIR_CORPUS is not set");
        return;
    };
    let lines =
        std::fs::read_to_string(std::path::Path::new(&folder).join("recorded.jsonl")).unwrap();
    let mut seen = 0;
    for line in lines.lines() {
        let exchange: serde_json::Value = serde_json::from_str(line).unwrap();
        let operation = match exchange["dialect"].as_str() {
            Some("openai-chat") => Operation::Chat,
            Some("openai-completions") => Operation::Completion,
            Some("openai-embeddings") => Operation::Embedding,
            _ => continue,
        };
        let (id, request) = (&exchange["id"], exchange["request"].as_str().unwrap());
        let body = Bytes::copy_from_slice(request.as_bytes());
        let envelope = read(&body, operation).unwrap_or_else(|refusal| panic!("{id}: {refusal}"));
        seen += 1;
        let streams = members(&body).contains(&("stream".to_owned(), "true".to_owned()));
        let face = if operation == Operation::Chat { Face::OpenRouter } else { Face::Faithful };
        let edit = Edit { face, ..PLAIN };
        let out = rewrite(&body, &envelope, &edit);
        let asks =
            streams && operation != Operation::Embedding && envelope.include_usage != Some(true);
        assert_eq!(members(&out), expected(&body, asks, &edit), "{id}");
    }
    assert!(seen > 0, "the corpus has requests of these dialects");
}
