//! The optimisation loop from outside: configurations, training, saved models.

// One range is how Burn selects along one axis.
#![allow(clippy::single_range_in_vec_init)]

mod configuration;
mod resuming;
mod saved_model;
mod training;

use simattn_train::{Dataset, RunConfig, parse_document};

/// A model that learns something in seconds, on the embedded corpus.
fn tiny() -> RunConfig {
    parse_document(
        r#"
        seed = 11
        [model]
        context = 32
        layers = 2
        width = 32
        attention = { kind = "mha", heads = 4, head_dim = 8 }
        [data]
        tales_train_bytes = 30000
        tales_validation_bytes = 6000
        [train]
        steps = 60
        batch = 8
        learning_rate = 1e-2
        warmup_steps = 5
        evaluate_every = 20
        evaluation_batches = 3
        "#,
        "tiny.toml".as_ref(),
    )
    .expect("the tiny configuration is right")
}

fn dataset(config: &RunConfig) -> Dataset {
    Dataset::prepare(&config.data, config.seed).expect("the embedded corpus is always there")
}
