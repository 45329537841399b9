//! The built-in tasks on made-up items, the files people may give, and a whole run.

use burn::tensor::Device;
use proptest::prelude::*;
use simattn::{AttentionConfig, Decoder, ModelConfig, MultiHeadConfig};
use simattn_data::Tokenizer;
use simattn_eval::{
    EvalError, Metric, Pair, Scorer, Settings, Task, harness_json, read_tasks, run_task,
    sample_json, tasks,
};
use std::fs;

fn task(name: &str) -> Task {
    Task::named(name, &tasks()).unwrap()
}

/// Contexts, continuations and the right one of an item.
fn item(name: &str, json: serde_json::Value) -> (Vec<(String, String)>, Option<usize>) {
    let item = task(name).item(&json.to_string()).unwrap();
    let requests = item
        .requests
        .into_iter()
        .map(|request| (request.context, request.continuation));
    (requests.collect(), item.gold)
}

#[test]
fn every_built_in_task_asks_as_the_harness_does() {
    let names: Vec<String> = tasks().into_iter().map(|task| task.name).collect();
    assert_eq!(
        names.join(" "),
        "arc_easy arc_challenge hellaswag piqa sciq social_iqa winogrande lambada_openai"
    );
    let pair = |context: &str, continuation: &str| (context.to_owned(), continuation.to_owned());

    let arc = serde_json::json!({"question": "Why?", "choices": {"text": ["a", "b", "c"], "label": ["1", "2", "3"]}, "answerKey": "3"});
    let (requests, gold) = item("arc_easy", arc.clone());
    assert_eq!(requests[1], pair("Question: Why?\nAnswer:", " b"));
    assert_eq!((requests.len(), gold), (3, Some(2)));
    assert_eq!(item("arc_challenge", arc).1, Some(2));

    let (requests, gold) = item(
        "hellaswag",
        serde_json::json!({
            "activity_label": "Roof removal", "ctx_a": "A man [title] sits.", "ctx_b": "he IS", "endings": ["x  y.", "[step] z", "w", "v"], "label": "1"
        }),
    );
    assert_eq!(
        requests[0],
        pair("Roof removal: A man. sits. He is", " x y.")
    );
    assert_eq!((&requests[1].1[..], gold), ("  z", Some(1)));

    let (requests, gold) = item(
        "piqa",
        serde_json::json!({"goal": "g", "sol1": "s ", "sol2": "t", "label": 1}),
    );
    assert_eq!(requests[0], pair("Question: g\nAnswer:", " s "));
    assert_eq!(gold, Some(1));

    let sciq = |support: &str| {
        item(
            "sciq",
            serde_json::json!({
                "support": support, "question": "q", "distractor1": "a", "distractor2": "b", "distractor3": "c", "correct_answer": "d"
            }),
        )
    };
    assert_eq!(sciq("").0[3], pair("\nQuestion: q\nAnswer:", " d"));
    assert_eq!(sciq(" \n s ").0[0], pair("s \nQuestion: q\nAnswer:", " a"));
    assert_eq!(sciq("").1, Some(3));

    let (requests, gold) = item(
        "social_iqa",
        serde_json::json!({
            "context": "c", "question": "q", "answerA": "x", "answerB": "y", "answerC": "z", "label": "3"
        }),
    );
    assert_eq!(requests[2], pair("Q: c q\nA:", " z"));
    assert_eq!(gold, Some(2));

    // Partial scoring: what differs is the context, what is scored is the same.
    let (requests, gold) = item(
        "winogrande",
        serde_json::json!({
            "sentence": "Sarah beat Maria so _ got the prize. ", "option1": "Sarah", "option2": "Maria", "answer": "1"
        }),
    );
    assert_eq!(
        requests[0],
        pair("Sarah beat Maria so Sarah", " got the prize.")
    );
    assert_eq!(
        requests[1],
        pair("Sarah beat Maria so Maria", " got the prize.")
    );
    assert_eq!(gold, Some(0));

    let (requests, gold) = item("lambada_openai", serde_json::json!({"text": "in the dark"}));
    assert_eq!(requests, [pair("in the", " dark")]);
    assert_eq!(gold, None);
}

