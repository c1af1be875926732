//! How often something is done in a second, many at once, and the processor time that it takes everybody who is
//! involved: the rate depends on what else the machine does, the time hardly.

use crate::outside::processors_us;
use crate::report::{Goal, Measured, Row};
use crate::samples::median;
use anyhow::{Context, Result};
use std::time::Instant;

/// Run by run.
#[derive(Default)]
pub struct Rates {
    per_second: Vec<f64>,
    cpu_us: Vec<f64>,
}

impl Rates {
    /// One run, which gives how often it was done. These processes have a part in it.
    pub async fn run(&mut self, processes: &[u32], run: impl Future<Output = Result<u32>>) -> Result<()> {
        let (before, began) = (processors_us(processes)?, Instant::now());
        let times = f64::from(run.await?);
        self.per_second.push(times / began.elapsed().as_secs_f64());
        self.cpu_us.push((processors_us(processes)? - before) / times);
        Ok(())
    }

    /// The medians of ours and of the reference as a row.
    pub fn row(self, case: &'static str, unit: &'static str, reference: Self, goal: Goal) -> Result<Row> {
        let middle = |samples| median(samples).context("no run");
        let measured = Measured { ours: middle(self.per_second)?, reference: middle(reference.per_second)? };
        let (ours_us, reference_us) = (middle(self.cpu_us)?, middle(reference.cpu_us)?);
        let note = format!(
            "processor time of all processes, each: {ours_us:.2} us, reference {reference_us:.2} ({:.2})",
            reference_us / ours_us
        );
        Ok(Row::new(case, unit, measured, goal).note(note))
    }
}
