//! How answers are shown: as they come, one after the other, or as lines of JSON.

use serde_json::{Value, json};
use simattn_serve::sampling::TokenLogprob;
use simattn_serve::text::{Released, TextToken};
use simattn_serve::writing::Ending;

use super::super::running::RunningModel;
use super::GenerateArgs;
use crate::console::{show_content, tell};
use crate::error::CliError;

/// One answer so far.
#[derive(Default)]
struct Answer {
    text: String,
    tokens: Vec<TextToken>,
    ending: Option<Ending>,
}

/// The answers, and how they are shown.
pub(super) struct Shown<'a> {
    prompts: &'a [String],
    choices: usize,
    json: bool,
    seed: u64,
    answers: Vec<Answer>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(args: &GenerateArgs, prompts: &'a [String], seed: u64) -> Self {
        let choices = usize::from(args.choices);
        let mut answers = Vec::new();
        answers.resize_with(prompts.len() * choices, Answer::default);
        Self {
            prompts,
            choices,
            json: args.json,
            seed,
            answers,
        }
    }

    /// A single text is shown while it is written.
    fn is_live(&self) -> bool {
        self.answers.len() == 1 && !self.json
    }

    pub(super) fn take(
        &mut self,
        index: usize,
        released: Released,
        ending: Option<Ending>,
        model: &RunningModel,
    ) -> Result<(), CliError> {
        if self.is_live() {
            show_content(&released.text)?;
        }
        let answer = &mut self.answers[index];
        answer.text.push_str(&released.text);
        answer.tokens.extend(released.tokens);
        answer.ending = answer.ending.or(ending);
        if self.json && ending.is_some() {
            show_content(format_args!("{}\n", self.line(index, model)))?;
        }
        Ok(())
    }

    /// All answers are complete.
    pub(super) fn finish(&self, model: &RunningModel) -> Result<(), CliError> {
        if self.is_live() {
            show_content("\n")?;
        } else if !self.json {
            for (index, answer) in self.answers.iter().enumerate() {
                let heading = self.heading(index);
                show_content(format_args!("== {heading} ==\n{}\n", answer.text))?;
            }
        }
        // A padded embedding has rows, and a vocabulary with gaps ids, that stand for no text.
        let tokens = || self.answers.iter().flat_map(|answer| &answer.tokens);
        let nothing = |token: &&TextToken| !model.tokenizer.has_token(token.id);
        let count = tokens().filter(nothing).count();
        if count > 0 {
            tell(format_args!(
                "generate: {count} of {} ids have no token and were printed as nothing",
                tokens().count()
            ));
        }
        Ok(())
    }

    fn heading(&self, index: usize) -> String {
        let prompt = index / self.choices + 1;
        match self.choices {
            1 => format!("{prompt}"),
            _ => format!("{prompt}, answer {}", index % self.choices + 1),
        }
    }

    fn line(&self, index: usize, model: &RunningModel) -> Value {
        let answer = &self.answers[index];
        let likely = |token: &TokenLogprob| {
            json!({
                "id": token.id,
                "text": model.vocabulary.shown(token.id),
                "logprob": token.logprob,
            })
        };
        let tokens = answer.tokens.iter().map(|token| {
            let mut entry = json!({ "id": token.id, "text": model.vocabulary.shown(token.id) });
            if let Some(known) = &token.logprobs {
                entry["logprob"] = known.chosen.logprob.into();
                if !known.top.is_empty() {
                    entry["likeliest"] = known.top.iter().map(likely).collect();
                }
            }
            entry
        });
        json!({
            "prompt": self.prompts[index / self.choices],
            "choice": index % self.choices,
            "seed": self.seed,
            "text": answer.text,
            "finish": match answer.ending {
                Some(Ending::Length) => "length",
                _ => "stop",
            },
            "tokens": tokens.collect::<Vec<_>>(),
        })
    }
}
