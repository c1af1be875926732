//! What a turn changes, as an author writes it: events, effects, a reply.

use std::time::Duration;

use serde::Serialize;

use super::{Command, Event, RawCommand, RawEvent, Refusal, Turn};

/// What becomes of a timer that was due while nobody could fire it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Misfire {
    /// It fires once, as soon as possible.
    #[default]
    FireLate,
    /// It is dropped.
    Skip,
}

/// Something to be done outside of the actor's state: after the commit is stored, at least once, with the same key
/// each time; between actors exactly once in effect. The constructors take values that become JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A command to another persistent actor.
    Send {
        /// `kind/id`.
        to: String,
        /// The command.
        command: RawCommand,
    },
    /// A message through a link.
    Publish {
        /// Which link.
        link: String,
        /// Where it goes.
        subject: String,
        /// What it says.
        body: Vec<u8>,
    },
    /// A call through a link; its answer comes as a command.
    Call {
        /// Which link.
        link: String,
        /// `namespace:package/interface.function`.
        function: String,
        /// JSON: the array of the arguments.
        body: Vec<u8>,
        /// Name of the command that brings the answer.
        answer: String,
    },
    /// Starts a timer, or moves it.
    TimerSet {
        /// Its name.
        name: String,
        /// Milliseconds since 1970.
        due_ms: u64,
        /// When nobody could fire it.
        misfire: Misfire,
        /// What it fires.
        command: RawCommand,
    },
    /// Stops the timer of that name, if there is one.
    TimerCancel(String),
    /// Take a snapshot at the next chance.
    SnapshotNow,
    /// Leave memory at the next chance.
    Passivate,
    /// The actor's life is over: every later command is refused.
    Stop,
    /// A value that has no JSON form, and why: the turn is refused with `actor-fault`.
    Faulty(String),
}

impl Effect {
    /// A command to the actor `to` (`kind/id`).
    pub fn send<C: Command>(to: impl Into<String>, command: &C) -> Self {
        match command.encode() {
            Ok(command) => Self::Send { to: to.into(), command },
            Err(reason) => Self::Faulty(reason),
        }
    }

    /// A message, as JSON, through the link `default`.
    pub fn publish<T: Serialize + ?Sized>(subject: impl Into<String>, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self::Publish { link: "default".to_owned(), subject: subject.into(), body },
            Err(error) => Self::Faulty(error.to_string()),
        }
    }

    /// A call of `function` (`namespace:package/interface.function`) through the link `default`, with a tuple or
    /// an array of arguments. Its answer comes as the command `answer`, whose body is an [`Answer`](super::Answer).
    pub fn call<T: Serialize + ?Sized>(
        function: impl Into<String>,
        arguments: &T,
        answer: impl Into<String>,
    ) -> Self {
        match serde_json::to_vec(arguments) {
            Ok(body) if body.first() == Some(&b'[') => Self::Call {
                link: "default".to_owned(),
                function: function.into(),
                body,
                answer: answer.into(),
            },
            Ok(_) => Self::Faulty("arguments of a call: want a tuple or an array".to_owned()),
            Err(error) => Self::Faulty(error.to_string()),
        }
    }

    /// A timer that fires `command` at `due_ms` (milliseconds since 1970), late if it must.
    pub fn timer<C: Command>(name: impl Into<String>, due_ms: u64, command: &C) -> Self {
        match command.encode() {
            Ok(command) => Self::TimerSet { name: name.into(), due_ms, misfire: Misfire::FireLate, command },
            Err(reason) => Self::Faulty(reason),
        }
    }

    /// The same, through another link than `default`.
    #[must_use]
    pub fn through(mut self, other: &str) -> Self {
        if let Self::Publish { link, .. } | Self::Call { link, .. } = &mut self {
            other.clone_into(link);
        }
        self
    }

    /// The same timer, dropped where nobody could fire it in time.
    #[must_use]
    pub fn or_skip(mut self) -> Self {
        if let Self::TimerSet { misfire, .. } = &mut self {
            *misfire = Misfire::Skip;
        }
        self
    }
}

