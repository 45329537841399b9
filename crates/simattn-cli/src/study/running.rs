//! Makes the runs of a study, one after another, and keeps what happened.

use std::path::Path;
use std::time::Instant;

use simattn::Decoder;
use simattn::cost::Cost;
use simattn_train::run_folder::RunFolder;
use simattn_train::{
    Budget, Ending, EvaluationReport, LogEntry, Meters, Observer, Resume, Resumption, RunConfig,
    Session, SessionError, StepReport, TrainError, Trainer, compare_config, compare_data, fault,
    read_log,
};

use super::error::{StudyError, io_failed};
use super::folder::StudyFolder;
use super::gathering::{Finished, gather, rate_search};
use super::pace::Pace;
use super::plan::{Plan, PlannedRun};
use super::report;
use super::results::{EvalPoint, RunResults, RunStatus, StudyResults, TrainPoint};
use super::setting::Setting;
use super::step_cost::StepCosts;
use super::step_timing;
use crate::console::tell;
use crate::memory::Peak;
use crate::quantity::{duration, significant};
use crate::training_progress::TrainingProgress;

/// A study as far as it has come.
#[derive(Debug)]
pub(crate) struct Study<'a> {
    setting: &'a Setting<'a>,
    folder: &'a StudyFolder,
    runs: Vec<PlannedRun>,
    finished: Finished,
    costs: Option<StepCosts>,
    pace: Pace,
}

impl<'a> Study<'a> {
    /// The study in `folder`, with the runs that are finished there.
    ///
    /// # Errors
    /// Results that cannot be read.
    pub(crate) fn open(
        setting: &'a Setting<'a>,
        folder: &'a StudyFolder,
    ) -> Result<Self, StudyError> {
        let plan = &folder.beginning.plan;
        let mut study = Self {
            setting,
            folder,
            runs: plan.runs(),
            finished: Finished::new(),
            costs: folder.costs()?,
            pace: Pace::new(plan.variants.iter().map(|variant| {
                let model = &variant.model;
                Cost::of(model).training_flops_per_token(model.context)
            })),
        };
        for run in &study.runs {
            let name = plan.name_of(run);
            if let Some(results) = folder.finished(&name)? {
                let seconds = results.seconds;
                study.pace.learn(run.variant, results.steps, seconds);
                study.finished.insert(name, results);
            }
        }
        Ok(study)
    }

