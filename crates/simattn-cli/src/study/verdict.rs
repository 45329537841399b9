//! The answer to "which learns better?" in sentences, no surer than the numbers are.

use super::certainty::certainty;
use super::figures::Progress;
use super::markup::one_line;
use super::results::{Equal, Estimate, StudyResults, VariantResults};
use crate::quantity::grouped;

/// What the study says, as sentences: who ends lowest, what that costs, and how far to trust it.
pub fn verdict(study: &StudyResults) -> Vec<String> {
    let mut ranked: Vec<(&VariantResults, Estimate)> = study
        .variants
        .iter()
        .filter_map(|variant| Some((variant, variant.final_loss()?)))
        .collect();
    ranked.sort_by(|a, b| a.1.mean.total_cmp(&b.1.mean));
    let Some(&(best, loss)) = ranked.first() else {
        return vec![
            "No variant has a final validation loss, so there is nothing to compare.".to_owned(),
        ];
    };

    let budget = match study.schedule.equal {
        Equal::Steps => format!("After {} steps", grouped(study.schedule.steps as f64)),
        Equal::Flops => "At equal training FLOPs".to_owned(),
        Equal::Time => "At equal training time".to_owned(),
    };
    let baseline = study
        .baseline_variant()
        .and_then(|variant| Some((variant, variant.final_loss()?)));
    let name = one_line(&best.label);
    let mut sentences = Vec::new();
    match baseline {
        Some((variant, other)) if variant.name != best.name => {
            sentences.push(format!(
                "{budget}, {name} has the lowest validation loss: {:.4} nats per token, {:.4} below {}’s {:.4}.",
                loss.mean,
                other.mean - loss.mean,
                one_line(&variant.label),
                other.mean
            ));
            sentences.extend(price(study, best, variant));
            if let Some(&(second, second_loss)) = ranked.get(1).filter(|(second, _)| second.name != variant.name) {
                let behind = second_loss.mean - loss.mean;
                sentences.push(runner_up(second, behind, &one_line(&variant.label)));
            }
        }
        Some(_) => {
            let lead = format!("{budget}, the baseline {name} has the lowest validation loss: {:.4} nats per token", loss.mean);
            match ranked.get(1) {
                Some(&(second, other)) => {
                    let second = one_line(&second.label);
                    sentences.push(format!("{lead}, {:.4} below {second}’s {:.4}.", other.mean - loss.mean, other.mean));
                }
                None => sentences.push(format!("{lead}. It is the only one with a final loss.")),
            }
        }
        None => sentences.push(format!(
            "{budget}, {name} has the lowest validation loss, {:.4} nats per token; the baseline {} has none to compare it with.",
            loss.mean,
            one_line(study.baseline_label())
        )),
    }
    sentences.extend(certainty(study, best));
    sentences.extend(failures(study));
    sentences
}

/// How soon `best` was at the baseline's final loss, in steps and in time.
fn price(study: &StudyResults, best: &VariantResults, baseline: &VariantResults) -> Option<String> {
    let steps = study.reach_of_baseline(best, Progress::Steps)?.at?.mean;
    let all_steps = study.reach_of_baseline(baseline, Progress::Steps)?.at?.mean;
    let price = study.price(best);
    let share = price.steps?.at?.mean;
    let name = one_line(&baseline.label);
    let mut sentence = format!(
        "It reached {name}’s final loss after {} steps, {} of {name}’s {}",
        grouped(steps),
        percent(share),
        grouped(all_steps)
    );
    if let (Some(step), Some(time)) = (price.step, price.time) {
        sentence += &format!(
            "; a step costs {:.2} times {name}’s, so getting there took {} of {name}’s time",
            step.mean,
            percent(time.mean)
        );
    }
    Some(sentence + ".")
}

fn percent(ratio: f64) -> String {
    format!("{:.0}%", 100.0 * ratio)
}

fn runner_up(second: &VariantResults, behind: f64, baseline: &str) -> String {
    format!(
        "Next is {}, {behind:.4} behind; only differences to {baseline} are tested.",
        one_line(&second.label)
    )
}

fn failures(study: &StudyResults) -> Option<String> {
    let failed: Vec<String> = study
        .variants
        .iter()
        .filter(|variant| variant.runs.iter().any(|run| !run.finished()))
        .map(|variant| {
            let finished = variant.finished_runs().count();
            format!(
                "{} ({finished} of {} runs finished)",
                one_line(&variant.label),
                variant.runs.len()
            )
        })
        .collect();
    (!failed.is_empty()).then(|| format!("Failed runs are left out: {}.", failed.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::results::RunStatus;
    use crate::study::synthetic;

    #[test]
    fn one_seed_is_never_called_sure() {
        let sentences = verdict(&synthetic::study(1)).join(" ");
        assert!(
            sentences.starts_with("After 2,000 steps, SAS has the lowest validation loss"),
            "{sentences}"
        );
        assert!(
            sentences.contains("a single seed this proves nothing"),
            "{sentences}"
        );
        assert!(!sentences.contains("interval"), "{sentences}");
    }

    #[test]
    fn several_seeds_are_tested_by_pairs() {
        let mut study = synthetic::study(5);
        let sentences = verdict(&study).join(" ");
        assert!(
            sentences.contains("Over 5 seeds, each run against MHA’s of the same seed"),
            "{sentences}"
        );
        assert!(sentences.contains("lower than MHA: "), "{sentences}");
        assert!(sentences.contains("so getting there took "), "{sentences}");

        // The same mean from runs far apart shows nothing.
        let shifts = [-0.5, 0.25, 0.0, -0.25, 0.5];
        for (run, shift) in study.variants[6].runs.iter_mut().zip(shifts) {
            run.evaluations.last_mut().unwrap().loss += shift;
        }
        let sentences = verdict(&study).join(" ");
        let open = sentences.rsplit("may be chance: ").next().unwrap();
        assert!(open.contains("SAS"), "{sentences}");
    }

    #[test]
    fn a_winning_baseline_is_named_as_such() {
        let mut study = synthetic::study(1);
        study.variants.truncate(3);
        let sentences = verdict(&study).join(" ");
        assert!(
            sentences.contains("the baseline MHA has the lowest"),
            "{sentences}"
        );
    }

    #[test]
    fn failures_leave_a_verdict_that_says_so() {
        let mut study = synthetic::study(1);
        study.variants[6].runs[0].status = RunStatus::Failed {
            reason: "no".to_owned(),
        };
        let sentences = verdict(&study).join(" ");
        assert!(
            sentences.contains("Failed runs are left out: SAS (0 of 1 runs finished)"),
            "{sentences}"
        );
        study.variants[0].runs[0].evaluations.clear();
        assert!(
            verdict(&study)[0].contains("the baseline MHA has none"),
            "{:?}",
            verdict(&study)
        );
        study
            .variants
            .iter_mut()
            .for_each(|variant| variant.runs.clear());
        assert_eq!(verdict(&study).len(), 1);
    }
}
