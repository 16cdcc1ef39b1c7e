use super::*;
use crate::bounds::{CALLS, CALLS_BYTES, PATTERN_BYTES, PATTERNS, SCHEMA_DEPTH};
use crate::dialect::{Dialect, Observer};
use serde_json::json;

const TOOLS_TEXT: &str = r#"[
    {"type":"function","function":{"name":"now"}},
    {"type":"function","function":{"name":"weather","description":"d","strict":true,"parameters":{
        "type":"object","required":["city"],"additionalProperties":false,
        "properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":1}}}}}
]"#;

fn one(name: &str, arguments: &str) -> Calls {
    let mut calls = Calls::default();
    calls.add(&Piece { index: None, id: "call_1", name, arguments });
    calls
}

fn judged(name: &str, arguments: &str) -> Verdict {
    judge(TOOLS_TEXT.as_bytes(), &one(name, arguments))
}

#[test]
fn a_call_is_judged_by_name_by_json_and_by_schema() {
    let cases = [
        ("weather", r#"{"city":"Oslo","days":2}"#, Verdict::Valid),
        ("weather", r#"{"city":"Oslo","days":2.0}"#, Verdict::Valid),
        ("now", "", Verdict::Valid),
        ("now", r#"{"zone":"UTC"}"#, Verdict::Valid),
        ("Weather", r#"{"city":"Oslo"}"#, Verdict::UnknownName),
        ("", r#"{"city":"Oslo"}"#, Verdict::UnknownName),
        ("weather", r#"{"city":"Oslo""#, Verdict::InvalidJson),
        ("weather", r#"{"city":"Oslo"} {}"#, Verdict::InvalidJson),
        ("now", "{'zone':1}", Verdict::InvalidJson),
        ("weather", "", Verdict::SchemaMismatch),
        ("weather", r#"{"city":7}"#, Verdict::SchemaMismatch),
        ("weather", r#"{"city":"Oslo","days":0}"#, Verdict::SchemaMismatch),
        ("weather", r#"{"city":"Oslo","hour":1}"#, Verdict::SchemaMismatch),
        ("weather", r#""{\"city\":\"Oslo\"}""#, Verdict::SchemaMismatch),
    ];
    for (name, arguments, verdict) in cases {
        assert_eq!(judged(name, arguments), verdict, "{name} {arguments}");
    }
}

#[test]
fn one_bad_call_makes_a_reply_bad_and_none_at_all_too() {
    let mut calls = one("weather", r#"{"city":"Oslo"}"#);
    calls.add(&Piece { id: "call_2", name: "gone", arguments: "{}", ..Piece::default() });
    assert_eq!(judge(TOOLS_TEXT.as_bytes(), &calls), Verdict::UnknownName);
    assert_eq!(judge(TOOLS_TEXT.as_bytes(), &Calls::default()), Verdict::Missing);
}

#[test]
fn what_cannot_be_judged_is_not() {
    let schema = |schema: &str| {
        format!(r#"[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]"#)
    };
    let call = one("f", r#"{"a":"b"}"#);
    for unclear in [
        r#"{"$ref":"https://example.com/schema"}"#,
        r##"{"$ref":"#/$defs/gone"}"##,
        r##"{"$ref":"#"}"##,
        r#"{"properties":{"a":{"pattern":"(?=b)"}}}"#,
        r#"{"type":"STRING"}"#,
        "[]",
    ] {
        assert_eq!(judge(schema(unclear).as_bytes(), &call), Verdict::Unjudged, "{unclear}");
    }
    for tools in ["{}", "[", r#"[{"function":{"name":7}}]"#] {
        assert_eq!(judge(tools.as_bytes(), &call), Verdict::Unjudged, "{tools}");
    }
    let others = r#"[{"type":"openrouter:web_search"}]"#;
    assert_eq!(judge(others.as_bytes(), &call), Verdict::Unjudged);
    let mut lost = one("f", "{}");
    lost.lose();
    assert_eq!(judge(schema("true").as_bytes(), &lost), Verdict::Unjudged);
    assert!(!lost.is_empty());
}

fn many_tools(count: usize) -> String {
    let tools: Vec<String> =
        (0..count).map(|n| format!(r#"{{"function":{{"name":"t{n}"}}}}"#)).collect();
    format!("[{}]", tools.join(","))
}

#[test]
fn tools_and_calls_at_their_bounds_are_judged_and_past_them_not() {
    assert_eq!(judge(many_tools(TOOLS).as_bytes(), &one("t0", "{}")), Verdict::Valid);
    assert_eq!(judge(many_tools(TOOLS + 1).as_bytes(), &one("t0", "{}")), Verdict::Unjudged);
    let calls = |count: usize| {
        let mut calls = Calls::default();
        (0..count).for_each(|n| {
            calls.add(&Piece { index: Some(n as u64), id: "", name: "now", arguments: "{}" });
        });
        judge(TOOLS_TEXT.as_bytes(), &calls)
    };
    assert_eq!(calls(CALLS), Verdict::Valid);
    assert_eq!(calls(CALLS + 1), Verdict::Unjudged);
    let long = |bytes: usize| {
        let filler = bytes - "call_1".len() - "now".len() - r#"{"a":""}"#.len();
        judged("now", &format!(r#"{{"a":"{}"}}"#, "x".repeat(filler)))
    };
    assert_eq!(long(CALLS_BYTES), Verdict::Valid);
    assert_eq!(long(CALLS_BYTES + 1), Verdict::Unjudged);
}

#[test]
fn a_schema_at_its_bounds_is_followed_and_past_them_not() {
    let nested = |levels: usize| {
        let mut schema = json!({"type": "object"});
        for _ in 1..levels {
            schema = json!({"allOf": [schema]});
        }
        accepts(&schema, &json!({}))
    };
    assert_eq!(nested(SCHEMA_DEPTH), Some(true));
    assert_eq!(nested(SCHEMA_DEPTH + 1), None);
    let patterns = |count: usize| {
        let members: Value = (0..count).map(|n| (format!("^{n}$"), json!(true))).collect();
        accepts(&json!({"patternProperties": members}), &json!({"a": 1}))
    };
    assert_eq!(patterns(PATTERNS), Some(true));
    assert_eq!(patterns(PATTERNS + 1), None);
    // A character of a pattern takes some tens of bytes.
    let pattern = |length: usize| accepts(&json!({"pattern": "a".repeat(length)}), &json!("b"));
    assert_eq!(pattern(PATTERN_BYTES / 256), Some(false));
    assert_eq!(pattern(PATTERN_BYTES), None);
}

#[test]
fn a_schema_that_doubles_with_each_reference_costs_a_bounded_number_of_steps() {
    let mut definitions = serde_json::Map::new();
    definitions.insert("d0".to_owned(), json!({"type": "object"}));
    for n in 1..40 {
        let before = json!({"$ref": format!("#/$defs/d{}", n - 1)});
        definitions.insert(format!("d{n}"), json!({"allOf": [before, before]}));
    }
    let schema = json!({"$defs": definitions, "$ref": "#/$defs/d39"});
    assert_eq!(accepts(&schema, &json!({})), None);
    let mut steps = 1_000;
    assert_eq!(schema::check(&schema, &json!({}), &mut steps), Err(Unsure));
    let wide = json!({"uniqueItems": true});
    let numbers: Value = (0..10_000).collect();
    assert_eq!(accepts(&wide, &numbers), None);
}

#[test]
fn a_tuple_of_2020_12_is_read_as_one() {
    let schema = json!({"prefixItems": [{"type": "string"}, {"type": "integer"}], "items": false});
    assert_eq!(accepts(&schema, &json!(["a", 1])), Some(true));
    assert_eq!(accepts(&schema, &json!(["a", "b"])), Some(false));
    assert_eq!(accepts(&schema, &json!(["a", 1, 2])), Some(false));
}

/// The calls of a stream whose events have these deltas, each an array `tool_calls`.
fn streamed(deltas: &[String]) -> Calls {
    let mut observer = Observer::new(Dialect::OpenAiChat, None);
    let mut calls = Calls::default();
    for delta in deltas {
        let json = format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":{delta}}}}}]}}"#);
        let seen = observer.observe(json.as_bytes()).unwrap();
        observer.tool_calls(json.as_bytes(), &seen, &mut calls);
    }
    calls
}

fn shown(calls: &Calls) -> Vec<(&str, &str)> {
    calls.list().iter().map(|call| (&*call.name, &*call.arguments)).collect()
}

#[test]
fn arguments_in_pieces_are_put_together_at_every_split() {
    let arguments = r#"{"city":"Tromsø \"N\"","days":3}"#;
    for at in (0..=arguments.len()).filter(|at| arguments.is_char_boundary(*at)) {
        let (first, second) = arguments.split_at(at);
        let piece = |text: &str| {
            format!(r#"[{{"index":0,"function":{{"arguments":{}}}}}]"#, Value::from(text))
        };
        let begin = r#"[{"index":0,"id":"c1","type":"function","function":{"name":"weather","arguments":""}}]"#;
        let calls = streamed(&[begin.to_owned(), piece(first), piece(second)]);
        assert_eq!(shown(&calls), [("weather", arguments)], "split at {at}");
        assert_eq!(judge(TOOLS_TEXT.as_bytes(), &calls), Verdict::Valid);
    }
}

#[test]
fn calls_are_told_apart_by_place_by_id_and_by_name() {
    let call = |head: &str, name: &str, arguments: &str| {
        let arguments = Value::from(arguments);
        format!(r#"[{{{head}"function":{{"name":"{name}","arguments":{arguments}}}}}]"#)
    };
    let both = [("a", "{}"), ("b", "[1]")];
    let cases = [
        // Interleaved places; a name that is repeated.
        vec![
            call(r#""index":0,"id":"1","#, "a", "{"),
            call(r#""index":1,"id":"2","#, "b", "["),
            call(r#""index":0,"#, "a", "}"),
            call(r#""index":1,"#, "", "1]"),
        ],
        // One place for all, or none.
        vec![call(r#""index":0,"id":"1","#, "a", "{}"), call(r#""index":0,"id":"2","#, "b", "[1]")],
        vec![call(r#""id":"1","#, "a", "{}"), call(r#""id":"2","#, "b", "[1]")],
        vec![call("", "a", "{"), call("", "", "}"), call("", "b", "[1]")],
        // Whole, both in one message; arguments that are no string; null members.
        vec![
            r#"[{"id":"1","function":{"name":"a","arguments":{}}},
                {"id":"2","function":{"name":"b","arguments":[1]},"custom":null}]"#
                .to_owned(),
        ],
    ];
    for deltas in cases {
        assert_eq!(shown(&streamed(&deltas)), both, "{deltas:?}");
    }
}

#[test]
fn what_is_no_call_of_a_function_leaves_them_incomplete() {
    for delta in [
        r#"[{"id":"1","type":"custom","custom":{"name":"a","input":"x"}}]"#,
        r#"[7]"#,
        r#"{"0":{}}"#,
        r#""a""#,
    ] {
        assert!(streamed(&[delta.to_owned()]).are_incomplete(), "{delta}");
    }
    assert!(streamed(&["null".to_owned(), "[]".to_owned()]).is_empty());
}
