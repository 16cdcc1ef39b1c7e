use super::*;
use crate::demo::{fleet, serve, service};
use pingora::services::background::BackgroundService;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn model(failure_rate: f64) -> SimulatedModel {
    SimulatedModel {
        name: "m".into(),
        tokens_per_second: 100.0,
        first_token: Duration::from_millis(20),
        failure_rate,
        completion_tokens: 5,
    }
}

/// Starts a provider of one model.
fn start(failure_rate: f64, seed: u64) -> SocketAddr {
    let listener = fleet::bind().unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(Arc::new(Simulated::new("p", vec![model(failure_rate)], seed)), listener));
    address
}

/// One h1 exchange; `Connection: close` unless the socket is used again.
async fn post(socket: &mut TcpStream, path: &str, body: &str, close: bool) {
    let connection = if close { "close" } else { "keep-alive" };
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: p\r\nConnection: {connection}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
}

async fn exchange(address: SocketAddr, path: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    post(&mut socket, path, body, true).await;
    let mut reply = String::new();
    let _ = socket.read_to_string(&mut reply).await;
    reply
}

const STREAM: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},
    "messages":[{"role":"user","content":"hi"}]}"#;
const WHOLE: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

#[tokio::test]
async fn a_stream_comes_event_by_event_at_its_pace() {
    let mut socket = TcpStream::connect(start(0.0, 1)).await.unwrap();
    let started = Instant::now();
    post(&mut socket, "/v1/chat/completions", STREAM, true).await;
    let (mut reply, mut part, mut moments) = (Vec::new(), [0; 4_096], Vec::new());
    loop {
        let read = socket.read(&mut part).await.unwrap();
        if read == 0 {
            break;
        }
        reply.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&reply);
        let opening = text.matches("\"role\"").count();
        let seen = text.matches(r#""delta":{"content""#).count() - opening;
        moments.resize(seen, started.elapsed());
    }
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("text/event-stream"), "{reply}");
    assert_eq!(moments.len(), 5);
    assert!(moments[0] >= Duration::from_millis(20), "{moments:?}");
    assert!(moments[4] - moments[0] >= Duration::from_millis(30), "{moments:?}");
    assert!(reply.contains(r#""completion_tokens":5"#), "{reply}");
    assert!(reply.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{reply}");
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let mut socket = TcpStream::connect(start(0.0, 1)).await.unwrap();
    for _ in 0..3 {
        post(&mut socket, "/v1/chat/completions", WHOLE, false).await;
        let (mut reply, mut part) = (Vec::new(), [0; 4_096]);
        while !reply.ends_with(b"}}") {
            let read = socket.read(&mut part).await.unwrap();
            assert!(read > 0, "closed after {}", String::from_utf8_lossy(&reply));
            reply.extend_from_slice(&part[..read]);
        }
        assert!(reply.starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn models_and_mistakes_are_answered() {
    let address = start(0.0, 1);
    let mut socket = TcpStream::connect(address).await.unwrap();
    let get = b"GET /v1/models HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n";
    socket.write_all(get).await.unwrap();
    let mut listing = String::new();
    socket.read_to_string(&mut listing).await.unwrap();
    assert!(listing.contains(r#""id":"m""#), "{listing}");
    for (path, body, status) in [
        ("/v1/other", WHOLE, "404"),
        ("/v1/chat/completions", "{", "400"),
        ("/v1/chat/completions", r#"{"model":"other"}"#, "404"),
        ("/v1/chat/completions", r#"{"model":"m","n":2}"#, "400"),
        ("/v1/completions", r#"{"model":"m","prompt":"x"}"#, "200"),
        ("/v1/embeddings", r#"{"model":"m","input":"x"}"#, "200"),
    ] {
        let reply = exchange(address, path, body).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{path} {body}: {reply}");
    }
}

#[tokio::test]
async fn every_failure_comes_before_content() {
    let address = start(1.0, 3);
    let (mut limited, mut broken, mut reset, mut in_band) = (0, 0, 0, 0);
    for _ in 0..40 {
        let reply = exchange(address, "/v1/chat/completions", STREAM).await;
        assert!(!reply.contains("Lorem"), "{reply}");
        match reply.get(9..12) {
            Some("429") => limited += usize::from(reply.contains("retry-after: 1")),
            Some("500") => broken += 1,
            Some("200") => in_band += usize::from(reply.contains("data: {\"error\"")),
            _ => reset += usize::from(reply.is_empty()),
        }
    }
    assert_eq!(limited + broken + reset + in_band, 40);
    assert!([limited, broken, reset, in_band].iter().all(|count| *count > 2));
}

#[tokio::test]
async fn h2c_streams_and_a_simulated_reset_resets_the_stream() {
    for (failure_rate, content) in [(0.0, true), (1.0, false)] {
        let socket = TcpStream::connect(start(failure_rate, 0)).await.unwrap();
        let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let mut resets = 0;
        for _ in 0..8 {
            let request = http::Request::post("http://p/v1/chat/completions").body(()).unwrap();
            let (reply, mut body) = client.send_request(request, false).unwrap();
            body.send_data(Bytes::from_static(STREAM.as_bytes()), true).unwrap();
            let Ok(reply) = reply.await else {
                resets += 1;
                continue;
            };
            let (mut text, mut reply) = (Vec::new(), reply.into_body());
            while let Some(part) = reply.data().await {
                text.extend_from_slice(&part.unwrap());
            }
            assert_eq!(text.ends_with(b"data: [DONE]\n\n"), content);
        }
        assert_eq!(resets > 0, !content);
    }
}

#[tokio::test]
async fn a_service_serves_and_outlives_the_shutdown_signal() {
    let listener = fleet::bind().unwrap();
    let address = listener.local_addr().unwrap();
    let task = service(Simulated::new("p", vec![model(0.0)], 1), listener).task();
    let (signal, shutdown) = tokio::sync::watch::channel(false);
    tokio::spawn(async move { task.start(shutdown).await });
    signal.send(true).unwrap();
    for _ in 0..2 {
        let reply = exchange(address, "/v1/chat/completions", WHOLE).await;
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    }
}
