//! Passing over the inside of a string, many bytes a step.

/// How many bytes from the start need no look inside a string: no quote, backslash or control.
///
/// Prompts are long: 32 bytes a step (the fold becomes vector instructions), then 8, then 1.
pub(super) fn plain(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<32>();
    let clean = |block: &&[u8; 32]| !block.iter().fold(false, |hit, &byte| hit | special(byte));
    let mut at = blocks.iter().take_while(clean).count() * 32;
    let rest = bytes.get(at..).unwrap_or_default();
    for word in rest.as_chunks::<8>().0 {
        let hits = specials(u64::from_le_bytes(*word));
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|&byte| special(byte)).unwrap_or(rest.len())
}

fn special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < b' ')
}

/// [`special`] for eight bytes at once: the lowest high bit set marks the first.
fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
    let hits =
        zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control;
    hits & (ONES << 7)
}
