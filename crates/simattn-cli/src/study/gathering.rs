//! The results of a study, put together from those of its runs.

use std::collections::BTreeMap;

use simattn::cost::Cost;

use super::folder::Beginning;
use super::matching::Candidate;
use super::plan::{Plan, PlannedRun};
use super::rate_search::{RateSearch, RateTry};
use super::results::{Parameters, RunResults, Schedule, StudyResults, VariantResults};
use super::step_cost::StepCosts;

/// Results by the names of their runs.
pub(super) type Finished = BTreeMap<String, RunResults>;

/// What a study has measured so far.
pub(super) fn gather(
    beginning: &Beginning,
    costs: Option<&StepCosts>,
    finished: &Finished,
) -> StudyResults {
    let plan = &beginning.plan;
    let train = &plan.config.train;
    // Costs that another machine measured are not this study's.
    let own_costs = costs.filter(|costs| costs.machine.is_as_fast_as(&beginning.machine));
    let variants = plan.variants.iter().enumerate().map(|(index, candidate)| {
        let runs = plan.seeds.iter().filter_map(|&seed| {
            let run = PlannedRun {
                variant: index,
                seed,
                tried: None,
            };
            finished.get(&plan.name_of(&run)).cloned()
        });
        VariantResults {
            step_seconds: own_costs.map_or(Vec::new(), |c| c.rounds(&candidate.name).to_vec()),
            rate_search: rate_search(plan, index, costs, finished),
            runs: runs.collect(),
            ..described(candidate)
        }
    });
    StudyResults {
        name: beginning.name.clone(),
        created: beginning.created.clone(),
        command: beginning.command.clone(),
        machine: beginning.machine.clone(),
        tool_version: plan.tool_version.clone(),
        corpus: beginning.corpus.clone(),
        schedule: Schedule {
            equal: plan.equal,
            steps: train.steps,
            batch: train.sequences_per_step() as u64,
            context: plan.config.model.context as u64,
            tokens_per_step: plan.tokens_per_step(),
            learning_rate: train.learning_rate,
            seeds: plan.seeds.clone(),
        },
        matching: beginning.matching.clone(),
        variants: variants.collect(),
        baseline: plan.baseline.clone(),
        plan: Some(plan.clone()),
    }
}

/// What came of the rates that were tried for a variant; None before all of them were.
pub(super) fn rate_search(
    plan: &Plan,
    variant: usize,
    costs: Option<&StepCosts>,
    finished: &Finished,
) -> Option<RateSearch> {
    let search = plan.rates.as_ref()?;
    let run = |rate: f64| PlannedRun {
        variant,
        seed: search.seed,
        tried: Some(rate),
    };
    let tries = search.rates.iter().map(|&rate| {
        let results = finished.get(&plan.name_of(&run(rate)))?;
        Some(RateTry {
            learning_rate: rate,
            loss: results.final_loss().unwrap_or(f64::NAN),
        })
    });
    Some(RateSearch {
        seed: search.seed,
        steps: plan.steps_of(&run(*search.rates.first()?), costs),
        tries: tries.collect::<Option<_>>()?,
    })
}

/// A variant without runs.
fn described(candidate: &Candidate) -> VariantResults {
    let cost = Cost::of(&candidate.model);
    let context = candidate.model.context;
    VariantResults {
        name: candidate.name.clone(),
        label: candidate.label.clone(),
        attention: candidate.attention.clone(),
        parameters: Parameters {
            total: cost.parameters.total as u64,
            embedding: cost.parameters.embedding as u64,
            attention: cost.parameters.attention as u64,
        },
        forward_flops_per_token: cost.forward_flops_per_token(context),
        training_flops_per_token: cost.training_flops_per_token(context),
        cache_bytes_per_token: 2.0 * cost.cache_values_per_token as f64,
        step_seconds: Vec::new(),
        rate_search: None,
        runs: Vec::new(),
    }
}
