//! A checkpoint is used where its files belong together, and passed over for the one before where
//! they do not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simattn_train::checkpoint::{Checkpoint, CheckpointError, folder_name, newest_intact};
use simattn_train::run_folder::RunFolder;
use simattn_train::runs::{RunState, summary};
use simattn_train::{
    Budget, Dataset, Meters, Resume, ResumeError, Resumption, RunConfig, Session, Trainer,
    compare_config, parse_document,
};

const MHA: &str = "attention = { kind = \"mha\", heads = 2, head_dim = 4 }";
const STEPS: u64 = 3;

fn config(model: &str, optimizer: &str) -> RunConfig {
    let text = format!(
        "seed = 7\n[model]\ncontext = 16\nlayers = 1\nwidth = 8\n{model}\n\
         [data]\ntales_train_bytes = 4000\ntales_validation_bytes = 1000\n\
         [train]\nsteps = {STEPS}\nbatch = 2\nevaluation_batches = 1\nevaluate_every = 2\n\
         log_every = 1\ncheckpoint_every = 1\nkeep_checkpoints = 9\n{optimizer}\n"
    );
    parse_document(&text, Path::new("test.toml")).expect("a configuration")
}

/// A finished run with a checkpoint after each step.
fn train(place: &Path, config: &RunConfig) -> RunConfig {
    let data = Dataset::prepare(&config.data, config.seed).expect("embedded stories");
    let config = data.complete(config).expect("a vocabulary");
    let budget = Budget::Steps(config.train.steps);
    let trainer = Trainer::new(&config, &data, budget, &Device::flex()).expect("a small model");
    let folder = RunFolder::create(place).expect("a free place");
    let stop = Arc::new(AtomicBool::new(false));
    let meters = Meters::default();
    let session = Session::start(trainer, folder, &config, &data, None, meters, stop);
    session
        .expect("a free place")
        .run(&mut ())
        .expect("a small run");
    config
}

/// A finished run, copied for every change.
struct Work {
    place: tempfile::TempDir,
    config: RunConfig,
}

impl Work {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a temporary folder");
        let run = place.path().join("whole");
        let config = train(&run, &config(MHA, ""));
        // Saved only where the save before it had ended; the first and the last always are.
        let _ = fs::remove_dir_all(run.join(folder_name(2)));
        Self { place, config }
    }

    /// A copy of the run, and the newest checkpoint in it.
    fn copy(&self) -> (PathBuf, PathBuf) {
        let run = self.place.path().join("run");
        let _ = fs::remove_dir_all(&run);
        copy(&self.place.path().join("whole"), &run);
        let newest = run.join(folder_name(STEPS));
        assert!(newest.is_dir());
        (run, newest)
    }

    /// The newest checkpoint after a change to one of its files, its sums corrected: why it is not
    /// usable. The one before it must be found then.
    fn refused(&self, file: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> String {
        let (run, newest) = self.copy();
        let path = newest.join(file);
        let before = fs::read(&path).expect("a file");
        let after = change(before.clone());
        assert!(before != after, "{file}: nothing changed");
        fs::write(&path, after).expect("a small file");
        repair(&newest);
        let error = Checkpoint::open(&newest)
            .expect_err("it was changed")
            .to_string();
        assert!(
            error.contains(file) && !error.contains('\n'),
            "{file}: {error}"
        );
        let glance = Checkpoint::glance(&newest)
            .expect_err("it was changed")
            .to_string();
        assert_eq!(glance, error);
        let found = Resumption::find(&run, &Resume::Auto).expect("the one before");
        let before = found.checkpoint.expect("the one before").folder;
        assert_eq!(before, run.join(folder_name(1)));
        assert_eq!(found.unusable.len(), 1);
        assert_eq!(found.unusable[0].0, newest);
        drop(found.folder);
        assert_eq!(summary(&run, true).state, RunState::Damaged);
        assert_eq!(summary(&run, false).state, RunState::Damaged);
        error
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let place = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &place);
        } else {
            fs::copy(&path, &place).expect("a small file");
        }
    }
}

