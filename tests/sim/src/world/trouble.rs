//! Faults as they happen, and how they end.

use super::{Event, World};
use crate::controller::Controller;
use crate::faults::{Fault, Node};
use crate::host::Host;
use lattice_protocol::HostId;

impl World {
    pub(super) fn fault(&mut self, fault: Fault) -> Result<(), String> {
        self.trace.line(self.now_ms, format_args!("fault {fault:?}"));
        *self.faults.entry(fault.kind()).or_default() += 1;
        match fault {
            Fault::Crash(node, after) => {
                match node {
                    Node::Host(host) => self.hosts.iter_mut().skip(host).take(1).for_each(Host::crash),
                    Node::Controller(one) => {
                        self.controllers.iter_mut().skip(one).take(1).for_each(|one| one.up = false);
                    }
                }
                self.at(after, Event::Restart(node));
            }
            Fault::Partition(node, for_ms) => self.cut(node, for_ms),
            Fault::Blackout(for_ms) => {
                (0..self.hosts.len()).for_each(|host| self.cut(Node::Host(host), for_ms));
                (0..self.controllers.len()).for_each(|one| self.cut(Node::Controller(one), for_ms));
            }
            Fault::Weather { lost, for_ms } => {
                self.lost = lost;
                self.at(for_ms, Event::Calm);
            }
            Fault::Slow { delay_ms, for_ms } => {
                self.delay_ms = delay_ms;
                self.at(for_ms, Event::Calm);
            }
            Fault::ClockJump(host, by) => {
                self.hosts.iter_mut().skip(host).take(1).for_each(|host| host.clock_skew_ms += by);
            }
            Fault::OldSpec(host) => {
                let choose = self.random.number();
                let id: Option<HostId> = self.hosts.get(host).map(|host| host.id.clone());
                if let Some(old) = id.and_then(|id| self.kv.old_spec(&id, choose))
                    && self.reaches(Node::Host(host))
                {
                    self.offer(host, (*old).clone())?;
                }
            }
            Fault::Edit => {
                if self.editor.edit(&mut self.kv, &mut self.random) {
                    self.tell_watchers();
                }
            }
        }
        Ok(())
    }

    pub(super) fn cut(&mut self, node: Node, for_ms: u64) {
        let until = self.now_ms + for_ms;
        let ends = self.cut_off.entry(node).or_default();
        *ends = until.max(*ends);
        self.at(for_ms, Event::Healed(node));
        // A watch goes on from where it was when the connection is back.
        self.at(for_ms + 50, Event::Poll(node));
    }

    pub(super) fn restart(&mut self, node: Node) {
        match node {
            Node::Host(host) => {
                self.hosts.iter_mut().skip(host).take(1).filter(|host| !host.up).for_each(Host::start)
            }
            Node::Controller(one) => {
                let fresh =
                    Controller::new(self.lattice.clone(), self.profile, (self.now_ms, self.numbered << 16));
                if let Some(one) = self.controllers.get_mut(one).filter(|one| !one.up) {
                    *one = fresh;
                }
            }
        }
        self.at(1, Event::Poll(node));
    }
}
