//! Bytes in and out: the small vocabulary that slots and spool rows are written in.
//!
//! Integers are LEB128 (7 bits a byte, low first); texts and byte strings carry their length.

/// Somewhere bytes can be put.
pub(super) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn varint(&mut self, value: u64) {
        self.varint128(u128::from(value));
    }

    fn varint128(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    /// Signed, zigzag: small magnitudes stay short.
    fn signed(&mut self, value: i128) {
        self.varint128(((value << 1) ^ (value >> 127)) as u128);
    }

    fn text(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.put(text.as_bytes());
    }

    /// Only the counters that are not zero: a bit mask, then their values.
    fn sparse(&mut self, counts: &[u64]) {
        let mask = counts.iter().rev().fold(0u64, |mask, n| mask << 1 | u64::from(*n != 0));
        self.varint(mask);
        counts.iter().filter(|n| **n != 0).for_each(|n| self.varint(*n));
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A buffer on the stack. What does not fit is dropped and remembered.
pub(super) struct Fixed<const N: usize> {
    bytes: [u8; N],
    len: usize,
    overflowed: bool,
}

impl<const N: usize> Fixed<N> {
    pub(super) fn new() -> Self {
        Self { bytes: [0; N], len: 0, overflowed: false }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }
}

impl<const N: usize> Put for Fixed<N> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        match self.bytes.get_mut(self.len..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len = end;
            }
            None => self.overflowed = true,
        }
    }
}

/// Reads what [`Put`] wrote. `None` wherever the bytes do not hold it; never panics.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn bool(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        self.varint128()?.try_into().ok()
    }

    pub(super) fn varint128(&mut self) -> Option<u128> {
        let mut value = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.u8()?;
            let part = u128::from(byte & 0x7f);
            if shift > 121 && part > 0b11 {
                return None;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i128> {
        let raw = self.varint128()?;
        Some((raw >> 1) as i128 ^ -((raw & 1) as i128))
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.varint()?).ok()?;
        std::str::from_utf8(self.bytes(len)?).ok()
    }

    pub(super) fn sparse<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mask = self.varint()?;
        if N < 64 && mask >> N != 0 {
            return None;
        }
        let mut counts = [0; N];
        for (position, count) in counts.iter_mut().enumerate() {
            if mask >> position & 1 == 1 {
                *count = self.varint()?;
            }
        }
        Some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(n in any::<u64>(), s in any::<i128>(), t in ".{0,40}", c in any::<[u64; 8]>()) {
            let mut out = Vec::new();
            out.varint(n);
            out.signed(s);
            out.text(&t);
            out.sparse(&c);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.varint(), Some(n));
            prop_assert_eq!(reader.signed(), Some(s));
            prop_assert_eq!(reader.text(), Some(t.as_str()));
            prop_assert_eq!(reader.sparse::<8>(), Some(c));
            prop_assert!(reader.0.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader(&bytes);
            while !reader.0.is_empty() && (reader.text().is_some() || reader.signed().is_some() || reader.u8().is_some()) {}
        }
    }

    #[test]
    fn a_fixed_buffer_holds_its_size_and_not_one_byte_more() {
        let mut fixed = Fixed::<4>::new();
        fixed.put(&[1, 2, 3, 4]);
        assert!(!fixed.overflowed());
        fixed.put(&[5]);
        assert_eq!((fixed.overflowed(), fixed.as_slice()), (true, &[1u8, 2, 3, 4][..]));
    }
}
