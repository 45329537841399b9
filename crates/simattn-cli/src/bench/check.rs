//! Whether kernels compute what they should, before anybody takes their time.
//!
//! The kernels in float32 against the definitions in float64, from the same weights and inputs: the
//! output and the gradient of the input and of every weight, each as root mean square of the
//! difference over root mean square of the truth.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};
use simattn::attention::Attention;
use simattn::decoding::{AttentionCache, RunningAttention, RunningOptions};
use simattn::init::Initialiser;
use simattn::{Decoder, ModelConfig, Precision, named};
use simattn_kernels::Kernels;
use simattn_random::{Stream, stream};

use super::comparison::{Comparison, Named, rms};
use super::decode::{Decoding, runs_on_caches};
use super::error::BenchError;
use super::layer::{in_type, without_positions};
use super::train::random_batch;
use super::workload::{SEED, Sizes, Variant, Work, normals};

/// The largest relative error that passes on the processor.
pub(crate) const TOLERANCE: f64 = 1e-5;

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// The implementation.
    pub kernels: Kernels,
    /// The float type of a pass.
    pub precision: Precision,
    /// Where.
    pub device: &'a Device,
}

impl Subject<'_> {
    /// The largest relative error that passes. Matrix products of GPUs may round float32 to TF32,
    /// ten bits behind the point; bfloat16 has seven, and gradients that are small sums of large
    /// terms lose more; a wrong kernel is wrong by about all.
    fn tolerance(&self) -> f64 {
        match (self.precision, *self.device == Device::flex()) {
            (Precision::Bfloat16, _) => 0.3,
            (Precision::Float32, true) => TOLERANCE,
            (Precision::Float32, false) => 5e-3,
        }
    }
}

/// Checks what `work` runs: at a small odd shape, and a layer also at the widths that are timed,
/// over a few tokens.
///
/// # Errors
/// Sizes that describe no model, or the worst disagreement above [`TOLERANCE`], on GPUs above 5e-3,
/// in bfloat16 above 0.3.
pub(crate) fn of(
    work: Work,
    variant: Variant,
    sizes: &Sizes,
    subject: Subject<'_>,
) -> Result<(), BenchError> {
    let limit = subject.tolerance();
    let Subject {
        kernels, device, ..
    } = subject;
    let odd = Sizes {
        heads_only: sizes.heads_only,
        ..Sizes::odd()
    };
    let at_widths = Sizes {
        batch: 1,
        seq: sizes.seq.min(odd.seq),
        ..*sizes
    };
    for sizes in [&odd, &at_widths] {
        let model = sizes.layer(variant)?;
        let compared = match work {
            Work::Layer | Work::Train => layer(&model, sizes, subject),
            Work::Decode if runs_on_caches(kernels, device) => on_caches(&model, sizes),
            Work::Decode => decode(&model, sizes, kernels, device),
        };
        compared.into_result(kernels, limit)?;
    }
    if work == Work::Train {
        decoder(&odd.decoder(variant)?, &odd, subject)?.into_result(kernels, limit)?;
    }
    Ok(())
}

/// A layer's output, and the gradients of x and of all weights.
fn layer(model: &ModelConfig, sizes: &Sizes, subject: Subject<'_>) -> Comparison {
    let (device, cpu) = (subject.device.clone().autodiff(), Device::flex().autodiff());
    let init = Initialiser::new(model, SEED, &device);
    let tested = Attention::new(model, &init).map(&mut Shake::new(&device));
    let exact = tested.clone().map(&mut InFloat64(&cpu));
    let shape = [sizes.batch, sizes.seq, model.width];
    let [x, dy] = ["check.x", "check.dy"].map(|name| normals(name, shape.iter().product()));
    let run =
        |layer: &Attention, kernels: Kernels, device: &Device, dtype: DType, inside: DType| {
            let tensor = |values: &[f32]| {
                Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), (device, dtype))
            };
            let x = tensor(&x).require_grad();
            let y = layer.forward(in_type(x.clone(), inside), &without_positions(kernels));
            let y = in_type(y, dtype);
            let mut found = vec![("the output".to_owned(), numbers(y.clone().inner()))];
            let gradients = (y * tensor(&dy)).sum().backward();
            let of_x = x.grad(&gradients).map_or_else(Vec::new, numbers);
            found.push(("the gradient of x".to_owned(), of_x));
            found.extend(gradients_of(layer, &gradients));
            found
        };
    let dy: Vec<f64> = dy.iter().map(|&x| f64::from(x)).collect();
    Comparison::new(
        format!("{} layer of {}", model.attention.name(), shown(sizes)),
        &run(
            &tested,
            subject.kernels,
            &device,
            DType::F32,
            subject.precision.dtype(),
        ),
        &run(&exact, Kernels::Reference, &cpu, DType::F64, DType::F64),
        rms(&dy),
    )
}

