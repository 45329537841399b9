//! Whether what a command is about to hold fits this machine's memory, said before it is taken.
//!
//! What is needed is a lower bound, what is there an upper one: swap counts as memory, and so do
//! the pages of files that the system would give up. Nothing is refused that could run.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use simattn::{ModelConfig, cost::Cost};
use simattn_train::{OptimizerKind, RunConfig};
use thiserror::Error;

use crate::device;
use crate::quantity::bytes;

/// More is asked for than is there. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{what} needs at least {} of memory, {}: make it smaller",
    bytes(*needed as f64),
    match there {
        Some(there) => format!("but only {} is available", bytes(*there as f64)),
        None => "more than any machine has".to_owned(),
    }
)]
pub(crate) struct NoRoom {
    /// What is to be held.
    pub what: String,
    /// Bytes of it, at least.
    pub needed: u128,
    /// Bytes that are there, at most; `None` where the system does not tell.
    pub there: Option<u64>,
}

/// Checks that `needed` bytes for `what` can be had.
///
/// # Errors
/// [`NoRoom`].
pub(crate) fn check(what: &str, needed: u128) -> Result<(), NoRoom> {
    let there = available();
    // Where the system does not tell, what no process can address is still too much: 47 bits of an
    // address are a program's own.
    let most = there.unwrap_or(1 << 47);
    if needed > u128::from(most) {
        Err(NoRoom {
            what: what.to_owned(),
            needed,
            there,
        })
    } else {
        Ok(())
    }
}

/// The same where `device` computes in this process's memory; a GPU has its own.
///
/// # Errors
/// [`NoRoom`].
pub(crate) fn check_on(device: &Device, what: &str, needed: u128) -> Result<(), NoRoom> {
    match device::name(device) {
        "cpu" => check(what, needed),
        _ => Ok(()),
    }
}

/// Bytes of a model's weights.
pub(crate) fn weights(model: &ModelConfig) -> u128 {
    Cost::of(model).parameters.total.saturating_mul(FLOAT)
}

/// Bytes of a float32.
const FLOAT: u128 = 4;

/// Bytes that training holds between two steps and in the middle of one: weights, gradients and the
/// optimizer's moments, which `ranks` processes may share. Passes come on top.
pub(crate) fn training(config: &RunConfig, ranks: usize) -> u128 {
    let moments = match config.train.optimizer {
        OptimizerKind::AdamW => 2,
        // One momentum for the matrices; two moments for the rest.
        OptimizerKind::Muon => 1,
    };
    let weights = weights(&config.model);
    let holders = if config.train.shard_optimizer {
        ranks
    } else {
        1
    };
    let moments = weights.saturating_mul(moments) / holders.max(1) as u128;
    weights.saturating_mul(2).saturating_add(moments)
}

/// Bytes that the passes of one micro-batch keep for backward, at least: the input of every block,
/// and two ids a token.
pub(crate) fn passes(config: &RunConfig) -> u128 {
    let model = &config.model;
    let tokens = (config.train.batch as u128).saturating_mul(model.context as u128);
    let width = (model.width as u128).saturating_mul(model.layers as u128);
    // Two bytes for bfloat16, where it is the type of a pass.
    let float = match config.train.precision {
        simattn::Precision::Float32 => FLOAT,
        simattn::Precision::Bfloat16 => FLOAT / 2,
    };
    tokens.saturating_mul(width.saturating_mul(float).saturating_add(2 * FLOAT))
}

/// Bytes that this process may still take, at most; `None` where the system does not tell.
pub(crate) fn available() -> Option<u64> {
    available_in(Path::new("/"))
}

/// The same with the system's files below `root`.
fn available_in(root: &Path) -> Option<u64> {
    let machine = free_of_machine(root);
    let limits = [
        control_group_2(root),
        control_group_1(root),
        process_limit(root),
    ];
    limits.into_iter().flatten().chain(machine).min()
}

/// What the kernel would give without killing anything, and free swap.
fn free_of_machine(root: &Path) -> Option<u64> {
    let free = meminfo(root, "MemAvailable")?;
    Some(free.saturating_add(meminfo(root, "SwapFree").unwrap_or(0)))
}

/// A line of /proc/meminfo, in bytes.
fn meminfo(root: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}

/// Limits of `ulimit -v` and `ulimit -d`. Not what is left of them: the allocator reserves
/// addresses that it has not used.
fn process_limit(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/limits")).ok()?;
    let soft = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let limits = ["Max address space", "Max data size"].map(soft);
    limits.into_iter().flatten().min()
}

