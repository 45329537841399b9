//! Learning, repeating, accumulating, stopping.

use burn::backend::Flex;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use simattn::{Decoder, Precision, Recompute, named};
use simattn_data::{Batch, Loader};
use simattn_train::{
    Budget, Decay, EvaluationReport, Observer, OptimizerKind, Origin, RunConfig, StepReport,
    TrainError, Trainer, step_gradients,
};

use crate::{dataset, tiny};

/// Everything that a run says.
#[derive(Default)]
struct Record {
    steps: Vec<StepReport>,
    evaluations: Vec<EvaluationReport>,
}

impl Observer for Record {
    fn on_step(&mut self, report: &StepReport) {
        self.steps.push(*report);
    }

    fn on_evaluation(&mut self, report: &EvaluationReport) {
        self.evaluations.push(*report);
    }
}

fn trainer(config: &RunConfig, budget: Budget) -> Trainer {
    Trainer::new(config, &dataset(config), budget, &Device::flex()).expect("a right configuration")
}

fn record(config: &RunConfig, budget: Budget) -> Record {
    let mut record = Record::default();
    trainer(config, budget)
        .run(&mut record)
        .expect("the run stays finite");
    record
}

/// All weights of a module.
fn weights<M: Module>(module: &M) -> Vec<f32> {
    struct Weights(Vec<f32>);
    impl ModuleVisitor for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let numbers: Vec<f32> = param.val().into_data().try_into_vec().expect("float32");
            self.0.extend(numbers);
        }
    }
    let mut weights = Weights(Vec::new());
    module.visit(&mut weights);
    weights.0
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn the_loss_falls_and_the_reports_add_up() {
    let config = tiny();
    let record = record(&config, Budget::Steps(config.train.steps));
    let at: Vec<u64> = record
        .evaluations
        .iter()
        .map(|report| report.step)
        .collect();
    assert_eq!(at, [0, 20, 40, 60]);
    let first = record.evaluations[0].evaluation;
    let last = record.evaluations[3].evaluation;
    assert!(
        (first.loss - 257f64.ln()).abs() < 0.5,
        "an untrained model knows nothing: {}",
        first.loss
    );
    assert!(
        last.loss < 0.6 * first.loss,
        "{} → {}",
        first.loss,
        last.loss
    );
    assert_eq!(last.perplexity, last.loss.exp());
    assert!((last.bits_per_byte / (last.loss / 2f64.ln()) - 1.0).abs() < 0.05);
    assert_eq!(last.tokens, 3 * 8 * 32);
    assert_eq!(record.steps.len(), 60);
    for (at, report) in record.steps.iter().enumerate() {
        assert_eq!(report.step, at as u64 + 1);
        assert_eq!(report.tokens, report.step * 8 * 32);
        let expected = config.train.schedule().learning_rate(at as u64, 60);
        assert_eq!(report.learning_rate, expected);
    }
    let seconds = record.steps.iter().map(|report| report.seconds);
    assert!(seconds.is_sorted());
    assert_eq!(record.steps[59].done, 1.0);
}

#[test]
fn one_seed_gives_one_run_bit_for_bit_whatever_the_threads() {
    let mut config = tiny();
    config.train.accumulation = 2;
    let losses = |threads: usize| -> Vec<u64> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool of threads");
        let record = pool.install(|| record(&config, Budget::Steps(8)));
        let evaluations = record
            .evaluations
            .iter()
            .map(|report| report.evaluation.loss);
        let steps = record
            .steps
            .iter()
            .flat_map(|report| [report.loss, report.gradient_norm]);
        steps.chain(evaluations).map(f64::to_bits).collect()
    };
    let once = losses(1);
    assert_eq!(once, losses(1));
    assert_eq!(once, losses(3));
    config.seed += 1;
    let other = record(&config, Budget::Steps(1));
    assert_ne!(once[0], other.steps[0].loss.to_bits());
}

