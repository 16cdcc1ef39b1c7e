//! What callers pay of what attempts cost.

use super::Pico;

/// How a charge follows from a cost; recorded in every row, so that a later policy changes none (I12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Policy {
    /// The attempt whose content reached the caller, unless it failed the caller (contract 4.7).
    #[default]
    Insured = 1,
    /// That attempt, whatever came of it.
    Delivered = 2,
    /// Every attempt: failover is passed on.
    All = 3,
}

impl Policy {
    /// Every policy with its word in configuration and ledger.
    pub const ALL: [(&'static str, Self); 3] =
        [("insured", Self::Insured), ("delivered", Self::Delivered), ("all", Self::All)];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, policy)| *policy == self).map_or("", |(word, _)| word)
    }

    /// The policy of this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, policy)| *policy)
    }

    /// The policy stored as `code` in a slot.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.iter().map(|(_, policy)| *policy).find(|policy| *policy as u64 == code)
    }

    /// What the caller pays for an attempt of this cost. `delivered`: its content reached the caller;
    /// `failed`: but is no completion.
    #[must_use]
    pub const fn charge(self, cost: Pico, delivered: bool, failed: bool) -> Pico {
        let due = match self {
            Self::Insured => delivered && !failed,
            Self::Delivered => delivered,
            Self::All => true,
        };
        if due { cost } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_charges_what_it_says() {
        let charged = |policy: Policy| {
            [(true, false), (true, true), (false, false), (false, true)]
                .map(|(delivered, failed)| policy.charge(7, delivered, failed))
        };
        assert_eq!(charged(Policy::Insured), [7, 0, 0, 0]);
        assert_eq!(charged(Policy::Delivered), [7, 7, 0, 0]);
        assert_eq!(charged(Policy::All), [7, 7, 7, 7]);
    }

    #[test]
    fn words_and_codes_are_read_back() {
        for (word, policy) in Policy::ALL {
            assert_eq!(Policy::named(word), Some(policy));
            assert_eq!(Policy::from_code(policy as u64), Some(policy));
            assert_eq!(policy.as_str(), word);
        }
        assert_eq!((Policy::named("none"), Policy::from_code(0)), (None, None));
    }
}
