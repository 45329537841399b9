//! What a variant costs on its way to the baseline's loss.
//!
//! A variant that needs fewer steps may still need more time, because a step of it costs more. What
//! counts is the product: cost of a step × steps to the baseline's loss, both as multiples of the
//! baseline's.

use super::figures::{Progress, Reach};
use super::results::{Estimate, RunResults, StudyResults, VariantResults};

/// Where the cost of a step comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CostSource {
    /// Steps of all variants, timed in turn in as many rounds.
    Rounds(usize),
    /// The training runs themselves, seed by seed.
    Runs,
}

/// A variant's price as multiples of the baseline's; 1 is the baseline's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Price {
    /// The seconds of a step.
    pub step: Option<Estimate>,
    /// The steps to the loss that the baseline's run of the same seed ended with.
    pub steps: Option<Reach>,
    /// The time to that loss: the product of both.
    pub time: Option<Estimate>,
    /// The time of the whole training, as long as it took.
    pub training: Option<f64>,
}

impl StudyResults {
    /// Where the costs of steps come from: rounds, if every variant has them.
    pub(crate) fn cost_source(&self) -> CostSource {
        let rounds = self
            .variants
            .iter()
            .map(|variant| variant.step_seconds.len());
        match rounds.min() {
            None | Some(0) => CostSource::Runs,
            Some(rounds) => CostSource::Rounds(rounds),
        }
    }

    /// What `variant` costs beside the baseline.
    pub(crate) fn price(&self, variant: &VariantResults) -> Price {
        let step = self.step_cost(variant);
        let steps = self.share_of_steps(variant);
        let time = step.and_then(|step| Some(product(step, steps?.at?)));
        let mean_steps = |variant: &VariantResults| variant.mean(|run| run.steps as f64);
        let training = step.and_then(|step| {
            let own = mean_steps(variant)?.mean;
            Some(step.mean * own / mean_steps(self.baseline_variant()?)?.mean)
        });
        Price {
            step,
            steps,
            time,
            training: training.filter(|multiple| multiple.is_finite()),
        }
    }

    fn step_cost(&self, variant: &VariantResults) -> Option<Estimate> {
        let baseline = self.baseline_variant()?;
        let ratios: Vec<f64> = match self.cost_source() {
            // Each round against the baseline's in the same round: a slow minute slows both.
            CostSource::Rounds(_) => variant
                .step_seconds
                .iter()
                .zip(&baseline.step_seconds)
                .map(|(own, other)| own / other)
                .collect(),
            CostSource::Runs => self
                .pairs(variant)
                .filter(|(other, own)| own.machine == other.machine)
                .map(|(other, own)| seconds_per_step(own) / seconds_per_step(other))
                .collect(),
        };
        Some(self.exact_for_baseline(variant, Estimate::of(&ratios)?))
    }

    fn share_of_steps(&self, variant: &VariantResults) -> Option<Reach> {
        let reach = self.reach_of_baseline(variant, Progress::Steps)?;
        let shares: Vec<f64> = self
            .pairs(variant)
            .filter_map(|(other, own)| {
                let loss = other.final_loss()?;
                let steps = own.progress_to(loss, Progress::Steps)?;
                Some(steps / other.progress_to(loss, Progress::Steps)?)
            })
            .collect();
        let share = Estimate::of(&shares).filter(|_| shares.len() == reach.runs);
        Some(Reach {
            at: share.map(|share| self.exact_for_baseline(variant, share)),
            ..reach
        })
    }

    /// The baseline is once itself, without an error.
    fn exact_for_baseline(&self, variant: &VariantResults, estimate: Estimate) -> Estimate {
        let is_baseline = variant.name == self.baseline;
        Estimate {
            standard_error: estimate.standard_error.filter(|_| !is_baseline),
            ..estimate
        }
    }
}

fn seconds_per_step(run: &RunResults) -> f64 {
    run.seconds / run.steps as f64
}

