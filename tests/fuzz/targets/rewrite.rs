//! What goes upstream is what came, less what must go, with what must change; and bills one model.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use weir::catalog::Parameters;
use weir::request::envelope::{self, Envelope};
use weir::request::keys::Fate;
use weir::request::rewrite::{self, Edit, TierEdit};
use weir::request::route::{Face, Operation};
use weir_fuzz::{self as members, Members};

const HASHED: &str = "hashed \"user\"";

fuzz_target!(|data: &[u8]| {
    let Some((&choice, body)) = data.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    let Ok(envelope) = envelope::read(&body, Operation::Chat) else { return };
    let declared: Vec<String> = ["provider", "models", "usage"].map(String::from).into();
    let edit = Edit {
        upstream_model: if choice & 1 == 0 { "up/stream" } else { "\"\\\u{e9}\u{0}" },
        face: if choice & 2 == 0 { Face::OpenRouter } else { Face::Faithful },
        stream_usage: choice & 4 == 0,
        declares: if choice & 8 == 0 { &[] } else { &declared },
        tier: TierEdit::Keep,
        drops: Parameters::NONE,
        options: &[],
        hashed_user: (choice & 16 == 0).then_some(HASHED),
    };
    let sent = rewrite::rewrite(&body, &envelope, &edit);
    let (body, sent) = (text(&body), text(&sent));
    let made = members::read(sent).expect("what is sent is JSON");
    let expected = expected(&members::read(body).expect("what came is JSON"), &envelope, &edit);
    let made: Vec<(String, String)> =
        made.into_iter().map(|(key, value)| (key, value.to_owned())).collect();
    assert_eq!(made, expected, "{sent}");
    let (before, after) = (body.find('{').unwrap_or(0), body.len() - body.trim_end().len());
    assert!(sent.starts_with(&body[..before]) && sent.ends_with(&body[body.len() - after..]));
});

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The members that must be sent, with the text of each value.
fn expected(body: &Members<'_>, envelope: &Envelope, edit: &Edit<'_>) -> Vec<(String, String)> {
    let asks = edit.stream_usage && envelope.stream && envelope.include_usage != Some(true);
    let by_contract = edit.face == Face::OpenRouter;
    let mut made = Vec::new();
    for (ordinal, (key, value)) in body.iter().enumerate() {
        let member = envelope.members.iter().find(|member| member.ordinal == ordinal);
        let goes = member.is_some_and(|member| match member.fate {
            Fate::Forbidden => true,
            Fate::Shared if !by_contract => false,
            Fate::Consumed | Fate::Shared => !edit.declares.contains(key),
            _ if by_contract && key == "stream_options" => !envelope.stream,
            _ if by_contract && key == "messages" => envelope.prompted,
            Fate::Steers | Fate::Noted => false,
        });
        if goes {
            continue;
        }
        if key == "prompt" && by_contract && envelope.prompted {
            let said = format!("[{{\"role\":\"user\",\"content\":{value}}}]");
            made.push(("messages".into(), said));
            continue;
        }
        let value = match key.as_str() {
            "model" => quoted(edit.upstream_model),
            "user" if edit.face == Face::OpenRouter && value.starts_with('"') => {
                edit.hashed_user.map_or_else(|| (*value).to_owned(), quoted)
            }
            "stream_options" if asks => asking(value, envelope),
            _ => (*value).to_owned(),
        };
        made.push((key.clone(), value));
    }
    let lacks = |made: &[(String, String)], key: &str| !made.iter().any(|(name, _)| name == key);
    if asks && lacks(&made, "stream_options") {
        made.insert(0, ("stream_options".into(), asking("null", envelope)));
    }
    if lacks(&made, "model") {
        made.insert(0, ("model".into(), quoted(edit.upstream_model)));
    }
    made
}

/// `stream_options` with usage asked for, by hand.
fn asking(value: &str, envelope: &Envelope) -> String {
    let Some(inside) = value.strip_prefix('{') else {
        return "{\"include_usage\":true}".to_owned();
    };
    let given = envelope.stream_options.as_ref().and_then(|options| options.include_usage.clone());
    let member = envelope.member("stream_options").expect("it is there");
    match given {
        Some(range) => {
            let (start, end) = (range.start - member.value.start, range.end - member.value.start);
            format!("{}true{}", &value[..start], &value[end..])
        }
        None if inside.trim_start().starts_with('}') => {
            format!("{{\"include_usage\":true{inside}")
        }
        None => format!("{{\"include_usage\":true,{inside}"),
    }
}
