//! Times of repeated work.

use std::hint::black_box;
use std::time::Instant;

use simattn_kernels::cpu::linear::{LinearShape, input_gradient};

use super::workload::normals;

/// How often a piece of work runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repetitions {
    /// Runs before any is timed.
    pub warmup: usize,
    /// Timed runs, at least one.
    pub iterations: usize,
}

/// The seconds of each timed run, ascending; never empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    /// Times in any order; `None` without one.
    pub(crate) fn new(mut seconds: Vec<f64>) -> Option<Self> {
        seconds.sort_by(f64::total_cmp);
        (!seconds.is_empty()).then_some(Self(seconds))
    }

    /// The middle one, or the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) {
            (self.0[middle - 1] + self.0[middle]) / 2.0
        } else {
            self.0[middle]
        }
    }

    /// The shortest.
    pub(crate) fn least(&self) -> f64 {
        self.0[0]
    }

    /// The longest.
    pub(crate) fn most(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

/// Runs `work` and takes the time of each run after the warm-up.
///
/// # Errors
/// The first that `work` gives.
pub(crate) fn measure<E>(
    repetitions: Repetitions,
    mut work: impl FnMut() -> Result<(), E>,
) -> Result<Times, E> {
    for _ in 0..repetitions.warmup {
        work()?;
    }
    let mut seconds = Vec::new();
    for _ in 0..repetitions.iterations.max(1) {
        let start = Instant::now();
        work()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Times(seconds))
}

/// Rows, inner size and columns of the matrix product that rates are compared with.
const PRODUCT: [usize; 3] = [2048, 768, 3072];

/// Operations per second of a float32 matrix product 2048 × 768 × 3072 on all threads, into memory
/// that is there already: what this machine does at best, at this moment.
pub(crate) fn product_rate() -> f64 {
    let [rows, inner, columns] = PRODUCT;
    let (lhs, rhs) = (
        normals("bench.product.lhs", rows * inner),
        normals("bench.product.rhs", inner * columns),
    );
    let mut out = Box::<[f32]>::new_uninit_slice(rows * columns);
    // The gradient of a linear map's input is a plain product of two row-major matrices.
    let shape = LinearShape {
        rows,
        inputs: columns,
        outputs: inner,
    };
    let repetitions = Repetitions {
        warmup: 1,
        iterations: 5,
    };
    let times = measure(repetitions, || {
        input_gradient(shape, &lhs, &rhs, &mut out);
        black_box(&out);
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(times) = times;
    // The shortest run: a slow one beside the machine's other work would flatter what is compared
    // with it.
    2.0 * (rows * inner * columns) as f64 / times.least()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        let odd = Times::new(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.least(), odd.median(), odd.most()), (1.0, 2.0, 3.0));
        let even = Times::new(vec![4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(even.median(), 2.5);
        assert_eq!(Times::new(Vec::new()), None);
    }

    #[test]
    fn warm_up_runs_are_not_timed_and_errors_end_the_measurement() {
        let repetitions = Repetitions {
            warmup: 2,
            iterations: 3,
        };
        let mut runs = 0;
        let times = measure(repetitions, || {
            runs += 1;
            Ok::<(), String>(())
        });
        assert_eq!((runs, times.unwrap().0.len()), (5, 3));
        let mut runs = 0;
        let failed = measure(repetitions, || {
            runs += 1;
            Err("broken")
        });
        assert_eq!((failed, runs), (Err("broken"), 1));
    }
}
