//! Usage objects of the OpenAI chat dialect: which key of which provider counts what, as data.

use super::cursor::Cursor;
use crate::usage::{Kind, Usage};

/// A usage object, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// Kinds are disjoint. Not `sound`: parts exceeded their whole and were clamped, or the total is
    /// not the sum.
    Valid { usage: Usage, sound: bool, predictions: Predictions },
    /// A count is negative, a string, a fraction or beyond all reason: the report is refused (F35).
    Suspect,
    /// Not an object, or cut (F33).
    Unreadable,
}

/// Tokens of a `prediction` that the reply took and that it did not, where that is said. They are in the
/// completion, and no kind of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Predictions {
    pub accepted: Option<u64>,
    pub rejected: Option<u64>,
}

/// No reply counts this many tokens of one kind.
const TOKENS_MAX: u64 = 1_000_000_000;

/// What a key counts, before kinds are made disjoint. The discriminant is the index in [`Counts`].
#[derive(Debug, Clone, Copy)]
enum Count {
    Prompt,
    Completion,
    Total,
    Cached,
    Written,
    AudioIn,
    VideoIn,
    ImageIn,
    Reasoning,
    AudioOut,
    ImageOut,
    Searches,
    // From here on nothing is billed, and so no report is refused for it.
    Accepted,
    Rejected,
}

/// How many counts are billed.
const BILLED: usize = Count::Accepted as usize;

type Counts = [Option<u64>; 14];

/// Which object of a report a key stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    Report,
    Prompt,
    Completion,
    Tools,
}

/// Objects inside a report.
const PARENTS: &[(&[u8], Parent)] = &[
    (b"prompt_tokens_details", Parent::Prompt),
    (b"completion_tokens_details", Parent::Completion),
    (b"server_tool_use_details", Parent::Tools),
    (b"server_tool_use", Parent::Tools),
];

/// Where a key stands, its name, what it counts. Where two keys say the same of one reply (DeepSeek,
/// Moonshot), the larger counts. Mistral's `num_cached_tokens` is no billed count.
const KEYS: &[(Parent, &[u8], Count)] = &[
    (Parent::Report, b"prompt_tokens", Count::Prompt),
    (Parent::Report, b"completion_tokens", Count::Completion),
    (Parent::Report, b"total_tokens", Count::Total),
    (Parent::Report, b"prompt_cache_hit_tokens", Count::Cached),
    (Parent::Report, b"cached_tokens", Count::Cached),
    (Parent::Report, b"reasoning_tokens", Count::Reasoning),
    (Parent::Prompt, b"cached_tokens", Count::Cached),
    (Parent::Prompt, b"cache_write_tokens", Count::Written),
    (Parent::Prompt, b"audio_tokens", Count::AudioIn),
    (Parent::Prompt, b"video_tokens", Count::VideoIn),
    (Parent::Prompt, b"image_tokens", Count::ImageIn),
    (Parent::Completion, b"reasoning_tokens", Count::Reasoning),
    (Parent::Completion, b"audio_tokens", Count::AudioOut),
    (Parent::Completion, b"image_tokens", Count::ImageOut),
    (Parent::Completion, b"accepted_prediction_tokens", Count::Accepted),
    (Parent::Completion, b"rejected_prediction_tokens", Count::Rejected),
    (Parent::Tools, b"web_search_requests", Count::Searches),
];

/// Reads the value that comes next. `Some(None)`: null or an empty object, no report at all.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Option<Option<Report>> {
    match cursor.peek()? {
        b'{' => {
            let mut counts = Counts::default();
            let mut refused = false;
            object(cursor, Parent::Report, &mut counts, &mut refused)?;
            Some(if refused {
                Some(Report::Suspect)
            } else if counts.iter().take(BILLED).all(Option::is_none) {
                None
            } else {
                Some(disjoint(&counts))
            })
        }
        b'n' => cursor.skip().map(|_| None),
        _ => cursor.skip().map(|_| Some(Report::Unreadable)),
    }
}

fn object(
    cursor: &mut Cursor<'_>,
    parent: Parent,
    counts: &mut Counts,
    refused: &mut bool,
) -> Option<()> {
    cursor.take(b'{')?;
    while let Some(key) = cursor.key()? {
        let found = KEYS.iter().find(|(of, name, _)| *of == parent && *name == &*key.name);
        let inner = || PARENTS.iter().find(|(name, _)| *name == &*key.name);
        if let Some((_, _, count)) = found {
            let range = cursor.value()?;
            match number(cursor.slice(&range)) {
                Ok(Some(value)) => {
                    if let Some(cell) = counts.get_mut(*count as usize) {
                        *cell = Some(cell.map_or(value, |before| before.max(value)));
                    }
                }
                Ok(None) => {}
                Err(()) => *refused |= (*count as usize) < BILLED,
            }
        } else if parent == Parent::Report
            && cursor.peek()? == b'{'
            && let Some((_, of)) = inner()
        {
            object(cursor, *of, counts, refused)?;
        } else {
            cursor.skip()?;
        }
    }
    Some(())
}

