//! The figures that readers compare, computed from what was measured.

use super::results::{
    CorpusFacts, Estimate, EvalPoint, RunResults, RunStatus, StudyResults, VariantResults,
};

/// Where on its way a run is asked about: the horizontal axis of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Optimiser steps.
    Steps,
    /// Target tokens trained on.
    Tokens,
    /// Training FLOPs.
    Flops,
    /// Training seconds, without evaluation.
    Seconds,
}

impl EvalPoint {
    /// How far training was at this evaluation.
    pub(crate) fn at(&self, progress: Progress) -> f64 {
        match progress {
            Progress::Steps => self.step as f64,
            Progress::Tokens => self.tokens as f64,
            Progress::Flops => self.flops,
            Progress::Seconds => self.seconds,
        }
    }
}

impl RunResults {
    /// Whether it ran on the study's machine, so that its times can be compared with the others'.
    pub(crate) fn is_timed_here(&self) -> bool {
        self.machine.is_none()
    }

    /// Whether the run trained to its budget and its last validation loss is a number.
    pub(crate) fn finished(&self) -> bool {
        self.final_loss().is_some()
    }

    /// The last validation loss in nats per token; None where the run failed or diverged.
    pub(crate) fn final_loss(&self) -> Option<f64> {
        match self.status {
            RunStatus::Finished => self
                .evaluations
                .last()
                .map(|point| point.loss)
                .filter(|loss| loss.is_finite()),
            RunStatus::Failed { .. } => None,
        }
    }

    /// Why the run has no final loss; None where it has one.
    pub(crate) fn failure(&self) -> Option<String> {
        match &self.status {
            RunStatus::Failed { reason } => Some(reason.clone()),
            RunStatus::Finished if self.evaluations.is_empty() => {
                Some("was never evaluated".to_owned())
            }
            RunStatus::Finished if !self.finished() => {
                Some("its last validation loss is not a number".to_owned())
            }
            RunStatus::Finished => None,
        }
    }

    /// How far the run had come when its validation loss first fell to `loss` (nats per token).
    ///
    /// Between the last evaluation above `loss` and the first at or below it, the loss is taken to fall on a
    /// straight line. A run whose first evaluation is low enough gets that evaluation's place; one that never gets
    /// there gets None. Evaluations that are not finite are passed over.
    pub(crate) fn progress_to(&self, loss: f64, progress: Progress) -> Option<f64> {
        let mut above: Option<(f64, f64)> = None;
        for point in &self.evaluations {
            let (at, measured) = (point.at(progress), point.loss);
            if !at.is_finite() || !measured.is_finite() {
                continue;
            }
            if measured <= loss {
                return Some(match above {
                    Some((before, higher)) => {
                        before + (at - before) * (higher - loss) / (higher - measured)
                    }
                    None => at,
                });
            }
            above = Some((at, measured));
        }
        None
    }
}

/// How the runs of a variant fared on their way to a loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reach {
    /// Runs that got there.
    pub reached: usize,
    /// Runs that trained to their budget, as the baseline's run of the same seed did.
    pub runs: usize,
    /// The mean place at which they did; None unless every run got there.
    pub at: Option<Estimate>,
}

impl VariantResults {
    /// The runs that trained to their budget; every mean below is over these.
    pub(crate) fn finished_runs(&self) -> impl Iterator<Item = &RunResults> {
        self.runs.iter().filter(|run| run.finished())
    }

    /// The mean of `figure` over the finished runs.
    pub(crate) fn mean(&self, figure: impl Fn(&RunResults) -> f64) -> Option<Estimate> {
        Estimate::of(&self.finished_runs().map(figure).collect::<Vec<_>>())
    }

    /// The final validation loss in nats per token.
    pub(crate) fn final_loss(&self) -> Option<Estimate> {
        self.mean(|run| run.final_loss().unwrap_or(f64::NAN))
    }

    /// The final validation perplexity, exp(loss): the mean of every run's own.
    pub(crate) fn perplexity(&self) -> Option<Estimate> {
        self.mean(|run| run.final_loss().unwrap_or(f64::NAN).exp())
    }

    /// The final validation loss in bits per byte of text: loss × tokens ÷ bytes ÷ ln 2.
    pub(crate) fn bits_per_byte(&self, corpus: &CorpusFacts) -> Option<Estimate> {
        let per_nat = corpus.validation_tokens as f64
            / corpus.validation_bytes as f64
            / std::f64::consts::LN_2;
        self.mean(|run| run.final_loss().unwrap_or(f64::NAN) * per_nat)
    }