/// A decoder's loss and the gradients of all weights.
fn decoder(
    model: &ModelConfig,
    sizes: &Sizes,
    subject: Subject<'_>,
) -> Result<Comparison, BenchError> {
    let (device, cpu) = (subject.device.clone().autodiff(), Device::flex().autodiff());
    let tested = Decoder::new(model, SEED, &device)?.map(&mut Shake::new(&device));
    let exact = tested.clone().map(&mut InFloat64(&cpu));
    let batch = random_batch(sizes);
    let run = |decoder: &Decoder, device: &Device| {
        let shape = [batch.batch, batch.context];
        let ids =
            |ids: &[i32]| Tensor::<2, Int>::from_data(TensorData::new(ids.to_vec(), shape), device);
        let loss = decoder.loss(ids(&batch.inputs), ids(&batch.targets));
        let mut found = vec![("the loss".to_owned(), numbers(loss.clone().inner()))];
        found.extend(gradients_of(decoder, &loss.backward()));
        found
    };
    Ok(Comparison::new(
        format!("{} decoder of {}", model.attention.name(), shown(sizes)),
        &run(
            &tested
                .with_kernels(subject.kernels)
                .with_precision(subject.precision),
            &device,
        ),
        &run(&exact.with_kernels(Kernels::Reference), &cpu),
        0.0,
    ))
}

/// Two tokens through a layer with a cache.
fn decode(model: &ModelConfig, sizes: &Sizes, kernels: Kernels, device: &Device) -> Comparison {
    let cpu = Device::flex();
    let init = Initialiser::new(model, SEED, device);
    let tested = Attention::new(model, &init).map(&mut Shake::new(device));
    let exact = tested.clone().map(&mut InFloat64(&cpu));
    let run = |layer: Attention, kernels: Kernels, device: &Device, dtype: DType| {
        let mut decoding = Decoding::new(layer.valid(), sizes, device, dtype);
        let tokens = ["the first token", "the second token"];
        tokens.map(|name| (name.to_owned(), numbers(decoding.step(kernels))))
    };
    Comparison::new(
        format!("{} decoding at {}", model.attention.name(), shown(sizes)),
        &run(tested, kernels, device, DType::F32),
        &run(exact, Kernels::Reference, &cpu, DType::F64),
        0.0,
    )
}

/// A sequence through a layer with caches: all but the last two tokens at once, those one by one
/// beside another sequence.
fn on_caches(model: &ModelConfig, sizes: &Sizes) -> Comparison {
    let cpu = Device::flex();
    let tested =
        Attention::new(model, &Initialiser::new(model, SEED, &cpu)).map(&mut Shake::new(&cpu));
    let exact = tested.clone().map(&mut InFloat64(&cpu));
    let (tokens, width) = (sizes.seq, model.width);
    let x = normals("check.x", tokens * width);
    let data = TensorData::new(x.clone(), [1, tokens, width]);
    let whole = Tensor::<3>::from_data(data, (&cpu, DType::F64));
    let whole = exact.forward(whole, &without_positions(Kernels::Reference));
    let truth = numbers(whole);

    let layer = RunningAttention::new(&tested, model, RunningOptions::default());
    let [mut cache, mut beside] = [AttentionCache::default(), AttentionCache::default()];
    let first = tokens.saturating_sub(2);
    let mut found = layer.extend(&mut cache, &x[..first * width]);
    layer.extend(&mut beside, &x[..width]);
    for token in x[first * width..].chunks(width) {
        let both = layer.step(&mut [&mut beside, &mut cache], &[token, token].concat());
        found.extend(&both[width..]);
    }
    let found: Vec<f64> = found.into_iter().map(f64::from).collect();
    let split = |values: &[f64]| {
        let (together, one_by_one) = values.split_at(first * width);
        vec![
            ("the tokens at once".to_owned(), together.to_vec()),
            ("the tokens one by one".to_owned(), one_by_one.to_vec()),
        ]
    };
    let case = format!("{} decoding at {}", model.attention.name(), shown(sizes));
    Comparison::new(case, &split(&found), &split(&truth), 0.0)
}

