//! Finish reasons: what upstreams write, and the five of the contract (section 4.1).

use crate::meter::Finish;

/// Native reasons that are not the contract's own words. Anything unknown is a stop.
const NATIVE: &[(&str, Finish)] = &[
    ("stop", Finish::Stop),
    ("length", Finish::Length),
    ("tool_calls", Finish::ToolCalls),
    ("content_filter", Finish::ContentFilter),
    ("error", Finish::Error),
    ("function_call", Finish::ToolCalls),
    ("tool_use", Finish::ToolCalls),
    ("tool_call", Finish::ToolCalls),
    ("max_tokens", Finish::Length),
    ("max_output_tokens", Finish::Length),
    ("model_length", Finish::Length),
    ("model_context_window_exceeded", Finish::Length),
    ("safety", Finish::ContentFilter),
    ("recitation", Finish::ContentFilter),
    ("blocklist", Finish::ContentFilter),
    ("prohibited_content", Finish::ContentFilter),
    ("sensitive", Finish::ContentFilter),
    ("refusal", Finish::ContentFilter),
    ("abort", Finish::Error),
    ("network_error", Finish::Error),
    ("insufficient_system_resource", Finish::Error),
    ("malformed_function_call", Finish::Error),
];

/// The contract's reason for a native one, whatever its case.
#[must_use]
pub fn normalise(native: &str) -> Finish {
    NATIVE
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(native))
        .map_or(Finish::Stop, |(_, finish)| *finish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_are_themselves_and_the_rest_map() {
        for finish in
            [Finish::Stop, Finish::Length, Finish::ToolCalls, Finish::ContentFilter, Finish::Error]
        {
            assert_eq!(normalise(finish.as_str()), finish);
        }
        assert_eq!(normalise("MAX_TOKENS"), Finish::Length);
        assert_eq!(normalise("function_call"), Finish::ToolCalls);
        assert_eq!(normalise("end_turn"), Finish::Stop);
        assert_eq!(normalise("eos"), Finish::Stop);
    }
}
