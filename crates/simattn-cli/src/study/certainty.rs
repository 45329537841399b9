//! How far the differences of a study can be trusted, in sentences.

use super::against::{interval, probability, signed};
use super::markup::one_line;
use super::results::{StudyResults, VariantResults};
use super::statistics::{Comparison, Comparisons, Finding, Sight};
use crate::quantity::{grouped, with_decimals};

/// The probability with which a difference counts as one that the study would find.
const LIKELY: f64 = 0.8;

/// What the seeds show about the differences to the baseline, `best` being the lowest loss.
pub(crate) fn certainty(study: &StudyResults, best: &VariantResults) -> Vec<String> {
    let comparisons = Comparisons::of(study);
    let baseline = one_line(study.baseline_label());
    let tested: Vec<&Comparison<'_>> = comparisons
        .all
        .iter()
        .filter(|comparison| comparison.test.is_some())
        .collect();
    if tested.is_empty() {
        let compared = comparisons.all.iter().any(|c| !c.differences.is_empty());
        return if compared {
            vec![
                "With a single seed this proves nothing: another seed may change the order. \
                 Run it with --seeds 3 or more."
                    .to_owned(),
            ]
        } else {
            Vec::new()
        };
    }
    let mut sentences = Vec::new();
    let best = comparisons.of_variant(&best.name);
    if let Some(comparison) = best {
        sentences.extend(one(comparison, &baseline, tested.len()));
    }
    sentences.push(all(&tested, &baseline));
    if let Some(sight) = comparisons.sight() {
        sentences.extend(found(sight));
        sentences.extend(best.and_then(|comparison| needed(comparison, sight)));
    }
    sentences
}

/// The best variant's difference with its interval.
fn one(comparison: &Comparison<'_>, baseline: &str, tests: usize) -> Option<String> {
    let (test, corrected) = (comparison.test?, comparison.corrected?);
    let corrected = match tests {
        1 => String::new(),
        _ => format!(", {} after Holm’s correction", probability(corrected)),
    };
    Some(format!(
        "Over {} seeds, each run against {baseline}’s of the same seed, {}’s loss differs by {} \
         nats (95% interval {}; p = {}{corrected}).",
        test.pairs,
        one_line(&comparison.variant.label),
        signed(test.mean),
        interval(test.interval),
        probability(test.p)
    ))
}

