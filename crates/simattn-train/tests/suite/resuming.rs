//! Runs that go on: with the tokenizer of their weights, with counters that hold, never from what
//! is no number.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use simattn::Decoder;
use simattn_data::prepare::{Job, OnBadInput, prepare};
use simattn_data::{Tokenizer, TokenizerSpec};
use simattn_train::checkpoint::{self, Checkpoint};
use simattn_train::model_folder::{self, FolderError};
use simattn_train::run_folder::RunFolder;
use simattn_train::runs::{RunState, summary};
use simattn_train::{
    Budget, Dataset, Ending, EvaluationReport, KeptTokenizer, Meters, Observer, Resume,
    ResumeError, Resumption, RunConfig, Session, SessionError, StepReport, TrainError, Trainer,
    compare_config, last_metrics,
};

use crate::tiny;

/// Keeps every report.
#[derive(Debug, Default)]
struct Record(Vec<StepReport>, Vec<EvaluationReport>);

impl Observer for Record {
    fn on_step(&mut self, report: &StepReport) {
        self.0.push(*report);
    }

    fn on_evaluation(&mut self, report: &EvaluationReport) {
        self.1.push(*report);
    }
}

/// A run's folder, and stories to learn from.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        fs::create_dir(place.path("text")).expect("a folder");
        place.story(
            "a",
            "The fox met a crow in the old wood, and the crow had a cheese. ",
        );
        place.story(
            "b",
            "A wolf came by the river where the lamb drank, and it was angry. ",
        );
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn story(&self, name: &str, sentence: &str) {
        let text = format!("{}\n\n", sentence.repeat(8)).repeat(20);
        fs::write(self.path(&format!("text/{name}.txt")), text).expect("a small file");
    }

    fn config(&self) -> RunConfig {
        let mut config = tiny();
        config.data.source = self.path("text").display().to_string();
        config.data.validation_fraction = 0.3;
        config.data.tokenizer = TokenizerSpec::Bpe { vocabulary: 280 };
        config.train.batch = 2;
        config.train.steps = 4;
        config.train.checkpoint_every = 2;
        config.train.evaluate_every = 0;
        config
    }

    /// Trains in "run" from its newest checkpoint on, whatever changed.
    fn train(&self, config: &RunConfig) -> Result<(Ending, Record), SessionError> {
        let (session, _) = self.session(config);
        let mut record = Record::default();
        Ok((session?.run(&mut record)?, record))
    }

    fn session(&self, config: &RunConfig) -> (Result<Session, SessionError>, Option<Checkpoint>) {
        let out = self.path("run");
        let found = Resumption::find(&out, &Resume::Auto).expect("a run or nothing");
        let from = found.checkpoint;
        let kept = from.as_ref().map(|from| {
            compare_config(from, config, true).expect("allowed");
            KeptTokenizer::of(from, &config.data).expect("the tokenizer of the run")
        });
        let data = Dataset::prepare_with(&config.data, config.seed, kept.as_ref()).expect("text");
        let config = data.complete(config).expect("a vocabulary");
        let device = Device::flex().autodiff();
        let decoder = match &from {
            Some(from) => from.decoder(&config, &device).expect("the same form"),
            None => Decoder::new(&config.model, config.seed, &device).expect("a right form"),
        };
        let budget = Budget::Steps(config.train.steps);
        let trainer = Trainer::with_decoder(decoder, &config, &data, budget).expect("enough text");
        let folder = found
            .folder
            .unwrap_or_else(|| RunFolder::create(&out).expect("a free place"));
        let stop = Arc::default();
        let meters = Meters::default();
        let session = Session::start(trainer, folder, &config, &data, from.as_ref(), meters, stop);
        (session, from)
    }

    fn checkpoint(&self, step: u64) -> Checkpoint {
        let folder = self.path("run").join(checkpoint::folder_name(step));
        Checkpoint::open(&folder).expect("a checkpoint")
    }

    fn tokenizer(&self) -> Vec<u8> {
        fs::read(self.path("run/tokenizer.json")).expect("the run's tokenizer")
    }
}

