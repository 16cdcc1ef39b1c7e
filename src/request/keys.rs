//! The names Weir knows in a body, and what becomes of each: one table per object.

use super::scan::{Fault, Scanner, Text};

/// What becomes of a member on its way upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Passes; may stand only once, in one spelling (design, invariant 4).
    Steers,
    /// Passes; Weir only notes it, and leaves its repeats to the upstream.
    Noted,
    /// Weir's own word: spliced out unless the endpoint declares it.
    Consumed,
    /// A word of the contract that some providers have too: as `Consumed` under `/api/v1`; passes under `/v1`.
    Shared,
    /// Other gateways take a destination or a secret from it: always spliced out (S14).
    Forbidden,
}
use Fate::{Consumed, Forbidden, Noted, Shared, Steers};

/// A name and its fate. Sorted by name.
pub(super) type Table = [(&'static str, Fate)];

/// The top-level object.
pub(super) const TOP: &Table = &[
    ("api_base", Forbidden),
    ("api_key", Forbidden),
    ("api_version", Forbidden),
    ("audio", Noted),
    ("aws_access_key_id", Forbidden),
    ("aws_bedrock_runtime_endpoint", Forbidden),
    ("aws_profile_name", Forbidden),
    ("aws_region_name", Forbidden),
    ("aws_role_name", Forbidden),
    ("aws_secret_access_key", Forbidden),
    ("aws_session_name", Forbidden),
    ("aws_session_token", Forbidden),
    ("aws_sts_endpoint", Forbidden),
    ("aws_web_identity_token", Forbidden),
    ("azure_ad_token", Forbidden),
    ("azure_endpoint", Forbidden),
    ("base_url", Forbidden),
    ("best_of", Steers),
    ("cache_control", Shared),
    ("content_policy_fallbacks", Forbidden),
    ("context_window_fallbacks", Forbidden),
    ("custom_llm_provider", Forbidden),
    ("debug", Consumed),
    ("default_headers", Forbidden),
    ("deferred_tools", Shared),
    ("deployment_id", Forbidden),
    ("extra_body", Forbidden),
    ("extra_headers", Forbidden),
    ("extra_query", Forbidden),
    ("fallbacks", Forbidden),
    ("frequency_penalty", Noted),
    ("headers", Forbidden),
    ("http_client", Forbidden),
    ("image_config", Noted),
    ("include_reasoning", Consumed),
    ("litellm_credential_name", Forbidden),
    ("litellm_params", Forbidden),
    ("logit_bias", Noted),
    ("logprobs", Noted),
    ("max_completion_tokens", Steers),
    ("max_tokens", Steers),
    ("max_tool_calls", Shared),
    ("messages", Noted),
    ("min_p", Noted),
    ("modalities", Noted),
    ("model", Steers),
    ("model_info", Forbidden),
    ("model_list", Forbidden),
    ("models", Consumed),
    ("n", Steers),
    ("organization", Forbidden),
    ("parallel_tool_calls", Noted),
    ("plugins", Consumed),
    ("prediction", Noted),
    ("presence_penalty", Noted),
    ("preset", Consumed),
    ("prompt", Steers),
    ("prompt_cache_key", Steers),
    ("prompt_cache_options", Shared),
    ("provider", Consumed),
    ("proxies", Forbidden),
    ("reasoning", Noted),
    ("reasoning_effort", Noted),
    ("region_name", Forbidden),
    ("repetition_penalty", Noted),
    ("response_format", Noted),
    ("route", Consumed),
    ("seed", Noted),
    ("service_tier", Steers),
    ("session_id", Consumed),
    ("speed", Steers),
    ("ssl_verify", Forbidden),
    ("stop", Noted),
    ("stop_server_tools_when", Shared),
    ("stream", Steers),
    ("stream_options", Steers),
    ("structured_outputs", Noted),
    ("temperature", Noted),
    ("tool_choice", Noted),
    ("tools", Noted),
    ("top_a", Noted),
    ("top_k", Noted),
    ("top_logprobs", Noted),
    ("top_p", Noted),
    ("trace", Consumed),
    ("transforms", Consumed),
    ("usage", Consumed),
    ("user", Steers),
    ("user_config", Forbidden),
    ("verbosity", Noted),
    ("vertex_credentials", Forbidden),
    ("vertex_location", Forbidden),
    ("vertex_project", Forbidden),
    ("web_search_options", Noted),
];

/// `provider` (contract 2.3).
pub(super) const PROVIDER: &Table = &[
    ("allow_fallbacks", Steers),
    ("data_collection", Steers),
    ("enforce_distillable_text", Steers),
    ("ignore", Steers),
    ("max_price", Steers),
    ("only", Steers),
    ("options", Steers),
    ("order", Steers),
    ("preferred_max_latency", Steers),
    ("preferred_min_throughput", Steers),
    ("quantizations", Steers),
    ("require_parameters", Steers),
    ("sort", Steers),
    ("zdr", Steers),
];

/// `provider.sort`, where it is an object.
pub(super) const SORT: &Table = &[("by", Steers), ("partition", Steers)];

/// Performance cut-offs of `provider`.
pub(super) const CUTOFFS: &Table =
    &[("p50", Steers), ("p75", Steers), ("p90", Steers), ("p99", Steers)];

/// `provider.max_price`; as [`crate::price::CEILINGS`].
pub(super) const MAX_PRICE: &Table = &[
    ("audio", Steers),
    ("completion", Steers),
    ("image", Steers),
    ("prompt", Steers),
    ("request", Steers),
];

/// `stream_options`.
pub(super) const STREAM_OPTIONS: &Table = &[("include_usage", Steers)];

/// `reasoning`.
pub(super) const REASONING: &Table = &[("effort", Noted), ("exclude", Noted)];

/// Longest name in any table, with room to spare.
const LONGEST: usize = 32;

/// Why a key cannot stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clash {
    Fault(Fault),
    /// The name has been seen before.
    Repeated(&'static str),
    /// Another spelling, which some parsers take for the name.
    Twin(&'static str),
}

/// Names met so far in one object, by their place in the table.
#[derive(Debug)]
pub(super) struct Names {
    table: &'static Table,
    seen: u128,
}

impl Names {
    pub(super) const fn new(table: &'static Table) -> Self {
        Self { table, seen: 0 }
    }

    /// The known name that `key` is, if any; an error where parsers could disagree on it.
    pub(super) fn meet(
        &mut self,
        scanner: &Scanner<'_>,
        key: &Text,
    ) -> Result<Option<(&'static str, Fate)>, Clash> {
        let key = scanner.decode(key).map_err(Clash::Fault)?;
        let Some((folded, length)) = fold(&key) else { return Ok(None) };
        let folded = folded.get(..length).unwrap_or_default();
        let place = self.table.binary_search_by(|(name, _)| name.as_bytes().cmp(folded));
        let Some((place, &(name, fate))) =
            place.ok().and_then(|place| Some((place, self.table.get(place)?)))
        else {
            return Ok(None);
        };
        let exact = key == name;
        match fate {
            Noted => return Ok(exact.then_some((name, fate))),
            Forbidden => {}
            Steers | Consumed | Shared if exact => {}
            Steers | Consumed | Shared => return Err(Clash::Twin(name)),
        }
        let bit = 1 << place;
        if self.seen & bit != 0 {
            return Err(Clash::Repeated(name));
        }
        self.seen |= bit;
        Ok(Some((name, fate)))
    }
}

/// `key` as the laxest parser would compare it: without case, up to a NUL. `None`: too long, or no
/// name of ours however it is read.
///
/// Go's decoder folds U+017F and U+212A, Java's comparison U+0130 and U+0131; full case folding
/// (Unicode, `CaseFolding.txt`, status F) makes two letters of a ligature.
fn fold(key: &str) -> Option<([u8; LONGEST], usize)> {
    let mut folded = [0; LONGEST];
    if key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'0'..=b'9')) {
        folded.get_mut(..key.len())?.copy_from_slice(key.as_bytes());
        return Some((folded, key.len()));
    }
    let mut length = 0;
    for character in key.chars().take_while(|character| *character != '\0') {
        let plain = [u8::try_from(character.to_ascii_lowercase()).unwrap_or(u8::MAX)];
        let letters: &[u8] = match character {
            '\u{17f}' => b"s",
            '\u{212a}' => b"k",
            '\u{130}' | '\u{131}' => b"i",
            '\u{df}' | '\u{1e9e}' => b"ss",
            '\u{fb00}' => b"ff",
            '\u{fb01}' => b"fi",
            '\u{fb02}' => b"fl",
            '\u{fb03}' => b"ffi",
            '\u{fb04}' => b"ffl",
            '\u{fb05}' | '\u{fb06}' => b"st",
            _ if character.is_ascii() => &plain,
            _ => return None,
        };
        folded.get_mut(length..length + letters.len())?.copy_from_slice(letters);
        length += letters.len();
    }
    Some((folded, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_short_and_fit_the_mask() {
        for table in [TOP, PROVIDER, SORT, CUTOFFS, MAX_PRICE, STREAM_OPTIONS, REASONING] {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0), "binary search needs sorted names");
            assert!(table.len() <= 128);
            for (name, _) in table {
                assert!(name.len() <= LONGEST);
                assert_eq!(
                    fold(name).map(|(bytes, n)| bytes[..n].to_vec()),
                    Some(name.as_bytes().to_vec())
                );
            }
        }
    }

    #[test]
    fn folds_as_the_laxest_parser() {
        let folded =
            |key: &str| fold(key).map(|(bytes, n)| String::from_utf8(bytes[..n].to_vec()).unwrap());
        assert_eq!(folded("MODEL").as_deref(), Some("model"));
        assert_eq!(folded("\u{17f}tream").as_deref(), Some("stream"));
        assert_eq!(folded("max_to\u{212a}ens").as_deref(), Some("max_tokens"));
        assert_eq!(folded("prov\u{131}der").as_deref(), Some("provider"));
        assert_eq!(folded("\u{fb06}ream").as_deref(), Some("stream"));
        assert_eq!(folded("user_con\u{fb01}g").as_deref(), Some("user_config"));
        assert_eq!(folded("se\u{df}ion_id").as_deref(), Some("session_id"));
        assert_eq!(folded("model\0x").as_deref(), Some("model"));
        assert_eq!(folded("mod\u{e9}l"), None);
        assert_eq!(folded(&"m".repeat(LONGEST + 1)), None);
    }
}
