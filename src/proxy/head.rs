//! What a well-formed head says beside its framing and its path.

use crate::request::bad_request::BadRequest;
use http::{HeaderValue, header};
use pingora_http::RequestHeader;

/// Java's client offers cleartext HTTP/2 with every first request; a server that stays with HTTP/1.1
/// ignores the offer (RFC 9110, section 7.8).
pub(super) fn ignore_h2c(head: &mut RequestHeader) {
    let mut offers = head.headers.get_all(header::UPGRADE).iter();
    let only = offers.next().is_some_and(|offer| offer.as_bytes().eq_ignore_ascii_case(b"h2c"));
    if only && offers.next().is_none() {
        head.remove_header(&header::UPGRADE);
    }
}

/// Takes `Connection` away once it has been heard: Pingora would drop the request without an answer
/// for some fields it can name, and none of them goes upstream anyway.
pub(super) fn end_hop(head: &mut RequestHeader) {
    head.remove_header(&header::CONNECTION);
}

/// Refuses what a well-formed head may not ask for, of either version of HTTP.
pub(super) fn asks_no_more(head: &RequestHeader) -> Result<(), BadRequest> {
    if head.headers.contains_key(header::UPGRADE) {
        return Err(BadRequest::Upgrade);
    }
    let mut expectations = head.headers.get_all(header::EXPECT).iter();
    let unknown = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if expectations.next().is_some_and(unknown) || expectations.next().is_some() {
        return Err(BadRequest::Expect);
    }
    let mut codings = head.headers.get_all(header::CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(BadRequest::ContentCoding);
    }
    Ok(())
}
