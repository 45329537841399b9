//! What a study is to do: everything that its results depend on, as `study.json` keeps it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use simattn::cost::Cost;
use simattn_train::{Change, FREE_FIELDS, Fingerprint, RunConfig, changes, exact_json};
use thiserror::Error;

use super::as_toml;
use super::equal::Equal;
use super::matching::Candidate;
use super::step_cost::StepCosts;

/// Everything that a study's results depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The version that carries it out.
    pub(crate) tool_version: String,
    /// "cpu", "cuda" and so on.
    pub(crate) device: String,
    /// The widest vector instructions in use.
    pub(crate) instruction_set: String,
    /// The implementation of the operations: "fast" or "reference".
    pub(crate) kernels: String,
    /// What every variant gets the same amount of.
    pub(crate) equal: Equal,
    /// One run of every variant for each of them.
    pub(crate) seeds: Vec<u64>,
    /// The variant that sets the budget of FLOPs or time; it runs first.
    pub(crate) baseline: String,
    /// The rates among which each variant's is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rates: Option<Rates>,
    /// Rounds in which the steps of all variants are timed in turn; 0 if they are not.
    pub(crate) timing_rounds: u64,
    /// Which of the runs are made here; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) share: Option<Share>,
    /// The tokens that all learn from.
    pub(crate) data: Fingerprint,
    /// Everything but the variants' models: data, optimizer, schedule, the first seed.
    #[serde(with = "as_toml")]
    pub(crate) config: RunConfig,
    /// The variants, in the order of the table.
    pub(crate) variants: Vec<Candidate>,
}

/// Learning rates to try for every variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rates {
    /// The seed of every try, which no run of the study has.
    pub(crate) seed: u64,
    /// Steps of the baseline's tries.
    pub(crate) steps: u64,
    /// The peak rates, lowest first.
    #[serde(deserialize_with = "exact_json::numbers")]
    pub(crate) rates: Vec<f64>,
}

/// The share of a study's runs that one machine makes: every `of`-th, from the `number`-th on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Share {
    /// From 1.
    pub(crate) number: u64,
    /// How many shares there are.
    pub(crate) of: u64,
}

/// A text that names no share.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" is no share; give one such as 1/2, the first of two")]
pub(crate) struct NoShare(String);

impl FromStr for Share {
    type Err = NoShare;

    fn from_str(text: &str) -> Result<Self, NoShare> {
        let parsed = text.split_once('/').and_then(|(number, of)| {
            let (number, of) = (number.parse().ok()?, of.parse().ok()?);
            (1..=of).contains(&number).then_some(Self { number, of })
        });
        parsed.ok_or_else(|| NoShare(text.to_owned()))
    }
}

impl TryFrom<String> for Share {
    type Error = NoShare;

    fn try_from(text: String) -> Result<Self, NoShare> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

/// One training run of a study.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PlannedRun {
    /// The index of its variant.
    pub(crate) variant: usize,
    /// Its seed.
    pub(crate) seed: u64,
    /// The peak rate that it tries; None for a run of the comparison.
    pub(crate) tried: Option<f64>,
}

/// What two plans may differ in and be of one study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tolerance {
    /// In nothing that any result depends on.
    None,
    /// In where they ran, which runs were made there, and whether steps were timed.
    Machine,
}

impl Plan {
    /// Runs in the order in which they are made here: tries of rates first, rate by rate, then the
    /// study's, seed by seed, so that a slow hour of the machine falls on all variants.
    pub(crate) fn runs(&self) -> Vec<PlannedRun> {
        let mut order: Vec<usize> = (0..self.variants.len()).collect();
        order.sort_by_key(|&variant| self.variants[variant].name != self.baseline);
        let mut mine = Vec::new();
        for &seed in &self.seeds {
            mine.extend(order.iter().map(|&variant| PlannedRun {
                variant,
                seed,
                tried: None,
            }));
        }
        if let Some(Share { number, of }) = self.share {
            let mut turns = (0..of).cycle();
            mine.retain(|_| turns.next() == Some(number - 1));
        }
        let mut runs = Vec::new();
        if let Some(search) = &self.rates {
            order.retain(|&variant| mine.iter().any(|run| run.variant == variant));
            for &rate in &search.rates {
                runs.extend(order.iter().map(|&variant| PlannedRun {
                    variant,
                    seed: search.seed,
                    tried: Some(rate),
                }));
            }
        }
        runs.extend(mine);
        runs
    }

