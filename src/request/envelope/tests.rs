use super::super::scan::{Fault, Flaw};
use super::*;
use crate::bounds::{
    JSON_DEPTH, MEMBERS_KEPT, MODEL_NAME_BYTES, MODELS_PER_REQUEST, PROVIDERS_PER_LIST,
    SESSION_ID_CHARS,
};
use crate::error::Error;

fn chat(members: &str) -> Result<Envelope, BodyError> {
    read(format!("{{\"messages\":[],{members}}}").as_bytes(), Operation::Chat)
}

fn with(members: &str) -> Result<Envelope, BodyError> {
    chat(&format!("\"model\":\"a/b\",{members}"))
}

fn names(envelope: &Envelope) -> Vec<&str> {
    envelope.models.iter().map(AsRef::as_ref).collect()
}

#[test]
fn reads_what_steers() {
    let body = br#" { "model" : "a/b" , "models":["c/d","a/b","c/d"],"messages":[{"role":"user"}],
        "stream":true,"stream_options":{"include_usage":false,"x":[1]},
        "provider":{"order":["groq"],"only":["groq","deepinfra/turbo"],"ignore":["x"],
          "allow_fallbacks":false,"data_collection":"disallow","zdr":true,"sort":{"by":"price"},"new":1},
        "max_tokens":7,"max_completion_tokens":9,"session_id":"s","user":"\u0075ser","tools":[ {} ],
        "temperature":0.5 } "#;
    let envelope = read(body, Operation::Chat).unwrap();
    assert_eq!(names(&envelope), ["a/b", "c/d"]);
    assert!(envelope.stream && envelope.tools.is_some());
    assert_eq!(envelope.include_usage, Some(false));
    assert_eq!(envelope.max_tokens, Some(9));
    assert_eq!(envelope.session_id.as_deref(), Some("s"));
    assert_eq!(envelope.user.as_deref(), Some("user"));
    assert_eq!(envelope.count, 12);
    for member in &envelope.members {
        let value = &body[member.value.clone()];
        assert!(serde_json::from_slice::<serde_json::Value>(value).is_ok(), "{}", member.key);
        assert!(body[member.span.clone()].starts_with(format!("\"{}\"", member.key).as_bytes()));
        assert_eq!(member.span.end, member.value.end);
    }
    let options = envelope.stream_options.unwrap();
    assert_eq!(&body[options.include_usage.unwrap()], b"false");
    assert_eq!(body[options.open - 1], b'{');
    assert!(!options.empty);
}

#[test]
fn reads_provider_preferences_and_says_them_as_a_constraint() {
    let envelope = with(
        r#""provider":{"order":["groq"],"only":["groq","deepinfra/turbo"],"ignore":["x"],
        "allow_fallbacks":false,"data_collection":"disallow","zdr":true,"sort":{"by":"price"},"new":1}"#,
    )
    .unwrap();
    let provider = &envelope.provider;
    assert_eq!(provider.order, [Arc::from("groq")]);
    let constraint = &provider.constraint;
    assert_eq!(constraint.only, Some(vec![Arc::from("groq"), Arc::from("deepinfra/turbo")]));
    assert_eq!(provider.ask().only, constraint.only.as_deref().unwrap());
    assert_eq!(constraint.ignore, [Arc::from("x")]);
    assert!(constraint.zdr && constraint.no_collection && constraint.no_fallbacks);
}

