//! Why an endpoint is not in a plan: one table for labels, funnel steps and refusals.

/// Why an endpoint is not in a plan. Closed set: it becomes a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exclusion {
    NotAllowed = 0,
    Ignored = 1,
    DataPolicy = 2,
    Zdr = 3,
    Dormant = 4,
    Down = 5,
    Ejected = 6,
    Cooling = 7,
    ContextLength = 8,
    Dialect = 9,
    /// Would have served as a fallback, and fallbacks are off.
    NoFallbacks = 10,
    Quantization = 11,
    MaxPrice = 12,
    Distillable = 13,
    RequireParameters = 14,
    OutputLimit = 15,
    Modality = 16,
    /// Serves a tier that was not asked for, or not the one that was.
    Tier = 17,
    /// Others support what the request prefers: tools, a response format, verbosity.
    Capability = 18,
}

/// What there is to say of an exclusion.
pub(super) struct Step {
    pub exclusion: Exclusion,
    /// Label in metrics, and the step of `routing_funnel`.
    pub label: &'static str,
    /// `excluded_by` of the availability object (contract 5.4), where it has a word for it.
    pub excluded_by: Option<&'static str>,
    /// Code of the availability object, with the status it goes with; empty for no such object.
    pub code: &'static str,
    pub status: u16,
    /// What the caller is told if this step left nothing.
    pub message: &'static str,
}

const NO_PROVIDERS: &str = "No allowed providers are available for the selected model.";
const NONE_NOW: &str = "No provider is available for the selected model right now.";

const fn step(
    exclusion: Exclusion,
    label: &'static str,
    excluded_by: Option<&'static str>,
    code: &'static str,
    message: &'static str,
) -> Step {
    let status = if exclusion.is_live() { 503 } else { 404 };
    Step { exclusion, label, excluded_by, code, status, message }
}

const FILTERED: &str = "constraint_filtered";
const PRIVATE: &str = "privacy_restricted";
const LATER: &str = "temporarily_unavailable";

/// Every step, in the order [`super::plan`] applies them.
pub(super) const STEPS: [Step; 19] = [
    step(Exclusion::Tier, "tier", None, FILTERED, "No endpoints found for the service tier."),
    step(
        Exclusion::Dormant,
        "dormant",
        None,
        "no_endpoints",
        "No endpoints found for the selected model.",
    ),
    step(
        Exclusion::Dialect,
        "dialect",
        None,
        "no_endpoints",
        "No endpoints found that support the requested API.",
    ),
    step(Exclusion::NotAllowed, "not_allowed", Some("allowed_providers"), FILTERED, NO_PROVIDERS),
    step(Exclusion::Ignored, "ignored", Some("allowed_providers"), FILTERED, NO_PROVIDERS),
    step(
        Exclusion::DataPolicy,
        "data_policy",
        Some("data_policy:training"),
        PRIVATE,
        "No endpoints found matching your data policy (Data collection).",
    ),
    step(
        Exclusion::Zdr,
        "zdr",
        Some("data_policy:zdr"),
        PRIVATE,
        "No endpoints found matching your data policy (Zero data retention).",
    ),
    step(
        Exclusion::Quantization,
        "quantization",
        Some("quantization"),
        FILTERED,
        "No endpoints found with an allowed quantization.",
    ),
    step(
        Exclusion::MaxPrice,
        "max_price",
        Some("max_price"),
        FILTERED,
        "No endpoints found within the given max_price.",
    ),
    step(
        Exclusion::Distillable,
        "distillable",
        None,
        FILTERED,
        "No endpoints found whose model permits distillation.",
    ),
    step(
        Exclusion::RequireParameters,
        "require_parameters",
        Some("require_parameters"),
        FILTERED,
        "No endpoints found that can handle the requested parameters.",
    ),
    Step {
        exclusion: Exclusion::ContextLength,
        label: "context_length",
        excluded_by: Some("context_length"),
        // The contract's 400 (5.2); `constraint_filtered` is 404.
        code: "",
        status: 400,
        message: "No endpoints found whose context length fits this request. Send a shorter prompt \
                  or a smaller max_tokens.",
    },
    step(
        Exclusion::OutputLimit,
        "output_limit",
        None,
        FILTERED,
        "No endpoints found that can give max_tokens. Send a smaller one.",
    ),
    step(
        Exclusion::Modality,
        "modality",
        None,
        FILTERED,
        "No endpoints found that support this input.",
    ),
    step(
        Exclusion::Capability,
        "capability",
        None,
        FILTERED,
        "No endpoints found that can handle the requested parameters.",
    ),
    step(Exclusion::Cooling, "cooling", None, LATER, NONE_NOW),
    step(Exclusion::Down, "down", None, LATER, NONE_NOW),
    step(Exclusion::Ejected, "ejected", None, LATER, NONE_NOW),
    step(Exclusion::NoFallbacks, "no_fallbacks", None, FILTERED, NO_PROVIDERS),
];

impl Exclusion {
    /// Every exclusion with its label.
    pub const ALL: [(Self, &'static str); STEPS.len()] = {
        let mut all = [(Self::NotAllowed, ""); STEPS.len()];
        let mut at = 0;
        while at < STEPS.len() {
            #[expect(clippy::indexing_slicing, reason = "at compile time, below the length")]
            {
                all[at] = (STEPS[at].exclusion, STEPS[at].label);
            }
            at += 1;
        }
        all
    };

    /// The label in metrics and explanations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("not_allowed", |(_, name)| name)
    }

    /// Whether live state, not policy, took the endpoint out: another moment may differ.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Down | Self::Ejected | Self::Cooling)
    }
}
