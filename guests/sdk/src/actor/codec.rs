//! Enums as named JSON: a variant's name beside the JSON of what it holds. Serde's derived code does the work, in its
//! externally tagged form; here that form is taken apart, and put together again from a name and a body.
//!
//! What cannot be read is a [`Problem`] that says which field and why. It is found without a second parser: serde_json
//! says where it stopped, and the path to there is read off the text.

use std::fmt;

use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, VariantAccess, Visitor};

/// Why a name with a body is not the enum wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No variant has that name.
    Name {
        /// The names there are.
        known: &'static [&'static str],
    },
    /// The body does not fit: the path of the field (empty for the whole), and the reason.
    Body {
        /// `position.lat`, `samples[3]`.
        path: String,
        /// What was found and what was wanted.
        reason: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { known: [] } => formatter.write_str("unknown; there are none"),
            Self::Name { known } => write!(formatter, "unknown; known are {}", known.join(", ")),
            Self::Body { path, reason } if path.is_empty() => formatter.write_str(reason),
            Self::Body { path, reason } => write!(formatter, "{path}: {reason}"),
        }
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Body { path: String::new(), reason: reason.to_string() }
    }
    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::Name { known }
    }
}

/// The name of the variant, and the JSON of what it holds (`{}` where it holds nothing).
///
/// # Errors
/// What has no JSON form: a map whose keys are no texts, for example.
pub fn encode<T: Serialize>(value: &T) -> Result<(String, Vec<u8>), String> {
    let mut json = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    // Either "name" or {"name":…}, as serde writes an enum.
    let start = usize::from(json.first() == Some(&b'{'));
    let end = json.iter().skip(start + 1).position(|byte| *byte == b'"').map(|length| start + 1 + length);
    let Some(name) = end.and_then(|end| json.get(start + 1..end)) else {
        return Err("not an enum in serde's external form".to_owned());
    };
    let name = String::from_utf8_lossy(name).into_owned();
    if name.contains('\\') {
        return Err(format!("name {name}: quotes and backslashes are not for names"));
    }
    if start == 0 {
        return Ok((name, b"{}".to_vec()));
    }
    // {" name ": at the beginning, } at the end.
    json.pop();
    json.drain(..(name.len() + 4).min(json.len()));
    Ok((name, json))
}

/// The variant of that name, from the JSON of what it holds. An empty body is `{}`.
///
/// # Errors
/// [`Problem`] names the field and the reason.
pub fn decode<T: DeserializeOwned>(name: &str, body: &[u8]) -> Result<T, Problem> {
    T::deserialize(Named { name, body })
}

struct Named<'de> {
    name: &'de str,
    body: &'de [u8],
}

impl<'de> Named<'de> {
    fn json<T>(
        self,
        empty: &'de [u8],
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::SliceRead<'de>>) -> serde_json::Result<T>,
    ) -> Result<T, Problem> {
        let body = if self.body.iter().all(u8::is_ascii_whitespace) { empty } else { self.body };
        let mut json = serde_json::Deserializer::from_slice(body);
        read(&mut json).and_then(|value| json.end().map(|()| value)).map_err(|error| problem(body, &error))
    }
}

/// Says where serde_json stopped.
fn problem(body: &[u8], error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = text.strip_suffix(&place).unwrap_or(&text);
    if error.classify() != serde_json::error::Category::Data {
        return Problem::Body { path: String::new(), reason: format!("not JSON: {text}") };
    }
    Problem::Body { path: path_at(body, offset(body, error)), reason: reason.to_owned() }
}

/// How many bytes had been read.
fn offset(body: &[u8], error: &serde_json::Error) -> usize {
    let before = error.line().saturating_sub(1);
    let lines = body.split(|byte| *byte == b'\n').take(before).map(|line| line.len() + 1);
    lines.sum::<usize>() + error.column()
}

enum Level {
    /// The key that was read, and whether another is awaited.
    Object(String, bool),
    Array(usize),
}

/// The path of the value in which the first `end` bytes of a JSON text stop.
fn path_at(body: &[u8], end: usize) -> String {
    let mut levels: Vec<Level> = Vec::new();
    let mut bytes = body.iter().copied().take(end);
    while let Some(byte) = bytes.next() {
        match (byte, levels.last_mut()) {
            (b'{', _) => levels.push(Level::Object(String::new(), true)),
            (b'[', _) => levels.push(Level::Array(0)),
            (b'}' | b']', _) => drop(levels.pop()),
            (b',', Some(Level::Array(index))) => *index += 1,
            (b',', Some(Level::Object(_, awaited))) => *awaited = true,
            (b'"', level) => {
                let text = quoted(&mut bytes);
                if let Some(Level::Object(key, awaited @ true)) = level {
                    (*key, *awaited) = (text, false);
                }
            }
            _ => {}
        }
    }
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Object(key, false) if path.is_empty() => path.push_str(&key),
            Level::Object(key, false) => path.push_str(&format!(".{key}")),
            Level::Array(index) => path.push_str(&format!("[{index}]")),
            Level::Object(_, true) => {}
        }
    }
    path
}

