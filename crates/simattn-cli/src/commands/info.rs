//! `simattn info`: what a configuration costs, before anything is trained.

use std::path::PathBuf;

use clap::Args;
use simattn::{ModelConfig, cost::Cost};
use simattn_data::shards::Index;
use simattn_data::{DataError, Tokenizer, TokenizerSpec};
use simattn_train::RunConfig;

use super::prepare;
use crate::console::show;
use crate::error::{CliError, input};
use crate::machine::Machine;
use crate::quantity::{bytes, count, grouped, with_decimals};
use crate::study::matching;
use crate::{device, room};

/// Print a model's size and costs, what a prepared folder holds, or what this machine offers.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// A configuration, a TOML file, see configs/; or a folder that `simattn prepare` made.
    #[arg(required_unless_present = "machine")]
    pub config: Option<PathBuf>,
    /// Print the processor, its cores, the instruction set the kernels use, and the GPUs that this build reaches.
    #[arg(long)]
    pub machine: bool,
    /// The vocabulary to count with where the configuration takes it from the tokenizer.
    #[arg(long, value_name = "V")]
    pub vocabulary: Option<usize>,
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Input`] for a configuration that cannot be used.
pub(crate) fn run(args: &InfoArgs) -> Result<(), CliError> {
    if args.machine {
        print_machine()?;
    }
    if let Some(path) = &args.config {
        if path.is_dir() {
            let index = Index::read(path).map_err(input)?;
            index.check(path).map_err(input)?;
            show(prepare::describe(&index))?;
            return Ok(());
        }
        let mut config = RunConfig::from_file(path).map_err(input)?;
        if let Some(vocabulary) = args.vocabulary {
            config.model.vocabulary = vocabulary;
        } else if config.model.vocabulary == 0 {
            config.model.vocabulary = vocabulary_of(&config.data.tokenizer).map_err(input)?;
        }
        config.validate().map_err(input)?;
        show(describe(&config))?;
    }
    Ok(())
}

/// The vocabulary that a tokenizer will have; what is trained on the data gets what was asked for.
fn vocabulary_of(spec: &TokenizerSpec) -> Result<usize, DataError> {
    Ok(match spec {
        TokenizerSpec::Bytes => Tokenizer::bytes().vocabulary(),
        TokenizerSpec::Bpe { vocabulary } => *vocabulary,
        TokenizerSpec::File(path) => Tokenizer::from_file(path)?.vocabulary(),
    })
}

fn print_machine() -> Result<(), CliError> {
    let machine = Machine::this();
    let rows = [
        ("processor", machine.cpu),
        ("cores", machine.cores.to_string()),
        ("threads", machine.threads.to_string()),
        ("memory", bytes(machine.memory_bytes as f64)),
        ("instruction set", machine.instruction_set.to_string()),
    ];
    for (name, value) in rows {
        show(format_args!("{name:<17}{value}\n"))?;
    }
    for (name, description) in device::listed() {
        show(format_args!("{name:<17}{description}\n"))?;
    }
    Ok(())
}

/// The lines that `info CONFIG` prints.
fn describe(config: &RunConfig) -> String {
    let model = &config.model;
    let cost = Cost::of(model);
    let number = |n: u128| grouped(n as f64);
    let share = |part: u128| {
        let percent = 100.0 * part as f64 / cost.parameters.total.max(1) as f64;
        format!("{} ({}%)", number(part), with_decimals(percent, 1))
    };
    let mut lines = vec![
        ("attention", model.attention.name().to_owned()),
        ("layers", number(model.layers as u128)),
        ("width", number(model.width as u128)),
        ("context", number(model.context as u128)),
        ("vocabulary", number(model.vocabulary as u128)),
        ("parameters", number(cost.parameters.total)),
        ("  embedding", share(cost.parameters.embedding)),
        ("  attention", share(cost.parameters.attention)),
    ];
    if cost.parameters.expansion > 0 {
        lines.push(("  SAS adds", share(cost.parameters.expansion)));
    }
    lines.push((
        "memory",
        format!(
            "{} for the weights, at least {} to train{}",
            bytes(room::weights(model) as f64),
            bytes(room::training(config, 1) as f64),
            match room::available() {
                Some(there) => format!("; {} available", bytes(there as f64)),
                None => String::new(),
            }
        ),
    ));
    let cache = |values: u128| {
        format!(
            "{} in bfloat16, {} in float32",
            bytes(2.0 * values as f64),
            bytes(4.0 * values as f64)
        )
    };
    lines.push((
        "forward FLOPs",
        format!(
            "{} per token at context {}",
            count(cost.forward_flops_per_token(model.context)),
            grouped(model.context as f64)
        ),
    ));
    lines.extend(training_flops(model, &cost));
    lines.push((
        "K/V cache",
        format!("{} per token", cache(cost.cache_values_per_token)),
    ));
    if cost.expanded_cache_values_per_token != cost.cache_values_per_token {
        let expanded = cache(cost.expanded_cache_values_per_token);
        lines.push(("  if expanded", format!("{expanded} per token")));
    }
    lines
        .into_iter()
        .map(|(name, value)| format!("{name:<15}{value}\n"))
        .collect()
}

/// What a training step costs beside one of multi-head attention with as many parameters.
fn training_flops(model: &ModelConfig, cost: &Cost) -> Vec<(&'static str, String)> {
    let own = cost.training_flops_per_token(model.context);
    let per_token = format!("{} per token", count(own));
    let other = match matching::multi_head_of_equal_parameters(model) {
        Ok(mha) => Cost::of(&mha).training_flops_per_token(model.context),
        // A shape that MHA does not have: there is nothing to compare with.
        Err(_) => return vec![("training FLOPs", per_token)],
    };
    let multiple = own / other;
    let mut lines = vec![(
        "training FLOPs",
        format!(
            "{per_token}, {} times those of MHA with as many parameters",
            with_decimals(multiple, 2)
        ),
    )];
    let percent = |share: f64| with_decimals(100.0 * share, 1);
    if multiple > 1.0005 {
        let saved = percent(1.0 - 1.0 / multiple);
        lines.push((
            "break even",
            format!("by FLOPs, if it needs {saved}% fewer steps than that MHA"),
        ));
    } else if multiple < 0.9995 {
        let spent = percent(1.0 / multiple - 1.0);
        lines.push((
            "break even",
            format!("by FLOPs, even if it needs {spent}% more steps than that MHA"),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(attention: &str) -> String {
        let config: RunConfig = simattn_train::parse_document(
            &format!(
                "[model]\ncontext = 512\nlayers = 12\nwidth = 768\nvocabulary = 50304\n\
                 [model.attention]\n{attention}\n"
            ),
            "info.toml".as_ref(),
        )
        .unwrap();
        describe(&config)
    }

    #[test]
    fn info_says_how_many_steps_must_be_saved() {
        let text = described("kind = \"mha\"\nheads = 12\nhead_dim = 64");
        assert!(text.contains("1.00 times those of MHA"), "{text}");
        assert!(!text.contains("break even"), "{text}");

        let text = described(
            "kind = \"sas\"\nheads = 12\nhead_dim = 64\nexpanded_heads = 36\n\
             expanded_head_dim = 96\nkernel_size = 5",
        );
        let number = |before: &str, after: &str| -> f64 {
            let start = text.find(before).unwrap_or_else(|| panic!("{text}")) + before.len();
            let length = text[start..]
                .find(after)
                .unwrap_or_else(|| panic!("{text}"));
            text[start..start + length].parse().unwrap()
        };
        let multiple = number("per token, ", " times those");
        let saved = number("needs ", "% fewer");
        assert!(multiple > 1.2 && multiple < 2.0, "{text}");
        // Both are rounded: the multiple by up to 0.005.
        assert!(
            (saved / 100.0 - (1.0 - 1.0 / multiple)).abs() < 0.005,
            "{text}"
        );

        // One key/value head spends fewer FLOPs on projections, more on its wider MLP.
        let text = described("kind = \"mqa\"\nheads = 6\nhead_dim = 64");
        assert!(
            text.contains("break even") && text.contains("% more steps"),
            "{text}"
        );
        let text = described("kind = \"mha\"\nheads = 12\nhead_dim = 50");
        assert!(
            text.contains("training FLOPs") && !text.contains("times those"),
            "{text}"
        );
    }

    #[test]
    fn info_names_what_sas_adds() {
        let config: RunConfig = simattn_train::parse_document(
            "[model]\ncontext = 512\nlayers = 12\nwidth = 768\nvocabulary = 50304\n\
             [model.attention]\nkind = \"sas\"\nheads = 12\nhead_dim = 64\n\
             expanded_heads = 36\nexpanded_head_dim = 96\nkernel_size = 5\n",
            "info.toml".as_ref(),
        )
        .unwrap();
        let text = describe(&config);
        // 57,240 a layer, as facts about the published sizes state.
        assert!(text.contains("686,880"), "{text}");
        assert!(text.contains("if expanded"), "{text}");
        assert!(text.lines().all(|line| line.len() < 100), "{text}");
    }
}
