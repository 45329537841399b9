//! `simattn compare`: the same training for several attentions, and which learns better.

mod arguments;
mod command_line;
mod merging;
mod outcome;

use std::io::IsTerminal;
use std::time::SystemTime;

use burn::tensor::Device;
use simattn_kernels::Kernels;
use simattn_train::model_folder::Reservation;
use simattn_train::{Dataset, RunConfig};

pub(crate) use self::arguments::CompareArgs;
use self::arguments::Place;
use self::command_line::command_line;
use self::outcome::{ending, show_results};
use crate::console::{show, tell, tell_some};
use crate::device::{self, computes};
use crate::error::{CliError, failure, input};
use crate::machine::Machine;
use crate::room;
use crate::signals::stop_on_signals;
use crate::study::error::StudyError;
use crate::study::folder::{Beginning, FORMAT, Found, StudyFolder, costs_of_another};
use crate::study::matching::{self, Candidate};
use crate::study::plan::{Plan, Rates, Tolerance};
use crate::study::results::{CorpusFacts, Equal};
use crate::study::running::Study;
use crate::study::setting::Setting;
use crate::study::step_cost::StepCosts;
use crate::timestamp;

/// Runs the command.
///
/// # Errors
/// [`CliError::Input`] for what the user can correct, before the first step and with nothing
/// written; [`CliError::Failure`] for a run that failed, or results that cannot be written.
pub(crate) fn run(args: &CompareArgs) -> Result<(), CliError> {
    if !args.merge.is_empty() {
        return merging::run(args);
    }
    let created = timestamp::now(SystemTime::now());
    let place = args.place(&created)?;
    let config = args.config()?;
    let rates = args.rates(&config)?;
    let device = args.device.open()?.autodiff();
    computes(&device, config.train.precision).map_err(input)?;
    // Before the data are read, which may take long. What is wrong with the place now is for the
    // user to put right, whatever the system calls it.
    let found = StudyFolder::find(&place.folder).map_err(input)?;
    let described = args.described(&config, found.study())?;
    let other = args.costs.as_deref().map(costs_of_another).transpose();
    let other = other.map_err(of_study)?;
    // Names and sizes are wrong sooner than a corpus is read.
    let mut sized = config.model.clone();
    sized.vocabulary = sized.vocabulary.max(1024);
    let matched = args.matched.into();
    let (sized, _) = matching::candidates(&sized, &described, matched).map_err(input)?;
    check_room(&device, &config, &sized)?;

    if std::io::stderr().is_terminal() {
        tell(format_args!(
            "reading {} and building the tokenizer",
            config.data.source
        ));
    }
    let dataset = Dataset::prepare(&config.data, config.seed).map_err(input)?;
    tell_some("compare", &dataset.notes);
    let config = dataset.complete(&config).map_err(input)?;
    let (variants, matching) =
        matching::candidates(&config.model, &described, matched).map_err(input)?;
    // A text shorter than a window shows here, before a folder is made.
    dataset.check_windows(&config).map_err(input)?;
    let setting = Setting {
        machine: Machine::computing_on(&device),
        device,
        kernels: args.kernels.into(),
        dataset: &dataset,
        stop: stop_on_signals().map_err(failure)?,
    };
    let plan = plan(
        args,
        &setting,
        config,
        variants,
        rates,
        other.as_ref().map(|(plan, _)| plan),
    )?;
    let folder = match found {
        Found::Study(folder) => {
            folder.check(&plan).map_err(of_study)?;
            *folder
        }
        Found::Free(reservation) => {
            let beginning = Beginning {
                format: FORMAT,
                name: place.name.clone(),
                created,
                command: command_line(),
                machine: setting.machine.clone(),
                corpus: corpus_facts(&dataset, &plan.config),
                matching,
                plan,
            };
            begin(args, &place, reservation, beginning)?
        }
    };
    make(
        args,
        &place,
        &setting,
        &folder,
        other.map(|(_, costs)| costs),
    )
}

/// What the study is to do. Refuses a share without runs, shares whose budgets would differ, and
/// costs of another plan.
fn plan(
    args: &CompareArgs,
    setting: &Setting<'_>,
    config: RunConfig,
    variants: Vec<Candidate>,
    rates: Option<Rates>,
    other: Option<&Plan>,
) -> Result<Plan, CliError> {
    let mha = variants.iter().find(|variant| variant.name == "mha");
    let plan = Plan {
        tool_version: env!("CARGO_PKG_VERSION").into(),
        device: device::name(&setting.device).into(),
        instruction_set: setting.machine.instruction_set.clone(),
        kernels: match setting.kernels {
            Kernels::Fast => "fast",
            Kernels::Reference => "reference",
        }
        .into(),
        equal: args.equal.into(),
        seeds: args.seeds(&config),
        baseline: mha.unwrap_or(&variants[0]).name.clone(),
        rates,
        timing_rounds: other.map_or_else(|| args.rounds(), |other| other.timing_rounds),
        share: args.only,
        data: setting.dataset.fingerprint().map_err(input)?,
        config,
        variants,
    };
    check_plan(args, &plan, other)?;
    Ok(plan)
}