    /// Training speed in tokens per second, of the runs on the study's machine.
    pub(crate) fn tokens_per_second(&self) -> Option<Estimate> {
        let here = self.finished_runs().filter(|run| run.is_timed_here());
        Estimate::of(&here.map(|run| run.tokens_per_second).collect::<Vec<_>>())
    }

    /// The most memory that any run on the study's machine held, in bytes.
    pub(crate) fn peak_memory_bytes(&self) -> Option<u64> {
        let here = self.runs.iter().filter(|run| run.is_timed_here());
        here.filter_map(|run| run.peak_memory_bytes).max()
    }
}

impl StudyResults {
    /// The variant that the others are measured against, if it is among them.
    pub(crate) fn baseline_variant(&self) -> Option<&VariantResults> {
        self.variants
            .iter()
            .find(|variant| variant.name == self.baseline)
    }

    /// The name that readers see for the baseline.
    pub(crate) fn baseline_label(&self) -> &str {
        self.baseline_variant()
            .map_or(&self.baseline, |variant| &variant.label)
    }

    /// The finished runs of the baseline and of `variant`, by pairs of the same seed.
    pub(crate) fn pairs<'a>(
        &'a self,
        variant: &'a VariantResults,
    ) -> impl Iterator<Item = (&'a RunResults, &'a RunResults)> {
        let baseline = self.baseline_variant().into_iter();
        baseline
            .flat_map(VariantResults::finished_runs)
            .filter_map(|other| {
                let own = variant.finished_runs().find(|run| run.seed == other.seed)?;
                Some((other, own))
            })
    }

    /// How far the runs of `variant` had come when they first fell to the loss that the baseline's
    /// run of the same seed ended with (see [`RunResults::progress_to`]); None without such a loss.
    /// Seconds are those of the study's machine; runs made elsewhere have none.
    pub(crate) fn reach_of_baseline(
        &self,
        variant: &VariantResults,
        progress: Progress,
    ) -> Option<Reach> {
        self.baseline_variant()?.final_loss()?;
        let comparable = |run: &RunResults| progress != Progress::Seconds || run.is_timed_here();
        let pairs = || {
            let pairs = self.pairs(variant);
            pairs.filter(|(other, own)| comparable(other) && comparable(own))
        };
        let runs = pairs().count();
        let places: Vec<f64> = pairs()
            .filter_map(|(other, own)| own.progress_to(other.final_loss()?, progress))
            .collect();
        Some(Reach {
            reached: places.len(),
            runs,
            at: Estimate::of(&places).filter(|_| places.len() == runs),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::synthetic;

    fn run(losses: &[(u64, f64)]) -> RunResults {
        let evaluations = losses.iter().map(|&(step, loss)| EvalPoint {
            step,
            tokens: step * 10,
            seconds: step as f64 / 2.0,
            flops: step as f64 * 1e9,
            loss,
        });
        RunResults {
            evaluations: evaluations.collect(),
            ..synthetic::empty_run()
        }
    }

    #[test]
    fn progress_is_interpolated_between_evaluations() {
        let run = run(&[(0, 8.0), (100, 4.0), (200, 2.0)]);
        assert_eq!(run.progress_to(3.0, Progress::Steps), Some(150.0));
        assert_eq!(run.progress_to(3.5, Progress::Steps), Some(125.0));
        assert_eq!(run.progress_to(3.0, Progress::Tokens), Some(1500.0));
        assert_eq!(run.progress_to(3.0, Progress::Seconds), Some(75.0));
        assert_eq!(run.progress_to(3.0, Progress::Flops), Some(150e9));
        assert_eq!(run.progress_to(2.0, Progress::Steps), Some(200.0));
        assert_eq!(run.progress_to(9.0, Progress::Steps), Some(0.0));
        assert_eq!(run.progress_to(1.9, Progress::Steps), None);
    }

    #[test]
    fn the_first_crossing_counts_and_what_is_not_a_number_is_passed_over() {
        let run = run(&[(0, 8.0), (50, f64::NAN), (100, 4.0), (200, 6.0), (300, 2.0)]);
        assert_eq!(run.progress_to(6.0, Progress::Steps), Some(50.0));
        assert_eq!(run.progress_to(f64::NAN, Progress::Steps), None);
    }

    #[test]
    fn figures_of_two_runs_are_those_worked_out_by_hand() {
        let mut study = synthetic::study(1);
        study.corpus.validation_tokens = 1_000;
        study.corpus.validation_bytes = 4_000;
        study.baseline = "a".to_owned();
        let variant = |name: &str, mut runs: Vec<RunResults>| VariantResults {
            name: name.to_owned(),
            runs: {
                runs[1].seed = 2;
                runs
            },
            ..study.variants[0].clone()
        };
        let baseline = variant(
            "a",
            vec![run(&[(0, 6.0), (100, 3.0)]), run(&[(0, 6.0), (100, 1.0)])],
        );
        let other = variant(
            "b",
            vec![run(&[(0, 6.0), (100, 1.0)]), run(&[(0, 4.0), (100, 0.0)])],
        );
        let half = variant(
            "c",
            vec![run(&[(0, 6.0), (100, 1.0)]), run(&[(0, 4.0), (100, 3.0)])],
        );
        study.variants = vec![baseline, other, half];

        let [a, b, c] = &study.variants[..] else {
            unreachable!()
        };
        let loss = a.final_loss().unwrap();
        assert_eq!(
            (loss.mean, loss.standard_error, loss.runs),
            (2.0, Some(1.0), 2)
        );
        let perplexity = a.perplexity().unwrap();
        assert!((perplexity.mean - (3f64.exp() + 1f64.exp()) / 2.0).abs() < 1e-12);
        // Two nats a token, a quarter token a byte: half a nat a byte.
        assert!((a.bits_per_byte(&study.corpus).unwrap().mean - 0.5 / 2f64.ln()).abs() < 1e-12);

        // Seed 1: 6 → 1 crosses the baseline's 3 at 60 steps; seed 2: 4 → 0 its 1 at 75.
        let reach = study.reach_of_baseline(b, Progress::Steps).unwrap();
        assert_eq!(
            reach.at.unwrap(),
            Estimate {
                mean: 67.5,
                standard_error: Some(7.5),
                runs: 2
            }
        );
        let reach = study.reach_of_baseline(c, Progress::Steps).unwrap();
        assert_eq!((reach.reached, reach.runs, reach.at), (1, 2, None));
        let reach = study.reach_of_baseline(a, Progress::Steps).unwrap();
        assert_eq!(reach.at.unwrap().mean, 100.0);
    }

    #[test]
    fn runs_made_elsewhere_have_losses_and_no_times() {
        let mut study = synthetic::study(2);
        let whole = study.clone();
        for variant in &mut study.variants {
            variant.runs[1].machine = Some(whole.machine.clone());
            variant.runs[1].tokens_per_second = 1e9;
            variant.runs[1].peak_memory_bytes = Some(u64::MAX);
        }
        let [mha, .., sas] = &study.variants[..] else {
            unreachable!()
        };
        assert_eq!(sas.final_loss(), whole.variants[6].final_loss());
        assert_eq!(sas.tokens_per_second().unwrap().runs, 1);
        assert!(sas.tokens_per_second().unwrap().mean < 1e6);
        assert!(sas.peak_memory_bytes().unwrap() < 1 << 40);
        let reach = |progress| study.reach_of_baseline(sas, progress).unwrap();
        assert_eq!(reach(Progress::Steps).runs, 2);
        assert_eq!(reach(Progress::Seconds).runs, 1);
        let mut elsewhere = study.clone();
        elsewhere.variants[6].runs[0].machine = Some(whole.machine.clone());
        let sas = &elsewhere.variants[6];
        assert_eq!(sas.tokens_per_second(), None);
        let reach = elsewhere.reach_of_baseline(sas, Progress::Seconds).unwrap();
        assert_eq!((reach.runs, reach.at), (0, None));
        assert!(mha.tokens_per_second().is_some());
    }

    #[test]
    fn a_failed_run_has_a_reason_and_no_loss() {
        let mut failed = run(&[(0, 8.0), (100, 4.0)]);
        failed.status = RunStatus::Failed {
            reason: "out of memory".to_owned(),
        };
        assert_eq!(
            (failed.final_loss(), failed.failure().as_deref()),
            (None, Some("out of memory"))
        );
        let diverged = run(&[(0, 8.0), (100, f64::NAN)]);
        assert!(diverged.final_loss().is_none() && diverged.failure().is_some());
        assert!(run(&[]).failure().is_some());

        // The others' mean leaves it out.
        let mut variant = synthetic::study(1).variants.remove(0);
        variant.runs = vec![failed, run(&[(0, 8.0), (100, 4.0)])];
        let loss = variant.final_loss().unwrap();
        assert_eq!((loss.mean, loss.runs), (4.0, 1));
    }

    #[test]
    fn a_corpus_without_bytes_has_no_bits_per_byte() {
        let mut study = synthetic::study(1);
        study.corpus.validation_bytes = 0;
        assert_eq!(study.variants[0].bits_per_byte(&study.corpus), None);
    }
}
