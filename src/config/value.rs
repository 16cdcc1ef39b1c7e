//! How single values are written: one parser for each sort, used by every file.

use super::document::suggest;
use crate::bounds;
use crate::price::parse_ceiling;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

/// A sort of value that a key can have.
pub(super) trait Value: Sized {
    /// What would be right, for the error: "expected ...".
    const EXPECTED: &'static str;
    /// `None` if this is not one.
    fn read(value: &DeValue<'_>) -> Option<Self>;
}

impl Value for String {
    const EXPECTED: &'static str = "a string";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
}

impl Value for u64 {
    const EXPECTED: &'static str = "a whole number, 0 or more";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let integer = value.as_integer()?;
        Self::from_str_radix(integer.as_str(), integer.radix()).ok()
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path, relative to this file's directory or absolute";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().filter(|text| !text.is_empty()).map(Self::from)
    }
}

impl Value for Vec<String> {
    const EXPECTED: &'static str = "an array of strings, such as [\"a\", \"b\"]";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a time over zero such as \"250ms\", \"10s\" or \"2m\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Pause::read(value).map(|Pause(time)| time).filter(|time| !time.is_zero())
    }
}

/// A time that may be zero, where that says "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause(pub Duration);

impl Value for Pause {
    const EXPECTED: &'static str = "a time such as \"250ms\" or \"10s\", or \"0s\" for never";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let time = Duration::from_millis(quantity(value.as_str()?, &DURATIONS)?);
        (time <= bounds::DURATION_MAX).then_some(Self(time))
    }
}

/// A number of bytes, written with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes(pub u64);

impl Value for Bytes {
    const EXPECTED: &'static str = "a size such as \"512B\", \"64KiB\", \"16MiB\" or \"4GiB\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        quantity(value.as_str()?, &SIZES).map(Self)
    }
}

/// Dollars, in quotes because TOML's numbers are floating point.
pub(super) struct Amount(pub String);

impl Value for Amount {
    const EXPECTED: &'static str = "dollars as a decimal in quotes, such as \"0.05\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        String::read(value).map(Self)
    }
}

/// A score in thousandths, in quotes because TOML's numbers are floating point.
pub(super) struct Score(pub u64);

impl Value for Score {
    const EXPECTED: &'static str = "a number in quotes, such as \"57.1\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        parse_ceiling(value.as_str()?, 1).map(|pico| Self(pico / 1_000_000_000))
    }
}

/// A day or an instant, written as TOML writes them; Unix microseconds.
pub(super) struct Moment(pub u64);

impl Value for Moment {
    const EXPECTED: &'static str =
        "a date such as 2026-09-01 (midnight in UTC), or a time such as 2026-09-01T16:00:00Z";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let DeValue::Datetime(written) = value else { return None };
        let text = match (written.date, written.time, written.offset) {
            (Some(date), None, None) => format!("{date}T00:00:00Z"),
            _ => written.to_string(),
        };
        let at: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(at.as_microsecond()).ok().map(Self)
    }
}

/// A time of day; minutes since midnight.
pub(super) struct Clock(pub u16);

impl Value for Clock {
    const EXPECTED: &'static str = "a time of the day in UTC such as \"16:30\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let (hours, minutes) = value.as_str()?.split_once(':')?;
        let part = |text: &str, below: u16| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|number| digits && *number < below)
        };
        Some(Self(part(hours, 24)? * 60 + part(minutes, 60)?))
    }
}

/// A table, as the JSON a request would write it in.
pub(super) struct Json(pub String);

impl Value for Json {
    const EXPECTED: &'static str = "a table as the request field of this name";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_table()?;
        Some(Self(json(value)?.to_string()))
    }
}

/// The JSON of a value; `None` for a date, which JSON lacks.
pub(crate) fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    Some(match value {
        DeValue::String(text) => serde_json::Value::from(&**text),
        DeValue::Boolean(truth) => serde_json::Value::from(*truth),
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok()?,
        DeValue::Float(float) => float.as_str().parse().ok()?,
        DeValue::Array(items) => {
            items.iter().map(|item| json(item.get_ref())).collect::<Option<Vec<_>>>()?.into()
        }
        DeValue::Table(table) => {
            let member =
                |(key, value): (
                    &toml::Spanned<toml::de::DeString<'_>>,
                    &toml::Spanned<DeValue<'_>>,
                )| { Some((key.get_ref().to_string(), json(value.get_ref())?)) };
            table.iter().map(member).collect::<Option<serde_json::Map<_, _>>>()?.into()
        }
        DeValue::Integer(_) | DeValue::Datetime(_) => return None,
    })
}

