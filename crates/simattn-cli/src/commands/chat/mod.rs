//! `simattn chat`: a conversation with a model.

mod conversation;
mod lines;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use signal_hook::consts::SIGINT;
use simattn_serve::scheduler::{Limits, Request};
use simattn_serve::template::ChatTemplate;
use simattn_serve::text::Output;
use simattn_serve::writing::{Writing, Written};

use super::running::{self, RunningArgs, RunningModel, broken, refused};
use super::sampling::SamplingArgs;
use crate::console::{show_content, tell};
use crate::error::{CliError, failure, input};
use conversation::Conversation;
use lines::{Lines, Said};

/// Talk with a model that has a chat template.
///
/// Ctrl-C stops an answer; Ctrl-C or Ctrl-D at the prompt ends the program. "/new" begins another
/// conversation.
#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// A folder that `train`, `convert from-hf` or `upcycle` wrote.
    pub model: PathBuf,
    /// What the model is told first.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Tokens of an answer at most.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = positive)]
    pub tokens: usize,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub running: RunningArgs,
}

/// What scores are divided by unless it is said.
const TEMPERATURE: f64 = 0.7;

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("a whole number above 0 is needed".into()),
    }
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for a model that cannot be read or has no chat template,
/// [`CliError::Failure`] where its scores are no numbers.
pub(crate) fn run(args: &ChatArgs) -> Result<(), CliError> {
    let limits = Limits {
        memory: running::memory(),
        ..Limits::default()
    };
    let model = running::start(&args.model, &args.running, limits)?;
    let template = ChatTemplate::of_model(&model.text, &model.tokenizer).map_err(input)?;
    let mut conversation = Conversation::new(template, args.system.clone());
    let mut lines = Lines::open().map_err(failure)?;
    // At the prompt the line editor takes the key itself.
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGINT, interrupted.clone()).map_err(failure)?;
    loop {
        match lines.next().map_err(failure)? {
            Said::Text(text) if text.trim().is_empty() => {}
            Said::Text(text) if text.trim() == "/new" => {
                conversation.forget();
                tell("chat: a new conversation");
            }
            Said::Text(text) => {
                conversation.say(text);
                answer(args, &model, &mut conversation, &interrupted)?;
            }
            Said::End => return Ok(()),
        }
    }
}

/// Lets the model answer what was said last.
fn answer(
    args: &ChatArgs,
    model: &RunningModel,
    conversation: &mut Conversation,
    interrupted: &AtomicBool,
) -> Result<(), CliError> {
    let context = model.scheduler.context_length();
    let fitted = conversation.fit(&model.tokenizer, context, args.tokens);
    let Some(prompt) = fitted.map_err(input)? else {
        tell(format_args!(
            "chat: this message alone does not fit the model's context of {context} tokens"
        ));
        return Ok(());
    };
    let request = Request {
        sampling: args
            .sampling
            .sampling(TEMPERATURE, model.scheduler.vocabulary())?,
        max_tokens: args.tokens.min(context - prompt.len()),
        ends: model.ends.clone(),
        prompt,
        ..Request::default()
    };
    let outputs = vec![Output::new(args.sampling.stops()?, 0)];
    let answers = model.scheduler.submit(vec![request]).map_err(refused)?;
    let (ends, vocabulary) = (model.ends.clone(), model.vocabulary.clone());
    let mut writing = Writing::new(answers, outputs, ends, vocabulary);
    let mut said = String::new();
    interrupted.store(false, Ordering::SeqCst);
    while let Some((_, written)) = writing.wait() {
        match written {
            Written::Prompt { .. } => {}
            Written::Text { released, .. } => {
                show_content(&released.text)?;
                said.push_str(&released.text);
            }
            Written::Failed(error) => return Err(broken(error)),
        }
        if interrupted.load(Ordering::SeqCst) {
            show_content(" …")?;
            break;
        }
    }
    show_content("\n")?;
    conversation.answer(said);
    Ok(())
}
