//! Every attention variant against the outputs and gradients of its authors' own code.
//!
//! `SIMATTN_FIXTURES=DIR cargo test -p simattn --test parity -- --nocapture` checks every
//! `*.safetensors` file in DIR (default: `shared/fixtures` beside the project). A fixture holds
//! inputs, `param.*`, `output`, `grad_output` and `grad.*`, and says in its metadata entry
//! `config` which layer it is.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{DType, Device, Gradients, Tensor, TensorData},
};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use simattn::{
    AttentionConfig, ModelConfig,
    attention::{Attention, Pass},
    init::Initialiser,
    named,
};
use simattn_kernels::{Kernels, reference::RopeTable};

/// Largest RMS relative error that float32 may show.
const FLOAT32_TOLERANCE: f64 = 1e-5;
/// The same for the fast kernels, which compute the scores again in backward instead of keeping
/// their softmax.
const FAST_TOLERANCE: f64 = 1e-5;
/// The same for float64, where only the order of sums differs.
const FLOAT64_TOLERANCE: f64 = 1e-12;

#[test]
fn the_definitions_agree_with_the_authors_code_in_float32() {
    check_all(DType::F32, Kernels::Reference, FLOAT32_TOLERANCE);
}

#[test]
fn the_definitions_agree_with_the_authors_code_in_float64() {
    check_all(DType::F64, Kernels::Reference, FLOAT64_TOLERANCE);
}

#[test]
fn the_fast_kernels_agree_with_the_authors_code() {
    check_all(DType::F32, Kernels::Fast, FAST_TOLERANCE);
}

fn check_all(dtype: DType, kernels: Kernels, tolerance: f64) {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
    let chosen = std::env::var_os("SIMATTN_FIXTURES").map(PathBuf::from);
    let folder = chosen.clone().unwrap_or(default);
    if !folder.is_dir() {
        assert!(
            chosen.is_none(),
            "SIMATTN_FIXTURES: no folder {}",
            folder.display()
        );
        println!(
            "skipped: no fixtures at {} (set SIMATTN_FIXTURES)",
            folder.display()
        );
        return;
    }
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the fixture folder is readable")
        .map(|entry| entry.expect("its entries too").path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();
    assert!(
        !files.is_empty(),
        "no *.safetensors in {}",
        folder.display()
    );
    let mut bad = Vec::new();
    for file in &files {
        let fixture = Fixture::read(file);
        for (tensor, error) in fixture.errors(dtype, kernels) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            println!("{dtype:?} {kernels:?} {name} {tensor}: {error:.2e}");
            // A NaN must not pass: the comparison is written so that it fails.
            if !matches!(
                error.partial_cmp(&tolerance),
                Some(std::cmp::Ordering::Less)
            ) {
                bad.push(format!("{name} {tensor}: {error:.2e}"));
            }
        }
    }
    assert!(bad.is_empty(), "above {tolerance:.0e}:\n{}", bad.join("\n"));
}

#[derive(Clone)]
struct Values {
    shape: Vec<usize>,
    values: Vec<f64>,
}

struct Fixture {
    config: Value,
    tensors: BTreeMap<String, Values>,
}

