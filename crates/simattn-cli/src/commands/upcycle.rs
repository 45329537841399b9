//! `simattn upcycle`: a pretrained model as a SAS model of the same function.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use simattn::upcycle::{Upcycle, configuration, upcycle};
use simattn_train::RunConfig;
use simattn_train::model_folder::Reservation;

use super::convert::origin;
use super::open_model::open_model;
use crate::console::{show, value};
use crate::error::{CliError, failure, input};
use crate::quantity::grouped;
use crate::room;

/// Turn a model with MHA, GQA or MQA into a SAS model that computes the same, for further training.
#[derive(Debug, Args)]
pub(crate) struct UpcycleArgs {
    /// A folder that `train` or `convert from-hf` wrote.
    pub model: PathBuf,
    /// The folder to write; it may already exist if it is empty.
    pub out: PathBuf,
    /// Heads after the expansion, a multiple of the model's.
    #[arg(long, value_name = "H'")]
    pub expanded_heads: usize,
    /// Width of q and k after the expansion, at least the model's.
    #[arg(long, value_name = "D'")]
    pub expanded_head_dim: usize,
    /// Kernel size of the head expansion, odd.
    #[arg(long, value_name = "κ", default_value_t = 5)]
    pub kernel_size: usize,
    /// Noise on the expansions' weights, in units of 1/√fan_in; 0 keeps the function exactly, but
    /// then the copies of a head learn the same and stay copies.
    #[arg(long, value_name = "σ", default_value_t = 0.005)]
    pub noise: f64,
    /// The seed of the noise.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for a model or numbers that cannot be used, [`CliError::Failure`] where the
/// result cannot be written.
pub(crate) fn run(args: &UpcycleArgs) -> Result<(), CliError> {
    let reservation = Reservation::new(&args.out).map_err(input)?;
    let model = open_model(&args.model, &Device::flex())?;
    let options = Upcycle {
        expanded_heads: args.expanded_heads,
        expanded_head_dim: args.expanded_head_dim,
        kernel_size: args.kernel_size,
        noise: args.noise,
        seed: args.seed,
    };
    let made = configuration(model.decoder.config(), &options).map_err(input)?;
    room::check("the upcycled model", room::weights(&made)).map_err(input)?;
    let decoder = upcycle(&model.decoder, &options).map_err(input)?;
    let config = RunConfig {
        model: decoder.config().clone(),
        ..model.config
    };
    let json = std::fs::read(args.model.join("tokenizer.json")).map_err(input)?;
    reservation.write_text(&model.text).map_err(failure)?;
    reservation
        .save_with(&config, &json, &decoder, &origin("upcycle"))
        .map_err(failure)?;
    let cost = simattn::cost::Cost::of(decoder.config()).parameters;
    show(format_args!(
        "{}: sas, {} parameters, {} of them expansions\n",
        value(args.out.display()),
        grouped(cost.total as f64),
        grouped(cost.expansion as f64)
    ))?;
    Ok(())
}
