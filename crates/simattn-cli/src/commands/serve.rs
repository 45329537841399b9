//! `simattn serve`: a model over HTTP.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use simattn_serve::http::{self, Model, Settings};
use simattn_serve::scheduler::Limits;

use super::byte_size::ByteSize;
use super::running::{self, RunningArgs, RunningModel};
use crate::console::tell;
use crate::error::{CliError, failure, input};

/// The variable that may hold the key: it shows in no list of processes.
const KEY: &str = "SIMATTN_API_KEY";

/// Serve a model over HTTP, by OpenAI's interface.
///
/// Completions and chat completions, also streaming; a page to try the model at /. SIGTERM or
/// Ctrl-C takes no more requests and finishes those that run; the second one ends at once.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A folder that `train`, `convert from-hf` or `upcycle` wrote.
    pub model: PathBuf,
    /// The address to listen at.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// The port to listen at; 0 takes a free one.
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub port: u16,
    /// What clients call the model; the folder's name unless given.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What clients have to send as "Authorization: Bearer KEY"; better given as SIMATTN_API_KEY.
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Listen beyond this machine without a key.
    #[arg(long)]
    pub without_key: bool,
    /// A further name under which this machine may be called; may be given several times. On
    /// loopback only "localhost" and the address itself may be.
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Answers that run at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub rows: u16,
    /// Answers that may wait; more requests are told to come again.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub queue: u16,
    /// Memory for running answers, such as 2GiB; half of what is free unless given.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Memory for beginnings of prompts that are kept, and for answers that are set aside.
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    pub store: ByteSize,
    /// Seconds for an answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub answer_time: u64,
    /// Seconds for running answers when the server is to stop.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain_time: u64,
    /// Bytes of a request's body at most.
    #[arg(long, value_name = "SIZE", default_value = "8MiB")]
    pub body: ByteSize,
    #[command(flatten)]
    pub running: RunningArgs,
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for a model that cannot be read or an address that cannot be listened at,
/// [`CliError::Failure`] for a server that fails.
pub(crate) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let key = match &args.api_key {
        Some(key) => Some(key.clone()),
        None => std::env::var(KEY).ok(),
    };
    if key.as_deref().is_some_and(|key| key.trim().is_empty()) {
        return Err(input("the API key is empty"));
    }
    if !args.host.is_loopback() && key.is_none() && !args.without_key {
        return Err(input(format_args!(
            "--host {} is reached from other machines: give a key in {KEY}, or --without-key",
            args.host
        )));
    }
    let listener = TcpListener::bind(SocketAddr::new(args.host, args.port));
    let listener = listener.map_err(|error| {
        input(format_args!(
            "--host {} --port {}: {error}",
            args.host, args.port
        ))
    })?;
    let address = listener.local_addr().map_err(failure)?;
    let limits = Limits {
        rows: args.rows.into(),
        queue: args.queue.into(),
        memory: args.memory.map_or_else(running::memory, |memory| memory.0),
        store: args.store.0,
        ..Limits::default()
    };
    let RunningModel {
        scheduler,
        tokenizer,
        text,
        ..
    } = running::start(&args.model, &args.running, limits)?;
    let model = Model::new(name(args)?, tokenizer, text, scheduler);
    if let Some(problem) = model.template_problem() {
        tell(format_args!("serve: no chats: {problem}"));
    }
    tell(format_args!("serve: listening at http://{address}"));
    let settings = Settings {
        key,
        hosts: hosts(args),
        body: usize::try_from(args.body.0).unwrap_or(usize::MAX),
        answer_time: Duration::from_secs(args.answer_time),
        drain_time: Duration::from_secs(args.drain_time),
        ..Settings::default()
    };
    http::run(listener, model, settings).map_err(failure)?;
    tell("serve: stopped");
    Ok(())
}

/// What the model is called.
fn name(args: &ServeArgs) -> Result<String, CliError> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let folder = args.model.canonicalize().map_err(failure)?;
    let name = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok(name.unwrap_or_else(|| "model".to_owned()))
}

/// Names that the Host header may have. Beyond loopback any may be: the key protects there.
fn hosts(args: &ServeArgs) -> Option<HashSet<String>> {
    if !args.host.is_loopback() && args.allow_host.is_empty() {
        return None;
    }
    let own = match args.host {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let known = ["localhost".to_owned(), own].into_iter();
    let asked = args.allow_host.iter().map(|name| name.to_ascii_lowercase());
    Some(known.chain(asked).collect())
}
