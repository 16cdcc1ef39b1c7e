//! Closed-loop load: every connection sends its next request when the last answer has ended properly.
//!
//! `bench-load ADDRESS PATH KEY MODE CONNECTIONS SECONDS [RATE]`; modes `small`, `slow`, `bulk`,
//! `inject`, `paced`, `hold`. With a rate the loop is open (see [`open`]), for `small` and `slow`. Prints one JSON object. An answer that is not a whole 200, or a stream without all its events
//! and `[DONE]`, is an error: a proxy that breaks answers cannot look fast.

mod open;

use memchr::memmem;
use std::cell::RefCell;
use std::error::Error;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Content and finish events every stream carries, whoever asked for usage.
const EVENTS: usize = 100;
const EVENT: &[u8] = b"data: {";
const USAGE: &[u8] = b"\"usage\":{";
/// Latencies kept.
const SAMPLES: usize = 4_000_000;

#[derive(Default)]
struct Tally {
    requests: u64,
    events: u64,
    errors: u64,
    first_error: Option<String>,
    latencies_us: Vec<u32>,
}

impl Tally {
    fn count(&mut self, events: u64, started: Instant) {
        self.requests += 1;
        self.events += events;
        if self.latencies_us.len() < SAMPLES {
            let latency = u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX);
            self.latencies_us.push(latency);
        }
    }

    fn fail(&mut self, error: &str) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_owned());
    }
}

struct Plan {
    address: String,
    request: Vec<u8>,
    streamed: bool,
    held: bool,
    until: Instant,
}

