//! `simattn bench`: how fast the kernels are here, alone and beside PyTorch.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use simattn::Precision;

use super::arguments::{DeviceArg, KernelsArg, RecomputeArg};
use crate::bench::{
    self, Bench, BenchError,
    timing::Repetitions,
    torch::{self, Peer, PeerError},
    use_threads,
    workload::{Sizes, Variant, Work},
};
use crate::console::{show_content, tell};
use crate::device::{DeviceChoice, Runtime, computes};
use crate::error::{CliError, failure, input, input_if};
use crate::room;

/// Time an attention layer, a training step or decoding, and print one JSON object per line.
///
/// The kernels are first compared with their definitions; wrong ones are not timed. Times are
/// medians after a warm-up. GFLOP/s count operations by definition, and are compared with the rate
/// of a plain matrix product in the same process.
#[derive(Debug, Args)]
// Unlike the other commands, it takes a GPU only where one is named: times on two machines are not
// to be mixed up.
#[command(mut_arg("device", |device| device.default_value("cpu")))]
pub(crate) struct BenchArgs {
    /// What to time.
    #[arg(value_enum)]
    pub work: Work,
    /// The attention.
    #[arg(long, value_enum, default_value = "sas")]
    pub variant: Variant,
    /// Sequences.
    #[arg(long, value_name = "B", default_value_t = 4, value_parser = at_least_one)]
    pub batch: usize,
    /// Tokens of a sequence, or in the cache that a new token attends to.
    #[arg(long, value_name = "T", default_value_t = 512, value_parser = at_least_one)]
    pub seq: usize,
    /// Projected heads.
    #[arg(long, value_name = "H", default_value_t = 12, value_parser = at_least_one)]
    pub heads: usize,
    /// Heads after the expansion (sas).
    #[arg(long, value_name = "H2", default_value_t = 36, value_parser = at_least_one)]
    pub expanded_heads: usize,
    /// Width of a projected head.
    #[arg(long, value_name = "D", default_value_t = 64, value_parser = at_least_one)]
    pub head_dim: usize,
    /// Width of an expanded head's q and k, where features are expanded (sas).
    #[arg(long, value_name = "D2", default_value_t = 96, value_parser = at_least_one)]
    pub expanded_head_dim: usize,
    /// Expand heads alone: q, k and v all keep the width of a projected head (sas).
    #[arg(long, conflicts_with = "expanded_head_dim")]
    pub heads_only: bool,
    /// Kernel size of the head expansion, odd (sas).
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = at_least_one)]
    pub kernel: usize,
    /// Blocks of the decoder (train).
    #[arg(long, value_name = "L", default_value_t = 12, value_parser = at_least_one)]
    pub layers: usize,
    /// Token ids of the decoder (train).
    #[arg(long, value_name = "V", default_value_t = 50_304, value_parser = at_least_one)]
    pub vocab: usize,
    /// Threads of all kernels.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = threads)]
    pub threads: usize,
    /// Timed runs.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub iters: usize,
    /// Runs before the timed ones.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub warmup: usize,
    /// The implementation of the operations.
    #[arg(long, value_enum, default_value = "fast")]
    pub kernels: KernelsArg,
    #[command(flatten)]
    pub device: DeviceArg,
    /// What backward recomputes instead of keeping it (train).
    #[arg(long, value_enum, default_value = "none")]
    pub recompute: RecomputeArg,
    /// The float type of a pass (layer, train); weights are always float32. On a CPU bf16 is
    /// computed in float32 and rounded.
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: DtypeArg,
    /// Run this bench in turn with a PyTorch program, using this Python, and print PyTorch's time
    /// divided by ours.
    #[arg(long, value_name = "PYTHON", requires = "peer")]
    pub against_torch: Option<PathBuf>,
    /// The PyTorch program; it takes the same options and prints lines with the same keys.
    #[arg(long, value_name = "FILE", requires = "against_torch")]
    pub peer: Option<PathBuf>,
    /// How many times each of the two runs.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one, requires = "against_torch")]
    pub rounds: usize,
}

/// Values of `--dtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DtypeArg {
    /// float32.
    F32,
    /// bfloat16.
    Bf16,
}

