use super::{families::Family, form::heads};
use crate::config::{ModelConfig, Norm, Positions};

/// One tensor of a family's layout and the tensors of ours that it holds.
///
/// Its rows (columns, where `transposed`) are dealt out to `parts` head by head: the first head's
/// rows of the first part, of the second, …, then the second head's. One part and one head is the
/// tensor itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) name: String,
    /// Our tensors, all of one shape.
    pub(super) parts: Vec<String>,
    heads: usize,
    /// Of all parts together.
    rows: usize,
    /// `None` for a vector.
    columns: Option<usize>,
    /// Whether the file holds [columns, rows] (GPT-2).
    transposed: bool,
}

impl Layout {
    fn vector(name: String, part: String, length: usize) -> Self {
        Self {
            name,
            parts: vec![part],
            heads: 1,
            rows: length,
            columns: None,
            transposed: false,
        }
    }

    fn matrix(name: String, part: String, rows: usize, columns: usize) -> Self {
        Self {
            columns: Some(columns),
            ..Self::vector(name, part, rows)
        }
    }

    /// Lengths of axes in the file.
    pub(super) fn shape(&self) -> Vec<usize> {
        match self.columns {
            None => vec![self.rows],
            Some(columns) if self.transposed => vec![columns, self.rows],
            Some(columns) => vec![self.rows, columns],
        }
    }

    /// The file's elements as those of our tensors.
    pub(super) fn split(&self, mut values: Vec<f32>) -> Vec<(String, Vec<f32>)> {
        if self.transposed {
            values = transpose(&values, self.columns.unwrap_or(1), self.rows);
        }
        if self.parts.len() == 1 {
            return vec![(self.parts[0].clone(), values)];
        }
        let run = self.run();
        let dealt = |place: usize| {
            let runs = values.chunks_exact(run).skip(place);
            let taken = runs.step_by(self.parts.len());
            taken.flatten().copied().collect()
        };
        let names = self.parts.iter().cloned().enumerate();
        names.map(|(place, name)| (name, dealt(place))).collect()
    }

    /// The inverse: the file's elements from those of our tensors, in the order of `parts`.
    pub(super) fn join(&self, parts: &[&[f32]]) -> Vec<f32> {
        let run = self.run();
        let joined: Vec<f32> = match parts {
            [whole] => whole.to_vec(),
            _ => (0..self.heads)
                .flat_map(|head| parts.iter().map(move |part| &part[head * run..][..run]))
                .flatten()
                .copied()
                .collect(),
        };
        if self.transposed {
            return transpose(&joined, self.rows, self.columns.unwrap_or(1));
        }
        joined
    }

    /// Elements of one head of one part, which stand together.
    fn run(&self) -> usize {
        self.rows / self.heads / self.parts.len() * self.columns.unwrap_or(1)
    }
}

/// [rows, columns] → [columns, rows]
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| values[row * columns + column]))
        .collect()
}

/// A model's tensors in a family's layout, those outside the layers first. Lazy: a configuration
/// of absurdly many layers is found out at the first tensor that the files lack.
///
/// `config` is one that the family's own reader made, or that [`Family::of`] chose the family for;
/// not for [`Family::Simattn`], whose tensors are ours.
pub(super) fn layout<'a>(
    family: Family,
    config: &'a ModelConfig,
    prefix: &'static str,
) -> Box<dyn Iterator<Item = Layout> + 'a> {
    let outer = outer(family, config, prefix).into_iter();
    let layers = 0..config.layers;
    match family {
        Family::GptNeoX => Box::new(outer.chain(layers.flat_map(|i| neox(config, i)))),
        Family::Gpt2 => Box::new(outer.chain(layers.flat_map(move |i| gpt2(config, prefix, i)))),
        _ => Box::new(outer.chain(layers.flat_map(|i| llama(config, i)))),
    }
}

/// The prefix of GPT-2's tensors where they have one: some files leave it out.
pub(super) const GPT2_PREFIX: &str = "transformer.";

