//! Hides a provider's own secret in what it answers: error bodies like to quote the key they refuse.

use crate::bounds::SCRUBBED_SECRET_BYTES;
use bytes::{Bytes, BytesMut};
use memchr::{memchr_iter, memmem};

/// One reply on its way in.
#[derive(Debug, Default)]
pub struct Scrub {
    /// The end of the last read, where it could be the beginning of the secret.
    held: BytesMut,
}

impl Scrub {
    /// One read with every byte of the secret replaced, so that lengths and JSON stay as they were.
    /// An end that could be the secret's beginning waits for the next read; nothing does after `end`.
    ///
    /// A secret shorter than [`SCRUBBED_SECRET_BYTES`] is a placeholder and is let pass.
    pub fn pass(&mut self, secret: &[u8], read: Option<Bytes>, end: bool) -> Option<Bytes> {
        if secret.len() < SCRUBBED_SECRET_BYTES {
            return read;
        }
        let tail = |bytes: &[u8]| if end { 0 } else { begun(secret, bytes) };
        if self.held.is_empty() {
            let bytes = read.as_deref().unwrap_or_default();
            if memmem::find(bytes, secret).is_none() && tail(bytes) == 0 {
                return read;
            }
        }
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(&read.unwrap_or_default());
        let mut at = 0;
        while let Some(found) = bytes.get(at..).and_then(|rest| memmem::find(rest, secret)) {
            let start = at + found;
            at = start + secret.len();
            bytes.get_mut(start..at).unwrap_or_default().fill(b'*');
        }
        self.held = bytes.split_off(bytes.len() - tail(&bytes));
        Some(bytes.freeze())
    }
}

/// How many of the last bytes are the secret's first, all of it excluded.
fn begun(secret: &[u8], bytes: &[u8]) -> usize {
    let Some((first, _)) = secret.split_first() else { return 0 };
    let skipped = bytes.len().saturating_sub(secret.len() - 1);
    let last = bytes.get(skipped..).unwrap_or_default();
    let fits = |at: &usize| last.get(*at..).is_some_and(|end| secret.starts_with(end));
    memchr_iter(*first, last).find(fits).map_or(0, |at| last.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"sk-sk-secret-0123456789";

    fn passed(reads: &[&[u8]]) -> Vec<u8> {
        let mut scrub = Scrub::default();
        let mut out = Vec::new();
        for (index, read) in reads.iter().enumerate() {
            let end = index + 1 == reads.len();
            let read = Bytes::copy_from_slice(read);
            out.extend_from_slice(&scrub.pass(SECRET, Some(read), end).unwrap_or_default());
        }
        out
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_cut() {
        let text = [b"key sk-sk-", SECRET, b" and ", SECRET, SECRET, b" sk-sk"].concat();
        let hidden = "*".repeat(SECRET.len());
        let wanted = format!("key sk-sk-{hidden} and {hidden}{hidden} sk-sk");
        for cut in 0..=text.len() {
            let (one, two) = text.split_at(cut);
            assert_eq!(passed(&[one, two]), wanted.as_bytes(), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(passed(&bytes), wanted.as_bytes());
    }

    #[test]
    fn what_holds_no_secret_passes_uncopied_and_at_once() {
        let read = Bytes::from_static(b"data: {\"tasks\":1}\n\n");
        let mut scrub = Scrub::default();
        let out = scrub.pass(SECRET, Some(read.clone()), false).unwrap();
        assert_eq!((out.as_ptr(), out.len()), (read.as_ptr(), read.len()));
        assert_eq!(scrub.pass(SECRET, None, true), None);
    }

    #[test]
    fn a_beginning_that_comes_to_nothing_is_handed_on() {
        assert_eq!(passed(&[b"risk-s", b"", b"k-secret ok"]), b"risk-sk-secret ok");
        assert_eq!(passed(&[b"sk-sk-secret-012345678"]), b"sk-sk-secret-012345678");
    }

    #[test]
    fn a_placeholder_is_no_secret() {
        for (length, hidden) in [(SCRUBBED_SECRET_BYTES - 1, false), (SCRUBBED_SECRET_BYTES, true)]
        {
            let secret = vec![b'x'; length];
            let out = Scrub::default().pass(&secret, Some(secret.clone().into()), true).unwrap();
            assert_eq!(out != secret, hidden, "{length}");
        }
    }
}
