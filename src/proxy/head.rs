//! What a well-formed head asks for.

use super::reply::Refusal;
use crate::bounds::HEAD_FIELDS;
use crate::error::Error;
use crate::request::bad_request::BadRequest;
use crate::request::route::{Face, Miss, Target, route};
use http::{HeaderValue, header};
use pingora_http::RequestHeader;

/// Where a head asks to go, if it is one that Weir serves at all.
pub(super) fn destination(head: &RequestHeader) -> Result<(Face, Target), Refusal> {
    if head.headers.len() > HEAD_FIELDS {
        let says = format!("Request Header Fields Too Large: at most {HEAD_FIELDS} are read");
        return Err(Refusal::closing(Error::caller(431, says)));
    }
    route(&head.method, head.uri.path()).map_err(|miss| missed(&miss))
}

fn missed(miss: &Miss) -> Refusal {
    Refusal::closing(match miss {
        Miss::Path => Error::caller(404, "Not Found"),
        Miss::Method(allowed) => {
            let message = format!("Method Not Allowed: this path is served to {allowed}");
            return Refusal::closing(Error::caller(405, message)).allowing(allowed);
        }
    })
}

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