impl From<DtypeArg> for Precision {
    fn from(dtype: DtypeArg) -> Self {
        match dtype {
            DtypeArg::F32 => Self::Float32,
            DtypeArg::Bf16 => Self::Bfloat16,
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("a whole number is needed".into()),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    const MOST: usize = 1024;
    match at_least_one(text)? {
        number if number > MOST => Err(format!("at most {MOST} are possible")),
        number => Ok(number),
    }
}

impl BenchArgs {
    fn sizes(&self) -> Sizes {
        Sizes {
            batch: self.batch,
            seq: self.seq,
            heads: self.heads,
            expanded_heads: self.expanded_heads,
            head_dim: self.head_dim,
            expanded_head_dim: self.expanded_head_dim,
            heads_only: self.heads_only,
            kernel_size: self.kernel,
            layers: self.layers,
            vocabulary: self.vocab,
        }
    }

    /// The arguments that this program and the PyTorch one share.
    fn shared(&self) -> Vec<String> {
        let numbers = [
            ("batch", self.batch),
            ("seq", self.seq),
            ("heads", self.heads),
            ("expanded-heads", self.expanded_heads),
            ("head-dim", self.head_dim),
            ("kernel", self.kernel),
            ("layers", self.layers),
            ("vocab", self.vocab),
            ("threads", self.threads),
            ("iters", self.iters),
            ("warmup", self.warmup),
        ];
        let mut arguments = vec![self.work.name().to_owned()];
        arguments.extend(["--variant".to_owned(), self.variant.name().to_owned()]);
        for (name, number) in numbers {
            arguments.extend([format!("--{name}"), number.to_string()]);
        }
        // The two exclude each other.
        if self.heads_only {
            arguments.push("--heads-only".to_owned());
        } else {
            let width = self.expanded_head_dim.to_string();
            arguments.extend(["--expanded-head-dim".to_owned(), width]);
        }
        arguments
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Input`] for sizes that describe no model and programs that do not exist;
/// [`CliError::Failure`] for kernels that fail their check, and for whatever else fails.
pub(crate) fn run(args: &BenchArgs) -> Result<(), CliError> {
    if args.heads_only && args.variant == Variant::Mha {
        return Err(input(
            "--heads-only is for --variant sas: mha has no heads to expand",
        ));
    }
    if args.work == Work::Decode && args.dtype != DtypeArg::F32 {
        return Err(input("bench decode knows f32 only: leave --dtype out"));
    }
    match (&args.against_torch, &args.peer) {
        (Some(python), Some(script)) => {
            let (python, script) = (python.clone(), script.clone());
            against(args, &Peer { python, script })
        }
        _ => alone(args),
    }
}

/// Refuses sizes that describe no model, or one that no memory holds.
fn check_sizes(args: &BenchArgs) -> Result<(), CliError> {
    let needed = args.sizes().bytes(args.work, args.variant).map_err(input)?;
    if args.device.choice == DeviceChoice::Cpu {
        room::check("what these sizes describe", needed).map_err(input)?;
    }
    let sizes = args.sizes();
    sizes.validate(args.work, args.variant).map_err(input)
}

fn alone(args: &BenchArgs) -> Result<(), CliError> {
    check_sizes(args)?;
    use_threads(args.threads).map_err(failure)?;
    let device = args.device.open()?;
    computes(&device, args.dtype.into()).map_err(input)?;
    let bench = Bench {
        work: args.work,
        variant: args.variant,
        sizes: args.sizes(),
        kernels: args.kernels.into(),
        recompute: args.recompute.into(),
        precision: args.dtype.into(),
        device,
        threads: args.threads,
        repetitions: Repetitions {
            warmup: args.warmup,
            iterations: args.iters,
        },
    };
    let mut printed = Ok(());
    bench::run(&bench, &mut |record| {
        let line = print_line(record);
        printed = std::mem::replace(&mut printed, Ok(())).and(line);
    })
    .map_err(input_if(BenchError::is_input))?;
    printed
}

fn against(args: &BenchArgs, peer: &Peer) -> Result<(), CliError> {
    let program = std::env::current_exe().map_err(failure)?;
    check_sizes(args)?;
    let mut shared = args.shared();
    if args.dtype == DtypeArg::Bf16 {
        shared.extend(["--dtype", "bf16"].map(str::to_owned));
    }
    let mut peers = shared.clone();
    // The one GPU runtime that PyTorch and this program share; it counts devices on its own.
    if let DeviceChoice::Gpu {
        runtime: Runtime::Cuda,
        ..
    } = args.device.choice
    {
        peers.extend(["--device", "cuda"].map(str::to_owned));
    }
    let mut own = vec!["bench".to_owned()];
    own.extend(shared);
    let kernels = match args.kernels {
        KernelsArg::Fast => "fast",
        KernelsArg::Reference => "reference",
    };
    let recompute = args.recompute.name();
    own.extend(["--kernels", kernels, "--recompute", recompute].map(str::to_owned));
    own.extend(["--device".to_owned(), args.device.choice.to_string()]);
    let ratios = torch::compare((&program, &own), (peer, &peers), args.rounds, &mut |line| {
        tell(line)
    })
    .map_err(input_if(PeerError::is_input))?;
    for ratio in &ratios {
        print_line(ratio)?;
    }
    Ok(())
}

fn print_line(value: &impl serde::Serialize) -> Result<(), CliError> {
    let line = serde_json::to_string(value)
        .map_err(|error| failure(format!("a measurement cannot be written as JSON: {error}")))?;
    show_content(format_args!("{line}\n"))
}
