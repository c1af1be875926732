//! Laws of the codec: what is written reads back, there is one encoding, no bytes panic; and the
//! encoding of each type, byte for byte.

use super::*;
use crate::error::{ErrorCode, Report};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

/// Any type, with as many levels as a test can afford.
fn any_type() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![
        Just(Type::Bool),
        Just(Type::S8),
        Just(Type::U8),
        Just(Type::S16),
        Just(Type::U16),
        Just(Type::S32),
        Just(Type::U32),
        Just(Type::S64),
        Just(Type::U64),
        Just(Type::F32),
        Just(Type::F64),
        Just(Type::Char),
        Just(Type::String),
        Just(Type::list(Type::U8)),
        (1..20_usize).prop_map(|count| Type::Enum(numbered(count))),
        (1..40_usize).prop_map(|count| Type::Flags(numbered(count))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let maybe = proptest::option::of(inner.clone());
        prop_oneof![
            inner.clone().prop_map(Type::list),
            inner.clone().prop_map(Type::option),
            (maybe.clone(), maybe.clone()).prop_map(|(ok, err)| Type::result(ok, err)),
            vec(inner.clone(), 1..4).prop_map(Type::Tuple),
            vec(inner, 1..4).prop_map(|types| Type::Record(
                types.into_iter().zip(numbered(4)).map(|(ty, name)| Field { name, ty }).collect()
            )),
            vec(maybe, 1..4).prop_map(|types| Type::Variant(
                types.into_iter().zip(numbered(4)).map(|(ty, name)| Case { name, ty }).collect()
            )),
        ]
    })
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("n{index}")).collect()
}

fn payload(ty: Option<Type>) -> BoxedStrategy<Option<Box<Value>>> {
    match ty {
        None => Just(None).boxed(),
        Some(ty) => value_of(ty).prop_map(|value| Some(Box::new(value))).boxed(),
    }
}

/// Any value of a type.
fn value_of(ty: Type) -> BoxedStrategy<Value> {
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::S8 => any::<i8>().prop_map(Value::S8).boxed(),
        Type::U8 => any::<u8>().prop_map(Value::U8).boxed(),
        Type::S16 => any::<i16>().prop_map(Value::S16).boxed(),
        Type::U16 => any::<u16>().prop_map(Value::U16).boxed(),
        Type::S32 => any::<i32>().prop_map(Value::S32).boxed(),
        Type::U32 => any::<u32>().prop_map(Value::U32).boxed(),
        Type::S64 => any::<i64>().prop_map(Value::S64).boxed(),
        Type::U64 => any::<u64>().prop_map(Value::U64).boxed(),
        Type::F32 => any::<f32>().prop_map(Value::F32).boxed(),
        Type::F64 => any::<f64>().prop_map(Value::F64).boxed(),
        Type::Char => any::<char>().prop_map(Value::Char).boxed(),
        Type::String => ".{0,12}".prop_map(Value::String).boxed(),
        Type::List(element) if *element == Type::U8 => {
            vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Bytes(bytes.into())).boxed()
        }
        Type::List(element) => vec(value_of(*element), 0..4).prop_map(Value::List).boxed(),
        Type::Record(fields) => fields
            .into_iter()
            .map(|field| value_of(field.ty))
            .collect::<Vec<_>>()
            .prop_map(Value::Record)
            .boxed(),
        Type::Tuple(types) => {
            types.into_iter().map(value_of).collect::<Vec<_>>().prop_map(Value::Tuple).boxed()
        }
        Type::Variant(cases) => (0..cases.len())
            .prop_flat_map(move |index| {
                payload(cases[index].ty.clone())
                    .prop_map(move |payload| Value::Variant(u32::try_from(index).unwrap(), payload))
            })
            .boxed(),
        Type::Enum(names) => (0..u32::try_from(names.len()).unwrap()).prop_map(Value::Enum).boxed(),
        Type::Option(some) => {
            prop_oneof![Just(Value::Option(None)), payload(Some(*some)).prop_map(Value::Option)].boxed()
        }
        Type::Result { ok, err } => prop_oneof![
            payload(ok.map(|ok| *ok)).prop_map(|payload| Value::Result(Ok(payload))),
            payload(err.map(|err| *err)).prop_map(|payload| Value::Result(Err(payload))),
        ]
        .boxed(),
        Type::Flags(names) => vec(any::<bool>(), names.len()).prop_map(Value::Flags).boxed(),
    }
}

fn typed_value() -> impl Strategy<Value = (Type, Value)> {
    any_type().prop_flat_map(|ty| (Just(ty.clone()), value_of(ty)))
}

fn bytes_of(value: &Value, ty: &Type) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, ty, &mut out).unwrap();
    out
}

