//! Open-loop load: requests are sent by the clock, whether or not earlier ones were answered.
//!
//! What a crowd does, and what a closed loop hides: it never asks a slow server for more. Latencies
//! count from when a request was due.

use memchr::memmem;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How often requests that are due are sent.
const TICK: Duration = Duration::from_millis(1);
/// After the last request, how long answers may still come.
const LINGER: Duration = Duration::from_secs(30);

/// What is offered.
pub(crate) struct Offer {
    pub(crate) address: String,
    pub(crate) request: Vec<u8>,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Most connections open at once; a request that finds none is not sent, and counted.
    pub(crate) connections: usize,
    pub(crate) time: Duration,
}

#[derive(Default)]
struct Crowd {
    idle: RefCell<Vec<TcpStream>>,
    open: Cell<usize>,
    unsent: Cell<u64>,
    /// Microseconds of whole answers, and of proper refusals.
    served: RefCell<Vec<u32>>,
    refused: RefCell<Vec<u32>>,
    /// Connections closed without an answer.
    closed: Cell<u64>,
    malformed: Cell<u64>,
    first_malformed: RefCell<Option<String>>,
}

/// How one request ended.
enum End {
    Served,
    Refused,
    Malformed(String),
}

/// Offers the load to its end, and reports.
pub(crate) async fn run(offer: Offer) -> serde_json::Value {
    let (offer, crowd) = (Rc::new(offer), Rc::new(Crowd::default()));
    let started = Instant::now();
    let mut clock = tokio::time::interval(TICK);
    let mut sent = 0_u64;
    while started.elapsed() < offer.time {
        clock.tick().await;
        while (sent as f64) < started.elapsed().as_secs_f64() * offer.rate {
            let due = started + Duration::from_secs_f64(sent as f64 / offer.rate);
            sent += 1;
            dispatch(&offer, &crowd, due);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let busy = || crowd.open.get() > crowd.idle.borrow().len();
    while busy() && started.elapsed() < offer.time + LINGER {
        clock.tick().await;
    }
    report(&crowd, sent, seconds)
}

fn dispatch(offer: &Rc<Offer>, crowd: &Rc<Crowd>, due: Instant) {
    let idle = crowd.idle.borrow_mut().pop();
    if idle.is_none() {
        if crowd.open.get() >= offer.connections {
            crowd.unsent.set(crowd.unsent.get() + 1);
            return;
        }
        crowd.open.set(crowd.open.get() + 1);
    }
    let (offer, crowd) = (Rc::clone(offer), Rc::clone(crowd));
    tokio::task::spawn_local(async move {
        let kept = ask(&offer, &crowd, idle, due).await;
        match kept {
            Ok(Some(socket)) => crowd.idle.borrow_mut().push(socket),
            Ok(None) => crowd.open.set(crowd.open.get() - 1),
            Err(_) => {
                crowd.open.set(crowd.open.get() - 1);
                crowd.closed.set(crowd.closed.get() + 1);
            }
        }
    });
}

/// One request; its connection, if that stays open.
async fn ask(
    offer: &Offer,
    crowd: &Crowd,
    idle: Option<TcpStream>,
    due: Instant,
) -> io::Result<Option<TcpStream>> {
    let mut socket = match idle {
        Some(socket) => socket,
        None => TcpStream::connect(&offer.address).await?,
    };
    socket.set_nodelay(true)?;
    socket.write_all(&offer.request).await?;
    let (head, body) = answer(&mut socket).await?;
    let spent = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
    match judge(&head, &body) {
        End::Served => crowd.served.borrow_mut().push(spent),
        End::Refused => crowd.refused.borrow_mut().push(spent),
        End::Malformed(what) => {
            crowd.malformed.set(crowd.malformed.get() + 1);
            crowd.first_malformed.borrow_mut().get_or_insert(what);
        }
    }
    Ok((!head.contains("\r\nconnection: close")).then_some(socket))
}

/// An answer of announced length: its head in lower case, and its body.
async fn answer(socket: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(2_048);
    let early = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let end = loop {
        if let Some(end) = memmem::find(&bytes, b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(early());
        }
    };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let whole = end + 4 + length.unwrap_or(0_usize);
    while bytes.len() < whole {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(early());
        }
    }
    Ok((head, bytes.split_off(end + 4)))
}

/// A whole 200, or a refusal a client can act on: its status in the body too, and when to come again.
fn judge(head: &str, body: &[u8]) -> End {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let status = head.get(9..12).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let error = document.get("error");
    let code = error.and_then(|error| error.get("code")).and_then(serde_json::Value::as_u64);
    match status {
        200 if document.get("usage").is_some() => End::Served,
        429 | 503 if code == Some(status) && head.contains("\r\nretry-after: ") => End::Refused,
        _ => End::Malformed(format!("{head}\n\n{}", String::from_utf8_lossy(body))),
    }
}

fn report(crowd: &Crowd, sent: u64, seconds: f64) -> serde_json::Value {
    let percentile = |times: &RefCell<Vec<u32>>, percent: usize| {
        let mut times = times.borrow_mut();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) * percent / 100).copied()
    };
    let malformed = crowd.first_malformed.borrow();
    serde_json::json!({
        "seconds": seconds, "offered": sent, "unsent": crowd.unsent.get(),
        "served": crowd.served.borrow().len(), "refused": crowd.refused.borrow().len(),
        "closed": crowd.closed.get(), "malformed": crowd.malformed.get(),
        "served_p50_us": percentile(&crowd.served, 50), "served_p99_us": percentile(&crowd.served, 99),
        "refused_p50_us": percentile(&crowd.refused, 50),
        "refused_p99_us": percentile(&crowd.refused, 99),
        "first_malformed": malformed.as_deref().map(|text| text.get(..600).unwrap_or(text)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proper(head: &str, body: &str) -> bool {
        !matches!(judge(head, body.as_bytes()), End::Malformed(_))
    }

    #[test]
    fn a_refusal_must_say_when_to_come_again() {
        let body = r#"{"error":{"code":503,"message":"m"}}"#;
        assert!(proper("http/1.1 503 x\r\nretry-after: 1", body));
        assert!(!proper("http/1.1 503 x\r\nserver: w", body));
        assert!(!proper("http/1.1 429 x\r\nretry-after: 1", body));
        assert!(!proper("http/1.1 502 x\r\nretry-after: 1", r#"{"error":{"code":502}}"#));
        assert!(!proper("http/1.1 200 ok\r\n", body));
        assert!(proper("http/1.1 200 ok\r\n", r#"{"usage":{}}"#));
    }
}
