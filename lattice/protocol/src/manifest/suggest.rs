//! "Did you mean": the known word nearest to a misspelt one.

/// The known word that is most probably meant, if one is near: at most a third of the letters
/// inserted, left out, replaced or swapped with their neighbour (restricted Damerau–Levenshtein).
#[must_use]
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    const LONGEST: usize = 64;
    let word: Vec<char> = word.chars().take(LONGEST).flat_map(char::to_lowercase).collect();
    let nearest = known
        .into_iter()
        .map(|candidate| {
            let letters: Vec<char> = candidate.chars().take(LONGEST).flat_map(char::to_lowercase).collect();
            (distance(&word, &letters), candidate)
        })
        .min_by_key(|(distance, _)| *distance);
    nearest.filter(|(distance, _)| *distance <= (word.len() / 3).max(1)).map(|(_, candidate)| candidate)
}

fn distance(one: &[char], other: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    let mut previous_row_letter = None;
    for (row, letter) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        let mut previous = None;
        for (column, candidate) in other.iter().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&above, column) + usize::from(letter != candidate);
            let mut best = replaced.min(at(&above, column + 1) + 1).min(at(&current, column) + 1);
            if previous == Some(letter) && previous_row_letter == Some(candidate) {
                best = best.min(at(&before, column.wrapping_sub(1)).saturating_add(1));
            }
            current.push(best);
            previous = Some(candidate);
        }
        before = std::mem::replace(&mut above, current);
        previous_row_letter = Some(letter);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_meant_when_it_is_near() {
        let known = ["name", "artifact", "replicas", "daemon"];
        for (word, meant) in [
            ("replcas", Some("replicas")),
            ("Replicas", Some("replicas")),
            ("artefact", Some("artifact")),
            ("naem", Some("name")),
            ("demon", Some("daemon")),
            ("image", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), meant, "{word}");
        }
        assert_eq!(closest("x", []), None);
    }

    #[test]
    fn a_swap_counts_once() {
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        for (one, other, steps) in
            [("ab", "ba", 1), ("abc", "abc", 0), ("", "abc", 3), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(&letters(one), &letters(other)), steps, "{one} {other}");
        }
    }
}
