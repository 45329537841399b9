//! Times the steps of all variants in turn.

use simattn::Decoder;
use simattn_train::{Budget, Decay, TrainError, Trainer};

use super::plan::{Plan, PlannedRun};
use super::setting::Setting;
use super::step_cost::StepCosts;

/// Steps that a round makes before it times any: the first ones find caches and allocator empty.
const WARM_UP: u64 = 1;
/// Steps that a round times.
const TIMED: u64 = 3;

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
    let names = plan.variants.iter().map(|variant| variant.name.as_str());
    let mut costs = StepCosts::new(setting.machine.clone(), names);
    for round in 1..=plan.timing_rounds {
        round_begins(round);
        for variant in 0..plan.variants.len() {
            if setting.is_stopping() {
                return Ok(None);
            }
            let run = PlannedRun {
                variant,
                seed: plan.config.seed,
                tried: None,
            };
            costs.push(variant, time(setting, plan, &run)?);
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