#[test]
fn a_vocabulary_is_not_learnt_anew_where_text_was_added() {
    let place = Place::new();
    let mut config = place.config();
    let (_, _) = place.train(&config).expect("a run");
    let before = place.tokenizer();
    place.story(
        "c",
        "Zyx qux vox zyx qux vox, jumbled kwyjibo zyx and qux. ",
    );
    let learnt = Dataset::prepare(&config.data, config.seed).expect("text");
    let own = Tokenizer::from_json(&before, "the run's").expect("a tokenizer");
    assert_ne!(
        learnt.tokenizer.fingerprint(),
        own.fingerprint(),
        "the text asks for another one"
    );
    config.train.steps = 6;
    place.train(&config).expect("the run continues");
    assert!(place.tokenizer() == before, "not a byte of it moved");
    let saved = place.checkpoint(6).tokenizer();
    assert!(fs::read(saved).expect("a checkpoint's tokenizer") == before);
}

#[test]
fn another_tokenizer_is_refused_by_name_where_a_run_goes_on() {
    let place = Place::new();
    let config = place.config();
    place.train(&config).expect("a run");
    let from = place.checkpoint(4);
    let other = place.path("other.json");
    Tokenizer::bytes().save(&other).expect("a small file");
    let ask = |tokenizer: TokenizerSpec| {
        let mut data = config.data.clone();
        data.tokenizer = tokenizer;
        KeptTokenizer::of(&from, &data)
    };
    for (asked, name) in [
        (TokenizerSpec::Bytes, "bytes"),
        (TokenizerSpec::Bpe { vocabulary: 290 }, "bpe:290"),
        (TokenizerSpec::File(other), "other.json"),
    ] {
        let error = ask(asked).expect_err("another tokenizer");
        assert!(matches!(error, ResumeError::Tokenizer { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains(name) && said.lines().count() == 1, "{said}");
    }
    // The same one under another name is the same one, whatever the layout of the file.
    let copy = place.path("copy.json");
    let value: serde_json::Value = serde_json::from_slice(&place.tokenizer()).expect("JSON");
    fs::write(&copy, format!("{value:#}\n")).expect("a small file");
    for same in [TokenizerSpec::File(copy), config.data.tokenizer.clone()] {
        ask(same).expect("the same tokenizer");
    }
}

#[test]
fn a_run_needs_no_file_beside_it_for_its_tokenizer() {
    let place = Place::new();
    let mut config = place.config();
    let file = place.path("bytes.json");
    Tokenizer::bytes().save(&file).expect("a small file");
    config.data.tokenizer = TokenizerSpec::File(file.clone());
    place.train(&config).expect("a run");
    fs::remove_file(&file).expect("a file");
    config.train.steps = 5;
    place.train(&config).expect("the run has a copy");
}

#[test]
fn folders_of_ids_by_another_tokenizer_are_refused_where_a_run_goes_on() {
    let place = Place::new();
    let config = place.config();
    place.train(&config).expect("a run");
    let out = place.path("ids");
    let job = Job {
        inputs: &[place.path("text")],
        validation: &[],
        tokenizer: &Tokenizer::bytes(),
        out: &out,
        field: "text",
        validation_fraction: 0.5,
        seed: 1,
        shard_tokens: 1_000_000,
        on_bad_input: OnBadInput::Fail,
    };
    prepare(&job, &mut ()).expect("a prepared folder");
    for asked in [config.data.tokenizer.clone(), TokenizerSpec::Bytes] {
        let mut data = config.data.clone();
        data.source = out.display().to_string();
        data.tokenizer = asked;
        let kept = KeptTokenizer::of(&place.checkpoint(4), &data).expect("the folder decides");
        let error = Dataset::prepare_with(&data, 1, Some(&kept)).expect_err("other ids");
        let said = error.to_string();
        assert!(
            said.contains("ids/index.json") && said.contains("step-0000004"),
            "{said}"
        );
    }
}

#[test]
fn a_model_to_go_on_from_keeps_its_tokenizer_whatever_is_set() {
    let place = Place::new();
    let config = place.config();
    place.train(&config).expect("a run");
    let model = place.path("run");
    let file = place.path("next.toml");
    fs::write(&file, "[train]\nsteps = 3\n").expect("a small file");
    let start = |sets: &[&str]| {
        let sets: Vec<_> = sets
            .iter()
            .map(|set| set.parse().expect("a field"))
            .collect();
        model_folder::start_from(&model, &file, &sets)
    };
    let own = TokenizerSpec::File(model.join("tokenizer.json"));
    assert_eq!(start(&[]).expect("a model").data.tokenizer, own);
    let same = format!("data.tokenizer={}", model.join("tokenizer.json").display());
    assert_eq!(start(&[&same]).expect("its own").data.tokenizer, own);
    for other in ["data.tokenizer=bytes", "data.tokenizer=bpe:280"] {
        let error = start(&[other]).expect_err("another tokenizer");
        assert!(
            matches!(error, FolderError::OtherTokenizer { .. }),
            "{error}"
        );
    }
}

#[test]
fn counters_go_on_from_what_was_spent_where_the_steps_change_their_size() {
    let place = Place::new();
    let mut config = place.config();
    let (_, first) = place.train(&config).expect("a run");
    let end = first.0.last().expect("steps");
    assert_eq!(end.tokens, 4 * 2 * 32);
    config.train.steps = 6;
    config.train.batch = 3;
    config.train.accumulation = 2;
    config.model.context = 48;
    let (ending, second) = place.train(&config).expect("the run continues");
    let tokens: Vec<u64> = second.0.iter().map(|report| report.tokens).collect();
    assert_eq!(tokens, [256 + 288, 256 + 2 * 288]);
    let flops: Vec<f64> = second.0.iter().map(|report| report.flops).collect();
    assert!(flops[0] > end.flops && flops[1] - flops[0] > 2.0 * (end.flops / 4.0));
    assert!((flops[1] - flops[0] - (flops[0] - end.flops)).abs() < 1.0);
    for report in &second.0 {
        assert_eq!(
            report.tokens_per_second,
            report.tokens as f64 / report.seconds
        );
    }
    let Ending::Finished(last) = ending else {
        panic!("stopped")
    };
    assert_eq!((last.tokens, last.flops), (tokens[1], flops[1]));
    let progress = place.checkpoint(6).state.progress;
    assert_eq!(
        (progress.tokens, progress.flops),
        (tokens[1], Some(flops[1]))
    );
    // And once more, back to the first size.
    let mut config = place.config();
    config.train.steps = 7;
    let (_, third) = place.train(&config).expect("the run continues");
    assert_eq!(third.0[0].tokens, tokens[1] + 64);
    // The log says how fast this step was, not the mean of all.
    let log = fs::read_to_string(place.path("run/metrics.jsonl")).expect("a log");
    let lines: Vec<serde_json::Value> = (log.lines())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &serde_json::Value| line.get("loss").is_some())
        .collect();
    for pair in lines.windows(2) {
        let of = |name: &str, line: &serde_json::Value| line[name].as_f64().expect("a number");
        let tokens = of("tokens", &pair[1]) - of("tokens", &pair[0]);
        let seconds = of("seconds", &pair[1]) - of("seconds", &pair[0]);
        let speed = of("tokens_per_second", &pair[1]);
        assert!((speed * seconds / tokens - 1.0).abs() < 0.01, "{pair:?}");
    }
}

#[test]
fn a_checkpoint_that_states_no_operations_counts_them_by_its_own_configuration() {
    let place = Place::new();
    let mut config = place.config();
    let (_, first) = place.train(&config).expect("a run");
    let spent = first.0.last().expect("steps").flops;
    let from = place.checkpoint(4);
    // As 26a0dbc wrote it: without the operations, under a sum that says so.
    let state = from.folder.join("state.json");
    let text = fs::read_to_string(&state).expect("the state");
    let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    value["progress"]
        .as_object_mut()
        .expect("an object")
        .remove("flops")
        .expect("stated");
    rewrite(&from.folder, &serde_json::to_vec(&value).expect("JSON"));
    config.train.steps = 5;
    config.train.batch = 5;
    let (_, second) = place.train(&config).expect("the run continues");
    let per_step = second.0[0].flops - spent;
    assert!((per_step / (spent / 4.0) - 2.5).abs() < 1e-9, "{per_step}");
}

/// Puts another state into a checkpoint, with the right sum.
fn rewrite(folder: &Path, state: &[u8]) {
    use sha2::{Digest, Sha256};
    fs::write(folder.join("state.json"), state).expect("a small file");
    let sum: String = (Sha256::digest(state).iter())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).expect("sums");
    let lines = sums.lines().map(|line| {
        if line.ends_with("state.json") {
            format!("{sum}{}\n", &line[64..])
        } else {
            format!("{line}\n")
        }
    });
    let sums: String = lines.collect();
    fs::write(folder.join("SHA256SUMS"), sums).expect("a small file");
}