impl Fixture {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).expect("fixture is readable");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("fixture has a header");
        let text = header.metadata().as_ref().and_then(|m| m.get("config"));
        let config = serde_json::from_str(text.expect("fixture has a config")).expect("in JSON");
        let file = SafeTensors::deserialize(&bytes).expect("fixture is whole");
        let tensors = file
            .iter()
            .map(|(name, view)| {
                let values = match view.dtype() {
                    Dtype::F64 => view
                        .data()
                        .chunks_exact(8)
                        .map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes")))
                        .collect(),
                    Dtype::F32 => view
                        .data()
                        .chunks_exact(4)
                        .map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")).into())
                        .collect(),
                    other => panic!("{name} has type {other:?}"),
                };
                let shape = view.shape().to_vec();
                (name.to_string(), Values { shape, values })
            })
            .collect();
        Self { config, tensors }
    }

    fn number(&self, key: &str) -> Option<usize> {
        self.config[key].as_u64().map(|n| n as usize)
    }

    fn must(&self, key: &str) -> usize {
        self.number(key)
            .unwrap_or_else(|| panic!("the fixture's config has no {key}: {}", self.config))
    }

    fn kind(&self) -> &str {
        self.config["kind"].as_str().expect("a kind")
    }

    fn is_sas(&self) -> bool {
        self.kind().starts_with("sas")
    }

    /// The layer as a model of ours would configure it.
    fn model(&self) -> ModelConfig {
        let base = self.config["rope_base"].as_f64().unwrap_or(10_000.0);
        let attention = match self.kind() {
            "mha" | "mqa" | "gqa" => {
                let heads = self.must("n_head");
                let share = self.number("group_size").unwrap_or(1);
                json!({ "kind": "gqa", "heads": heads, "kv_heads": heads / share,
                        "head_dim": self.must("head_dim"), "rope_base": base })
            }
            "mla" => json!({ "kind": "mla", "heads": self.must("n_head"), "rope_base": base,
                "nope_head_dim": self.must("head_dim"),
                "rope_head_dim": self.must("qk_rope_head_dim"),
                "value_head_dim": self.must("v_head_dim"),
                "query_rank": self.must("q_lora_rank"), "kv_rank": self.must("kv_lora_rank") }),
            "tpa" => json!({ "kind": "tpa", "heads": self.must("n_head"), "rope_base": base,
                "head_dim": self.must("head_dim"), "kv_rank": self.must("rank"),
                "query_rank": self.must("q_rank") }),
            "tpakvonly" => json!({ "kind": "tpa", "heads": self.must("n_head"), "rope_base": base,
                "head_dim": self.must("head_dim"), "kv_rank": self.must("rank") }),
            kind if kind.starts_with("sas") => json!({ "kind": "sas",
                "heads": self.must("heads"), "expanded_heads": self.must("expanded_heads"),
                "head_dim": self.must("head_dim"),
                "expanded_head_dim": self.must("expanded_head_dim"),
                "kernel_size": self.number("kernel_size").unwrap_or(1), "rope": "none" }),
            other => panic!("no variant for a fixture of kind {other}"),
        };
        let attention: AttentionConfig = serde_json::from_value(attention).expect("a config");
        let width = self
            .number("hidden")
            .unwrap_or_else(|| self.must("heads") * self.must("head_dim"));
        let mut config = ModelConfig::neox(self.must("seq_len"), 1, width, attention);
        // SAS's output projection has a bias in the authors' module; the others have none.
        config.bias = self.is_sas();
        config.validate().expect("a valid config");
        config
    }

    /// RMS relative error of the output and of every gradient.
    fn errors(&self, dtype: DType, kernels: Kernels) -> Vec<(String, f64)> {
        let device = Device::flex().autodiff();
        let config = self.model();
        let init = Initialiser::new(&config, 1, &device).with_dtype(dtype);
        let mut fill = Fill {
            path: named::Path::default(),
            fixture: self,
            device: &device,
            dtype,
            used: Vec::new(),
        };
        let layer = Attention::new(&config, &init).map(&mut fill);
        let used = fill.used;
        for name in self.tensors.keys().filter_map(|n| n.strip_prefix("param.")) {
            assert!(
                used.iter().any(|u| u == name),
                "param.{name} has no place in the layer"
            );
        }
        let rope = config
            .attention
            .rotation()
            .map(|(dim, base)| RopeTable::new(config.context, 0, dim, base, &device, dtype));
        let pass = Pass::new(rope.as_ref(), kernels);
        let input = |name: &str| -> Option<Values> { self.tensors.get(name).cloned() };
        let tensor = |v: Values| TensorData::new(v.values, v.shape);

        let mut compared = Vec::new();
        let mut errors = Vec::new();
        let grad_output = rms(&self.tensors["grad_output"].values);
        let mut compare = |name: &str, got: TensorData| {
            let want = self
                .tensors
                .get(name)
                .unwrap_or_else(|| panic!("the fixture has no {name}"));
            compared.push(name.to_string());
            let weight = name
                .strip_suffix(".bias")
                .map(|layer| format!("{layer}.weight"));
            let weight = weight.and_then(|name| self.tensors.get(&name));
            let scale = grad_output.max(weight.map_or(0.0, |w| rms(&w.values)));
            errors.push((name.to_string(), relative_error(&got, &want.values, scale)));
        };
        let weight: Tensor<3> = Tensor::from_data(
            tensor(self.tensors["grad_output"].clone()),
            (&device, dtype),
        );
        let gradients = if self.is_sas() {
            let Attention::Sas(layer) = &layer else {
                panic!("not a SAS layer")
            };
            let [q, k, v] = ["query", "key", "value"].map(|name| {
                let values = input(name).unwrap_or_else(|| panic!("the fixture has no {name}"));
                Tensor::<4>::from_data(tensor(values), (&device, dtype)).require_grad()
            });
            let y = layer.attend(q.clone(), k.clone(), v.clone(), &pass);
            compare("output", y.clone().into_data());
            let gradients = (y * weight).sum().backward();
            for (name, x) in [("grad.query", q), ("grad.key", k), ("grad.value", v)] {
                compare(name, x.grad(&gradients).expect("a gradient").into_data());
            }
            gradients
        } else {
            let x = input("x").expect("the fixture has x");
            let x = Tensor::<3>::from_data(tensor(x), (&device, dtype)).require_grad();
            let y = layer.forward(x.clone(), &pass);
            compare("output", y.clone().into_data());
            let gradients = (y * weight).sum().backward();
            compare(
                "grad.x",
                x.grad(&gradients).expect("a gradient").into_data(),
            );
            gradients
        };
        let mut collect = Collect {
            path: named::Path::default(),
            gradients: &gradients,
            found: Vec::new(),
        };
        layer.visit(&mut collect);
        for (name, gradient) in collect.found {
            if let Some(theirs) = self.parameter(&name) {
                compare(
                    &format!("grad.param.{theirs}"),
                    gradient.expect("every weight has a gradient"),
                );
            }
        }
        for name in self.tensors.keys().filter(|n| n.starts_with("grad.")) {
            assert!(compared.contains(name), "{name} was not compared");
        }
        errors
    }

    /// The authors' name of one of our parameters; `None` for SAS's projections, which a fixture
    /// of the layer between them does not hold.
    fn parameter(&self, ours: &str) -> Option<String> {
        let (layer, field) = ours.rsplit_once('.').unwrap_or((ours, "weight"));
        let theirs = match (self.kind(), layer) {
            (_, "out") if self.is_sas() => "output_dense".into(),
            (_, "q" | "k" | "v") if self.is_sas() => return None,
            (_, layer) if self.is_sas() => {
                let (which, stage) = layer.split_once('.').expect("expand_q.heads1");
                let which = which.replace("expand", "sas");
                let stage = match stage {
                    "heads1" => "0",
                    "heads2" => "1.process",
                    "features1" => "2",
                    "features2" => "3.process",
                    other => panic!("no place for {other}"),
                };
                format!("{which}.{stage}")
            }
            (_, "out") => "c_proj".into(),
            ("mla", "q_down") => "q_a_proj".into(),
            ("mla", "q_norm") => "q_a_layernorm".into(),
            ("mla", "q_up") => "q_b_proj".into(),
            ("mla", "kv_down") => "kv_a_proj_with_mqa".into(),
            ("mla", "kv_norm") => "kv_a_layernorm".into(),
            ("mla", "kv_up") => "kv_b_proj".into(),
            ("tpa" | "tpakvonly", "q") => "c_qkv.c_q".into(),
            ("tpa" | "tpakvonly", layer) => {
                let (which, factor) = layer.split_once("_factors.").expect("q_factors.a");
                format!("c_qkv.W_{}_{which}", factor.to_uppercase())
            }
            (_, layer @ ("q" | "k" | "v")) => format!("c_{layer}"),
            (kind, layer) => panic!("a {kind} fixture has no place for {layer}"),
        };
        Some(format!("{theirs}.{field}"))
    }
}

