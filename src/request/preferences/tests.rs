use super::*;
use crate::catalog::Tier;
use crate::request::envelope::{Envelope, read};
use crate::request::route::Operation;
use crate::selection::Service;

fn with(members: &str) -> Result<Envelope, BodyError> {
    let body = format!("{{\"messages\":[],\"model\":\"a/b\",{members}}}");
    read(body.as_bytes(), Operation::Chat)
}

fn provider(members: &str) -> Result<ProviderPreferences, BodyError> {
    with(&format!("\"provider\":{{{members}}}")).map(|envelope| envelope.provider)
}

#[test]
fn reads_every_provider_field() {
    let read = provider(
        r#""quantizations":["fp8","BF16"],"require_parameters":true,"enforce_distillable_text":true,
        "sort":{"by":"latency","partition":"none"},
        "preferred_min_throughput":{"p50":40.5,"p99":7,"new":1},"preferred_max_latency":1.25,
        "max_price":{"prompt":"0.5","completion":2,"request":1e-2,"image":"1","audio":0,"new":[]},
        "options":{"groq":{"x":[1]},"openai":null}"#,
    )
    .unwrap();
    let constraint = &read.constraint;
    assert_eq!(constraint.quantizations, Some(vec!["fp8".into(), "BF16".into()]));
    assert!(constraint.require_parameters && constraint.distillable && read.across_models);
    assert_eq!(read.sort, Some(Sort::Latency));
    assert_eq!(read.min_throughput, [Some(405), None, None, Some(70)]);
    assert_eq!(read.max_latency, [Some(1_250), None, None, None]);
    let mut ceiling = PriceCeiling::default();
    for (place, pico) in [0, 2_000_000, 1_000_000, 500_000, 10_000_000_000].into_iter().enumerate()
    {
        ceiling.lower(place, pico);
    }
    assert_eq!((constraint.max_price, read.ask().sort), (ceiling, Some(Sort::Latency)));
    assert_eq!(read.options.len(), 1, "null is not set");
}

