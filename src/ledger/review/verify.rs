//! Every row computed anew from itself and the price table.

use super::{Books, ReviewError, Watch};
use crate::ledger::record::{Record, RecordKey, Source, flag};
use crate::ledger::sink::reader::{self, ReadError, Reader};
use crate::meter::{self, Delivered, Estimator};
use crate::price::{Policy, PriceVersion};
use std::collections::HashMap;

/// Findings that are told; the rest are counted.
const TOLD: usize = 1_000;

/// What a database holds, and what is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub rows: u64,
    /// Price versions.
    pub prices: u64,
    /// Rows to be looked at before they are billed.
    pub quarantined: u64,
    pub wrong: u64,
    /// A line for each of the first [`TOLD`]: damage; rows that cannot be read; texts of prices that are
    /// not their own; rows whose cost, charge or estimate does not follow from themselves and their price.
    pub told: Vec<String>,
}

impl Checked {
    fn add(&mut self, wrong: String) {
        self.wrong += 1;
        if self.told.len() < TOLD {
            self.told.push(wrong);
        }
    }
}

/// Computes every row anew from itself and the price table.
///
/// # Errors
/// The database cannot be read.
pub fn check(books: &Books, watch: &dyn Watch) -> Result<Checked, ReviewError> {
    let mut reader = books.base.open()?;
    let reader = reader.as_mut();
    reader::begin(reader)?;
    watch.begin("pages of the database", 0);
    let mut found = Checked::default();
    match reader.check() {
        Err(ReadError::Damaged(why)) => found.add(why),
        damage => damage?.into_iter().for_each(|damage| found.add(damage)),
    }
    let mut prices = HashMap::new();
    for (hash, text) in price_texts(reader)? {
        found.prices += 1;
        match PriceVersion::parse(&text).ok().filter(|price| hex::encode(price.hash()) == hash) {
            Some(price) => drop(prices.insert(price.hash(), price)),
            None => found.add(format!("price {hash}: its text is changed")),
        }
    }
    watch.begin("rows", reader::count(reader)?);
    let read = reader.each(&mut |row| {
        found.rows += 1;
        watch.seen(1);
        match row {
            Ok(row) => {
                found.quarantined += u64::from(row.flags & flag::QUARANTINED != 0);
                if let Some(why) = judge(&row, &prices) {
                    found.add(format!("{}: {why}", name(&row.key)));
                }
            }
            Err(bad) => found.add(bad.to_string()),
        }
        true
    });
    match read {
        Err(ReadError::Damaged(why)) => found.add(format!("behind row {}: {why}", found.rows)),
        read => read?,
    }
    Ok(found)
}

/// Every price version: its hash in hex digits, and its text.
fn price_texts(reader: &mut dyn Reader) -> Result<Vec<(String, String)>, ReadError> {
    let (schema, hash) = (reader.words().schema, (reader.words().hex)("hash"));
    let rows = reader.ask(&format!("SELECT {hash}, text FROM {schema}price ORDER BY 1"), &[])?;
    Ok(rows
        .into_iter()
        .filter_map(|row| <[String; 2]>::try_from(row).ok().map(Into::into))
        .collect())
}

fn judge(row: &Record, prices: &HashMap<[u8; 32], PriceVersion>) -> Option<&'static str> {
    if row.flags & flag::SATURATED != 0 {
        return None;
    }
    let Some(price) = prices.get(&row.intent.price) else {
        return Some("its price version is not in the database");
    };
    if price.cost(&row.usage, row.started_us) != row.cost {
        return Some("its cost is not that of its usage at its price");
    }
    let failed = meter::failed(Some(row.outcome), row.finish, &row.usage, row.intent.operation);
    let Some(policy) = Policy::named(&row.policy) else {
        return Some("its charge policy is not known");
    };
    if policy.charge(row.cost, row.committed, failed) != row.charge {
        return Some("its charge does not follow from its policy");
    }
    // Of an estimator that is known no more, the result stands.
    let estimator = Estimator::parse(&row.estimator).filter(|_| row.source == Source::Estimated)?;
    let intent = &row.intent;
    let estimate =
        estimator.estimate(&Delivered(row.delivered), intent.prompt_bytes, intent.operation);
    (estimate != row.usage).then_some("its usage is not what its estimator makes of it")
}

fn name(key: &RecordKey) -> String {
    format!("{}/{}/{}", hex::encode(key.node), key.epoch, key.seq)
}
