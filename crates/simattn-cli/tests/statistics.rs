//! What the statistics of a study say about made-up studies of which the truth is known.

use simattn_cli::machine;
use simattn_cli::study::results;
use simattn_cli::study::results::StudyResults;
use simattn_cli::study::statistics::{Comparison, Comparisons, Finding};
use simattn_random::{Stream, stream};

#[allow(dead_code)]
#[path = "../src/study/synthetic.rs"]
mod synthetic;

/// How far a run's final loss varies with its seed, for all variants alike, and by itself.
const SEEDS: f64 = 0.05;
const NOISE: f64 = 0.01;

/// Six variants against MHA over `seeds` seeds; the first of them differs by `planted` nats.
fn drawn(chance: &mut Stream, template: &StudyResults, planted: f64) -> StudyResults {
    let mut study = template.clone();
    let seeds = study.schedule.seeds.len();
    let lucky: Vec<f64> = (0..seeds).map(|_| SEEDS * chance.normal()).collect();
    for (index, variant) in study.variants.iter_mut().enumerate() {
        let difference = if index == 1 { planted } else { 0.0 };
        for (run, lucky) in variant.runs.iter_mut().zip(&lucky) {
            run.train.clear();
            run.evaluations.drain(..run.evaluations.len() - 1);
            run.evaluations[0].loss = 5.0 + difference + lucky + NOISE * chance.normal();
        }
    }
    study
}

/// Made-up results with `seeds` seeds, without the long course of their training.
fn template(seeds: u64) -> StudyResults {
    drawn(&mut stream(0, "template"), &synthetic::study(seeds), 0.0)
}

fn is_found(study: &StudyResults) -> bool {
    Comparisons::of(study).all[0].finding() == Some(Finding::Lower)
}

#[test]
fn studies_without_a_difference_seldom_claim_one() {
    let (mut chance, template) = (stream(17, "false alarms"), template(3));
    let (mut alarms, mut uncorrected) = (0, 0);
    for _ in 0..200 {
        let study = drawn(&mut chance, &template, 0.0);
        let comparisons = Comparisons::of(&study);
        assert_eq!(comparisons.tests().count(), 6);
        let claims = |comparison: &Comparison<'_>| {
            let finding = comparison.finding();
            finding.is_some_and(|finding| finding != Finding::Open)
        };
        alarms += usize::from(comparisons.all.iter().any(claims));
        uncorrected += usize::from(comparisons.tests().any(|test| test.p <= 0.05));
    }
    // 5% of 200 are 10; more than 18 has a chance of about 1 in 200, and so has fewer than 1.
    assert!((1..=18).contains(&alarms), "{alarms} false alarms");
    // It is the correction that keeps them few.
    assert!(uncorrected > 25, "{uncorrected} without the correction");
}

#[test]
fn a_planted_difference_is_found_as_often_as_was_printed() {
    let studies = 4_000;
    for seeds in [3, 5] {
        let (mut chance, template) = (stream(seeds, "power"), template(seeds));
        for printed in [0.8, 0.5] {
            // What is printed is a multiple of the deviation that a study measured, whose mean
            // square is the true one.
            let mut squares = 0.0;
            let mut multiple = 0.0;
            for index in 0..studies {
                let study = drawn(&mut chance, &template, 0.0);
                let sight = Comparisons::of(&study).sight().expect("six tests");
                squares += sight.deviation.powi(2);
                if index == 0 {
                    multiple = sight.finds(printed).expect("a difference") / sight.deviation;
                }
            }
            let difference = multiple * (squares / f64::from(studies)).sqrt();
            let found = (0..studies)
                .filter(|_| is_found(&drawn(&mut chance, &template, -difference)))
                .count();
            let share = found as f64 / f64::from(studies);
            // Three standard deviations of the count, and what the studies leave open about the
            // deviation itself; other variants' false alarms let a few more be found.
            let tolerance = 3.0 * (printed * (1.0 - printed) / f64::from(studies)).sqrt() + 0.01;
            assert!(
                (share - printed).abs() < tolerance,
                "{seeds} seeds: a difference of {difference} was found in {share}, printed {printed}"
            );
        }
    }
}

#[test]
fn pairing_finds_what_seeds_hide() {
    let (mut chance, template) = (stream(5, "pairing"), template(5));
    let (mut paired, mut shuffled) = (0, 0);
    for _ in 0..100 {
        let mut study = drawn(&mut chance, &template, -0.06);
        paired += usize::from(is_found(&study));
        // The same losses under seeds that do not belong together.
        for (index, run) in study.variants[0].runs.iter_mut().enumerate() {
            run.seed = (index as u64 + 1) % 5 + 1;
        }
        shuffled += usize::from(is_found(&study));
    }
    assert!(
        paired > 90 && shuffled < 30,
        "{paired} paired, {shuffled} shuffled"
    );
}