fn shown(sizes: &Sizes) -> String {
    let Sizes {
        batch,
        seq,
        heads,
        expanded_heads,
        head_dim,
        kernel_size,
        ..
    } = sizes;
    let expanded_width = sizes.expanded_width();
    format!(
        "{batch}×{seq} tokens, heads {heads}→{expanded_heads}, width {head_dim}→{expanded_width}, kernel size \
         {kernel_size}"
    )
}

fn numbers<const R: usize>(x: Tensor<R>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// The gradients of all parameters under their names; an empty one where there is none.
fn gradients_of<M: Module>(module: &M, gradients: &Gradients) -> Vec<Named> {
    struct Collect<'a> {
        path: named::Path,
        gradients: &'a Gradients,
        found: Vec<Named>,
    }
    impl ModuleVisitor for Collect<'_> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _: &str, container_type: &str) {
            self.path.exit(container_type);
        }
        fn visit_float<const R: usize>(&mut self, param: &Param<Tensor<R>>) {
            let gradient = param.val().grad(self.gradients);
            let values = gradient.map_or_else(Vec::new, numbers);
            let name = format!("the gradient of {}", self.path.name());
            self.found.push((name, values));
        }
    }
    let mut collect = Collect {
        path: named::Path::default(),
        gradients,
        found: Vec::new(),
    };
    module.visit(&mut collect);
    collect.found
}

/// Moves every weight by chance, so that biases that start at zero and weights that start at one
/// take part.
struct Shake<'a> {
    chance: Stream,
    device: &'a Device,
}

impl<'a> Shake<'a> {
    fn new(device: &'a Device) -> Self {
        Self {
            chance: stream(SEED, "check.weights"),
            device,
        }
    }
}

impl ModuleMapper for Shake<'_> {
    fn map_float<const R: usize>(&mut self, param: Param<Tensor<R>>) -> Param<Tensor<R>> {
        let data = param.val().into_data();
        let shape = data.shape().clone();
        let values: Vec<f32> = data
            .iter::<f32>()
            .map(|value| value + 0.05 * self.chance.normal() as f32)
            .collect();
        Param::from_tensor(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }
}

/// The same weights in float64.
struct InFloat64<'a>(&'a Device);

impl ModuleMapper for InFloat64<'_> {
    fn map_float<const R: usize>(&mut self, param: Param<Tensor<R>>) -> Param<Tensor<R>> {
        let data = param.val().into_data();
        Param::from_tensor(Tensor::from_data(data, (self.0, DType::F64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_agree_with_their_definitions_wherever_the_bench_looks() {
        let sizes = Sizes {
            seq: 21,
            heads: 2,
            expanded_heads: 4,
            head_dim: 6,
            expanded_head_dim: 10,
            ..Sizes::default()
        };
        let device = Device::flex();
        let subject = |precision| Subject {
            kernels: Kernels::Fast,
            precision,
            device: &device,
        };
        for work in [Work::Layer, Work::Train, Work::Decode] {
            for variant in [Variant::Sas, Variant::Mha] {
                of(work, variant, &sizes, subject(Precision::Float32)).unwrap();
            }
            let heads_only = Sizes {
                heads_only: true,
                ..sizes
            };
            let precision = subject(Precision::Float32);
            of(work, Variant::Sas, &heads_only, precision).unwrap();
        }
        for work in [Work::Layer, Work::Train] {
            of(work, Variant::Sas, &sizes, subject(Precision::Bfloat16)).unwrap();
        }
    }

    #[test]
    fn every_weight_of_a_layer_is_compared() {
        let odd = Sizes::odd();
        for (variant, weights) in [(Variant::Sas, 8 + 20), (Variant::Mha, 8)] {
            let model = odd.layer(variant).unwrap();
            let subject = Subject {
                kernels: Kernels::Fast,
                precision: Precision::Float32,
                device: &Device::flex(),
            };
            let compared = layer(&model, &odd, subject);
            assert_eq!(compared.errors.len(), 2 + weights, "{compared:?}");
            // float32 beside float64: an error of exactly zero would mean that nothing was
            // compared.
            assert!(compared.errors.iter().all(|(_, error)| *error > 0.0));
        }
    }
}