#[test]
fn a_longer_context_goes_on_at_the_same_share_of_the_epoch() {
    let place = Place::new();
    let mut config = place.config();
    config.train.steps = 40;
    config.train.checkpoint_every = 0;
    place.train(&config).expect("a run");
    let before = place.checkpoint(40).state.progress.position.sources[0];
    assert_eq!((before.epoch, before.rows), (0, 80));
    // In windows of this length the epoch has fewer than were given out.
    config.model.context = 160;
    config.train.steps = 41;
    config.train.batch = 1;
    let (_, record) = place.train(&config).expect("the run continues");
    assert_eq!(record.0.len(), 1);
    let now = place.checkpoint(41).state.progress.position.sources[0];
    assert_eq!(now.epoch, 0, "{now:?}");
    let expected = before.window / 5;
    assert!(now.window.abs_diff(expected) <= 1, "{before:?} {now:?}");
}

#[test]
fn a_position_that_the_data_do_not_have_leaves_nothing_behind() {
    let place = Place::new();
    let config = place.config();
    place.train(&config).expect("a run");
    let from = place.checkpoint(4);
    let text = fs::read_to_string(from.folder.join("state.json")).expect("the state");
    let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    value["progress"]["position"] = serde_json::json!([]);
    let mut broken = from.clone();
    broken.state = serde_json::from_value(value).expect("a state");
    let data = Dataset::prepare(&config.data, config.seed).expect("text");
    let config = data.complete(&config).expect("a vocabulary");
    let trainer = Trainer::new(&config, &data, Budget::Steps(9), &Device::flex()).expect("text");
    let folder = RunFolder::create(&place.path("new/run")).expect("a free place");
    let stop = Arc::default();
    let error = Session::start(
        trainer,
        folder,
        &config,
        &data,
        Some(&broken),
        Meters::default(),
        stop,
    )
    .expect_err("no position");
    assert!(matches!(error, SessionError::Checkpoint(_)), "{error}");
    assert!(!place.path("new").exists());
}

