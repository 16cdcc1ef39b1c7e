//! What Weir reads of request bodies, for the differential beside this file.
//!
//! Standard input: frames of a big-endian length and that many bytes. Standard output: one line of JSON
//! for each: why the body is refused, or what steers it, and the body as one attempt would send it.
//! Given paths as a JSON array, it says instead what serde_json reads there, as the other judges do.

use bytes::Bytes;
use serde_json::{Value, json};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::Arc;
use weir::catalog::Parameters;
use weir::request::envelope::{self, Envelope};
use weir::request::rewrite::{self, Edit, TierEdit};
use weir::request::route::{Face, Operation};

/// The largest body taken, bytes.
const MOST: usize = 64 << 20;
/// Takes the place of `user`.
const HASHED: &str = "hashed";
/// Face, whether usage is asked for, fields the endpoint declares, the model's name there: in turn.
const EDITS: [(Face, bool, &[&str], &str); 4] = [
    (Face::OpenRouter, true, &[], "up/stream"),
    (Face::Faithful, false, &[], "up/\"quoted\\ \u{e9}\u{1f600}"),
    (Face::Faithful, true, &["provider", "session_id"], "u"),
    (Face::OpenRouter, false, &["models", "usage", "plugins"], "up/stream:free"),
];

fn main() -> io::Result<()> {
    let mut input = BufReader::new(io::stdin().lock());
    let mut output = BufWriter::new(io::stdout().lock());
    let paths: Option<Vec<String>> =
        std::env::args().nth(1).map(|paths| serde_json::from_str(&paths)).transpose()?;
    let mut edits = EDITS.iter().cycle();
    while let (Some(body), Some(edit)) = (frame(&mut input)?, edits.next()) {
        let judged = match (&paths, envelope::read(&body, Operation::Chat)) {
            (Some(paths), _) => serde(&body, paths),
            (None, Ok(envelope)) => accepted(&body, &envelope, *edit),
            (None, Err(refusal)) => json!({ "refused": refusal.kind() }),
        };
        writeln!(output, "{judged}")?;
    }
    output.flush()
}

/// What serde_json reads at the paths; of numbers and nested values, what can be compared.
fn serde(body: &[u8], paths: &[String]) -> Value {
    let document: Value = match serde_json::from_slice(body) {
        Ok(document) => document,
        Err(error) => return json!({ "refused": error.to_string() }),
    };
    let told = |value: &Value| match value {
        Value::Number(number) => match number.to_string().as_str() {
            "-0" => "#0".into(),
            text => format!("#{text}").into(),
        },
        Value::Object(_) => "{}".into(),
        Value::Array(items) => items
            .iter()
            .map(|item| if item.is_string() { item.clone() } else { "?".into() })
            .collect(),
        other => other.clone(),
    };
    let at = |path: &String| path.split('.').try_fold(&document, |value, key| value.get(key));
    paths.iter().map(|path| at(path).map_or(Value::Null, told)).collect()
}

/// The next body; `None` at the end of the input.
fn frame(input: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MOST {
        return Err(io::Error::other("a body is too large"));
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    Ok(Some(Bytes::from(body)))
}

fn accepted(body: &Bytes, envelope: &Envelope, edit: (Face, bool, &[&str], &str)) -> Value {
    let (face, stream_usage, declares, upstream_model) = edit;
    let declared: Vec<String> = declares.iter().map(|name| (*name).to_owned()).collect();
    let hashed_user = Some(HASHED);
    let (tier, options, drops) = (TierEdit::Keep, &[], Parameters::NONE);
    let declares = &declared;
    let edit =
        Edit { upstream_model, face, stream_usage, declares, tier, drops, options, hashed_user };
    let forwarded = rewrite::rewrite(body, envelope, &edit);
    let provider = &envelope.provider;
    let constraint = &provider.constraint;
    let texts =
        |list: &[Arc<str>]| list.iter().map(|text| Value::from(&**text)).collect::<Vec<_>>();
    json!({
        "models": texts(&envelope.models),
        "stream": envelope.stream,
        "include_usage": envelope.include_usage,
        "max_tokens": envelope.max_tokens,
        "session_id": envelope.session_id.as_deref(),
        "user": envelope.user.as_deref(),
        "has_tools": envelope.tools.is_some(),
        "provider": {
            "order": texts(&provider.order),
            "only": texts(constraint.only.as_deref().unwrap_or_default()),
            "ignore": texts(&constraint.ignore),
            "no_fallbacks": constraint.no_fallbacks,
            "no_collection": constraint.no_collection,
            "zdr": constraint.zdr,
        },
        "edit": {
            "model": upstream_model,
            "stream_usage": stream_usage,
            "declares": declared,
            "by_contract": face == Face::OpenRouter,
            "user": (face == Face::OpenRouter).then_some(HASHED),
        },
        "forwarded": std::str::from_utf8(&forwarded).ok(),
    })
}