/// Puts the fixture's parameters into the layer.
struct Fill<'a> {
    path: named::Path,
    fixture: &'a Fixture,
    device: &'a Device,
    dtype: DType,
    used: Vec<String>,
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }
    fn exit_module(&mut self, _: &str, container_type: &str) {
        self.path.exit(container_type);
    }
    fn map_float<const R: usize>(&mut self, param: Param<Tensor<R>>) -> Param<Tensor<R>> {
        let Some(theirs) = self.fixture.parameter(&self.path.name()) else {
            return param;
        };
        let found = self.fixture.tensors.get(&format!("param.{theirs}"));
        let Values { mut shape, values } = found
            .unwrap_or_else(|| panic!("the fixture has no param.{theirs}"))
            .clone();
        let expected = param.lazy_shape().to_vec();
        // A linear head expansion may be stored without its kernel axis of length 1.
        if shape.len() + 1 == expected.len() && expected.last() == Some(&1) {
            shape.push(1);
        }
        assert_eq!(shape, expected, "shape of param.{theirs}");
        self.used.push(theirs);
        let data = TensorData::new(values, shape);
        Param::from_tensor(Tensor::from_data(data, (self.device, self.dtype)))
    }
}

struct Collect<'a> {
    path: named::Path,
    gradients: &'a Gradients,
    found: Vec<(String, Option<TensorData>)>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }
    fn exit_module(&mut self, _: &str, container_type: &str) {
        self.path.exit(container_type);
    }
    fn visit_float<const R: usize>(&mut self, param: &Param<Tensor<R>>) {
        let gradient = param.val().grad(self.gradients).map(|g| g.into_data());
        self.found.push((self.path.name(), gradient));
    }
}

fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|x| x * x).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// RMS of the difference over RMS of the truth. A truth of zero has no scale of its own (a bias
/// that shifts all scores of a softmax alike, or a softmax over one key): the difference is then
/// measured against `scale`, the RMS of grad_output or of the gradient of the bias's weight.
fn relative_error(got: &TensorData, want: &[f64], scale: f64) -> f64 {
    let got: Vec<f64> = got.iter::<f64>().collect();
    assert_eq!(got.len(), want.len());
    let difference: Vec<f64> = got.iter().zip(want).map(|(a, b)| a - b).collect();
    let truth = rms(want);
    rms(&difference) / if truth > 1e-12 * scale { truth } else { scale }
}
