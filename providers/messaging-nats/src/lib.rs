//! Messaging on NATS: core for what is passed on, JetStream for what is stored.
//!
//! * A **publish** to a subject that a stream stores returns when it is stored; any other when it
//!   is sent. Headers that steer the server (`Nats-…`) never pass from a guest.
//! * A **plain subscription** handles each message at most once, one member of the group each.
//! * A **durable consumer** handles each message at least once: what a handler does not finish is
//!   delivered again, until its tries are spent.
//!
//! A subscription takes a message only with a free hand, so never more than `max_in_flight` handlers
//! run. What waits is with the broker (durable), or in the subscription's bounded buffer (plain).
//!
//! The same code runs over the in-process bus: `messaging-embedded` is that and nothing else.
//!
//! Tasks, in the scope given to the provider: one pump per subscribed subject or durable consumer,
//! one task per message in hand.
//!
//! | module | holds |
//! |---|---|
//! | [`messaging`] | publish and request |
//! | [`subscription`] | pumps, hands, draining |
//! | [`factory`] | configuration, and the connection: the lattice's, or one of its own |

pub mod factory;
pub mod messaging;
pub mod subscription;

pub use factory::{Config, KIND, NatsMessagingFactory, StreamSpec, ensure_streams};
pub use messaging::LatticeMessaging;