#[test]
fn groups_change_the_order_of_additions_and_nothing_else() {
    let mut config = tiny();
    config.train.batch = 2;
    config.train.accumulation = 6;
    let run = |groups: usize| {
        let mut config = config.clone();
        config.train.groups = groups;
        let mut trainer = trainer(&config, Budget::Steps(4));
        let mut record = Record::default();
        trainer.run(&mut record).expect("the run stays finite");
        let losses = record.steps.iter().map(|report| report.loss);
        (losses.collect::<Vec<_>>(), weights(trainer.decoder()))
    };
    let (losses, weights) = run(1);
    for groups in [2, 3, 6] {
        let (other, moved) = run(groups);
        assert_eq!(losses[0].to_bits(), other[0].to_bits(), "before any update");
        assert!(bits(&weights) != bits(&moved), "{groups} groups");
        for (a, b) in losses.iter().zip(&other) {
            assert!((a - b).abs() < 1e-4 * a, "{groups} groups: {a} {b}");
        }
        assert_eq!(bits(&moved), bits(&run(groups).1));
    }
}

#[test]
fn recomputing_blocks_changes_no_bit_of_a_run() {
    let mut config = tiny();
    config.train.accumulation = 2;
    let run = |recompute: Recompute| {
        let mut config = config.clone();
        config.train.recompute = recompute;
        let mut trainer = trainer(&config, Budget::Steps(5));
        let mut record = Record::default();
        trainer.run(&mut record).expect("the run stays finite");
        let losses = record.steps.iter().map(|report| report.loss.to_bits());
        (
            losses.collect::<Vec<_>>(),
            bits(&weights(trainer.decoder())),
        )
    };
    assert!(run(Recompute::None) == run(Recompute::Block));
}

#[test]
fn bfloat16_learns_as_float32_does() {
    let mut config = tiny();
    let last = |config: &RunConfig| {
        let record = record(config, Budget::Steps(12));
        let first = record.evaluations[0].evaluation.loss;
        let last = record.evaluations.last().expect("one at the end");
        (first, last.evaluation.loss)
    };
    let (start, exact) = last(&config);
    config.train.precision = Precision::Bfloat16;
    let (_, narrow) = last(&config);
    assert!(exact < start - 0.1, "{start} {exact}");
    assert!(narrow != exact);
    assert!(
        (narrow - exact).abs() < 0.05 * (start - exact),
        "{start}: {narrow} {exact}"
    );
}

/// The reports of a run, and its weights at the end.
fn run_reading(config: &RunConfig, every: Option<u64>) -> (Record, Vec<f32>) {
    let mut trainer = trainer(config, Budget::Steps(11));
    if let Some(every) = every {
        trainer = trainer.reading_every(every);
    }
    let mut record = Record::default();
    trainer.run(&mut record).expect("the run stays finite");
    (record, weights(trainer.decoder()))
}

#[test]
fn losses_read_several_at_once_are_those_read_one_by_one() {
    let mut config = tiny();
    config.train.accumulation = 2;
    config.train.evaluate_every = 5;
    for optimizer in [OptimizerKind::AdamW, OptimizerKind::Muon] {
        config.train.optimizer = optimizer;
        let (exact, exact_weights) = run_reading(&config, None);
        let (got, got_weights) = run_reading(&config, Some(4));
        // When they are read changes no bit.
        let (_, other_weights) = run_reading(&config, Some(1));
        assert!(bits(&got_weights) == bits(&other_weights));
        assert_eq!(got.steps.len(), 11);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-4 * b.abs();
        for (got, exact) in got.steps.iter().zip(&exact.steps) {
            assert_eq!(
                (got.step, got.tokens, got.learning_rate),
                (exact.step, exact.tokens, exact.learning_rate)
            );
            assert!(near(got.loss, exact.loss), "{got:?} {exact:?}");
            assert!(
                near(got.gradient_norm, exact.gradient_norm),
                "{got:?} {exact:?}"
            );
            assert!(got.seconds > 0.0 && got.tokens_per_second > 0.0);
        }
        assert!(got.steps.is_sorted_by(|a, b| a.seconds <= b.seconds));
        let evaluated = |record: &Record| -> Vec<u64> {
            record
                .evaluations
                .iter()
                .map(|report| report.step)
                .collect()
        };
        assert_eq!(evaluated(&got), [0, 5, 10, 11]);
        assert_eq!(evaluated(&exact), [0, 5, 10, 11]);
        for (got, exact) in got_weights.iter().zip(&exact_weights) {
            assert!((got - exact).abs() < 1e-4, "{got} {exact}");
        }
    }
}

