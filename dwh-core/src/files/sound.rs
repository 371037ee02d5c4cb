//! Whether a JSON value can become a `jsonb` without a loss: the server makes numbers, texts and objects of it.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt;

/// Deeper than any record; the server has an end, too.
const DEEPEST: usize = 1_000;

/// The rule of texts that the server cannot hold.
pub(super) const NUL: &str = "no NUL character";

/// The text of a JSON string.
///
/// # Errors
/// The rule that is broken.
pub(super) fn text(raw: &str) -> Result<String, String> {
    serde_json::from_str(raw).map_err(|_| "no half of a surrogate pair".to_owned())
}

/// The members of a JSON object, each once.
///
/// # Errors
/// The rule that is broken.
pub(super) fn members(raw: &str) -> Result<Vec<(String, &RawValue)>, String> {
    let Members(members) = serde_json::from_str(raw).map_err(|_| "JSON".to_owned())?;
    let mut names = BTreeSet::new();
    match members.iter().all(|(name, _)| names.insert(name.as_str())) {
        true => Ok(members),
        false => Err("each member only once".to_owned()),
    }
}

/// Nothing, if the server takes the value as it is.
///
/// # Errors
/// The rule that is broken.
pub(super) fn jsonb(raw: &str) -> Result<(), String> {
    below(raw, 0)
}

fn below(raw: &str, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("JSON of at most {DEEPEST} levels"));
    }
    match raw.as_bytes().first() {
        Some(b'"') => without_nul(&text(raw)?),
        Some(b'{') => members(raw)?.into_iter().try_for_each(|(name, value)| {
            without_nul(&name)?;
            below(value.get(), depth + 1)
        }),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| "JSON".to_owned())?;
            items.into_iter().try_for_each(|item| below(item.get(), depth + 1))
        }
        Some(first) if (*first == b'-' || first.is_ascii_digit()) && !fits_numeric(raw) => {
            Err("range of numeric".to_owned())
        }
        _ => Ok(()),
    }
}

pub(super) fn without_nul(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err(NUL.to_owned()) } else { Ok(()) }
}

/// How many digits a number has before the point, zeros in front left out, and how many after it, zeros at the end left
/// out; `None` if the text is no number.
pub(super) fn digits(text: &str) -> Option<(i64, i64)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let all = [whole, fraction].concat();
    let significant = all.trim_start_matches('0');
    let point = whole.len() as i64 - (all.len() - significant.len()) as i64 + i64::from(exponent);
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        return Some((0, 0));
    }
    Some((point.max(0), (significant.len() as i64 - point).max(0)))
}

/// Whether a number is one of PostgreSQL's type without a length: up to 131,072 digits before the point, and 16,383 after it.
pub(super) fn fits_numeric(text: &str) -> bool {
    let Some((point, _)) = digits(text) else { return false };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let written = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
    point <= 131_072 && written - exponent.parse::<i64>().unwrap_or_default() <= 16_383
}

/// The members of an object in their order.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(All).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_would_lose_or_refuse_is_told() {
        for (raw, rule) in [
            (r#"{"a": [1.10, {"b": "\u00e9"}], "c": 1e400}"#, None),
            (r#"["\\u0000"]"#, None),
            (r#"{"a": {"b": 1, "b": 2}}"#, Some("each member only once")),
            (r#"{"a": "x\u0000"}"#, Some(NUL)),
            (r#"{"a\u0000": 1}"#, Some(NUL)),
            (r#"["\ud800"]"#, Some("no half of a surrogate pair")),
            ("[1e200000]", Some("range of numeric")),
            ("[1e-20000]", Some("range of numeric")),
        ] {
            assert_eq!(jsonb(raw).err().as_deref(), rule, "{raw}");
        }
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(jsonb(&deep(1_000)).is_ok() && jsonb(&deep(1_001)).is_err());
    }
}
