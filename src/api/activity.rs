//! `GET activity`: what a workspace has used by day, model and endpoint (contract section 1.9).

use crate::ledger::{Activity, Wanted};
use crate::price::format_usd;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Number, Value, json};
use sha2::{Digest, Sha256};

const DAY_SECONDS: i64 = 86_400;
/// Days that are told beside the one under way.
const DAYS: u64 = 30;

/// What a query asks for, on the UTC day `today` (since 1970), of one workspace.
///
/// # Errors
/// Which parameter is wrong, and what would be right.
pub fn wanted(query: &str, workspace: &str, today: u64) -> Result<Wanted, &'static str> {
    let workspace = workspace.to_owned();
    let days = today.saturating_sub(DAYS)..=today;
    let mut wanted = Wanted { workspace, days, key: None, users: None };
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "date" => {
                let day = day(value).filter(|day| wanted.days.contains(day));
                let day = day.ok_or("date must be a day of the last 30, as 2026-09-01")?;
                wanted.days = day..=day;
            }
            "api_key_hash" => {
                let mut digest = [0; 32];
                let read = hex::decode_to_slice(value, &mut digest);
                read.map_err(|_| "api_key_hash must be 64 hexadecimal digits")?;
                wanted.key = Some(digest);
            }
            // Users are known by their hash where they came by this face.
            "user_id" => {
                let hashed = hex::encode(Sha256::digest(value.as_bytes()));
                wanted.users = Some([value.to_owned(), hashed]);
            }
            _ => {}
        }
    }
    Ok(wanted)
}

fn day(text: &str) -> Option<u64> {
    let date: Date = text.parse().ok()?;
    let midnight = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
    u64::try_from(midnight.as_second() / DAY_SECONDS).ok()
}

/// The whole body, the newest day first.
#[must_use]
pub fn render(activity: &Activity) -> Bytes {
    let rows: Vec<Value> = activity
        .iter()
        .rev()
        .map(|(place, total)| {
            json!({
                "date": date(place.day),
                "model": place.model,
                "model_permaslug": place.model,
                "endpoint_id": place.endpoint,
                "provider_name": place.provider_name,
                "usage": format_usd(total.charge).parse::<Number>().ok(),
                "byok_usage_inference": 0,
                "requests": total.requests,
                "prompt_tokens": number(total.prompt),
                "completion_tokens": number(total.completion),
                "reasoning_tokens": number(total.reasoning),
            })
        })
        .collect();
    json!({ "data": rows }).to_string().into()
}

fn date(day: u64) -> Option<String> {
    let second = i64::try_from(day).ok()?.checked_mul(DAY_SECONDS)?;
    let at = Timestamp::from_second(second).ok()?;
    Some(at.to_zoned(TimeZone::UTC).date().to_string())
}

/// A number of any length.
fn number(sum: i128) -> Option<Number> {
    sum.to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Place, Total};

    /// 2026-09-01.
    const TODAY: u64 = 20_697;

    #[test]
    fn a_query_narrows_and_what_is_wrong_is_said() {
        let all = wanted("", "acme", TODAY).unwrap();
        assert_eq!((all.days, all.key, all.users), (TODAY - 30..=TODAY, None, None));
        let hash = "ab".repeat(32);
        let query = format!("date=2026-08-31&api_key_hash={hash}&user_id=u&limit=9");
        let some = wanted(&query, "acme", TODAY).unwrap();
        assert_eq!((some.days, some.key), (TODAY - 1..=TODAY - 1, Some([0xab; 32])));
        assert_eq!(some.users.unwrap()[0], "u");
        for wrong in ["date=", "date=2026-09-02", "date=2026-08-01", "api_key_hash=ab", "date=x"] {
            assert!(wanted(wrong, "acme", TODAY).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rows_have_the_contracts_fields_and_every_digit() {
        let place = |day, model: &str| Place {
            day,
            model: model.to_owned(),
            provider_name: "North".to_owned(),
            endpoint: "north".to_owned(),
        };
        let total = Total {
            requests: 2,
            prompt: i128::from(u64::MAX) * 2,
            completion: 5,
            reasoning: 3,
            charge: 1_000_000_000_001,
        };
        let activity = Activity::from([
            (place(TODAY - 1, "a/b"), Total::default()),
            (place(TODAY, "a/b"), total),
        ]);
        let text = String::from_utf8(render(&activity).to_vec()).unwrap();
        assert!(text.contains(r#""usage":1.000000000001"#), "{text}");
        assert!(text.contains(r#""prompt_tokens":36893488147419103230"#), "{text}");
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["data"][0]["date"], "2026-09-01");
        assert_eq!(body["data"][1]["date"], "2026-08-31");
        let keys: Vec<_> = body["data"][0].as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            keys,
            [
                "byok_usage_inference",
                "completion_tokens",
                "date",
                "endpoint_id",
                "model",
                "model_permaslug",
                "prompt_tokens",
                "provider_name",
                "reasoning_tokens",
                "requests",
                "usage"
            ]
        );
    }
}
