//! What holds of every actor after every turn.

use super::Given;
use crate::actor::{Actor, Effect, RawDecision, RawEvent, machine};

/// The host's limits (`lattice-journal`).
const MAX_EVENTS: usize = 1_024;
const MAX_EFFECTS: usize = 256;
const MAX_NAME_BYTES: usize = 1_024;
const MAX_REPLY_BYTES: usize = 256 << 10;

impl<A: Actor> Given<A> {
    #[track_caller]
    pub(super) fn saved(&self) -> (u32, String) {
        saved(&self.live)
    }

    #[track_caller]
    pub(super) fn check_laws(&self) {
        let live = self.saved();
        self.check_folds(&live);
        self.check_snapshots(&live);
        self.journal.iter().for_each(check_reads_back::<A>);
    }

    /// The same events give the same bytes: all at once, and one by one.
    #[track_caller]
    fn check_folds(&self, live: &(u32, String)) {
        let again = saved(&self.fold(&self.journal));
        assert_eq!(
            *live, again,
            "folded again, the same events give another state: is something in it unordered?"
        );
        let mut one_by_one = self.beginning();
        for event in &self.journal {
            if let Err(reason) = machine::apply(&mut one_by_one, std::slice::from_ref(event)) {
                panic!("folding: {reason}");
            }
        }
        assert_eq!(*live, saved(&one_by_one), "folded one by one, the same events give another state");
    }

    /// fold(snapshot@n, rest) = fold(all), at the end and in the middle.
    #[track_caller]
    fn check_snapshots(&self, live: &(u32, String)) {
        for middle in [self.journal.len() / 2, self.journal.len()] {
            let (first, rest) = self.journal.split_at(middle);
            let (version, json) = saved(&self.fold(first));
            let mut loaded: A = machine::load(version, json.as_bytes())
                .unwrap_or_else(|reason| panic!("a state does not load what it saved: {reason}\n  {json}"));
            let loaded_again = saved(&loaded);
            assert_eq!(
                (version, json),
                loaded_again,
                "a state that is saved, loaded and saved is another one"
            );
            if let Err(reason) = machine::apply(&mut loaded, rest) {
                panic!("folding from a snapshot: {reason}");
            }
            assert_eq!(
                *live,
                saved(&loaded),
                "from a snapshot after {middle} events, the rest gives another state"
            );
        }
    }

    /// What the host would refuse.
    #[track_caller]
    pub(super) fn check_limits(&self, decision: &RawDecision) {
        let limit = |what: &str, got: usize, limit: usize| {
            assert!(got <= limit, "{}: too many {what} (got {got}, limit {limit})", self.step.what);
        };
        limit("events", decision.events.len(), MAX_EVENTS);
        limit("effects", decision.effects.len(), MAX_EFFECTS);
        limit("bytes of reply", decision.reply.len(), MAX_REPLY_BYTES);
        for name in
            decision.events.iter().map(|event| &event.name).chain(decision.effects.iter().flat_map(names))
        {
            limit("bytes of one name", name.len(), MAX_NAME_BYTES);
            assert!(!name.is_empty(), "{}: an empty name in an event or effect", self.step.what);
        }
        for effect in &decision.effects {
            if let Effect::Send { to, .. } = effect {
                let parts = to.split_once('/').is_some_and(|(kind, id)| !kind.is_empty() && !id.is_empty());
                assert!(parts, "{}: send to {to:?}: want kind/id", self.step.what);
            }
        }
    }
}

fn names(effect: &Effect) -> Vec<&String> {
    match effect {
        Effect::Send { to, command } => vec![to, &command.name],
        Effect::Publish { link, subject, .. } => vec![link, subject],
        Effect::Call { link, function, answer, .. } => vec![link, function, answer],
        Effect::TimerSet { name, command, .. } => vec![name, &command.name],
        Effect::TimerCancel(name) => vec![name],
        Effect::SnapshotNow | Effect::Passivate | Effect::Stop | Effect::Faulty(_) => Vec::new(),
    }
}

#[track_caller]
fn saved<A: Actor>(actor: &A) -> (u32, String) {
    let (version, json) = machine::save(actor).unwrap_or_else(|reason| panic!("{reason}"));
    (version, String::from_utf8_lossy(&json).into_owned())
}

/// An event of today, read and written again, is the same bytes; an older one can be read.
#[track_caller]
fn check_reads_back<A: Actor>(event: &RawEvent) {
    use crate::actor::Event;
    let read: Vec<A::Event> = event.read().unwrap_or_else(|reason| panic!("{reason}"));
    if A::Event::VERSIONS.contains(&(event.name.as_str(), event.version)) {
        let again: Vec<RawEvent> = read.iter().filter_map(|event| RawEvent::of(event).ok()).collect();
        let form = |event: &RawEvent| serde_json::from_slice::<serde_json::Value>(&event.payload).ok();
        let same = matches!(&*again, [one] if one.name == event.name && form(one) == form(event));
        assert!(same, "event {} does not read back as it was: {again:?}", event.name);
    }
}
