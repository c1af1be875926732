//! Moments of an actor's history as people write them.

use lattice_protocol::entity::Moment;
use lattice_protocol::event::rfc3339;

/// A commit's number, or a time.
pub(super) fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(seq) = text.parse() {
        return Ok(Moment::Seq(seq));
    }
    unix_ms(text)
        .map(Moment::Time)
        .ok_or_else(|| "want a commit's number, or a time such as 2026-11-28T17:00:00Z".to_owned())
}

/// `YYYY-MM-DDThh:mm:ss[.mmm]Z`, in milliseconds since 1970. Days from the civil calendar as Howard
/// Hinnant derives them.
fn unix_ms(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, separator: char| -> Option<[u64; 3]> {
        let parts: Vec<u64> = text.split(separator).map(str::parse).collect::<Result<_, _>>().ok()?;
        parts.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(clock, ':')?;
    let valid = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !valid || hour > 23 || minute > 59 || second > 60 || fraction.len() > 3 {
        return None;
    }
    let millis = fraction.parse::<u64>().ok()? * 10_u64.pow(3 - u32::try_from(fraction.len()).ok()?);
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    // No 31st of February.
    if !rfc3339(days * 86_400_000).starts_with(date) {
        return None;
    }
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_commit_or_a_time() {
        assert_eq!(moment("17"), Ok(Moment::Seq(17)));
        for ms in [0, 951_782_399_000, 951_782_400_000, 1_709_164_800_123, 1_795_885_200_000] {
            let shown = rfc3339(ms);
            assert_eq!(moment(&shown), Ok(Moment::Time(ms)), "{shown}");
        }
        for bad in [
            "",
            "now",
            "2026-13-01T00:00:00Z",
            "2026-01-01",
            "2026-01-01T25:00:00Z",
            "-5",
            "2026-02-29T00:00:00Z",
            "1969-01-01T00:00:00Z",
        ] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