#[test]
fn a_run_paused_and_continued_is_the_run_in_one_piece() {
    let mut config = tiny();
    config.train.evaluate_every = 5;
    for every in [None, Some(4)] {
        let (whole, whole_weights) = run_reading(&config, every);
        let mut trainer = trainer(&config, Budget::Steps(11));
        if let Some(every) = every {
            trainer = trainer.reading_every(every);
        }
        let mut record = Record::default();
        record.on_evaluation(&trainer.evaluate());
        while !trainer.is_done() {
            trainer
                .run_until(|trainer| trainer.step_count() % 3 == 0, &mut record)
                .expect("the run stays finite");
            assert_eq!(record.steps.len() as u64, trainer.step_count());
        }
        let losses = |record: &Record| -> Vec<u64> {
            let steps = record.steps.iter().map(|report| report.loss.to_bits());
            let evaluations = record.evaluations.iter();
            let evaluated = evaluations.map(|report| report.evaluation.loss.to_bits());
            steps.chain(evaluated).collect()
        };
        assert_eq!(losses(&record), losses(&whole));
        assert!(bits(&weights(trainer.decoder())) == bits(&whole_weights));
    }
}

#[test]
fn a_step_that_cannot_be_made_is_found_behind_others_and_undone() {
    let mut config = tiny();
    config.train.learning_rate = 1e38;
    config.train.warmup_steps = Some(0);
    let failing = |every: Option<u64>| {
        let mut trainer = trainer(&config, Budget::Steps(20));
        if let Some(every) = every {
            trainer = trainer.reading_every(every);
        }
        let mut record = Record::default();
        let error = trainer.run(&mut record).expect_err("such a rate overflows");
        (
            error.to_string(),
            trainer.step_count(),
            record.steps.len(),
            trainer,
        )
    };
    let (error, step, reports, one_by_one) = failing(None);
    let (error_behind, step_behind, reports_behind, behind) = failing(Some(10));
    assert_eq!(error_behind, error);
    assert_eq!((step_behind, reports_behind), (step, reports));
    assert_eq!(step, reports as u64);
    let updates = |trainer: &Trainer| trainer.snapshot().progress.optimizer_updates;
    assert_eq!(updates(&behind), updates(&one_by_one));
    for (got, exact) in weights(behind.decoder())
        .iter()
        .zip(weights(one_by_one.decoder()))
    {
        // Such a rate leaves some that are not numbers.
        let same = got.to_bits() == exact.to_bits() || got.is_nan() && exact.is_nan();
        assert!(
            same || (got - exact).abs() <= 1e-4 * exact.abs(),
            "{got} {exact}"
        );
    }
}

#[test]
fn a_step_leaves_every_weight_where_it_lies() {
    struct Addresses(Vec<usize>);
    impl ModuleVisitor for Addresses {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val().inner().try_into_primitive::<Flex>();
            let numbers = tensor.expect("the CPU");
            self.0.push(numbers.storage::<f32>().as_ptr() as usize);
        }
    }
    let addresses = |trainer: &Trainer| {
        let mut found = Addresses(Vec::new());
        trainer.decoder().visit(&mut found);
        found.0
    };
    let mut trainer = trainer(&tiny(), Budget::Steps(2));
    let before = addresses(&trainer);
    for _ in 0..2 {
        trainer.step(&mut ()).expect("the run stays finite");
        assert_eq!(addresses(&trainer), before);
    }
}

