//! Arguments that several commands share.

use burn::tensor::Device;
use clap::{Args, ValueEnum};
use simattn::Recompute;
use simattn::decoding::NumberType;
use simattn_kernels::Kernels;

use crate::device::DeviceChoice;
use crate::error::{CliError, input};

/// The option `--device`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct DeviceArg {
    /// Where to compute: "auto" takes the first GPU, else the processor.
    #[arg(
        id = "device",
        long,
        value_name = "auto|cpu|cuda[:I]|rocm[:I]|metal|vulkan[:I]|webgpu[:I]",
        default_value = "auto"
    )]
    pub choice: DeviceChoice,
}

impl DeviceArg {
    /// The device, without autodiff.
    ///
    /// # Errors
    /// [`CliError::Input`] for a device that does not exist or fails its first check.
    pub(crate) fn open(&self) -> Result<Device, CliError> {
        self.choice.open().map_err(input)
    }
}

/// Values of `--kernels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KernelsArg {
    /// The fastest correct ones for the device.
    Fast,
    /// The definitions in plain tensor operations, to compare with.
    Reference,
}

impl From<KernelsArg> for Kernels {
    fn from(kernels: KernelsArg) -> Self {
        match kernels {
            KernelsArg::Fast => Self::Fast,
            KernelsArg::Reference => Self::Reference,
        }
    }
}

/// Values of `--recompute`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecomputeArg {
    /// Nothing, except what the operations themselves recompute.
    None,
    /// Everything inside a decoder block.
    Block,
    /// Of SAS on a GPU the expansions alone, not attention.
    Expansions,
    /// Nothing, of SAS on a GPU neither.
    Nothing,
}

impl RecomputeArg {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Block => "block",
            Self::Expansions => "expansions",
            Self::Nothing => "nothing",
        }
    }
}

impl From<RecomputeArg> for Recompute {
    fn from(recompute: RecomputeArg) -> Self {
        match recompute {
            RecomputeArg::None => Self::None,
            RecomputeArg::Block => Self::Block,
            RecomputeArg::Expansions => Self::Expansions,
            RecomputeArg::Nothing => Self::Nothing,
        }
    }
}

/// Values of `--weights` and `--cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NumberArg {
    /// float32.
    F32,
    /// bfloat16: half the memory.
    Bf16,
    /// Whole numbers with a scale for each output of a weight, or each head and token of a cache: a
    /// quarter of the memory.
    Int8,
}

impl From<NumberArg> for NumberType {
    fn from(number: NumberArg) -> Self {
        match number {
            NumberArg::F32 => Self::F32,
            NumberArg::Bf16 => Self::Bf16,
            NumberArg::Int8 => Self::Int8,
        }
    }
}

/// A number that others may be divided by.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a finite number above 0 is needed".into()),
    }
}
