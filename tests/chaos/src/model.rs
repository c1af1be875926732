//! What actors do, as far as the checker needs to know: a register, a counter, a list that grows.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// `write {"value":v}` → `null`; `cas {"from":a,"to":b}` → did it?; `read` → the value.
    Register,
    /// `add {"amount":n}` → the sum; `read` → the sum.
    Counter,
    /// `append {"value":v}` → the length; `read` → the list.
    Append,
    /// `add n` → the sum; `read` → the sum.
    Sum,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    value: Value,
    #[serde(default)]
    from: Value,
    #[serde(default)]
    to: Value,
    #[serde(default)]
    amount: i64,
}

impl Model {
    /// The state of an actor without a history.
    #[must_use]
    pub fn initial(self) -> Value {
        match self {
            Self::Register => Value::Null,
            Self::Counter | Self::Sum => Value::from(0),
            Self::Append => Value::Array(Vec::new()),
        }
    }

    /// What a command, or `read`, makes of a state, and what it answers; `None` of one that the model does not know.
    #[must_use]
    pub fn step(self, state: &Value, name: &str, body: &str) -> Option<(Value, String)> {
        if name == "read" {
            return Some((state.clone(), state.to_string()));
        }
        if self == Self::Sum {
            let amount: i64 = body.parse().ok().filter(|_| name == "add")?;
            let sum = Value::from(state.as_i64()?.wrapping_add(amount));
            return Some((sum.clone(), sum.to_string()));
        }
        let body: Body = serde_json::from_str(body).ok()?;
        match (self, name) {
            (Self::Register, "write") => Some((body.value, Value::Null.to_string())),
            (Self::Register, "cas") => {
                let swapped = *state == body.from;
                let after = if swapped { body.to } else { state.clone() };
                Some((after, swapped.to_string()))
            }
            (Self::Counter, "add") => {
                let sum = Value::from(state.as_i64()?.wrapping_add(body.amount));
                Some((sum.clone(), sum.to_string()))
            }
            (Self::Append, "append") => {
                let mut list = state.as_array()?.clone();
                list.push(body.value);
                let length = list.len().to_string();
                Some((Value::Array(list), length))
            }
            _ => None,
        }
    }
}
