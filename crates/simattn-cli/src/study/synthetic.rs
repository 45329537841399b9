//! Made-up results with the shape of real ones, to try tables and pages on.

use super::results::*;
use crate::machine::Machine;

/// What is made up about a variant: name, label, final loss, speed against the baseline, FLOPs
/// against the baseline.
const VARIANTS: [(&str, &str, f64, f64, f64); 7] = [
    ("mha", "MHA", 1.482, 1.0, 1.0),
    ("gqa", "GQA", 1.495, 1.06, 0.97),
    ("mqa", "MQA", 1.512, 1.09, 0.95),
    ("mla", "MLA", 1.479, 0.86, 1.09),
    ("mfa", "MFA", 1.471, 0.82, 1.16),
    ("tpa", "TPA", 1.466, 0.74, 1.12),
    ("sas", "SAS", 1.437, 0.55, 1.43),
];

/// A study of seven variants with `seeds` runs each.
pub(crate) fn study(seeds: u64) -> StudyResults {
    let schedule = Schedule {
        equal: Equal::Steps,
        steps: 2_000,
        batch: 16,
        context: 256,
        tokens_per_step: 4_096,
        learning_rate: 1e-3,
        seeds: (1..=seeds).collect(),
    };
    StudyResults {
        name: "Seven attentions on the embedded tales".to_owned(),
        created: "2026-03-01T12:00:00Z".to_owned(),
        command: format!(
            "simattn compare --steps 2000 --seeds {seeds} mha gqa mqa mla mfa tpa sas"
        ),
        machine: Machine {
            cores: 2,
            threads: 2,
            cpu: "Made-up Processor 9000 @ 2.6 GHz".to_owned(),
            memory_bytes: 16 << 30,
            instruction_set: "avx512".to_owned(),
        },
        tool_version: "0.1.0".to_owned(),
        corpus: CorpusFacts {
            source: "embedded tales".to_owned(),
            tokenizer: "byte pairs learnt from the training text".to_owned(),
            vocabulary: 4_096,
            train_tokens: 1_234_567,
            validation_tokens: 65_536,
            validation_bytes: 215_000,
        },
        matching: vec![
            "Depth, width and MLP are the same in every variant.".to_owned(),
            "Head widths were chosen so that attention parameters differ by less than 2 %."
                .to_owned(),
        ],
        variants: VARIANTS
            .iter()
            .enumerate()
            .map(|(index, made_up)| variant(index, made_up, &schedule))
            .collect(),
        schedule,
        baseline: "mha".to_owned(),
        plan: None,
    }
}

/// A finished run that measured nothing.
pub(crate) fn empty_run() -> RunResults {
    RunResults {
        seed: 1,
        steps: 0,
        tokens: 0,
        seconds: 0.0,
        tokens_per_second: 0.0,
        peak_memory_bytes: None,
        train: Vec::new(),
        evaluations: Vec::new(),
        status: RunStatus::Finished,
        machine: None,
    }
}

fn variant(
    index: usize,
    made_up: &(&str, &str, f64, f64, f64),
    schedule: &Schedule,
) -> VariantResults {
    let &(name, label, floor, speed, cost) = made_up;
    let training_flops = 6.4e7 * cost;
    let runs = schedule.seeds.iter().map(|&seed| {
        // A hash in place of chance, so that results are the same every time.
        let wobble = |step: u64| {
            let mixed = (step * 31 + seed * 7_919 + index as u64 * 104_729 + 1)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (mixed >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        let offset = 0.02 * wobble(0);
        let loss = |step: f64| {
            floor
                + offset
                + 6.84 * (-step / 90.0).exp()
                + 0.9 * ((-step / 700.0).exp() - (-2000f64 / 700.0).exp())
        };
        let per_second = 5_200.0 * speed * (1.0 + 0.02 * wobble(1));
        let seconds = |step: u64| (step * schedule.tokens_per_step) as f64 / per_second;
        let evaluations = (0..=20)
            .map(|part| part * schedule.steps / 20)
            .map(|step| EvalPoint {
                step,
                tokens: step * schedule.tokens_per_step,
                seconds: seconds(step),
                flops: (step * schedule.tokens_per_step) as f64 * training_flops,
                loss: loss(step as f64) + 0.004 * wobble(step + 7),
            });
        let train = (1..=schedule.steps).map(|step| TrainPoint {
            step,
            loss: loss(step as f64) + 0.25 * wobble(step + 3) - 0.03,
            learning_rate: 1e-3,
            gradient_norm: 0.4
                + 2.0 * (-(step as f64) / 150.0).exp()
                + 0.02 * index as f64
                + 0.3 * (wobble(step + 5) + 0.5),
            seconds: seconds(step),
        });
        RunResults {
            seed,
            steps: schedule.steps,
            tokens: schedule.steps * schedule.tokens_per_step,
            seconds: seconds(schedule.steps),
            tokens_per_second: per_second,
            peak_memory_bytes: Some((1.1e9 * (0.7 + 0.3 / speed)) as u64),
            train: train.collect(),
            evaluations: evaluations.collect(),
            status: RunStatus::Finished,
            machine: None,
        }
    });
    VariantResults {
        name: name.to_owned(),
        label: label.to_owned(),
        attention: format!("8 heads of 32, cost {cost:.2}"),
        parameters: Parameters {
            total: 10_700_000 + 12_345 * index as u64,
            embedding: 2_097_152,
            attention: 2_621_440 + 12_345 * index as u64,
        },
        forward_flops_per_token: training_flops / 3.0,
        training_flops_per_token: training_flops,
        cache_bytes_per_token: 8_192.0 / (1.0 + index as f64),
        step_seconds: Vec::new(),
        rate_search: None,
        runs: runs.collect(),
    }
}