/// What one turn changes; stored whole or not at all. `E` are the actor's events, `R` is its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Decision<E, R = ()> {
    events: Vec<E>,
    effects: Vec<Effect>,
    reply: Option<R>,
}

impl<E, R> Default for Decision<E, R> {
    fn default() -> Self {
        Self { events: Vec::new(), effects: Vec::new(), reply: None }
    }
}

impl<E, R> Decision<E, R> {
    /// Nothing happened, and nothing is to be done. It is still stored: the command counts as carried out.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// One thing happened.
    pub fn event(event: E) -> Self {
        Self::nothing().and(event)
    }

    /// These things happened, in this order.
    pub fn events(events: impl IntoIterator<Item = E>) -> Self {
        Self { events: events.into_iter().collect(), ..Self::default() }
    }

    /// And then this happened.
    pub fn and(mut self, event: E) -> Self {
        self.events.push(event);
        self
    }

    /// And then all of another decision, with its reply if it has one.
    pub fn with(mut self, other: Self) -> Self {
        self.events.extend(other.events);
        self.effects.extend(other.effects);
        self.reply = other.reply.or(self.reply);
        self
    }

    /// What the sender is told, and told again when it repeats the command. Without it: `null`.
    pub fn reply(mut self, reply: R) -> Self {
        self.reply = Some(reply);
        self
    }

    /// And this is to be done.
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    /// And these are to be done.
    pub fn effects(mut self, effects: impl IntoIterator<Item = Effect>) -> Self {
        self.effects.extend(effects);
        self
    }

    /// [`Effect::send`].
    pub fn send<C: Command>(self, to: impl Into<String>, command: &C) -> Self {
        self.effect(Effect::send(to, command))
    }

    /// [`Effect::publish`].
    pub fn publish<T: Serialize + ?Sized>(self, subject: impl Into<String>, body: &T) -> Self {
        self.effect(Effect::publish(subject, body))
    }

    /// [`Effect::call`].
    pub fn call<T: Serialize + ?Sized>(
        self,
        function: impl Into<String>,
        arguments: &T,
        answer: impl Into<String>,
    ) -> Self {
        self.effect(Effect::call(function, arguments, answer))
    }

    /// [`Effect::timer`], so long after now.
    pub fn timer<C: Command>(
        self,
        turn: &Turn,
        name: impl Into<String>,
        wait: Duration,
        command: &C,
    ) -> Self {
        self.effect(Effect::timer(name, turn.after(wait), command))
    }

    /// Stops the timer of that name, if there is one.
    pub fn cancel_timer(self, name: impl Into<String>) -> Self {
        self.effect(Effect::TimerCancel(name.into()))
    }

    /// Take a snapshot at the next chance.
    pub fn snapshot(self) -> Self {
        self.effect(Effect::SnapshotNow)
    }

    /// Leave memory at the next chance.
    pub fn passivate(self) -> Self {
        self.effect(Effect::Passivate)
    }

    /// The actor's life is over.
    pub fn stop(self) -> Self {
        self.effect(Effect::Stop)
    }
}

/// A decision as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawDecision {
    /// What happened.
    pub events: Vec<RawEvent>,
    /// What is to be done.
    pub effects: Vec<Effect>,
    /// What the sender is told: JSON.
    pub reply: Vec<u8>,
}

impl<E: Event, R: Serialize> Decision<E, R> {
    /// As it is stored.
    pub(crate) fn encode(self) -> Result<RawDecision, Refusal> {
        let fault = |reason: String| Refusal::new("actor-fault", format!("the actor's decision: {reason}"));
        let events = self.events.iter().map(RawEvent::of).collect::<Result<_, _>>().map_err(fault)?;
        for effect in &self.effects {
            if let Effect::Faulty(reason) = effect {
                return Err(fault(reason.clone()));
            }
        }
        let reply = serde_json::to_vec(&self.reply).map_err(|error| fault(error.to_string()))?;
        Ok(RawDecision { events, effects: self.effects, reply })
    }
}
