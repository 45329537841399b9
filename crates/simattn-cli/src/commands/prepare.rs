//! `simattn prepare`: text of any size to a folder of token ids.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use simattn_data::prepare::{Job, OnBadInput, PrepareError, PrepareObserver, check_place, prepare};
use simattn_data::shards::Index;
use simattn_data::{DataError, PassedOver, TEXT_FIELD, Tokenizer, TokenizerSpec};
use simattn_hub::HubError;

use crate::console::{show, tell, value};
use crate::error::{CliError, input, input_if};
use crate::progress::{Bar, Tenths};
use crate::quantity::{bytes, count, duration, grouped};

/// Turn text into shards of token ids, which training reads without loading them into memory.
///
/// Reads .txt and other text, .jsonl, .json and .parquet, all but the last also as .gz or .zst;
/// files, folders and patterns. After an interruption the same command continues after the last
/// finished shard.
#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    /// Files, folders, patterns such as 'books/*.txt', or
    /// hf://datasets/OWNER/NAME[@REVISION]/PATTERN.
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// "bytes", or the path of a tokenizer.json.
    #[arg(long, value_name = "T")]
    pub tokenizer: TokenizerSpec,
    /// The folder to write; its index.json is written last.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The field of JSON lines, or the column of Parquet files, that holds the text.
    #[arg(long, alias = "column", value_name = "NAME", default_value = TEXT_FIELD)]
    pub field: String,
    /// The share of documents to hold out for validation, by a hash of each.
    ///
    /// 0.01 unless --validation names what is held out.
    #[arg(long, value_name = "F")]
    pub validation_fraction: Option<f64>,
    /// A file, folder or pattern to hold out as a whole for validation; can be repeated.
    ///
    /// Copies of its documents elsewhere in the inputs are left out.
    #[arg(long, value_name = "INPUT")]
    pub validation: Vec<PathBuf>,
    /// The seed of the hash that chooses documents for validation.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Tokens in a shard, which ends with the document that reaches this number.
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    pub shard_tokens: u64,
    /// What to do with a line or row that cannot be read.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = BadInputArg::Fail)]
    pub on_bad_input: BadInputArg,
}

