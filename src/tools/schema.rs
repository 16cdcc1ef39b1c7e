//! Whether a JSON Schema of draft 7 accepts a value, in bounded steps.
//!
//! The schema is an untrusted request's. References lead only into itself, patterns are those of a
//! linear-time engine, `format` says nothing (draft 7, section 7.2), unknown keywords are ignored. Of 2020-12
//! `prefixItems` is known, since what speaks of it would be misread without. Whatever else cannot be told
//! makes the whole answer unsure, never a wrong one.

use crate::bounds::{PATTERN_BYTES, PATTERNS, SCHEMA_DEPTH, SCHEMA_STEPS};
use percent_encoding::percent_decode_str;
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// It cannot be told, or not in as many steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsure;

/// `None`: it cannot be told.
pub(super) type Answer = Result<bool, Unsure>;

/// Whether `schema` accepts `value`; `None` if that cannot be told.
#[must_use]
pub fn accepts(schema: &Value, value: &Value) -> Option<bool> {
    let mut steps = SCHEMA_STEPS;
    check(schema, value, &mut steps).ok()
}

/// The same, in at most so many steps, which it takes off.
pub(super) fn check(schema: &Value, value: &Value, steps: &mut usize) -> Answer {
    let mut check = Check { root: schema, steps, patterns: HashMap::new(), depth: 0 };
    check.fits(schema, value)
}

pub(super) fn spend(steps: &mut usize, count: usize) -> Result<(), Unsure> {
    *steps = steps.checked_sub(count).ok_or(Unsure)?;
    Ok(())
}

/// One check under way.
pub(super) struct Check<'s> {
    root: &'s Value,
    steps: &'s mut usize,
    patterns: HashMap<&'s str, Regex>,
    depth: usize,
}

impl<'s> Check<'s> {
    pub(super) fn spend(&mut self, count: usize) -> Result<(), Unsure> {
        spend(self.steps, count)
    }

    pub(super) fn fits(&mut self, schema: &'s Value, value: &Value) -> Answer {
        self.spend(1)?;
        if self.depth == SCHEMA_DEPTH {
            return Err(Unsure);
        }
        self.depth += 1;
        let fits = match schema {
            Value::Bool(all) => Ok(*all),
            Value::Object(members) => self.members(members, value),
            _ => Err(Unsure),
        };
        self.depth -= 1;
        fits
    }

    fn members(&mut self, members: &'s Map<String, Value>, value: &Value) -> Answer {
        // Beside a reference nothing counts (draft 7, core, section 8.3).
        if let Some(reference) = members.get("$ref") {
            let schema = self.resolve(reference.as_str().ok_or(Unsure)?)?;
            return self.fits(schema, value);
        }
        let is_root = self.root.as_object().is_some_and(|root| std::ptr::eq(root, members));
        if members.contains_key("$id") && !is_root {
            return Err(Unsure);
        }
        for (keyword, told) in members {
            self.spend(1)?;
            if !self.keyword(members, keyword, told, value)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn keyword(
        &mut self,
        beside: &'s Map<String, Value>,
        keyword: &str,
        told: &'s Value,
        value: &Value,
    ) -> Answer {
        match keyword {
            "allOf" => self.all(list(told)?.iter().map(|schema| (schema, value))),
            "anyOf" => Ok(self.count(told, value, 1)? == 1),
            "oneOf" => Ok(self.count(told, value, 2)? == 1),
            "not" => Ok(!self.fits(told, value)?),
            "if" => match beside.get(if self.fits(told, value)? { "then" } else { "else" }) {
                Some(branch) => self.fits(branch, value),
                None => Ok(true),
            },
            _ => match value {
                Value::Object(_) => self.object(beside, keyword, told, value),
                Value::Array(array) => self.array(beside, keyword, told, array),
                Value::String(text) => self.text(keyword, told, text),
                Value::Number(number) => super::values::number(keyword, told, number),
                Value::Null | Value::Bool(_) => Ok(true),
            }
            .and_then(|fits| Ok(fits && self.whatever(keyword, told, value)?)),
        }
    }

    /// How many of the schemas accept the value, counted up to `enough`.
    fn count(&mut self, schemas: &'s Value, value: &Value, enough: usize) -> Result<usize, Unsure> {
        let mut count = 0;
        for schema in list(schemas)? {
            count += usize::from(self.fits(schema, value)?);
            if count == enough {
                break;
            }
        }
        Ok(count)
    }

    /// What a reference leads to, if that is in the same schema.
    fn resolve(&self, reference: &str) -> Result<&'s Value, Unsure> {
        let fragment = reference.strip_prefix('#').ok_or(Unsure)?;
        let pointer = percent_decode_str(fragment).decode_utf8().map_err(|_| Unsure)?;
        self.root.pointer(&pointer).ok_or(Unsure)
    }

    /// Whether a pattern occurs in the text.
    pub(super) fn matches(&mut self, pattern: &'s str, text: &str) -> Answer {
        self.spend(1 + text.len() / 4)?;
        if !self.patterns.contains_key(pattern) {
            if self.patterns.len() == PATTERNS {
                return Err(Unsure);
            }
            let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
            self.patterns.insert(pattern, built.map_err(|_| Unsure)?);
        }
        Ok(self.patterns.get(pattern).is_some_and(|regex| regex.is_match(text)))
    }
}

pub(super) fn list(told: &Value) -> Result<&Vec<Value>, Unsure> {
    told.as_array().ok_or(Unsure)
}
