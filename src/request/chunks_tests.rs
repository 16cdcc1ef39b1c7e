//! Pingora's decoder beside the reader that decides where a chunked body ends.

use super::chunks::Chunks;
use pingora::protocols::http::v1::server::HttpSession;
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, duplex};

const HEAD: &[u8] = b"POST /v1/x HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A body in chunks with extensions, a few of its bytes changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let extension = prop::sample::select(vec!["", "", "", ";", ";a=b", "; x=\"y;z\"", ";\u{e9}"]);
    let chunk = (prop::collection::vec(any::<u8>(), 1..40), extension.clone(), 0..3_usize);
    let byte = prop::sample::select(b"\r\n 0123456789abcdefABCDEF;=x+-_\0\t".to_vec());
    let edit = (0..3_u8, any::<prop::sample::Index>(), byte);
    let parts = (prop::collection::vec(chunk, 0..5), extension);
    (parts, prop::collection::vec(edit, 0..3)).prop_map(|((chunks, last), edits)| {
        let mut body: Vec<u8> = Vec::new();
        for (data, extension, zeros) in chunks {
            let zeros = "0".repeat(zeros);
            body.extend(format!("{zeros}{:x}{extension}\r\n", data.len()).bytes());
            body.extend(data);
            body.extend(b"\r\n");
        }
        body.extend(format!("0{last}\r\n\r\n").bytes());
        for (what, at, byte) in edits {
            let at = at.index(body.len());
            match what {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => drop(body.remove(at)),
            }
        }
        body
    })
}

/// The data of a body that is known to be well-formed.
fn decoded(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let line = body.iter().position(|byte| *byte == b'\r').unwrap();
        let digits = body[..line].split(|byte| *byte == b';').next().unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        if size == 0 {
            return data;
        }
        data.extend(&body[line + 2..line + 2 + size]);
        body = &body[line + 2 + size + 2..];
    }
}

/// What Pingora decodes of a request with this body, in pieces of so many bytes.
fn pingora(body: &[u8], pieces: usize) -> Result<Vec<u8>, Box<pingora::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (near, mut far) = duplex(pieces);
        let all = [HEAD, body].concat();
        let sent = tokio::spawn(async move { far.write_all(&all).await });
        let mut session = HttpSession::new(Box::new(near));
        session.read_request().await?;
        let mut data = Vec::new();
        while let Some(part) = session.read_body_bytes().await? {
            data.extend(part);
        }
        sent.await.unwrap().unwrap();
        Ok(data)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    #[test]
    fn pingora_decodes_what_passes(body in mutated(), pieces in 1..80_usize) {
        let mut chunks = Chunks::default();
        let Ok(end) = chunks.read(&body) else { return Ok(()) };
        if chunks.is_done() {
            prop_assert_eq!(pingora(&body[..end], pieces).unwrap(), decoded(&body[..end]));
        }
    }
}
