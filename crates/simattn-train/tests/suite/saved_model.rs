//! Model folders: whole or not there, and the same model when read back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use simattn_data::TokenSet;
use simattn_train::model_folder::{self, FolderError, Reservation};
use simattn_train::{
    Budget, EvaluateError, Rolling, Trainer, Validation, evaluate_rolling, evaluate_text,
};

use crate::{dataset, tiny};

/// Trains a few steps and saves to `place`; gives the validation loss.
fn train_and_save(place: &Path) -> f64 {
    let config = tiny();
    let data = dataset(&config);
    let complete = data.complete(&config).expect("a vocabulary");
    let reservation = Reservation::new(place).expect("a free place");
    let mut trainer =
        Trainer::new(&config, &data, Budget::Steps(3), &Device::flex()).expect("enough text");
    let last = trainer.run(&mut ()).expect("finite");
    let metadata = BTreeMap::from([("step".to_owned(), "3".to_owned())]);
    reservation
        .save(&complete, &data.tokenizer, trainer.decoder(), &metadata)
        .expect("a place to write");
    last.evaluation.loss
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_model_read_back_has_the_same_loss_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = folder.path().join("runs/first");
    let loss = train_and_save(&place);
    assert_eq!(names(&folder.path().join("runs")), ["first"]);
    assert_eq!(
        names(&place),
        ["config.toml", "model.safetensors", "tokenizer.json"]
    );
    let saved = model_folder::load(&place, &Device::flex()).expect("what was written");
    assert_eq!(saved.config.model.vocabulary, 257);
    let data = dataset(&saved.config);
    let train = &saved.config.train;
    let windows = train.batch * train.evaluation_batches;
    let validation = Validation::new(&*data.validation, train.batch, 32, windows).expect("text");
    let again = validation.evaluate(&saved.decoder);
    assert_eq!(again.loss.to_bits(), loss.to_bits());

    let end = saved.tokenizer.end_of_text();
    let mut heard = Vec::new();
    let mut ids = vec![0; data.validation.tokens() as usize];
    data.validation.read(0, &mut ids).expect("tokens in memory");
    let held_out = TokenSet {
        ids,
        bytes: data.validation.bytes(),
        documents: data.validation.documents(),
    };
    let text = evaluate_text(&saved.decoder, &held_out, end, 8, 32, |tokens| {
        heard.push(tokens);
    })
    .expect("text");
    assert_eq!(text.evaluation.tokens, data.validation.tokens());
    assert_eq!(heard.last(), Some(&text.evaluation.tokens));
    assert_eq!(text.documents, data.validation.documents());
    assert!((text.evaluation.loss / loss - 1.0).abs() < 0.1);
    let one_by_one = evaluate_text(&saved.decoder, &held_out, end, 1, 32, |_| {}).expect("text");
    assert!((one_by_one.evaluation.loss / text.evaluation.loss - 1.0).abs() < 1e-6);
}

#[test]
fn a_place_that_is_taken_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "x").expect("a small file");
    let error = Reservation::new(folder.path()).expect_err("the folder is not empty");
    assert!(matches!(error, FolderError::Exists { .. }));
    assert!(matches!(
        Reservation::new(&file),
        Err(FolderError::Exists { .. })
    ));
    assert!(Reservation::new(&file.join("below")).is_err());
    assert!(matches!(
        Reservation::new(Path::new("")),
        Err(FolderError::Nameless { .. } | FolderError::Exists { .. })
    ));
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn a_run_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let reservation = Reservation::new(&folder.path().join("a/b/model")).expect("a free place");
    assert_eq!(names(folder.path()), ["a"]);
    drop(reservation);
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn each_defect_of_a_folder_is_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = folder.path().join("model");
    train_and_save(&place);
    let line = |place: &Path| {
        let error = model_folder::load(place, &Device::flex()).expect_err("a defect");
        let line = error.to_string();
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    };
    assert!(line(folder.path()).contains("config.toml is missing"));
    assert!(line(&folder.path().join("nowhere")).contains("no saved model"));

    let config = place.join("config.toml");
    let right = fs::read_to_string(&config).expect("the configuration");
    let defects = [
        (right.replace("layers = 2", "layers = 1"), "layers.1."),
        (right.replace("layers = 2", "layers = 3"), "layers.2."),
        (right.replace("width = 32", "width = 64"), "shape"),
        (
            right.replace("vocabulary = 257", "vocabulary = 25"),
            "257 ids",
        ),
        (
            right.replace("[model]", "[model]\nlayrs = 1"),
            "did you mean `layers`?",
        ),
    ];
    for (text, expected) in defects {
        assert_ne!(text, right);
        fs::write(&config, text).expect("a small file");
        let line = line(&place);
        assert!(line.contains(expected), "{line}");
    }
    fs::write(&config, right).expect("a small file");

    let weights = place.join("model.safetensors");
    let bytes = fs::read(&weights).expect("the weights");
    fs::write(&weights, &bytes[..bytes.len() - 1]).expect("a small file");
    assert!(line(&place).contains("model.safetensors"));
    fs::write(&weights, &bytes).expect("a small file");
    fs::write(place.join("tokenizer.json"), "{}").expect("a small file");
    assert!(line(&place).contains("tokenizer.json"));
}

/// Overwrites the first number of the weights in a model folder.
fn poison(place: &Path, value: f32) {
    let path = place.join("model.safetensors");
    let mut file = fs::read(&path).expect("the weights");
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    file[8 + length..12 + length].copy_from_slice(&value.to_le_bytes());
    fs::write(path, file).expect("a small file");
}

#[test]
fn a_saved_model_with_a_nan_weight_is_not_opened_for_use() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = folder.path().join("model");
    train_and_save(&place);
    let config = model_folder::load(&place, &Device::flex())
        .expect("whole")
        .config;
    poison(&place, f32::NAN);
    let error = model_folder::load(&place, &Device::flex()).expect_err("not finite");
    let line = error.to_string();
    assert!(
        line.contains("tensor `") && line.contains("not finite"),
        "{line}"
    );
    // Nor does a run start from it.
    let error = model_folder::load_weights(&place, &config.model, &Device::flex());
    assert_eq!(error.expect_err("not finite").to_string(), line);
}

#[test]
fn a_text_whose_loss_is_no_number_is_not_measured() {
    let config = tiny();
    let data = dataset(&config);
    let model = data.complete(&config).expect("a vocabulary").model;
    let mut decoder = simattn::Decoder::new(&model, 1, &Device::flex()).expect("a model");
    let head = decoder
        .head
        .take()
        .map_or_else(|| decoder.embedding.val(), |head| head.val());
    let large = burn::module::Param::from_tensor(head.full_like(f32::MAX));
    if model.tied {
        decoder.embedding = large;
    } else {
        decoder.head = Some(large);
    }
    let tokens = || TokenSet {
        ids: (0..90).map(|id| id % 50).collect(),
        bytes: 90,
        documents: 1,
    };
    let found = evaluate_text(&decoder, &tokens(), 0, 2, 32, |_| {});
    let error = found.expect_err("no loss");
    let EvaluateError::NotFinite { first, last, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((first, last), (1, 64));
    let rolling = Rolling {
        context: 32,
        stride: 16,
        batch: 1,
        prefix: 0,
    };
    let ids = [tokens().ids];
    let error = evaluate_rolling(&decoder, &ids, (90, 1), &rolling, |_| {}).expect_err("no loss");
    assert!(error.to_string().contains("tokens 1 to 32"), "{error}");
    assert!(!error.is_input());
}