#[test]
fn malformed_data_is_named_by_file_and_line() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("piqa_validation.jsonl");
    let good = r#"{"goal": "g", "sol1": "s", "sol2": "t", "label": 1}"#;
    for (bad, said) in [
        ("{", "EOF while parsing"),
        ("[]", "expected a map"),
        (r#"{"goal": "g"}"#, "no field \"sol1\""),
        (
            r#"{"goal": ["g"], "sol1": "s", "sol2": "t", "label": 1}"#,
            "is a list, not text",
        ),
        (
            r#"{"goal": "g", "sol1": "s", "sol2": "t", "label": 2}"#,
            "the right answer is number 3 of 2 choices",
        ),
        (
            r#"{"goal": "g", "sol1": "s", "sol2": "t", "label": -1}"#,
            "-1 is not the number of a choice",
        ),
        (
            r#"{"goal": "g", "sol1": "s", "sol2": "t"}"#,
            "no field \"label\"",
        ),
    ] {
        fs::write(&path, format!("{good}\n\n{bad}\n")).unwrap();
        let line = task("piqa").items(&path).unwrap_err().to_string();
        assert!(
            line.contains("piqa_validation.jsonl:3: ") && line.contains(said),
            "{line}"
        );
        assert!(!line.contains('\n'), "{line}");
    }
    fs::write(&path, b"\xff\n").unwrap();
    assert!(
        task("piqa")
            .items(&path)
            .unwrap_err()
            .to_string()
            .contains(":1: not UTF-8")
    );
    fs::write(&path, "\n \n").unwrap();
    assert!(matches!(
        task("piqa").items(&path),
        Err(EvalError::Empty { .. })
    ));
    assert_eq!(task("piqa").file_in(place.path()).unwrap(), path);
    let line = task("sciq").file_in(place.path()).unwrap_err().to_string();
    for name in ["sciq_test.jsonl", " or sciq_validation.jsonl"] {
        assert!(line.contains(name), "{line}");
    }
    let line = Task::named("arc", &tasks()).unwrap_err().to_string();
    assert!(
        line.contains("no task \"arc\"; choose among arc_easy, "),
        "{line}"
    );
}

