//! A JSON reader that refuses what a lenient one would decide silently.
//!
//! Two readers of one token must never see two meanings. So duplicate keys are an error at any
//! depth, and a number is an integer of 64 bits or not one at all: no rounding, no overflow.
//! Input is bounded by its callers; depth is bounded by serde_json.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value as it was written; an object's keys still in their order, duplicates included.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool,
    Integer(i64),
    /// Fractions, exponents, and integers beyond 64 bits.
    OtherNumber,
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Why a text is not a strict JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    Syntax(String),
    Duplicate(String),
}

pub(crate) type Fields = BTreeMap<String, Json>;

/// Reads one JSON object and nothing after it. A member that is there twice, at any depth, is an error.
///
/// # Errors
/// What is wrong with the text, in words.
pub fn read_object(bytes: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    match parse_object(bytes) {
        Ok(_) => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        Err(JsonError::Syntax(words)) => Err(words),
        Err(JsonError::Duplicate(key)) => Err(format!("{:?} is there twice", crate::error::excerpt(&key))),
    }
}

/// Reads one object and nothing after it.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Fields, JsonError> {
    let value: Json = serde_json::from_slice(bytes).map_err(|error| JsonError::Syntax(error.to_string()))?;
    match value {
        Json::Object(members) => unique(members),
        _ => Err(JsonError::Syntax("expected an object".to_owned())),
    }
}

/// Makes a map of members whose keys, at any depth, are all different.
pub(crate) fn unique(members: Vec<(String, Json)>) -> Result<Fields, JsonError> {
    let mut fields = Fields::new();
    for (key, value) in members {
        check_nested(&value)?;
        if fields.contains_key(&key) {
            return Err(JsonError::Duplicate(key));
        }
        fields.insert(key, value);
    }
    Ok(fields)
}

fn check_nested(value: &Json) -> Result<(), JsonError> {
    match value {
        Json::List(items) => items.iter().try_for_each(check_nested),
        Json::Object(members) => unique(members.clone()).map(drop),
        _ => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Bool)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_once_or_not_at_all() {
        let read = |text: &str| read_object(text.as_bytes());
        assert_eq!(read(r#"{"a":{"b":1.5}}"#).unwrap()["a"]["b"], 1.5);
        assert_eq!(read(r#"{"a":[{"b":1,"b":2}]}"#).unwrap_err(), "\"b\" is there twice");
        assert_eq!(read("[]").unwrap_err(), "expected an object");
        assert!(read("{} {}").unwrap_err().contains("trailing"));
    }

    #[test]
    fn duplicates_are_refused_at_any_depth() {
        for (text, key) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"a":1,"\u0061":2}"#, "a"),
            (r#"{"x":{"y":[{"deep":1,"deep":2}]}}"#, "deep"),
        ] {
            let duplicate = JsonError::Duplicate(key.to_owned());
            assert_eq!(parse_object(text.as_bytes()), Err(duplicate));
        }
        let fields = parse_object(br#"{"a":{"b":1},"c":{"b":1}}"#).unwrap();
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn only_64_bit_integers_are_integers() {
        for (text, value) in [
            ("0", Json::Integer(0)),
            ("-3", Json::Integer(-3)),
            ("9223372036854775807", Json::Integer(i64::MAX)),
            ("9223372036854775808", Json::OtherNumber),
            ("18446744073709551616", Json::OtherNumber),
            ("1.0", Json::OtherNumber),
            ("1e3", Json::OtherNumber),
            ("1e308", Json::OtherNumber),
        ] {
            let fields = parse_object(format!(r#"{{"n":{text}}}"#).as_bytes()).unwrap();
            assert_eq!(fields["n"], value, "{text}");
        }
    }

    #[test]
    fn only_one_object_is_accepted() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "1",
            "[]",
            "{} {}",
            "{",
            r#"{"a":}"#,
            "\u{feff}{}",
            r#"{"a":1e400}"#,
            "{\"a\":\"\u{1}\"}",
            r#"{"a":"\ud800"}"#,
            &format!(r#"{{"a":{deep}"#),
        ] {
            let result = parse_object(text.as_bytes());
            assert!(matches!(result, Err(JsonError::Syntax(_))), "{text}");
        }
        assert!(parse_object(b"{\"a\":\"\xff\"}").is_err());
    }
}
