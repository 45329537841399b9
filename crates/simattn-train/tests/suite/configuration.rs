//! What a configuration file may say, and what is said about wrong ones.

use std::fs;

use proptest::prelude::*;
use simattn::{AttentionConfig, Init, Mlp, ModelConfig, Norm, SasConfig};
use simattn_data::TokenizerSpec;
use simattn_train::{DataConfig, Decay, RunConfig, TrainConfig, parse_document};

use crate::tiny;

const MODEL: &str = "[model]\ncontext = 8\nlayers = 1\nwidth = 8\n\
                     attention = { kind = \"mha\", heads = 2, head_dim = 4 }\n";

/// The error of a file with this text, without the folder it lies in.
fn error_of(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.toml");
    fs::write(&path, text).expect("a small file");
    let error = RunConfig::from_file(&path).expect_err("the text is wrong");
    let prefix = format!("{}/", folder.path().display());
    error.to_string().replace(&prefix, "")
}

#[test]
fn only_the_model_must_be_given_and_the_rest_is_the_recipe() {
    let config: RunConfig = parse_document(MODEL, "run.toml".as_ref()).expect("a right file");
    config.validate().expect("right values");
    assert_eq!(config.train, TrainConfig::default());
    assert_eq!(config.data, DataConfig::default());
    let train = &config.train;
    assert_eq!((train.beta1, train.beta2), (0.9, 0.95));
    assert_eq!(
        (train.epsilon, train.weight_decay, train.clip),
        (1e-8, 0.1, 1.0)
    );
    let schedule = train.schedule();
    assert_eq!(schedule.minimum, schedule.peak / 10.0);
    assert_eq!(schedule.warmup_steps, 10);
}

#[test]
fn each_defect_is_one_line_that_says_where_and_what_instead() {
    let train = |line: &str| format!("{MODEL}[train]\n{line}\n");
    let table = [
        (
            MODEL.replace("layers", "layrs"),
            "run.toml:3:1: unknown field `layrs` in [model], did you mean `layers`?",
        ),
        (
            train("learning_rat = 1e-3"),
            "run.toml:7:1: unknown field `learning_rat` in [train], did you mean `learning_rate`?",
        ),
        (
            train("steps = \"many\""),
            "run.toml:7:9: invalid type: string \"many\", expected u64",
        ),
        (
            train("decay = \"cosin\""),
            "run.toml:7:9: unknown value `cosin` in [train], did you mean `cosine`?",
        ),
        (
            train("steps = 0"),
            "run.toml: train.steps is 0, but must be 1 to 2^40",
        ),
        (
            train("batch = 0"),
            "run.toml: train.batch is 0, but must be 1 to 2^20",
        ),
        (
            train("accumulation = 6\ngroups = 4"),
            "run.toml: train.groups is 4, but must be a divisor of train.accumulation",
        ),
        (
            train("groups = 0"),
            "run.toml: train.groups is 0, but must be a divisor of train.accumulation",
        ),
        (
            train("learning_rate = -1.0"),
            "run.toml: train.learning_rate is -1, but must be a finite number above 0",
        ),
        (
            train("learning_rate = nan"),
            "run.toml: train.learning_rate is NaN, but must be a finite number above 0",
        ),
        (
            train("minimum_learning_rate = 1.0"),
            "run.toml: train.minimum_learning_rate is 1, but must be 0 to learning_rate",
        ),
        (
            train("beta2 = 1.0"),
            "run.toml: train.beta2 is 1, but must be 0 or more and below 1",
        ),
        (
            train("epsilon = 0.0"),
            "run.toml: train.epsilon is 0, but must be a finite number above 0",
        ),
        (
            train("clip = inf"),
            "run.toml: train.clip is inf, but must be a finite number, 0 or more",
        ),
        (
            format!("{MODEL}[data]\nvalidation_fraction = 0.9\n"),
            "run.toml: data.validation_fraction is 0.9, but must be above 0 and at most 0.5",
        ),
        (
            format!("{MODEL}[data]\nsource = \"\"\n"),
            "run.toml: data.source is \"\", but must be \"tales\" or a path",
        ),
        (
            format!("seed = 7\n{MODEL}[trian]\n"),
            "run.toml:7:2: unknown field `trian`, did you mean `train`?",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(error_of(&text), expected, "{text}");
    }
}

#[test]
fn the_attention_of_a_variant_knows_its_fields_too() {
    let misspelt = error_of(&MODEL.replace("head_dim", "head_dm"));
    assert!(misspelt.starts_with("run.toml:5:"), "{misspelt}");
    assert!(misspelt.contains("`head_dm`"), "{misspelt}");
    assert!(misspelt.ends_with("did you mean `head_dim`?"), "{misspelt}");
    let kind = error_of(&MODEL.replace("mha", "mhaa"));
    assert!(kind.ends_with("did you mean `mha`?"), "{kind}");
    let even = "kind = \"sas\", heads = 2, head_dim = 4, expanded_heads = 4, \
                expanded_head_dim = 8, kernel_size = 2";
    let even = error_of(&MODEL.replace("kind = \"mha\", heads = 2, head_dim = 4", even));
    assert!(
        even.starts_with("run.toml: model.attention.kernel_size"),
        "{even}"
    );
    assert_eq!(even.lines().count(), 1);
}

#[test]
fn a_missing_file_and_bytes_that_are_no_text_get_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.toml");
    let line = |path| RunConfig::from_file(path).expect_err("no text").to_string();
    assert!(line(&path).contains("run.toml: cannot read the configuration"));
    fs::write(&path, [0xff, 0xfe]).expect("a small file");
    assert_eq!(line(&path).lines().count(), 1);
    assert_eq!(line(folder.path()).lines().count(), 1);
}