/// Puts the lengths in `state.json`, where that is JSON, and the sums right.
fn repair(folder: &Path) {
    let read = |name: &str| fs::read(folder.join(name)).expect("a file");
    if let Ok(mut state) = serde_json::from_slice::<Value>(&read("state.json"))
        && state["files"].is_object()
    {
        for name in [
            "config.toml",
            "model.safetensors",
            "optimizer.safetensors",
            "tokenizer.json",
        ] {
            state["files"][name] = read(name).len().into();
        }
        fs::write(folder.join("state.json"), state.to_string()).expect("a small file");
    }
    let mut sums = String::new();
    for name in [
        "config.toml",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
        "tokenizer.json",
    ] {
        let sum: String = Sha256::digest(read(name))
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        sums.push_str(&format!("{sum}  {name}\n"));
    }
    fs::write(folder.join("SHA256SUMS"), sums).expect("a small file");
}

/// Changes a JSON file.
fn json_with(change: impl Fn(&mut Value)) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |bytes| {
        let mut value = serde_json::from_slice(&bytes).expect("JSON");
        change(&mut value);
        value.to_string().into_bytes()
    }
}

/// Changes the header and the data of a safetensors file.
fn tensors_with(change: impl Fn(&mut Value, &mut Vec<u8>)) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |bytes| {
        let size = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let mut header = serde_json::from_slice(&bytes[8..8 + size]).expect("JSON");
        let mut data = bytes[8 + size..].to_vec();
        change(&mut header, &mut data);
        let header = header.to_string().into_bytes();
        [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
    }
}

fn rename(header: &mut Value, from: &str, to: &str) {
    let entry = header.as_object_mut().expect("an object").remove(from);
    header[to] = entry.expect("a tensor");
}

#[test]
fn every_kind_of_model_and_optimizer_agrees_with_itself() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let models = [
        MHA,
        "tied = true\npositions = \"learned\"\nmlp = \"gelu_tanh\"\n\
         attention = { kind = \"mha\", heads = 2, head_dim = 4 }",
        "parallel_residual = true\nqkv_bias = false\nout_bias = false\n\
         attention = { kind = \"mha\", heads = 2, head_dim = 4, rotary_dim = 2 }",
        "norm = \"rms\"\nmlp = \"swiglu\"\nbias = false\nqk_norm = true\n\
         attention = { kind = \"gqa\", heads = 4, kv_heads = 2, head_dim = 4 }",
        "norm = \"rms\"\nmlp = \"swiglu\"\nbias = false\nqkv_bias = true\n\
         attention = { kind = \"mqa\", heads = 2, head_dim = 4 }",
        "mlp_width = 6\nattention = { kind = \"sas\", heads = 2, head_dim = 4, \
         expanded_heads = 4, expanded_head_dim = 6, kernel_size = 3 }",
        "attention = { kind = \"mla\", heads = 2, nope_head_dim = 2, rope_head_dim = 2, \
         value_head_dim = 4, query_rank = 2, kv_rank = 2 }",
        "attention = { kind = \"tpa\", heads = 2, head_dim = 4, query_rank = 2, kv_rank = 2 }",
        "attention = { kind = \"mfa\", heads = 2, head_dim = 4, query_rank = 2 }",
    ];
    for (number, model) in models.iter().enumerate() {
        let optimizer = if number % 2 == 1 {
            "optimizer = \"muon\""
        } else {
            ""
        };
        let run = place.path().join(format!("run-{number}"));
        train(&run, &config(model, optimizer));
        let found = newest_intact(&run).expect("a folder");
        assert!(found.unusable.is_empty(), "{model}: {:?}", found.unusable);
        let summary = summary(&run, true);
        assert_eq!(summary.state, RunState::Finished);
        assert!(summary.troubles.is_empty(), "{:?}", summary.troubles);
    }
}

#[test]
fn a_state_of_another_step_than_its_folder_is_not_gone_on_from() {
    let work = Work::new();
    let step = |step: u64| json_with(move |state| state["progress"]["step"] = step.into());
    assert!(work.refused("state.json", step(2)).contains("is of step 2"));
    assert!(
        work.refused("state.json", step(1 << 31))
            .contains("is of step 2147483648")
    );

    // In a folder of that name.
    let (run, newest) = work.copy();
    let far = run.join(folder_name(1 << 31));
    fs::rename(&newest, &far).expect("a folder");
    let path = far.join("state.json");
    let bytes = step(1 << 31)(fs::read(&path).expect("a file"));
    fs::write(&path, bytes).expect("a small file");
    repair(&far);
    let error = Checkpoint::open(&far).expect_err("too far").to_string();
    assert!(error.contains("the configuration has 3"), "{error}");

    // Another step's folder under a name within the steps.
    let (run, newest) = work.copy();
    fs::remove_dir_all(&newest).expect("a folder");
    copy(&run.join(folder_name(1)), &newest);
    let error = Checkpoint::open(&newest)
        .expect_err("another step")
        .to_string();
    assert!(error.contains("is of step 1"), "{error}");
    // A name of its own is no claim.
    let kept = run.join("kept");
    copy(&run.join(folder_name(1)), &kept);
    assert_eq!(
        Checkpoint::open(&kept).expect("a copy").state.progress.step,
        1
    );
}

