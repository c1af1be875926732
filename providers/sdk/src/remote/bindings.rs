//! The routes and subscriptions that hosts have asked this process for. One owner (the task that
//! answers the links' subject), no lock.
//!
//! A binding is the same whoever asks: it lives as long as one lease on it does. A lease names its
//! holder's own hold, so a late "give back" of an old hold takes nothing from a newer one.

use super::MAX_BINDINGS;
use super::actor::FarActor;
use super::wire::{Binding, Wanted};
use crate::http::Route;
use crate::messaging::Subscription;
use crate::{Provider, ProviderError, ProviderErrorKind};
use lattice_io::Bus;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, Report};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time for a provider to make a route or subscription.
const MAKE: Duration = Duration::from_secs(4);
/// Longest lease, whatever is asked for.
const LONGEST: Duration = Duration::from_secs(60);

/// What a provider made.
pub(super) enum Made {
    Route(Box<dyn Route>),
    Subscription(Box<dyn Subscription>),
}

impl Made {
    /// Takes no more, and waits for what is in hand.
    pub(super) async fn drain(self) {
        match self {
            Self::Route(route) => route.drain().await,
            Self::Subscription(subscription) => subscription.drain().await,
        }
    }
}

struct Bound {
    binding: Binding,
    made: Made,
    leases: BTreeMap<String, Instant>,
}

/// All of them.
pub(super) struct Bindings {
    provider: Provider,
    bus: Arc<dyn Bus>,
    subjects: Subjects,
    bound: Vec<Bound>,
}

impl Bindings {
    pub(super) fn new(provider: Provider, bus: Arc<dyn Bus>, subjects: Subjects) -> Self {
        Self { provider, bus, subjects, bound: Vec::new() }
    }

    /// Makes a binding, or prolongs it.
    pub(super) async fn bind(
        &mut self,
        lease: String,
        lease_ms: u64,
        binding: Binding,
    ) -> Result<(), Report> {
        let until = Instant::now() + Duration::from_millis(lease_ms).min(LONGEST);
        if let Some(bound) = self.bound.iter_mut().find(|bound| bound.binding == binding) {
            if bound.leases.len() >= MAX_BINDINGS && !bound.leases.contains_key(&lease) {
                return Err(Report::new(ErrorCode::Limit, "too many leases").limit(MAX_BINDINGS));
            }
            bound.leases.insert(lease, until);
            return Ok(());
        }
        if self.bound.len() >= MAX_BINDINGS {
            return Err(Report::new(ErrorCode::Limit, "too many bindings").limit(MAX_BINDINGS));
        }
        let making = tokio::time::timeout(MAKE, self.make(&binding));
        let made = making.await.unwrap_or_else(|_| {
            let what = format!("binding not made within {} s", MAKE.as_secs());
            Err(ProviderError::new(ProviderErrorKind::Timeout, what))
        })?;
        tracing::info!(actor = %binding.target.actor, link = %binding.target.link, "bound");
        self.bound.push(Bound { binding, made, leases: BTreeMap::from([(lease, until)]) });
        Ok(())
    }

    async fn make(&self, binding: &Binding) -> Result<Made, ProviderError> {
        let target = binding.target.clone();
        let actor = Arc::new(FarActor::new(Arc::clone(&self.bus), &self.subjects, target));
        match (&self.provider, &binding.wanted) {
            (Provider::HttpServer(server), Wanted::Route(request)) => {
                server.add_route(request.clone(), actor).await.map(Made::Route)
            }
            (Provider::Messaging(broker), Wanted::Subscription(request)) => {
                broker.subscribe(request.clone(), actor).await.map(Made::Subscription)
            }
            _ => Err(ProviderError::new(ProviderErrorKind::Invalid, "this provider calls no actors")),
        }
    }

    /// How many messages wait for the subscription of a lease.
    pub(super) async fn lag(&self, lease: &str) -> Option<u64> {
        let held = self.bound.iter().find(|bound| bound.leases.contains_key(lease))?;
        let Made::Subscription(subscription) = &held.made else { return None };
        tokio::time::timeout(MAKE, subscription.lag()).await.ok()?
    }

    /// Ends a lease; what it was the last hold on is given out, to be drained.
    pub(super) fn unbind(&mut self, lease: &str) -> Vec<Made> {
        for bound in &mut self.bound {
            bound.leases.remove(lease);
        }
        self.take_unheld()
    }

    /// Ends what nobody has asked for in time.
    pub(super) fn sweep(&mut self, now: Instant) -> Vec<Made> {
        for bound in &mut self.bound {
            bound.leases.retain(|_, until| *until > now);
        }
        self.take_unheld()
    }

