//! What is wrong with a request is said, with a status, a code, and what would be right.

use crate::lab::{Lab, key, token};
use crate::schema::problems;
use lattice_ctl_controller::api::openapi::document;
use lattice_protocol::permission::PersonRole::{Admin, Deployer};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_request_gets_a_problem_that_says_what_to_do() {
    let lab = Lab::start().await;
    lab.put("shop").await;
    let document = document();
    let large = vec![b'#'; (1 << 20) + 1];
    let scale = "/v1/apps/shop/actors/web/scale";
    let (json, yaml) = ("application/json", "application/yaml");
    let rows: &[(&str, &str, &str, &[u8], u16, &str)] = &[
        ("GET", "/v1/nothing", "", b"", 404, "no such path"),
        ("GET", "/v1/apps/%ff", "", b"", 400, "path is not percent-encoded UTF-8"),
        ("PATCH", "/v1/apps/shop", "", b"", 405, "method not allowed"),
        ("TRACE", "/v1/apps", "", b"", 405, "method not allowed"),
        ("GET", "/v1/apps?all=yes", "", b"", 400, "unknown parameter \"all\""),
        ("GET", "/v1/events?limit=many", "", b"", 400, "parameter limit"),
        ("GET", "/v1/events?limit=0", "", b"", 400, "limit out of range"),
        ("GET", "/v1/events?limit=1&limit=2", "", b"", 400, "limit given twice"),
        ("GET", "/v1/apps/none", "", b"", 404, "application not found: none"),
        ("GET", "/v1/apps/a%2Fb", "", b"", 400, "input: "),
        ("GET", "/v1/hosts/NEDGE03", "", b"", 404, "host not found: NEDGE03"),
        ("POST", "/v1/apps/shop/deploy", json, b"{}", 400, "app.deploy takes no body"),
        ("POST", scale, "", b"{\"max\":2}", 415, "content type not taken"),
        ("POST", scale, "application/x-www-form-urlencoded", b"max=2", 415, "content type not taken"),
        ("POST", scale, json, b"{\"max\":", 400, "body is not a JSON object"),
        ("POST", scale, json, b"[1]", 400, "body is not a JSON object"),
        ("POST", scale, json, b"{\"max\":-1}", 400, "input: "),
        ("POST", scale, json, b"{\"maximum\":2}", 400, "input: unknown field `maximum`"),
        ("POST", scale, json, b"{\"name\":\"other\"}", 400, "name given twice"),
        ("POST", scale, json, b"{\"hosts\":[\"NEDGE03\"]}", 404, "host not found: NEDGE03"),
        ("POST", scale, json, b"{}", 400, "nothing to change"),
        ("POST", "/v1/apps/shop/actors/wep/scale", json, b"{\"max\":2}", 404, "actor not found: wep"),
        ("POST", "/v1/apps/shop/rollback", json, b"{\"version\":77}", 404, "version not found: 77"),
        ("PUT", "/v1/apps/shop", yaml, b"a: &a [*a]", 400, ""),
        ("PUT", "/v1/apps/shop", yaml, b"\xff\xfe", 400, "manifest is not UTF-8"),
        ("PUT", "/v1/apps/shop", yaml, b"", 400, "the manifest is empty"),
        ("PUT", "/v1/apps/shop", yaml, &large, 413, "body over the limit"),
        ("PUT", "/v1/apps/other?deploy=maybe", yaml, b"x", 400, "parameter deploy"),
        ("DELETE", "/v1/apps/shop/links?actor=web", "", b"", 400, "input: missing field `contract`"),
    ];
    for (method, target, media, body, status, title) in rows {
        let answer = lab.http(Admin, (method, target), media, body).await;
        assert_eq!(answer.status, *status, "{method} {target}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {target}");
        let problem = answer.json();
        let said = problem["title"].as_str().unwrap();
        assert!(said.contains(title), "{method} {target}: {said}");
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        assert_eq!(problems(&document, &schema, &problem), Vec::<String>::new(), "{method} {target}");
    }
    let wrong = lab.http(Admin, ("PATCH", "/v1/apps/shop"), "", b"").await;
    assert_eq!(wrong.header("allow"), Some("GET, PUT, DELETE"));
    let other = lab.manifest("other");
    let refused = lab.http(Deployer, ("PUT", "/v1/apps/shop"), yaml, other.as_bytes()).await;
    assert_eq!((refused.status, refused.json()["limit"].as_str()), (400, Some("shop")));
    let unknown = lab.manifest("shop").replace(&lab.artifact, &format!("sha256:{}", "0".repeat(64)));
    let refused = lab.http(Deployer, ("PUT", "/v1/apps/shop"), yaml, unknown.as_bytes()).await;
    assert_eq!(refused.status, 404, "{refused:?}");
    let by_path = lab.manifest("shop").replace(&lab.artifact, "web.wasm");
    let refused = lab.http(Deployer, ("PUT", "/v1/apps/shop"), yaml, by_path.as_bytes()).await;
    assert_eq!(refused.json()["code"], "E_ARTIFACT_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_or_nonsense_is_asked_for_a_token() {
    let lab = Lab::start().await;
    let good = token(&key(Admin), "GET", "/v1/apps", b"");
    for (headers, title) in [
        (vec![], "no authorization"),
        (vec![("authorization", "Basic YTpi".to_owned())], "authorization is not a bearer token"),
        (vec![("authorization", "Bearer".to_owned())], "authorization is not a bearer token"),
        (vec![("authorization", "Bearer a.b.c".to_owned())], "token header"),
        (vec![("authorization", format!("Bearer {}", "x".repeat(5_000)))], "token too long"),
        (vec![("authorization", format!("Bearer {good}")); 2], "authorization given twice"),
    ] {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = lab.send(("GET", "/v1/apps"), &headers, b"").await;
        assert_eq!(answer.status, 401, "{title}: {answer:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"trellis\""));
        let said = answer.json()["title"].as_str().unwrap().to_owned();
        assert!(said.starts_with(title), "{said}");
    }
    // What says that it is too large is not read.
    let bearer = format!("Bearer {}", token(&key(Admin), "PUT", "/v1/apps/shop", b""));
    let head = format!(
        "PUT /v1/apps/shop HTTP/1.1\r\nhost: lab\r\nauthorization: {bearer}\r\ncontent-length: 99999999999\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(lab.raw(head.as_bytes()).await.status, 413);
    for broken in ["GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n"] {
        assert_eq!(lab.raw(broken.as_bytes()).await.status, 400, "{broken:?}");
    }
    let fields: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nhost: lab\r\n{fields}\r\n");
    assert_eq!(lab.raw(many.as_bytes()).await.status, 431);
}
