//! Values as people write and read them: JSON, by type (`trellis call … --data '{…}'`).
//!
//! | type | JSON |
//! |---|---|
//! | numbers | number; `"NaN"`, `"Infinity"`, `"-Infinity"` for those floats |
//! | char, string, enum | string |
//! | list, tuple | array |
//! | list<u8> | shown as `{"base64": "…"}`; also read from `{"text": "…"}` or an array of numbers |
//! | record | object; a missing `option` field is none |
//! | variant | `"case"`, or `{"case": payload}` |
//! | option | `null` or the payload; an option directly in an option as `{"some": payload}` |
//! | result | `{"ok": payload}` or `{"err": payload}`, `null` for no payload |
//! | flags | array of the names that are set |

use super::{Case, Field, JsonError, JsonProblem, MAX_DEPTH, Signature, Type, Value};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Map, Value as Json, json};

/// A value as JSON.
///
/// # Errors
/// [`JsonError`] when the value is not of the type.
pub fn to_json(value: &Value, ty: &Type) -> Result<Json, JsonError> {
    show(value, ty).ok_or_else(|| JsonError {
        path: "$".to_owned(),
        problem: JsonProblem::Mismatch { expected: shorten(&ty.to_string()), got: value.kind().to_owned() },
    })
}

/// JSON as a value of this type.
///
/// # Errors
/// [`JsonError`], which names the place.
pub fn from_json(json: &Json, ty: &Type) -> Result<Value, JsonError> {
    Reader { path: "$".to_owned(), depth: 0 }.value(json, ty)
}

/// Parameters of a function from one JSON value: an object by name, an array by position, or, for
/// a function of one parameter, the parameter itself. Nothing (`null`) is no parameters.
///
/// # Errors
/// [`JsonError`], which names the place.
pub fn params_from_json(json: &Json, signature: &Signature) -> Result<Vec<Value>, JsonError> {
    let mut reader = Reader { path: "$".to_owned(), depth: 0 };
    let fields = || -> Vec<Field> {
        signature.params.iter().map(|(name, ty)| Field { name: name.clone(), ty: ty.clone() }).collect()
    };
    match (json, signature.params.as_slice()) {
        (Json::Null, []) => Ok(Vec::new()),
        (Json::Object(object), [(name, _)]) if object.len() == 1 && object.contains_key(name) => {
            reader.record(object, &fields())
        }
        // A single parameter may be an array itself, so only `[x]` of a non-list is a position.
        (Json::Array(items), [(_, ty)]) if items.len() == 1 && !is_array(ty) => reader.tuple(items, [ty]),
        (_, [(_, ty)]) => Ok(vec![reader.value(json, ty)?]),
        (Json::Object(object), _) => reader.record(object, &fields()),
        (Json::Array(items), params) => reader.tuple(items, params.iter().map(|(_, ty)| ty)),
        _ => Err(reader.mismatch(&signature.to_string(), json)),
    }
}

fn is_array(ty: &Type) -> bool {
    matches!(ty, Type::List(_) | Type::Tuple(_) | Type::Flags(_))
}

