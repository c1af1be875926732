//! Watches: what they deliver, and how much of it at a time.

use super::{Event, World};
use crate::faults::Node;
use crate::kv::{Entry, Key, Value};

impl World {
    pub(super) fn tell_watchers(&mut self) {
        let hosts = (0..self.hosts.len()).map(Node::Host);
        let nodes: Vec<Node> = hosts.chain((0..self.controllers.len()).map(Node::Controller)).collect();
        for node in nodes {
            let delay = self.random.between(1, self.delay_ms);
            self.at(delay, Event::Poll(node));
        }
    }

    /// Watches deliver what they have, or a first part of it.
    pub(super) fn poll(&mut self, node: Node) -> Result<(), String> {
        if !self.reaches(node) {
            return Ok(());
        }
        match node {
            Node::Host(host) => {
                let cursor = self.hosts.get(host).map_or(0, |host| host.cursor);
                let part = self.part(node, cursor);
                for entry in self.entries(cursor, part) {
                    if let (Key::Spec(id), Value::Spec(spec)) = (&entry.key, &entry.value)
                        && self.hosts.get(host).is_some_and(|host| host.id == *id)
                    {
                        self.offer(host, (**spec).clone())?;
                    }
                }
                self.hosts.iter_mut().skip(host).take(1).for_each(|host| host.cursor = part);
            }
            Node::Controller(number) => {
                for bucket in 0..3 {
                    let cursors = self.controllers.get(number).map(|one| one.cursors).unwrap_or_default();
                    let cursor = cursors.get(bucket).copied().unwrap_or(0);
                    let part = self.part(node, cursor);
                    let entries = self.entries(cursor, part);
                    let is_all = part == self.kv.revision();
                    let Some(one) = self.controllers.get_mut(number) else { return Ok(()) };
                    entries
                        .iter()
                        .filter(|entry| entry.key.bucket() == bucket)
                        .for_each(|entry| one.see(entry));
                    one.cursors.iter_mut().skip(bucket).take(1).for_each(|cursor| *cursor = part);
                    one.current.iter_mut().skip(bucket).take(1).for_each(|current| *current |= is_all);
                }
            }
        }
        Ok(())
    }

    /// How far a watch comes now; if not to the end, it goes on later.
    pub(super) fn part(&mut self, node: Node, cursor: u64) -> u64 {
        let end = self.kv.revision();
        let part = if self.random.chance(200) { self.random.between(cursor, end) } else { end };
        if part < end {
            self.at(self.delay_ms, Event::Poll(node));
        }
        part
    }

    pub(super) fn entries(&self, cursor: u64, part: u64) -> Vec<Entry> {
        self.kv.since(cursor).filter(|entry| entry.revision <= part).cloned().collect()
    }
}
