//! Who may do what, and what is written down about it.

use crate::lab::{Lab, PATIENCE, key, name, now, token};
use keys::{KeyKind, KeyPair, RequestParts, sign_request};
use lattice_protocol::permission::PersonRole::{Admin, Deployer, Viewer};
use serde_json::{Value, json};

fn code(answer: &crate::lab::Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_does_what_it_may_and_what_it_may_not_is_refused_and_told() {
    let lab = Lab::start().await;
    lab.put("shop").await;
    assert_eq!(lab.http(Viewer, ("GET", "/v1/apps"), "", b"").await.status, 200);
    let refused = lab.http(Viewer, ("DELETE", "/v1/apps/shop"), "", b"").await;
    assert_eq!(code(&refused), (403, "E_DENIED".to_owned()));
    assert_eq!(refused.json()["limit"], "deployer");
    assert_eq!(lab.http(Deployer, ("POST", "/v1/apps/shop/undeploy"), "", b"").await.status, 200);
    let refused = lab.http(Deployer, ("POST", "/v1/hosts/H1/stop"), "", b"").await;
    assert_eq!(code(&refused), (403, "E_DENIED".to_owned()));
    assert_eq!(code(&lab.http(Deployer, ("GET", "/v1/users"), "", b"").await).0, 403);
    assert_eq!(lab.http(Admin, ("GET", "/v1/users"), "", b"").await.status, 200);

    // Every change, and every refusal of one, is in the audit stream with who and what.
    let told = lab.eventually("both are told", |events| {
        let undeployed = events.iter().find(|event| event["data"]["change"] == "undeploy")?;
        let refused = events.iter().find(|event| event["type"] == "dev.trellis.admin.refused")?;
        Some((undeployed.clone(), refused.clone()))
    });
    let (undeployed, refused) = told.await;
    assert_eq!(undeployed["data"]["by"], "a-deployer");
    assert_eq!(
        (&undeployed["data"]["role"], &undeployed["data"]["via"]),
        (&json!("deployer"), &json!("http"))
    );
    assert_eq!((&refused["subject"], &refused["data"]["user"]), (&json!("shop"), &json!("a-viewer")));
    assert_eq!(refused["data"]["error"]["code"], "E_DENIED");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_bus_a_name_without_an_entry_is_nobody_and_a_role_is_the_listed_one() {
    let lab = Lab::start().await;
    let list = |role: &'static str, user: &'static str| {
        let lab = &lab;
        async move {
            lab.ask((role, user), "app.list", &json!({})).await.map_err(|report| report.code.to_string())
        }
    };
    assert_eq!(list("viewer", "a-viewer").await, Ok(json!([])));
    assert_eq!(list("viewer", "mallory").await, Err("E_UNAUTHENTICATED".to_owned()));
    assert_eq!(list("deployer", "a-viewer").await, Err("E_UNAUTHENTICATED".to_owned()));
    assert_eq!(list("root", "a-viewer").await, Err("E_UNAUTHENTICATED".to_owned()));
    let unknown = lab.ask(("admin", "root"), "app.explode", &json!({})).await.unwrap_err();
    assert_eq!(unknown.what, "Unknown command: app.explode");
    let broken = lab.ask(("admin", "root"), "app.get", &json!({ "app": "a.b" })).await.unwrap_err();
    assert_eq!(broken.code.as_str(), "E_USAGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_its_own_request_now_and_a_change_once() {
    let lab = Lab::start().await;
    lab.put("shop").await;
    let send = |method: &'static str, target: &'static str, token: String| {
        let lab = &lab;
        async move {
            let bearer = format!("Bearer {token}");
            let answer = lab.send((method, target), &[("authorization", &bearer)], b"").await;
            (answer.status, answer.json()["title"].as_str().unwrap_or_default().to_owned())
        }
    };
    let user = key(Deployer);
    let deploy = token(&user, "POST", "/v1/apps/shop/undeploy", b"");
    assert_eq!(send("POST", "/v1/apps/shop/undeploy", deploy.clone()).await.0, 200);
    let again = send("POST", "/v1/apps/shop/undeploy", deploy.clone()).await;
    assert_eq!(again, (401, "token was used before".to_owned()));
    let other = send("POST", "/v1/apps/shop/deploy", deploy).await;
    assert_eq!(other.0, 401);
    assert!(other.1.starts_with("token is for another request: target"), "{}", other.1);
    let parts = |lattice| RequestParts { lattice, method: "GET", target: "/v1/apps", body: b"" };
    let sign = |user: &KeyPair, lattice, from: i64| {
        sign_request(user, &parts(lattice), (from, from + 30), "0123456789abcdef").unwrap()
    };
    let late = send("GET", "/v1/apps", sign(&user, "lab", now() - 40)).await;
    assert!(late.0 == 401 && late.1.starts_with("token expired"), "{late:?}");
    let early = send("GET", "/v1/apps", sign(&user, "lab", now() + 45)).await;
    assert!(early.0 == 401 && early.1.starts_with("token is from the future"), "{early:?}");
    let elsewhere = send("GET", "/v1/apps", sign(&user, "prod", now())).await;
    assert!(elsewhere.0 == 401 && elsewhere.1.contains("lattice"), "{elsewhere:?}");
    let stranger = KeyPair::from_entropy(KeyKind::User, [99; 32]);
    let stranger = send("GET", "/v1/apps", sign(&stranger, name().as_str(), now())).await;
    assert_eq!(stranger, (401, "user is not known".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_taken_out_of_the_list_is_refused_by_the_next_request() {
    let lab = Lab::start().await;
    assert_eq!(lab.http(Viewer, ("GET", "/v1/apps"), "", b"").await.status, 200);
    let target = format!("/v1/users/{}", key(Viewer).public());
    assert_eq!(lab.http(Admin, ("DELETE", &target), "", b"").await.status, 200);
    assert_eq!(lab.http(Viewer, ("GET", "/v1/apps"), "", b"").await.status, 401);
    let refused = lab.ask(("viewer", "a-viewer"), "app.list", &json!({})).await.unwrap_err();
    assert_eq!(refused.code.as_str(), "E_UNAUTHENTICATED");
    let gone = lab.http(Admin, ("DELETE", &target), "", b"").await;
    assert_eq!(code(&gone), (404, "E_NOT_FOUND".to_owned()));
    // One name is one user.
    let new = KeyPair::from_entropy(KeyKind::User, [88; 32]).public();
    let body = serde_json::to_vec(&json!({ "name": "a-admin", "role": "admin" })).unwrap();
    let taken = lab.http(Admin, ("PUT", &format!("/v1/users/{new}")), "application/json", &body).await;
    assert_eq!(code(&taken), (409, "E_CONFLICT".to_owned()));
    let bad = lab.http(Admin, ("PUT", "/v1/users/AAAA"), "application/json", &body).await;
    assert_eq!(code(&bad), (400, "E_NAME".to_owned()));
}

impl Lab {
    /// Waits until the audit stream holds something.
    async fn eventually<T>(&self, what: &str, mut found: impl FnMut(&[Value]) -> Option<T>) -> T {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let events = self.ask(("admin", "root"), "event.list", &json!({})).await.unwrap();
            if let Some(found) = found(events.as_array().unwrap()) {
                return found;
            }
            assert!(tokio::time::Instant::now() < end, "{what}: {events:#}");
        }
    }

    /// Waits until a controller has decided about an application.
    pub async fn decided(&self, app: &str) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while let Err(report) = self.ask(("admin", "root"), "app.placement", &json!({ "app": app })).await {
            assert!(tokio::time::Instant::now() < end, "{report}");
            tokio::task::yield_now().await;
        }
    }
}
