//! What a spill had at one time, read from its beginning to its end.

use super::file::{Entry, Shared};
use crate::error::StoreError;

/// Bytes that are read at once.
const WINDOW: usize = 256 << 10;

/// See the module. Whatever becomes of the spill meanwhile, it is as it was.
#[derive(Debug)]
pub struct View {
    files: [Option<Shared>; 2],
    /// In which of the two, and where: ascending.
    places: Vec<(bool, u64)>,
}

impl View {
    pub(super) fn new(files: [Option<Shared>; 2], places: Vec<(bool, u64)>) -> Self {
        Self { files, places }
    }

    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// None at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Shows each key with its value, in no order. Blocks while the disk reads.
    ///
    /// # Errors
    /// [`StoreError`]: something cannot be read, or is not what was written; and what `visit` fails with.
    pub fn visit<E: From<StoreError>>(
        &self,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let [first, second] = &self.files;
        let (mut window, mut begins, mut known) = (Vec::new(), 0, false);
        for (in_second, at) in &self.places {
            let Some(file) = (if *in_second { second } else { first }) else { continue };
            let here = at.checked_sub(begins).filter(|_| known == *in_second);
            let here = here.and_then(|here| window.get(usize::try_from(here).ok()?..));
            if let Some(entry) = here.and_then(Entry::parse) {
                visit(entry.key(), entry.value())?;
                continue;
            }
            // It is behind the window, or goes beyond its end.
            let mut length = WINDOW;
            let entry = loop {
                window.resize(length, 0);
                let got = file.fill(&mut window, *at)?;
                window.truncate(got);
                match Entry::parse(&window) {
                    Some(entry) => break entry,
                    None if got == length => length = length.saturating_mul(2),
                    None => return Err(file.damaged(*at).into()),
                }
            };
            (begins, known) = (*at, *in_second);
            visit(entry.key(), entry.value())?;
        }
        Ok(())
    }
}