    /// How many runs are finished, and how many there are.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.finished.len(), self.runs.len())
    }

    /// What it has measured so far.
    pub(crate) fn results(&self) -> StudyResults {
        gather(&self.folder.beginning, self.costs.as_ref(), &self.finished)
    }

    /// Makes the runs that are not finished; false if it was asked to stop before the last. A run
    /// that diverges is kept as failed, and the study continues.
    ///
    /// # Errors
    /// A model or text that cannot be trained at all, a folder that cannot be written.
    pub(crate) fn run(&mut self) -> Result<bool, StudyError> {
        if !self.know_costs()? {
            return Ok(false);
        }
        for index in 0..self.runs.len() {
            let run = self.runs[index];
            let name = self.plan().name_of(&run);
            if self.finished.contains_key(&name) {
                // A process that was killed may have kept the results and not cleared the folder.
                self.folder.clear(&name)?;
                continue;
            }
            fault::pass("study.run").map_err(io_failed(&self.folder.place_of(&name), "begin"))?;
            let results = if self.setting.is_stopping() {
                None
            } else {
                self.train(index, &name)?
            };
            let Some(results) = results else {
                self.publish()?;
                return Ok(false);
            };
            self.folder.finish(&name, &results)?;
            self.finished.insert(name, results);
            self.publish()?;
            self.say_what_is_left(index + 1);
        }
        self.publish()?;
        Ok(true)
    }

    fn plan(&self) -> &Plan {
        &self.folder.beginning.plan
    }

    /// Times the steps of all variants, if that is planned and was not done; false if it was asked
    /// to stop meanwhile.
    fn know_costs(&mut self) -> Result<bool, StudyError> {
        let folder = self.folder;
        let plan = &folder.beginning.plan;
        if self.costs.is_none() && plan.timing_rounds > 0 {
            let rounds = plan.timing_rounds;
            let costs = step_timing::measure(self.setting, plan, |round| {
                tell(format_args!(
                    "compare: timing the steps of all variants in turn, round {round} of {rounds}"
                ));
            })?;
            let Some(costs) = costs else {
                return Ok(false);
            };
            folder.keep_costs(&costs)?;
            self.costs = Some(costs);
        }
        let Some(costs) = &self.costs else {
            return Ok(true);
        };
        let base = costs.median(&plan.baseline);
        for (index, variant) in plan.variants.iter().enumerate() {
            let (Some(median), Some(base)) = (costs.median(&variant.name), base) else {
                continue;
            };
            tell(format_args!(
                "compare: a step of {} takes {} s, {} of {}'s",
                variant.name,
                significant(median, 3),
                significant(median / base, 3),
                plan.baseline
            ));
            if costs.machine.is_as_fast_as(&self.setting.machine) {
                self.pace.learn(index, 1, median);
            }
        }
        Ok(true)
    }

    /// Writes the results of all finished runs.
    fn publish(&self) -> Result<(), StudyError> {
        let results = self.results();
        let json = serde_json::to_vec_pretty(&results)
            .map_err(std::io::Error::from)
            .map_err(io_failed(Path::new("results.json"), "write"))?;
        self.folder.write("results.json", &json)?;
        self.folder
            .write("report.html", report::html(&results).as_bytes())
    }

    /// Variants and steps of the runs from `index` on that are not finished.
    fn later(&self, index: usize) -> Vec<(usize, u64)> {
        let plan = self.plan();
        let left = self.runs[index..]
            .iter()
            .filter(|run| !self.finished.contains_key(&plan.name_of(run)));
        left.map(|run| (run.variant, plan.steps_of(run, self.costs.as_ref())))
            .collect()
    }

    fn say_what_is_left(&self, index: usize) {
        let (finished, all) = self.progress();
        let left = self.pace.left(&self.later(index));
        if let Some(left) = left.filter(|_| finished < all) {
            tell(format_args!(
                "compare: {finished} of {all} runs are finished, about {} left",
                duration(left)
            ));
        }
    }

    /// The peak learning rate of a run: the one it tries, the best of those that were tried for its
    /// variant, or the configuration's.
    fn rate_of(&self, run: &PlannedRun) -> f64 {
        let plan = self.plan();
        let search = rate_search(plan, run.variant, self.costs.as_ref(), &self.finished);
        let best = search.and_then(|search| search.best());
        run.tried
            .or(best.map(|best| best.learning_rate))
            .unwrap_or(plan.config.train.learning_rate)
    }

    /// Makes a run, or what is left of it; None if it was asked to stop.
    fn train(&mut self, index: usize, name: &str) -> Result<Option<RunResults>, StudyError> {
        let run = self.runs[index];
        let plan = self.plan();
        let steps = plan.steps_of(&run, self.costs.as_ref());
        let config = plan.config_of(&run, steps, self.rate_of(&run));
        let label = self.label(index);
        let rest = self.pace.rest((run.variant, steps), &self.later(index + 1));
        let peak = Peak::start();
        let place = self.folder.place_of(name);
        let session = self.begin(&place, &config, &label)?;
        let (first, tokens_per_step) = {
            let trainer = session.trainer();
            (trainer.step_count(), trainer.tokens_per_step())
        };
        let mut recorder = Recorder {
            progress: TrainingProgress::new(&label, steps, config.train.log_every).before(rest),
            train: Vec::new(),
            evaluations: Vec::new(),
        };
        // Cut back to the checkpoint that the run continues from; empty if there was none.
        let log = read_log(&place).map_err(io_failed(&place, "read the log of"))?;
        recorder.recall(log, session.trainer().flops_per_step());
        let started = Instant::now();
        let status = match session.run(&mut recorder) {
            Ok(Ending::Finished(_)) => RunStatus::Finished,
            Ok(Ending::Stopped { .. }) => return Ok(None),
            // Its numbers, which are the same whenever it is made again.
            Err(SessionError::Train(error)) if !matches!(error, TrainError::Data(_)) => {
                RunStatus::Failed {
                    reason: error.to_string(),
                }
            }
            Err(error) => return Err(error.into()),
        };
        let last = recorder.train.last();
        let (made, seconds) = last.map_or((0, 0.0), |point| (point.step, point.seconds));
        let tokens = made * tokens_per_step;
        let elapsed = started.elapsed().as_secs_f64();
        let began_on = &self.folder.beginning.machine;
        let elsewhere = !self.setting.machine.is_as_fast_as(began_on);
        let machine = elsewhere.then(|| self.setting.machine.clone());
        let results = RunResults {
            seed: run.seed,
            steps: made,
            tokens,
            seconds,
            tokens_per_second: if seconds > 0.0 {
                tokens as f64 / seconds
            } else {
                f64::NAN
            },
            peak_memory_bytes: peak.bytes(),
            train: recorder.train,
            evaluations: recorder.evaluations,
            status,
            machine,
        };
        self.pace
            .learn(run.variant, made.saturating_sub(first), elapsed);
        Ok(Some(results))
    }

    /// What the lines about a run begin with.
    fn label(&self, index: usize) -> String {
        let plan = self.plan();
        let run = &self.runs[index];
        let name = &plan.variants[run.variant].name;
        let what = match run.tried {
            Some(rate) => format!("{name} rate {rate}"),
            None if plan.seeds.len() == 1 => format!("{name:<4}"),
            None => format!("{name:<4} seed {}", run.seed),
        };
        format!("[{}/{}] {what}", index + 1, self.runs.len())
    }

    /// A run at its beginning, or where its newest checkpoint is.
    fn begin(&self, place: &Path, config: &RunConfig, label: &str) -> Result<Session, StudyError> {
        let setting = self.setting;
        let found = Resumption::find(place, &Resume::Auto)?;
        let from = found.checkpoint.as_ref();
        if let Some(from) = from {
            compare_config(from, config, false)?;
            compare_data(from, &self.plan().data, false)?;
        }
        let decoder = match from {
            Some(from) => from
                .decoder(config, &setting.device)
                .map_err(SessionError::from)?,
            None => Decoder::new(&config.model, config.seed, &setting.device)
                .map_err(TrainError::from)?,
        };
        let decoder = decoder.with_kernels(setting.kernels);
        let budget = Budget::Steps(config.train.steps);
        let trainer = Trainer::with_decoder(decoder, config, setting.dataset, budget)?;
        let folder = match found.folder {
            Some(folder) => folder,
            None => RunFolder::create(place)?,
        };
        for (path, error) in &found.unusable {
            let aside = folder.set_aside(path)?;
            tell(format_args!(
                "{label}: {error}; set aside as {}",
                aside.display()
            ));
        }
        if let Some(from) = from {
            let step = from.state.progress.step;
            tell(format_args!("{label}: continues after step {step}"));
        }
        let session = Session::start(
            trainer,
            folder,
            config,
            setting.dataset,
            from,
            Meters::default(),
            setting.stop.clone(),
        )?;
        Ok(session.without_model())
    }
}

