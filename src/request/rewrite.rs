//! The upstream body: the caller's bytes with only what must change spliced.