#[test]
fn a_state_that_no_run_came_to_is_not_gone_on_from() {
    let work = Work::new();
    let (_, newest) = work.copy();
    let whole = Checkpoint::open(&newest).expect("as it was written");
    let tokens = whole.state.progress.tokens;
    for (field, value, said) in [
        ("tokens", json!(tokens + 1), "tokens"),
        ("tokens", json!(0), "0 tokens in 3 steps"),
        ("optimizer_updates", json!(2), "2 updates"),
        ("optimizer_updates", json!(9), "9 updates in 3 steps"),
        ("seconds", json!(-1.0), "-1 seconds"),
        ("position", json!([]), "0 sources of 1"),
        (
            "position",
            json!([{"epoch": 1_u64 << 40, "window": 0, "rows": 6}]),
            "epoch 1099511627776",
        ),
        (
            "position",
            json!([{"epoch": 0, "window": 1_u64 << 40, "rows": 1_u64 << 41}]),
            "window 1099511627776",
        ),
        (
            "position",
            json!([{"epoch": 0, "window": 0, "rows": 2}]),
            "2 windows in 3 steps",
        ),
        (
            "position",
            json!([{"epoch": 1, "window": 2, "rows": 6}]),
            "another position",
        ),
    ] {
        let change = json_with(|state| state["progress"][field] = value.clone());
        let error = work.refused("state.json", change);
        assert!(error.contains(said), "{field}: {error}");
    }
    let loss = json_with(|state| state["validation_loss"] = json!(0.5));
    assert!(work.refused("state.json", loss).contains("validation loss"));
    // A length that is not the file's, its sum right.
    let (_, newest) = work.copy();
    let path = newest.join("state.json");
    let before = fs::read(&path).expect("a file");
    repair(&newest);
    fs::write(
        &path,
        json_with(|state| state["files"]["config.toml"] = 1.into())(before),
    )
    .expect("a small file");
    let error = Checkpoint::open(&newest).expect_err("another length");
    assert!(matches!(error, CheckpointError::Damaged { .. }), "{error}");
}

#[test]
fn a_malformed_optimizer_with_a_right_sum_gives_way_to_the_checkpoint_before() {
    let work = Work::new();
    let file = "optimizer.safetensors";
    let (_, newest) = work.copy();
    let bytes = fs::read(newest.join(file)).expect("a file");
    let size = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + size]).expect("JSON");
    let names = header.as_object().expect("an object").keys();
    let first = names
        .into_iter()
        .find(|name| name.starts_with("first_"))
        .expect("a moment");
    let of = first.strip_prefix("first_moment.").expect("a moment");
    let second = format!("second_moment.{of}");

    for (said, broken) in [
        ("0 bytes", Vec::new()),
        ("no safetensors file", b"garbage".to_vec()),
        ("no safetensors file", vec![0xff; 64]),
        (
            "not a complete safetensors file",
            [&8_u64.to_le_bytes()[..], b"not JSON"].concat(),
        ),
        ("bytes of tensors", bytes[..bytes.len() - 4].to_vec()),
        ("bytes of tensors", [&bytes[..], &[0; 4]].concat()),
    ] {
        let error = work.refused(file, |_| broken.clone());
        assert!(error.contains(said), "{said}: {error}");
    }
    type Change<'a> = &'a dyn Fn(&mut Value, &mut Vec<u8>);
    let changes: [(&str, Change); 7] = [
        ("not float32", &|header, _| {
            header[first]["dtype"] = "I32".into()
        }),
        ("another length than its shape", &|header, _| {
            header[first]["shape"] = json!([1])
        }),
        ("another length", &|header, _| {
            header[first]["data_offsets"] = json!([8, 0])
        }),
        ("overlap or leave gaps", &|header, _| {
            header[first]["data_offsets"] = header[&second]["data_offsets"].clone();
        }),
        ("belongs to no weight", &|header, _| {
            rename(header, first, "first_moment.other")
        }),
        ("does not keep", &|header, _| {
            rename(header, first, &format!("momentum.{of}"))
        }),
        ("the tensors' files record 2", &|header, _| {
            let stated = header["__metadata__"]["simattn"].as_str().expect("text");
            let stated = stated.replace("\"updates\":\"3\"", "\"updates\":\"2\"");
            header["__metadata__"]["simattn"] = stated.into();
        }),
    ];
    for (said, change) in changes {
        let (_, newest) = work.copy();
        let path = newest.join(file);
        let after = tensors_with(change)(fs::read(&path).expect("a file"));
        fs::write(&path, after).expect("a small file");
        repair(&newest);
        let error = Checkpoint::open(&newest).expect_err(said).to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
    // Every one of a run's checkpoints: refused, nothing begins anew.
    let (run, _) = work.copy();
    for step in 0..=STEPS {
        let folder = run.join(folder_name(step));
        if folder.is_dir() {
            fs::write(folder.join(file), b"garbage").expect("a small file");
            repair(&folder);
        }
    }
    let error = Resumption::find(&run, &Resume::Auto).expect_err("none is left");
    assert!(matches!(error, ResumeError::NoneIntact { .. }), "{error}");
}