proptest! {
    // Compared by their bytes as well: a NaN is not equal to itself.
    #[test]
    fn what_is_written_reads_back((ty, value) in typed_value()) {
        let bytes = bytes_of(&value, &ty);
        let back = decode(&ty, &bytes, &Limits::default()).unwrap();
        prop_assert_eq!(bytes_of(&back, &ty), bytes);
        prop_assert_eq!(format!("{back:?}"), format!("{value:?}"));
    }

    #[test]
    fn a_value_has_one_encoding(ty in any_type(), bytes in vec(any::<u8>(), 0..60)) {
        if let Ok(value) = decode(&ty, &bytes, &Limits::default()) {
            prop_assert_eq!(bytes_of(&value, &ty), bytes);
        }
    }

    #[test]
    fn damage_never_panics_and_cuts_are_seen((ty, value) in typed_value(), at: proptest::sample::Index, byte: u8) {
        let mut bytes = bytes_of(&value, &ty);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            prop_assert!(decode(&ty, &bytes[..at], &Limits::default()).is_err());
            bytes[at] = byte;
            let _ = decode(&ty, &bytes, &Limits::default());
            bytes.push(0);
            let _ = decode(&ty, &bytes, &Limits::default());
        }
    }

    #[test]
    fn json_reads_back((ty, value) in typed_value()) {
        let json = to_json(&value, &ty).unwrap();
        // By way of text, as people use it.
        let json = serde_json::from_str(&json.to_string()).unwrap();
        let back = from_json(&json, &ty).unwrap();
        prop_assert_eq!(bytes_of(&back, &ty), bytes_of(&value, &ty), "{} {}", ty, json);
    }

    #[test]
    fn different_types_have_different_fingerprints(one in any_type(), other in any_type()) {
        prop_assert_eq!(one == other, one.fingerprint() == other.fingerprint());
    }
}

