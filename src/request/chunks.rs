//! Where a chunked body ends, read so strictly that nobody else can think it ends elsewhere.
//!
//! RFC 9112, section 7.1, less what callers do not send and parsers read in different ways: no
//! blanks around a size, no LF alone, no trailers. Extensions are skipped.

use super::bad_request::BadRequest;
use crate::bounds::CHUNK_LINE_BYTES;

/// Digits of a size whose bytes can still be counted with one more digit behind them.
const SIZE_DIGITS: usize = 15;

/// Reads one body, in whatever pieces it comes.
#[derive(Debug, Default)]
pub struct Chunks {
    state: State,
    /// Of the chunk whose line is being read.
    size: u64,
    /// Bytes of that line so far.
    line: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    /// The LF of the line with the size.
    SizeEnd,
    Data(u64),
    DataCr,
    DataEnd,
    LastCr,
    LastEnd,
    Done,
}

impl Chunks {
    /// How many of these bytes belong to the body; fewer than all only when it has ended.
    ///
    /// # Errors
    /// [`BadRequest::Chunk`] where the body is not what it must be.
    pub fn read(&mut self, bytes: &[u8]) -> Result<usize, BadRequest> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied().filter(|_| !self.is_done()) {
            if let State::Data(left) = self.state {
                let here = (bytes.len() - at) as u64;
                let (taken, left) = if here < left { (here, left - here) } else { (left, 0) };
                at += usize::try_from(taken).unwrap_or(usize::MAX);
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                continue;
            }
            self.state = self.step(byte).ok_or(BadRequest::Chunk)?;
            at += 1;
        }
        Ok(at)
    }

    /// Whether the last chunk and the empty line behind it have come.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn step(&mut self, byte: u8) -> Option<State> {
        self.line += 1;
        match (self.state, byte) {
            (State::Size, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16)?;
                self.size = self.size * 16 + u64::from(digit);
                (self.line <= SIZE_DIGITS).then_some(State::Size)
            }
            (State::Size, b';') if self.line > 1 => Some(State::Extension),
            (State::Size, b'\r') if self.line > 1 => Some(State::SizeEnd),
            (State::Extension, b'\r') => Some(State::SizeEnd),
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => {
                (self.line <= CHUNK_LINE_BYTES).then_some(State::Extension)
            }
            (State::SizeEnd, b'\n') if self.size == 0 => Some(State::LastCr),
            (State::SizeEnd, b'\n') => Some(State::Data(std::mem::take(&mut self.size))),
            (State::DataCr, b'\r') => Some(State::DataEnd),
            (State::DataEnd, b'\n') => {
                self.line = 0;
                Some(State::Size)
            }
            (State::LastCr, b'\r') => Some(State::LastEnd),
            (State::LastEnd, b'\n') => Some(State::Done),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<(usize, bool), BadRequest> {
        let mut chunks = Chunks::default();
        let taken = chunks.read(bytes)?;
        Ok((taken, chunks.is_done()))
    }

    #[test]
    fn a_body_ends_behind_its_last_chunk() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "00a;x=\"y\" z\r\n0123456789\r\n000;\r\n\r\n",
            "1\r\n\n\r\n2\r\n\r\n\r\n0\r\n\r\n",
        ] {
            assert_eq!(read(body.as_bytes()), Ok((body.len(), true)), "{body:?}");
            let more = format!("{body}POST /");
            assert_eq!(read(more.as_bytes()), Ok((body.len(), true)), "{body:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for body in [
            "\r\n",
            ";x\r\n",
            " 3\r\n",
            "3 \r\n",
            "3\t;x\r\n",
            "3\n",
            "3\r\r\n",
            "+3\r\n",
            "-3\r\n",
            "0x3\r\n",
            "3_0\r\n",
            "3,3\r\n",
            "3\r\nabcd",
            "3\r\nabc\n",
            "3;x\ny\r\n",
            "3;\0\r\n",
            "0\n",
            "0\r\n\n",
            "0\r\nx: y\r\n\r\n",
            "g\r\n",
            "1000000000000000\r\n",
        ] {
            assert_eq!(read(body.as_bytes()), Err(BadRequest::Chunk), "{body:?}");
        }
    }

    #[test]
    fn a_line_may_have_so_many_bytes_and_no_more() {
        let padded = |bytes| format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(bytes));
        assert!(read(padded(CHUNK_LINE_BYTES - 2).as_bytes()).is_ok());
        assert!(read(padded(CHUNK_LINE_BYTES - 1).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            mut bytes in prop::collection::vec(prop::sample::select(b"0123a;\r\n\r\n x".to_vec()), 0..40),
            good: bool, cut in 0..60_usize,
        ) {
            if good {
                let data = std::mem::take(&mut bytes);
                for part in data.chunks(7) {
                    bytes.extend(format!("{:x}\r\n", part.len()).bytes());
                    bytes.extend(part);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            }
            let whole = read(&bytes);
            prop_assert!(!good || whole == Ok((bytes.len(), true)));
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut chunks = Chunks::default();
            let parts = chunks.read(first).and_then(|one| {
                let two = if one == first.len() { chunks.read(second)? } else { 0 };
                Ok((one + two, chunks.is_done()))
            });
            prop_assert_eq!(parts, whole);
        }
    }
}
