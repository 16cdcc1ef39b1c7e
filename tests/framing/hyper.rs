//! An upstream on hyper: answers every request with a completion and writes down what it saw.
//!
//!     framing-hyper PORT LOG

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use tokio::net::TcpListener;

type Failure = Box<dyn Error + Send + Sync>;

/// What every upstream of these tests answers.
const ANSWER: &str = include_str!("answer.json");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(port), Some(log)) = (arguments.next(), arguments.next()) else {
        return Err("usage: framing-hyper PORT LOG".into());
    };
    let log = Arc::new(File::options().append(true).create(true).open(log)?);
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &log));
            let served =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            if let Err(error) = served.map_err(|error| error.to_string()) {
                // A connection that Weir closes while idle is no error to hyper.
                drop(note(&log, &json!({ "error": error })));
            }
        });
    }
}

async fn answer(request: Request<Incoming>, log: &File) -> Result<Response<Full<Bytes>>, Failure> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let text: String = body.iter().map(|byte| char::from(*byte)).collect();
    let target = head.uri.to_string();
    note(log, &json!({ "method": head.method.as_str(), "target": target, "body": text }))?;
    let answer = Full::new(Bytes::from_static(ANSWER.as_bytes()));
    Ok(Response::builder().header("content-type", "application/json").body(answer)?)
}

/// One line in one write.
fn note(mut log: &File, line: &serde_json::Value) -> std::io::Result<()> {
    log.write_all(format!("{line}\n").as_bytes())
}