/// The tensors outside the layers.
fn outer(family: Family, config: &ModelConfig, prefix: &str) -> Vec<Layout> {
    let width = config.width;
    let (embedding, norm, head) = match family {
        Family::GptNeoX => (
            "gpt_neox.embed_in".into(),
            "gpt_neox.final_layer_norm".into(),
            "embed_out",
        ),
        Family::Gpt2 => (format!("{prefix}wte"), format!("{prefix}ln_f"), "lm_head"),
        _ => ("model.embed_tokens".into(), "model.norm".into(), "lm_head"),
    };
    let table = |name: String, part: &str, rows| Layout::matrix(name, part.into(), rows, width);
    let mut found = vec![table(
        format!("{embedding}.weight"),
        "embedding",
        config.vocabulary,
    )];
    if config.positions == Positions::Learned {
        let name = format!("{prefix}wpe.weight");
        found.push(table(name, "positions", config.context));
    }
    found.extend(normalisation(config, &norm, "norm"));
    if !config.tied {
        let name = format!("{head}.weight");
        found.push(table(name, "head", config.vocabulary));
    }
    found
}

fn normalisation(config: &ModelConfig, theirs: &str, ours: &str) -> Vec<Layout> {
    let suffixes: &[&str] = match config.norm {
        Norm::Layer => &["weight", "bias"],
        Norm::Rms => &["weight"],
    };
    let vector = |suffix: &&str| {
        Layout::vector(
            format!("{theirs}.{suffix}"),
            format!("{ours}.{suffix}"),
            config.width,
        )
    };
    suffixes.iter().map(vector).collect()
}

/// A dense layer, with its bias where it has one.
fn dense(theirs: String, ours: String, shape: [usize; 2], bias: bool) -> Vec<Layout> {
    let [rows, columns] = shape;
    let weight = Layout::matrix(
        format!("{theirs}.weight"),
        format!("{ours}.weight"),
        rows,
        columns,
    );
    let bias = bias.then(|| Layout::vector(format!("{theirs}.bias"), format!("{ours}.bias"), rows));
    std::iter::once(weight).chain(bias).collect()
}

/// q, k and v as one dense layer of [H, 3, D] rows.
fn fused(theirs: &str, ours: &str, heads: usize, columns: usize, bias: bool) -> Vec<Layout> {
    let parts = |suffix| ["q", "k", "v"].map(|part| format!("{ours}.{part}.{suffix}"));
    let layers = dense(theirs.into(), String::new(), [3 * columns, columns], bias);
    let suffixes = ["weight", "bias"].into_iter();
    suffixes
        .zip(layers)
        .map(|(suffix, layer)| Layout {
            parts: parts(suffix).into(),
            heads,
            ..layer
        })
        .collect()
}

fn llama(config: &ModelConfig, layer: usize) -> Vec<Layout> {
    let [heads, kv_heads, head_dim] = heads(config).unwrap_or_default();
    let (width, inner) = (config.width, config.mlp_width());
    let theirs = |name: &str| format!("model.layers.{layer}.{name}");
    let ours = |name: &str| format!("layers.{layer}.{name}");
    let mut found = normalisation(config, &theirs("input_layernorm"), &ours("attention_norm"));
    let attention = |name: &str, rows| {
        let (theirs, ours) = (
            format!("self_attn.{name}_proj"),
            format!("attention.{name}"),
        );
        (theirs, ours, [rows, width])
    };
    for (theirs_name, ours_name, shape) in [
        attention("q", heads * head_dim),
        attention("k", kv_heads * head_dim),
        attention("v", kv_heads * head_dim),
    ] {
        let names = (theirs(&theirs_name), ours(&ours_name));
        found.extend(dense(names.0, names.1, shape, config.qkv_bias()));
    }
    found.extend(dense(
        theirs("self_attn.o_proj"),
        ours("attention.out"),
        [width, heads * head_dim],
        config.out_bias(),
    ));
    if config.qk_norm {
        for name in ["q_norm", "k_norm"] {
            let part = ours(&format!("attention.{name}"));
            let name = theirs(&format!("self_attn.{name}.weight"));
            found.push(Layout::vector(name, part, head_dim));
        }
    }
    found.extend(normalisation(
        config,
        &theirs("post_attention_layernorm"),
        &ours("mlp_norm"),
    ));
    for (name, shape) in [
        ("gate", [inner, width]),
        ("up", [inner, width]),
        ("down", [width, inner]),
    ] {
        found.extend(dense(
            theirs(&format!("mlp.{name}_proj")),
            ours(&format!("mlp.{name}")),
            shape,
            config.bias,
        ));
    }
    found
}