prop_compose! {
    fn model()(
        context in 1usize..100_000,
        layers in 1usize..100,
        heads in 1usize..9,
        tied: bool,
        sas: bool,
        mlp_width in prop::option::of(1usize..5000),
    ) -> ModelConfig {
        let attention = if sas {
            AttentionConfig::Sas(SasConfig {
                heads,
                kv_heads: None,
                head_dim: 8,
                expanded_heads: 3 * heads,
                expanded_head_dim: 12,
                kernel_size: 5,
                expand_heads: true,
                expand_features: true,
                residual: tied,
                relu: true,
                aggregation: Default::default(),
                rope: Default::default(),
                rope_base: 500.5,
                rotary_dim: Some(4),
            })
        } else {
            AttentionConfig::Mha(simattn::MultiHeadConfig {
                heads,
                head_dim: 8,
                rope_base: 10_000.0,
                rotary_dim: None,
            })
        };
        ModelConfig {
            norm: if tied { Norm::Rms } else { Norm::Layer },
            mlp: if tied { Mlp::Swiglu } else { Mlp::Gelu },
            init: if sas { Init::Small } else { Init::ZeroOutput },
            tied,
            mlp_width,
            ..ModelConfig::neox(context, layers, 8 * heads, attention)
        }
    }
}

prop_compose! {
    fn train()(
        steps in 1u64..1 << 40,
        batch in 1usize..1000,
        accumulation in 1usize..1000,
        learning_rate in 1e-30f64..1e30,
        share in prop::option::of(0.0f64..=1.0),
        warmup_steps in prop::option::of(0u64..1 << 40),
        constant: bool,
        beta1 in 0.0f64..1.0,
        clip in 0.0f64..1e10,
        evaluate_every in 0u64..1000,
        groups in 1usize..9,
        shard_optimizer: bool,
    ) -> TrainConfig {
        TrainConfig {
            steps,
            batch,
            accumulation: accumulation * groups,
            groups,
            shard_optimizer,
            learning_rate,
            minimum_learning_rate: share.map(|share| share * learning_rate),
            warmup_steps,
            decay: if constant { Decay::Constant } else { Decay::Cosine },
            beta1,
            clip,
            evaluate_every,
            ..TrainConfig::default()
        }
    }
}

proptest! {
    #[test]
    fn writing_and_reading_gives_the_same_tree(
        seed in 0u64..=i64::MAX as u64,
        model in model(),
        train in train(),
        source in "[a-zA-Z0-9/._ \"\\\\é\n-]{1,20}",
        bpe in prop::option::of(257usize..100_000),
        validation_fraction in 0.001f64..0.5,
    ) {
        let tokenizer = bpe.map_or(TokenizerSpec::Bytes, |vocabulary| TokenizerSpec::Bpe { vocabulary });
        let data = DataConfig { source, tokenizer, validation_fraction, ..DataConfig::default() };
        let config = RunConfig { seed, model, data, train };
        config.validate().expect("values within their bounds");
        let text = config.to_toml().expect("a TOML form");
        let read: RunConfig = parse_document(&text, "run.toml".as_ref()).expect("what was written");
        prop_assert_eq!(read, config);
    }

    #[test]
    fn any_text_is_read_or_refused_in_one_line(text: String) {
        if let Err(error) = parse_document::<RunConfig>(&text, "run.toml".as_ref()) {
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}

#[test]
fn a_configuration_without_groups_is_written_as_before_there_were_any() {
    let text = tiny().to_toml().expect("a TOML form");
    assert!(
        !text.contains("groups") && !text.contains("shard"),
        "{text}"
    );
}

#[test]
fn a_seed_beyond_toml_is_refused_before_it_is_written() {
    let mut config = tiny();
    config.seed = u64::MAX;
    let error = config.validate().expect_err("too large").to_string();
    assert!(error.starts_with("seed is 18446744073709551615"), "{error}");
}
