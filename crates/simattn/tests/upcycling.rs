//! An upcycled model computes what the original computed.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde_json::{Value, json};
use simattn::upcycle::{Upcycle, UpcycleError, upcycle};
use simattn::{Decoder, ModelConfig};

fn model(changes: Value) -> Decoder {
    let mut config = json!({ "vocabulary": 50, "context": 40, "layers": 2, "width": 24,
        "attention": { "kind": "gqa", "heads": 4, "kv_heads": 2, "head_dim": 8 } });
    let changes = changes.as_object().expect("an object").clone();
    config.as_object_mut().expect("an object").extend(changes);
    let config: ModelConfig = serde_json::from_value(config).expect("a configuration");
    Decoder::new(&config, 3, &Device::flex()).expect("a model")
}

fn logits(model: &Decoder) -> Vec<f64> {
    let ids: Vec<i32> = (0..33).map(|i| (7 * i * i + i) % 50).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, 33]), &Device::flex());
    model.logits(ids).into_data().iter::<f64>().collect()
}

/// RMS of the difference over the RMS of the first.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let difference = squares(&mut a.iter().zip(b).map(|(x, y)| x - y));
    (difference / squares(&mut a.iter().copied())).sqrt()
}

const OPTIONS: Upcycle = Upcycle {
    expanded_heads: 12,
    expanded_head_dim: 12,
    kernel_size: 5,
    noise: 0.0,
    seed: 1,
};

#[test]
fn without_noise_the_function_stays() {
    let forms = [
        json!({}),
        json!({ "attention": { "kind": "mha", "heads": 3, "head_dim": 8 } }),
        json!({ "attention": { "kind": "mqa", "heads": 2, "head_dim": 12, "rotary_dim": 4 } }),
        json!({ "norm": "rms", "mlp": "swiglu", "bias": false, "qkv_bias": true, "qk_norm": true }),
        json!({ "positions": "learned", "mlp": "gelu_tanh", "tied": true }),
        json!({ "parallel_residual": true, "rope_scaling": { "kind": "linear", "factor": 4.0 } }),
    ];
    for form in forms {
        let original = model(form.clone());
        let expected = logits(&original);
        for (kernel_size, expanded_head_dim) in [(1, 12), (5, 16), (3, 20)] {
            let options = Upcycle {
                kernel_size,
                expanded_head_dim,
                ..OPTIONS
            };
            let sas = upcycle(&original, &options).expect("it fits");
            assert_eq!(sas.config().attention.name(), "sas");
            let error = distance(&expected, &logits(&sas));
            assert!(error < 2e-6, "{form}: {error:.1e}");
        }
    }
}

#[test]
fn noise_moves_the_function_a_little_and_separates_the_copies() {
    let original = model(json!({}));
    let expected = logits(&original);
    let with = |noise, seed| {
        let options = Upcycle {
            noise,
            seed,
            ..OPTIONS
        };
        logits(&upcycle(&original, &options).expect("it fits"))
    };
    let (small, large) = (
        distance(&expected, &with(0.01, 1)),
        distance(&expected, &with(0.1, 1)),
    );
    assert!(
        0.0 < small && small < large && large < 0.5,
        "{small} {large}"
    );
    assert_eq!(with(0.1, 2), with(0.1, 2));
    assert_ne!(with(0.1, 1), with(0.1, 2));

    let learns = |noise: f64| {
        let device = Device::flex().autodiff();
        let config = original.config().clone();
        let model = Decoder::new(&config, 3, &device).expect("a model");
        let options = Upcycle { noise, ..OPTIONS };
        let sas = upcycle(&model, &options).expect("it fits");
        let ids: Vec<i32> = (0..20).collect();
        let ids = |from: usize| {
            let data = TensorData::new(ids[from..from + 19].to_vec(), [1, 19]);
            Tensor::<2, Int>::from_data(data, &device)
        };
        let gradients = sas.loss(ids(0), ids(1)).backward();
        let simattn::attention::Attention::Sas(layer) = &sas.layers[0].attention else {
            panic!("it became SAS");
        };
        let heads = layer.expand_q.heads1.as_ref().expect("heads are expanded");
        let gradient = heads.weight.val().grad(&gradients).expect("it is used");
        let values: Vec<f64> = gradient.into_data().iter::<f64>().collect();
        let group = values.len() / 3;
        distance(&values[..group], &values[group..2 * group])
    };
    assert!(learns(0.0) < 1e-5, "equal copies learn the same");
    assert!(learns(0.05) > 1e-3, "noise separates them");
}

#[test]
fn what_does_not_fit_is_refused() {
    let original = model(json!({}));
    let with = |options: Upcycle| upcycle(&original, &options).expect_err("it does not fit");
    let narrower = with(Upcycle {
        expanded_head_dim: 6,
        ..OPTIONS
    });
    assert!(matches!(
        narrower,
        UpcycleError::Narrower {
            asked: 6,
            head_dim: 8
        }
    ));
    for (options, needle) in [
        (
            Upcycle {
                expanded_heads: 6,
                ..OPTIONS
            },
            "expanded_heads = 6",
        ),
        (
            Upcycle {
                kernel_size: 4,
                ..OPTIONS
            },
            "kernel_size = 4",
        ),
        (
            Upcycle {
                noise: f64::NAN,
                ..OPTIONS
            },
            "noise = NaN",
        ),
        (
            Upcycle {
                noise: -1.0,
                ..OPTIONS
            },
            "noise = -1",
        ),
    ] {
        let line = with(options).to_string();
        assert!(line.contains(needle) && !line.contains('\n'), "{line}");
    }
    let mfa = model(
        json!({ "attention": { "kind": "mfa", "heads": 2, "head_dim": 8, "query_rank": 4 } }),
    );
    let line = upcycle(&mfa, &OPTIONS)
        .expect_err("MFA is not in SAS")
        .to_string();
    assert!(line.contains("mfa"), "{line}");
}