#[test]
fn null_means_not_set() {
    let nulls = r#""models":null,"stream":null,"stream_options":null,"provider":null,"max_tokens":null,
        "max_completion_tokens":null,"session_id":null,"user":null,"tools":null"#;
    let envelope = with(nulls).unwrap();
    let bare = chat(r#""model":"a/b""#).unwrap();
    assert_eq!(
        Envelope { members: Vec::new(), count: 0, ..envelope },
        Envelope { members: Vec::new(), count: 0, ..bare }
    );
    let nested = r#""stream_options":{"include_usage":null},"provider":{"order":null,"only":null,
        "allow_fallbacks":null,"data_collection":null,"zdr":null}"#;
    let envelope = with(nested).unwrap();
    assert_eq!(envelope.include_usage, None);
    assert_eq!(envelope.provider, ProviderPreferences::default());
    assert_eq!(names(&chat(r#""model":null,"models":["x"]"#).unwrap()), ["x"]);
}

#[test]
fn one_input_is_required_of_a_chat_only() {
    let refused = |body: &str, operation| read(body.as_bytes(), operation).err();
    assert_eq!(refused(r#"{"model":"m"}"#, Operation::Chat), Some(BodyError::Input));
    assert_eq!(
        refused(r#"{"model":"m","messages":null}"#, Operation::Chat),
        Some(BodyError::Input)
    );
    assert_eq!(refused(r#"{"model":"m","prompt":"x"}"#, Operation::Chat), None);
    let both = r#"{"model":"m","prompt":"x","messages":[]}"#;
    assert_eq!(refused(both, Operation::Chat), Some(BodyError::Input));
    assert_eq!(refused(both, Operation::Completion), None);
    for null in [
        r#"{"model":"m","prompt":null,"messages":[]}"#,
        r#"{"model":"m","messages":null,"prompt":""}"#,
    ] {
        assert_eq!(refused(null, Operation::Chat), None);
    }
    let twice = r#"{"model":"m","prompt":"x","prompt":null}"#;
    assert_eq!(refused(twice, Operation::Chat), Some(BodyError::Repeated("prompt")));
    let list = r#"{"model":"m","prompt":["x"]}"#;
    let wrong = BodyError::Type { param: "prompt", wanted: "a string" };
    assert_eq!(refused(list, Operation::Chat), Some(wrong));
    assert_eq!(refused(list, Operation::Completion), None);
    assert_eq!(refused(r#"{"model":"m"}"#, Operation::Completion), None);
    assert_eq!(refused(r#"{"model":"m"}"#, Operation::Embedding), None);
    assert_eq!(BodyError::Input.to_string(), r#"Input required: specify "prompt" or "messages""#);
}

#[test]
fn a_model_is_required_and_must_be_a_name() {
    assert_eq!(chat(r#""x":1"#), Err(BodyError::NoModel));
    assert_eq!(chat(r#""model":null,"models":[]"#), Err(BodyError::NoModel));
    let message = |name: &str| {
        chat(&format!("\"model\":{}", serde_json::Value::from(name)))
            .err()
            .map(|error| error.to_string())
    };
    for good in
        ["m", "~a/b-latest", "a/b:free:online", "Org/Model_1.5@eu", &"m".repeat(MODEL_NAME_BYTES)]
    {
        assert_eq!(message(good), None, "{good}");
    }
    assert_eq!(message("acme x").as_deref(), Some("acme x is not a valid model ID"));
    assert_eq!(message("").as_deref(), Some("\"\" is not a valid model ID"));
    assert_eq!(
        message("a\n\u{202e}b").as_deref(),
        Some("a\\u{a}\\u{202e}b is not a valid model ID")
    );
    let long = message(&"m".repeat(MODEL_NAME_BYTES + 1)).unwrap();
    assert_eq!(long, format!("{}... is not a valid model ID", "m".repeat(128)));
    assert!(message(&"\u{10ffff}".repeat(100_000)).unwrap().len() < 2_000);
    assert!(matches!(chat(r#""model":"m","models":["ok","not ok"]"#), Err(BodyError::Model(_))));
    assert!(matches!(
        chat(r#""model":"\ud800""#),
        Err(BodyError::Json(Fault { flaw: Flaw::Surrogate, .. }))
    ));
}

#[test]
fn wrong_types_name_the_field() {
    const INTEGER: &str = "an integer within ±(2^53 - 1)";
    let cases = [
        (r#""stream":1"#, "stream", "true or false"),
        (r#""stream":"true""#, "stream", "true or false"),
        (r#""stream_options":[]"#, "stream_options", "an object"),
        (
            r#""stream_options":{"include_usage":1}"#,
            "stream_options.include_usage",
            "true or false",
        ),
        (r#""models":"m""#, "models", "an array of strings"),
        (r#""models":[1]"#, "models", "an array of strings"),
        (r#""models":[null]"#, "models", "an array of strings"),
        (r#""provider":"groq""#, "provider", "an object"),
        (r#""provider":{"order":"groq"}"#, "provider.order", "an array of strings"),
        (r#""provider":{"only":[{}]}"#, "provider.only", "an array of strings"),
        (r#""provider":{"zdr":"yes"}"#, "provider.zdr", "true or false"),
        (
            r#""provider":{"data_collection":"no"}"#,
            "provider.data_collection",
            "\"allow\" or \"deny\"",
        ),
        (r#""max_tokens":"5""#, "max_tokens", INTEGER),
        (r#""max_tokens":5.0"#, "max_tokens", INTEGER),
        (r#""max_tokens":1e3"#, "max_tokens", INTEGER),
        (r#""max_tokens":9007199254740992"#, "max_tokens", INTEGER),
        (r#""max_completion_tokens":18446744073709551616"#, "max_completion_tokens", INTEGER),
        (r#""n":1.0"#, "n", INTEGER),
        (r#""best_of":1e400"#, "best_of", INTEGER),
        (r#""service_tier":1"#, "service_tier", "a string"),
        (r#""speed":[]"#, "speed", "a string"),
        (r#""prompt_cache_key":true"#, "prompt_cache_key", "a string"),
        (r#""session_id":5"#, "session_id", "a string"),
        (r#""user":{}"#, "user", "a string"),
    ];
    for (members, param, wanted) in cases {
        let refusal = with(members).unwrap_err();
        assert_eq!(refusal, BodyError::Type { param, wanted }, "{members}");
        let error = Error::from(refusal);
        assert_eq!((error.status, error.param.as_deref()), (400, Some(param)));
    }
    assert_eq!(
        chat(r#""model":["m"]"#),
        Err(BodyError::Type { param: "model", wanted: "a string" })
    );
    let wanted = "a JSON object";
    assert_eq!(read(b"[]", Operation::Chat), Err(BodyError::Type { param: "body", wanted }));
    let tokens = |number| with(&format!("\"max_tokens\":{number}")).unwrap().max_tokens;
    assert_eq!((tokens("-1"), tokens("-0"), tokens("0")), (None, Some(0), Some(0)));
    assert_eq!(tokens("9007199254740991"), Some(9_007_199_254_740_991));
}

#[test]
fn refuses_what_is_not_json_with_the_offset_and_no_content() {
    let cases: [(&[u8], &str, usize); 7] = [
        (b"secret", "syntax", 0),
        (b"\xef\xbb\xbf{\"model\":\"secret\"}", "encoding", 0),
        (b"{\"model\":\"secret\xff\"}", "encoding", 16),
        (b"{\"model\":\"secret\"}x", "trailing", 18),
        (b"{\"model\":\"secret\",}", "syntax", 18),
        (b"{\"model\":\"secret", "syntax", 16),
        (b"", "syntax", 0),
    ];
    for (body, kind, offset) in cases {
        let refusal = read(body, Operation::Chat).unwrap_err();
        assert_eq!(refusal.kind(), kind);
        assert!(
            matches!(refusal, BodyError::Json(Fault { offset: at, .. }) if at == offset),
            "{refusal:?}"
        );
        let error = Error::from(refusal);
        assert_eq!(error.status, 400);
        assert!(!error.to_string().contains("secret"));
        assert!(error.message.ends_with(&format!("at byte {offset}")), "{error}");
    }
}

#[test]
fn refuses_steering_keys_that_parsers_could_read_differently() {
    let steering = "model models stream stream_options provider max_tokens max_completion_tokens n best_of \
        route session_id prompt_cache_key service_tier speed user preset plugins usage trace debug";
    for key in steering.split_whitespace() {
        let twice = format!("\"{key}\":null,\"{key}\":null");
        assert_eq!(chat(&twice), Err(BodyError::Repeated(name(key))), "{key}");
        let escaped = format!("\"{key}\":null,\"\\u{:04x}{}\":null", key.as_bytes()[0], &key[1..]);
        assert_eq!(chat(&escaped), Err(BodyError::Repeated(name(key))), "{escaped}");
        for twin in [
            key.to_uppercase(),
            format!("{key}\\u0000x"),
            format!("{}{}", key[..1].to_uppercase(), &key[1..]),
        ] {
            assert_eq!(
                chat(&format!("\"{twin}\":null")),
                Err(BodyError::Twin(name(key))),
                "{twin}"
            );
        }
    }
    assert_eq!(chat("\"\u{17f}tream\":true"), Err(BodyError::Twin("stream")));
    assert_eq!(with(r#""provider":{"only":[],"only":["x"]}"#), Err(BodyError::Repeated("only")));
    assert_eq!(with(r#""provider":{"ZDR":true}"#), Err(BodyError::Twin("zdr")));
    let twice = r#""stream_options":{"include_usage":true,"include_us\u0061ge":false}"#;
    assert_eq!(with(twice), Err(BodyError::Repeated("include_usage")));
    assert_eq!(
        with(r#""stream_options":{"Include_Usage":true}"#),
        Err(BodyError::Twin("include_usage"))
    );
    assert_eq!(chat("\"\u{fb06}ream\":true"), Err(BodyError::Twin("stream")));
    for half in [r#""\ud800":1"#, r#""service_tier":"\ud800""#] {
        assert!(matches!(with(half), Err(BodyError::Json(Fault { flaw: Flaw::Surrogate, .. }))));
    }
}

fn name(key: &str) -> &'static str {
    keys::TOP.iter().find(|(name, _)| *name == key).unwrap().0
}

#[test]
fn the_rest_may_repeat_and_be_spelled_at_will() {
    let rest = r#""temperature":1,"temperature":2,"Temperature":3,"Messages":[],"messages":[],
        "metadata":{"model":1,"model":2,"Model":3},"tools":[],"lone":"\ud800","only":1,"only":2"#;
    let envelope = with(rest).unwrap();
    let members = envelope.members.iter().map(|member| member.key);
    assert_eq!(members.collect::<Vec<_>>(), ["model", "temperature", "temperature", "tools"]);
    assert!(envelope.tools.is_none());
}

#[test]
fn forbidden_fields_are_counted_in_any_spelling() {
    let envelope = with(r#""api_base":"http://x","API_KEY":"k","extra_headers":{}"#).unwrap();
    assert_eq!(envelope.forbidden(), 3);
    assert_eq!(with(r#""api_key":1,"Api_Key":2"#), Err(BodyError::Repeated("api_key")));
}

#[test]
fn bounds_are_held_at_the_bound_and_one_past_it() {
    let list = |field: &str, n: usize| {
        let entries: Vec<String> = (0..n).map(|i| format!("\"m{i}\"")).collect();
        format!("\"{field}\":[{}]", entries.join(","))
    };
    let refused = |param, most, unit| Err(BodyError::TooMuch { param, most, unit });
    assert_eq!(
        with(&list("models", MODELS_PER_REQUEST)).unwrap().models.len(),
        MODELS_PER_REQUEST + 1
    );
    let past = with(&list("models", MODELS_PER_REQUEST + 1));
    assert_eq!(past, refused("models", MODELS_PER_REQUEST, "entries"));

    let slugs = |n| with(&format!("\"provider\":{{{}}}", list("order", n)));
    assert_eq!(slugs(PROVIDERS_PER_LIST).unwrap().provider.order.len(), PROVIDERS_PER_LIST);
    assert_eq!(
        slugs(PROVIDERS_PER_LIST + 1),
        refused("provider.order", PROVIDERS_PER_LIST, "entries")
    );
    let slug = |n| with(&format!("\"provider\":{{\"only\":[\"{}\"]}}", "p".repeat(n)));
    assert!(slug(MODEL_NAME_BYTES).is_ok());
    assert_eq!(
        slug(MODEL_NAME_BYTES + 1),
        refused("provider.only", MODEL_NAME_BYTES, "bytes a name")
    );

    let session = |n| with(&format!("\"session_id\":\"{}\"", "é".repeat(n)));
    assert!(session(SESSION_ID_CHARS).is_ok());
    let too_long = refused("session_id", SESSION_ID_CHARS, "characters");
    assert_eq!(session(SESSION_ID_CHARS + 1), too_long);

    for field in ["messages", "other", "tools"] {
        let nested = |n| with(&format!("\"{field}\":{}{}", "[".repeat(n), "]".repeat(n)));
        assert!(nested(JSON_DEPTH - 1).is_ok());
        assert_eq!(nested(JSON_DEPTH).unwrap_err().kind(), "depth");
    }
    let inside = |n| with(&format!("\"provider\":{{\"x\":{}{}}}", "[".repeat(n), "]".repeat(n)));
    assert!(inside(JSON_DEPTH - 2).is_ok());
    assert_eq!(inside(JSON_DEPTH - 1).unwrap_err().kind(), "depth");
}

#[test]
fn hostile_sizes_take_linear_time_and_little_memory() {
    let number = format!("\"seed\":{}", "9".repeat(2_000_000));
    assert_eq!(with(&number).unwrap().members.len(), 2);
    let repeated = "\"seed\":1,".repeat(500_000) + "\"stop\":1";
    assert_eq!(with(&repeated).unwrap().members.len(), MEMBERS_KEPT);
    let keys: Vec<String> = (0..200_000).map(|i| format!("\"\\u006b{i}\":0")).collect();
    let envelope = with(&keys.join(",")).unwrap();
    assert_eq!((envelope.members.len(), envelope.count), (1, 200_002));
    assert_eq!(with(&format!("\"x\":{}", "[".repeat(100_000))).unwrap_err().kind(), "depth");
}

#[test]
fn calls_are_judged_by_tools_up_to_a_bound_and_for_one_answer() {
    let tools = |bytes: usize| format!("\"tools\":[\"{}\"]", "x".repeat(bytes - 4));
    let judged = |members: &str| with(members).unwrap().judged_by().map(|range| range.len());
    assert_eq!(judged(&tools(TOOLS_BYTES)), Some(TOOLS_BYTES));
    assert_eq!(judged(&tools(TOOLS_BYTES + 1)), None);
    assert_eq!(judged(&format!("{},\"n\":1", tools(9))), Some(9));
    assert_eq!(judged(&format!("{},\"n\":2", tools(9))), None, "calls would mix");
    assert_eq!(judged("\"tools\":[ ]"), None);
}

#[test]
fn usage_lacks_only_in_streams_that_did_not_ask() {
    let lacks = |members: &str, operation| {
        read(format!("{{\"model\":\"m\",\"prompt\":\"\"{members}}}").as_bytes(), operation)
            .unwrap()
            .lacks_usage()
    };
    assert!(lacks(r#","stream":true"#, Operation::Chat));
    assert!(lacks(
        r#","stream":true,"stream_options":{"include_usage":false}"#,
        Operation::Completion
    ));
    assert!(!lacks(r#","stream":true,"stream_options":{"include_usage":true}"#, Operation::Chat));
    assert!(!lacks("", Operation::Chat));
    assert!(!lacks(r#","stream":true"#, Operation::Embedding));
}
