//! What a step of each variant costs, all of them timed in turn.

use serde::{Deserialize, Serialize};
use simattn::Decoder;
use simattn_train::{Budget, Decay, TrainError, Trainer, exact_json};

use super::plan::{Plan, PlannedRun};
use super::running::Setting;
use crate::machine::Machine;

/// Steps that a round makes before it times any: the first ones find caches and allocator empty.
const WARM_UP: u64 = 1;
/// Steps that a round times.
const TIMED: u64 = 3;

/// Seconds of a step, in rounds (A B C A B C …): round n is the same moment for all variants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepCosts {
    /// Where they were measured.
    pub(crate) machine: Machine,
    variants: Vec<VariantCosts>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct VariantCosts {
    name: String,
    #[serde(deserialize_with = "exact_json::numbers")]
    step_seconds: Vec<f64>,
}

impl StepCosts {
    /// The rounds of a variant.
    pub(crate) fn rounds(&self, name: &str) -> &[f64] {
        let found = self.variants.iter().find(|variant| variant.name == name);
        found.map_or(&[], |variant| &variant.step_seconds)
    }

    /// The median of a variant's rounds; None without one above zero.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        let mut rounds = self.rounds(name).to_vec();
        rounds.sort_by(f64::total_cmp);
        let upper = *rounds.get(rounds.len() / 2)?;
        let lower = rounds[(rounds.len() - 1) / 2];
        let median = 0.5 * (lower + upper);
        Some(median).filter(|median| median.is_finite() && *median > 0.0)
    }

    #[cfg(test)]
    pub(crate) fn made_up(costs: &[(&str, f64)]) -> Self {
        let variants = costs.iter().map(|&(name, seconds)| VariantCosts {
            name: name.to_owned(),
            step_seconds: vec![seconds],
        });
        Self {
            machine: Machine::this(),
            variants: variants.collect(),
        }
    }
}

/// Times the steps of all variants in turn; None if the study was asked to stop meanwhile.
///
/// One model is in memory at a time: each round makes it anew, and warms it up.
///
/// # Errors
/// A model that cannot be trained.
pub(crate) fn measure(
    setting: &Setting<'_>,
    plan: &Plan,
    mut round_begins: impl FnMut(u64),
) -> Result<Option<StepCosts>, TrainError> {
    let variants = plan.variants.iter().map(|variant| VariantCosts {
        name: variant.name.clone(),
        step_seconds: Vec::new(),
    });
    let mut costs = StepCosts {
        machine: setting.machine.clone(),
        variants: variants.collect(),
    };
    for round in 1..=plan.timing_rounds {
        round_begins(round);
        for (variant, costs) in costs.variants.iter_mut().enumerate() {
            if setting.is_stopping() {
                return Ok(None);
            }
            let run = PlannedRun {
                variant,
                seed: plan.config.seed,
                tried: None,
            };
            costs.step_seconds.push(time(setting, plan, &run)?);
        }
    }
    Ok(Some(costs))
}

/// Seconds of a step of a fresh model.
fn time(setting: &Setting<'_>, plan: &Plan, run: &PlannedRun) -> Result<f64, TrainError> {
    // A step costs the same at any rate, and at this one no model diverges.
    let mut config = plan.config_of(run, u64::MAX, 1e-9);
    config.train.minimum_learning_rate = None;
    config.train.warmup_steps = Some(0);
    config.train.decay = Decay::Constant;
    config.train.evaluate_every = 0;
    let decoder = Decoder::new(&config.model, config.seed, &setting.device)?;
    let decoder = decoder.with_kernels(setting.kernels);
    let budget = Budget::Steps(config.train.steps);
    let mut trainer = Trainer::with_decoder(decoder, &config, setting.dataset, budget)?;
    trainer.run_until(|trainer| trainer.step_count() == WARM_UP, &mut ())?;
    let before = trainer.seconds();
    let last = WARM_UP + TIMED;
    trainer.run_until(|trainer| trainer.step_count() == last, &mut ())?;
    Ok((trainer.seconds() - before) / TIMED as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_odd_and_even_rounds() {
        let mut costs = StepCosts::made_up(&[("mha", 3.0)]);
        assert_eq!(costs.median("mha"), Some(3.0));
        costs.variants[0].step_seconds = vec![3.0, 1.0];
        assert_eq!(costs.median("mha"), Some(2.0));
        costs.variants[0].step_seconds = vec![9.0, 1.0, 2.0];
        assert_eq!(costs.median("mha"), Some(2.0));
        costs.variants[0].step_seconds = vec![0.0];
        assert_eq!((costs.median("mha"), costs.median("sas")), (None, None));
    }
}
