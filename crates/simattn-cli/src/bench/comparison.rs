//! How far what was computed is from the truth, tensor by tensor.

use simattn_kernels::Kernels;

use super::error::{BenchError, Disagreement};

/// A tensor's name and its values.
pub(super) type Named = (String, Vec<f64>);

/// The errors of one case, tensor by tensor.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    /// What was compared.
    pub(super) case: String,
    /// Of each tensor.
    pub(super) errors: Vec<(String, f64)>,
}

impl Comparison {
    /// `scale` is that of a gradient where the truth is zero and has none of its own.
    pub(super) fn new(case: String, got: &[Named], truth: &[Named], scale: f64) -> Self {
        let errors = got.iter().zip(truth).map(|((name, got), (_, truth_here))| {
            // The gradient of a bias may vanish, as where it shifts all scores of a query alike;
            // what rounding leaves of it is judged beside the gradient of its weight.
            let weight = name
                .strip_suffix(".bias")
                .map(|layer| format!("{layer}.weight"))
                .and_then(|weight| truth.iter().find(|(name, _)| *name == weight));
            let scale = scale.max(weight.map_or(0.0, |(_, values)| rms(values)));
            (name.clone(), relative_error(got, truth_here, scale))
        });
        Self {
            case,
            errors: errors.collect(),
        }
    }

    /// The worst disagreement above `limit`.
    pub(super) fn into_result(self, kernels: Kernels, limit: f64) -> Result<(), BenchError> {
        // NaN is the worst of all.
        let worst = self.errors.into_iter().max_by(|(_, a), (_, b)| {
            let rank = |error: &f64| {
                if error.is_nan() {
                    f64::INFINITY
                } else {
                    *error
                }
            };
            rank(a).total_cmp(&rank(b))
        });
        match worst {
            Some((tensor, error)) if error.is_nan() || error > limit => Err(Disagreement {
                kernels: match kernels {
                    Kernels::Fast => "fast",
                    Kernels::Reference => "reference",
                },
                case: self.case,
                tensor,
                error,
                limit,
            }
            .into()),
            _ => Ok(()),
        }
    }
}

/// The root mean square.
pub(super) fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|x| x * x).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

fn relative_error(got: &[f64], truth: &[f64], scale: f64) -> f64 {
    if got.len() != truth.len() {
        return f64::NAN;
    }
    let difference: Vec<f64> = got.iter().zip(truth).map(|(a, b)| a - b).collect();
    let (difference, size) = (rms(&difference), rms(truth));
    if difference == 0.0 {
        return 0.0;
    }
    difference / if size > 1e-12 * scale { size } else { scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f64 = 1e-5;

    fn comparison(errors: &[(&str, f64)]) -> Comparison {
        Comparison {
            case: "a case".into(),
            errors: errors
                .iter()
                .map(|&(name, error)| (name.to_owned(), error))
                .collect(),
        }
    }

    #[test]
    fn a_wrong_kernel_is_named_with_its_worst_tensor() {
        let wrong = comparison(&[("x", 1e-7), ("q.weight", 3e-3), ("k.weight", 2e-5)]);
        let error = wrong.into_result(Kernels::Fast, TOLERANCE).unwrap_err();
        assert!(!error.is_input());
        assert_eq!(
            error.to_string(),
            "the fast kernels are wrong and are not timed: a case: relative error 3.0e-3 in q.weight, at most \
             1e-5 is allowed"
        );
    }

    #[test]
    fn nothing_that_is_not_a_number_passes() {
        let wrong = comparison(&[("x", 1e-7), ("q.weight", f64::NAN)]);
        let error = wrong.into_result(Kernels::Fast, TOLERANCE).unwrap_err();
        assert!(error.to_string().contains("q.weight"), "{error}");
        let fine = comparison(&[("x", 1e-7), ("q.weight", 9e-6)]);
        assert!(fine.into_result(Kernels::Fast, TOLERANCE).is_ok());
    }

    #[test]
    fn a_missing_gradient_is_an_error_and_a_vanishing_one_has_a_scale() {
        assert!(relative_error(&[], &[1.0], 1.0).is_nan());
        assert_eq!(relative_error(&[0.0], &[0.0], 0.0), 0.0);
        assert_eq!(relative_error(&[1e-6], &[0.0], 2.0), 5e-7);
        assert_eq!(relative_error(&[1.5], &[1.0], 100.0), 0.5);
        let named = |bias: f64| {
            vec![
                ("the gradient of k.weight".to_owned(), vec![3.0, -3.0]),
                ("the gradient of k.bias".to_owned(), vec![bias]),
            ]
        };
        let compared = Comparison::new("".into(), &named(3e-6), &named(0.0), 0.0);
        assert!((compared.errors[1].1 - 1e-6).abs() < 1e-12, "{compared:?}");
    }
}
