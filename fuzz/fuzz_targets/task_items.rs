//! The items of each built-in task, in JSON lines.
//!
//! reader: crates/simattn-eval/src/items.rs
//! reader: crates/simattn-eval/src/prepare.rs
//! reader: crates/simattn-eval/src/records.rs except rows object value
//! reader: crates/simattn-eval/src/pair.rs except inputs targets
#![no_main]

use simattn_data::Tokenizer;
use simattn_eval::{Pair, tasks};
use simattn_fuzz::{Place, Switches, parts};

/// An item for each of the tasks, in their order of now; others are for whom they fit.
const ITEMS: [&str; 8] = [
    r#"{"question": "Which?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"}"#,
    r#"{"activity_label": "Roof", "ctx_a": "A man.", "ctx_b": "he IS", "endings": ["x  y", "[z] w", "a [title] b", ""], "label": "2"}"#,
    r#"{"goal": "Boil water", "sol1": "Use a kettle.", "sol2": "Use a sieve.", "label": 0}"#,
    r#"{"text": "In my palm is a clear stone"}"#,
    r#"{"question": "Who?", "distractor1": "a", "distractor2": "b", "distractor3": "c", "correct_answer": "d", "support": " \n text"}"#,
    r#"{"context": "Tracy went.", "question": "Why?", "answerA": "a", "answerB": "b", "answerC": "c", "label": "1\n"}"#,
    r#"{"sentence": "Sarah was a _ than Maria _ .", "option1": "a", "option2": "b", "answer": "2"}"#,
    "\u{feff}{}\n\n  \r\n[]",
];

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for number in 0..tasks().len() as u8 {
        for item in ITEMS {
            let lines = format!("{item}\n{item}\n");
            seeds.push(parts::join(&[&[b'0' + number][..], lines.as_bytes()]));
        }
    }
    seeds
}

fn run(data: &[u8]) {
    let (Switches(switches), [lines]) = parts::parts(data);
    let tasks = tasks();
    let task = &tasks[Switches(switches).choose(0, tasks.len())];
    let place = Place::fresh();
    let items = match task.items(&place.write("items.jsonl", lines)) {
        Ok(items) => items,
        Err(error) => return simattn_fuzz::refused(&error),
    };
    let tokenizer = Tokenizer::bytes();
    for item in &items {
        assert!(item.gold.is_none_or(|gold| gold < item.requests.len()));
        for request in &item.requests {
            let end = tokenizer.end_of_text();
            let pair = Pair::encode(&tokenizer, &request.context, &request.continuation, end);
            if let Err(error) = pair {
                simattn_fuzz::refused(&error);
            }
        }
    }
}

simattn_fuzz::target!(seeds, run);
