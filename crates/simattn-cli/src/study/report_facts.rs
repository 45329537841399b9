//! The parts of the page that say what was compared, and how.

use std::fmt::Write;

use super::markup::escaped;
use super::results::{Equal, StudyResults};
use super::series::row_heading;
use crate::quantity::{bytes, count, grouped, significant};

/// What every variant is, and what it costs.
pub(crate) fn variants(page: &mut String, study: &StudyResults) {
    page.push_str(
        "<h2>Variants</h2>\n<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">variant</th><th scope=\"col\" style=\"text-align:left\">attention</th>\
         <th scope=\"col\">embedding<br/>params</th><th scope=\"col\">attention<br/>params</th><th scope=\"col\">MFLOP per token<br/>forward</th>\
         <th scope=\"col\">MFLOP per token<br/>training</th><th scope=\"col\">cache<br/>per token</th></tr></thead>\n<tbody>\n",
    );
    for variant in &study.variants {
        row_heading(page, study, variant);
        let _ = writeln!(
            page,
            "<td class=\"words\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&variant.attention),
            count(variant.parameters.embedding as f64),
            count(variant.parameters.attention as f64),
            number(variant.forward_flops_per_token / 1e6, |value| significant(
                value, 4
            )),
            number(variant.training_flops_per_token / 1e6, |value| significant(
                value, 4
            )),
            number(variant.cache_bytes_per_token, bytes)
        );
    }
    page.push_str("</tbody></table></div>\n");
}

/// Every run's final loss, where there is more than one a variant.
pub(crate) fn seeds(page: &mut String, study: &StudyResults) {
    let most = study
        .variants
        .iter()
        .map(|variant| variant.runs.len())
        .max()
        .unwrap_or(0);
    if most < 2 {
        return;
    }
    page.push_str("<h2>Final validation loss of every run</h2>\n<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">variant</th>");
    for seed in &study.schedule.seeds {
        let _ = write!(page, "<th scope=\"col\">seed {seed}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for variant in &study.variants {
        row_heading(page, study, variant);
        for &seed in &study.schedule.seeds {
            let text = match variant.runs.iter().find(|run| run.seed == seed) {
                Some(run) => run
                    .final_loss()
                    .map_or("failed".to_owned(), |loss| format!("{loss:.4}")),
                None => "–".to_owned(),
            };
            let _ = write!(page, "<td>{text}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

fn number(value: f64, written: impl Fn(f64) -> String) -> String {
    if value.is_finite() {
        written(value)
    } else {
        "–".to_owned()
    }
}

/// Under which conditions the study ran, and the command that repeats it.
pub(crate) fn conditions(page: &mut String, study: &StudyResults) {
    let (corpus, schedule, machine) = (&study.corpus, &study.schedule, &study.machine);
    let equal = match schedule.equal {
        Equal::Steps => "steps",
        Equal::Flops => "training FLOPs",
        Equal::Time => "training time",
    };
    let seeds: Vec<String> = schedule.seeds.iter().map(u64::to_string).collect();
    let is_tuned = study.variants.iter().any(|v| v.rate_search.is_some());
    let rate = if is_tuned {
        "chosen for each variant".to_owned()
    } else {
        schedule.learning_rate.to_string()
    };
    let facts = [
        (
            "Corpus",
            format!(
                "{}; {} tokens to train on, {} ({} of text) to validate on",
                corpus.source,
                count(corpus.train_tokens as f64),
                count(corpus.validation_tokens as f64),
                bytes(corpus.validation_bytes as f64)
            ),
        ),
        (
            "Tokenizer",
            format!(
                "{}, {} entries",
                corpus.tokenizer,
                grouped(corpus.vocabulary as f64)
            ),
        ),
        ("Held equal", equal.to_owned()),
        (
            "Schedule",
            format!(
                "{} steps of {} tokens ({} sequences of {}), peak learning rate {rate}",
                grouped(schedule.steps as f64),
                grouped(schedule.tokens_per_step as f64),
                grouped(schedule.batch as f64),
                grouped(schedule.context as f64)
            ),
        ),
        (
            if seeds.len() == 1 { "Seed" } else { "Seeds" },
            seeds.join(", "),
        ),
        (
            "Machine",
            format!(
                "{}, {} cores, {} threads used, {}, {}",
                machine.cpu,
                machine.cores,
                machine.threads,
                machine.instruction_set,
                bytes(machine.memory_bytes as f64)
            ),
        ),
    ];
    let mut others: Vec<&str> = study
        .variants
        .iter()
        .flat_map(|variant| &variant.runs)
        .filter_map(|run| Some(run.machine.as_ref()?.cpu.as_str()))
        .collect();
    others.sort_unstable();
    others.dedup();
    let others = (!others.is_empty()).then(|| ("Other machines", others.join("; ")));
    page.push_str("<h2>How it was measured</h2>\n<dl>\n");
    for (name, fact) in facts.into_iter().chain(others) {
        let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escaped(&fact));
    }
    page.push_str("<dt>Matching</dt><dd><ul>");
    for line in &study.matching {
        let _ = write!(page, "<li>{}</li>", escaped(line));
    }
    if study.matching.is_empty() {
        page.push_str("<li>Sizes were not matched.</li>");
    }
    let _ = write!(
        page,
        "</ul></dd>\n<dt>Command</dt><dd><code>{}</code></dd>\n</dl>\n",
        escaped(&study.command)
    );
}
