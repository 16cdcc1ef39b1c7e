//! The contract's shape of a stream.

use super::*;

#[test]
fn openrouter_chunks_are_spliced() {
    let result = every_way(&reply(Face::OpenRouter, true), &hello());
    insta::assert_snapshot!(result.out, @r#"
data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","created":5,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null}]}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","created":5,"choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null,"native_finish_reason":null}]}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","created":5,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop","native_finish_reason":"stop"}]}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","created":5,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null,"logprobs":null}],"service_tier":"default","usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"cost":0.0000018,"is_byok":false,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0},"cost_details":{"upstream_inference_cost":null,"upstream_inference_prompt_cost":0.00000135,"upstream_inference_completions_cost":0.0000003},"completion_tokens_details":{"reasoning_tokens":0,"image_tokens":0,"audio_tokens":0}}}

data: [DONE]
"#);
}

#[test]
fn openrouter_chunks_of_every_odd_shape() {
    let odd = [
        ": OPENROUTER PROCESSING\n\n",
        "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"prompt_filter_results\":[1]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"r\",\"extra\":1},\"index\":0}],\"x_groq\":{\"id\":\"q\",\"usage\":{\"prompt_tokens\":1}}}\r\n\r\n",
        "data: { \"usage\" : null , \"choices\" : [ { } ] , \"z\" : [ 1 , { \"usage\" : 2 } ] }\n\n",
        "data: {\"choices\":[{\"finish_reason\":\"MAX_TOKENS\",\"native_finish_reason\":\"x\",\"delta\":{}},{\"finish_reason\":\"\",\"usage\":{}}]}\n\n",
        "data: {\"model\":\"up\",\ndata: \"choices\":[]}\n\n",
        "id: 3\n\n",
        "data: not json\n\n",
    ]
    .concat();
    let result = every_way(&reply(Face::OpenRouter, true), &odd);
    insta::assert_snapshot!(result.out, @r#"
data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null,"logprobs":null}],"prompt_filter_results":[1],"created":7}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","choices":[{"delta":{"role":"assistant","content":"","reasoning":"r","extra":1},"index":0,"finish_reason":null,"native_finish_reason":null}],"x_groq":{"id":"q","usage":null},"created":7}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","choices" : [ { "finish_reason":null,"native_finish_reason":null,"delta":{"role":"assistant","content":""},"index":0} ],"z" : [ 1 , { "usage" : 2 } ],"created":7}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","choices":[{"finish_reason":"length","native_finish_reason":"x","delta":{"role":"assistant","content":""},"index":0},{"finish_reason":null,"native_finish_reason":null,"usage":null,"delta":{"role":"assistant","content":""},"index":1}],"created":7}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null,"logprobs":null}],"created":7}

data: not json

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","created":7,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null,"logprobs":null}],"service_tier":"default","usage":{"prompt_tokens":1,"completion_tokens":0,"total_tokens":1,"cost":0.0000003,"is_byok":false,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0},"cost_details":{"upstream_inference_cost":null,"upstream_inference_prompt_cost":0.00000015,"upstream_inference_completions_cost":0},"completion_tokens_details":{"reasoning_tokens":0,"image_tokens":0,"audio_tokens":0}}}

data: [DONE]
"#);
    for line in result.out.lines().filter(|line| line.starts_with("data: {")) {
        serde_json::from_str::<serde_json::Value>(&line[6..]).unwrap();
    }
}

#[test]
fn an_openrouter_stream_always_ends_with_usage_and_done() {
    let undone = [delta(r#""content":"Hi""#), finish("stop")].concat();
    for body in [undone.clone(), [&*undone, DONE].concat(), [&*undone, DONE, DONE].concat()] {
        let result = every_way(&reply(Face::OpenRouter, true), &body);
        assert!(result.terminal && result.sheet.usage.is_none(), "an estimate is no report");
        assert_eq!(result.out.matches("[DONE]").count(), 1);
        let events: Vec<&str> = result.out.trim_end().split("\n\n").collect();
        let usage: serde_json::Value =
            serde_json::from_str(&events[events.len() - 2][6..]).unwrap();
        let expected = ESTIMATOR.estimate(&result.sheet.delivered, 100, Operation::Chat);
        assert_eq!(usage["usage"]["completion_tokens"], expected.completion());
        assert_eq!(usage["usage"]["prompt_tokens"], expected.prompt());
    }
    let cut = every_way(&reply(Face::OpenRouter, true), &delta(r#""content":"Hi""#));
    assert!(!cut.terminal && !cut.out.contains("[DONE]") && !cut.out.contains("usage"));
}

#[test]
fn an_event_without_data_is_for_nobody_on_api_v1() {
    let body = format!(
        "data\n\ndata: \n\n{}data:\n\n",
        chunk(r#""choices":[{"index":0,"delta":{"content":"a"}}]"#)
    );
    let result = every_way(&reply(Face::OpenRouter, true), &body);
    assert_eq!(
        (result.out.matches("data:").count(), result.sheet.unreadable),
        (1, false),
        "{}",
        result.out
    );
    assert_eq!(every_way(&reply(Face::Faithful, true), &body).out, body);
}
