//! The order of what policy and live state left.

use super::draw::{SplitMix64, by_price};
use super::quality;
use super::{Candidate, Facts, Grade, Question, Sort};

/// Reasons to be tried later than others: a set, of which the heavier outweigh all the lighter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demotion(u8);

impl Demotion {
    /// Worse than others for tool requests (contract 3.6).
    pub const QUALITY: Self = Self(1);
    /// The prompt may be too long for it.
    pub const CONTEXT: Self = Self(1 << 1);
    /// Uptime grades (contract 3.3).
    pub const LOWER: Self = Self(1 << 2);
    /// Misses a performance cut-off (contract 3.5).
    pub const CUTOFF: Self = Self(1 << 3);
    pub const FALLBACK: Self = Self(1 << 4);
    /// An outage in the last 30 s (contract 3.2), or a state that would exclude where it could not.
    pub const OUTAGE: Self = Self(1 << 5);

    /// Every reason with its label, the lightest first.
    pub const ALL: [(&'static str, Self); 6] = [
        ("quality", Self::QUALITY),
        ("context", Self::CONTEXT),
        ("uptime_lower", Self::LOWER),
        ("cutoff", Self::CUTOFF),
        ("uptime_fallback", Self::FALLBACK),
        ("outage", Self::OUTAGE),
    ];

    #[must_use]
    pub const fn has(self, reason: Self) -> bool {
        self.0 & reason.0 != 0
    }

    pub(super) fn add(&mut self, reason: Self, holds: bool) {
        self.0 |= if holds { reason.0 } else { 0 };
    }

    /// The labels of its reasons.
    pub fn labels(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().filter(move |(_, reason)| self.has(*reason)).map(|(label, _)| label)
    }
}

/// What an endpoint was ranked by. The lower the earlier, field by field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Into the candidates.
    pub index: usize,
    /// Place in the asked order.
    pub position: usize,
    /// Place of its service tier.
    pub tier: u8,
    /// 0 for the endpoint this conversation sticks to.
    pub cold: u8,
    pub demotion: Demotion,
    /// Place among those that a rule prefers.
    pub preferred: u8,
    /// What `sort` sorts by; 0 without.
    pub metric: u64,
    /// What this request is expected to cost there, pico-dollars.
    pub price: u64,
    pub in_flight: u32,
    /// Place, tier, stickiness, demotions and preference in one number: none but the place has more
    /// than a byte.
    pub(super) class: u64,
}

impl Score {
    fn set_class(&mut self) {
        let place = u64::try_from(self.position).unwrap_or(u64::MAX) << 32;
        let Demotion(demotion) = self.demotion;
        let bytes = [self.tier, self.cold, demotion, self.preferred];
        self.class = place | u64::from(u32::from_be_bytes(bytes));
    }

    /// What scores are sorted by.
    #[must_use]
    pub fn key(&self) -> impl Ord + use<> {
        (self.class, self.metric, self.price)
    }
}

/// Sorts `ranked` in place: asked ones as asked, then by tier, stickiness, demotion and preference, each by
/// what `sort` says or by price; and without an asked order or sort draws the first: whether it did is returned.
pub(super) fn arrange(
    ranked: &mut [Score],
    candidates: &[Candidate<'_>],
    question: &Question<'_>,
    mut random: SplitMix64,
) -> bool {
    let balances = question.ask.order.is_empty() && question.ask.sort().is_none();
    for score in ranked.iter_mut() {
        if let Some(candidate) = candidates.get(score.index) {
            rate(score, candidate, question);
        }
    }
    quality::grade(ranked, candidates, question);
    ranked.iter_mut().for_each(Score::set_class);
    if balances {
        shuffle(ranked, &mut random);
    }
    // Stable, so equal ones stay as drawn.
    ranked.sort_by_key(Score::key);
    if balances {
        draw_first(ranked, &mut random);
    }
    balances
}

/// Fills in all of a score but its tier.
fn rate(score: &mut Score, candidate: &Candidate<'_>, question: &Question<'_>) {
    let Question { ask, needs, now_us, .. } = question;
    let (endpoint, facts) = (candidate.endpoint, &candidate.facts);
    score.position = ask.position(endpoint);
    // An asked place is kept whatever happens; the rest are demoted while they have trouble.
    if score.position == ask.order.len() {
        let output = needs.output_tokens.unwrap_or(0);
        let length = needs.likely_tokens.saturating_add(output);
        let demotion = &mut score.demotion;
        demotion.add(Demotion::OUTAGE, facts.outage || facts.ejected || facts.down);
        demotion.add(Demotion::FALLBACK, facts.grade == Grade::Fallback);
        demotion.add(Demotion::LOWER, facts.grade == Grade::Lower);
        demotion.add(Demotion::CUTOFF, ask.misses_cutoff(facts));
        demotion.add(Demotion::CONTEXT, length > endpoint.context_length);
    }
    // Stickiness gives way to what the caller asked for and to whatever makes a fallback.
    let warm = facts.warm && ask.order.is_empty() && score.demotion < Demotion::CUTOFF;
    score.cold = u8::from(!warm);
    score.preferred = ask.preference(endpoint);
    let rates = endpoint.price.rates(*now_us, needs.likely_tokens);
    score.price = rates.expected(needs.likely_tokens, needs.output_tokens, facts.warm);
    score.in_flight = facts.in_flight;
    score.metric = match ask.sort() {
        Some(Sort::Throughput) => u64::from(u32::MAX - throughput(facts)),
        Some(Sort::Latency) => {
            Some(facts.latency_ms[0]).filter(|ms| *ms > 0).map_or(u64::MAX, u64::from)
        }
        Some(Sort::Price | Sort::Exacto) | None => 0,
    };
}

pub(super) const fn throughput(facts: &Facts) -> u32 {
    let [median, ..] = facts.throughput;
    median
}

/// Moves one of the leading class to the front, drawn by price; of equal prices the one of two with
/// less in flight (power of two choices), so that replicas share work.
fn draw_first(ranked: &mut [Score], random: &mut SplitMix64) {
    let Some(class) = ranked.first().map(|score| score.class) else { return };
    let front = ranked.iter().take_while(|score| score.class == class);
    let drawn = by_price(front.clone().map(|score| score.price), random);
    let Some(Score { price, in_flight, .. }) = ranked.get(drawn).copied() else { return };
    // The class is sorted by price, so equal ones stand together.
    let first = front.clone().take_while(|score| score.price != price).count();
    let count = front.filter(|score| score.price == price).count();
    let mut chosen = drawn;
    if count > 1 {
        let other = first + random.below(count - 1);
        let other = if other >= drawn { other + 1 } else { other };
        if ranked.get(other).is_some_and(|score| score.in_flight < in_flight) {
            chosen = other;
        }
    }
    if let Some(head) = ranked.get_mut(..=chosen) {
        head.rotate_right(1);
    }
}

fn shuffle(ranked: &mut [Score], random: &mut SplitMix64) {
    for end in (1..ranked.len()).rev() {
        ranked.swap(end, random.below(end + 1));
    }
}
