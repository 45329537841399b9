//! `--device`: the processor or a GPU that this build has kernels for.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
#[cfg(feature = "gpu")]
use burn::tensor::DeviceType;
use simattn::Precision;
use thiserror::Error;

/// What `--device` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// The first GPU that is there, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// One GPU.
    Gpu {
        /// How it is reached.
        runtime: Runtime,
        /// Which one, in the order that `simattn info --machine` lists them; where that is not said,
        /// the first, and of several processes on this host each its own.
        index: Option<usize>,
    },
}

/// A way to reach GPUs; each needs the Cargo feature of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// NVIDIA's own.
    Cuda,
    /// AMD's own.
    Rocm,
    /// Apple's own.
    Metal,
    /// Most makes' GPUs, on Linux and Windows.
    Vulkan,
    /// Whatever WebGPU finds.
    Webgpu,
}

impl Runtime {
    /// In the order that "auto" asks them.
    pub(crate) const ALL: [Self; 5] = [
        Self::Cuda,
        Self::Rocm,
        Self::Metal,
        Self::Vulkan,
        Self::Webgpu,
    ];

    /// As on the command line, and as the Cargo feature.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::Webgpu => "webgpu",
        }
    }

    /// The devices that are there; `None` if this build cannot reach any.
    pub(crate) fn devices(self) -> Option<Vec<Device>> {
        #[cfg(feature = "gpu")]
        {
            let kind = match self {
                #[cfg(feature = "cuda")]
                Self::Cuda => Some(DeviceType::Cuda),
                #[cfg(feature = "rocm")]
                Self::Rocm => Some(DeviceType::Rocm),
                #[cfg(feature = "metal")]
                Self::Metal => Some(DeviceType::Metal),
                #[cfg(feature = "vulkan")]
                Self::Vulkan => Some(DeviceType::Vulkan),
                #[cfg(feature = "webgpu")]
                Self::Webgpu => Some(DeviceType::WebGpu),
                #[allow(unreachable_patterns)]
                _ => None,
            };
            kind.map(|kind| Device::enumerate(kind).into_vec())
        }
        #[cfg(not(feature = "gpu"))]
        None
    }
}

/// Why there is no such device. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Error)]
pub(crate) enum DeviceError {
    /// It is there, and computes something else.
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Wrong(#[from] simattn_kernels::check::WrongDevice),
    /// The build has no kernels for it.
    #[error(
        "--device {runtime}: this build does not support such devices; build with \
         --features {runtime}"
    )]
    NotBuilt {
        /// What was asked for.
        runtime: Runtime,
    },
    /// It has no arithmetic of this type.
    #[error("this {device} device does not compute in bfloat16: use float32")]
    NoBfloat16 {
        /// How it is reached.
        device: &'static str,
    },
    /// The build would reach it, but it is not there.
    #[error(
        "--device {runtime}:{index}: this machine has {found} such devices; see \
         `simattn info --machine`"
    )]
    NotThere {
        /// How it is reached.
        runtime: Runtime,
        /// Which one was asked for.
        index: usize,
        /// How many there are.
        found: usize,
    },
}

/// A word that names no device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{0}\" is not one of auto, cpu, cuda, rocm, metal, vulkan, webgpu (the last five may have \
     :INDEX)"
)]
pub(crate) struct UnknownDevice(String);

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice(text.to_owned());
        match text {
            "auto" => return Ok(Self::Auto),
            "cpu" => return Ok(Self::Cpu),
            _ => {}
        }
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        let runtime = Runtime::ALL.into_iter().find(|r| r.name() == name);
        let runtime = runtime.ok_or_else(unknown)?;
        Ok(Self::Gpu { runtime, index })
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// As on the command line.
impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu { runtime, index } => write!(f, "{runtime}:{}", index.unwrap_or(0)),
        }
    }
}

impl DeviceChoice {
    /// The device, without autodiff.
    ///
    /// # Errors
    /// A device that this build or this machine does not have, or that fails a first check of its
    /// kernels.
    pub(crate) fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Auto => first_gpu().map_or_else(|| Ok(Device::flex()), checked),
            Self::Cpu => Ok(Device::flex()),
            Self::Gpu { runtime, index } => {
                let devices = runtime.devices().ok_or(DeviceError::NotBuilt { runtime })?;
                let found = devices.len();
                let index = index.unwrap_or_else(|| own_of(found));
                let device = devices.into_iter().nth(index);
                checked(device.ok_or(DeviceError::NotThere {
                    runtime,
                    index,
                    found,
                })?)
            }
        }
    }
}

