//! Readings that are taken, and the words for those that are not.

use super::*;

const HTTP: Received<'static> = Received { subject_region: None, default_region: "home", now: 1_718_668_800 };

fn on(region: &'static str) -> Received<'static> {
    Received { subject_region: Some(region), ..HTTP }
}

fn refusal(body: &str, received: Received<'_>) -> String {
    parse(body.as_bytes(), received).unwrap_err().to_string()
}

const WHOLE: &str = r#"{"device_id":"sensor-001","temperature":92.5,"humidity":78.3,"timestamp":1718668800,"region":"ap-east-1"}"#;

#[test]
fn the_whole_form_is_read() {
    let data = parse(WHOLE.as_bytes(), on("ap-east-1")).unwrap();
    assert_eq!(serde_json::to_string(&data).unwrap(), WHOLE);
}

#[test]
fn the_short_form_is_filled_in() {
    let body = br#"{"device":"sensor-001","temp":92.5}"#;
    let data = parse(body, on("ap-east-1")).unwrap();
    assert_eq!((data.region.as_str(), data.timestamp, data.humidity), ("ap-east-1", 1_718_668_800, 0.0));
    assert_eq!(parse(body, HTTP).unwrap().region, "home");
    let fuller = br#"{"device":"a","temp":1,"humidity":95,"timestamp":5,"region":"north"}"#;
    let data = parse(fuller, HTTP).unwrap();
    assert_eq!((data.humidity, data.timestamp, data.region.as_str()), (95.0, 5, "north"));
}

#[test]
fn what_is_wrong_is_said_of_its_field() {
    let whole = |from: &str, to: &str| refusal(&WHOLE.replace(from, to), HTTP);
    assert_eq!(whole("sensor-001", "a.b"), "device_id: only A-Za-z0-9_-, 1..64");
    assert_eq!(whole("sensor-001", ""), "device_id: only A-Za-z0-9_-, 1..64");
    assert_eq!(whole("ap-east-1", ">"), "region: only A-Za-z0-9_-, 1..64");
    assert_eq!(whole(r#""sensor-001""#, "7"), "device_id: not a text (got 7)");
    assert_eq!(whole("92.5", "null"), "temperature: missing; send a finite number");
    assert_eq!(whole("92.5", r#""NaN""#), r#"temperature: not a finite number (got "NaN")"#);
    assert_eq!(whole(r#","humidity":78.3"#, ""), "humidity: missing; send a finite number");
    assert_eq!(whole("1718668800", "-1"), "timestamp: not whole seconds since 1970 (got -1)");
    assert_eq!(refusal(r#"{"device":"a"}"#, HTTP), "temperature: missing; send a finite number");
    let long = format!(r#"{{"device":"a","temp":"{}"}}"#, "ü".repeat(1_000));
    assert!(refusal(&long, HTTP).chars().count() < 90);
}

#[test]
fn what_is_no_reading_at_all_is_refused() {
    for body in ["", "{", "[]", "7", "{}x", "\u{0}", &"[".repeat(100_000), r#"{"temp":1e400,"device":"a"}"#] {
        let error = parse(body.as_bytes(), HTTP).unwrap_err();
        assert!(matches!(error, ReadingError::NotJson { .. } | ReadingError::Missing { .. }), "{error}");
    }
    assert!(parse(b"\xff\xfe", HTTP).is_err());
    assert!(refusal(r#"{"device":"a","device":"b","temp":1}"#, HTTP).contains("duplicate field"));
}

#[test]
fn a_reading_from_another_region_than_its_subject_is_refused() {
    assert_eq!(
        refusal(WHOLE, on("eu-west-1")),
        "region: ap-east-1 (sent to edge.sensor.eu-west-1); send it to edge.sensor.ap-east-1"
    );
}
