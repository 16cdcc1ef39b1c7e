//! One thing wrong with the configuration, with the place and the remedy. Never holds a value.

use std::fmt;
use std::path::PathBuf;

/// An error in a configuration or rule file. `message` says what would be right, and quotes no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// 1-based; 0 when the whole file is meant.
    pub line: usize,
    /// Path of the key: `provider.groq.base_url`.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}: {}", self.key, self.message)
    }
}
