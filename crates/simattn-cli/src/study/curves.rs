//! Curves over training: a variant's runs made into one line, with how far the runs lie apart.

use super::figures::Progress;
use super::results::{Estimate, RunResults, StudyResults, TrainPoint, VariantResults};
use super::scale::between;

/// A place on a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CurvePoint {
    /// How far training was.
    pub x: f64,
    /// The mean over runs.
    pub y: f64,
    /// The mean's standard error, where there are several runs.
    pub error: Option<f64>,
}

/// Points that a smoothed training curve has at most.
const SMOOTHED_POINTS: u64 = 100;

/// The validation loss of `variant` (nats per token) against `progress`.
///
/// With several finished runs it is their mean. Runs evaluated at the same steps are averaged
/// evaluation by evaluation (their seconds too); others at every place where one of them was
/// evaluated and all of them had come, with straight lines between evaluations. A variant without a
/// finished run shows the first run that measured something. Against seconds only runs on the
/// study's machine are shown.
pub(crate) fn validation(variant: &VariantResults, progress: Progress) -> Vec<CurvePoint> {
    let measured = |run: &RunResults| -> Vec<(u64, f64, f64)> {
        let points = run
            .evaluations
            .iter()
            .map(|point| (point.step, point.at(progress), point.loss));
        points
            .filter(|(_, x, y)| x.is_finite() && y.is_finite())
            .collect()
    };
    mean_of(
        shown_runs(variant)
            .into_iter()
            .filter(|run| progress != Progress::Seconds || run.is_timed_here())
            .map(measured)
            .filter(|points| !points.is_empty())
            .collect(),
    )
}

/// A smoothed training curve of `variant` against steps: the mean of `figure` over every `window`
/// consecutive steps, at the last of them, and over runs as in [`validation`].
pub(crate) fn training(
    variant: &VariantResults,
    window: u64,
    figure: impl Fn(&TrainPoint) -> f64,
) -> Vec<CurvePoint> {
    let window = window.max(1);
    let smoothed = |run: &RunResults| -> Vec<(u64, f64, f64)> {
        let mut points = Vec::new();
        for steps in run
            .train
            .chunk_by(|a, b| a.step.saturating_sub(1) / window == b.step.saturating_sub(1) / window)
        {
            let values: Vec<f64> = steps
                .iter()
                .map(&figure)
                .filter(|value| value.is_finite())
                .collect();
            if let (Some(mean), Some(last)) = (Estimate::of(&values), steps.last()) {
                points.push((last.step, last.step as f64, mean.mean));
            }
        }
        points
    };
    mean_of(
        shown_runs(variant)
            .into_iter()
            .map(smoothed)
            .filter(|points| !points.is_empty())
            .collect(),
    )
}

/// Over how many steps the training curves of `study` are smoothed.
pub(crate) fn smoothing_window(study: &StudyResults) -> u64 {
    let runs = study.variants.iter().flat_map(|variant| &variant.runs);
    let steps = runs
        .filter_map(|run| run.train.last())
        .map(|point| point.step)
        .max()
        .unwrap_or(1);
    steps.div_ceil(SMOOTHED_POINTS).max(1)
}

fn shown_runs(variant: &VariantResults) -> Vec<&RunResults> {
    let finished: Vec<&RunResults> = variant.finished_runs().collect();
    if finished.is_empty() {
        variant
            .runs
            .iter()
            .find(|run| !run.evaluations.is_empty())
            .into_iter()
            .collect()
    } else {
        finished
    }
}

/// The mean of runs given as (step, x, y) points, none of them empty.
fn mean_of(runs: Vec<Vec<(u64, f64, f64)>>) -> Vec<CurvePoint> {
    let Some(first) = runs.first() else {
        return Vec::new();
    };
    let steps = |run: &[(u64, f64, f64)]| run.iter().map(|point| point.0).collect::<Vec<_>>();
    let same_steps = runs.iter().all(|run| steps(run) == steps(first));
    let point = |x: f64, heights: &[f64]| {
        let mean = Estimate::of(heights)?;
        Some(CurvePoint {
            x,
            y: mean.mean,
            error: mean.standard_error,
        })
    };
    if same_steps {
        return (0..first.len())
            .filter_map(|index| {
                let x = runs.iter().map(|run| run[index].1).sum::<f64>() / runs.len() as f64;
                point(x, &runs.iter().map(|run| run[index].2).collect::<Vec<_>>())
            })
            .collect();
    }
    let start = runs
        .iter()
        .map(|run| run[0].1)
        .fold(f64::NEG_INFINITY, f64::max);
    let end = runs
        .iter()
        .map(|run| run[run.len() - 1].1)
        .fold(f64::INFINITY, f64::min);
    let mut places: Vec<f64> = runs
        .iter()
        .flatten()
        .map(|point| point.1)
        .filter(|x| (start..=end).contains(x))
        .collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    places
        .into_iter()
        .filter_map(|x| {
            point(
                x,
                &runs.iter().map(|run| height(run, x)).collect::<Vec<_>>(),
            )
        })
        .collect()
}

