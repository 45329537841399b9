//! One command that several processes run together: what they agree on, and who speaks when it
//! ends.

use std::time::Duration;

use burn::tensor::Device;
use sha2::{Digest, Sha256};
use simattn::Decoder;
use simattn_train::{Dataset, Fact, Manners, Ranks, RunConfig, instruction_set, launch};

use crate::console::tell;
use crate::device;
use crate::error::{CliError, failure, input};

/// Why a rank does not come to the end of the run.
#[derive(Debug)]
pub(super) enum Ended {
    /// Every rank knows it and ends: rank 0 says it.
    Together(CliError),
    /// This rank alone knows it, and says it.
    Here(CliError),
    /// Another rank says it.
    Elsewhere,
}

impl From<CliError> for Ended {
    fn from(error: CliError) -> Self {
        Self::Here(error)
    }
}

/// How long a rank that has nothing to say waits for the launcher to end it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The ranks that this process belongs to, each with its share of the host's processors.
pub(super) fn join(deadline: u64) -> Result<Ranks, CliError> {
    let manners = Manners {
        deadline: Duration::from_secs(deadline),
        say: |line| tell(format_args!("simattn: {line}")),
    };
    let ranks = match Ranks::join(manners) {
        Ok(ranks) => ranks,
        Err(error) if launch().place == 0 => return Err(input(error)),
        Err(_) => {
            // The first process says it; nobody should end it before it has.
            std::thread::sleep(Duration::from_secs(1));
            return Err(CliError::Told { code: 2 });
        }
    };
    let asked = std::env::var_os("RAYON_NUM_THREADS").is_some();
    if !ranks.is_alone() && !asked {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let own = (cores / launch().on_this_host).max(1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(own);
        pool.build_global().map_err(failure)?;
    }
    Ok(ranks)
}

/// The same outcome on all ranks: `result` where all have one, else the error of the first that has
/// not.
pub(super) fn agree<T>(ranks: &Ranks, result: Result<T, CliError>) -> Result<T, Ended> {
    if ranks.is_alone() {
        return result.map_err(Ended::Here);
    }
    let own = match &result {
        Ok(_) => Vec::new(),
        Err(error) => [&[error.code()], error.to_string().as_bytes()].concat(),
    };
    let all = ranks.gather(own, "getting ready");
    let Some(rank) = all.iter().position(|one| !one.is_empty()) else {
        return result.map_err(Ended::Here);
    };
    let (code, text) = all[rank].split_first().unwrap_or((&1, &[]));
    let text = String::from_utf8_lossy(text);
    // What is wrong everywhere is nobody's in particular.
    let text = match all.iter().all(|one| *one == all[rank]) {
        true => text.into_owned(),
        false => format!("rank {rank}: {text}"),
    };
    Err(Ended::Together(match code {
        2 => input(text),
        _ => failure(text),
    }))
}

/// Refuses ranks that are not about to do the same.
pub(super) fn compare(
    ranks: &Ranks,
    config: &RunConfig,
    dataset: &Dataset,
    device: &Device,
) -> Result<(), Ended> {
    if ranks.is_alone() {
        return Ok(());
    }
    let data = agree(ranks, dataset.fingerprint().map_err(input))?;
    let mut facts = vec![
        Fact::new("a version", env!("CARGO_PKG_VERSION")),
        Fact::new("a processor", instruction_set()),
        Fact::new("a device", device::name(device)),
    ];
    facts.extend(config.facts());
    facts.push(Fact::new("data with the fingerprint", data.sha256));
    together(ranks.compare(&facts))
}

/// Refuses ranks that begin with other weights.
pub(super) fn compare_weights(ranks: &Ranks, decoder: &Decoder) -> Result<(), Ended> {
    if ranks.is_alone() {
        return Ok(());
    }
    let mut hasher = Sha256::new();
    for tensor in simattn::checkpoint::tensors(decoder) {
        for piece in tensor.values.chunks(1 << 12) {
            let bytes: Vec<u8> = piece
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect();
            hasher.update(bytes);
        }
    }
    let sum = hasher.finalize();
    let sum = sum
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    together(ranks.compare(&[Fact::new("weights with the checksum", sum)]))
}

fn together(result: Result<(), simattn_train::RanksError>) -> Result<(), Ended> {
    result.map_err(|error| Ended::Together(input(error)))
}

/// Ends the command: in order where all ranks have come so far, and otherwise so that the launcher
/// ends the others.
pub(super) fn end(ranks: &Ranks, result: Result<(), Ended>) -> Result<(), CliError> {
    let ended = match result {
        Ok(()) => {
            ranks.leave();
            return Ok(());
        }
        Err(ended) => ended,
    };
    match ended {
        Ended::Together(error) | Ended::Here(error) if ranks.is_alone() => Err(error),
        Ended::Together(error) => {
            let code = error.code();
            if ranks.is_first() {
                tell(format_args!("simattn: {error}"));
            }
            ranks.leave();
            Err(CliError::Told { code })
        }
        Ended::Here(error) => {
            tell(format_args!("simattn: rank {}: {error}", ranks.rank()));
            ranks.quit(error.code())
        }
        Ended::Elsewhere => {
            std::thread::sleep(PATIENCE);
            ranks.quit(1)
        }
    }
}