/// Units of time in milliseconds.
const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
/// Units of size in bytes.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A whole number directly followed by one of the units.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Whether a text may name something of ours: it becomes a metric label, a log field, part of a row.
pub(super) fn is_name(text: &str) -> bool {
    (1..=bounds::MODEL_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte))
}

/// A lowercase word that names a provider, credential, workspace or region.
///
/// # Errors
/// What a slug may be made of.
pub(crate) fn slug(text: String) -> Result<String, String> {
    let fits = (1..=bounds::SLUG_BYTES).contains(&text.len());
    let clean = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    if fits && clean {
        return Ok(text);
    }
    Err(format!(
        "expected a lowercase name of a-z 0-9 . _ - with at most {} characters",
        bounds::SLUG_BYTES
    ))
}

/// A text for people: printable, one line, short.
///
/// # Errors
/// How long it may be.
pub(crate) fn title(text: String) -> Result<String, String> {
    if (1..=bounds::SLUG_BYTES).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    Err(format!("expected one line of at most {} bytes", bounds::SLUG_BYTES))
}

/// Whether a text is `author/name` in lowercase, short enough to be asked for.
pub(super) fn is_model_slug(text: &str) -> bool {
    let is_part = |part: &str| slug(part.to_owned()).is_ok();
    text.len() <= bounds::MODEL_NAME_BYTES
        && text.split_once('/').is_some_and(|(author, name)| is_part(author) && is_part(name))
}

/// A count of at least one.
pub(super) fn positive(count: u64) -> Result<u64, String> {
    if count > 0 { Ok(count) } else { Err("expected 1 or more".to_owned()) }
}

/// A list of known words.
pub(super) fn each_of(list: Vec<String>, known: &[&str]) -> Result<Vec<String>, String> {
    match list.iter().find(|word| !known.contains(&word.as_str())) {
        Some(stranger) => Err(suggest(stranger, known)),
        None => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn duration(text: &str) -> Option<Duration> {
        Duration::read(&DeValue::String(text.into()))
    }

    #[test]
    fn durations_have_one_form() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("720h"), Some(bounds::DURATION_MAX));
        for wrong in [
            "0s",
            "10",
            "s",
            "",
            "1.5s",
            "-1s",
            "+1s",
            "10 s",
            "1M",
            "721h",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn moments_are_days_or_instants_and_never_of_an_unknown_zone() {
        let read = |text: &str| {
            let toml = format!("at = {text}");
            let table = toml::de::DeTable::parse(&toml).unwrap();
            Moment::read(table.get_ref()["at"].get_ref()).map(|Moment(us)| us / 1_000_000)
        };
        assert_eq!(read("2026-09-01"), Some(1_788_220_800));
        assert_eq!(read("2026-09-01T00:00:00Z"), Some(1_788_220_800));
        assert_eq!(read("2026-09-01T02:00:00+02:00"), Some(1_788_220_800));
        for wrong in ["2026-09-01T00:00:00", "10:00:00", "1969-01-01", "\"2026-09-01\"", "7"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_of_day_have_one_form() {
        let read = |text: &str| Clock::read(&DeValue::String(text.into())).map(|Clock(m)| m);
        assert_eq!((read("00:00"), read("16:30"), read("23:59")), (Some(0), Some(990), Some(1439)));
        for wrong in ["", "1630", "24:00", "16:60", "1:00", "+1:00", "16:3", "16:30:00"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(Bytes::read(&DeValue::String("64MiB".into())), Some(Bytes(64 << 20)));
        assert_eq!(Bytes::read(&DeValue::String("0B".into())), Some(Bytes(0)));
        for wrong in ["64", "64MB", "64mib", "18446744073709551615KiB"] {
            assert_eq!(Bytes::read(&DeValue::String(wrong.into())), None, "{wrong}");
        }
    }

    #[test]
    fn slugs_are_bounded() {
        assert!(slug("a".repeat(bounds::SLUG_BYTES)).is_ok());
        assert!(slug("a".repeat(bounds::SLUG_BYTES + 1)).is_err());
        for wrong in ["", "Groq", "a b", "a/b", "é"] {
            assert!(slug(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert!(title("x".repeat(bounds::SLUG_BYTES)).is_ok());
        assert!(
            title("x".repeat(bounds::SLUG_BYTES + 1)).is_err() && title("a\nb".to_owned()).is_err()
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
            let _ = (duration(&text), quantity(&text, &SIZES), is_name(&text));
        }
    }
}