/// Whether passes of this precision run on a device, and run right.
///
/// # Errors
/// [`DeviceError::NoBfloat16`] on GPUs that have no such arithmetic, `DeviceError::Wrong` on those
/// that fail a first check in it.
pub(crate) fn computes(device: &Device, precision: Precision) -> Result<(), DeviceError> {
    let device = device.clone().without_autodiff();
    let fine = match precision {
        Precision::Float32 => true,
        // The processor works it out in float32.
        Precision::Bfloat16 => device == Device::flex() || device.supports_dtype(precision.dtype()),
    };
    if !fine {
        return Err(DeviceError::NoBfloat16 {
            device: name(&device),
        });
    }
    #[cfg(feature = "gpu")]
    if precision == Precision::Bfloat16 && device != Device::flex() {
        simattn_kernels::check::agrees_in(&device, precision.dtype())?;
    }
    Ok(())
}

/// "cpu", or "cuda", "vulkan" and so on for a device of that runtime.
pub(crate) fn name(device: &Device) -> &'static str {
    let device = device.clone().without_autodiff();
    let of = |runtime: &Runtime| {
        let devices = runtime.devices().unwrap_or_default();
        devices.contains(&device)
    };
    if device == Device::flex() {
        "cpu"
    } else {
        Runtime::ALL
            .iter()
            .find(|r| of(r))
            .map_or("gpu", |r| r.name())
    }
}

/// The first device that is a card: processors that stand in for one are slower than our own
/// kernels for them.
fn first_gpu() -> Option<Device> {
    let devices = Runtime::ALL
        .into_iter()
        .flat_map(|runtime| runtime.devices().unwrap_or_default());
    let cards: Vec<Device> = devices.filter(is_card).collect();
    let own = own_of(cards.len());
    cards.into_iter().nth(own)
}

/// Which of `count` devices is this process's, where several on this host share them.
fn own_of(count: usize) -> usize {
    simattn_train::launch().place_on_host % count.max(1)
}

/// A device that computes what it should.
fn checked(device: Device) -> Result<Device, DeviceError> {
    #[cfg(feature = "gpu")]
    simattn_kernels::check::agrees(&device)?;
    Ok(device)
}

#[cfg(feature = "gpu")]
fn is_card(device: &Device) -> bool {
    device
        .identity()
        .is_some_and(|identity| identity.physical.is_some())
}

#[cfg(not(feature = "gpu"))]
fn is_card(_: &Device) -> bool {
    false
}

/// One line for every GPU that this build reaches: what `--device` calls it, and what it calls
/// itself.
pub(crate) fn listed() -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for runtime in Runtime::ALL {
        let devices = runtime.devices().unwrap_or_default();
        for (index, device) in devices.iter().enumerate() {
            lines.push((format!("{runtime}:{index}"), described(device)));
        }
    }
    lines
}

/// What a device calls itself.
#[cfg(feature = "gpu")]
pub(crate) fn described(device: &Device) -> String {
    let name = device.identity().map(|identity| identity.name);
    name.unwrap_or_else(|| format!("{device:?}"))
}

/// What a device calls itself.
#[cfg(not(feature = "gpu"))]
pub(crate) fn described(device: &Device) -> String {
    format!("{device:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_indices() {
        let gpu = |runtime, index| Ok(DeviceChoice::Gpu { runtime, index });
        assert_eq!("auto".parse(), Ok(DeviceChoice::Auto));
        assert_eq!("cpu".parse(), Ok(DeviceChoice::Cpu));
        assert_eq!("cuda".parse(), gpu(Runtime::Cuda, None));
        assert_eq!("cuda:0".parse(), gpu(Runtime::Cuda, Some(0)));
        assert_eq!("vulkan:3".parse(), gpu(Runtime::Vulkan, Some(3)));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cpu:0", "CUDA"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }

    #[cfg(not(feature = "gpu"))]
    #[test]
    fn a_build_without_gpus_has_the_processor_alone() {
        assert_eq!(DeviceChoice::Auto.open(), Ok(Device::flex()));
        let error = DeviceChoice::Gpu {
            runtime: Runtime::Cuda,
            index: None,
        }
        .open()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "--device cuda: this build does not support such devices; build with --features cuda"
        );
        assert_eq!(listed(), Vec::new());
    }
}
