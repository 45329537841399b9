//! The line of JSON that a measurement gives.

use serde::Serialize;
use simattn::Precision;
use simattn_kernels::{Kernels, cpu::simd::InstructionSet};

use super::timing::Times;
use super::workload::Variant;

/// What all measurements of one process share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// The attention.
    pub variant: Variant,
    /// Whether SAS expands heads alone.
    pub heads_only: bool,
    /// The implementation of the operations.
    pub kernels: Kernels,
    /// The float type of a pass.
    pub precision: Precision,
    /// "cpu", "cuda" and so on.
    pub device: &'static str,
    /// Threads of all kernels.
    pub threads: usize,
    /// Operations per second of a matrix product in this process; on GPUs in the type of the pass.
    pub product_rate: f64,
}

/// What one piece of work was and did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement<'a> {
    /// Its name.
    pub what: &'static str,
    /// How tokens get positions: "none" or "rope".
    pub positions: &'static str,
    /// Its times.
    pub times: &'a Times,
    /// Tokens of one run.
    pub tokens: usize,
    /// Operations of one run.
    pub operations: f64,
    /// The largest resident set in bytes, where the system tells.
    pub peak: Option<u64>,
    /// Parameters of a decoder.
    pub parameters: Option<usize>,
}

/// One measurement as it is printed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Record {
    /// "layer forward", "layer forward+backward", "train step" or "layer decode".
    pub what: &'static str,
    /// "sas" or "mha".
    pub variant: &'static str,
    /// Whether q and k keep the width of v, in SAS; left out where they do not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub heads_only: bool,
    /// "cpu", or the way to a GPU: "cuda", "vulkan" and so on.
    pub device: &'static str,
    /// "f32" or "bf16".
    pub dtype: &'static str,
    /// "fast" or "reference".
    pub kernels: &'static str,
    /// The vector instructions that the kernels used.
    pub instruction_set: &'static str,
    /// Threads of all kernels.
    pub threads: usize,
    /// "none" or "rope".
    pub positions: &'static str,
    /// Parameters of the decoder, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<usize>,
    /// Median milliseconds of a run.
    pub median_ms: f64,
    /// Milliseconds of the shortest run.
    pub min_ms: f64,
    /// Milliseconds of the longest run.
    pub max_ms: f64,
    /// Tokens per second at the median.
    pub tokens_per_s: f64,
    /// The largest resident set of the process while the work ran, in MiB; null where the system
    /// does not tell.
    pub peak_mib: Option<f64>,
    /// 10⁹ operations per second at the median, operations by definition.
    pub gflops: f64,
    /// The same of a matrix product in this process.
    pub sgemm_gflops: f64,
    /// `gflops` in percent of `sgemm_gflops`.
    pub percent_of_sgemm: f64,
}

impl Record {
    /// The line of `measurement`.
    pub(crate) fn new(setting: &Setting, measurement: &Measurement<'_>) -> Self {
        let Measurement { times, .. } = *measurement;
        let median = times.median();
        let rate = measurement.operations / median;
        Self {
            what: measurement.what,
            variant: setting.variant.name(),
            heads_only: setting.heads_only,
            device: setting.device,
            dtype: match setting.precision {
                Precision::Float32 => "f32",
                Precision::Bfloat16 => "bf16",
            },
            kernels: match setting.kernels {
                Kernels::Fast => "fast",
                Kernels::Reference => "reference",
            },
            instruction_set: InstructionSet::current().name(),
            threads: setting.threads,
            positions: measurement.positions,
            parameters: measurement.parameters,
            median_ms: rounded(median * 1e3, 3),
            min_ms: rounded(times.least() * 1e3, 3),
            max_ms: rounded(times.most() * 1e3, 3),
            tokens_per_s: rounded(measurement.tokens as f64 / median, 1),
            peak_mib: measurement
                .peak
                .map(|bytes| rounded(bytes as f64 / f64::from(1 << 20), 1)),
            gflops: rounded(rate / 1e9, 1),
            sgemm_gflops: rounded(setting.product_rate / 1e9, 1),
            percent_of_sgemm: rounded(100.0 * rate / setting.product_rate, 1),
        }
    }
}

/// `number` with so many decimals.
pub(super) fn rounded(number: f64, decimals: i32) -> f64 {
    let unit = 10f64.powi(decimals);
    (number * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_from_the_median() {
        let times = Times::new(vec![0.004, 0.002, 0.003]).unwrap();
        let setting = Setting {
            variant: Variant::Sas,
            heads_only: false,
            kernels: Kernels::Fast,
            precision: Precision::Float32,
            device: "cpu",
            threads: 2,
            product_rate: 200e9,
        };
        let measurement = Measurement {
            what: "layer forward",
            positions: "none",
            times: &times,
            tokens: 6,
            operations: 0.3e9,
            peak: Some(3 << 20),
            parameters: None,
        };
        let record = Record::new(&setting, &measurement);
        assert_eq!(
            (record.min_ms, record.median_ms, record.max_ms),
            (2.0, 3.0, 4.0)
        );
        assert_eq!((record.tokens_per_s, record.peak_mib), (2000.0, Some(3.0)));
        assert_eq!((record.gflops, record.percent_of_sgemm), (100.0, 50.0));
    }
}