fn shorten(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn float(number: f64) -> Json {
    if number.is_nan() {
        json!("NaN")
    } else if number.is_infinite() {
        json!(if number > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        json!(number)
    }
}

fn show(value: &Value, ty: &Type) -> Option<Json> {
    Some(match (value, ty) {
        (Value::Bool(truth), Type::Bool) => json!(truth),
        (Value::S8(number), Type::S8) => json!(number),
        (Value::U8(number), Type::U8) => json!(number),
        (Value::S16(number), Type::S16) => json!(number),
        (Value::U16(number), Type::U16) => json!(number),
        (Value::S32(number), Type::S32) => json!(number),
        (Value::U32(number), Type::U32) => json!(number),
        (Value::S64(number), Type::S64) => json!(number),
        (Value::U64(number), Type::U64) => json!(number),
        // By way of its shortest decimal: 0.1 is shown as 0.1, not as 0.10000000149011612.
        (Value::F32(number), Type::F32) => float(number.to_string().parse().ok()?),
        (Value::F64(number), Type::F64) => float(*number),
        (Value::Char(character), Type::Char) => json!(character),
        (Value::String(text), Type::String) => json!(text),
        (Value::Bytes(bytes), Type::List(element)) if **element == Type::U8 => {
            json!({ "base64": BASE64.encode(bytes) })
        }
        (Value::Enum(case), Type::Enum(names)) => json!(names.get(*case as usize)?),
        (Value::Flags(flags), Type::Flags(names)) if flags.len() == names.len() => {
            json!(names.iter().zip(flags).filter(|(_, set)| **set).map(|(name, _)| name).collect::<Vec<_>>())
        }
        _ => return show_nested(value, ty),
    })
}

fn show_nested(value: &Value, ty: &Type) -> Option<Json> {
    let payload = |payload: &Option<Box<Value>>, ty: Option<&Type>| match (payload, ty) {
        (None, None) => Some(Json::Null),
        (Some(payload), Some(ty)) => show(payload, ty),
        _ => None,
    };
    match (value, ty) {
        (Value::List(items), Type::List(element)) => items.iter().map(|item| show(item, element)).collect(),
        (Value::Tuple(items), Type::Tuple(types)) if items.len() == types.len() => {
            items.iter().zip(types).map(|(item, ty)| show(item, ty)).collect()
        }
        (Value::Record(values), Type::Record(fields)) if values.len() == fields.len() => {
            let object: Option<Map<_, _>> = values
                .iter()
                .zip(fields)
                .map(|(value, field)| Some((field.name.clone(), show(value, &field.ty)?)))
                .collect();
            object.map(Json::Object)
        }
        (Value::Variant(case, inner), Type::Variant(cases)) => {
            let case = cases.get(*case as usize)?;
            match &case.ty {
                None => Some(json!(case.name)),
                ty => Some(json!({ &case.name: payload(inner, ty.as_ref())? })),
            }
        }
        (Value::Option(None), Type::Option(_)) => Some(Json::Null),
        (Value::Option(Some(inner)), Type::Option(some)) => {
            let shown = show(inner, some)?;
            Some(if matches!(**some, Type::Option(_)) { json!({ "some": shown }) } else { shown })
        }
        (Value::Result(Ok(inner)), Type::Result { ok, .. }) => {
            Some(json!({ "ok": payload(inner, ok.as_deref())? }))
        }
        (Value::Result(Err(inner)), Type::Result { err, .. }) => {
            Some(json!({ "err": payload(inner, err.as_deref())? }))
        }
        _ => None,
    }
}

struct Reader {
    path: String,
    depth: usize,
}

impl Reader {
    fn fail(&self, problem: JsonProblem) -> JsonError {
        JsonError { path: self.path.clone(), problem }
    }

    fn mismatch(&self, expected: &str, got: &Json) -> JsonError {
        self.fail(JsonProblem::Mismatch { expected: shorten(expected), got: shorten(&got.to_string()) })
    }

    /// Reads something at a path below this one.
    fn below<T>(
        &mut self,
        step: std::fmt::Arguments<'_>,
        read: impl FnOnce(&mut Self) -> Result<T, JsonError>,
    ) -> Result<T, JsonError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.fail(JsonProblem::Depth(MAX_DEPTH)));
        }
        let length = self.path.len();
        self.path.push_str(&step.to_string());
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        self.path.truncate(length);
        result
    }

    fn value(&mut self, json: &Json, ty: &Type) -> Result<Value, JsonError> {
        let scalar = match ty {
            Type::Bool => json.as_bool().map(Value::Bool),
            Type::S8 => signed(json).map(Value::S8),
            Type::S16 => signed(json).map(Value::S16),
            Type::S32 => signed(json).map(Value::S32),
            Type::S64 => signed(json).map(Value::S64),
            Type::U8 => unsigned(json).map(Value::U8),
            Type::U16 => unsigned(json).map(Value::U16),
            Type::U32 => unsigned(json).map(Value::U32),
            Type::U64 => unsigned(json).map(Value::U64),
            Type::F32 => number(json).and_then(narrow).map(Value::F32),
            Type::F64 => number(json).map(Value::F64),
            Type::Char => json.as_str().and_then(only_char).map(Value::Char),
            Type::String => json.as_str().map(|text| Value::String(text.to_owned())),
            Type::List(element) if **element == Type::U8 => bytes(json).map(Value::Bytes),
            Type::Enum(names) => return self.enumeration(json, names, ty),
            Type::Flags(names) => return self.flags(json, names, ty),
            _ => return self.nested(json, ty),
        };
        scalar.ok_or_else(|| self.mismatch(&ty.to_string(), json))
    }

    fn nested(&mut self, json: &Json, ty: &Type) -> Result<Value, JsonError> {
        match (ty, json) {
            (Type::List(element), Json::Array(items)) => {
                self.tuple(items, std::iter::repeat_n(&**element, items.len())).map(Value::List)
            }
            (Type::Tuple(types), Json::Array(items)) => self.tuple(items, types).map(Value::Tuple),
            (Type::Record(fields), Json::Object(object)) => self.record(object, fields).map(Value::Record),
            (Type::Variant(cases), _) => self.variant(json, cases, ty),
            (Type::Option(_), Json::Null) => Ok(Value::Option(None)),
            (Type::Option(some), _) => {
                let inner = match (&**some, json) {
                    (Type::Option(_), Json::Object(object)) if object.len() == 1 => {
                        object.get("some").ok_or_else(|| self.mismatch(&ty.to_string(), json))?
                    }
                    (Type::Option(_), _) => return Err(self.mismatch("{\"some\": …} or null", json)),
                    _ => json,
                };
                let value = self.below(format_args!(""), |reader| reader.value(inner, some))?;
                Ok(Value::Option(Some(Box::new(value))))
            }
            (Type::Result { ok, err }, Json::Object(object)) if object.len() == 1 => {
                match (object.get("ok"), object.get("err")) {
                    (Some(inner), _) => Ok(Value::Result(Ok(self.payload(inner, ".ok", ok.as_deref())?))),
                    (_, Some(inner)) => {
                        Ok(Value::Result(Err(self.payload(inner, ".err", err.as_deref())?)))
                    }
                    _ => Err(self.mismatch("{\"ok\": …} or {\"err\": …}", json)),
                }
            }
            _ => Err(self.mismatch(&ty.to_string(), json)),
        }
    }

    fn payload(
        &mut self,
        json: &Json,
        step: &str,
        ty: Option<&Type>,
    ) -> Result<Option<Box<Value>>, JsonError> {
        match (ty, json) {
            (None, Json::Null) => Ok(None),
            (None, _) => Err(self.mismatch("null: there is no payload", json)),
            (Some(ty), _) => self
                .below(format_args!("{step}"), |reader| reader.value(json, ty))
                .map(|value| Some(Box::new(value))),
        }
    }

    fn tuple<'t>(
        &mut self,
        items: &[Json],
        types: impl IntoIterator<Item = &'t Type, IntoIter: ExactSizeIterator>,
    ) -> Result<Vec<Value>, JsonError> {
        let types = types.into_iter();
        if types.len() != items.len() {
            let expected = format!("{} values", types.len());
            return Err(self.fail(JsonProblem::Mismatch { expected, got: format!("{} values", items.len()) }));
        }
        let mut values = Vec::with_capacity(items.len());
        for (index, (item, ty)) in items.iter().zip(types).enumerate() {
            values.push(self.below(format_args!("[{index}]"), |reader| reader.value(item, ty))?);
        }
        Ok(values)
    }

    fn record(&mut self, object: &Map<String, Json>, fields: &[Field]) -> Result<Vec<Value>, JsonError> {
        if let Some(unknown) = object.keys().find(|key| fields.iter().all(|field| field.name != **key)) {
            return Err(self.unknown(unknown, fields.iter().map(|field| field.name.as_str())));
        }
        let mut values = Vec::with_capacity(fields.len());
        for field in fields {
            let value = match (object.get(&field.name), &field.ty) {
                (Some(json), ty) => {
                    self.below(format_args!(".{}", field.name), |reader| reader.value(json, ty))?
                }
                (None, Type::Option(_)) => Value::Option(None),
                (None, _) => return Err(self.fail(JsonProblem::Missing(field.name.clone()))),
            };
            values.push(value);
        }
        Ok(values)
    }

    fn variant(&mut self, json: &Json, cases: &[Case], ty: &Type) -> Result<Value, JsonError> {
        let (name, inner) = match json {
            Json::String(name) => (name, &Json::Null),
            Json::Object(object) if object.len() == 1 => match object.iter().next() {
                Some(only) => only,
                None => return Err(self.mismatch(&ty.to_string(), json)),
            },
            _ => return Err(self.mismatch(&ty.to_string(), json)),
        };
        let (index, case) = self.position(name, cases.iter().map(|case| case.name.as_str()))?;
        let payload = cases.get(case).and_then(|case| case.ty.as_ref());
        Ok(Value::Variant(index, self.payload(inner, &format!(".{name}"), payload)?))
    }

    fn enumeration(&self, json: &Json, names: &[String], ty: &Type) -> Result<Value, JsonError> {
        let name = json.as_str().ok_or_else(|| self.mismatch(&ty.to_string(), json))?;
        Ok(Value::Enum(self.position(name, names.iter().map(String::as_str))?.0))
    }

    fn flags(&self, json: &Json, names: &[String], ty: &Type) -> Result<Value, JsonError> {
        let items = json.as_array().ok_or_else(|| self.mismatch(&ty.to_string(), json))?;
        let mut flags = vec![false; names.len()];
        for item in items {
            let name = item.as_str().ok_or_else(|| self.mismatch(&ty.to_string(), item))?;
            let (_, position) = self.position(name, names.iter().map(String::as_str))?;
            if let Some(flag) = flags.get_mut(position) {
                *flag = true;
            }
        }
        Ok(Value::Flags(flags))
    }

    fn position<'n>(
        &self,
        name: &str,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Result<(u32, usize), JsonError> {
        names
            .clone()
            .position(|known| known == name)
            .and_then(|index| Some((u32::try_from(index).ok()?, index)))
            .ok_or_else(|| self.unknown(name, names))
    }

    fn unknown<'n>(&self, got: &str, known: impl Iterator<Item = &'n str>) -> JsonError {
        let known = shorten(&known.collect::<Vec<_>>().join(", "));
        self.fail(JsonProblem::Unknown { got: shorten(got), known })
    }
}

