//! What came out, in lm-evaluation-harness's schema.

use crate::run::{ItemScore, TaskRun};
use serde_json::{Map, Value, json};

/// The results file: `results`, `n-shot`, `higher_is_better`, `n-samples`, and `config` as given. A
/// perplexity beyond float64 is written as the text "inf".
pub fn harness_json(runs: &[TaskRun], config: &Value) -> Value {
    let each = |of: &dyn Fn(&TaskRun) -> Value| -> Value {
        let entries = runs.iter().map(|run| (run.task.name.clone(), of(run)));
        Value::Object(entries.collect::<Map<_, _>>())
    };
    let results = each(&|run| {
        let mut entry = Map::new();
        entry.insert("alias".to_owned(), run.task.name.clone().into());
        for (metric, value) in &run.outcome.values {
            let name = metric.name();
            // JSON has no infinity. A perplexity is infinite where a log-likelihood is below −709
            // on average.
            let number = if value.value.is_finite() {
                json!(value.value)
            } else {
                json!(value.value.to_string())
            };
            entry.insert(format!("{name},none"), number);
            let error = if value.standard_error.is_finite() {
                json!(value.standard_error)
            } else {
                json!("N/A")
            };
            entry.insert(format!("{name}_stderr,none"), error);
        }
        Value::Object(entry)
    });
    let better = each(&|run| {
        let metrics = run.task.metrics.iter();
        let entries =
            metrics.map(|metric| (metric.name().to_owned(), json!(metric.higher_is_better())));
        Value::Object(entries.collect::<Map<_, _>>())
    });
    json!({
        "results": results,
        "n-shot": each(&|run| json!(run.shots)),
        "higher_is_better": better,
        "n-samples": each(&|run| json!({ "original": run.available, "effective": run.outcome.items })),
        "config": config,
    })
}

/// A line of the samples file: the item, its requests and every request's log-likelihood.
pub fn sample_json(run: &TaskRun, index: usize, item: &ItemScore) -> Value {
    let arguments: Vec<Value> = item
        .item
        .requests
        .iter()
        .map(|request| json!([request.context, request.continuation]))
        .collect();
    let responses: Vec<Value> = item
        .scores
        .iter()
        .map(|score| json!([score.log_likelihood, score.greedy]))
        .collect();
    let mut sample = json!({
        "doc_id": index,
        "doc": item.item.document,
        "target": item.item.gold,
        "arguments": arguments,
        "filtered_resps": responses,
    });
    if let Value::Object(fields) = &mut sample {
        for (metric, part) in run.task.metrics.iter().zip(&item.parts) {
            fields.insert(metric.name().to_owned(), json!(part));
        }
    }
    sample
}