#[test]
fn micro_batches_together_are_one_large_batch() {
    let config = tiny();
    let data = dataset(&config);
    let model = data.fit_vocabulary(&config.model).expect("a vocabulary");
    let device = Device::flex().autodiff();
    let decoder = Decoder::new(&model, 3, &device).expect("a right model");
    let batches = |rows: usize, count: usize| -> Vec<Batch> {
        let mut loader =
            Loader::mixed(data.train.clone(), rows, model.context, 5).expect("enough text");
        (0..count)
            .map(|_| loader.next_batch().expect("tokens in memory"))
            .collect()
    };
    let whole = step_gradients(&decoder, &batches(8, 1), &device, 1, 0.0).expect("finite");
    let parts = step_gradients(&decoder, &batches(2, 4), &device, 1, 0.0).expect("finite");
    assert_eq!((whole.micro_batches, parts.micro_batches), (1, 4));
    assert!((whole.loss - parts.loss).abs() < 1e-6);
    assert!((whole.norm / parts.norm - 1.0).abs() < 1e-5);
    for parameter in named::parameters(&decoder) {
        let whole = whole.sum.numbers(parameter.id).expect("a gradient");
        let parts = parts.sum.numbers(parameter.id).expect("a gradient");
        let squares = |numbers: &mut dyn Iterator<Item = f64>| -> f64 {
            numbers.map(|number| number * number).sum()
        };
        let wrong = squares(
            &mut whole
                .iter()
                .zip(&parts)
                .map(|(whole, parts)| f64::from(*whole) - f64::from(*parts) / 4.0),
        );
        let size = squares(&mut whole.iter().map(|number| f64::from(*number)));
        let error = (wrong / size.max(1e-20)).sqrt();
        assert!(error < 1e-5, "{}: {error:.1e}", parameter.name);
    }
}

#[test]
fn clipping_bounds_the_length_of_the_gradient_that_moves_the_weights() {
    // With an ε far above every gradient, and as large a rate, Adam's first update is the gradient.
    let mut config = tiny();
    config.train.epsilon = 1e6;
    config.train.learning_rate = 1e6;
    config.train.weight_decay = 0.0;
    config.train.decay = Decay::Constant;
    config.train.warmup_steps = Some(0);
    let moved = |clip: f64| -> (f64, f64) {
        let mut config = config.clone();
        config.train.clip = clip;
        let mut trainer = trainer(&config, Budget::Steps(1));
        let before = weights(trainer.decoder());
        let mut record = Record::default();
        trainer.step(&mut record).expect("one finite step");
        let after = weights(trainer.decoder());
        let squares = before
            .iter()
            .zip(&after)
            .map(|(before, after)| (f64::from(*after) - f64::from(*before)).powi(2));
        (squares.sum::<f64>().sqrt(), record.steps[0].gradient_norm)
    };
    let (free, norm) = moved(0.0);
    assert!((free / norm - 1.0).abs() < 1e-3, "{free} {norm}");
    let (clipped, reported) = moved(0.25 * norm);
    assert_eq!(reported, norm, "the report has the norm before clipping");
    assert!((clipped / norm - 0.25).abs() < 1e-3, "{clipped} {norm}");
    assert_eq!(moved(2.0 * norm).0, free, "a shorter gradient stays");
}

#[test]
fn a_poisoned_weight_is_named_and_nothing_moves() {
    let config = tiny();
    let data = dataset(&config);
    let model = data.fit_vocabulary(&config.model).expect("a vocabulary");
    let device = Device::flex().autodiff();
    let mut decoder = Decoder::new(&model, 3, &device).expect("a right model");
    let layer = &mut decoder.layers[1].mlp_norm;
    layer.weight = layer.weight.clone().map(|weight| {
        let poisoned = weight.inner().slice_fill([3..4], f32::NAN);
        Tensor::from_inner(poisoned).require_grad()
    });
    let before = bits(&weights(&decoder));
    let mut trainer =
        Trainer::with_decoder(decoder, &config, &data, Budget::Steps(5)).expect("enough text");
    let error = trainer.step(&mut ()).expect_err("NaN does not train");
    match &error {
        TrainError::NonFiniteLoss {
            step: 1, origin, ..
        } => assert_eq!(*origin, Origin::Weight("layers.1.mlp_norm.weight".into())),
        other => panic!("{other}"),
    }
    let line = error.to_string();
    assert_eq!(line.lines().count(), 1);
    assert!(line.contains("lower train.learning_rate"), "{line}");
    assert_eq!(bits(&weights(trainer.decoder())), before);
    assert_eq!(trainer.step_count(), 0);
}

