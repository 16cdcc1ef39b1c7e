//! An upstream that costs next to nothing: canned answers over raw HTTP/1.1, chosen by the model's name.
//!
//! `bench-upstream LISTEN [PLACES MILLISECONDS]`. A model named `...bulk` streams 100 events at once, `...paced` 100 events
//! 10 ms apart, `...hold` one event every 250 ms until the caller leaves, `...slow` gets one JSON answer once it has had one of the places for that long, any
//! other gets it at once.
//! A usage chunk ends a stream whose request asked for it.

use memchr::memmem;
use std::error::Error;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events of a stream before `[DONE]` and the usage chunk, the finish reason's among them.
const EVENTS: usize = 100;
const SSE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// Connections that may wait to be accepted while the load has the core.
const BACKLOG: u32 = 4_096;
/// Longest a stream is held open, in events.
const HELD_EVENTS: usize = 2_400;

/// Everything that is ever sent, composed once.
struct Canned {
    whole: Vec<u8>,
    content: Vec<u8>,
    /// Finish reason, usage chunk if asked for, `[DONE]`: without and with usage.
    closing: [Vec<u8>; 2],
    /// The same as one write.
    bulk: [Vec<u8>; 2],
    /// How many slow answers are worked on at once, and how long each takes.
    places: Semaphore,
    service: Duration,
}

impl Canned {
    fn new(places: usize, service: Duration) -> Self {
        let usage = r#"{"prompt_tokens":24,"completion_tokens":99,"total_tokens":123,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}"#;
        let body = format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"small","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{usage}}}"#,
            "Lorem ipsum dolor sit amet. ".repeat(8)
        );
        let whole = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let event = |rest: &str| {
            chunk(&format!(
                "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\
                 \"created\":1700000000,\"model\":\"m\",\"choices\":{rest}}}\n\n"
            ))
        };
        let content = event(
            r#"[{"index":0,"delta":{"content":" lorem"},"logprobs":null,"finish_reason":null}]"#,
        );
        let finish = event(r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]"#);
        let usage = event(&format!(r#"[],"usage":{usage}"#));
        let done = [chunk("data: [DONE]\n\n").as_slice(), b"0\r\n\r\n"].concat();
        let closing = [[&finish[..], &done].concat(), [&finish[..], &usage, &done].concat()];
        let bulk = closing
            .each_ref()
            .map(|closing| [SSE.as_bytes(), &content.repeat(EVENTS - 1), closing].concat());
        let places = Semaphore::new(places);
        Self { whole: whole.into_bytes(), content, closing, bulk, places, service }
    }
}

/// One event in one chunk, as servers that write token by token send it.
fn chunk(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: bench-upstream LISTEN [PLACES MILLISECONDS]";
    let listen = std::env::args().nth(1).ok_or(usage)?;
    let number = |nth, default| std::env::args().nth(nth).map_or(Ok(default), |text| text.parse());
    let service = Duration::from_millis(number(3, 50)?);
    let places = usize::try_from(number(2, 16)?)?;
    let canned: &'static Canned = Box::leak(Box::new(Canned::new(places, service)));
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(listen.parse()?)?;
    let listener = socket.listen(BACKLOG)?;
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A caller that leaves is the end of a connection like any other.
            let _ = socket.set_nodelay(true);
            let _ = converse(socket, canned).await;
        });
    }
}

async fn converse(mut socket: TcpStream, canned: &Canned) -> std::io::Result<()> {
    let mut pending = Vec::with_capacity(8_192);
    loop {
        let Some(end) = request_end(&pending) else {
            if socket.read_buf(&mut pending).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let request = pending.get(..end).unwrap_or_default();
        let with_usage = memmem::find(request, b"\"include_usage\":true").is_some();
        let model = model(request);
        if model.ends_with(b"bulk") {
            let [without, with] = &canned.bulk;
            socket.write_all(if with_usage { with } else { without }).await?;
        } else if model.ends_with(b"paced") {
            pace(&mut socket, canned, (EVENTS - 1, 10), with_usage).await?;
        } else if model.ends_with(b"hold") {
            pace(&mut socket, canned, (HELD_EVENTS, 250), with_usage).await?;
        } else {
            if model.ends_with(b"slow") {
                let _place = canned.places.acquire().await.map_err(std::io::Error::other)?;
                tokio::time::sleep(canned.service).await;
            }
            socket.write_all(&canned.whole).await?;
        }
        pending.drain(..end);
    }
}

async fn pace(
    socket: &mut TcpStream,
    canned: &Canned,
    (events, every_ms): (usize, u64),
    with_usage: bool,
) -> std::io::Result<()> {
    socket.write_all(SSE.as_bytes()).await?;
    let mut clock = interval(Duration::from_millis(every_ms));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..events {
        clock.tick().await;
        socket.write_all(&canned.content).await?;
    }
    let [without, with] = &canned.closing;
    socket.write_all(if with_usage { with } else { without }).await
}

/// Where the first whole request ends, if it is there.
fn request_end(bytes: &[u8]) -> Option<usize> {
    let head = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let end = head + content_length(bytes.get(..head)?);
    (bytes.len() >= end).then_some(end)
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    let value = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
        .and_then(|line| std::str::from_utf8(line.get(NAME.len()..)?).ok());
    value.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn model(request: &[u8]) -> &[u8] {
    const KEY: &[u8] = b"\"model\":\"";
    let after = memmem::find(request, KEY).and_then(|at| request.get(at + KEY.len()..));
    after.and_then(|rest| rest.split(|byte| *byte == b'"').next()).unwrap_or_default()
}