#[test]
fn each_type_is_encoded_as_the_component_model_says() {
    let flags = Type::Flags(numbered(9));
    let mut set = vec![false; 9];
    set[0] = true;
    set[8] = true;
    for (value, ty, bytes) in [
        (Value::Bool(true), Type::Bool, &[1][..]),
        (Value::U8(255), Type::U8, &[255]),
        (Value::S8(-1), Type::S8, &[255]),
        (Value::U16(300), Type::U16, &[0xac, 2]),
        (Value::S32(-65), Type::S32, &[0xbf, 0x7f]),
        (Value::U64(u64::MAX), Type::U64, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        (Value::F32(1.0), Type::F32, &[0, 0, 0x80, 0x3f]),
        (Value::F32(f32::from_bits(0xffff_ffff)), Type::F32, &[0, 0, 0xc0, 0x7f]),
        (Value::F64(f64::NAN), Type::F64, &[0, 0, 0, 0, 0, 0, 0xf8, 0x7f]),
        (Value::Char('é'), Type::Char, &[0xc3, 0xa9]),
        (Value::String("hé".into()), Type::String, &[3, b'h', 0xc3, 0xa9]),
        (Value::Bytes(vec![7, 8].into()), Type::list(Type::U8), &[2, 7, 8]),
        (Value::List(vec![Value::U8(7), Value::U8(8)]), Type::list(Type::U8), &[2, 7, 8]),
        (Value::Option(None), Type::option(Type::U8), &[0]),
        (Value::Option(Some(Box::new(Value::U8(9)))), Type::option(Type::U8), &[1, 9]),
        (Value::Result(Ok(None)), Type::result(None, Some(Type::U8)), &[0]),
        (Value::Result(Err(Some(Box::new(Value::U8(9))))), Type::result(None, Some(Type::U8)), &[1, 9]),
        (Value::Enum(1), Type::Enum(numbered(2)), &[1]),
        (Value::Variant(1, None), Type::variant([("a", Some(Type::U8)), ("b", None)]), &[1]),
        (Value::Flags(set), flags, &[1, 1]),
        (
            Value::Record(vec![Value::U8(1), Value::Tuple(vec![Value::Bool(false)])]),
            Type::record([("a", Type::U8), ("b", Type::Tuple(vec![Type::Bool]))]),
            &[1, 0],
        ),
    ] {
        assert_eq!(bytes_of(&value, &ty), bytes, "{ty}");
    }
}

#[test]
fn a_second_form_of_a_value_is_refused() {
    for (ty, bytes) in [
        (Type::Bool, &[2][..]),
        (Type::U16, &[0x80, 0x00]),
        (Type::U16, &[0x80, 0x80, 0x04]),
        (Type::S16, &[0x80, 0x80, 0x02]),
        (Type::F32, &[1, 0, 0xc0, 0x7f]),
        (Type::Char, &[0xed, 0xa0, 0x80]),
        (Type::Char, &[0xc0, 0x80]),
        (Type::String, &[1, 0xff]),
        (Type::Enum(numbered(2)), &[2]),
        (Type::Flags(numbered(3)), &[0b1000]),
        (Type::option(Type::U8), &[2, 0]),
        (Type::result(None, None), &[2]),
    ] {
        assert!(matches!(decode(&ty, bytes, &Limits::default()), Err(DecodeError::Invalid { .. })), "{ty}");
    }
    assert_eq!(decode(&Type::U8, &[1, 2], &Limits::default()), Err(DecodeError::Trailing { count: 1 }));
}

#[test]
fn lengths_are_not_believed() {
    let limits = Limits::default();
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for ty in [Type::list(Type::U32), Type::list(Type::U8), Type::String] {
        assert!(decode(&ty, &huge, &limits).is_err(), "{ty}");
    }
    let nothing = Type::list(Type::Tuple(vec![]));
    assert_eq!(decode(&nothing, &huge, &limits), Err(DecodeError::Nodes { limit: 1 << 20 }));
    let few = Limits { max_nodes: 3, ..limits };
    let three = bytes_of(&Value::List(vec![Value::Bool(true); 3]), &Type::list(Type::Bool));
    assert_eq!(decode(&Type::list(Type::Bool), &three, &few), Err(DecodeError::Nodes { limit: 3 }));
}

#[test]
fn nesting_ends_at_the_limit() {
    let nest = |levels: usize| {
        (0..levels).fold((Value::U8(1), Type::U8), |(value, ty), _| {
            (Value::Option(Some(Box::new(value))), Type::option(ty))
        })
    };
    let (value, ty) = nest(MAX_DEPTH);
    assert_eq!(decode(&ty, &bytes_of(&value, &ty), &Limits::default()), Ok(value));
    let (value, ty) = nest(MAX_DEPTH + 1);
    assert_eq!(encode(&value, &ty, &mut Vec::new()), Err(EncodeError::Depth { limit: MAX_DEPTH }));
    let bytes = vec![1; MAX_DEPTH + 2];
    assert_eq!(decode(&ty, &bytes, &Limits::default()), Err(DecodeError::Depth { limit: MAX_DEPTH }));
}

#[test]
fn a_value_of_another_type_is_not_written() {
    for (value, ty) in [
        (Value::U8(1), Type::U16),
        (Value::Enum(2), Type::Enum(numbered(2))),
        (Value::Record(vec![]), Type::record([("a", Type::U8)])),
        (Value::Variant(0, None), Type::variant([("a", Some(Type::U8))])),
        (Value::Result(Ok(Some(Box::new(Value::U8(1))))), Type::result(None, None)),
        (Value::Flags(vec![true]), Type::Flags(numbered(2))),
        (Value::Bytes(vec![1].into()), Type::list(Type::S8)),
    ] {
        assert!(matches!(encode(&value, &ty, &mut Vec::new()), Err(EncodeError::Mismatch { .. })), "{ty}");
    }
    assert_eq!(encode_all::<Value>(&[], &[Type::U8]), Err(EncodeError::Count { expected: 1, got: 0 }));
}

#[test]
fn a_signature_ignores_names_of_parameters_but_nothing_else() {
    let signature =
        |name: &str, ty: Type| Signature { params: vec![(name.into(), ty)], results: vec![Type::U8] };
    let one = signature("a", Type::U32);
    assert_eq!(one.to_string(), "func(a: u32) -> u8");
    assert_eq!(one.fingerprint(), signature("b", Type::U32).fingerprint());
    assert_ne!(one.fingerprint(), signature("a", Type::S32).fingerprint());
    let moved = Signature { params: vec![], results: vec![Type::U32, Type::U8] };
    assert_ne!(one.fingerprint(), moved.fingerprint());
}

#[test]
fn parameters_come_by_name_by_place_or_alone() {
    let two = Signature { params: vec![("a".into(), Type::U8), ("b".into(), Type::String)], results: vec![] };
    let expected = vec![Value::U8(1), Value::String("x".into())];
    assert_eq!(params_from_json(&json!({"a": 1, "b": "x"}), &two), Ok(expected.clone()));
    assert_eq!(params_from_json(&json!([1, "x"]), &two), Ok(expected));
    let one = Signature { params: vec![("a".into(), Type::list(Type::U16))], results: vec![] };
    let list = vec![Value::List(vec![Value::U16(1)])];
    assert_eq!(params_from_json(&json!([1]), &one), Ok(list.clone()));
    assert_eq!(params_from_json(&json!({"a": [1]}), &one), Ok(list));
    assert_eq!(params_from_json(&json!(null), &Signature::default()), Ok(vec![]));
    assert!(params_from_json(&json!([1]), &Signature::default()).is_err());
}

#[test]
fn json_errors_name_the_place() {
    let reading = Type::record([
        ("device", Type::String),
        ("values", Type::list(Type::Tuple(vec![Type::F32, Type::option(Type::U8)]))),
    ]);
    let problem = |json| Report::from(from_json(&json, &reading).unwrap_err()).to_string();
    assert_eq!(
        problem(json!({"device": "a", "values": [[1, null], [2, 300]]})),
        "E_USAGE: want u8 (got 300): $.values[1][1]"
    );
    assert_eq!(problem(json!({"values": []})), "E_USAGE: missing field \"device\": $");
    assert_eq!(
        problem(json!({"device": "a", "value": []})),
        "E_USAGE: unknown name \"value\" (known: device, values): $"
    );
    let report = Report::from(decode(&Type::U8, &[], &Limits::default()).unwrap_err());
    assert_eq!(report.code, ErrorCode::Malformed);
}