#[test]
fn a_gradient_that_overflows_is_named_though_the_loss_is_finite() {
    let mut config = tiny();
    config.train.batch = 1;
    config.model.context = 1;
    let data = dataset(&config);
    let model = data.fit_vocabulary(&config.model).expect("a vocabulary");
    let device = Device::flex().autodiff();
    let mut decoder = Decoder::new(&model, 3, &device).expect("a right model");
    let batch = Batch {
        inputs: vec![97],
        targets: vec![98],
        batch: 1,
        context: 1,
    };
    // Scores stay small, yet the head's rows are so long that their weighted sum overflows.
    decoder.norm.weight = Param::from_tensor(Tensor::full([32], 1e-37, &device));
    let rows = Tensor::<2>::full([257, 32], 3e38, &device).slice_fill([98..99], -3e38);
    decoder.head = Some(Param::from_tensor(rows.detach()));
    let error = step_gradients(&decoder, &[batch], &device, 7, 1e-3).expect_err("an overflow");
    match error {
        TrainError::NonFiniteGradient {
            step: 7, tensor, ..
        } => assert_eq!(tensor, "embedding"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_learning_rate_without_measure_stops_the_run_with_the_step() {
    let mut config = tiny();
    config.train.learning_rate = 1e38;
    config.train.warmup_steps = Some(0);
    let mut trainer = trainer(&config, Budget::Steps(20));
    let error = trainer.run(&mut ()).expect_err("such a rate overflows");
    let (TrainError::NonFiniteLoss { step, .. } | TrainError::NonFiniteGradient { step, .. }) =
        error
    else {
        panic!("{error}");
    };
    assert_eq!(step, trainer.step_count() + 1);
    assert!((2..=4).contains(&step), "{step}");
}

#[test]
fn operations_buy_whole_steps_and_seconds_at_least_one() {
    let config = tiny();
    let per_step = {
        let record = record(&config, Budget::Steps(1));
        record.steps[0].flops
    };
    assert!(per_step > 0.0);
    assert_eq!(
        record(&config, Budget::Flops(3.9 * per_step)).steps.len(),
        3
    );
    assert_eq!(
        record(&config, Budget::Flops(0.5 * per_step)).steps.len(),
        1
    );
    assert_eq!(record(&config, Budget::Seconds(1e-9)).steps.len(), 1);
    assert_eq!(record(&config, Budget::Steps(0)).steps.len(), 0);
    let timed = record(&config, Budget::Seconds(0.3));
    let last = timed.steps.last().expect("at least one step");
    assert!(last.seconds >= 0.3 && last.done == 1.0 && last.steps == last.step);
    let rates = timed.steps.iter().map(|report| report.learning_rate);
    assert!(rates.clone().all(|rate| rate > 0.0 && rate <= 1e-2));
}

#[test]
fn a_text_shorter_than_a_window_and_a_small_vocabulary_are_refused() {
    let mut config = tiny();
    let data = dataset(&config);
    config.model.context = 1_000_000;
    let error = Trainer::new(&config, &data, Budget::Steps(1), &Device::flex());
    assert!(matches!(error, Err(TrainError::Data(_))));
    config.model.context = 32;
    config.model.vocabulary = 100;
    let error = Trainer::new(&config, &data, Budget::Steps(1), &Device::flex());
    assert!(matches!(
        error,
        Err(TrainError::SmallVocabulary {
            vocabulary: 100,
            needed: 257
        })
    ));
}