/// What the models are trained and scored on.
fn corpus_facts(dataset: &Dataset, config: &RunConfig) -> CorpusFacts {
    CorpusFacts {
        source: dataset.name.clone(),
        tokenizer: config.data.tokenizer.to_string(),
        vocabulary: dataset.tokenizer.vocabulary() as u64,
        train_tokens: dataset.train_tokens(),
        validation_tokens: dataset.validation.tokens(),
        validation_bytes: dataset.validation.bytes(),
    }
}

/// Makes the folder, and says how to continue a study that was given no name, and how sizes match.
fn begin(
    args: &CompareArgs,
    place: &Place,
    reservation: Reservation,
    beginning: Beginning,
) -> Result<StudyFolder, CliError> {
    let folder = StudyFolder::begin(reservation, beginning).map_err(of_study)?;
    if args.is_unnamed() {
        tell(format_args!(
            "compare: if this is interrupted, continue with: {} --name {}",
            folder.beginning.command, place.name
        ));
    }
    for line in &folder.beginning.matching {
        tell(line);
    }
    Ok(folder)
}

/// Makes the runs that the folder does not have, and shows what came out.
fn make(
    args: &CompareArgs,
    place: &Place,
    setting: &Setting<'_>,
    folder: &StudyFolder,
    costs: Option<StepCosts>,
) -> Result<(), CliError> {
    let config = folder.beginning.plan.config.to_toml().map_err(failure)?;
    folder.describe(&config).map_err(of_study)?;
    if let Some(costs) = costs
        && folder.costs().map_err(of_study)?.is_none()
    {
        folder.keep_costs(&costs).map_err(of_study)?;
    }
    let mut study = Study::open(setting, folder).map_err(of_study)?;
    let (finished, all) = study.progress();
    if finished > 0 {
        tell(format_args!(
            "compare: {}: {finished} of {all} runs are finished",
            place.folder.display()
        ));
    }
    let done = study.run().map_err(of_study)?;
    let results = study.results();
    if !done {
        let (finished, all) = study.progress();
        let same = if args.is_unnamed() {
            format!("{} --name {} continues", command_line(), place.name)
        } else {
            "the same command continues".to_owned()
        };
        return show(format_args!(
            "stopped     {finished} of {all} runs are finished; {same}\n"
        ));
    }
    show_results(&results)?;
    ending(&results, &place.folder)
}

/// What the user can correct, or what failed.
fn of_study(error: StudyError) -> CliError {
    match error {
        error if error.is_input() => input(error),
        error => failure(error),
    }
}

/// Refuses a share without runs, shares whose budgets would differ, and costs of another plan.
fn check_plan(args: &CompareArgs, plan: &Plan, other: Option<&Plan>) -> Result<(), CliError> {
    if let Some(share) = plan.share
        && plan.runs().is_empty()
    {
        return Err(CliError::Input(format!(
            "--only {share}: nothing is left for this share; the study has {} runs",
            plan.seeds.len() * plan.variants.len()
        )));
    }
    let Some(path) = &args.costs else {
        return match plan.share {
            Some(share) if plan.equal == Equal::Time && share.number > 1 => {
                Err(CliError::Input(format!(
                    "--only {share}: all shares need the same costs of steps to hold time equal; \
                     the first share measures them, give its folder to --costs"
                )))
            }
            _ => Ok(()),
        };
    };
    match other.and_then(|other| other.first_difference(plan, Tolerance::Machine)) {
        None => Ok(()),
        Some(change) => Err(CliError::Input(format!(
            "--costs {}: of another study: {change}",
            path.display()
        ))),
    }
}

/// Refuses variants that no memory holds; they train one after the other.
fn check_room(
    device: &Device,
    config: &RunConfig,
    candidates: &[Candidate],
) -> Result<(), CliError> {
    for candidate in candidates {
        let run = RunConfig {
            model: candidate.model.clone(),
            ..config.clone()
        };
        let what = format!(
            "training {} (weights, gradients and moments)",
            candidate.name
        );
        room::check_on(device, &what, room::training(&run, 1)).map_err(input)?;
        let what = format!("a micro-batch of {}", candidate.name);
        room::check_on(device, &what, room::passes(&run)).map_err(input)?;
    }
    Ok(())
}
