//! The ways to write a request that Weir does not serve, each with its status and its words.

/// Declares the closed set: name, label of `weir_bad_request_total`, status, what the caller reads.
macro_rules! bad_requests {
    ($($(#[$doc:meta])* $name:ident $label:literal $status:literal $says:literal;)*) => {
        /// Why a request is refused for how it is written (S5, F50, F52, F57, F58).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum BadRequest { $($(#[$doc])* $name,)* }

        impl BadRequest {
            /// Every kind, in the order of its index.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The label in metrics.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// The status of the answer.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The message of the answer: what was wrong, none of what was sent.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$name => $says,)* }
            }
        }
    };
}

bad_requests! {
    /// A bare CR, a bare LF, or a NUL in a line that has not ended.
    Line "line" 400 "A line of the request head does not end in CRLF";
    RequestLine "request_line" 400 "The request line is malformed";
    /// Also HTTP/0.9, which has no version to name, and HTTP/2's preface on a listener without it.
    Version "version" 505 "Only HTTP/1.1 and HTTP/1.0 are served on this connection";
    /// CONNECT and TRACE, whatever they aim at.
    Method "method" 405 "CONNECT and TRACE are not served";
    /// Absolute, authority and asterisk form, or a byte that no path has.
    Target "target" 400 "The request target is not a path";
    TargetSize "target_size" 414 "The request target is too long";
    Fold "fold" 400 "A header field is folded over lines";
    /// No colon, an empty name, a byte that no name has, a blank before the colon.
    Name "name" 400 "A header field has no well-formed name";
    /// Others read `_` as `-`.
    Underscore "underscore" 400 "A header field has an underscore in its name";
    Value "value" 400 "A header field has a control character in its value";
    Fields "fields" 431 "Request Header Fields Too Large: at most 100 are read";
    HeadSize "head_size" 431 "Request Header Fields Too Large: at most 32768 bytes";
    /// None, two, or one that no host has.
    Host "host" 400 "Exactly one well-formed Host is needed";
    /// Two, though they agree, or anything but a plain number.
    Length "length" 400 "Content-Length is not exactly one plain number";
    Coding "coding" 400 "The only transfer coding served is one chunked";
    LengthAndCoding "length_and_coding" 400 "Content-Length and Transfer-Encoding are both present";
    OldBody "http_1_0_body" 400 "A request with a body needs HTTP/1.1";
    Chunk "chunk" 400 "The chunked body is malformed";
    Upgrade "upgrade" 400 "Upgrades are not served";
    Expect "expect" 417 "The only expectation served is one 100-continue";
    ContentCoding "content_coding" 415 "Compressed request bodies are not accepted";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{HEAD_BYTES, HEAD_FIELDS};
    use std::collections::BTreeSet;

    #[test]
    fn indices_labels_and_words_are_one_to_one() {
        for (index, bad) in BadRequest::ALL.iter().enumerate() {
            assert_eq!(*bad as usize, index);
            assert!(matches!(bad.status(), 400..=431 | 505), "{bad:?}");
        }
        assert!(BadRequest::HeadSize.says().contains(&format!(" {HEAD_BYTES} ")));
        assert!(BadRequest::Fields.says().contains(&format!(" {HEAD_FIELDS} ")));
        let labels: BTreeSet<_> = BadRequest::ALL.iter().map(|bad| bad.label()).collect();
        let words: BTreeSet<_> = BadRequest::ALL.iter().map(|bad| bad.says()).collect();
        assert_eq!((labels.len(), words.len()), (BadRequest::ALL.len(), BadRequest::ALL.len()));
    }
}
