//! Totals and their forms.

use super::*;
use crate::ledger::Base;
use crate::ledger::sink::{Advance, Batch, Position, Sink, sqlite::Sqlite};
use crate::ledger::{record::Record, testing};
use crate::usage::{Kind, Usage};

fn stored(records: &[Record]) -> (tempfile::TempDir, Books) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("ledger.db");
    let to = Position { epoch: 1, segment: 0, offset: 0, rows: 0 };
    let cursor = Advance { node: [7; 16], from: None, to };
    let batch = Batch { rows: records, prices: &[], cursor: Some(cursor) };
    Sqlite::open(&path).unwrap().deliver(&batch).unwrap();
    (place, Books { base: Base::Sqlite(path), state: None, dead_letters: None })
}

fn totals(books: &Books, by: By) -> Vec<Row> {
    let super::Usage { rows, beside, .. } = usage(books, by, &()).unwrap();
    assert_eq!(beside, Beside::default());
    rows
}

#[test]
fn sums_beyond_64_bits_are_exact() {
    let most = i64::MAX as u64;
    let mut records: Vec<_> = (1..=4).map(testing::record).collect();
    for record in &mut records {
        record.usage = Usage::ZERO.with(Kind::Input, most).with(Kind::CacheRead, most);
        record.cost = most.into();
        record.charge = -1;
    }
    let (_place, books) = stored(&records);
    let rows = totals(&books, By::Model);
    let want = Row {
        label: "meta/llama".to_owned(),
        attempts: 4,
        generations: 4,
        prompt: i128::from(most) * 8,
        completion: 0,
        cost: i128::from(most) * 4,
        charge: -4,
    };
    assert_eq!(rows, vec![want]);
}

#[test]
fn a_day_is_the_end_of_the_attempt_unless_the_clock_jumped() {
    const DAY_US: u64 = 86_400_000_000;
    let mut records: Vec<_> = (1..=4).map(testing::record).collect();
    records[3].ended_us = u64::MAX;
    records[1].ended_us += DAY_US;
    records[2].ended_us += 2 * DAY_US;
    records[2].flags |= flag::CLOCK_JUMP;
    let (_place, books) = stored(&records);
    let days = totals(&books, By::Day);
    let days: Vec<_> = days.iter().map(|row| (row.label.as_str(), row.attempts)).collect();
    assert_eq!(days, [("2023-11-14", 2), ("2023-11-15", 1), ("9999-12-31", 1)]);
}

#[test]
fn every_grouping_and_the_table_add_up() {
    let mut records: Vec<_> = (1..=3).map(testing::record).collect();
    records[2].intent.provider = "groq".into();
    records[2].intent.generation_id = records[1].intent.generation_id.clone();
    let (_place, books) = stored(&records);
    for by in [By::Key, By::Workspace, By::Model, By::Provider, By::Day] {
        let rows = totals(&books, by);
        assert_eq!(rows.iter().map(|row| row.attempts).sum::<u64>(), 3, "{by:?}");
        assert_eq!(rows.iter().map(|row| row.cost).sum::<i128>(), 1 + 2 + 3 + 3 * 18);
    }
    let found = usage(&books, By::Provider, &()).unwrap();
    let table = table(&found.rows, found.generations);
    insta::assert_snapshot!(table, @r"
               attempts  generations  prompt  completion        cost USD      charge USD
    deepinfra         2            2       3           4  0.000000000039  0.000000000039
    groq              1            1       3           2  0.000000000021  0.000000000021
    total             3            2       6           6   0.00000000006   0.00000000006
    ");
}

#[test]
fn other_forms_say_the_same() {
    let mut records: Vec<_> = (1..=2).map(testing::record).collect();
    records[1].intent.workspace = "a,\"b\"".into();
    let (_place, books) = stored(&records);
    let rows = totals(&books, By::Workspace);
    insta::assert_snapshot!(csv(&rows), @r#"
    label,attempts,generations,prompt,completion,cost_usd,charge_usd
    "a,""b""",1,1,2,2,0.00000000002,0.00000000002
    acme,1,1,1,2,0.000000000019,0.000000000019
    "#);
    let read: serde_json::Value = serde_json::from_str(&json(&rows)).unwrap();
    assert_eq!(read[0]["label"], "a,\"b\"");
    assert_eq!(read[1]["prompt"].as_u64(), Some(1));
    assert_eq!(read[1]["cost_usd"], "0.000000000019");
}