#[test]
fn options_pass_only_what_weir_does_not_know() {
    let body = r#"{"model":"a/b","messages":[],"provider":{"options":{"groq":{ "x" : [1],
        "model":"evil","api_base":"http://x","API_KEY":"k","stream":true,"temperature":2,"y":{}},"o":{}}}}"#;
    let envelope = read(body.as_bytes(), Operation::Chat).unwrap();
    let [(groq, members), (other, none)] = &*envelope.provider.options else { panic!("two") };
    assert_eq!((&**groq, &**other, none.len()), ("groq", "o", 0));
    let texts: Vec<_> = members.iter().map(|range| &body[range.clone()]).collect();
    assert_eq!(texts, [r#""x" : [1]"#, r#""y":{}"#]);
}

#[test]
fn sorts_are_words_or_objects() {
    for (word, sort) in Sort::ALL {
        for form in [format!("\"sort\":\"{word}\""), format!("\"sort\":{{\"by\":\"{word}\"}}")] {
            let read = provider(&form).unwrap();
            assert_eq!((read.sort, read.across_models), (Some(sort), false), "{form}");
        }
    }
    let plain = provider(r#""sort":{"by":null,"partition":"model"}"#).unwrap();
    assert_eq!((plain.sort, plain.across_models), (None, false));
}

#[test]
fn provider_fields_of_a_wrong_type_are_named() {
    let cases = [
        (r#""sort":"cheapest""#, "provider.sort"),
        (r#""sort":["price"]"#, "provider.sort"),
        (r#""sort":{"by":"cheapest"}"#, "provider.sort.by"),
        (r#""sort":{"by":"price","partition":"all"}"#, "provider.sort.partition"),
        (r#""quantizations":"fp8""#, "provider.quantizations"),
        (r#""require_parameters":1"#, "provider.require_parameters"),
        (r#""enforce_distillable_text":"yes""#, "provider.enforce_distillable_text"),
        (r#""preferred_min_throughput":"fast""#, "provider.preferred_min_throughput"),
        (r#""preferred_min_throughput":-1"#, "provider.preferred_min_throughput"),
        (r#""preferred_min_throughput":{"p50":true}"#, "provider.preferred_min_throughput"),
        (r#""preferred_max_latency":[1]"#, "provider.preferred_max_latency"),
        (r#""max_price":1"#, "provider.max_price"),
        (r#""max_price":{"prompt":-1}"#, "provider.max_price"),
        (r#""max_price":{"prompt":"a lot"}"#, "provider.max_price"),
        (r#""max_price":{"request":[]}"#, "provider.max_price"),
        (r#""options":[]"#, "provider.options"),
        (r#""options":{"groq":1}"#, "provider.options"),
        (r#""options":{"groq":{},"Groq":{}}"#, "provider.options"),
    ];
    for (members, param) in cases {
        assert_eq!(provider(members).unwrap_err().param(), Some(param), "{members}");
    }
    let nulls = r#""sort":null,"preferred_min_throughput":null,"preferred_max_latency":{"p50":null},
        "max_price":{"prompt":null},"options":null,"quantizations":null,"require_parameters":null"#;
    assert_eq!(provider(nulls).unwrap(), ProviderPreferences::default());
    assert_eq!(provider(nulls).unwrap().ask().order, Ask::default().order);
    let far = r#""preferred_min_throughput":1e99,"preferred_max_latency":1e-9"#;
    let far = provider(far).unwrap();
    assert_eq!((far.min_throughput[0], far.max_latency[0]), (Some(u32::MAX), Some(0)));
}

#[test]
fn nested_provider_fields_that_parsers_could_read_differently_are_refused() {
    for (members, error) in [
        (r#""sort":{"by":"price","by":"latency"}"#, BodyError::Repeated("by")),
        (r#""sort":{"By":"price"}"#, BodyError::Twin("by")),
        (r#""max_price":{"prompt":1,"prompt":2}"#, BodyError::Repeated("prompt")),
        (r#""preferred_max_latency":{"P50":1}"#, BodyError::Twin("p50")),
    ] {
        assert_eq!(provider(members), Err(error), "{members}");
    }
}

#[test]
fn service_tiers_and_speed_are_words_of_the_contract() {
    for (word, service) in Service::WORDS {
        let envelope = with(&format!("\"service_tier\":\"{word}\"")).unwrap();
        assert_eq!(envelope.service, service, "{word}");
    }
    let service = |members| with(members).map(|envelope| envelope.service);
    assert_eq!(service(r#""speed":"fast""#), Ok(Service::Tier(Tier::Priority)));
    assert_eq!(service(r#""speed":"standard""#), Ok(Service::Unsaid));
    assert_eq!(service(r#""service_tier":"flex","speed":"fast""#), Ok(Service::Tier(Tier::Flex)));
    assert_eq!(
        service(r#""service_tier":"auto","speed":"fast""#),
        Ok(Service::Tier(Tier::Priority))
    );
    assert_eq!(service(r#""service_tier":"on_demand","speed":"slow""#), Ok(Service::Unsaid));
    assert_eq!(service(r#""service_tier":1"#).unwrap_err().param(), Some("service_tier"));
    assert_eq!(service(r#""speed":true"#).unwrap_err().param(), Some("speed"));
}

#[test]
fn needs_are_what_is_given() {
    let body = r#"{"model":"a/b","tools":[{}],"tool_choice":"auto","temperature":0,"top_p":null,
        "max_tokens":7,"modalities":["text","image"],"reasoning_effort":"low","user":"u",
        "messages":[{"role":"system","content":"be"},"odd",{"role":"user","content":[
            {"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:AAAA"}},
            {"image_url":"x","type":"file"},7,{"type":"unheard"}]},{"content":null,"role":"assistant"}]}"#;
    let envelope = read(body.as_bytes(), Operation::Chat).unwrap();
    let needs = envelope.needs(body.len());
    let names: Vec<_> = needs.parameters.names().collect();
    let given = [
        "include_reasoning",
        "max_completion_tokens",
        "modalities",
        "temperature",
        "tool_choice",
        "tools",
    ];
    assert_eq!(names, given);
    assert_eq!(needs.input.names().collect::<Vec<_>>(), ["image", "file"]);
    assert_eq!(needs.output.names().collect::<Vec<_>>(), ["text", "image"]);
    assert_eq!(needs.output_tokens, Some(7));
    assert!(needs.tools && needs.likely_tokens > 0 && needs.likely_tokens < 100);
    let part = |range: &Option<Range<usize>>| body[range.clone().unwrap()].to_owned();
    assert_eq!(part(&envelope.conversation.system), r#"{"role":"system","content":"be"}"#);
    assert!(part(&envelope.conversation.opening).starts_with(r#"{"role":"user""#));
    let other = envelope.conversation.other_bytes;
    assert!(other > 60 && other < 110, "{other}");

    let none = with(r#""tools":[],"prompt_cache_key":"k","preset":"p""#).unwrap();
    assert!(none.needs(10).parameters.is_empty());
    assert_eq!(none.prompt_cache_key.as_deref(), Some("k"));
    assert_eq!(none.preset.as_deref(), Some("p"));
}

#[test]
fn a_preset_stands_in_for_a_model() {
    let body = br#"{"preset":"cheap","messages":[]}"#;
    assert_eq!(read(body, Operation::Chat).unwrap().models, [Arc::from("@preset/cheap")]);
    assert!(read(br#"{"preset":"a b","messages":[]}"#, Operation::Chat).is_err());
}