/// The rest of a text after its first quote, escapes as they stand.
fn quoted(bytes: &mut impl Iterator<Item = u8>) -> String {
    let mut text = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => text.extend([Some(byte), bytes.next()].into_iter().flatten()),
            other => text.push(other),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

impl<'de> Deserializer<'de> for Named<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Problem> {
        Err(de::Error::custom("commands, queries and events are enums"))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_enum(self)
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Named<'de> {
    type Error = Problem;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Problem> {
        Ok((seed.deserialize(StrDeserializer::<Problem>::new(self.name))?, self))
    }
}

impl<'de> VariantAccess<'de> for Named<'de> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        // An object of any fields: what it may hold one day, an older component passes over.
        self.json(b"{}", |json| {
            de::Deserialize::deserialize(json)
                .map(|_: Option<std::collections::BTreeMap<String, de::IgnoredAny>>| ())
        })
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Problem> {
        self.json(b"null", |json| seed.deserialize(json))
    }
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Problem> {
        self.json(b"[]", |json| json.deserialize_tuple(length, visitor))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.json(b"{}", |json| json.deserialize_struct("", fields, visitor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Sample {
        Nothing,
        LevelChanged { level: u8, places: Vec<Place> },
        Wrapped(Place),
        Pair(u8, u8),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Place {
        lat: f64,
        name: String,
    }

    fn place() -> Place {
        Place { lat: 1.5, name: "a \"b\"".to_owned() }
    }

    #[test]
    fn every_form_of_variant_is_a_name_and_its_json() {
        let cases = [
            (Sample::Nothing, "nothing", "{}"),
            (
                Sample::LevelChanged { level: 7, places: vec![place()] },
                "level-changed",
                r#"{"level":7,"places":[{"lat":1.5,"name":"a \"b\""}]}"#,
            ),
            (Sample::Wrapped(place()), "wrapped", r#"{"lat":1.5,"name":"a \"b\""}"#),
            (Sample::Pair(1, 2), "pair", "[1,2]"),
        ];
        for (value, name, json) in cases {
            assert_eq!(encode(&value).unwrap(), (name.to_owned(), json.as_bytes().to_vec()));
            assert_eq!(decode::<Sample>(name, json.as_bytes()).unwrap(), value);
        }
        assert_eq!(decode::<Sample>("nothing", b"").unwrap(), Sample::Nothing);
        assert_eq!(decode::<Sample>("nothing", b" null ").unwrap(), Sample::Nothing);
        assert_eq!(decode::<Sample>("nothing", b"{\"later\": [1]}").unwrap(), Sample::Nothing);
    }

    #[test]
    fn a_problem_names_the_field_and_the_reason() {
        let says = |name: &str, body: &str| decode::<Sample>(name, body.as_bytes()).unwrap_err().to_string();
        assert_eq!(says("leap", "{}"), "unknown; known are nothing, level-changed, wrapped, pair");
        assert_eq!(says("level-changed", ""), "missing field `level`");
        assert_eq!(
            says("level-changed", r#"{"level": "x", "places": []}"#),
            "level: invalid type: string \"x\", expected u8"
        );
        assert_eq!(
            says("level-changed", r#"{"places": [{"lat": 1, "name": "a,b]"}, {"lat": null}], "level": 1}"#),
            "places[1].lat: invalid type: null, expected f64"
        );
        assert_eq!(
            says("level-changed", "{\"level\": 1,\n \"places\": [{\"lat\": 1}]}"),
            "places[0]: missing field `name`"
        );
        assert_eq!(
            says("level-changed", r#"{"level": 300}"#),
            "level: invalid value: integer `300`, expected u8"
        );
        assert!(
            says("level-changed", "{").starts_with("not JSON: EOF while parsing"),
            "{}",
            says("level-changed", "{")
        );
        assert!(says("wrapped", "{} {}").contains("missing field"), "{}", says("wrapped", "{} {}"));
        assert!(says("nothing", "[1]").contains("expected a map"), "{}", says("nothing", "[1]"));
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(says("wrapped", &deep).contains("invalid type"), "{}", says("wrapped", &deep));
    }
}
