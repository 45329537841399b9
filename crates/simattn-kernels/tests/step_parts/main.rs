//! The CPU kernels around attention against plain float64 loops: values, every gradient, odd
//! shapes, outputs that held NaN before, any number of threads, every instruction set.

mod activation;
mod adamw;
mod embedding;
mod linear;
mod loss;
mod norm;

use simattn_kernels::cpu::output::{Output, overwriting};
use simattn_kernels::cpu::simd::{ENVIRONMENT_VARIABLE, InstructionSet};
use simattn_random::stream;

/// Numbers from the standard normal distribution, always the same for a name and a length.
fn normals(name: &str, len: usize) -> Vec<f32> {
    let mut numbers = stream(len as u64, name);
    (0..len).map(|_| numbers.normal() as f32).collect()
}

/// The values that `fill` writes over NaN.
fn over_nan(len: usize, fill: impl FnOnce(Output<'_>)) -> Vec<f32> {
    let mut values = vec![f32::NAN; len];
    // SAFETY: kernels store values only.
    fill(unsafe { overwriting(&mut values) });
    values
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// √(Σ(got − want)² / Σ want²) is at most `most`, and nothing is NaN.
#[track_caller]
fn assert_rms(name: &str, got: &[f32], want: &[f64], most: f64) {
    assert_eq!(got.len(), want.len(), "{name}: length");
    let difference: f64 = got
        .iter()
        .zip(want)
        .map(|(&got, want)| (f64::from(got) - want).powi(2))
        .sum();
    let size: f64 = want.iter().map(|want| want * want).sum();
    let error = if difference == 0.0 {
        0.0
    } else {
        (difference / size).sqrt()
    };
    assert!(
        error <= most,
        "{name}: RMS relative error {error:e} above {most:e}"
    );
}

/// Each value is within `most` times its size, which for a sum is the sum of its terms' absolute
/// values: what is left after terms cancel says nothing about a sum's rounding.
#[track_caller]
fn assert_sums(name: &str, got: &[f32], want: &[f64], sizes: &[f64], most: f64) {
    assert_eq!([got.len(); 2], [want.len(), sizes.len()], "{name}: length");
    for (i, (&got, (want, size))) in got.iter().zip(want.iter().zip(sizes)).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(
            error <= most * size,
            "{name}[{i}]: {got:e} for {want:e}, error {error:e} in a sum of size {size:e}"
        );
    }
}

/// Each value is within `relative` of its own size plus `absolute`.
#[track_caller]
fn assert_each(name: &str, got: &[f32], want: &[f64], relative: f64, absolute: f64) {
    assert_eq!(got.len(), want.len(), "{name}: length");
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(
            error <= relative * want.abs() + absolute,
            "{name}[{i}]: {got:e} for {want:e}, error {error:e}"
        );
    }
}

/// `work` gives the same bits on 1, 2, 3 and 5 threads.
#[track_caller]
fn assert_same_on_any_number_of_threads(work: impl Fn() -> Vec<Vec<f32>> + Sync) {
    let bits = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        let values = pool.install(&work);
        values
            .into_iter()
            .map(|values| values.into_iter().map(f32::to_bits).collect())
            .collect::<Vec<Vec<u32>>>()
    };
    let alone = bits(1);
    for threads in [2, 3, 5] {
        assert!(
            alone == bits(threads),
            "{threads} threads give other bits than one"
        );
    }
}

/// Runs all the tests of this file again with each other instruction set of this machine.
#[test]
fn every_instruction_set_passes() {
    if std::env::var_os(ENVIRONMENT_VARIABLE).is_some() {
        return;
    }
    let tests = std::env::current_exe().expect("path of the test program");
    for set in InstructionSet::available()
        .into_iter()
        .filter(|&set| set != InstructionSet::current())
    {
        let output = std::process::Command::new(&tests)
            .args(["--skip", "every_instruction_set_passes"])
            .env(ENVIRONMENT_VARIABLE, set.name())
            .output()
            .expect("run the tests");
        assert!(
            output.status.success(),
            "with {set}:\n{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}
