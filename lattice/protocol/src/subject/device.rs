//! Subjects of what hosts forward of their pinned actors (durability `device`): the journal, and what stands for
//! the older part of it. The host is a token of its own in each, so that a user can be held to its own.
//!
//! ```text
//! trellis.<lattice>.device.<host>                                journal: many messages, in order
//! trellis.<lattice>.device-state.<host>.head                     which checkpoint counts
//! trellis.<lattice>.device-state.<host>.cell.<blob>.<part>.<of>  parts of what it names, by SHA-256
//! trellis.<lattice>.device-state.<host>.erased                   what an administrator has erased of the journal
//! ```

use super::Subjects;
use crate::name::HostId;

/// One part of something that is named by its digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceCell {
    /// SHA-256 of the whole, 64 hexadecimal digits.
    pub blob: String,
    /// Which part, from 0.
    pub part: u32,
    /// Of how many.
    pub of: u32,
}

impl Subjects {
    /// What a host forwards of the journal of its pinned actors.
    #[must_use]
    pub fn device_journal(&self, host: &HostId) -> String {
        self.in_lattice(format_args!("device.{host}"))
    }
    /// What all hosts forward.
    #[must_use]
    pub fn device_journals(&self) -> String {
        self.in_lattice(format_args!("device.*"))
    }
    /// The host of a subject of [`Self::device_journals`].
    #[must_use]
    pub fn parse_device_journal(&self, subject: &str) -> Option<HostId> {
        subject.strip_prefix(&self.in_lattice(format_args!("device.")))?.parse().ok()
    }
    /// The one stream of [`Self::device_journals`]: a stream for each of thousands of gateways would be
    /// thousands of streams that a server keeps open.
    #[must_use]
    pub fn device_stream(&self) -> String {
        format!("TRELLIS_{}_devices", self.lattice)
    }

    /// Names the checkpoint of a host's forwarded journal that counts.
    #[must_use]
    pub fn device_head(&self, host: &HostId) -> String {
        self.in_lattice(format_args!("device-state.{host}.head"))
    }
    /// One part of a checkpoint.
    #[must_use]
    pub fn device_cell(&self, host: &HostId, cell: &DeviceCell) -> String {
        let DeviceCell { blob, part, of } = cell;
        self.in_lattice(format_args!("device-state.{host}.cell.{blob}.{part}.{of}"))
    }
    /// Every part of a host's checkpoints.
    #[must_use]
    pub fn device_cells(&self, host: &HostId) -> String {
        self.in_lattice(format_args!("device-state.{host}.cell.>"))
    }
    /// The part that a subject of [`Self::device_cells`] is.
    #[must_use]
    pub fn parse_device_cell(&self, host: &HostId, subject: &str) -> Option<DeviceCell> {
        let rest = subject.strip_prefix(&self.in_lattice(format_args!("device-state.{host}.cell.")))?;
        let mut tokens = rest.split('.');
        let (blob, part, of) = (tokens.next()?, tokens.next()?.parse().ok()?, tokens.next()?.parse().ok()?);
        let is_hex = blob.len() == 64 && blob.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_hex && part < of && tokens.next().is_none()).then(|| DeviceCell {
            blob: blob.to_owned(),
            part,
            of,
        })
    }
    /// What an administrator has erased of a host's forwarded journal: no host writes it.
    #[must_use]
    pub fn device_erased(&self, host: &HostId) -> String {
        self.in_lattice(format_args!("device-state.{host}.erased"))
    }
    /// Everything of all hosts that stands beside their journals.
    #[must_use]
    pub fn device_states(&self) -> String {
        self.in_lattice(format_args!("device-state.>"))
    }
    /// The one stream of [`Self::device_states`], which keeps the last message of each subject.
    #[must_use]
    pub fn device_state_stream(&self) -> String {
        format!("TRELLIS_{}_device_states", self.lattice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::matches;

    #[test]
    fn a_forwarded_journal_is_found_by_its_host() {
        let subjects = Subjects::new("prod".parse().unwrap());
        let host = "NEDGE01".parse().unwrap();
        let subject = subjects.device_journal(&host);
        assert!(matches(&subjects.device_journals(), &subject), "{subject}");
        assert_eq!(subjects.parse_device_journal(&subject), Some(host));
        for other in
            ["trellis.prod.device", "trellis.prod.device.a.b", "trellis.x.device.a", "trellis.prod.device."]
        {
            assert_eq!(subjects.parse_device_journal(other), None, "{other}");
        }
    }

    #[test]
    fn a_part_of_a_checkpoint_is_found_by_its_subject_and_belongs_to_one_host() {
        let subjects = Subjects::new("prod".parse().unwrap());
        let (host, other): (HostId, HostId) = ("NEDGE01".parse().unwrap(), "NEDGE02".parse().unwrap());
        let cell = DeviceCell { blob: "0f".repeat(32), part: 3, of: 7 };
        let subject = subjects.device_cell(&host, &cell);
        assert!(matches(&subjects.device_cells(&host), &subject), "{subject}");
        assert!(matches(&subjects.device_states(), &subject), "{subject}");
        assert_eq!(subjects.parse_device_cell(&host, &subject), Some(cell));
        assert_eq!(subjects.parse_device_cell(&other, &subject), None);
        assert!(!matches(&subjects.device_cells(&other), &subject));
        // What is of the journal is in the other stream.
        assert!(!matches(&subjects.device_states(), &subjects.device_journal(&host)));
        assert!(!matches(&subjects.device_journals(), &subject));
        let bad = ["0f.0.1".to_owned(), format!("{}.1.1", "0f".repeat(32)), format!("{}.0", "0f".repeat(32))];
        for bad in bad {
            let subject = format!("trellis.prod.device-state.NEDGE01.cell.{bad}");
            assert_eq!(subjects.parse_device_cell(&host, &subject), None, "{bad}");
        }
    }
}