/// Which differences remain after the correction.
fn all(tested: &[&Comparison<'_>], baseline: &str) -> String {
    let of = |finding: Finding| -> Vec<String> {
        let found = tested.iter().filter(|c| c.finding() == Some(finding));
        found.map(|c| one_line(&c.variant.label)).collect()
    };
    let (lower, higher, open) = (of(Finding::Lower), of(Finding::Higher), of(Finding::Open));
    if tested.len() == 1 {
        return match (lower.is_empty(), open.is_empty()) {
            (_, false) => "This may be chance.".to_owned(),
            (false, true) => format!("So {}’s loss is lower than {baseline}’s.", lower[0]),
            (true, true) => format!("So {}’s loss is higher than {baseline}’s.", higher[0]),
        };
    }
    let mut remaining = Vec::new();
    if !lower.is_empty() {
        remaining.push(format!("lower than {baseline}: {}", listed(&lower)));
    }
    if !higher.is_empty() {
        remaining.push(format!("higher than {baseline}: {}", listed(&higher)));
    }
    let counted = format!("the correction for {} comparisons", tested.len());
    match (remaining.is_empty(), open.is_empty()) {
        (true, _) => format!("After {counted}, none can be told from chance."),
        (false, true) => format!("After {counted}, {}.", remaining.join("; ")),
        (false, false) => format!(
            "After {counted}, {}; may be chance: {}.",
            remaining.join("; "),
            listed(&open)
        ),
    }
}

/// How small a difference the study would have found.
fn found(sight: Sight) -> Option<String> {
    Some(format!(
        "With {} seeds, a true difference of {} nats would be found with probability 80%, one of \
         {} nats with probability 50%.",
        sight.pairs,
        with_decimals(sight.finds(LIKELY)?, 4),
        with_decimals(sight.finds(0.5)?, 4)
    ))
}

/// How many seeds would settle an open difference.
fn needed(comparison: &Comparison<'_>, sight: Sight) -> Option<String> {
    if comparison.finding()? != Finding::Open {
        return None;
    }
    let difference = comparison.mean()?;
    let seeds = sight.pairs_to_find(difference, LIKELY)?;
    (seeds > sight.pairs).then(|| {
        format!(
            "If the true difference is the one measured, {} seeds would find it with probability \
             80%.",
            grouped(seeds as f64)
        )
    })
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] => format!("{} and {last}", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::synthetic;

    /// A study whose variants' final losses differ from MHA's by `differences`, seed by seed.
    fn study(differences: &[(&str, &[f64])]) -> StudyResults {
        let seeds = differences[0].1.len();
        let mut study = synthetic::study(seeds as u64);
        study
            .variants
            .retain(|v| v.name == "mha" || differences.iter().any(|(name, _)| v.name == *name));
        for variant in &mut study.variants {
            let own = differences.iter().find(|(name, _)| variant.name == *name);
            for (seed, run) in variant.runs.iter_mut().enumerate() {
                let last = run.evaluations.last_mut().unwrap();
                last.loss = 2.0 + 0.5 * seed as f64 + own.map_or(0.0, |(_, d)| d[seed]);
            }
        }
        study
    }

    fn said(study: &StudyResults, best: &str) -> String {
        let best = study.variants.iter().find(|v| v.name == best).unwrap();
        certainty(study, best).join(" ")
    }

    #[test]
    fn one_seed_proves_nothing() {
        let text = said(&study(&[("sas", &[-0.5]), ("gqa", &[0.1])]), "sas");
        assert!(text.contains("single seed this proves nothing"), "{text}");
        assert!(!text.contains("interval"), "{text}");
    }

    #[test]
    fn a_clear_difference_remains_and_an_unclear_one_does_not() {
        let study = study(&[
            ("gqa", &[0.02, -0.03, 0.01, -0.01]),
            ("sas", &[-0.40, -0.41, -0.39, -0.40]),
            ("mqa", &[0.30, 0.31, 0.29, 0.30]),
        ]);
        let text = said(&study, "sas");
        assert!(text.contains("Over 4 seeds"), "{text}");
        assert!(
            text.contains("SAS’s loss differs by -0.4000 nats (95% interval -0.4130 to -0.3870;"),
            "{text}"
        );
        assert!(
            text.contains("lower than MHA: SAS; higher than MHA: MQA; may be chance: GQA."),
            "{text}"
        );
        assert!(
            text.contains("With 4 seeds, a true difference of 0.0"),
            "{text}"
        );
        assert!(!text.contains("If the true difference"), "{text}");
    }

    #[test]
    fn an_open_difference_says_what_would_settle_it() {
        let text = said(&study(&[("sas", &[-0.1, 0.1, -0.2])]), "sas");
        assert!(text.contains("This may be chance."), "{text}");
        assert!(
            text.contains("If the true difference is the one measured,"),
            "{text}"
        );
    }

    #[test]
    fn a_winning_baseline_has_the_others_told() {
        let text = said(
            &study(&[("gqa", &[0.30, 0.31, 0.29]), ("sas", &[0.1, -0.05, 0.1])]),
            "mha",
        );
        assert!(!text.contains("interval"), "{text}");
        assert!(
            text.contains("higher than MHA: GQA; may be chance: SAS."),
            "{text}"
        );
    }

    #[test]
    fn lists_read_as_english() {
        let names = |n: usize| {
            ["a", "b", "c"][..n]
                .iter()
                .map(|s| s.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(listed(&names(1)), "a");
        assert_eq!(listed(&names(2)), "a and b");
        assert_eq!(listed(&names(3)), "a, b and c");
    }
}