/// Shows a run and keeps its course.
struct Recorder {
    progress: TrainingProgress,
    train: Vec<TrainPoint>,
    evaluations: Vec<EvalPoint>,
}

impl Recorder {
    /// Takes over what a run's log says of the steps before this process.
    fn recall(&mut self, log: Vec<LogEntry>, flops_per_step: f64) {
        for entry in log {
            match entry {
                LogEntry::Step {
                    step,
                    loss,
                    learning_rate,
                    gradient_norm,
                    seconds,
                } => self.train.push(TrainPoint {
                    step,
                    loss,
                    learning_rate,
                    gradient_norm,
                    seconds,
                }),
                LogEntry::Evaluation { step, tokens, loss } => self.evaluations.push(EvalPoint {
                    step,
                    tokens,
                    seconds: self.train.last().map_or(0.0, |point| point.seconds),
                    flops: step as f64 * flops_per_step,
                    loss,
                }),
            }
        }
    }
}

impl Observer for Recorder {
    fn on_step(&mut self, report: &StepReport) {
        self.train.push(TrainPoint {
            step: report.step,
            loss: report.loss,
            learning_rate: report.learning_rate,
            gradient_norm: report.gradient_norm,
            seconds: report.seconds,
        });
        self.progress.on_step(report);
    }

    fn on_evaluation(&mut self, report: &EvaluationReport) {
        self.evaluations.push(EvalPoint {
            step: report.step,
            tokens: report.tokens,
            seconds: report.seconds,
            flops: report.flops,
            loss: report.evaluation.loss,
        });
        self.progress.on_evaluation(report);
    }

    fn on_notice(&mut self, line: &str) {
        self.progress.on_notice(line);
    }
}
