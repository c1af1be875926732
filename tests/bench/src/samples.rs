//! Samples of one quantity, and what is told of them.

use std::time::Duration;

/// The middle of some samples: half lie above it. None of none.
pub fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}

/// The sample that so many of a hundred are not above. None of none.
pub fn percentile(mut samples: Vec<f64>, percent: usize) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get((samples.len() * percent / 100).min(samples.len().saturating_sub(1))).copied()
}

/// Microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(vec![4.0]), Some(4.0));
        assert_eq!(median(Vec::new()), None);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(hundred.clone(), 99), percentile(hundred, 100)), (Some(100.0), Some(100.0)));
        assert_eq!((percentile(vec![3.0, 1.0, 2.0], 50), percentile(Vec::new(), 50)), (Some(2.0), None));
    }
}
