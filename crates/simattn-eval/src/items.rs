//! Items of a task: requests and the right answer.

use crate::error::EvalError;
use crate::records;
use crate::task::{Choices, Gold, Task};
use crate::template::{self, Fields, find, texts};
use serde_json::Value;
use std::path::Path;

/// A context and what is scored after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What comes before.
    pub context: String,
    /// What is scored, with the space that separates it.
    pub continuation: String,
    /// Characters of the choice, without that space: the length of `acc_norm`.
    pub characters: usize,
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// One request a choice.
    pub requests: Vec<Request>,
    /// Which is right; `None` for a task without choices.
    pub gold: Option<usize>,
    /// The item's fields as they were read.
    pub document: Fields,
}

impl Task {
    /// The items of a file: JSON lines, blank ones passed over, or Parquet with the feature
    /// `parquet`.
    ///
    /// # Errors
    ///
    /// [`EvalError::Line`] or [`EvalError::Row`] with the first that is no item,
    /// [`EvalError::Empty`] where there is none.
    pub fn items(&self, path: &Path) -> Result<Vec<Item>, EvalError> {
        let mut items = Vec::new();
        records::read(path, &mut |fields| {
            items.push(self.item_of(fields)?);
            Ok(())
        })?;
        if items.is_empty() {
            return Err(EvalError::Empty {
                path: path.to_owned(),
            });
        }
        Ok(items)
    }

    /// The item of one JSON object.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn item(&self, json: &str) -> Result<Item, String> {
        self.item_of(records::parse(json)?)
    }

    fn item_of(&self, document: Fields) -> Result<Item, String> {
        let mut fields = document.clone();
        if let Some(preparation) = self.preparation {
            preparation.apply(&mut fields)?;
        }
        let request = |context: &str, choice: &str| Request {
            context: context.to_owned(),
            continuation: format!(" {choice}"),
            characters: choice.chars().count(),
        };
        let requests: Vec<Request> = match &self.choices {
            Choices::Listed(context, field) => {
                let context = context.fill(&fields)?;
                let choices = texts(&fields, field)?;
                choices
                    .iter()
                    .map(|choice| request(&context, choice))
                    .collect()
            }
            Choices::Written(context, choices) => {
                let context = context.fill(&fields)?;
                let filled = choices.iter().map(|choice| choice.fill(&fields));
                let choices: Vec<String> = filled.collect::<Result<_, _>>()?;
                choices
                    .iter()
                    .map(|choice| request(&context, choice))
                    .collect()
            }
            Choices::Contexts(contexts, continuation) => {
                let continuation = continuation.fill(&fields)?;
                let filled = contexts.iter().map(|context| context.fill(&fields));
                let contexts: Vec<String> = filled.collect::<Result<_, _>>()?;
                contexts
                    .iter()
                    .map(|context| request(context, &continuation))
                    .collect()
            }
            Choices::Single(context, continuation) => {
                vec![request(
                    &context.fill(&fields)?,
                    &continuation.fill(&fields)?,
                )]
            }
        };
        let gold = match &self.gold {
            None => None,
            Some(gold) => Some(right(gold, &fields, requests.len())?),
        };
        if gold.is_some() && requests.len() < 2 {
            return Err("fewer than two choices".to_owned());
        }
        Ok(Item {
            requests,
            gold,
            document,
        })
    }
}

/// The place of the right choice.
fn right(gold: &Gold, fields: &Fields, choices: usize) -> Result<usize, String> {
    let place = match gold {
        Gold::Among { label, among } => {
            let value = find(fields, label)?;
            let list = find(fields, among)?.as_array();
            // Where nothing is equal, the number 1 and the text "1" are the same label.
            let equal = |list: &Vec<Value>| list.iter().position(|other| other == value);
            let spelled = |list: &Vec<Value>| {
                let label = template::spelled(value)?;
                let mut others = list.iter().map(template::spelled);
                others.position(|other| other.as_ref() == Some(&label))
            };
            list.and_then(|list| equal(list).or_else(|| spelled(list)))
                .ok_or_else(|| format!("{label} {value} is not among {among}"))?
        }
        Gold::Index { index, first } => {
            let value = find(fields, index)?;
            let number = match value {
                Value::String(text) => text.trim().parse::<i64>().ok(),
                Value::Bool(truth) => Some(i64::from(*truth)),
                // Tables write whole numbers as 1.0 where another row has none.
                other => other.as_i64().or_else(|| {
                    let number = other.as_f64()?;
                    (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
                }),
            };
            number
                .and_then(|number| usize::try_from(number.checked_sub(*first)?).ok())
                .ok_or_else(|| format!("{index} {value} is not the number of a choice"))?
        }
        Gold::Always { always } => *always,
    };
    if place >= choices {
        return Err(format!(
            "the right answer is number {} of {choices} choices",
            place + 1
        ));
    }
    Ok(place)
}