/// The folders of this process's control group and those around it, under `mount`, for the line of
/// /proc/self/cgroup that `is_meant` picks.
fn control_groups(root: &Path, mount: &str, is_meant: fn(&str) -> bool) -> Vec<PathBuf> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let Some(path) = text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        is_meant(controllers).then(|| path.trim_start_matches('/').to_owned())
    }) else {
        return Vec::new();
    };
    let mount = root.join(mount);
    // Inside a container the path may be the host's, and the mount the group itself: `mount` is
    // asked in any case.
    let group = mount.join(path);
    let around = group
        .ancestors()
        .take_while(|path| path.starts_with(&mount));
    around.map(Path::to_owned).collect()
}

/// A file that holds one number.
fn number(path: PathBuf) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A number of a file with lines of "key number".
fn entry(path: PathBuf, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// What the tightest limit of the control groups, version 2, leaves.
fn control_group_2(root: &Path) -> Option<u64> {
    let groups = control_groups(root, "sys/fs/cgroup", str::is_empty);
    let left = groups.into_iter().filter_map(|group| {
        let most = number(group.join("memory.max"))?;
        let used = number(group.join("memory.current"))?;
        let files = entry(group.join("memory.stat"), "file").unwrap_or(0);
        // "max" is no number: then the machine's swap counts, which its own line has.
        let swap = match number(group.join("memory.swap.max")) {
            Some(swap) => {
                swap.saturating_sub(number(group.join("memory.swap.current")).unwrap_or(0))
            }
            None => meminfo(root, "SwapFree").unwrap_or(0),
        };
        Some(
            most.saturating_sub(used.saturating_sub(files))
                .saturating_add(swap),
        )
    });
    left.min()
}

/// The same for version 1.
fn control_group_1(root: &Path) -> Option<u64> {
    let is_memory = |controllers: &str| controllers.split(',').any(|name| name == "memory");
    let groups = control_groups(root, "sys/fs/cgroup/memory", is_memory);
    let left = groups.into_iter().filter_map(|group| {
        let most = number(group.join("memory.limit_in_bytes"))?;
        let used = number(group.join("memory.usage_in_bytes"))?;
        let files = entry(group.join("memory.stat"), "total_cache").unwrap_or(0);
        let swap = meminfo(root, "SwapFree").unwrap_or(0);
        Some(
            most.saturating_sub(used.saturating_sub(files))
                .saturating_add(swap),
        )
    });
    left.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a small file");
        }
        root
    }

    const MEMINFO: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:  8388608 kB\nMemAvailable:  4194304 kB\nSwapTotal: 0 kB\nSwapFree:  1024 kB\n",
    );

    #[test]
    fn the_machine_and_its_swap_count() {
        assert_eq!(available_in(system(&[]).path()), None);
        let root = system(&[MEMINFO]);
        assert_eq!(available_in(root.path()), Some(4097 * MIB));
    }

    #[test]
    fn limits_of_control_groups_count_wherever_they_stand() {
        let second = [
            MEMINFO,
            ("proc/self/cgroup", "0::/user/job\n"),
            ("sys/fs/cgroup/user/job/memory.max", "max\n"),
            ("sys/fs/cgroup/user/job/memory.current", "1\n"),
            ("sys/fs/cgroup/user/memory.max", "104857600\n"),
            ("sys/fs/cgroup/user/memory.current", "52428800\n"),
            ("sys/fs/cgroup/user/memory.stat", "anon 1\nfile 20971520\n"),
            ("sys/fs/cgroup/user/memory.swap.max", "0\n"),
        ];
        // 100 MiB, of which 50 are used, 20 of these for files that can go.
        let root = system(&second);
        assert_eq!(available_in(root.path()), Some(70 * MIB));
        let first = [
            MEMINFO,
            (
                "proc/self/cgroup",
                "5:cpu:/a\n4:memory:/of/the/host\n0::/\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "52428800\n"),
        ];
        let root = system(&first);
        assert_eq!(available_in(root.path()), Some(51 * MIB));
    }

    #[test]
    fn limits_of_the_process_count() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\n\
                      Max data size  unlimited  unlimited  bytes\n\
                      Max address space  1048576000  unlimited  bytes\n";
        let root = system(&[MEMINFO, ("proc/self/limits", limits)]);
        assert_eq!(available_in(root.path()), Some(1000 * MIB));
    }

    #[test]
    fn what_no_memory_holds_is_said_with_both_numbers() {
        let error = check("this model", u128::MAX).expect_err("no machine has it");
        let line = error.to_string();
        assert!(line.starts_with("this model needs at least"), "{line}");
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(check("nothing", 0), Ok(()));
    }
}