/// A count; null is none.
fn number(word: &[u8]) -> Result<Option<u64>, ()> {
    if word == b"null" {
        return Ok(None);
    }
    if word.is_empty() || word.len() > 10 || !word.iter().all(u8::is_ascii_digit) {
        return Err(());
    }
    let value = word.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    if value > TOKENS_MAX { Err(()) } else { Ok(Some(value)) }
}

/// OpenAI's prompt count includes cached, written and media tokens, its completion count reasoning
/// and media ones. Parts are taken out of their whole in turn, never more than it holds.
fn disjoint(counts: &Counts) -> Report {
    let given = |count: Count| counts.get(count as usize).copied().flatten();
    let get = |count: Count| given(count).unwrap_or(0);
    let mut usage = Usage::ZERO.with(Kind::Requests, 1).with(Kind::Searches, get(Count::Searches));
    let mut sound = true;
    let mut split = |whole: u64, rest: Kind, parts: &[(Count, Kind)]| {
        let mut left = whole;
        for (count, kind) in parts {
            let part = get(*count).min(left);
            sound &= part == get(*count);
            usage.set(*kind, part);
            left -= part;
        }
        usage.set(rest, left);
    };
    split(
        get(Count::Prompt),
        Kind::Input,
        &[
            (Count::Cached, Kind::CacheRead),
            (Count::Written, Kind::CacheWrite5m),
            (Count::AudioIn, Kind::InputAudio),
            (Count::VideoIn, Kind::InputVideo),
            (Count::ImageIn, Kind::InputImage),
        ],
    );
    let reasoning = get(Count::Reasoning);
    // Some hosts (xAI, some vLLM builds) count reasoning beside the completion, not in it.
    let beside = reasoning > get(Count::Completion)
        || reasoning > 0
            && given(Count::Total) == Some(get(Count::Prompt) + get(Count::Completion) + reasoning);
    let completion = get(Count::Completion) + if beside { reasoning } else { 0 };
    split(
        completion,
        Kind::Output,
        &[
            (Count::Reasoning, Kind::Reasoning),
            (Count::AudioOut, Kind::OutputAudio),
            (Count::ImageOut, Kind::OutputImage),
        ],
    );
    let whole = usage.prompt() + usage.completion();
    let sound = sound && given(Count::Total).is_none_or(|total| total == whole);
    let predictions =
        Predictions { accepted: given(Count::Accepted), rejected: given(Count::Rejected) };
    Report::Valid { usage, sound, predictions }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> Option<Report> {
        read(&mut Cursor::new(text.as_bytes())).unwrap()
    }

    /// The kinds of a valid report that are not zero, and whether it is sound.
    fn kinds(text: &str) -> (Vec<(&'static str, u64)>, bool) {
        let Some(Report::Valid { usage, sound, .. }) = report(text) else {
            panic!("valid: {text}")
        };
        let counted = Kind::ALL.iter().map(|(kind, name)| (*name, usage.get(*kind)));
        (counted.filter(|(name, count)| *count > 0 && *name != "requests").collect(), sound)
    }

    #[test]
    fn openai_counts_parts_in_their_whole() {
        let text = r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
            "prompt_tokens_details":{"cached_tokens":30,"cache_write_tokens":20,"audio_tokens":5,"image_tokens":4,"video_tokens":1,"text_tokens":40},
            "completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":6,"image_tokens":4,"accepted_prediction_tokens":9}}"#;
        let expected = vec![
            ("input", 40),
            ("cache_read", 30),
            ("cache_write_5m", 20),
            ("input_audio", 5),
            ("input_image", 4),
            ("input_video", 1),
            ("output", 20),
            ("reasoning", 20),
            ("output_audio", 6),
            ("output_image", 4),
        ];
        assert_eq!(kinds(text), (expected, true));
    }

    #[test]
    fn providers_have_their_own_keys() {
        let cases = [
            // DeepSeek, old and new: both keys say the same.
            (
                r#"{"prompt_tokens":563,"completion_tokens":9,"prompt_cache_hit_tokens":512,"prompt_cache_miss_tokens":51}"#,
                vec![("input", 51), ("cache_read", 512), ("output", 9)],
            ),
            (
                r#"{"prompt_tokens":563,"completion_tokens":9,"prompt_cache_hit_tokens":512,"prompt_tokens_details":{"cached_tokens":512}}"#,
                vec![("input", 51), ("cache_read", 512), ("output", 9)],
            ),
            // Moonshot and the Hugging Face router.
            (
                r#"{"cached_tokens":3,"prompt_tokens":4,"completion_tokens":1}"#,
                vec![("input", 1), ("cache_read", 3), ("output", 1)],
            ),
            // Mistral's own count is none that is billed.
            (
                r#"{"prompt_tokens":64,"completion_tokens":6,"num_cached_tokens":32,"prompt_token_details":null}"#,
                vec![("input", 64), ("output", 6)],
            ),
            // Embeddings have no completion.
            (r#"{"prompt_tokens":8,"total_tokens":8}"#, vec![("input", 8)]),
            // xAI: reasoning stands beside the completion, the total tells.
            (
                r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":22,"completion_tokens_details":{"reasoning_tokens":7}}"#,
                vec![("input", 10), ("output", 5), ("reasoning", 7)],
            ),
            (
                r#"{"prompt_tokens":10,"completion_tokens":9,"total_tokens":26,"completion_tokens_details":{"reasoning_tokens":7}}"#,
                vec![("input", 10), ("output", 9), ("reasoning", 7)],
            ),
            // OpenRouter.
            (
                r#"{"prompt_tokens":10,"completion_tokens":1,"cost":0.00055,"is_byok":false,"server_tool_use_details":{"web_search_requests":2}}"#,
                vec![("input", 10), ("output", 1), ("searches", 2)],
            ),
            // Groq's times are no counts; null details are none.
            (
                r#"{"queue_time":0.05,"prompt_tokens":10,"prompt_time":1e-3,"completion_tokens":1,"total_tokens":11,"completion_tokens_details":null}"#,
                vec![("input", 10), ("output", 1)],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(kinds(text), (expected, true), "{text}");
        }
    }

    #[test]
    fn what_does_not_add_up_is_clamped_and_said() {
        let cases = [
            // More reasoning than completion and no total: it cannot be inside.
            (
                r#"{"prompt_tokens":1,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":7}}"#,
                vec![("input", 1), ("output", 5), ("reasoning", 7)],
                true,
            ),
            (
                r#"{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9,"cache_write_tokens":9}}"#,
                vec![("cache_read", 9), ("cache_write_5m", 1), ("output", 1)],
                false,
            ),
            // Google: thinking is in the total only.
            (
                r#"{"prompt_tokens":35,"completion_tokens":12,"total_tokens":109}"#,
                vec![("input", 35), ("output", 12)],
                false,
            ),
            // Voyage: a total and nothing else.
            (r#"{"total_tokens":18}"#, vec![], false),
        ];
        for (text, expected, sound) in cases {
            assert_eq!(kinds(text), (expected, sound), "{text}");
        }
    }

    #[test]
    fn predictions_are_told_and_never_a_reason_to_refuse() {
        let told = |details: &str| {
            let text = format!(r#"{{"prompt_tokens":1,"completion_tokens_details":{details}}}"#);
            let Some(Report::Valid { predictions, .. }) = report(&text) else { panic!("{text}") };
            (predictions.accepted, predictions.rejected)
        };
        let both = r#"{"accepted_prediction_tokens":2,"rejected_prediction_tokens":0}"#;
        assert_eq!(told(both), (Some(2), Some(0)));
        let odd = r#"{"accepted_prediction_tokens":-1,"rejected_prediction_tokens":null}"#;
        assert_eq!(told(odd), (None, None));
        assert_eq!(told("null"), (None, None));
        assert_eq!(report(&format!(r#"{{"completion_tokens_details":{both}}}"#)), None);
    }

    #[test]
    fn no_report_and_refused_ones() {
        for text in ["null", "{}", r#"{"cost":1}"#, r#"{"prompt_tokens":null}"#] {
            assert_eq!(report(text), None, "{text}");
        }
        for count in
            ["-1", "\"5\"", "1.5", "1e3", "1000000001", "99999999999999999999", "[]", "true"]
        {
            let text = format!(r#"{{"completion_tokens":2,"prompt_tokens":{count}}}"#);
            assert_eq!(report(&text), Some(Report::Suspect), "{text}");
        }
        for text in ["3", "[]", "\"x\""] {
            assert_eq!(report(text), Some(Report::Unreadable), "{text}");
        }
    }
}
