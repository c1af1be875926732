//! How many records go into one frame.

/// Room in a frame: what is larger than all of it goes alone.
pub(super) struct Room {
    left: usize,
    is_empty: bool,
}

impl Room {
    pub(super) fn of(bytes: usize) -> Self {
        Self { left: bytes, is_empty: true }
    }

    /// Does a record of so many bytes go with the others?
    pub(super) fn takes(&mut self, bytes: usize) -> bool {
        let takes = self.is_empty || bytes <= self.left;
        self.is_empty = false;
        self.left = self.left.saturating_sub(bytes);
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_a_frame_goes_alone() {
        let fit = |bytes: usize, records: &[usize]| {
            let mut room = Room::of(bytes);
            records.iter().take_while(|record| room.takes(**record)).count()
        };
        assert_eq!(fit(1_000, &[300, 300, 300, 300]), 3);
        assert_eq!(fit(1_000, &[5_000, 1]), 1);
        // With others before it, it would be more than a server takes.
        assert_eq!(fit(1_000, &[900, 5_000, 1]), 1);
        assert_eq!(fit(1_000, &[1_000, 1]), 1);
    }
}