impl Plan {
    fn new(arguments: &[String]) -> Option<(Self, u64)> {
        let [address, path, key, mode, connections, seconds] = arguments else { return None };
        let (model, more) = match mode.as_str() {
            "small" | "slow" => (mode.as_str(), ""),
            "inject" => ("bulk", r#","stream":true"#),
            "bulk" | "paced" | "hold" => {
                (mode.as_str(), r#","stream":true,"stream_options":{"include_usage":true}"#)
            }
            _ => return None,
        };
        let body = format!(
            r#"{{"model":"bench/{model}","messages":[{{"role":"system","content":"You are terse."}},{{"role":"user","content":"{}"}}],"temperature":0.2{more}}}"#,
            "What does a weir do? ".repeat(8)
        );
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\naccept: */*\r\nuser-agent: bench\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let plan = Self {
            address: address.clone(),
            request: request.into_bytes(),
            streamed: !more.is_empty(),
            held: mode == "hold",
            until: Instant::now() + Duration::from_secs_f64(seconds.parse().ok()?),
        };
        Some((plan, connections.parse().ok()?))
    }
}

/// One answer as far as it has come.
#[derive(Default)]
struct Answer {
    bytes: Vec<u8>,
    /// Where the body begins, its length if announced, and how far its chunks have been read.
    head: Option<(usize, Option<usize>)>,
    at: usize,
    /// A stream's body without its chunks' frames, which may cut an event anywhere.
    body: Vec<u8>,
}

impl Answer {
    /// Reads on after more bytes have come; whether the answer has ended.
    fn advance(&mut self) -> Result<bool, String> {
        let (start, length) = match self.head {
            Some(head) => head,
            None => match self.read_head()? {
                Some(head) => head,
                None => return Ok(false),
            },
        };
        match length {
            Some(length) => Ok(self.bytes.len() >= start + length),
            None => self.read_chunks(),
        }
    }

    fn read_head(&mut self) -> Result<Option<(usize, Option<usize>)>, String> {
        let Some(end) = memmem::find(&self.bytes, b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(self.bytes.get(..end).unwrap_or_default());
        if !head.starts_with("HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&self.bytes).into_owned());
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|text| text.trim().parse().ok());
        if length.is_none() && !head.contains("transfer-encoding: chunked") {
            return Err(format!("neither length nor chunks: {head}"));
        }
        self.at = end + 4;
        self.head = Some((self.at, length));
        Ok(self.head)
    }

    fn read_chunks(&mut self) -> Result<bool, String> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(line) = memmem::find(rest, b"\r\n") else { return Ok(false) };
            let size = std::str::from_utf8(rest.get(..line).unwrap_or_default()).ok();
            let size = size.and_then(|text| usize::from_str_radix(text, 16).ok());
            let size = size.ok_or("bad chunk size")?;
            let Some(chunk) = rest.get(line + 2..line + 4 + size) else { return Ok(false) };
            if size == 0 {
                return Ok(true);
            }
            self.body.extend_from_slice(chunk.get(..size).unwrap_or_default());
            self.at += line + 4 + size;
        }
    }

    /// Events of an answer that has ended, or what is wrong with it.
    fn judge(&self, streamed: bool) -> Result<u64, &'static str> {
        if !streamed {
            let whole = self.bytes.ends_with(b"}") && memmem::find(&self.bytes, USAGE).is_some();
            return if whole { Ok(0) } else { Err("no usage or no end") };
        }
        let events = memmem::find_iter(&self.body, EVENT).count();
        if !self.body.ends_with(b"data: [DONE]\n\n") {
            Err("no [DONE]")
        } else if events < EVENTS || memmem::find(&self.body, b"\"error\":{").is_some() {
            Err("events are missing")
        } else {
            Ok(events as u64)
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.body.clear();
        self.head = None;
    }
}

async fn exchange(
    socket: &mut TcpStream,
    plan: &Plan,
    answer: &mut Answer,
    tally: &RefCell<Tally>,
) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    answer.clear();
    socket.write_all(&plan.request).await?;
    while !answer.advance()? {
        if plan.held && Instant::now() > plan.until {
            let events = memmem::find_iter(&answer.body, EVENT).count() as u64;
            tally.borrow_mut().count(events, started);
            return if events > 0 { Ok(()) } else { Err("a held stream was silent".into()) };
        }
        if socket.read_buf(&mut answer.bytes).await? == 0 {
            return Err("closed before the end".into());
        }
    }
    let events = answer
        .judge(plan.streamed)
        .map_err(|fault| format!("{fault}: {}", String::from_utf8_lossy(&answer.bytes)))?;
    tally.borrow_mut().count(events, started);
    Ok(())
}

async fn connection(plan: Rc<Plan>, tally: Rc<RefCell<Tally>>, delay: Duration) {
    tokio::time::sleep(delay).await;
    let mut answer = Answer::default();
    let mut socket = None;
    while Instant::now() < plan.until {
        let result = match &mut socket {
            Some(open) => exchange(open, &plan, &mut answer, &tally).await,
            None => TcpStream::connect(&plan.address)
                .await
                .and_then(|open| open.set_nodelay(true).map(|()| socket = Some(open)))
                .map_err(Into::into),
        };
        if let Err(error) = result {
            socket = None;
            tally.borrow_mut().fail(&error.to_string());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let rate = if arguments.len() == 7 { arguments.pop() } else { None };
    let (plan, connections) = Plan::new(&arguments).ok_or(
        "usage: bench-load ADDRESS PATH KEY small|slow|bulk|inject|paced|hold CONNECTIONS SECONDS \
         [RATE]",
    )?;
    if let Some(rate) = rate {
        let offer = open::Offer {
            address: plan.address,
            request: plan.request,
            rate: rate.parse()?,
            connections: usize::try_from(connections)?,
            time: plan.until.saturating_duration_since(Instant::now()),
        };
        let report = LocalSet::new().run_until(open::run(offer)).await;
        writeln!(io::stdout(), "{report}")?;
        return Ok(());
    }
    let (plan, tally) = (Rc::new(plan), Rc::new(RefCell::new(Tally::default())));
    let started = Instant::now();
    let tasks = LocalSet::new();
    for count in 0..connections {
        // Held streams open one after another: a burst would measure the listeners' backlogs.
        let delay = Duration::from_millis(if plan.held { count } else { 0 });
        tasks.spawn_local(connection(Rc::clone(&plan), Rc::clone(&tally), delay));
    }
    tasks.await;
    let seconds = started.elapsed().as_secs_f64();
    let mut tally = tally.borrow_mut();
    let tally = &mut *tally;
    tally.latencies_us.sort_unstable();
    let percentile = |percent: usize| {
        let last = tally.latencies_us.len().saturating_sub(1);
        tally.latencies_us.get(last * percent / 100).copied()
    };
    let report = serde_json::json!({
        "requests": tally.requests, "events": tally.events, "errors": tally.errors,
        "seconds": seconds, "p50_us": percentile(50), "p99_us": percentile(99),
        "first_error": tally.first_error.as_deref().map(|text| text.get(..400).unwrap_or(text)),
    });
    writeln!(io::stdout(), "{report}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// A whole stream, its body cut into chunks of `size` bytes.
    fn stream(events: usize, end: &str, size: usize) -> Vec<u8> {
        let body = "data: {}\n\n".repeat(events) + end;
        let chunks = body.as_bytes().chunks(size).flat_map(|chunk| {
            [format!("{:X}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()
        });
        HEAD.iter().copied().chain(chunks).chain(*b"0\r\n\r\n").collect()
    }

    /// Feeds bytes a few at a time; events, or the fault.
    fn judged(bytes: &[u8], streamed: bool, step: usize) -> Result<u64, String> {
        let mut answer = Answer::default();
        for _ in 0..2 {
            answer.clear();
            for part in bytes.chunks(step) {
                answer.bytes.extend_from_slice(part);
                if answer.advance()? {
                    assert_eq!(answer.bytes.len(), bytes.len());
                    break;
                }
            }
        }
        assert!(answer.advance()?, "the answer has not ended");
        Ok(answer.judge(streamed)?)
    }

    #[test]
    fn a_proper_stream_counts_however_it_is_cut() {
        for size in [1, 7, 4_096] {
            for step in [1, 13, 4_096] {
                let bytes = stream(EVENTS, "data: [DONE]\n\n", size);
                assert_eq!(judged(&bytes, true, step), Ok(EVENTS as u64));
            }
        }
    }

    #[test]
    fn a_broken_stream_is_an_error() {
        for (events, end) in [
            (EVENTS, ""),
            (EVENTS - 1, "data: [DONE]\n\n"),
            (EVENTS, "data: {\"error\":{}}\n\ndata: [DONE]\n\n"),
        ] {
            assert!(judged(&stream(events, end, 64), true, 99).is_err(), "{events} {end}");
        }
        assert!(judged(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", true, 99).is_err());
    }

    #[test]
    fn an_answer_is_whole_or_an_error() {
        let answer = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{body}");
        assert_eq!(judged(answer("{\"usage\":{}}").as_bytes(), false, 1), Ok(0));
        assert!(judged(answer("{\"usage\":[]}").as_bytes(), false, 1).is_err());
    }
}