#[test]
fn a_run_that_ends_in_nan_publishes_nothing() {
    let place = Place::new();
    let mut config = place.config();
    config.train.steps = 1;
    config.train.learning_rate = 1e38;
    config.train.clip = 0.0;
    let error = place
        .train(&config)
        .expect_err("its last loss is no number");
    let SessionError::Train(TrainError::NonFiniteEvaluation { step: 1, .. }) = &error else {
        panic!("{error}")
    };
    assert!(
        error
            .to_string()
            .starts_with("step 1: the validation loss is "),
        "{error}"
    );
    assert!(!place.path("run").exists());
}

#[test]
fn what_is_not_finite_is_not_saved() {
    let place = Place::new();
    let mut config = place.config();
    // The step after the first save makes weights that no float32 holds.
    config.train.steps = 3;
    config.train.checkpoint_every = 1;
    config.train.warmup_steps = Some(0);
    config.train.learning_rate = 3e38;
    config.train.weight_decay = 10.0;
    let (session, _) = place.session(&config);
    let mut snapshot = session.expect("a session").trainer().snapshot();
    assert_eq!(snapshot.first_non_finite(), None);
    let mut moment = snapshot.weights[1].clone();
    moment.name = "moment".to_owned();
    moment.values[3] = f32::INFINITY;
    snapshot.optimizer.push(moment);
    let named = snapshot.first_non_finite().expect("an infinity");
    assert!(
        named.contains("optimizer") && named.contains("moment"),
        "{named}"
    );
    snapshot.weights[2].values[0] = f32::NAN;
    let named = snapshot.first_non_finite().expect("a NaN");
    assert_eq!(named, format!("the weight {}", snapshot.weights[2].name));
    place.train(&config).expect_err("such a run breaks off");
    assert!(!place.path("run/model.safetensors").exists());
}

#[test]
fn a_list_of_runs_says_nan_where_the_newest_loss_is_none() {
    let place = Place::new();
    let mut config = place.config();
    config.train.steps = 2;
    place.train(&config).expect("a run");
    let run = place.path("run");
    assert_eq!(summary(&run, false).state, RunState::Finished);
    // As 26a0dbc wrote a loss that is no number.
    let log = run.join("metrics.jsonl");
    let mut text = fs::read_to_string(&log).expect("a log");
    text.push_str(
        "{\"step\":2,\"tokens\":128,\"validation_loss\":null,\"validation_perplexity\":null}\n",
    );
    fs::write(&log, text).expect("a small file");
    let last = last_metrics(&run).expect("a log");
    assert!(last.validation_loss.is_some_and(f64::is_nan), "{last:?}");
    assert!(last.loss.is_some_and(f64::is_finite), "{last:?}");
    assert_eq!(summary(&run, false).state, RunState::Diverged);
}
