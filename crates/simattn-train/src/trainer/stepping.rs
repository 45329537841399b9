//! Step after step with evaluations between, until the budget is spent.

use std::time::Instant;

use simattn_data::Batch;

use super::exchange;
use super::unread::{Numbers, Stopped, UnreadStep};
use super::{Reading, Trainer};
use crate::adamw::Scale;
use crate::error::{Origin, TrainError};
use crate::gradients::{GradientSum, clip_factor};
use crate::ranks::Command;
use crate::report::{Budget, EvaluationReport, Exchange, Observer, StepReport};
use crate::step::{StepAt, gradients_on_device, origin_of_evaluation};

/// What a step's micro-batches give.
struct Summed {
    sum: GradientSum,
    /// What to multiply the gradients by.
    scale: Scale,
    /// What to report.
    numbers: Numbers,
    exchange: Option<Exchange>,
}

impl Trainer {
    /// Evaluates, then steps and evaluates until the budget is spent; gives the last evaluation.
    ///
    /// # Errors
    ///
    /// As [`Self::run_until`].
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<EvaluationReport, TrainError> {
        let first = self.evaluate_and_tell(observer)?;
        let last = self.run_until(|_| false, observer)?;
        Ok(last.unwrap_or(first))
    }

    /// Steps until the budget is spent or `pause`, asked after every step, says so. Evaluates every
    /// `evaluate_every` steps and at the end of the budget; gives the last of these evaluations.
    ///
    /// The observer has heard of every step when this returns.
    ///
    /// # Errors
    ///
    /// A loss or gradient that is not finite; the model is then the one before that step. An
    /// evaluation that is not finite, after the observer has heard of it.
    pub fn run_until(
        &mut self,
        mut pause: impl FnMut(&Self) -> bool,
        observer: &mut dyn Observer,
    ) -> Result<Option<EvaluationReport>, TrainError> {
        let mut last = None;
        while !self.is_done() {
            self.step(observer)?;
            if self.is_done() || self.evaluates_at(self.step) {
                self.read_losses(observer)?;
                last = Some(self.evaluate_and_tell(observer)?);
            }
            if pause(self) {
                break;
            }
        }
        self.read_losses(observer)?;
        Ok(last)
    }

    /// One update, whether or not the budget is spent.
    ///
    /// The observer hears of all steps whose losses have been read since the last call: on the CPU
    /// of this one; on other devices of none most of the time, and then of several at once.
    ///
    /// # Errors
    ///
    /// A loss or gradient that is not finite, of any of the steps that were read: weights and
    /// moments are those before it, and later steps were not made. Token files that cannot be read
    /// any more.
    pub fn step(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        self.ranks.tell(Command::Step);
        let started = Instant::now();
        let learning_rate = self.schedule.learning_rate(self.step, self.steps());
        let position = self.loader.position().clone();
        let micro_batches = self.micro_batches()?;
        let Summed {
            sum,
            scale,
            numbers,
            exchange,
        } = self.gradients(&micro_batches, learning_rate)?;
        self.decoder = self
            .decoder
            .take()
            .map(|decoder| self.optimizer.update(decoder, sum, learning_rate, scale));
        self.step += 1;
        self.seconds += started.elapsed().as_secs_f64();
        self.unread.push(UnreadStep {
            report: StepReport {
                exchange,
                ..self.report(learning_rate)
            },
            numbers,
            position,
        });
        if self.must_read() {
            self.read_losses(observer)?;
        }
        Ok(())
    }

    /// What a step's micro-batches give.
    fn gradients(
        &mut self,
        micro_batches: &[Batch],
        learning_rate: f64,
    ) -> Result<Summed, TrainError> {
        let clip = self.config.clip;
        if self.reading == Reading::WithEachStep {
            let at = self.at(self.step + 1, learning_rate);
            let groups = self.config.groups;
            let (gradients, exchange) = if self.ranks.is_alone() {
                (at.gradients(micro_batches, groups)?, None)
            } else {
                let shared = exchange::gradients(&at, micro_batches, groups, &self.ranks)?;
                (shared.0, Some(shared.1))
            };
            let scale = clip_factor(gradients.norm, clip) / gradients.micro_batches as f64;
            let numbers = Numbers::Known {
                loss: gradients.loss,
                norm: gradients.norm,
            };
            return Ok(Summed {
                sum: gradients.sum,
                scale: scale.into(),
                numbers,
                exchange,
            });
        }
        let gradients = gradients_on_device(self.decoder(), micro_batches, &self.device);
        let scale = self.unread.scale(&gradients, micro_batches.len(), clip);
        let numbers = Numbers::OnDevice {
            loss: gradients.loss,
            norm: gradients.norm,
        };
        Ok(Summed {
            sum: gradients.sum,
            scale,
            numbers,
            exchange: None,
        })
    }

