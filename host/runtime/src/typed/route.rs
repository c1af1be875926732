//! One imported function: from the caller's values to the callee, here or on another host.

use super::arguments::{Argument, values};
use super::{convert, too_deep};
use crate::actor::Actor;
use crate::call::CallInfo;
use crate::component::{Component, Place};
use crate::state::CallScope;
use crate::wiring::{ActorTarget, BoundLink, BoundTarget, Repeat};
use arc_swap::ArcSwapOption;
use lattice_protocol::invocation::{Invocation, MAX_CALL_DEPTH};
use lattice_protocol::value::{Limits, Signature, Value, decode_all, encode_call};
use lattice_protocol::{ErrorCode, Interface, LinkName, Report};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

/// A function that a component imports from some actor.
pub(super) struct Imported {
    interface: Interface,
    /// The interface as text: what exports are looked up by.
    interface_text: String,
    function: String,
    label: Option<LinkName>,
    signature: Signature,
    /// The component on this host that was called last, by the same type: most imports know no other.
    last: ArcSwapOption<Known>,
}

/// Where the function lies in a component. Held weakly: a component that is gone is called no more,
/// and no other gets its address.
struct Known {
    component: Weak<Component>,
    place: Place,
}

/// An actor's exported function: where it is, and its type.
pub(super) fn exported<'actor>(
    actor: &'actor Actor,
    interface: &str,
    function: &str,
) -> Result<(Place, &'actor Signature), Report> {
    let place = || format!("{} {interface}.{function}", actor.id());
    let found = actor.component().function(interface, function).ok_or_else(|| {
        Report::new(ErrorCode::NoHandler, "the actor does not export this function").at(place())
    })?;
    let signature = found.signature.as_ref().map_err(|report| Report::clone(report).at(place()))?;
    Ok((found.place, signature))
}

impl Imported {
    pub(super) fn new(
        interface: Interface,
        function: &str,
        label: Option<LinkName>,
        signature: Signature,
    ) -> Self {
        let interface_text = interface.to_string();
        let last = ArcSwapOption::empty();
        Self { interface, interface_text, function: function.to_owned(), label, signature, last }
    }

    pub(super) fn function(&self) -> &str {
        &self.function
    }
    pub(super) fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Calls the function on behalf of the call that `scope` is about.
    pub(super) async fn call(
        &self,
        scope: &CallScope,
        arguments: &[Argument<'_>],
    ) -> Result<Vec<Value>, Report> {
        let link = scope.resolve(&self.interface, self.label.as_ref())?;
        let BoundTarget::Actor(target) = link.target() else { return Err(link.mismatch(&self.interface)) };
        if scope.info.depth >= MAX_CALL_DEPTH {
            return Err(too_deep(&self.place(scope, target.as_ref())));
        }
        let outgoing =
            Outgoing { scope, target: target.as_ref(), link: &link, arguments, key: OnceLock::new() };
        let (imported, outgoing) = (self, &outgoing);
        link.guarded(scope.info.deadline, Repeat::Unsent, |until| imported.attempt(outgoing, until)).await
    }

    async fn attempt(&self, outgoing: &Outgoing<'_>, until: Instant) -> Result<Vec<Value>, Report> {
        match outgoing.target.local() {
            Some(actor) => self.call_local(outgoing, &actor, until).await,
            None => self.call_remote(outgoing, until).await,
        }
    }

    async fn call_local(
        &self,
        outgoing: &Outgoing<'_>,
        actor: &Arc<Actor>,
        until: Instant,
    ) -> Result<Vec<Value>, Report> {
        let place = self.locate(actor, outgoing)?;
        actor
            .call_place(place, &self.signature, outgoing.arguments, outgoing.info(until))
            .await
            .map_err(|report| self.callee_failed(report, outgoing))
    }

    /// Where the callee has the function, when it knows it by the same type.
    fn locate(&self, actor: &Actor, outgoing: &Outgoing<'_>) -> Result<Place, Report> {
        let component = actor.component();
        if let Some(known) = &*self.last.load()
            && std::ptr::eq(known.component.as_ptr(), Arc::as_ptr(component))
        {
            return Ok(known.place);
        }
        let (place, signature) = exported(actor, &self.interface_text, &self.function)?;
        if !convert::same(&self.signature, signature) {
            return Err(Report::new(
                ErrorCode::Version,
                "caller and callee know the function by different types",
            )
            .at(self.place(outgoing.scope, outgoing.target))
            .got(&self.signature)
            .limit(signature)
            .hint("build both against the same version of the interface"));
        }
        self.last.store(Some(Arc::new(Known { component: Arc::downgrade(component), place })));
        Ok(place)
    }

    async fn call_remote(&self, outgoing: &Outgoing<'_>, until: Instant) -> Result<Vec<Value>, Report> {
        let payload = encode_call(&self.signature, &values(outgoing.arguments))?;
        let answer = outgoing
            .target
            .remote(self.invocation(outgoing, until), payload.into())
            .await
            .map_err(|report| self.callee_failed(report, outgoing))?;
        decode_all(&self.signature.results, &answer, &Limits::default())
            .map_err(|error| self.callee_failed(error.into(), outgoing))
    }

    fn invocation(&self, outgoing: &Outgoing<'_>, until: Instant) -> Invocation {
        let info = outgoing.info(until);
        Invocation {
            target: outgoing.target.id().clone(),
            interface: self.interface_text.clone(),
            function: self.function.clone(),
            remaining_ms: u64::try_from(info.remaining().as_millis()).unwrap_or(u64::MAX),
            depth: info.depth,
            caller: info.caller,
            link: Some(outgoing.link.definition().name.clone()),
            traceparent: info.traceparent.map(|text| text.to_string()),
            idempotency_key: outgoing.idempotency_key(),
        }
    }

    /// Says that it was the other side, and which.
    fn callee_failed(&self, report: Report, outgoing: &Outgoing<'_>) -> Report {
        let report = report.during(&format!("callee {}", outgoing.target.id()));
        if report.place.is_some() { report } else { report.at(self.place(outgoing.scope, outgoing.target)) }
    }

    fn place(&self, scope: &CallScope, target: &dyn ActorTarget) -> String {
        format!("{} calling {} {}.{}", scope.actor.id, target.id(), self.interface_text, self.function)
    }
}

/// One call on its way out.
struct Outgoing<'call> {
    scope: &'call CallScope,
    target: &'call dyn ActorTarget,
    link: &'call Arc<BoundLink>,
    arguments: &'call [Argument<'call>],
    /// Made by the first attempt that leaves this host, and the same for all further ones.
    key: OnceLock<Arc<str>>,
}

impl Outgoing<'_> {
    /// What the callee is told: one level deeper, until this attempt's deadline.
    fn info(&self, until: Instant) -> CallInfo {
        CallInfo {
            deadline: until,
            depth: self.scope.info.depth + 1,
            caller: Some(self.scope.actor.id.clone()),
            traceparent: self.scope.info.traceparent.clone(),
            idempotency_key: None,
        }
    }

    fn idempotency_key(&self) -> Option<String> {
        if let Some(key) = self.key.get() {
            return Some(key.to_string());
        }
        // Without entropy there is no key, and nobody will take two calls for one.
        let (high, low) = (getrandom::u64().ok()?, getrandom::u64().ok()?);
        Some(self.key.get_or_init(|| format!("{high:016x}{low:016x}").into()).to_string())
    }
}
