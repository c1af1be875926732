//! Closed-loop HTTP load by `wrk` (Debian's package), the generator the peers were measured with.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// What one run of wrk gave.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Requests per second.
    pub per_second: f64,
    /// Median latency, microseconds.
    pub p50_us: f64,
    /// 99th percentile latency, microseconds.
    pub p99_us: f64,
}

/// Runs wrk once: 2 threads, so many connections, so many seconds, with a script that makes the
/// requests (an empty one: all of the URL).
pub fn wrk(url: &str, connections: u32, seconds: u32, script: &Path) -> Result<Load> {
    let output = Command::new("wrk")
        .args(["-t2", "--latency"])
        .arg(format!("-c{connections}"))
        .arg(format!("-d{seconds}s"))
        .arg("-s")
        .arg(script)
        .arg(url)
        .output()
        .context("wrk is not installed: apt-get install wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    if let Some(line) = text.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors")) {
        bail!("the server did not answer every request: {}", line.trim());
    }
    parse(&text).with_context(|| format!("wrk printed something else: {text}"))
}

/// Median of several runs by throughput.
pub fn median(mut runs: Vec<Load>) -> Option<Load> {
    runs.sort_by(|left, right| left.per_second.total_cmp(&right.per_second));
    runs.get(runs.len() / 2).copied()
}

fn parse(text: &str) -> Option<Load> {
    let after = |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim);
    Some(Load {
        per_second: after("Requests/sec:")?.parse().ok()?,
        p50_us: duration_us(after("50%")?)?,
        p99_us: duration_us(after("99%")?)?,
    })
}

fn duration_us(text: &str) -> Option<f64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_output_is_read_with_its_units() {
        let text = "  Latency Distribution\n     50%  612.00us\n     75%    1.0ms\n     90%  2ms\n     99%   5.31ms\n  10 requests in 1s\nRequests/sec:  98765.43\nTransfer/sec: 1MB\n";
        let measured = parse(text).unwrap();
        assert_eq!((measured.per_second, measured.p50_us, measured.p99_us), (98_765.43, 612.0, 5_310.0));
    }
}
