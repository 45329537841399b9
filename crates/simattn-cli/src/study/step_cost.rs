//! What a step of each variant costs, in rounds that `step_timing` measures.

use serde::{Deserialize, Serialize};
use simattn_train::exact_json;

use crate::machine::Machine;

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
    /// No round yet of the variants with these names.
    pub(super) fn new<'a>(machine: Machine, names: impl Iterator<Item = &'a str>) -> Self {
        let variants = names.map(|name| VariantCosts {
            name: name.to_owned(),
            step_seconds: Vec::new(),
        });
        Self {
            machine,
            variants: variants.collect(),
        }
    }

    /// Adds a round of the variant at `index`.
    pub(super) fn push(&mut self, index: usize, seconds: f64) {
        self.variants[index].step_seconds.push(seconds);
    }

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
