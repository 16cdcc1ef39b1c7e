//! Streams made by chance: replies whose numbers are known, written in every way the standard allows
//! (WHATWG HTML, section 9.2.6) and in some that it does not.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use weir::request::route::Operation;

/// A stream and what it must come to.
pub(crate) struct Made {
    pub(crate) operation: Operation,
    pub(crate) bytes: Vec<u8>,
    /// Prompt and completion tokens reported.
    pub(crate) usage: Option<(u64, u64)>,
    /// ASCII letters of content.
    pub(crate) letters: u64,
}

/// Texts of content as they stand in JSON, and how many ASCII letters they are.
const TEXTS: [(&str, u64); 12] = [
    ("a", 1),
    (" word", 4),
    ("é日😀", 0),
    (r#"q\"uote\\"#, 5),
    (r"\u0041\u00e9\ud83d\ude00", 1),
    ("data: x", 5),
    (r"\n\ndata: [DONE]\n\n", 8),
    ("}}]}", 0),
    ("\u{2028}\u{feff}\u{85}", 0),
    ("[DONE]", 4),
    (r#"\"usage\":{\"prompt_tokens\":9}"#, 17),
    ("0123456789 0123456789 0123456789", 0),
];
const COMMENTS: [&[u8]; 6] = [
    b":",
    b": keep-alive",
    b": data: {}",
    b":\xff\xfe\0",
    b": OPENROUTER PROCESSING",
    b"::: \xe2\x80",
];
const FIELDS: [&[u8]; 8] = [
    b"id: 1",
    b"id",
    b"retry: 10",
    b"retry:x",
    b"event: message",
    b"event:",
    b"id: \0",
    b"retry: 1\xc3",
];
const ENDS: [&str; 3] = ["\n", "\r\n", "\r"];

/// A stream from these dice.
pub(crate) fn make(random: &mut StdRng) -> Made {
    let chat = random.random_bool(0.8);
    let operation = if chat { Operation::Chat } else { Operation::Completion };
    let (mut events, mut letters) = (Vec::new(), 0);
    if chat && random.random_bool(0.7) {
        events.push(event(r#""delta":{"role":"assistant","content":""}"#, "null", "", random));
    }
    for _ in 0..random.random_range(1..5) {
        let (text, count) = TEXTS.choose(random).unwrap_or(&TEXTS[0]);
        let places: &[&str] = if chat { &["content", "reasoning_content", "refusal"] } else { &[] };
        let body = places.choose(random).map_or_else(
            || format!(r#""text":"{text}""#),
            |place| format!(r#""delta":{{"{place}":"{text}"}}"#),
        );
        letters += count;
        events.push(event(&body, "null", "", random));
    }
    let usage =
        random.random_bool(0.85).then(|| (random.random_range(1..900), random.random_range(1..90)));
    let place = random.random_range(0..5);
    let report = |(input, output): (u64, u64)| {
        format!(
            r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}"#,
            input + output
        )
    };
    let beside = usage.map(|usage| match place {
        0 => format!(r#","usage":{}"#, report(usage)),
        1 => format!(r#","x_groq":{{"id":"r","usage":{}}}"#, report(usage)),
        _ => r#","usage":null"#.to_owned(),
    });
    let empty = if chat { r#""delta":{}"# } else { r#""text":"""# };
    events.push(event(empty, r#""stop""#, &beside.unwrap_or_default(), random));
    if let Some(usage) = usage.filter(|_| place > 1) {
        events.push(format!(r#"{{"id":"c","choices":[],"usage":{}}}"#, report(usage)));
        if place == 4 {
            events.push(format!(r#"{{"usage":{},"choices":[]}}"#, report(usage)));
        }
    }
    if random.random_bool(0.8) {
        events.push("[DONE]".to_owned());
    }
    Made { operation, bytes: dress(&events, random), usage, letters }
}

fn event(body: &str, finish: &str, more: &str, random: &mut StdRng) -> String {
    let padding = if random.random_bool(0.3) { r#","obfuscation":"xyz""# } else { "" };
    format!(
        r#"{{"id":"c","created":7,"model":"m","choices":[{{"index":0,{body},"finish_reason":{finish}}}]{more}{padding}}}"#
    )
}

/// The events as a stream, in one of the many ways to write it.
fn dress(events: &[String], random: &mut StdRng) -> Vec<u8> {
    let mut out = if random.random_bool(0.2) { "\u{feff}".into() } else { Vec::new() };
    let one = ENDS.choose(random).copied().filter(|_| random.random_bool(0.6));
    for (index, event) in events.iter().enumerate() {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        for data in split(event, random) {
            if random.random_bool(0.15) {
                lines.push(COMMENTS.choose(random).map(|line| line.to_vec()).unwrap_or_default());
            }
            if random.random_bool(0.15) {
                lines.push(FIELDS.choose(random).map(|line| line.to_vec()).unwrap_or_default());
            }
            let space = ["data: ", "data:", "data: "].choose(random).copied().unwrap_or("data:");
            lines.push([space.as_bytes(), data.as_bytes()].concat());
        }
        if random.random_bool(0.1) {
            let long = random.random_range(0..300);
            lines.insert(0, [b":".as_slice(), &vec![b'-'; long]].concat());
        }
        // A stream may break off behind its last line.
        let ended = index + 1 < events.len() || random.random_bool(0.9);
        let blanks = usize::from(ended) + usize::from(random.random_bool(0.05));
        lines.extend(std::iter::repeat_n(Vec::new(), blanks));
        for line in lines {
            write_line(&mut out, &line, one, random);
        }
    }
    out
}

/// A CR and then a LF are one line end: an empty line after a CR must not end with LF alone.
fn write_line(out: &mut Vec<u8>, line: &[u8], end: Option<&str>, random: &mut StdRng) {
    let after_cr = line.is_empty() && out.ends_with(b"\r");
    let choices = if after_cr { &ENDS[2..] } else { &ENDS[..] };
    let end = end.filter(|end| !(after_cr && end.starts_with('\n')));
    let end = end.or_else(|| choices.choose(random).copied()).unwrap_or("\r");
    out.extend_from_slice(line);
    out.extend_from_slice(end.as_bytes());
}

/// The event's JSON over several `data` lines, at commas outside strings.
fn split<'a>(event: &'a str, random: &mut StdRng) -> Vec<&'a str> {
    let (mut parts, mut from, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    let wanted = random.random_bool(0.2);
    for (at, byte) in event.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b',' if wanted && !quoted && random.random_bool(0.3) => {
                parts.push(&event[from..=at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&event[from..]);
    parts
}
