//! Keywords of objects and arrays (draft 7, validation, sections 6.4 and 6.5).

use super::schema::{Answer, Check, Unsure, list};
use super::values::within;
use serde_json::{Map, Value};

impl<'s> Check<'s> {
    pub(super) fn object(
        &mut self,
        beside: &'s Map<String, Value>,
        keyword: &str,
        told: &'s Value,
        whole: &Value,
    ) -> Answer {
        let Some(object) = whole.as_object() else { return Ok(true) };
        match keyword {
            "required" => self.has_all(told, object),
            "minProperties" | "maxProperties" => within(keyword, told, object.len()),
            "properties" => {
                let known = map(told)?;
                self.spend(known.len())?;
                let known = known.iter();
                let known = known.filter_map(|(name, schema)| Some((schema, object.get(name)?)));
                self.all(known)
            }
            "patternProperties" => {
                for (pattern, schema) in map(told)? {
                    for (name, value) in object {
                        if self.matches(pattern, name)? && !self.fits(schema, value)? {
                            return Ok(false);
                        }
                    }
                }
                Ok(true)
            }
            "additionalProperties" => {
                for (name, value) in object {
                    if !self.is_known(beside, name)? && !self.fits(told, value)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            "propertyNames" => {
                for name in object.keys() {
                    if !self.fits(told, &Value::String(name.clone()))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            "dependencies" => {
                for (name, needs) in map(told)? {
                    self.spend(1)?;
                    let holds = match needs {
                        _ if !object.contains_key(name) => true,
                        Value::Array(_) => self.has_all(needs, object)?,
                        schema => self.fits(schema, whole)?,
                    };
                    if !holds {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    /// Whether `properties` or `patternProperties` speak of the name.
    fn is_known(&mut self, beside: &'s Map<String, Value>, name: &str) -> Answer {
        self.spend(1)?;
        let named = beside.get("properties").and_then(Value::as_object);
        if named.is_some_and(|named| named.contains_key(name)) {
            return Ok(true);
        }
        let patterns = beside.get("patternProperties").and_then(Value::as_object);
        for pattern in patterns.into_iter().flat_map(Map::keys) {
            if self.matches(pattern, name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn array(
        &mut self,
        beside: &'s Map<String, Value>,
        keyword: &str,
        told: &'s Value,
        array: &[Value],
    ) -> Answer {
        let tuple = beside.get("prefixItems").or(beside.get("items")).and_then(Value::as_array);
        let rest = array.get(tuple.map_or(0, Vec::len)..).unwrap_or_default();
        match (keyword, told) {
            ("minItems" | "maxItems", _) => within(keyword, told, array.len()),
            ("prefixItems" | "items", Value::Array(tuple)) => self.all(tuple.iter().zip(array)),
            ("items", schema) => self.all(rest.iter().map(|item| (schema, item))),
            ("additionalItems", schema) if beside.get("items").is_some_and(Value::is_array) => {
                self.all(rest.iter().map(|item| (schema, item)))
            }
            ("contains", schema) => {
                for item in array {
                    if self.fits(schema, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            ("uniqueItems", Value::Bool(true)) => {
                for (place, item) in array.iter().enumerate() {
                    for other in array.iter().skip(place + 1) {
                        if self.equal(item, other)? {
                            return Ok(false);
                        }
                    }
                }
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    /// Whether every schema accepts the value it comes with.
    pub(super) fn all<'v>(
        &mut self,
        mut pairs: impl Iterator<Item = (&'s Value, &'v Value)>,
    ) -> Answer {
        pairs.try_fold(true, |fits, (schema, value)| Ok(fits && self.fits(schema, value)?))
    }

    fn has_all(&mut self, names: &Value, object: &Map<String, Value>) -> Answer {
        let names = list(names)?;
        self.spend(names.len())?;
        let mut names = names.iter();
        names.try_fold(true, |all, name| {
            Ok(all && object.contains_key(name.as_str().ok_or(Unsure)?))
        })
    }
}

fn map(told: &Value) -> Result<&Map<String, Value>, Unsure> {
    told.as_object().ok_or(Unsure)
}
