//! The world `persistent-actor`, exported for any [`Actor`]. The generated types end here.

use std::cell::{Cell, RefCell};

use super::turn::Host;
use super::{Actor, Effect, Misfire, RawCommand, RawDecision, RawEvent, Refusal, Turn, machine};
use crate::bindings::actor::exports::trellis::actor::entity;
use crate::bindings::actor::trellis::actor::types;

/// One actor in the component's memory.
pub struct Held<A>(RefCell<A>);

impl<A: Actor> entity::GuestState for Held<A> {
    fn new(id: String) -> Self {
        Self(RefCell::new(A::new(&id)))
    }

    fn apply(&self, events: Vec<types::Event>) -> Result<(), String> {
        let events: Vec<RawEvent> = events.into_iter().map(RawEvent::from).collect();
        machine::apply(&mut *self.0.borrow_mut(), &events)
    }

    #[allow(
        clippy::panic,
        reason = "the interface has no error here; a trap drops the instance, which is right"
    )]
    fn save(&self) -> (u32, Vec<u8>) {
        match machine::save(&*self.0.borrow()) {
            Ok(saved) => saved,
            Err(reason) => panic!("{reason}"),
        }
    }

    fn load(_: String, version: u32, snapshot: Vec<u8>) -> Result<entity::State, String> {
        machine::load::<A>(version, &snapshot).map(|actor| entity::State::new(Self(RefCell::new(actor))))
    }
}

/// The exported `decide`.
///
/// # Errors
/// The refusal.
pub fn decide<A: Actor>(
    state: &Held<A>,
    turn: types::Turn,
    command: &types::Command,
) -> Result<types::Decision, types::Refusal> {
    let decision = machine::decide(&*state.0.borrow(), &turn.into(), &command.name, &command.body);
    Ok(decision.map_err(types::Refusal::from)?.into())
}

/// The exported `query`.
///
/// # Errors
/// The refusal.
pub fn query<A: Actor>(state: &Held<A>, name: &str, body: &[u8]) -> Result<Vec<u8>, types::Refusal> {
    Ok(machine::query(&*state.0.borrow(), name, body)?)
}

impl From<types::Event> for RawEvent {
    fn from(event: types::Event) -> Self {
        Self { name: event.name, version: event.version, payload: event.payload }
    }
}

impl From<types::Turn> for Turn {
    fn from(turn: types::Turn) -> Self {
        Self {
            now_ms: turn.now_ms,
            seq: turn.seq,
            seed: turn.seed,
            command_id: turn.command_id,
            sender: turn.sender,
            host: Host::Real,
            drawn: Cell::new(0),
        }
    }
}

impl From<Refusal> for types::Refusal {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, message: refusal.message }
    }
}

impl From<RawCommand> for types::Command {
    fn from(command: RawCommand) -> Self {
        Self { name: command.name, body: command.body }
    }
}

impl From<RawDecision> for types::Decision {
    fn from(decision: RawDecision) -> Self {
        let event = |event: RawEvent| types::Event {
            name: event.name,
            version: event.version,
            payload: event.payload,
        };
        Self {
            events: decision.events.into_iter().map(event).collect(),
            effects: decision.effects.into_iter().filter_map(effect).collect(),
            reply: decision.reply,
        }
    }
}

/// `None` of a faulty one: a decision that holds one has been refused before.
fn effect(effect: Effect) -> Option<types::Effect> {
    Some(match effect {
        Effect::Send { to, command } => types::Effect::Send(types::Send { to, command: command.into() }),
        Effect::Publish { link, subject, body } => {
            types::Effect::Publish(types::Publish { link, subject, body })
        }
        Effect::Call { link, function, body, answer } => {
            types::Effect::Call(types::Call { link, function, body, answer })
        }
        Effect::TimerSet { name, due_ms, misfire, command } => types::Effect::TimerSet(types::Timer {
            name,
            due_ms,
            misfire: match misfire {
                Misfire::FireLate => types::Misfire::FireLate,
                Misfire::Skip => types::Misfire::Skip,
            },
            command: command.into(),
        }),
        Effect::TimerCancel(name) => types::Effect::TimerCancel(name),
        Effect::SnapshotNow => types::Effect::SnapshotNow,
        Effect::Passivate => types::Effect::Passivate,
        Effect::Stop => types::Effect::Stop,
        Effect::Faulty(_) => return None,
    })
}

/// Exports the world `persistent-actor`, as the type named.
#[doc(hidden)]
#[macro_export]
macro_rules! export_actor {
    ($actor:ty) => {
        const _: () = {
            struct Served;

            impl $crate::private::entity::Guest for Served {
                type State = $crate::private::Held<$actor>;
            }

            impl $crate::private::behaviour::Guest for Served {
                fn decide(
                    state: $crate::private::entity::StateBorrow<'_>,
                    turn: $crate::private::behaviour::Turn,
                    command: $crate::private::behaviour::Command,
                ) -> ::core::result::Result<
                    $crate::private::behaviour::Decision,
                    $crate::private::behaviour::Refusal,
                > {
                    $crate::private::decide(state.get::<$crate::private::Held<$actor>>(), turn, &command)
                }

                fn query(
                    state: $crate::private::entity::StateBorrow<'_>,
                    name: ::std::string::String,
                    body: ::std::vec::Vec<u8>,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::private::behaviour::Refusal>
                {
                    $crate::private::query(state.get::<$crate::private::Held<$actor>>(), &name, &body)
                }
            }

            $crate::private::export_persistent_actor!(
                Served with_types_in $crate::private::actor_types
            );
        };
    };
}
