use std::collections::HashMap;

use half::{bf16, f16};
use safetensors::{Dtype, View};
use serde_json::{Map, Value, json};

use super::{
    HuggingFaceError as Error,
    families::Family,
    file_names::{CONFIG, WEIGHTS},
    layout::{GPT2_PREFIX, layout},
    simattn_type,
};
use crate::{
    checkpoint::{self, NamedTensor},
    decoder::Decoder,
    finite,
};

/// The configuration class that is written beside models of our own type.
const CONFIGURATION: &str =
    include_str!("../../../../interop/huggingface/configuration_simattn.py");
/// The model class likewise.
const MODELING: &str = include_str!("../../../../interop/huggingface/modeling_simattn.py");

/// The type that weights are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloatType {
    /// As the model holds them.
    #[default]
    F32,
    /// Rounded to float16; a number beyond it is refused.
    F16,
    /// Rounded to bfloat16.
    Bf16,
}

/// A model as files of a Hugging Face folder.
#[derive(Debug)]
pub struct Export {
    /// How it is spelled.
    pub family: Family,
    /// Names and contents, the weights last.
    pub files: Vec<(String, Vec<u8>)>,
}

/// A tensor on its way into a file.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// As [`export_with`] of a model that knows no other special token than the end of text.
///
/// # Errors
/// As [`export_with`].
pub fn export(model: &Decoder, end_of_text: u32, float: FloatType) -> Result<Export, Error> {
    let tokens = [
        ("bos_token_id", Value::Null),
        ("eos_token_id", end_of_text.into()),
    ];
    let tokens = tokens.map(|(field, value)| (field.to_owned(), value));
    export_with(model, &tokens.into_iter().collect(), float)
}

/// Writes `config.json`, weights, a model card and, where the model's form is not one that
/// `transformers` has, the Python files that run it. `tokens` are the fields of `config.json` that
/// name token ids: `eos_token_id`, a number or a list, ends a generation. The tokenizer's files and
/// `generation_config.json` are the caller's to add.
///
/// # Errors
/// [`Error::Broken`] for a weight that is not finite, [`Error::Range`] for one that the type cannot
/// hold.
pub fn export_with(
    model: &Decoder,
    tokens: &Map<String, Value>,
    float: FloatType,
) -> Result<Export, Error> {
    let config = model.config();
    let family = Family::of(config);
    let mut fields = family.write(config, tokens);
    fields["dtype"] = json!(match float {
        FloatType::F32 => "float32",
        FloatType::F16 => "float16",
        FloatType::Bf16 => "bfloat16",
    });
    let mut files = vec![
        (CONFIG.to_owned(), pretty(&fields)),
        ("README.md".to_owned(), card(model, family).into_bytes()),
    ];
    if family == Family::Simattn {
        for (name, text) in [
            ("configuration_simattn.py", CONFIGURATION),
            ("modeling_simattn.py", MODELING),
        ] {
            files.push((name.to_owned(), text.as_bytes().to_vec()));
        }
    }
    files.push((WEIGHTS.to_owned(), weights(model, family, float)?));
    Ok(Export { family, files })
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

fn weights(model: &Decoder, family: Family, float: FloatType) -> Result<Vec<u8>, Error> {
    let tensors = checkpoint::tensors(model);
    let stored: Vec<(String, Stored)> = match family {
        Family::Simattn => tensors
            .iter()
            .map(|t| {
                let name = simattn_type::name(&t.name);
                let tensor = store(&name, t.shape.clone(), &t.values, float)?;
                Ok((name, tensor))
            })
            .collect::<Result<_, Error>>()?,
        _ => {
            let by_name: HashMap<&str, &NamedTensor> =
                tensors.iter().map(|t| (t.name.as_str(), t)).collect();
            layout(family, model.config(), GPT2_PREFIX)
                .map(|place| {
                    let parts: Vec<&[f32]> = place
                        .parts
                        .iter()
                        .map(|part| by_name[part.as_str()].values.as_slice())
                        .collect();
                    let joined = place.join(&parts);
                    let tensor = store(&place.name, place.shape(), &joined, float)?;
                    Ok((place.name, tensor))
                })
                .collect::<Result<_, Error>>()?
        }
    };
    // `transformers` looks for this entry.
    let header = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(stored, Some(header)).map_err(|why| Error::Damaged {
        path: WEIGHTS.into(),
        why: why.to_string(),
    })
}

fn store(name: &str, shape: Vec<usize>, values: &[f32], float: FloatType) -> Result<Stored, Error> {
    finite::check(name, values).map_err(Error::Broken)?;
    // Rounding takes what lies beyond a type's largest number to infinity.
    let within = |round: fn(f32) -> bool, float, instead| match values.iter().find(|&&x| !round(x))
    {
        None => Ok(()),
        Some(&value) => Err(Error::Range {
            name: name.into(),
            value,
            float,
            instead,
        }),
    };
    let (dtype, bytes) = match float {
        FloatType::F32 => {
            let bytes = values.iter().flat_map(|x| x.to_le_bytes());
            (Dtype::F32, bytes.collect())
        }
        FloatType::Bf16 => {
            within(|x| bf16::from_f32(x).is_finite(), "bfloat16", "f32")?;
            let bytes = values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes());
            (Dtype::BF16, bytes.collect())
        }
        FloatType::F16 => {
            within(|x| f16::from_f32(x).is_finite(), "float16", "f32 or bf16")?;
            let bytes = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes());
            (Dtype::F16, bytes.collect())
        }
    };
    Ok(Stored {
        dtype,
        shape,
        bytes,
    })
}

/// The model card.
fn card(model: &Decoder, family: Family) -> String {
    let config = model.config();
    let remote = family == Family::Simattn;
    let trust = if remote {
        ", trust_remote_code=True"
    } else {
        ""
    };
    let note = if remote {
        "\nIts attention is not part of `transformers`: `modeling_simattn.py` in this folder runs \
         it, hence `trust_remote_code`. Read that file before you trust it.\n"
    } else {
        ""
    };
    format!(
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- simattn\n---\n\
         # A {} language model\n\n\
         {} layers, width {}, context {}, {} token ids, {} parameters; written by simattn.\n{note}\n\
         ```python\n\
         from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
         tokenizer = AutoTokenizer.from_pretrained(\".\")\n\
         model = AutoModelForCausalLM.from_pretrained(\".\"{trust})\n\
         inputs = tokenizer(\"Once\", return_tensors=\"pt\")\n\
         print(tokenizer.decode(model.generate(**inputs, max_new_tokens=64)[0]))\n\
         ```\n\n\
         What it was trained on, what it is good for and its licence are for its maker to add here.\n",
        config.attention.name().to_uppercase(),
        config.layers,
        config.width,
        config.context,
        config.vocabulary,
        crate::cost::Cost::of(config).parameters.total,
    )
}