fn signed<N: TryFrom<i64>>(json: &Json) -> Option<N> {
    json.as_i64().and_then(|number| number.try_into().ok())
}

fn unsigned<N: TryFrom<u64>>(json: &Json) -> Option<N> {
    json.as_u64().and_then(|number| number.try_into().ok())
}

fn number(json: &Json) -> Option<f64> {
    match json.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => json.as_f64(),
    }
}

/// Rounds to the nearest `f32`; a number too big for one is refused rather than made infinite.
fn narrow(number: f64) -> Option<f32> {
    let narrow = number as f32;
    (narrow.is_finite() || !number.is_finite()).then_some(narrow)
}

fn only_char(text: &str) -> Option<char> {
    let mut characters = text.chars();
    characters.next().filter(|_| characters.next().is_none())
}

fn bytes(json: &Json) -> Option<Bytes> {
    match json {
        Json::Array(items) => items.iter().map(unsigned::<u8>).collect::<Option<Vec<u8>>>().map(Bytes::from),
        Json::Object(object) if object.len() == 1 => match (object.get("base64"), object.get("text")) {
            (Some(Json::String(base64)), _) => BASE64.decode(base64).ok().map(Bytes::from),
            (_, Some(Json::String(text))) => Some(Bytes::from(text.clone())),
            _ => None,
        },
        _ => None,
    }
}
