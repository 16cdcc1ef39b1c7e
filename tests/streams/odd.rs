//! Streams nobody should send and somebody will: framing, encoding, JSON and reports, one oddity each.

const ROLE: &str =
    r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
const WORD: &str = r#"{"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}"#;
const STOP: &str = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

/// Bytes around and between four plain events.
const FRAMINGS: [[&[u8]; 3]; 24] = [
    // What begins the stream, what begins each event's line, what ends each event.
    [b"", b"data: ", b"\n\n"],
    [b"", b"data:", b"\r\n\r\n"],
    [b"", b"data:", b"\r\r"],
    [b"", b"data: ", b"\r\n\n"],
    [b"", b"data: ", b"\n\r\n"],
    [b"", b"data: ", b"\n\r"],
    [b"", b"data: ", b"\r\r\n"],
    [b"", b"data: ", b"\n\n\n\n"],
    [b"\xef\xbb\xbf", b"data: ", b"\n\n"],
    [b"\xef\xbb\xbf\n", b"data: ", b"\n\n"],
    [b"\xef\xbb\xbf\xef\xbb\xbf", b"data: ", b"\n\n"],
    [b"\n\r\n\r\r", b"data: ", b"\n\n"],
    [b"", b"data:  \t", b"\n\n"],
    [b"", b"data: ", b" \t\n\n"],
    [b"", b"data: \r\ndata: ", b"\r\n\r\n"],
    [b"", b"data\ndata: ", b"\n\n"],
    [b"", b": c\n: d\ndata: ", b"\n: e\n\n"],
    [b"", b"event: message\nid: 1\nretry: 5\ndata: ", b"\n\n"],
    [b"", b"event: error\nevent: message\ndata: ", b"\n\n"],
    [b"", b"foo: bar\ndata: ", b"\nbaz\n\n"],
    [b"", b":\0\xff\xc3\ndata: ", b"\n\0\n\n"],
    [b"", b"Data: {}\nDATA: {}\ndata : {}\n data: {}\ndata: ", b"\n\n"],
    [b"<html>\r\n\r\n", b"data: ", b"\n\n"],
    [b"{\"error\":\"x\"}\n\n", b"data: ", b"\n\n"],
];

/// Events put between the word and the end of a plain stream, each as it stands.
const BETWEEN: [&[u8]; 44] = [
    b"data: \n\n",
    b"data\n\n",
    b"data: {\n\n",
    b"data: }\n\n",
    b"data: null\n\n",
    b"data: []\n\n",
    b"data: {}\n\n",
    b"data: \"x\"\n\n",
    b"data: [DONE]\n\n",
    b"data:[DONE]\r\r",
    b"data:  [DONE] \n\n",
    b"data: [DONE\n\n",
    b"data: [DONE]\n\ndata: [DONE]\n\n",
    b"event: done\ndata: [DONE]\n\n",
    b"event: error\ndata: {}\n\n",
    b"event: error\ndata: it broke\n\n",
    b"event: error\n\n",
    b"data: {\"error\":null}\n\n",
    b"data: {\"error\":{\"message\":\"slow\",\"code\":429}}\n\n",
    b"data: {\"error\":{\"message\":\"slow\",\"code\":\"x\"},\"choices\":[]}\n\n",
    b"data: {\"error\":{\"code\":500},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n",
    b"event: error\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n",
    b"data: {\"object\":\"error\",\"message\":\"m\",\"code\":500}\n\n",
    b"data: {\"error\":{\"message\":\"\xff\xfe\"}}\n\n",
    b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}\n\n",
    b"data: {\"choices\":[{\"delta\":{\"content\":\"\xf0\x9f\x98\x80\xf0\x9f\"}}]}\n\n",
    b"data: {\"choices\":[{\"delta\":{\"content\":\"\\ud83d\"}}]}\n\n",
    b"data: {\"choices\":[{\"delta\":{\"content\":\"\0\x01\"}}]}\n\n",
    b"data: {\"choices\":[{\"delta\":{\"content\":\"cut\n\n",
    b"data: {\"choices\":[{\"delta\":{\"content\":\ndata: \"two lines\"}}]}\n\n",
    b"data: {\"choices\":[{\"delta\":null,\"index\":1},{\"index\":0,\"delta\":{\"content\":\"z\"}}]}\n\n",
    b"data: {\"choices\":[null,1,\"x\",[]]}\n\n",
    b"data: {\"choices\":{}}\n\n",
    b"data: {\"usage\":null,\"choices\":[]}\n\n",
    b"data: {\"usage\":{},\"choices\":[]}\n\n",
    b"data: {\"usage\":7,\"choices\":[]}\n\n",
    b"data: {\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":2}}\n\n",
    b"data: {\"usage\":{\"prompt_tokens\":1e18,\"completion_tokens\":2}}\n\n",
    b"data: {\"usage\":{\"prompt_tokens\":\"3\",\"completion_tokens\":2}}\n\n",
    b"data: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":9,\"total_tokens\":1}}\n\n",
    b"data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n",
    b"data: {\"us\\u0061ge\":{\"prompt_tokens\":4,\"completion_tokens\":4}}\n\n",
    b"data: {\"x_groq\":{\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":4}}}\n\n",
    b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":4}}]}\n\n",
];

/// Each of them once.
pub(crate) fn streams() -> Vec<Vec<u8>> {
    let framed = FRAMINGS.iter().map(|[begin, before, after]| {
        let mut out = begin.to_vec();
        for event in [ROLE, WORD, STOP, USAGE, "[DONE]"] {
            out.extend_from_slice(&[before, event.as_bytes(), after].concat());
        }
        out
    });
    let event = |json: &str| format!("data: {json}\n\n").into_bytes();
    let around = BETWEEN.iter().flat_map(|between| {
        let rest = [event(STOP), event(USAGE), event("[DONE]")].concat();
        let late = [&event(ROLE), &event(WORD), *between, &rest].concat();
        // The same before any content, and at the very end.
        [late, [*between, &event(WORD), &rest].concat(), [&event(WORD), *between].concat()]
    });
    framed.chain(around).chain([Vec::new(), b"\n".to_vec(), b"\xef\xbb".to_vec()]).collect()
}