/// Values of `--on-bad-input`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BadInputArg {
    /// Stop, and report the file and the line.
    Fail,
    /// Report it, leave it out and count it.
    Skip,
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Input`] for inputs, settings or a folder that cannot be used; [`CliError::Failure`]
/// for what broke on the way.
pub(crate) fn run(args: &PrepareArgs) -> Result<(), CliError> {
    let tokenizer = tokenizer(&args.tokenizer).map_err(input)?;
    // Before anything is fetched.
    check_place(&args.out).map_err(input)?;
    let inputs = local(&args.inputs)?;
    let validation = local(&args.validation)?;
    let chosen_by_hash = if validation.is_empty() { 0.01 } else { 0.0 };
    let job = Job {
        inputs: &inputs,
        validation: &validation,
        tokenizer: &tokenizer,
        out: &args.out,
        field: &args.field,
        validation_fraction: args.validation_fraction.unwrap_or(chosen_by_hash),
        seed: args.seed,
        shard_tokens: args.shard_tokens,
        on_bad_input: match args.on_bad_input {
            BadInputArg::Fail => OnBadInput::Fail,
            BadInputArg::Skip => OnBadInput::Skip,
        },
    };
    let started = Instant::now();
    let mut progress = Progress::new();
    let prepared = prepare(&job, &mut progress);
    progress.end();
    let prepared = prepared.map_err(input_if(PrepareError::is_input))?;
    let index = &prepared.index;
    let tokens = index.train.tokens + index.validation.tokens - prepared.resumed_tokens;
    show(describe(index))?;
    show(format_args!(
        "speed        {} tokens/s from {} files\n",
        count(tokens as f64 / started.elapsed().as_secs_f64().max(f64::MIN_POSITIVE)),
        grouped(prepared.files as f64)
    ))?;
    if prepared.held_out_again > 0 {
        show(format_args!(
            "left out     held-out documents found again in other inputs: {}\n",
            grouped(prepared.held_out_again as f64)
        ))?;
    }
    show(format_args!("saved        {}\n", value(args.out.display())))?;
    for (part, name) in [
        (&index.train, "training"),
        (&index.validation, "validation"),
    ] {
        if part.tokens == 0 {
            tell(format_args!(
                "prepare: there is no document in the {name} part; before training, prepare again \
                 with --validation, or another --validation-fraction or --seed"
            ));
        }
    }
    Ok(())
}

/// The inputs as paths: what they name on the Hub is fetched into its cache.
fn local(inputs: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut paths = Vec::with_capacity(inputs.len());
    for path in inputs {
        let text = path.to_str().filter(|text| simattn_hub::is_reference(text));
        let Some(text) = text else {
            paths.push(path.clone());
            continue;
        };
        let reference: simattn_hub::DatasetReference = text.parse().map_err(input)?;
        let fetched = simattn_hub::dataset_files(&reference);
        paths.extend(fetched.map_err(input_if(HubError::is_input))?);
    }
    Ok(paths)
}

/// The tokenizer; one that would have to be learnt is refused, since text of any size is read once
/// only.
fn tokenizer(spec: &TokenizerSpec) -> Result<Tokenizer, DataError> {
    match spec {
        TokenizerSpec::Bytes => Ok(Tokenizer::bytes()),
        TokenizerSpec::File(path) => Tokenizer::from_file(path),
        TokenizerSpec::Bpe { .. } => Err(DataError::TokenizerSpec {
            text: spec.to_string(),
            problem: "prepare does not learn a tokenizer, it needs an existing one".to_owned(),
        }),
    }
}

/// What a prepared folder holds, in lines.
pub(super) fn describe(index: &Index) -> String {
    let both = |field: fn(&simattn_data::shards::Part) -> u64| {
        format!(
            "{} to train on, {} held out",
            grouped(field(&index.train) as f64),
            grouped(field(&index.validation) as f64)
        )
    };
    let text = index.train.bytes + index.validation.bytes;
    let mut lines = vec![
        ("tokens", both(|part| part.tokens)),
        ("documents", both(|part| part.documents)),
        ("shards", both(|part| part.shards.len() as u64)),
        ("text", bytes(text as f64)),
        (
            "vocabulary",
            format!(
                "{}, tokenizer {}",
                grouped(index.tokenizer.vocabulary as f64),
                value(&index.tokenizer.fingerprint)
            ),
        ),
    ];
    if index.bad_inputs > 0 {
        lines.push((
            "left out",
            format!("{} bad lines", grouped(index.bad_inputs as f64)),
        ));
    }
    lines
        .into_iter()
        .map(|(name, value)| format!("{name:<13}{value}\n"))
        .collect()
}

/// A bar in bytes on a terminal; elsewhere a line a tenth, a shard and a bad line.
struct Progress {
    bar: Bar,
    tenths: Tenths,
    /// Lines said of documents that are held out, and of what was passed over.
    said: [u64; 2],
}

/// Lines of one kind that are said one by one.
const NAMED: u64 = 20;

impl Progress {
    fn new() -> Self {
        Self {
            bar: Bar::new("prepare", "{bytes}/{total_bytes}", 0),
            tenths: Tenths::default(),
            said: [0; 2],
        }
    }

    /// Says a line of a kind, unless there were many.
    fn say_some(&mut self, kind: usize, line: &str) {
        self.said[kind] += 1;
        if self.said[kind] <= NAMED {
            self.bar.say(line);
        }
    }

    /// Takes the bar off the screen and says how many lines were not said.
    fn end(self) {
        let Self { bar, said, .. } = self;
        drop(bar);
        for (said, what) in said
            .iter()
            .zip(["held-out documents", "entries of folders"])
        {
            if *said > NAMED {
                tell(format_args!(
                    "prepare: and {} more {what} were left out",
                    said - NAMED
                ));
            }
        }
    }
}

impl PrepareObserver for Progress {
    fn on_progress(&mut self, done: u64, of: u64, tokens: u64) -> ControlFlow<()> {
        let tokens = grouped(tokens as f64);
        if self.bar.is_shown() {
            let left = duration(self.bar.left().as_secs_f64());
            let words = format!("{tokens} tokens, {left} left");
            self.bar.show(done, of, words);
        } else if let Some(percent) = self.tenths.reached(done, of) {
            let size = bytes(of as f64);
            tell(format_args!(
                "prepare {percent}% of {size}, {tokens} tokens"
            ));
        }
        ControlFlow::Continue(())
    }

    fn on_shard(&mut self, file: &str, tokens: u64) -> ControlFlow<()> {
        self.bar.say(format_args!(
            "prepare: {file}, {} tokens",
            grouped(tokens as f64)
        ));
        ControlFlow::Continue(())
    }

    fn on_bad_input(&mut self, place: &str, problem: &str) {
        self.bar
            .say(format_args!("prepare: {place}: {problem}; left out"));
    }

    fn on_held_out(&mut self, place: &str) {
        self.say_some(
            0,
            &format!("prepare: {place}: held out under another name; left out"),
        );
    }

    fn on_passed_over(&mut self, what: &PassedOver) {
        self.say_some(1, &format!("prepare: {what}"));
    }

    fn on_note(&mut self, note: &str) {
        self.bar.say(format_args!("prepare: {note}"));
    }
}
