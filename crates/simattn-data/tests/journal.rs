//! An unfinished folder is continued as it was written, or not at all.

use serde_json::Value;
use simattn_data::Tokenizer;
use simattn_data::prepare::{Job, OnBadInput, PrepareError, PrepareObserver, prepare};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

mod mutation;
use mutation::Dice;

static BYTES: LazyLock<Tokenizer> = LazyLock::new(Tokenizer::bytes);

fn job<'a>(inputs: &'a [PathBuf], out: &'a Path) -> Job<'a> {
    Job {
        inputs,
        validation: &[],
        tokenizer: &BYTES,
        out,
        field: "text",
        validation_fraction: 0.3,
        seed: 2,
        shard_tokens: 400,
        on_bad_input: OnBadInput::Skip,
    }
}

/// Breaks off after so many shards.
struct BreakAfter(usize);

impl PrepareObserver for BreakAfter {
    fn on_shard(&mut self, _: &str, _: u64) -> ControlFlow<()> {
        match self.0 {
            0 => ControlFlow::Break(()),
            _ => {
                self.0 -= 1;
                ControlFlow::Continue(())
            }
        }
    }
}

/// Every file of a folder but the lock.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| name != "prepare.lock")
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

fn put(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("prepare.lock"), "").unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Inputs of three kinds, the finished folder, and one that was broken off with two finished shards
/// of training, one of validation, and both parts growing.
struct Work {
    place: tempfile::TempDir,
    inputs: [PathBuf; 3],
    finished: BTreeMap<String, Vec<u8>>,
    begun: BTreeMap<String, Vec<u8>>,
}

impl Work {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let inputs = ["a.jsonl", "b.txt", "c.jsonl"].map(|name| place.path().join(name));
        let line = |n: usize| {
            let text = format!("document {n}, {}", "with words ".repeat(n * 7 % 11));
            format!("{{\"text\":\"{text}\"}}\n")
        };
        let lines = |range: std::ops::Range<usize>| range.map(line).collect::<String>();
        // A bad line before the first shard is finished.
        let first = format!("{}no object\n{}", line(1), lines(2..12));
        fs::write(&inputs[0], first).unwrap();
        let texts: Vec<String> = (0..9)
            .map(|n| format!("text {n} of b\n").repeat(3))
            .collect();
        fs::write(&inputs[1], texts.join("<|endoftext|>\n")).unwrap();
        fs::write(&inputs[2], lines(20..60)).unwrap();
        let out = place.path().join("out");
        prepare(&job(&inputs, &out), &mut ()).unwrap();
        let finished = files(&out);
        fs::remove_dir_all(&out).unwrap();
        let stopped = prepare(&job(&inputs, &out), &mut BreakAfter(2)).unwrap_err();
        assert!(matches!(stopped, PrepareError::Stopped));
        let mut begun = files(&out);
        // What was written after the journal, as a killed process leaves it.
        let partial = |name: &&String| name.ends_with(".partial");
        let growing: Vec<String> = begun.keys().filter(partial).cloned().collect();
        assert!(!growing.is_empty());
        for name in growing {
            begun.get_mut(&name).unwrap().extend(b"torn");
        }
        Self {
            place,
            inputs,
            finished,
            begun,
        }
    }

    /// Goes on from these files; the folder afterwards, or why not, and then nothing may have
    /// changed.
    fn go_on(
        &self,
        files_before: &BTreeMap<String, Vec<u8>>,
    ) -> Result<BTreeMap<String, Vec<u8>>, PrepareError> {
        let out = self.place.path().join("out");
        put(&out, files_before);
        match prepare(&job(&self.inputs, &out), &mut ()) {
            Ok(_) => {
                assert!(!out.join("prepare.lock").exists());
                Ok(files(&out))
            }
            Err(error) => {
                assert!(
                    files(&out) == *files_before,
                    "{error}: something was written"
                );
                assert!(error.is_input(), "{error}: not for the user to correct");
                assert!(!error.to_string().contains('\n'), "{error}");
                Err(error)
            }
        }
    }

    fn with_journal(&self, journal: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.begun.clone();
        files.insert("prepare.json".to_owned(), journal.to_vec());
        files
    }

    fn journal(&self) -> &[u8] {
        &self.begun["prepare.json"]
    }

    /// The journal as it was before it had sums.
    fn old_journal(&self) -> Vec<u8> {
        let mut journal: Value = serde_json::from_slice(self.journal()).unwrap();
        journal["format"] = 1.into();
        journal.as_object_mut().unwrap().remove("sha256");
        for part in ["train", "validation"] {
            if let Some(growing) = journal[part]["growing"].as_object_mut() {
                growing.remove("sha256");
            }
        }
        serde_json::to_vec_pretty(&journal).unwrap()
    }
}

#[test]
fn a_journal_with_or_without_a_sum_is_gone_on_from() {
    let work = Work::new();
    assert!(work.go_on(&work.begun).unwrap() == work.finished);
    assert!(work.go_on(&work.with_journal(&work.old_journal())).unwrap() == work.finished);
}

