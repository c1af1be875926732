//! What leaves a persistent actor, after it was stored: messages and calls through its links. Each
//! goes out under the effect's own key, which is the same on every attempt.

use super::PersistentKind;
use crate::call::CallInfo;
use crate::state::CallScope;
use crate::wiring::{ActorTarget, BoundTarget, Repeat};
use bytes::Bytes;
use lattice_protocol::invocation::Invocation;
use lattice_protocol::value::{decode_json_answer, encode_json_call};
use lattice_protocol::{ErrorCode, Interface, LinkName, Report};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl PersistentKind {
    fn scope(&self, key: &str, patience: Duration) -> CallScope {
        let info = CallInfo { idempotency_key: Some(key.into()), ..CallInfo::within(patience) };
        let actor = Arc::clone(&self.shared);
        CallScope { actor, info, selected_link: BTreeMap::new(), stage: None, reply_to: None }
    }

    /// Publishes through a messaging link, within its grants; the key goes along, so that a stream
    /// stores it once.
    ///
    /// # Errors
    /// What the link, its grants or the broker say.
    pub async fn publish(
        &self,
        link: &str,
        (subject, body): (&str, Bytes),
        key: &str,
        patience: Duration,
    ) -> Result<(), Report> {
        let scope = self.scope(key, patience);
        crate::capabilities::publish_keyed(&scope, &link.parse()?, (subject, body), key).await
    }

    /// Calls a function (`namespace:package/interface.function`) of another actor through a link, with
    /// JSON arguments: its results as JSON.
    ///
    /// # Errors
    /// `E_NAME` for what is no function, what the link says, or what the callee does.
    pub async fn call(
        &self,
        link: &str,
        (function, arguments): (&str, Bytes),
        key: &str,
        patience: Duration,
    ) -> Result<Bytes, Report> {
        let scope = self.scope(key, patience);
        let name: LinkName = link.parse()?;
        let (interface, function) = split(function)?;
        let link = scope.resolve(&interface, Some(&name))?;
        let BoundTarget::Actor(target) = link.target() else { return Err(link.mismatch(&interface)) };
        let payload = Bytes::from(encode_json_call(&arguments));
        let call = JsonCall { scope: &scope, interface: interface.to_string(), function, payload };
        // The effect is relayed at least once anyhow: attempts that may have arrived are repeated
        // by the outbox, with the same key.
        let answer = link
            .guarded(scope.info.deadline, Repeat::Unsent, |until| call.attempt(target.as_ref(), &name, until))
            .await?;
        decode_json_answer(answer)
    }
}

fn split(function: &str) -> Result<(Interface, &str), Report> {
    let malformed = || {
        Report::new(ErrorCode::Name, "not a function")
            .got(function.chars().take(80).collect::<String>())
            .limit("namespace:package/interface.function")
    };
    // A version has dots too: the function is behind the last one, unless that is a number.
    let (interface, name) = function.rsplit_once('.').ok_or_else(malformed)?;
    if name.is_empty() || name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    Ok((interface.parse::<Interface>().map_err(|_| malformed())?, name))
}

struct JsonCall<'call> {
    scope: &'call CallScope,
    interface: String,
    function: &'call str,
    payload: Bytes,
}

impl JsonCall<'_> {
    async fn attempt(
        &self,
        target: &dyn ActorTarget,
        link: &LinkName,
        until: Instant,
    ) -> Result<Bytes, Report> {
        let info = CallInfo {
            deadline: until,
            depth: self.scope.info.depth + 1,
            caller: Some(self.scope.actor.id.clone()),
            ..self.scope.info.clone()
        };
        if let Some(actor) = target.local() {
            return actor.call(&self.interface, self.function, self.payload.clone(), info).await;
        }
        let invocation = Invocation {
            target: target.id().clone(),
            interface: self.interface.clone(),
            function: self.function.to_owned(),
            remaining_ms: u64::try_from(info.remaining().as_millis()).unwrap_or(u64::MAX),
            depth: info.depth,
            caller: info.caller,
            link: Some(link.clone()),
            traceparent: info.traceparent.map(|text| text.to_string()),
            idempotency_key: info.idempotency_key.map(|text| text.to_string()),
        };
        target.remote(invocation, self.payload.clone()).await
    }
}
