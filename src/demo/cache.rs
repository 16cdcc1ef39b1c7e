//! A simulated provider's cache of prompts: which beginnings it has read lately.

use super::ask::Ask;
use crate::bounds::SIMULATED_CACHE_BLOCKS;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Prompts are cached in whole blocks of so many tokens.
const BLOCK_TOKENS: u64 = 16;
/// Bytes of a block, at four to a token.
const BLOCK_BYTES: usize = 64;
/// Seconds a block is kept for at least after it was last read, and at most for twice as long.
const KEPT_SECONDS: u64 = 300;

/// The blocks of every prompt, each known by itself and all before it.
#[derive(Debug, Default)]
pub(super) struct PromptCache {
    young: HashSet<u64>,
    old: HashSet<u64>,
    /// When `young` began, Unix seconds.
    since: u64,
}

impl PromptCache {
    /// How many tokens this prompt begins with that were read before; from now on all of them were.
    /// `now` in Unix seconds.
    pub(super) fn read(&mut self, ask: &Ask, now: u64) -> u64 {
        if self.young.len() >= SIMULATED_CACHE_BLOCKS || now > self.since + KEPT_SECONDS {
            let forgets = now > self.since + 2 * KEPT_SECONDS;
            self.old = std::mem::take(&mut self.young);
            if forgets {
                self.old.clear();
            }
            self.since = now;
        }
        let mut hasher = DefaultHasher::new();
        ask.model.hash(&mut hasher);
        let (mut cached, mut known) = (0, true);
        for block in ask.prompt().chunks_exact(BLOCK_BYTES) {
            block.hash(&mut hasher);
            let block = hasher.finish();
            known &= self.young.contains(&block) || self.old.contains(&block);
            cached += if known { BLOCK_TOKENS } else { 0 };
            self.young.insert(block);
        }
        cached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(model: &str, messages: &[&str]) -> Ask {
        let messages: Vec<_> = messages
            .iter()
            .map(|text| serde_json::json!({"role": "user", "content": text}))
            .collect();
        serde_json::from_value(serde_json::json!({"model": model, "messages": messages})).unwrap()
    }

    #[test]
    fn what_a_prompt_begins_with_is_known_the_second_time() {
        let mut cache = PromptCache::default();
        let long = "x".repeat(1_000);
        let first = ask("m", &[&long]);
        assert_eq!(cache.read(&first, 9), 0);
        let whole = first.prompt_tokens() / BLOCK_TOKENS * BLOCK_TOKENS;
        assert_eq!(cache.read(&first, 9), whole);
        assert_eq!(cache.read(&ask("m", &[&long, "more"]), 9), whole, "it goes on");
        assert_eq!(cache.read(&ask("n", &[&long]), 9), 0, "another model's cache is another");
        let other = long.replacen('x', "y", 1);
        assert_eq!(cache.read(&ask("m", &[&other]), 9), 0, "only from the beginning");
        assert_eq!(cache.read(&ask("m", &["short"]), 9), 0);
    }

    #[test]
    fn a_prompt_is_forgotten_after_a_while_unless_it_is_read() {
        let mut cache = PromptCache::default();
        let (read, left) = (ask("m", &[&"x".repeat(500)]), ask("m", &[&"y".repeat(500)]));
        cache.read(&read, 0);
        cache.read(&left, 0);
        for minute in 1..30 {
            assert!(cache.read(&read, minute * 60) > 0, "minute {minute}");
        }
        assert_eq!(cache.read(&left, 1_800), 0);
        assert_eq!(cache.read(&read, 1_800 + 2 * KEPT_SECONDS + 301), 0, "none came for long");
    }

    #[test]
    fn blocks_are_bounded() {
        let mut cache = PromptCache::default();
        let blocks = SIMULATED_CACHE_BLOCKS * 2 + 10;
        for number in 0..blocks {
            cache.read(&ask("m", &[&format!("{number:0>52}")]), 0);
            assert!(cache.young.len() <= SIMULATED_CACHE_BLOCKS);
        }
        assert!(cache.old.len() <= SIMULATED_CACHE_BLOCKS);
    }
}