fn neox(config: &ModelConfig, layer: usize) -> Vec<Layout> {
    let [heads, _, _] = heads(config).unwrap_or_default();
    let (width, inner) = (config.width, config.mlp_width());
    let theirs = |name: &str| format!("gpt_neox.layers.{layer}.{name}");
    let ours = |name: &str| format!("layers.{layer}.{name}");
    let mut found = normalisation(config, &theirs("input_layernorm"), &ours("attention_norm"));
    found.extend(fused(
        &theirs("attention.query_key_value"),
        &ours("attention"),
        heads,
        width,
        config.qkv_bias(),
    ));
    let dense = |name: &str, part: &str, shape, bias| dense(theirs(name), ours(part), shape, bias);
    found.extend(dense(
        "attention.dense",
        "attention.out",
        [width, width],
        config.out_bias(),
    ));
    found.extend(normalisation(
        config,
        &theirs("post_attention_layernorm"),
        &ours("mlp_norm"),
    ));
    found.extend(dense("mlp.dense_h_to_4h", "mlp.up", [inner, width], true));
    found.extend(dense("mlp.dense_4h_to_h", "mlp.down", [width, inner], true));
    found
}

fn gpt2(config: &ModelConfig, prefix: &str, layer: usize) -> Vec<Layout> {
    let (width, inner) = (config.width, config.mlp_width());
    let theirs = |name: &str| format!("{prefix}h.{layer}.{name}");
    let ours = |name: &str| format!("layers.{layer}.{name}");
    let mut found = normalisation(config, &theirs("ln_1"), &ours("attention_norm"));
    found.extend(normalisation(config, &theirs("ln_2"), &ours("mlp_norm")));
    let dense = |name: &str, part: &str, shape| dense(theirs(name), ours(part), shape, true);
    let mut maps = fused(&theirs("attn.c_attn"), &ours("attention"), 1, width, true);
    maps.extend(dense("attn.c_proj", "attention.out", [width, width]));
    maps.extend(dense("mlp.c_fc", "mlp.up", [inner, width]));
    maps.extend(dense("mlp.c_proj", "mlp.down", [width, inner]));
    for map in &mut maps {
        map.transposed = map.columns.is_some();
    }
    found.extend(maps);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_undoes_splitting() {
        let values: Vec<f32> = (0..3 * 4 * 5).map(|n| n as f32).collect();
        for (heads, transposed) in [(1, false), (2, false), (4, false), (1, true)] {
            let layout = Layout {
                parts: vec!["q".into(), "k".into(), "v".into()],
                heads,
                transposed,
                ..Layout::matrix("qkv".into(), String::new(), 12, 5)
            };
            let parts = layout.split(values.clone());
            assert_eq!(parts[1].1.len(), 20);
            let parts: Vec<&[f32]> = parts.iter().map(|(_, part)| part.as_slice()).collect();
            assert_eq!(layout.join(&parts), values, "{heads} {transposed}");
        }
    }

    #[test]
    fn heads_interleave_their_queries_keys_and_values() {
        // Two heads of one feature: rows q0 k0 v0 q1 k1 v1.
        let layout = Layout {
            parts: vec!["q".into(), "k".into(), "v".into()],
            heads: 2,
            ..Layout::vector("b".into(), String::new(), 6)
        };
        let parts = layout.split(vec![0., 1., 2., 3., 4., 5.]);
        let found: Vec<_> = parts.into_iter().map(|(_, part)| part).collect();
        assert_eq!(found, [vec![0., 3.], vec![1., 4.], vec![2., 5.]]);
    }
}
