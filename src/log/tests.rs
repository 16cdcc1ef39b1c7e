use super::*;
use crate::bounds::{LOG_LINE_BYTES, LOG_LINES};
use crate::metrics::Ending;
use crate::request::route::{Face, Operation};
use parking_lot::Mutex;
use std::io::{self, Write};
use tracing::subscriber::with_default;

/// A sink that can be stuck.
#[derive(Clone, Default)]
struct Sink {
    written: Arc<Mutex<Vec<u8>>>,
    gate: Arc<Mutex<()>>,
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.written.lock().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _open = self.gate.lock();
        self.written.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: Format, filter: &str, act: impl FnOnce()) -> String {
    let sink = Sink::default();
    let queue = Arc::new(Queue::start(sink.clone()).unwrap());
    with_default(subscriber(format, EnvFilter::new(filter), Arc::clone(&queue)), act);
    queue.flush();
    sink.text()
}

fn access() -> Access {
    Access {
        generation: "gen-1".into(),
        workspace: "default".into(),
        key: "laptop".into(),
        face: Face::Faithful,
        operation: Operation::Chat,
        streamed: true,
        model: Some("acme/small".into()),
        provider: Some("north".into()),
        attempts: 2,
        status: 200,
        ending: Ending::Ok,
        tokens: (22, 8),
        charge: 4_500_000,
        first_token_ms: None,
        duration_ms: 1_200,
    }
}

#[test]
fn an_access_line_has_the_listed_fields_and_no_other() {
    let line = logged(Format::Json, "info", || access().emit());
    let value: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    let fields: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "attempts completion_tokens cost duration_ms face generation key level model \
        operation outcome prompt_tokens provider status streamed target timestamp workspace";
    assert_eq!(fields.join(" "), expected);
    assert_eq!((&value["face"], &value["outcome"]), (&"faithful".into(), &"ok".into()));
    assert_eq!(value["cost"], "0.0000045");
}

#[test]
fn text_says_the_same_on_one_line() {
    let mut line = access();
    line.first_token_ms = Some(90);
    let text = logged(Format::Text, "info", || line.emit());
    assert_eq!(text.lines().count(), 1);
    for part in [" access: ", "generation=\"gen-1\"", "attempts=2", "first_token_ms=90"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn control_characters_neither_end_a_line_nor_move_a_cursor() {
    let hostile = "a\u{1b}[2Jb\r\nc\0d\u{7f}e\u{9b}f\u{2028}";
    for format in [Format::Text, Format::Json] {
        let text = logged(format, "info", || tracing::warn!("{hostile}"));
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(char::is_control), "{line:?}");
        if format == Format::Json {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(value["message"].as_str().unwrap().starts_with('a'));
        }
    }
    assert_eq!(escaped("a\nb\n"), "a\\u000ab\n");
    assert!(matches!(escaped("plain é\n"), Cow::Borrowed(_)));
}

#[test]
fn the_filter_is_obeyed() {
    let act = || {
        tracing::info!(target: "pingora_core::server", "quiet");
        tracing::warn!(target: "pingora_core::server", "loud");
        tracing::info!("ours");
    };
    let text = logged(Format::Text, DEFAULT_FILTER, act);
    assert!(text.contains("loud") && text.contains("ours") && !text.contains("quiet"));
}

#[test]
fn a_stuck_sink_blocks_nobody_and_what_was_dropped_is_told() {
    let sink = Sink::default();
    let queue = Queue::start(sink.clone()).unwrap();
    let stuck = sink.gate.lock();
    let sent = 3 * LOG_LINES;
    for n in 0..sent {
        queue.push(&format!("line {n}\n"));
    }
    drop(stuck);
    queue.flush();
    queue.push("after\n");
    queue.flush();
    let text = sink.text();
    let written = text.lines().filter(|line| line.starts_with("line ")).count();
    let told: usize = text
        .lines()
        .filter_map(|line| line.strip_suffix(" log lines were dropped")?.parse::<usize>().ok())
        .sum();
    assert!(told > 0 && written >= LOG_LINES, "{told} {written}");
    assert_eq!(written + told, sent);
    assert!(text.contains("after\n"));
}

#[test]
fn a_line_is_cut_past_its_bound() {
    for (length, kept) in
        [(LOG_LINE_BYTES - 1, LOG_LINE_BYTES), (LOG_LINE_BYTES, LOG_LINE_BYTES + 1)]
    {
        let sink = Sink::default();
        let queue = Queue::start(sink.clone()).unwrap();
        queue.push(&format!("{}\n", "x".repeat(length)));
        queue.flush();
        assert_eq!(sink.text().len(), kept);
        queue.push(&format!("{}\n", "é".repeat(LOG_LINE_BYTES)));
        queue.flush();
        assert!(sink.text().ends_with("é\n") && sink.text().len() <= kept + LOG_LINE_BYTES + 1);
    }
}

#[test]
fn a_flush_waits_for_every_line_and_not_for_a_stuck_sink() {
    let sink = Sink::default();
    let queue = Arc::new(Queue::start(sink.clone()).unwrap());
    queue.push("last words\n");
    drop(Log(Arc::clone(&queue)));
    assert_eq!(sink.text(), "last words\n");
    let _stuck = sink.gate.lock();
    for _ in 0..3 * LOG_LINES {
        queue.push("x\n");
    }
    let begun = std::time::Instant::now();
    queue.flush();
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}

/// The only test that sets the subscriber of the whole process.
#[test]
fn records_of_pingora_arrive_under_their_own_target() {
    let sink = Sink::default();
    let queue = Arc::new(Queue::start(sink.clone()).unwrap());
    subscriber(Format::Json, EnvFilter::new(DEFAULT_FILTER), Arc::clone(&queue))
        .try_init()
        .unwrap();
    ::log::warn!(target: "pingora_proxy", "an upstream\u{1b}[31m failed");
    ::log::info!(target: "pingora_proxy", "chatter");
    queue.flush();
    let text = sink.text();
    let line = text.lines().find(|line| line.contains("an upstream")).unwrap();
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&value["level"], &value["target"]), (&"WARN".into(), &"pingora_proxy".into()));
    assert!(!text.contains("chatter") && !line.contains('\u{1b}'));
}
