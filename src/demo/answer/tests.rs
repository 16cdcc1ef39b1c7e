use super::*;

fn ask(body: Value) -> Ask {
    serde_json::from_value(body).unwrap()
}

fn chat(more: Value) -> Ask {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    merge(&mut body, more);
    ask(body)
}

#[test]
fn usage_counts_exactly_the_events_of_the_stream() {
    let asked = chat(json!({"stream": true, "stream_options": {"include_usage": true}}));
    for tokens in [0, 1, 7, 500] {
        let answer = Answer::new(&asked, Operation::Chat, tokens, (1, 2, 0));
        assert_eq!(answer.events().count() as u64, tokens);
        let closing = answer.closing();
        assert_eq!(closing[0]["choices"][0]["finish_reason"], "stop");
        assert_eq!(closing[1]["choices"], json!([]));
        assert_eq!(closing[1]["usage"]["completion_tokens"], tokens);
        assert_eq!(closing[1]["usage"], answer.whole()["usage"]);
    }
}

#[test]
fn the_stream_spells_the_whole() {
    let asked = chat(json!({}));
    let answer = Answer::new(&asked, Operation::Chat, 90, (1, 2, 0));
    let spelled: String = answer
        .events()
        .map(|event| event["choices"][0]["delta"]["content"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(answer.whole()["choices"][0]["message"]["content"], spelled.as_str());
    assert!(spelled.starts_with("Lorem ipsum dolor"));
}

#[test]
fn usage_is_streamed_only_when_asked_for() {
    let asked = chat(json!({"stream": true}));
    assert_eq!(Answer::new(&asked, Operation::Chat, 3, (1, 2, 0)).closing().len(), 1);
}

#[test]
fn a_limit_cuts_and_says_so_and_an_exact_limit_does_not() {
    let finish = |limit: u64| {
        let asked = chat(json!({"max_tokens": limit}));
        let whole = Answer::new(&asked, Operation::Chat, 5, (1, 2, 0)).whole();
        (
            whole["usage"]["completion_tokens"].as_u64().unwrap(),
            whole["choices"][0]["finish_reason"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(finish(4), (4, "length".to_owned()));
    assert_eq!(finish(5), (5, "stop".to_owned()));
    assert_eq!(finish(6), (5, "stop".to_owned()));
}

#[test]
fn a_tool_call_has_arguments_of_its_schema() {
    let properties = json!({"city": {"type": "string"}, "days": {"type": "integer"},
                            "unit": {"enum": ["c", "f"]}});
    let asked = chat(json!({"tools": [{"type": "function", "function":
        {"name": "weather", "parameters": {"type": "object", "properties": properties}}}]}));
    let answer = Answer::new(&asked, Operation::Chat, 50, (1, 2, 0));
    let call = &answer.whole()["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "weather");
    let arguments: Value =
        serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"city": "lorem", "days": 1, "unit": "c"}));
    assert_eq!(answer.closing()[0]["choices"][0]["finish_reason"], "tool_calls");
    let spelled: String = answer
        .events()
        .map(|event| {
            let call = &event["choices"][0]["delta"]["tool_calls"][0];
            call["function"]["arguments"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(call["function"]["arguments"], spelled.as_str());
}

#[test]
fn completions_answer_in_text() {
    let asked = ask(json!({"model": "m", "prompt": "once"}));
    let answer = Answer::new(&asked, Operation::Completion, 2, (1, 2, 0));
    assert_eq!(answer.whole()["choices"][0]["text"], "Lorem ipsum");
    assert!(answer.opening().is_none());
}

#[test]
fn embeddings_are_the_same_packed_or_listed() {
    let listed = embeddings(&ask(json!({"model": "m", "input": ["a", "b"], "dimensions": 3})));
    let packed = embeddings(&ask(json!({"model": "m", "input": ["a", "b"], "dimensions": 3,
                                       "encoding_format": "base64"})));
    assert_ne!(listed["data"][0]["embedding"], listed["data"][1]["embedding"]);
    for at in 0..2 {
        let bytes = STANDARD.decode(packed["data"][at]["embedding"].as_str().unwrap()).unwrap();
        let numbers: Vec<f32> =
            bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(json!(numbers), listed["data"][at]["embedding"]);
    }
}
