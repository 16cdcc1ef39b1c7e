//! Live state of one credential.

use super::scope::{self, Scope, scope};
use crate::outcome::Outcome;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Cooldown after 401, 402 or 403 (F18): a rotated or exhausted key may be mended meanwhile.
const REFUSED_MS: u64 = 60_000;

/// Cooldown of one secret; endpoints of the same provider share it.
#[derive(Debug, Default)]
pub struct CredentialLive {
    cooling_until: AtomicU64,
}

impl CredentialLive {
    /// Takes in how an attempt with this credential ended; only a refused credential counts.
    pub fn record(&self, outcome: Outcome, now_ms: u64, retry_after: Option<u32>) {
        if scope(outcome) == Scope::Credential {
            let ms = retry_after.map_or(REFUSED_MS, scope::asked_ms).max(REFUSED_MS);
            self.cooling_until.fetch_max(now_ms.saturating_add(ms), Relaxed);
        }
    }

    /// Milliseconds until the cooldown ends, 0 if there is none.
    #[must_use]
    pub fn cooling_ms(&self, now_ms: u64) -> u64 {
        self.cooling_until.load(Relaxed).saturating_sub(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_credential_cools_for_a_minute() {
        let live = CredentialLive::default();
        for (outcome, name) in Outcome::ALL {
            if outcome != Outcome::Credential {
                live.record(outcome, 0, Some(300));
                assert_eq!(live.cooling_ms(0), 0, "{name}");
            }
        }
        live.record(Outcome::Credential, 5, Some(1));
        assert_eq!(live.cooling_ms(5), 60_000);
        assert_eq!(live.cooling_ms(60_005), 0);
    }
}