#[test]
fn malformed_tasks_are_named_by_file_and_line() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("mine.toml");
    let good = "[[task]]\nname = \"a\"\ncontext = \"{q}\"\nchoices = \"c\"\ngold = { index = \"g\" }\nmetrics = [\"acc\"]\n";
    fs::write(&path, good).unwrap();
    let mine = read_tasks(&path).unwrap();
    assert_eq!(mine[0].files, ["a"]);
    assert_eq!(
        mine[0]
            .item(r#"{"q": "x", "c": ["y", "z"], "g": 0}"#)
            .unwrap()
            .requests[1]
            .continuation,
        " z"
    );
    for (from, to, line, said) in [
        ("\"{q}\"", "\"{q\"", 1, "not closed"),
        (
            "metrics = [\"acc\"]",
            "metrics = [\"accuracy\"]",
            6,
            "unknown variant",
        ),
        (
            "metrics = [\"acc\"]",
            "metrics = [\"perplexity\"]",
            1,
            "does not fit",
        ),
        ("metrics = [\"acc\"]", "metrics = []", 1, "metrics is empty"),
        ("gold = { index = \"g\" }\n", "", 1, "gold is missing"),
        (
            "gold = { index = \"g\" }",
            "gold = { idx = \"g\" }",
            5,
            "gold must be",
        ),
        ("choices = \"c\"\n", "", 1, "give context and choices"),
        (
            "choices = \"c\"",
            "choices = [\"one\"]",
            1,
            "fewer than two choices",
        ),
        ("choices = \"c\"", "choices = 3", 4, "choices must be"),
        ("name = \"a\"", "name = \"a\"\nnom = 1", 3, "unknown field"),
        ("[[task]]", "[[task]", 1, ""),
        ("[[task]]", &format!("{good}[[task]]"), 7, "a second task"),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, good);
        fs::write(&path, &text).unwrap();
        let error = read_tasks(&path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("mine.toml:{line}: ")) && error.contains(said),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

fn model() -> Decoder {
    let heads = AttentionConfig::Mha(MultiHeadConfig {
        heads: 2,
        head_dim: 8,
        rope_base: 10_000.0,
        rotary_dim: None,
    });
    let config = ModelConfig {
        vocabulary: 257,
        ..ModelConfig::neox(64, 2, 16, heads)
    };
    Decoder::new(&config, 3, &Device::flex()).unwrap()
}

#[test]
fn a_run_is_the_same_however_it_is_batched() {
    let tokenizer = Tokenizer::bytes();
    let decoder = model();
    let piqa = task("piqa");
    let items: Vec<_> = (0..9)
        .map(|n| {
            let json = serde_json::json!({"goal": "g".repeat(n), "sol1": "s".repeat(1 + n % 4), "sol2": "é longer one", "label": n % 2});
            piqa.item(&json.to_string()).unwrap()
        })
        .collect();
    let drawn = |batch_tokens: usize, limit: Option<usize>, shots: usize, seed: Option<u64>| {
        let scorer = Scorer::new(&decoder, 64, batch_tokens);
        let settings = Settings {
            limit,
            shots,
            seed,
            prefix: 256,
        };
        run_task(
            &piqa,
            items.clone(),
            &items,
            &tokenizer,
            &scorer,
            &settings,
            |_, _| {},
        )
        .unwrap()
    };
    let run = |batch_tokens, limit, shots| drawn(batch_tokens, limit, shots, None);
    let one = run(1, None, 0);
    let many = run(500, None, 0);
    assert_eq!((one.outcome.items, one.available), (9, 9));
    for (one, many) in one.items.iter().zip(&many.items) {
        for (one, many) in one.scores.iter().zip(&many.scores) {
            assert!((one.log_likelihood - many.log_likelihood).abs() < 1e-4);
            assert_eq!((one.greedy, one.tokens), (many.greedy, many.tokens));
        }
        assert_eq!(one.parts, many.parts);
    }
    // By hand: the definition, from all logits of one pair.
    let request = &one.items[4].item.requests[1];
    let pair = Pair::encode(&tokenizer, &request.context, &request.continuation, 256).unwrap();
    let ids: Vec<i32> = pair.ids.iter().map(|&id| id as i32).collect();
    let count = ids.len();
    let data = burn::tensor::TensorData::new(ids.clone(), [1, count]);
    let logits = decoder.logits(burn::tensor::Tensor::from_data(data, &Device::flex()));
    let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
    let mut sum = 0.0;
    for at in count - pair.scored..count {
        let row = &logits[(at - 1) * 257..at * 257];
        let total: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
        sum += f64::from(row[ids[at] as usize]) - total.ln();
    }
    assert!((sum - one.items[4].scores[1].log_likelihood).abs() < 1e-4);

    // Drawn: the same for one seed, others for another and for another question, and never the
    // question.
    let contexts = |seed| -> Vec<String> {
        let run = drawn(500, None, 2, Some(seed));
        let items = run.items.iter();
        items
            .map(|one| one.item.requests[0].context.clone())
            .collect()
    };
    let shown = contexts(1);
    assert_eq!(shown, contexts(1));
    assert_ne!(shown, contexts(2));
    for (n, context) in shown.iter().enumerate() {
        let goals = |m: usize| format!("Question: {}\nAnswer:", "g".repeat(m));
        assert_eq!(context.matches("Question: ").count(), 3, "{context}");
        assert!(context.ends_with(&goals(n)));
        assert_eq!(context.matches(&goals(n)).count(), 1, "{context}");
    }

    let few = run(500, Some(4), 2);
    assert_eq!(few.outcome.items, 4);
    let shown = &few.items[0].item.requests[0].context;
    // The question itself is not among what is shown.
    assert!(
        shown.starts_with(
            "Question: g\nAnswer: é longer one\n\nQuestion: gg\nAnswer: sss\n\nQuestion: \nAnswer:"
        ),
        "{shown:?}"
    );

    let json = harness_json(
        std::slice::from_ref(&few),
        &serde_json::json!({"model": "m"}),
    );
    assert_eq!(json["results"]["piqa"]["alias"], "piqa");
    assert!(json["results"]["piqa"]["acc_norm_stderr,none"].is_number());
    assert_eq!(
        json["n-samples"]["piqa"],
        serde_json::json!({"original": 9, "effective": 4})
    );
    assert_eq!(json["n-shot"]["piqa"], 2);
    let sample = sample_json(&few, 1, &few.items[1]);
    assert_eq!(sample["filtered_resps"].as_array().unwrap().len(), 2);
    assert_eq!(sample["target"], 1);
    assert!(
        few.outcome
            .values
            .iter()
            .map(|(metric, _)| *metric)
            .eq([Metric::Acc, Metric::AccNorm])
    );
}

proptest! {
    #[test]
    fn no_bytes_make_a_task_panic(text: String, json: String) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("t.toml");
        fs::write(&path, &text).unwrap();
        let _ = read_tasks(&path);
        for task in tasks() {
            prop_assert!(task.item(&json).is_err());
        }
    }
}

/// The model with finite weights whose scores overflow.
fn overflowing() -> Decoder {
    let mut decoder = model();
    let head = decoder.head.take().expect("an untied head").val();
    decoder.head = Some(burn::module::Param::from_tensor(head.full_like(f32::MAX)));
    decoder
}

