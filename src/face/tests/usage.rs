//! Which report counts.

use super::*;

#[test]
fn the_last_valid_report_wins_and_odd_ones_are_flagged() {
    let usage = |text: &str| chunk(&format!(r#""choices":[],"usage":{text}"#));
    let good = r#"{"prompt_tokens":5,"completion_tokens":3}"#;
    let more = r#"{"prompt_tokens":5,"completion_tokens":8}"#;
    let cases = [
        (vec![good, more], 8, false, false),
        (vec![more, good], 8, true, false),
        (vec![good, "null", "{}"], 3, false, false),
        (vec![good, r#"{"prompt_tokens":-5,"completion_tokens":9}"#], 3, true, false),
        (vec![good, r#"{"prompt_tokens":5,"completion_tokens":"9"}"#], 3, true, false),
        (vec![good, r#"{"prompt_tokens":5,"completion_tokens":9.5}"#], 3, true, false),
        (
            vec![good, r#"{"prompt_tokens":5,"completion_tokens":1000000000000000000}"#],
            3,
            true,
            false,
        ),
        (vec![good, r#"{"prompt_tokens":5,"completion_tokens":1000000001}"#], 3, true, false),
        (
            vec![r#"{"prompt_tokens":5,"completion_tokens":1000000000}"#],
            1_000_000_000,
            false,
            false,
        ),
        (vec![good, "[1]"], 3, false, true),
        (
            vec![good, r#"{"prompt_tokens":5,"completion_tokens":9,"total_tokens":99}"#],
            9,
            true,
            false,
        ),
    ];
    for (reports, completion, suspect, unreadable) in cases {
        let events: String = reports.iter().map(|text| usage(text)).collect();
        let body = [&*delta(r#""content":"Hi""#), &events, DONE].concat();
        let sheet = every_way(&reply(Face::Faithful, true), &body).sheet;
        assert_eq!(sheet.usage.unwrap().completion(), completion, "{reports:?}");
        assert_eq!((sheet.suspect, sheet.unreadable), (suspect, unreadable), "{reports:?}");
    }
}

#[test]
fn an_unreadable_event_passes_and_is_flagged() {
    let body = [&*delta(r#""content":"Hi""#), "data: {\"usage\":{\"prompt_tok\n\n", DONE].concat();
    let result = every_way(&reply(Face::Faithful, true), &body);
    assert_eq!((&*result.out, result.sheet.unreadable, result.sheet.usage), (&*body, true, None));
}

#[test]
fn usage_in_an_unfinished_last_event_counts() {
    let body = [delta(r#""content":"Hi""#), usage_chunk().trim_end().to_owned()].concat();
    let result = every_way(&reply(Face::Faithful, true), &body);
    assert_eq!((&*result.out, result.sheet.usage.unwrap().prompt()), (&*body, 9));
}
