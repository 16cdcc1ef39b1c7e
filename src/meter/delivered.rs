//! Delivered content, counted by class of byte: what the estimate works from (F34).

/// Classes of delivered bytes the estimate works from. The discriminant is the index in the slot.
pub const CLASSES: usize = 8;

/// Delivered content per class, totals so far of one attempt: ASCII letters, digits, white space,
/// ASCII punctuation, then characters of two, three and four UTF-8 bytes; last, calls of tools, which
/// cost tokens that no text shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered(pub [u64; CLASSES]);

const LETTER: u8 = 0;
const DIGIT: u8 = 1;
const SPACE: u8 = 2;
const PUNCTUATION: u8 = 3;
const TWO: u8 = 4;
const THREE: u8 = 5;
const FOUR: u8 = 6;
const CALL: u8 = 7;
/// Bytes around the name and the arguments of a call, generously.
const CALL_BYTES: u64 = 64;
/// Bytes that begin no character: UTF-8 continuations. Not kept.
const NONE: u8 = 8;

const CLASS_OF: [u8; 256] = {
    let mut table = [NONE; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::indexing_slicing, reason = "constant; the bound is the array's length")]
        {
            table[byte] = match byte as u8 {
                b'a'..=b'z' | b'A'..=b'Z' => LETTER,
                b'0'..=b'9' => DIGIT,
                0..=b' ' | 0x7f => SPACE,
                0x80..=0xbf => NONE,
                0xc0..=0xdf => TWO,
                0xe0..=0xef => THREE,
                0xf0..=0xff => FOUR,
                _ => PUNCTUATION,
            };
        }
        byte += 1;
    }
    table
};

/// Bytes counted at one step.
const BLOCK: usize = 32;

/// How many bytes of a block are of a class.
fn of(block: &[u8; BLOCK], class: impl Fn(u8) -> bool) -> u64 {
    u64::from(block.iter().map(|byte| u8::from(class(*byte))).sum::<u8>())
}

impl Delivered {
    /// Counts the inside of a JSON string, escapes undone.
    pub fn count(&mut self, mut raw: &[u8]) {
        while let Some(escape) = memchr::memchr(b'\\', raw) {
            let (plain, rest) = raw.split_at(escape);
            self.plain(plain);
            raw = self.escape(rest);
        }
        self.plain(raw);
    }

    /// Counts one call of a tool.
    pub fn call(&mut self) {
        self.bump(CALL);
    }

    /// Adds another count.
    pub fn add(&mut self, other: &Self) {
        for (cell, more) in self.0.iter_mut().zip(other.0) {
            *cell = cell.saturating_add(more);
        }
    }

    /// Bytes of UTF-8, of a call of a tool what it takes to frame it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let weighed = self.0.iter().zip([1, 1, 1, 1, 2, 3, 4, CALL_BYTES]);
        weighed.fold(0, |sum, (count, bytes)| sum.saturating_add(count.saturating_mul(bytes)))
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; CLASSES]
    }

    /// A block at a step: counting all that is of one class becomes a few vector instructions.
    fn plain(&mut self, text: &[u8]) {
        let (blocks, rest) = text.as_chunks();
        for block in blocks {
            self.block(block);
        }
        for byte in rest {
            let class = CLASS_OF.get(usize::from(*byte)).copied().unwrap_or(NONE);
            self.bump(class);
        }
    }

    /// What [`CLASS_OF`] says, as comparisons.
    fn block(&mut self, block: &[u8; BLOCK]) {
        let letters = of(block, |byte| (byte | 0x20).wrapping_sub(b'a') < 26);
        let digits = of(block, |byte| byte.wrapping_sub(b'0') < 10);
        let spaces = of(block, |byte| (byte <= b' ') | (byte == 0x7f));
        let twos = of(block, |byte| byte & 0xe0 == 0xc0);
        let threes = of(block, |byte| byte & 0xf0 == 0xe0);
        let fours = of(block, |byte| byte >= 0xf0);
        let ascii = of(block, |byte| byte.is_ascii());
        let punctuation = ascii.saturating_sub(letters + digits + spaces);
        self.add(&Self([letters, digits, spaces, punctuation, twos, threes, fours, 0]));
    }

    /// Counts the escape `raw` begins with and returns what follows it.
    fn escape<'a>(&mut self, raw: &'a [u8]) -> &'a [u8] {
        let class = match raw.get(1) {
            Some(b'n' | b't' | b'r' | b'b' | b'f') => SPACE,
            Some(b'u') => return self.unicode(raw),
            Some(_) => PUNCTUATION,
            None => return &[],
        };
        self.bump(class);
        raw.get(2..).unwrap_or_default()
    }

    fn unicode<'a>(&mut self, raw: &'a [u8]) -> &'a [u8] {
        let unit = raw
            .get(2..6)
            .and_then(|hex| u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match unit {
            Some(ascii @ 0..0x80) => self.plain(&[ascii.to_le_bytes()[0]]),
            Some(0x80..0x800) => self.bump(TWO),
            // The high half stands for the character; the low half follows and is not counted.
            Some(0xd800..0xdc00) => self.bump(FOUR),
            Some(0xdc00..0xe000) => {}
            _ => self.bump(THREE),
        }
        raw.get(6..).unwrap_or_default()
    }

    fn bump(&mut self, class: u8) {
        // There is no cell for `NONE`.
        if let Some(cell) = self.0.get_mut(usize::from(class)) {
            *cell = cell.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(raw: &str) -> [u64; CLASSES] {
        let mut delivered = Delivered::default();
        delivered.count(raw.as_bytes());
        delivered.0
    }

    #[test]
    fn each_class_has_its_cell() {
        assert_eq!(counted("Ab1 .é€😀"), [2, 1, 1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn every_byte_counts_in_a_block_as_it_does_alone() {
        for byte in 0..=u8::MAX {
            let mut together = Delivered::default();
            together.plain(&[byte; BLOCK]);
            let mut alone = Delivered::default();
            (0..BLOCK).for_each(|_| alone.plain(&[byte]));
            assert_eq!(together, alone, "{byte:#x}");
        }
        let mixed: Vec<u8> = (0..=u8::MAX).cycle().take(3 * 256 + 17).collect();
        let mut together = Delivered::default();
        together.plain(&mixed);
        let mut alone = Delivered::default();
        mixed.iter().for_each(|byte| alone.plain(&[*byte]));
        assert_eq!(together, alone);
    }

    #[test]
    fn escapes_count_as_what_they_stand_for() {
        assert_eq!(counted(r#"\n\t\"\\\/"#), [0, 0, 2, 3, 0, 0, 0, 0]);
        assert_eq!(counted(r"\u0041\u00e9\u20ac\ud83d\ude00"), [1, 0, 0, 0, 1, 1, 1, 0]);
        assert_eq!(counted(r"a\"), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(counted(r"\u12"), [0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
