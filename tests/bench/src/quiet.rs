//! For a machine that others use, too: a run that they disturbed is made again once they are done.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::load::Sample;
use crate::usage::Busy;

/// Runs of one load at most.
const RUNS_MAX: u32 = 5;
/// Waiting of one command at most; what is measured after that is measured as it is.
const WAITING_MAX: Duration = Duration::from_secs(30 * 60);
/// How long a machine must have been quiet.
const LOOK: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Quiet {
    /// Measure again, once the machine is quiet, if others had more than this share of the processors (5 times and half an hour
    /// at most).
    #[arg(long, value_name = "PERCENT")]
    others_max: Option<f64>,
}

/// What is left of a command's patience.
pub(crate) struct Patience<'a> {
    quiet: &'a Quiet,
    waiting: Duration,
}

impl Quiet {
    /// For one command.
    pub(crate) fn patience(&self) -> Patience<'_> {
        Patience { quiet: self, waiting: WAITING_MAX }
    }
}

impl Patience<'_> {
    /// The first run that nobody disturbed, or else the one that was disturbed least.
    pub(crate) fn undisturbed(
        &mut self,
        mut measure: impl FnMut() -> anyhow::Result<Sample>,
    ) -> anyhow::Result<Sample> {
        let mut best = measure()?;
        let Some(others_max) = self.quiet.others_max else { return Ok(best) };
        for _ in 1..RUNS_MAX {
            if best.others_percent <= others_max || !self.wait(others_max)? {
                break;
            }
            let sample = measure()?;
            if sample.others_percent < best.others_percent {
                best = sample;
            }
        }
        Ok(best)
    }

    /// Waits for a quiet machine. False when there is no patience left.
    fn wait(&mut self, others_max: f64) -> anyhow::Result<bool> {
        loop {
            let (begun, before) = (Instant::now(), Busy::now()?);
            if self.waiting.is_zero() {
                return Ok(false);
            }
            sleep(LOOK);
            self.waiting = self.waiting.saturating_sub(begun.elapsed());
            if Busy::now()?.percent_since(before, begun.elapsed(), Duration::ZERO) <= others_max {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least_of(others: &[f64], others_max: Option<f64>) -> f64 {
        let quiet = Quiet { others_max };
        let mut patience = Patience { quiet: &quiet, waiting: Duration::ZERO };
        let mut others = others.iter();
        let mut measure = || Ok(Sample { others_percent: *others.next().expect("no more runs"), ..Sample::default() });
        patience.undisturbed(&mut measure).unwrap().others_percent
    }

    #[test]
    fn without_a_limit_or_without_patience_there_is_one_run() {
        assert_eq!(least_of(&[90.0], None), 90.0);
        assert_eq!(least_of(&[5.0], Some(10.0)), 5.0);
        assert_eq!(least_of(&[90.0], Some(10.0)), 90.0);
    }

    #[test]
    fn the_least_disturbed_of_a_few_runs_counts() {
        let quiet = Quiet { others_max: Some(100.0) };
        let mut patience = Patience { quiet: &quiet, waiting: WAITING_MAX };
        let mut runs = [300.0, 200.0, 50.0].iter();
        let measure = || Ok(Sample { others_percent: *runs.next().expect("no more runs"), ..Sample::default() });
        assert_eq!(patience.undisturbed(measure).unwrap().others_percent, 50.0);
        assert!(patience.waiting < WAITING_MAX);
    }
}
