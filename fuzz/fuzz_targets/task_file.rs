//! A file of tasks, and items under the tasks that it describes.
//!
//! reader: crates/simattn-eval/src/task.rs except tasks named file_in
//! reader: crates/simattn-eval/src/template.rs
#![no_main]

use simattn_eval::read_tasks;
use simattn_fuzz::{Place, parts};

const BUILT_IN: &str = include_str!("../../crates/simattn-eval/src/tasks.toml");
const ITEM: &str = "{\"question\": \"Which?\", \"choices\": {\"text\": [\"a\", \"b\"], \
    \"label\": [\"A\", \"B\"]}, \"answerKey\": \"B\", \"label\": \"1\", \"n\": 3, \
    \"goal\": \"x\", \"sol1\": \"y\", \"sol2\": \"z\", \"text\": \"one two three\", \
    \"sentence\": \"a _ b\", \"option1\": \"c\", \"option2\": \"d\", \"answer\": \"2\"}";

fn seeds() -> Vec<Vec<u8>> {
    let own = "[[task]]\nname = \"own\"\nfiles = [\"a\"]\ncontext = \"{question} {{n}}\"\n\
               choices = [\"{n}\", \"b\"]\ngold = { index = \"n\", first = 2 }\n\
               metrics = [\"acc_norm\"]\n\n[[task]]\nname = \"other\"\ncontexts = [\"{n}\", \"\"]\n\
               continuation = \"{text}\"\ngold = { always = 1 }\nmetrics = [\"acc\"]\n";
    let mut files = vec![BUILT_IN.to_owned(), own.to_owned()];
    files.extend(BUILT_IN.split("\n\n").map(str::to_owned));
    let seed = |file: String| parts::join(&[file.as_bytes(), ITEM.as_bytes()]);
    files.into_iter().map(seed).collect()
}

fn run(data: &[u8]) {
    let all = parts::split(data);
    let item = parts::text(all.get(1).copied().unwrap_or_default());
    let place = Place::fresh();
    let tasks = match read_tasks(&place.write("tasks.toml", all[0])) {
        Ok(tasks) => tasks,
        Err(error) => return simattn_fuzz::refused(&error),
    };
    for task in tasks {
        assert!(!task.metrics.is_empty());
        match task.item(&item) {
            Ok(item) => {
                assert!(!item.requests.is_empty());
                assert!(item.gold.is_none_or(|gold| gold < item.requests.len()));
            }
            Err(error) => simattn_fuzz::refused(&error),
        }
        if let Err(error) = task.file_in(&place.path("")) {
            simattn_fuzz::refused(&error);
        }
    }
}

simattn_fuzz::target!(seeds, run);