#[test]
fn any_mutation_of_a_journal_is_refused_or_changes_nothing() {
    let work = Work::new();
    let old = work.old_journal();
    let value: Value = serde_json::from_slice(&old).unwrap();
    let mut dice = Dice(11);
    let (mut refused, mut right) = (0, 0);
    for round in 0..600 {
        let journal = match round % 5 {
            0 => dice.change_bytes(work.journal()),
            1 => dice.change_number(work.journal()),
            2 => dice.change_bytes(&old),
            3 => dice.change_number(&old),
            _ => {
                let mut value = value.clone();
                dice.change_value(&mut value);
                serde_json::to_vec_pretty(&value).unwrap()
            }
        };
        match work.go_on(&work.with_journal(&journal)) {
            Ok(files) => {
                let text = String::from_utf8_lossy(&journal);
                assert!(
                    files == work.finished,
                    "round {round}: another folder\n{text}"
                );
                right += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        refused > 300 && right > 10,
        "{refused} refused, {right} right"
    );
}

#[test]
fn a_place_beyond_the_inputs_does_not_skip_them() {
    let work = Work::new();
    let old: Value = serde_json::from_slice(&work.old_journal()).unwrap();
    let place = |file: u64, offset: u64, line: u64| {
        let mut journal = old.clone();
        journal["place"] = serde_json::json!({"file": file, "offset": offset, "line": line});
        let files = work.with_journal(&serde_json::to_vec_pretty(&journal).unwrap());
        work.go_on(&files).unwrap_err().to_string()
    };
    assert!(place(7, 0, 0).contains("input 8 of 3"));
    assert!(place(u64::MAX, 0, 0).contains("of 3"));
    assert!(place(3, 0, 0).contains("no document of the inputs ends at its place"));
    assert!(place(0, 1 << 40, 4).contains("a.jsonl, which has"));
    assert!(place(0, 7, 1).contains("within a line"));
    assert!(place(0, 0, 0).contains("do not belong together"));
}

#[test]
fn a_finished_shard_that_is_missing_or_changed_is_not_passed_over() {
    let work = Work::new();
    for name in ["train-00000.bin", "validation-00000.bin"] {
        if !work.begun.contains_key(name) {
            continue;
        }
        for at in [0, 20, 100, 140, usize::MAX] {
            let mut files = work.begun.clone();
            if at == usize::MAX {
                files.remove(name);
            } else {
                files.get_mut(name).unwrap()[at] ^= 1;
            }
            let line = work.go_on(&files).unwrap_err().to_string();
            assert!(
                line.contains(name) && line.contains("to start again, remove"),
                "{line}"
            );
        }
        let mut files = work.begun.clone();
        files.get_mut(name).unwrap().pop();
        assert!(
            work.go_on(&files)
                .unwrap_err()
                .to_string()
                .contains("cut short")
        );
    }
}

#[test]
fn an_unfinished_shard_that_is_missing_cut_or_changed_is_not_finished() {
    let work = Work::new();
    let partial = |name: &&String| name.ends_with(".partial");
    for name in work.begun.keys().filter(partial) {
        let mut files = work.begun.clone();
        files.get_mut(name).unwrap()[130] ^= 1;
        let line = work.go_on(&files).unwrap_err().to_string();
        assert!(line.contains("its checksum is another"), "{line}");
        files = work.begun.clone();
        files.get_mut(name).unwrap().truncate(131);
        let line = work.go_on(&files).unwrap_err().to_string();
        assert!(line.contains("at least"), "{line}");
        files.remove(name);
        assert!(
            work.go_on(&files)
                .unwrap_err()
                .to_string()
                .contains("no such file")
        );
    }
}

#[test]
fn shards_without_their_journal_are_not_overwritten() {
    let work = Work::new();
    let mut files = work.begun.clone();
    files.remove("prepare.json");
    let error = work.go_on(&files).unwrap_err();
    assert!(
        error.to_string().contains("it is missing, beside"),
        "{error}"
    );
}

#[test]
fn an_index_beside_a_journal_is_believed_only_where_its_shards_are_whole() {
    let work = Work::new();
    let mut files = work.finished.clone();
    files.insert("prepare.json".to_owned(), work.journal().to_vec());
    assert!(work.go_on(&files).unwrap() == work.finished);
    // Another index, and a shard after those that the journal lists that is incomplete: both are
    // made again.
    let index = String::from_utf8(work.finished["index.json"].clone()).unwrap();
    let first = index.replacen("\"bytes\": ", "\"bytes\": 1", 1);
    files.insert("index.json".to_owned(), first.into_bytes());
    assert!(work.go_on(&files).unwrap() == work.finished);
    let last = files
        .keys()
        .rfind(|name| name.starts_with("train-"))
        .unwrap()
        .clone();
    files.insert("index.json".to_owned(), index.into_bytes());
    files.get_mut(&last).unwrap().truncate(140);
    assert!(work.go_on(&files).unwrap() == work.finished);
}
