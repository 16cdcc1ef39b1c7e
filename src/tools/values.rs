//! Keywords of strings, numbers and of any value (draft 7, validation, sections 6.1 to 6.3).

use super::schema::{Answer, Check, Unsure, list};
use serde_json::{Number, Value};

impl<'s> Check<'s> {
    /// Keywords that hold for every sort of value.
    pub(super) fn whatever(&mut self, keyword: &str, told: &'s Value, value: &Value) -> Answer {
        match keyword {
            "const" => self.equal(told, value),
            "enum" => {
                for option in list(told)? {
                    if self.equal(option, value)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            "type" => match told {
                Value::String(name) => is_a(value, name),
                _ => {
                    for name in list(told)? {
                        if is_a(value, name.as_str().ok_or(Unsure)?)? {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                }
            },
            _ => Ok(true),
        }
    }

    pub(super) fn text(&mut self, keyword: &str, told: &'s Value, text: &str) -> Answer {
        match keyword {
            "pattern" => self.matches(told.as_str().ok_or(Unsure)?, text),
            "minLength" | "maxLength" => {
                self.spend(text.len() / 64)?;
                within(keyword, told, text.chars().count())
            }
            _ => Ok(true),
        }
    }

    /// Equality of JSON values: numbers by what they stand for.
    pub(super) fn equal(&mut self, one: &Value, other: &Value) -> Answer {
        self.spend(1)?;
        match (one, other) {
            (Value::Number(one), Value::Number(other)) => {
                Ok(one == other || float(one)? == float(other)?)
            }
            (Value::String(one), Value::String(other)) => {
                self.spend(one.len().min(other.len()) / 64)?;
                Ok(one == other)
            }
            (Value::Array(one), Value::Array(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (one, other) in one.iter().zip(other) {
                    if !self.equal(one, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Object(one), Value::Object(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (name, one) in one {
                    match other.get(name) {
                        Some(other) if self.equal(one, other)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(true)
            }
            _ => Ok(one == other),
        }
    }
}

/// Whether the value is of the type.
fn is_a(value: &Value, name: &str) -> Answer {
    Ok(match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => match value {
            Value::Number(number) => float(number)?.fract() == 0.0,
            _ => false,
        },
        _ => return Err(Unsure),
    })
}

/// Whether a count is on the right side of what a keyword `min...` or `max...` tells.
pub(super) fn within(keyword: &str, told: &Value, count: usize) -> Answer {
    let Value::Number(bound) = told else { return Err(Unsure) };
    let (bound, count) = (float(bound)?, count as f64);
    Ok(if keyword.starts_with("min") { count >= bound } else { count <= bound })
}

pub(super) fn number(keyword: &str, told: &Value, number: &Number) -> Answer {
    let compare: fn(f64, f64) -> bool = match keyword {
        "minimum" => |number, bound| number >= bound,
        "maximum" => |number, bound| number <= bound,
        "exclusiveMinimum" => |number, bound| number > bound,
        "exclusiveMaximum" => |number, bound| number < bound,
        "multipleOf" => is_multiple,
        _ => return Ok(true),
    };
    let Value::Number(bound) = told else { return Err(Unsure) };
    Ok(compare(float(number)?, float(bound)?))
}

/// Decimal fractions are not exact in binary: a few units in the last place count as none.
fn is_multiple(number: f64, of: f64) -> bool {
    let times = number / of;
    (times - times.round()).abs() <= 4.0 * f64::EPSILON * times.abs()
}

fn float(number: &Number) -> Result<f64, Unsure> {
    number.as_f64().filter(|float| float.is_finite()).ok_or(Unsure)
}