#[test]
fn weights_of_another_model_or_step_are_not_gone_on_from() {
    let work = Work::new();
    let file = "model.safetensors";
    let wider = MHA.replace("head_dim = 4", "head_dim = 6");
    train(&work.place.path().join("wider"), &config(&wider, ""));
    let other = |run: &str, step: u64| {
        let folder = work.place.path().join(run).join(folder_name(step));
        fs::read(folder.join(file)).expect("a file")
    };
    let wider = other("wider", STEPS);
    let error = work.refused(file, |_| wider.clone());
    assert!(error.contains("its configuration describes"), "{error}");
    // The same model, two steps earlier.
    let earlier = other("whole", 1);
    let (_, newest) = work.copy();
    fs::write(newest.join(file), earlier).expect("a small file");
    repair(&newest);
    let error = Checkpoint::open(&newest)
        .expect_err("an earlier step")
        .to_string();
    assert!(
        error.contains("records 3 steps, but the tensors' files record 1"),
        "{error}"
    );
}

#[test]
fn a_checkpoint_of_an_earlier_version_opens_without_the_position_in_its_tensors() {
    let work = Work::new();
    let (_, newest) = work.copy();
    let path = newest.join("optimizer.safetensors");
    let older = tensors_with(|header, _| {
        header["__metadata__"]["simattn"] = "{\"updates\":\"3\"}".into();
    });
    let bytes = older(fs::read(&path).expect("a file"));
    fs::write(&path, bytes).expect("a small file");
    repair(&newest);
    Checkpoint::open(&newest).expect("as an earlier version wrote it");
}

#[test]
fn a_run_is_not_gone_on_with_beyond_its_last_step() {
    let work = Work::new();
    let (_, newest) = work.copy();
    let checkpoint = Checkpoint::open(&newest).expect("as it was written");
    let mut shorter = work.config.clone();
    shorter.train.steps = 2;
    let error = compare_config(&checkpoint, &shorter, true).expect_err("beyond the end");
    assert!(
        error.to_string().contains("beyond the 2 of train.steps"),
        "{error}"
    );
    shorter.train.steps = 3;
    compare_config(&checkpoint, &shorter, false).expect("at its end");
}

#[test]
fn damage_of_an_older_checkpoint_and_of_the_finished_model_is_found() {
    let work = Work::new();
    let (run, _) = work.copy();
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).expect("a file");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(path, bytes).expect("a small file");
    };
    assert!(summary(&run, true).troubles.is_empty());
    flip(&run.join(folder_name(1)).join("model.safetensors"));
    let found = summary(&run, true);
    assert_eq!((found.state, found.troubles.len()), (RunState::Finished, 1));
    assert!(
        found.troubles[0].contains("step-0000001"),
        "{:?}",
        found.troubles
    );
    // A copy has no second name for the same file, as the run itself does.
    flip(&run.join("model.safetensors"));
    let found = summary(&run, true);
    assert_eq!(found.troubles.len(), 2);
    assert!(
        found.troubles[1].contains("the finished model is not"),
        "{:?}",
        found.troubles
    );
}