    /// The name of a run's files: what it is, in characters that every file system takes.
    pub(crate) fn name_of(&self, run: &PlannedRun) -> String {
        const LONGEST: usize = 80;
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "_=.".contains(c) {
                c
            } else {
                '-'
            }
        };
        let variant = &self.variants[run.variant].name;
        let variant: String = variant.chars().map(plain).take(LONGEST).collect();
        let number = run.variant + 1;
        match run.tried {
            None => format!("{number:02}-{variant}-seed-{}", run.seed),
            Some(rate) => format!("{number:02}-{variant}-rate-{rate:e}"),
        }
    }

    /// Steps of a run; `costs` are needed if time is held equal.
    pub(crate) fn steps_of(&self, run: &PlannedRun, costs: Option<&StepCosts>) -> u64 {
        let of_baseline = self.baseline_steps(run);
        let own = &self.variants[run.variant];
        let baseline = self.variants.iter().find(|v| v.name == self.baseline);
        let Some(baseline) = baseline.filter(|baseline| baseline.name != own.name) else {
            return of_baseline;
        };
        // As many whole steps as fit in, and at least one.
        let fitting = |budget: f64, step: f64| ((budget / step) as u64).max(1);
        match self.equal {
            Equal::Steps => of_baseline,
            Equal::Flops => {
                let tokens = self.tokens_per_step();
                let per_token = |variant: &Candidate| {
                    let model = &variant.model;
                    Cost::of(model).training_flops_per_token(model.context)
                };
                let budget = per_token(baseline) * (of_baseline * tokens) as f64;
                fitting(budget, per_token(own) * tokens as f64)
            }
            Equal::Time => {
                let median = |variant: &Candidate| costs.and_then(|c| c.median(&variant.name));
                match (median(baseline), median(own)) {
                    (Some(baseline), Some(own)) => fitting(baseline * of_baseline as f64, own),
                    // A study that holds time equal has costs before it has runs.
                    _ => of_baseline,
                }
            }
        }
    }

    fn baseline_steps(&self, run: &PlannedRun) -> u64 {
        match (&self.rates, run.tried) {
            (Some(search), Some(_)) => search.steps,
            _ => self.config.train.steps,
        }
    }

    /// Target tokens in a step.
    pub(crate) fn tokens_per_step(&self) -> u64 {
        (self.config.train.sequences_per_step() * self.config.model.context) as u64
    }

    /// The configuration of a run with so many steps and this peak rate. All variants warm up for
    /// as many steps as the baseline.
    pub(crate) fn config_of(&self, run: &PlannedRun, steps: u64, rate: f64) -> RunConfig {
        let mut config = RunConfig {
            seed: run.seed,
            model: self.variants[run.variant].model.clone(),
            ..self.config.clone()
        };
        let train = &mut config.train;
        train.steps = self.baseline_steps(run);
        train.warmup_steps = Some(train.schedule().warmup_steps);
        train.steps = steps;
        train.learning_rate = rate;
        config
    }

    /// The first thing in which `now` differs from this plan.
    pub(crate) fn first_difference(&self, now: &Self, tolerance: Tolerance) -> Option<Change> {
        let names = |plan: &Self| {
            let names: Vec<&str> = plan.variants.iter().map(|v| v.name.as_str()).collect();
            names.join(" ")
        };
        if names(self) != names(now) {
            return Some(Change {
                field: "variants".to_owned(),
                before: Some(names(self)),
                now: Some(names(now)),
            });
        }
        let elsewhere = tolerance == Tolerance::Machine;
        let of_config = changes(&self.config, &now.config)
            .into_iter()
            .filter(|change| {
                let field = change.field.as_str();
                !(FREE_FIELDS.contains(&field) || elsewhere && field == "data.source")
            });
        let of_plan = changes(self, now).into_iter().filter(|change| {
            let field = change.field.as_str();
            let local = ["device", "instruction_set", "share", "timing_rounds"].contains(&field);
            // These two are compared field by field.
            !(["config", "variants"].contains(&field) || elsewhere && local)
        });
        let of_variants = self.variants.iter().zip(&now.variants).flat_map(|(a, b)| {
            changes(&a.model, &b.model)
                .into_iter()
                .map(|change| Change {
                    field: format!("{}: {}", a.name, change.field),
                    ..change
                })
        });
        of_config.chain(of_plan).chain(of_variants).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::description::Description;
    use crate::study::matching::{Match, candidates};
    use simattn_train::parse_document;

    const CONFIG: &str = r#"
        seed = 3
        [model]
        vocabulary = 300
        context = 16
        layers = 1
        width = 32
        attention = { kind = "sas", heads = 4, head_dim = 8, expanded_heads = 8, expanded_head_dim = 12, kernel_size = 3 }
        [train]
        steps = 250
        batch = 2
    "#;

    fn plan(seeds: u64) -> Plan {
        let config: RunConfig = parse_document(CONFIG, "test.toml".as_ref()).unwrap();
        let described: Vec<Description> = ["sas", "mha", "sas:kernel_size=1"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let (variants, _) = candidates(&config.model, &described, Match::Parameters).unwrap();
        Plan {
            tool_version: "1".to_owned(),
            device: "cpu".to_owned(),
            instruction_set: "avx2".to_owned(),
            kernels: "fast".to_owned(),
            equal: Equal::Steps,
            seeds: (3..3 + seeds).collect(),
            baseline: "mha".to_owned(),
            rates: None,
            timing_rounds: 0,
            share: None,
            data: Fingerprint {
                train_tokens: 1000,
                validation_tokens: 100,
                sha256: "ab".to_owned(),
            },
            config,
            variants,
        }
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.runs().iter().map(|run| plan.name_of(run)).collect()
    }

    #[test]
    fn shares_are_disjoint_and_make_the_whole() {
        for of in 1..=7 {
            let whole = plan(2);
            let mut shared: Vec<String> = (1..=of)
                .flat_map(|number| {
                    names(&Plan {
                        share: Some(Share { number, of }),
                        ..whole.clone()
                    })
                })
                .collect();
            let mut all = names(&whole);
            assert_eq!(all.first().map(String::as_str), Some("02-mha-seed-3"));
            shared.sort();
            all.sort();
            assert_eq!(shared, all, "{of} shares");
        }
        for text in ["", "1", "0/2", "3/2", "1/0", "1/2/3", "-1/2"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_tries_rates_for_its_own_variants_first() {
        let search = Rates {
            seed: 1003,
            steps: 100,
            rates: vec![5e-4, 1e-3],
        };
        let share = Plan {
            rates: Some(search),
            share: Some(Share { number: 2, of: 3 }),
            ..plan(2)
        };
        let expected = [
            "01-sas-rate-5e-4",
            "01-sas-rate-1e-3",
            "01-sas-seed-3",
            "01-sas-seed-4",
        ];
        assert_eq!(names(&share), expected);
        assert_eq!(share.steps_of(&share.runs()[0], None), 100);
    }

    #[test]
    fn equal_operations_and_time_give_whole_steps_that_fit() {
        let flops = Plan {
            equal: Equal::Flops,
            ..plan(1)
        };
        let steps = |plan: &Plan, costs: Option<&StepCosts>| -> Vec<u64> {
            let runs = plan.runs();
            runs.iter().map(|run| plan.steps_of(run, costs)).collect()
        };
        let [mha, sas, linear] = steps(&flops, None)[..] else {
            panic!("three runs");
        };
        assert_eq!(mha, 250);
        assert!(sas < linear && linear < 250, "{sas} {linear}");
        let time = Plan {
            equal: Equal::Time,
            ..plan(1)
        };
        let costs = StepCosts::made_up(&[("mha", 0.1), ("sas", 0.2), ("sas:kernel_size=1", 99.0)]);
        assert_eq!(steps(&time, Some(&costs)), [250, 125, 1]);
        // The warm-up is the baseline's, whatever the budget.
        let config = time.config_of(&time.runs()[1], 125, 2e-3);
        assert_eq!(
            (config.train.steps, config.train.warmup_steps),
            (125, Some(3))
        );
    }

    #[test]
    fn a_plan_survives_json_and_the_first_difference_is_named() {
        let before = Plan {
            share: Some(Share { number: 1, of: 2 }),
            ..plan(2)
        };
        let json = serde_json::to_string_pretty(&before).unwrap();
        let read: Plan = exact_json::from_str(&json).unwrap();
        assert_eq!(read, before);
        assert_eq!(before.first_difference(&read, Tolerance::None), None);
        let told = |now: &Plan, tolerance| {
            let change = before.first_difference(now, tolerance);
            change.map(|change| change.to_string())
        };
        let mut now = before.clone();
        now.config.train.log_every = 7;
        assert_eq!(told(&now, Tolerance::None), None);
        now.instruction_set = "avx512".to_owned();
        now.share = None;
        assert_eq!(told(&now, Tolerance::Machine), None);
        let named = told(&now, Tolerance::None).unwrap();
        assert_eq!(named, "instruction_set: \"avx2\" -> \"avx512\"");
        now.variants[2].model.mlp_width = Some(7);
        let named = told(&now, Tolerance::Machine).unwrap();
        assert!(
            named.starts_with("sas:kernel_size=1: mlp_width: "),
            "{named}"
        );
        now.config.train.steps = 9;
        let named = told(&now, Tolerance::Machine).unwrap();
        assert_eq!(named, "train.steps: 250 -> 9");
        now.variants.pop();
        let named = told(&now, Tolerance::Machine).unwrap();
        assert_eq!(named, "variants: sas mha sas:kernel_size=1 -> sas mha");
    }
}
