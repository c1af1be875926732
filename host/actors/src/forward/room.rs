//! How many records go into one frame.
//!
//! A record that deletes an actor begins a frame: so what the actor had done is in frames that are not the last one
//! for long, and can be erased (see [`super::erase`]).

use lattice_journal::RecordSeq;

/// Room in a frame: what is larger than all of it goes alone.
pub(super) struct Room {
    left: usize,
    is_empty: bool,
    begins: RecordSeq,
}

impl Room {
    /// `begins`: a record that comes first, or in another frame.
    pub(super) fn of(bytes: usize, begins: RecordSeq) -> Self {
        Self { left: bytes, is_empty: true, begins }
    }

    /// Does this record of so many bytes go with the others?
    pub(super) fn takes(&mut self, record: RecordSeq, bytes: usize) -> bool {
        let takes = self.is_empty || (bytes <= self.left && record != self.begins);
        self.is_empty = false;
        self.left = self.left.saturating_sub(bytes);
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_a_frame_goes_alone_and_a_deletion_comes_first() {
        let fit_of = |bytes: usize, begins: u64, records: &[usize]| {
            let mut room = Room::of(bytes, RecordSeq(begins));
            (1..).zip(records).take_while(|(at, record)| room.takes(RecordSeq(*at), **record)).count()
        };
        let fit = |bytes, records: &[usize]| fit_of(bytes, 0, records);
        assert_eq!(fit(1_000, &[300, 300, 300, 300]), 3);
        assert_eq!(fit(1_000, &[5_000, 1]), 1);
        // With others before it, it would be more than a server takes.
        assert_eq!(fit(1_000, &[900, 5_000, 1]), 1);
        assert_eq!(fit(1_000, &[1_000, 1]), 1);
        assert_eq!(fit_of(1_000, 3, &[1, 1, 1, 1]), 2);
        assert_eq!(fit_of(1_000, 1, &[1, 1, 1, 1]), 4);
    }
}
