//! The fixed table of paths.

/// The shape in which Weir answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Face {
    /// `/api/v1`: OpenRouter's contract.
    OpenRouter = 0,
    /// `/v1`: the upstream's own bytes.
    Faithful = 1,
}

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    Chat = 0,
    Completion = 1,
    Embedding = 2,
}

impl Operation {
    /// Label in metrics and the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "completion",
            Self::Embedding => "embedding",
        }
    }

    /// Path below a face's or a provider's base.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completion => "/completions",
            Self::Embedding => "/embeddings",
        }
    }
}

/// What answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Goes to an upstream.
    Inference(Operation),
    /// `GET models`.
    Models,
    /// `GET generation`, OpenRouter's face only.
    Generation,
}

/// Why a path is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// 404.
    Path,
    /// 405, with the method that would do.
    Method(&'static str),
}