/// A run's height at `x`, which lies between its ends.
fn height(run: &[(u64, f64, f64)], x: f64) -> f64 {
    let after = run.partition_point(|point| point.1 < x).min(run.len() - 1);
    let before = after.saturating_sub(1);
    between(
        (run[before].1, run[before].2),
        (run[after].1, run[after].2),
        x,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::results::{EvalPoint, RunStatus};
    use crate::study::synthetic;

    fn variant(runs: &[&[(u64, f64, f64)]]) -> VariantResults {
        let run = |points: &&[(u64, f64, f64)]| RunResults {
            evaluations: points
                .iter()
                .map(|&(step, seconds, loss)| EvalPoint {
                    step,
                    tokens: step,
                    seconds,
                    flops: step as f64,
                    loss,
                })
                .collect(),
            ..synthetic::empty_run()
        };
        VariantResults {
            runs: runs.iter().map(run).collect(),
            ..synthetic::study(1).variants.remove(0)
        }
    }

    #[test]
    fn runs_evaluated_at_the_same_steps_are_averaged_one_by_one() {
        let variant = variant(&[
            &[(0, 0.0, 8.0), (10, 4.0, 3.0)],
            &[(0, 0.0, 6.0), (10, 6.0, 1.0)],
        ]);
        let curve = validation(&variant, Progress::Seconds);
        assert_eq!(
            curve[0],
            CurvePoint {
                x: 0.0,
                y: 7.0,
                error: Some(1.0)
            }
        );
        assert_eq!(
            curve[1],
            CurvePoint {
                x: 5.0,
                y: 2.0,
                error: Some(1.0)
            }
        );
    }

    #[test]
    fn others_are_averaged_where_all_of_them_had_come() {
        let variant = variant(&[
            &[(0, 0.0, 8.0), (10, 4.0, 4.0)],
            &[(0, 0.0, 6.0), (5, 2.0, 4.0), (20, 6.0, 2.0)],
        ]);
        let curve = validation(&variant, Progress::Seconds);
        assert_eq!(
            curve
                .iter()
                .map(|point| (point.x, point.y))
                .collect::<Vec<_>>(),
            [(0.0, 7.0), (2.0, 5.0), (4.0, 3.5)]
        );
    }

    #[test]
    fn a_failed_run_is_shown_only_where_there_is_no_other() {
        let mut variant = variant(&[
            &[(0, 0.0, 8.0), (10, 4.0, 4.0)],
            &[(0, 0.0, 6.0), (10, 2.0, 2.0)],
        ]);
        variant.runs[0].status = RunStatus::Failed {
            reason: "no".to_owned(),
        };
        assert_eq!(validation(&variant, Progress::Steps)[1].y, 2.0);
        variant.runs[1].status = RunStatus::Failed {
            reason: "no".to_owned(),
        };
        assert_eq!(validation(&variant, Progress::Steps)[1].y, 4.0);
        variant.runs[0].evaluations[1].loss = f64::NAN;
        assert_eq!(validation(&variant, Progress::Steps).len(), 1);
        variant.runs.clear();
        assert!(validation(&variant, Progress::Steps).is_empty());
    }

    #[test]
    fn training_is_the_mean_over_a_window() {
        let mut study = synthetic::study(1);
        let run = &mut study.variants[0].runs[0];
        run.train = (1..=7)
            .map(|step| TrainPoint {
                step,
                loss: step as f64,
                learning_rate: 0.0,
                gradient_norm: f64::NAN,
                seconds: 0.0,
            })
            .collect();
        let curve = training(&study.variants[0], 3, |point| point.loss);
        assert_eq!(
            curve
                .iter()
                .map(|point| (point.x, point.y))
                .collect::<Vec<_>>(),
            [(3.0, 2.0), (6.0, 5.0), (7.0, 7.0)]
        );
        assert!(training(&study.variants[0], 3, |point| point.gradient_norm).is_empty());
        assert_eq!(smoothing_window(&study), 20);
    }
}
