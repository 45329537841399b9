//! The answer to "which learns better?" in sentences, no surer than the numbers are.

use super::figures::Progress;
use super::markup::one_line;
use super::results::{Equal, Estimate, StudyResults, VariantResults};
use crate::quantity::{duration, grouped};

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
            sentences.push(confidence(loss, other, &one_line(&variant.label)));
            if let Some(&(second, second_loss)) = ranked.get(1).filter(|(second, _)| second.name != variant.name) {
                sentences.push(runner_up(second, second_loss, loss));
            }
        }
        Some(_) => {
            let lead = format!("{budget}, the baseline {name} has the lowest validation loss: {:.4} nats per token", loss.mean);
            match ranked.get(1) {
                Some(&(second, other)) => {
                    let second = one_line(&second.label);
                    sentences.push(format!("{lead}, {:.4} below {second}’s {:.4}.", other.mean - loss.mean, other.mean));
                    sentences.push(confidence(loss, other, &second));
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
    sentences.extend(failures(study));
    sentences
}

/// How soon `best` was at the baseline's final loss, and how fast it trained.
fn price(study: &StudyResults, best: &VariantResults, baseline: &VariantResults) -> Option<String> {
    let steps = study.reach_of_baseline(best, Progress::Steps)?.at?.mean;
    let seconds = study.reach_of_baseline(best, Progress::Seconds)?.at?.mean;
    let all_steps = baseline.mean(|run| run.steps as f64)?.mean;
    let all_seconds = baseline.mean(|run| run.seconds)?.mean;
    let mut sentence = format!(
        "It was at {}’s final loss after {} steps, {} of {}’s {}",
        one_line(&baseline.label),
        grouped(steps),
        percent(steps / all_steps),
        one_line(&baseline.label),
        grouped(all_steps)
    );
    if all_seconds > 0.0 {
        sentence += &format!(
            ", and after {} of training, {} of its {}",
            duration(seconds),
            percent(seconds / all_seconds),
            duration(all_seconds)
        );
    }
    if let (Some(own), Some(other)) = (best.tokens_per_second(), baseline.tokens_per_second())
        && other.mean > 0.0
    {
        sentence += &format!(
            "; it trains {:.2} times as many tokens per second",
            own.mean / other.mean
        );
    }
    Some(sentence + ".")
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", 100.0 * ratio)
}

/// How far to trust the difference between two mean losses.
fn confidence(lower: Estimate, higher: Estimate, other: &str) -> String {
    let (Some(a), Some(b)) = (lower.standard_error, higher.standard_error) else {
        return format!(
            "With one run each, the difference to {other} may be chance: another seed could change the order."
        );
    };
    let error = a.hypot(b);
    let compared = if higher.mean - lower.mean > 2.0 * error {
        "more"
    } else {
        "not more"
    };
    format!(
        "Over {} seeds, the difference to {other} is {compared} than two standard errors of it (2 × {error:.4}){}.",
        lower.runs.min(higher.runs),
        if compared == "more" {
            ""
        } else {
            "; it may be chance"
        }
    )
}

fn runner_up(second: &VariantResults, loss: Estimate, best: Estimate) -> String {
    let difference = loss.mean - best.mean;
    let clear = match (best.standard_error, loss.standard_error) {
        (Some(a), Some(b)) if difference > 2.0 * a.hypot(b) => ", more than two standard errors",
        (Some(_), Some(_)) => ", not more than two standard errors",
        _ => "",
    };
    format!(
        "Next is {}, {difference:.4} behind{clear}.",
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
        assert!(sentences.contains("With one run each"), "{sentences}");
        assert!(!sentences.contains("standard error"), "{sentences}");
    }

    #[test]
    fn several_seeds_are_held_against_two_standard_errors() {
        let mut study = synthetic::study(3);
        let sentences = verdict(&study).join(" ");
        assert!(
            sentences.contains(
                "Over 3 seeds, the difference to MHA is more than two standard errors of it"
            ),
            "{sentences}"
        );

        // The same mean from runs far apart says nothing.
        for (run, shift) in study.variants[6].runs.iter_mut().zip([-0.5, 0.0, 0.5]) {
            run.evaluations.last_mut().unwrap().loss += shift;
        }
        let sentences = verdict(&study).join(" ");
        assert!(
            sentences.contains("is not more than two standard errors"),
            "{sentences}"
        );
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
