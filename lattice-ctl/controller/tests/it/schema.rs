//! As much of JSON Schema as the document uses. What it does not know makes the test fail, so that it
//! can not look away.

use serde_json::Value;

/// Everything in which a value is not what a schema says.
pub fn problems(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, "$", &mut found);
    found
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (word, rule) in schema.as_object().unwrap() {
        let mut refuse = |what: String| found.push(format!("{at}: {what}"));
        match word.as_str() {
            "description" | "maxLength" => {}
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(document, document.pointer(pointer).unwrap(), value, at, found);
            }
            "type" => {
                let wanted: Vec<&str> = match rule {
                    Value::String(one) => vec![one],
                    many => many.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect(),
                };
                if !wanted.contains(&kind(value)) {
                    refuse(format!("is a {}, wanted {wanted:?}", kind(value)));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => {
                refuse(format!("{value} is none of {rule}"))
            }
            "const" if rule != value => refuse(format!("{value} is not {rule}")),
            "enum" | "const" => {}
            "minimum" => {
                if value.as_i64().is_some_and(|number| number < rule.as_i64().unwrap()) {
                    refuse(format!("{value} under {rule}"));
                }
            }
            "pattern" => {
                if !matches_pattern(rule.as_str().unwrap(), value.as_str().unwrap_or_default()) {
                    refuse(format!("{value} is not {rule}"));
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                        refuse(format!("{name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(member) = value.get(name) {
                        check(document, rule, member, &format!("{at}.{name}"), found);
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, member) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(name)) {
                        continue;
                    }
                    match rule {
                        Value::Bool(false) => found.push(format!("{at}: {name} is not known")),
                        rule => check(document, rule, member, &format!("{at}.{name}"), found),
                    }
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item, &format!("{at}[{index}]"), found);
                }
            }
            "prefixItems" => {
                for (index, rule) in rule.as_array().unwrap().iter().enumerate() {
                    if let Some(item) = value.get(index) {
                        check(document, rule, item, &format!("{at}[{index}]"), found);
                    }
                }
            }
            "minItems" | "maxItems" => {
                let (count, limit) = (value.as_array().map(Vec::len), rule.as_u64().unwrap() as usize);
                let fine = count
                    .is_none_or(|count| if word == "minItems" { count >= limit } else { count <= limit });
                if !fine {
                    refuse(format!("{word} {limit}"));
                }
            }
            other => panic!("schema word that this test does not know: {other}"),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn matches_pattern(pattern: &str, text: &str) -> bool {
    let token = |text: &str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    match pattern {
        "^[A-Za-z0-9_-]{1,64}$" => token(text),
        "^[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,64}$" => {
            text.split_once('/').is_some_and(|(app, name)| token(app) && token(name))
        }
        "^U[A-Z2-7]{55}$" => text.len() == 56 && text.starts_with('U'),
        "^sha256:" => text.starts_with("sha256:"),
        "^dev\\.trellis\\." => text.starts_with("dev.trellis."),
        other => panic!("pattern that this test does not know: {other}"),
    }
}

#[test]
fn it_sees_what_is_wrong() {
    let schema = serde_json::json!({
        "type": "object", "properties": { "n": { "type": "integer", "minimum": 0 } }, "required": ["n"],
        "additionalProperties": false,
    });
    let count = |value: &str| problems(&Value::Null, &schema, &serde_json::from_str(value).unwrap()).len();
    assert_eq!(count(r#"{"n":1}"#), 0);
    for bad in ["{}", r#"{"n":-1}"#, r#"{"n":"1"}"#, r#"{"n":1,"m":2}"#, "[]"] {
        assert!(count(bad) > 0, "{bad}");
    }
}
