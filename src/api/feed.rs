//! `GET models?use_rss=true`: the models of a query as an RSS 2.0 feed, with the links that their rows have.

use super::models::Offer;
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

/// What it is.
pub const KIND: &str = "application/rss+xml; charset=utf-8";

/// The last second whose date can be written.
const YEAR_9999: u64 = 253_402_300_799;

pub(super) fn render(offers: &[Offer<'_>]) -> Bytes {
    let mut feed = String::from(concat!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rss version=\"2.0\"><channel><title>Models</title>",
        "<link>/api/v1/models</link><description>Models that can be asked for</description>\n",
    ));
    for Offer { model, .. } in offers {
        let (slug, title) = (escaped(&model.slug), escaped(&model.name));
        let description = escaped(&model.description);
        let created = Duration::from_secs(model.created.min(YEAR_9999));
        let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + created);
        // Writing to a String cannot fail.
        let _ = writeln!(
            feed,
            "<item><title>{title}</title><link>/api/v1/model/{slug}</link>\
             <guid isPermaLink=\"false\">{slug}</guid><pubDate>{date}</pubDate>\
             <description>{description}</description></item>"
        );
    }
    feed.push_str("</channel></rss>\n");
    feed.into()
}

/// The text as XML; control characters, which XML 1.0 has not, become spaces.
fn escaped(text: &str) -> Cow<'_, str> {
    let odd = |c: char| matches!(c, '&' | '<' | '>' | '"' | '\'') || c.is_control();
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}