/// The product of two independent means, its error to first order.
fn product(a: Estimate, b: Estimate) -> Estimate {
    let errors = match (a.standard_error, b.standard_error) {
        (None, None) => None,
        (a_error, b_error) => Some(f64::hypot(
            b.mean * a_error.unwrap_or(0.0),
            a.mean * b_error.unwrap_or(0.0),
        )),
    };
    Estimate {
        mean: a.mean * b.mean,
        standard_error: errors,
        runs: b.runs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::results::EvalPoint;
    use crate::study::synthetic;

    /// A run whose loss falls on a straight line from 6 to `last` in 100 steps.
    fn run(seed: u64, seconds: f64, last: f64) -> RunResults {
        let evaluations = [(0, 6.0), (100, last)].map(|(step, loss)| EvalPoint {
            step,
            tokens: step * 10,
            seconds: seconds * step as f64 / 100.0,
            flops: step as f64,
            loss,
        });
        RunResults {
            seed,
            steps: 100,
            seconds,
            evaluations: evaluations.to_vec(),
            ..synthetic::empty_run()
        }
    }

    fn assert_near(estimate: Option<Estimate>, expected: f64) {
        let mean = estimate.expect("an estimate").mean;
        assert!((mean - expected).abs() < 1e-12, "{mean}, not {expected}");
    }

    fn study() -> StudyResults {
        let mut study = synthetic::study(2);
        study.variants.truncate(2);
        study.variants[0].runs = vec![run(1, 10.0, 3.0), run(2, 20.0, 2.0)];
        study.variants[1].runs = vec![run(1, 15.0, 1.0), run(2, 30.0, 1.0)];
        study
    }

    #[test]
    fn the_product_is_what_counts() {
        let study = study();
        let price = study.price(&study.variants[1]);
        assert_eq!(study.cost_source(), CostSource::Runs);
        assert_near(price.step, 1.5);
        // From 6 to 1: 3 is reached after 60% of the steps, 2 after 80%.
        assert_near(price.steps.unwrap().at, 0.7);
        assert_near(price.time, 1.05);
        let time = price.time.unwrap();
        assert!(
            (time.standard_error.unwrap() - 0.15).abs() < 1e-12,
            "{time:?}"
        );
        assert!((price.training.unwrap() - 1.5).abs() < 1e-12);
    }

    #[test]
    fn the_baseline_is_the_measure_itself() {
        let study = study();
        let price = study.price(&study.variants[0]);
        for estimate in [price.step, price.steps.and_then(|s| s.at), price.time] {
            let estimate = estimate.unwrap();
            assert_eq!((estimate.mean, estimate.standard_error), (1.0, None));
        }
    }

    #[test]
    fn rounds_count_more_than_runs_if_all_variants_have_them() {
        let mut study = study();
        study.variants[1].step_seconds = vec![0.2, 0.4];
        assert_near(study.price(&study.variants[1]).step, 1.5);
        study.variants[0].step_seconds = vec![0.1, 0.2];
        assert_eq!(study.cost_source(), CostSource::Rounds(2));
        assert_near(study.price(&study.variants[1]).step, 2.0);
    }

    #[test]
    fn times_are_compared_within_a_machine_alone() {
        let mut study = study();
        let elsewhere = study.machine.clone();
        study.variants[1].runs[1].machine = Some(elsewhere);
        study.variants[1].runs[1].seconds = 1e6;
        assert_near(study.price(&study.variants[1]).step, 1.5);
    }

    #[test]
    fn a_variant_that_never_arrives_has_no_time() {
        let mut study = study();
        study.variants[1].runs[1] = run(2, 30.0, 5.0);
        let price = study.price(&study.variants[1]);
        let steps = price.steps.unwrap();
        assert_eq!((steps.reached, steps.runs, steps.at), (1, 2, None));
        assert!(price.time.is_none() && price.step.is_some());
    }
}