    /// The model as it is before step `step`.
    fn at(&self, step: u64, learning_rate: f64) -> StepAt<'_> {
        StepAt {
            decoder: self.decoder(),
            device: &self.device,
            step,
            learning_rate,
        }
    }

    /// This rank's share of the next step's micro-batches.
    fn micro_batches(&mut self) -> Result<Vec<Batch>, TrainError> {
        let own = self.ranks.part(self.config.accumulation);
        let batches = own.map(|_| self.loader.next_batch());
        Ok(batches.collect::<Result<_, _>>()?)
    }

    /// The report of the step that was just made, but for its loss and norm.
    fn report(&self, learning_rate: f64) -> StepReport {
        let tokens = self.tokens();
        StepReport {
            step: self.step,
            steps: self.steps(),
            loss: f64::NAN,
            learning_rate,
            gradient_norm: f64::NAN,
            tokens,
            seconds: self.seconds,
            tokens_per_second: tokens as f64 / self.seconds.max(f64::MIN_POSITIVE),
            flops: self.flops(),
            done: self.done(),
            exchange: None,
        }
    }

    /// Whether no further step may be made before losses are read.
    fn must_read(&self) -> bool {
        match self.reading {
            Reading::WithEachStep => true,
            // How fast steps are decides the learning rate of such a run.
            Reading::Every(_) if matches!(self.budget, Budget::Seconds(_)) => true,
            Reading::Every(steps) => self.step.is_multiple_of(steps) || self.unread.len() >= steps,
        }
    }

    /// Waits for the losses of the steps made so far, and tells the observer of these steps.
    fn read_losses(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let started = Instant::now();
        let (mut reports, stopped) = self.unread.read();
        if self.reading != Reading::WithEachStep {
            self.seconds += started.elapsed().as_secs_f64();
            self.share_time(&mut reports, stopped.as_ref());
        }
        if let Some(stopped) = &stopped {
            self.step = stopped.report.step - 1;
            self.optimizer.take_back(stopped.steps);
        }
        self.read_at = (self.step, self.seconds);
        for report in &reports {
            observer.on_step(report);
        }
        match stopped {
            Some(stopped) => Err(self.explain(&stopped)),
            None => Ok(()),
        }
    }

    /// When each step ended on the device is not known: they share the time since the last reading.
    fn share_time(&self, reports: &mut [StepReport], stopped: Option<&Stopped>) {
        let (step, seconds) = self.read_at;
        let made = stopped.map_or(0, |stopped| stopped.steps) + reports.len() as u64;
        let each = (self.seconds - seconds) / made.max(1) as f64;
        for report in reports {
            report.seconds = seconds + each * (report.step - step) as f64;
            report.tokens_per_second = report.tokens as f64 / report.seconds.max(f64::MIN_POSITIVE);
        }
    }

    /// What was wrong with a step: it is made once more, from the weights before it, which are the
    /// present ones.
    fn explain(&mut self, stopped: &Stopped) -> TrainError {
        let StepReport {
            step,
            loss,
            learning_rate,
            ..
        } = stopped.report;
        let again = self.loader.seek(&stopped.position);
        let again = again.map_err(TrainError::from);
        let again = again.and_then(|()| {
            let batches = self.micro_batches()?;
            self.at(step, learning_rate).gradients(&batches, 1)
        });
        match again {
            Err(error) => error,
            // Read one by one the numbers are finite: what was not is their sum in float32.
            Ok(_) if loss.is_finite() => TrainError::NonFiniteGradient {
                step,
                tensor: "all tensors together".to_owned(),
                learning_rate,
            },
            Ok(_) => TrainError::NonFiniteLoss {
                step,
                loss,
                origin: Origin::Activations,
                learning_rate,
            },
        }
    }

    /// The model on the validation sample, now, whatever comes out. Its time is nobody's training
    /// time.
    pub fn evaluate(&self) -> EvaluationReport {
        self.ranks.tell(Command::Evaluate);
        EvaluationReport {
            step: self.step,
            tokens: self.tokens(),
            seconds: self.seconds,
            flops: self.flops(),
            evaluation: self.validation.evaluate_with(self.decoder(), &self.ranks),
        }
    }

    /// Evaluates and tells the observer, then refuses a loss that is not finite.
    pub(crate) fn evaluate_and_tell(
        &self,
        observer: &mut dyn Observer,
    ) -> Result<EvaluationReport, TrainError> {
        let report = self.evaluate();
        observer.on_evaluation(&report);
        self.check_evaluation(&report)?;
        Ok(report)
    }

    /// Whether an evaluation of the present model is a number.
    pub(crate) fn check_evaluation(&self, report: &EvaluationReport) -> Result<(), TrainError> {
        if report.evaluation.loss.is_finite() {
            return Ok(());
        }
        Err(TrainError::NonFiniteEvaluation {
            step: report.step,
            loss: report.evaluation.loss,
            origin: origin_of_evaluation(self.decoder()),
        })
    }
}
