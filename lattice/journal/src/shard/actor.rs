//! One actor of a shard: its ledger, the turn under way, the commands that wait, and those that
//! keep trapping.

use super::types::{Question, Request, Token};
use crate::command::{Command, CommandRef};
use crate::ledger::Ledger;
use lattice_protocol::EntityKey;
use std::collections::{BTreeMap, VecDeque};

/// Most commands remembered for having trapped; the oldest go first.
const MAX_TRAPPED: usize = 64;

/// What an actor does one of at a time, in the order of arrival.
#[derive(Debug, Clone)]
pub(super) enum Turn {
    Command(Request),
    /// Everything that the actor is shall go.
    Deletion(Request),
    Question(Token, Question),
}

impl Turn {
    /// Its actor goes by this copy of its key.
    pub(super) fn is_of(&mut self, key: &EntityKey) {
        if let Self::Command(request) | Self::Deletion(request) = self {
            request.key.clone_from(key);
        }
    }
    pub(super) fn token(&self) -> Token {
        match self {
            Self::Command(request) | Self::Deletion(request) => request.token,
            Self::Question(token, _) => *token,
        }
    }
}

#[derive(Debug)]
pub(super) struct Actor {
    /// None until it is in memory.
    ledger: Option<Ledger>,
    /// The turn under way, until its commit is durable.
    turn: Option<Turn>,
    /// The guest has it.
    deciding: bool,
    queue: VecDeque<Turn>,
    trapped: BTreeMap<CommandRef, u32>,
}

impl Actor {
    pub(super) fn new() -> Self {
        Self { ledger: None, turn: None, deciding: false, queue: VecDeque::new(), trapped: BTreeMap::new() }
    }
    pub(super) fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }
    pub(super) fn ledger_mut(&mut self) -> Option<&mut Ledger> {
        self.ledger.as_mut()
    }
    pub(super) fn activated(&mut self, ledger: Ledger) {
        self.ledger = Some(ledger);
    }
    pub(super) fn is_idle(&self) -> bool {
        self.ledger.is_some() && self.turn.is_none() && self.queue.is_empty()
    }
    pub(super) fn is_deciding(&self) -> bool {
        self.deciding
    }
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }
    pub(super) fn push(&mut self, turn: Turn) {
        self.queue.push_back(turn);
    }
    /// The next one, if none is under way and the actor is in memory.
    pub(super) fn next(&mut self) -> Option<Turn> {
        if self.turn.is_some() || self.ledger.is_none() {
            return None;
        }
        self.queue.pop_front()
    }
    pub(super) fn begin(&mut self, turn: Turn) {
        self.turn = Some(turn);
        self.deciding = true;
    }
    /// The guest has decided: the request, if this is the turn under way.
    pub(super) fn decided(&mut self, token: Token) -> Option<Request> {
        match &self.turn {
            Some(Turn::Command(request) | Turn::Deletion(request))
                if request.token == token && self.deciding =>
            {
                self.deciding = false;
                Some(request.clone())
            }
            _ => None,
        }
    }
    /// The guest has answered a question; was it the one under way?
    pub(super) fn answered(&mut self, token: Token) -> bool {
        let asked = matches!(&self.turn, Some(Turn::Question(asked, _)) if *asked == token);
        if asked {
            self.end_turn();
        }
        asked
    }
    pub(super) fn end_turn(&mut self) {
        self.turn = None;
        self.deciding = false;
    }
    /// The live state is spoilt: it has to be folded again.
    pub(super) fn spoilt(&mut self) {
        self.end_turn();
        self.ledger = None;
    }
    /// Counts a trap of this command; how often it was.
    pub(super) fn count_trap(&mut self, command: &Command) -> u32 {
        if self.trapped.len() >= MAX_TRAPPED && !self.trapped.contains_key(&command.reference) {
            self.trapped.pop_first();
        }
        let count = self.trapped.entry(command.reference.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }
    pub(super) fn forgive(&mut self) {
        self.trapped.clear();
    }
    pub(super) fn traps(&self, command: &Command) -> u32 {
        self.trapped.get(&command.reference).copied().unwrap_or_default()
    }
    pub(super) fn take_queue(&mut self) -> Vec<Token> {
        self.queue.drain(..).map(|turn| turn.token()).collect()
    }
    /// All who wait: for the turn under way, and for one of their own.
    pub(super) fn into_tokens(self) -> impl Iterator<Item = Token> {
        self.turn.into_iter().chain(self.queue).map(|turn| turn.token())
    }
}
