//! The payload of a typed call: the fingerprint of the function's type as the caller knows it, then
//! the parameters. The answer is the results alone: its type has been agreed on by then.
//!
//! Without the fingerprint, a caller built against another version of an interface could have its
//! bytes read as something else (a `u32` and a `u64` are written alike).

use super::{EncodeError, Limits, Signature, Value, decode_all, encode_all};
use crate::error::{ErrorCode, Report};
use std::borrow::Borrow;

/// Bytes of a fingerprint.
const FINGERPRINT: usize = 32;

/// Parameters of a call of a function of this type.
///
/// # Errors
/// When the values are not of the signature's types.
pub fn encode_call<V: Borrow<Value>>(signature: &Signature, params: &[V]) -> Result<Vec<u8>, EncodeError> {
    let mut out = signature.fingerprint().to_vec();
    out.extend(encode_all(params, signature.params.iter().map(|(_, ty)| ty))?);
    Ok(out)
}

/// Reads what [`encode_call`] wrote, for a function of this type.
///
/// # Errors
/// `E_VERSION` when the caller knows the function by another type; `E_MALFORMED` and the like when
/// the bytes are not its parameters.
pub fn decode_call(signature: &Signature, payload: &[u8], limits: &Limits) -> Result<Vec<Value>, Report> {
    let (fingerprint, params) = payload
        .split_first_chunk::<FINGERPRINT>()
        .ok_or_else(|| Report::new(ErrorCode::Malformed, "typed call: no fingerprint"))?;
    if *fingerprint != signature.fingerprint() {
        return Err(Report::new(
            ErrorCode::Version,
            "typed call: caller and callee know the function by different types",
        )
        .limit(signature)
        .hint("build both against the same version of the interface"));
    }
    Ok(decode_all(signature.params.iter().map(|(_, ty)| ty), params, limits)?)
}

/// In the place of a fingerprint: what follows is JSON. No type has this fingerprint.
const JSON: [u8; FINGERPRINT] = *b"trellis call by name, in JSON   ";

/// A call by a caller that knows only the function's name: arguments as JSON (an array by position,
/// an object by name), and an answer as JSON.
#[must_use]
pub fn encode_json_call(arguments: &[u8]) -> Vec<u8> {
    [&JSON, arguments].concat()
}

/// The arguments, if it is a call in JSON.
#[must_use]
pub fn json_call(payload: &[u8]) -> Option<&[u8]> {
    payload.strip_prefix(&JSON)
}

/// Reads the arguments of a call in JSON.
///
/// # Errors
/// `E_MALFORMED` when they are no JSON, or not what the function takes.
pub fn read_json_call(signature: &Signature, arguments: &[u8]) -> Result<Vec<Value>, Report> {
    let malformed = |what: String| Report::new(ErrorCode::Malformed, what).limit(signature);
    let json = match arguments.trim_ascii() {
        [] => serde_json::Value::Null,
        text => serde_json::from_slice(text).map_err(|error| malformed(format!("not JSON: {error}")))?,
    };
    super::params_from_json(&json, signature).map_err(|error| malformed(error.to_string()))
}

/// The answer to a call in JSON: its one result, or `null`.
///
/// # Errors
/// `E_MALFORMED` when the values are not of the signature's types.
pub fn write_json_answer(signature: &Signature, results: &[Value]) -> Result<Vec<u8>, Report> {
    let shown = match (results, signature.results.as_slice()) {
        ([value], [ty]) => {
            super::to_json(value, ty).map_err(|error| Report::new(ErrorCode::Malformed, error.to_string()))?
        }
        _ => serde_json::Value::Null,
    };
    Ok(shown.to_string().into_bytes())
}

/// The answer to a call in JSON, as text.
///
/// # Errors
/// `E_MALFORMED` when it is no JSON.
pub fn decode_json_answer(answer: bytes::Bytes) -> Result<bytes::Bytes, Report> {
    serde_json::from_slice::<serde::de::IgnoredAny>(&answer)
        .map(|_| answer)
        .map_err(|error| Report::new(ErrorCode::Malformed, format!("answer: not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::super::Type;
    use super::*;

    fn signature(param: Type) -> Signature {
        Signature { params: vec![("x".into(), param)], results: Vec::new() }
    }

    #[test]
    fn a_call_in_json_reads_back_and_is_no_other_call() {
        let takes = signature(Type::U32);
        let payload = encode_json_call(b" [7] ");
        assert_eq!(read_json_call(&takes, json_call(&payload).unwrap()).unwrap(), [Value::U32(7)]);
        assert!(json_call(&encode_call(&takes, &[Value::U32(7)]).unwrap()).is_none());
        assert_eq!(decode_call(&takes, &payload, &Limits::default()).unwrap_err().code, ErrorCode::Version);
        for bad in ["[", "[true]", "[1, 2]", "", "{\"y\": 1}"] {
            assert_eq!(
                read_json_call(&takes, bad.as_bytes()).unwrap_err().code,
                ErrorCode::Malformed,
                "{bad}"
            );
        }
        let gives = Signature { params: Vec::new(), results: vec![Type::String] };
        let answer = write_json_answer(&gives, &[Value::String("x".into())]).unwrap();
        assert_eq!(decode_json_answer(answer.into()).unwrap(), "\"x\"");
        assert!(decode_json_answer("x".into()).is_err());
    }

    #[test]
    fn a_call_reads_back_and_another_type_is_refused() {
        let payload = encode_call(&signature(Type::U32), &[Value::U32(7)]).unwrap();
        let read = |ty| decode_call(&signature(ty), &payload, &Limits::default());
        assert_eq!(read(Type::U32).unwrap(), [Value::U32(7)]);
        assert_eq!(read(Type::U64).unwrap_err().code, ErrorCode::Version);
        assert_eq!(
            decode_call(&signature(Type::U32), &payload[..31], &Limits::default()).unwrap_err().code,
            ErrorCode::Malformed
        );
        assert_eq!(
            decode_call(&signature(Type::U32), &payload[..32], &Limits::default()).unwrap_err().code,
            ErrorCode::Malformed
        );
    }
}