    fn take_unheld(&mut self) -> Vec<Made> {
        let (held, unheld): (Vec<Bound>, Vec<Bound>) =
            std::mem::take(&mut self.bound).into_iter().partition(|bound| !bound.leases.is_empty());
        self.bound = held;
        for bound in &unheld {
            let target = &bound.binding.target;
            tracing::info!(actor = %target.actor, link = %target.link, "no longer bound");
        }
        unheld.into_iter().map(|bound| bound.made).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbound::InboundTarget;
    use crate::messaging::{Message, MessageHandler, Messaging, SubscribeRequest};
    use crate::{BoxFuture, CallContext};
    use lattice_io::memory::Memory;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts what is subscribed.
    #[derive(Default, Clone)]
    struct Counting(Arc<AtomicUsize>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    struct Held(Arc<AtomicUsize>);
    impl Subscription for Held {
        fn drain(&self) -> BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    impl Messaging for Counting {
        fn publish<'a>(&'a self, _: &'a CallContext, _: Message) -> BoxFuture<'a, Result<(), ProviderError>> {
            Box::pin(std::future::pending())
        }
        fn request<'a>(
            &'a self,
            _: &'a CallContext,
            _: Message,
        ) -> BoxFuture<'a, Result<Message, ProviderError>> {
            Box::pin(std::future::pending())
        }
        fn subscribe<'a>(
            &'a self,
            request: SubscribeRequest,
            _: Arc<dyn MessageHandler>,
        ) -> BoxFuture<'a, Result<Box<dyn Subscription>, ProviderError>> {
            Box::pin(async move {
                if request.max_in_flight == 0 {
                    return Err(ProviderError::new(ProviderErrorKind::Invalid, "no hands"));
                }
                self.0.fetch_add(1, Ordering::SeqCst);
                Ok(Box::new(Held(Arc::clone(&self.0))) as Box<dyn Subscription>)
            })
        }
    }

    fn binding(subject: &str, max_in_flight: usize) -> Binding {
        let target = InboundTarget {
            actor: "shop/cart".parse().unwrap(),
            link: lattice_protocol::LinkName::default_name(),
            interface: "wasmcloud:messaging".to_owned(),
            timeout_ms: 1_000,
        };
        let subjects = vec![subject.to_owned()];
        let request = SubscribeRequest { subjects, group: None, durable: None, max_in_flight };
        Binding { target, wanted: Wanted::Subscription(request) }
    }

    fn bindings(counting: &Counting) -> Bindings {
        let provider = Provider::Messaging(Arc::new(counting.clone()));
        Bindings::new(provider, Memory::new().lattice().bus, Subjects::new("test".parse().unwrap()))
    }

    #[tokio::test]
    async fn one_binding_for_all_who_ask_until_the_last_has_given_it_back() {
        let counting = Counting::default();
        let mut bindings = bindings(&counting);
        let live = || counting.0.load(Ordering::SeqCst);
        for lease in ["a", "b", "a"] {
            bindings.bind(lease.to_owned(), 10_000, binding("x", 1)).await.unwrap();
        }
        bindings.bind("a2".to_owned(), 10_000, binding("y", 1)).await.unwrap();
        assert_eq!(live(), 2, "the same is made once");
        assert!(bindings.unbind("a").is_empty() && bindings.unbind("a").is_empty());
        assert_eq!(bindings.unbind("b").len(), 1, "the last gives it out, to be drained");
        assert_eq!(live(), 1);
        let refused = bindings.bind("c".to_owned(), 10_000, binding("z", 0)).await.unwrap_err();
        assert!(refused.what.contains("no hands") && live() == 1);
        let route = Wanted::Route(crate::http::RouteRequest {
            hosts: Vec::new(),
            path: "/".to_owned(),
            max_body_bytes: 1,
        });
        let wrong = Binding { wanted: route, ..binding("x", 1) };
        assert!(bindings.bind("c".to_owned(), 10_000, wrong).await.is_err(), "a broker has no routes");
    }

    #[tokio::test]
    async fn what_a_dead_host_asked_for_ends_with_its_lease_and_no_lease_is_for_ever() {
        let counting = Counting::default();
        let mut bindings = bindings(&counting);
        bindings.bind("dead".to_owned(), 1_000, binding("x", 1)).await.unwrap();
        bindings.bind("alive".to_owned(), 1_000, binding("x", 1)).await.unwrap();
        bindings.bind("greedy".to_owned(), u64::MAX, binding("y", 1)).await.unwrap();
        let later = Instant::now() + Duration::from_secs(5);
        bindings.bind("alive".to_owned(), 30_000, binding("x", 1)).await.unwrap();
        assert!(bindings.sweep(later).is_empty(), "one still asks for it");
        assert_eq!(bindings.sweep(later + LONGEST).len(), 2);
        assert_eq!(counting.0.load(Ordering::SeqCst), 0);
    }
}
