//! What a measurement ran on.

use std::{fs, thread};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use simattn_kernels::cpu::simd::InstructionSet;

use crate::device;

/// A machine, as results keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor cores that were there.
    pub cores: u64,
    /// Threads that were used.
    pub threads: u64,
    /// The processor's (or accelerator's) model name.
    pub cpu: String,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// The widest vector instructions in use, such as `avx512`.
    pub instruction_set: String,
}

impl Machine {
    /// This machine, computing on `device`.
    pub(crate) fn computing_on(device: &Device) -> Self {
        let this = Self::this();
        match device::name(device) {
            "cpu" => this,
            _ => Self {
                cpu: device::described(&device.clone().without_autodiff()),
                ..this
            },
        }
    }

    /// Whether times measured on both may be compared: all is the same but the memory, of which a
    /// system tells a little more or less after each start.
    pub(crate) fn is_as_fast_as(&self, other: &Self) -> bool {
        Self {
            memory_bytes: other.memory_bytes,
            ..self.clone()
        } == *other
    }

    /// This machine, as far as the system tells.
    pub(crate) fn this() -> Self {
        let cores = thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let threads = std::env::var("RAYON_NUM_THREADS")
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|&threads| threads > 0)
            .unwrap_or(cores);
        Self {
            cores,
            threads,
            cpu: line_of("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.into()),
            memory_bytes: memory_bytes().unwrap_or(0),
            instruction_set: InstructionSet::current().name().into(),
        }
    }
}

fn memory_bytes() -> Option<u64> {
    let text = line_of("/proc/meminfo", "MemTotal")?;
    let kibibytes: u64 = text.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The value after `key :` in a file of such lines.
fn line_of(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}
