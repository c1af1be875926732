//! The tokens' JSON against the format, and the refusals. That a real nats-server accepts them is
//! tested where there is one (tests/harness).

use super::*;
use crate::fixtures::{NOW, key};
use serde_json::{Value, json};

fn operator() -> KeyPair {
    key(KeyKind::Operator, 1)
}

fn account() -> KeyPair {
    key(KeyKind::Account, 2)
}

fn user() -> KeyPair {
    key(KeyKind::User, 3)
}

/// Checks the signature and returns header and claims.
fn read(token: &str) -> (Value, Value) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let json = |text| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    let (header, claims): (Value, Value) = (json(header), json(claims));
    let issuer: PublicKey = claims["iss"].as_str().unwrap().parse().unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let signature = signature.try_into().unwrap();
    issuer.verify(signed.as_bytes(), &signature).unwrap();
    (header, claims)
}

#[test]
fn the_chain_is_as_nats_reads_it() {
    let system = key(KeyKind::Account, 9).public();
    let (header, claims) = read(&operator_jwt(&operator(), "lattice", &system, NOW).unwrap());
    assert_eq!(header, json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    assert_eq!(claims["iss"], claims["sub"]);
    assert_eq!(claims["nats"], json!({"system_account": system, "type": "operator", "version": 2}));
    assert_eq!(claims["jti"].as_str().unwrap().len(), 52);

    let spec = AccountSpec::new(account().public(), "lattice");
    let (_, claims) = read(&account_jwt(&operator(), &spec, NOW).unwrap());
    assert_eq!(claims["iss"], json!(operator().public()));
    assert_eq!(claims["iat"], NOW);
    let limits = &claims["nats"]["limits"];
    for limit in [
        "subs",
        "data",
        "payload",
        "conn",
        "leaf",
        "imports",
        "exports",
        "mem_storage",
        "disk_storage",
        "streams",
        "consumer",
    ] {
        assert_eq!(limits[limit], -1, "{limit}");
    }
    let (_, claims) = read(&account_jwt(&operator(), &AccountSpec::system(system), NOW).unwrap());
    assert_eq!(claims["nats"]["limits"]["disk_storage"], Value::Null);

    let mut spec = UserSpec::new(user().public(), "host-1");
    spec.publish = Subjects::allow(["a.b", "_INBOX.>"]);
    spec.subscribe = Subjects::allow(["c.* workers"]);
    spec.responses = Some(Responses { max_messages: 1, ttl_ms: 5_000 });
    spec.expires = Some(NOW + 60);
    let (_, claims) = read(&user_jwt(&account(), &spec, NOW).unwrap());
    assert_eq!(claims["exp"], NOW + 60);
    assert_eq!(
        claims["nats"],
        json!({
            "pub": {"allow": ["_INBOX.>", "a.b"]}, "sub": {"allow": ["c.* workers"]},
            "resp": {"max": 1, "ttl": 5_000_000_000_i64},
            "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2
        })
    );
}

#[test]
fn an_empty_list_allows_nothing() {
    let spec = UserSpec::new(user().public(), "nobody");
    let (_, claims) = read(&user_jwt(&account(), &spec, NOW).unwrap());
    assert_eq!(claims["nats"]["pub"], json!({"deny": [">"]}));
    assert_eq!(claims["nats"]["sub"], json!({"deny": [">"]}));
}

#[test]
fn signing_keys_and_revocations_are_written() {
    let helper = key(KeyKind::Account, 5);
    let mut spec = AccountSpec::new(account().public(), "lattice");
    spec.signing_keys.insert(helper.public());
    spec.revoked_users.insert(user().public(), NOW);
    let (_, claims) = read(&account_jwt(&operator(), &spec, NOW).unwrap());
    assert_eq!(claims["nats"]["signing_keys"], json!([helper.public()]));
    assert_eq!(claims["nats"]["revocations"], json!({ user().public().as_str(): NOW }));
    let mut spec = UserSpec::new(user().public(), "u");
    spec.issuer_account = Some(account().public());
    let (_, claims) = read(&user_jwt(&helper, &spec, NOW).unwrap());
    assert_eq!(claims["nats"]["issuer_account"], json!(account().public()));
}

#[test]
fn a_role_is_in_the_account_and_its_users_say_only_their_name() {
    let signer = key(KeyKind::Account, 5);
    let mut spec = AccountSpec::new(account().public(), "lattice");
    spec.roles.push(RoleSpec {
        key: signer.public(),
        name: "provider-store".to_owned(),
        publish: Subjects::default(),
        subscribe: Subjects::allow(["t.prov.{{name()}}"]),
        responses: Some(Responses { max_messages: 1, ttl_ms: 5_000 }),
    });
    let (_, claims) = read(&account_jwt(&operator(), &spec, NOW).unwrap());
    assert_eq!(
        claims["nats"]["signing_keys"],
        json!([{
            "kind": "user_scope", "key": signer.public(), "role": "provider-store",
            "template": {
                "pub": {"deny": [">"]}, "sub": {"allow": ["t.prov.{{name()}}"]},
                "resp": {"max": 1, "ttl": 5_000_000_000_i64}, "subs": -1, "data": -1, "payload": -1
            }
        }])
    );
    let make = |name| role_user_jwt(&signer, account().public(), user().public(), name, NOW);
    let (_, claims) = read(&make("shop.store.H1").unwrap());
    assert_eq!(claims["name"], "shop.store.H1");
    let nats = json!({"issuer_account": account().public(), "type": "user", "version": 2});
    assert_eq!(claims["nats"], nats, "any right of its own would be refused by the server");
    for wide in ["", ">", "shop.*", "shop.>", "a b", "a..b"] {
        assert!(make(wide).is_err(), "{wide:?} would widen the role");
    }
}

#[test]
fn the_wrong_kind_of_key_signs_nothing() {
    let spec = AccountSpec::new(account().public(), "a");
    let error = account_jwt(&account(), &spec, NOW).unwrap_err();
    assert!(error.to_string().starts_with("NATS token, operator: nkey: wrong kind"), "{error}");
    let user_spec = UserSpec::new(user().public(), "u");
    assert!(user_jwt(&operator(), &user_spec, NOW).is_err());
    let not_user = UserSpec::new(account().public(), "u");
    assert!(user_jwt(&account(), &not_user, NOW).is_err());
    assert!(operator_jwt(&operator(), "o", &user().public(), NOW).is_err());
}

#[test]
fn bad_subjects_are_refused() {
    for subject in ["", ".", "a..b", "a.", ".a", "a b", "a\tb", "a\r\nPUB x", ">.a", "a.>.b"] {
        let mut spec = UserSpec::new(user().public(), "u");
        spec.publish = Subjects::allow([subject]);
        assert!(user_jwt(&account(), &spec, NOW).is_err(), "{subject:?}");
    }
    for (subject, good) in
        [("a.>", true), ("a.* q", true), ("a q r", false), ("a ", false), ("$JS.API.>", true)]
    {
        let mut spec = UserSpec::new(user().public(), "u");
        spec.subscribe.deny.insert(subject.to_owned());
        assert_eq!(user_jwt(&account(), &spec, NOW).is_ok(), good, "{subject:?}");
    }
}

#[test]
fn files_hold_what_they_must() {
    let creds = creds_file("e30.e30.sig", &user());
    let lines: Vec<&str> = creds.lines().collect();
    assert_eq!(
        lines[0..3],
        ["-----BEGIN NATS USER JWT-----", "e30.e30.sig", "------END NATS USER JWT------"]
    );
    assert!(lines.contains(&user().seed().as_str()));
    let accounts = BTreeMap::from([(account().public(), "e30.e30.sig".to_owned())]);
    let config = server_config("op.jwt.sig", &account().public(), &accounts);
    let key = account().public();
    assert_eq!(
        config,
        format!(
            "operator: \"op.jwt.sig\"\nsystem_account: {key}\nresolver: MEMORY\n\
             resolver_preload: {{\n  {key}: \"e30.e30.sig\"\n}}\n"
        )
    );
}