#[test]
fn a_log_likelihood_that_is_no_number_is_an_error_that_names_the_item() {
    let piqa = task("piqa");
    let json = r#"{"goal": "g", "sol1": "a", "sol2": "b", "label": 0}"#;
    let items = vec![piqa.item(json).unwrap()];
    let decoder = overflowing();
    let scorer = Scorer::new(&decoder, 64, 100);
    let run = |settings: &Settings, items| {
        let tokenizer = Tokenizer::bytes();
        run_task(&piqa, items, &[], &tokenizer, &scorer, settings, |_, _| {})
    };
    let settings = Settings {
        prefix: 256,
        ..Settings::default()
    };
    let error = run(&settings, items.clone()).expect_err("no score");
    assert!(
        matches!(
            error,
            EvalError::NotFinite {
                item: 1,
                request: 1,
                ..
            }
        ),
        "{error}"
    );
    let line = error.to_string();
    assert!(line.starts_with("piqa: ") && !line.contains('\n'), "{line}");

    // Nothing to score is no result either.
    let none = Settings {
        limit: Some(0),
        ..settings.clone()
    };
    for error in [run(&none, items), run(&settings, Vec::new())] {
        assert!(matches!(error, Err(EvalError::NoItems { .. })), "{error:?}");
    }
}

#[test]
fn a_perplexity_beyond_float64_is_no_null_in_the_results() {
    let lambada = task("lambada_openai");
    let decoder = model();
    let scorer = Scorer::new(&decoder, 400, 1000);
    // One word of 300 tokens, each about ln 257 nats.
    let json = serde_json::json!({"text": format!("it was {}", "dark".repeat(75))});
    let items = vec![lambada.item(&json.to_string()).unwrap()];
    let settings = Settings {
        prefix: 256,
        ..Settings::default()
    };
    let tokenizer = Tokenizer::bytes();
    let run = run_task(
        &lambada,
        items,
        &[],
        &tokenizer,
        &scorer,
        &settings,
        |_, _| {},
    )
    .unwrap();
    assert!(run.items[0].scores[0].log_likelihood < -710.0);
    let json = harness_json(std::slice::from_ref(&run), &serde_json::Value::Null);
    let results = &json["results"]["lambada_openai"];
    assert_eq!(results["perplexity,none"], "inf");
    assert_eq!(results["perplexity_stderr,none"], "N/A");
}

#[test]
fn labels_and_numbers_are_read_however_they_are_written() {
    let arc = |label: serde_json::Value, labels: serde_json::Value, texts: serde_json::Value| {
        let json = serde_json::json!({"question": "q", "answerKey": label, "extra": null,
            "choices": {"text": texts, "label": labels}});
        task("arc_easy").item(&json.to_string())
    };
    use serde_json::json;
    let words = json!(["x", "y", "z"]);
    let gold = |label, labels| arc(label, labels, words.clone()).map(|item| item.gold);
    assert_eq!(gold(json!("2"), json!(["1", "2", "3"])), Ok(Some(1)));
    assert_eq!(gold(json!(2), json!(["1", "2", "3"])), Ok(Some(1)));
    assert_eq!(gold(json!("2"), json!([1, 2, 3])), Ok(Some(1)));
    // What is equal comes before what is spelled alike.
    assert_eq!(gold(json!("1"), json!([1, "1", "2"])), Ok(Some(1)));
    assert!(gold(json!(null), json!([null, 2, 3])).is_ok_and(|gold| gold == Some(0)));
    assert!(gold(json!("D"), json!(["A", "B", "C"])).is_err());
    let item = arc(json!("A"), json!(["A", "B"]), json!([7, 0.5])).unwrap();
    assert_eq!(item.requests[1].continuation, " 0.5");
    assert!(arc(json!("A"), json!(["A", "B"]), json!([7, null])).is_err());

    let piqa = |label: &str| {
        let json = format!(r#"{{"goal":"g","sol1":"a","sol2":"b","label":{label},"score":NaN}}"#);
        task("piqa").item(&json).map(|item| item.gold)
    };
    for right in ["1", "1.0", "\"1\"", "\" 1 \"", "true"] {
        assert_eq!(piqa(right), Ok(Some(1)), "{right}");
    }
    for wrong in ["1.5", "2", "-1", "null", "NaN", "1e300", "\"b\"", "[1]"] {
        let problem = piqa(wrong).expect_err(wrong);
        assert!(
            problem.contains("label") || problem.contains("right answer"),
            "{problem}"
        );
    }
    let used = task("piqa").item(r#"{"goal":NaN,"sol1":"a","sol2":"b","label":0}"#);
    assert!(used.expect_err("it is used").contains("\"goal\" is null"));
}
