//! The payload of a typed call: the fingerprint of the function's type as the caller knows it, then
//! the parameters. The answer is the results alone: its type has been agreed on by then.
//!
//! Without the fingerprint, a caller built against another version of an interface could have its
//! bytes read as something else (a `u32` and a `u64` are written alike).

use super::{EncodeError, Limits, Signature, Value, decode_all, encode_all};
use crate::error::{ErrorCode, Report};

/// Bytes of a fingerprint.
const FINGERPRINT: usize = 32;

/// Parameters of a call of a function of this type.
///
/// # Errors
/// When the values are not of the signature's types.
pub fn encode_call(signature: &Signature, params: &[Value]) -> Result<Vec<u8>, EncodeError> {
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

#[cfg(test)]
mod tests {
    use super::super::Type;
    use super::*;

    fn signature(param: Type) -> Signature {
        Signature { params: vec![("x".into(), param)], results: Vec::new() }
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
