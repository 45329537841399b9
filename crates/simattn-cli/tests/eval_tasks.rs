//! `simattn eval` on tasks: a table, the harness's schema, samples; what is wrong ends with one
//! line and code 2.

mod common;

use std::fs;
use std::path::Path;

use common::{Place, text};

impl Place {
    /// With a small trained model and two tasks' data.
    fn new() -> Self {
        let place = Self::empty();
        place.write(
            "run.toml",
            "[model]\ncontext = 64\nlayers = 1\nwidth = 16\n\
             attention = { kind = \"mha\", heads = 2, head_dim = 8 }\n\
             [data]\ntales_train_bytes = 9000\ntales_validation_bytes = 2000\n\
             [train]\nsteps = 2\nbatch = 2\nevaluation_batches = 1\n",
        );
        let piqa: String = (0..5)
            .map(|n| {
                format!(
                    "{{\"goal\":\"g{n}\",\"sol1\":\"one\",\"sol2\":\"two é\",\"label\":{}}}\n",
                    n % 2
                )
            })
            .collect();
        fs::create_dir(place.path("data")).expect("a folder");
        place.write("data/piqa_validation.jsonl", &piqa);
        place.write(
            "data/lambada_test.jsonl",
            "{\"text\":\"it was dark\"}\n{\"text\":\"a b\"}\n",
        );
        place.succeed("train run.toml --peak-flops 1e11 --out model");
        place
    }
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

#[test]
fn tasks_are_scored_and_written_in_the_known_schema() {
    let place = Place::new();
    let said = place.succeed(
        "eval model --tasks piqa,lambada_openai --tasks-dir data --json results.json --log-samples samples",
    );
    assert_eq!(said.lines().count(), 5, "{said}");
    assert!(
        said.contains("acc_norm") && said.contains("perplexity"),
        "{said}"
    );
    let results = json(&place.path("results.json"));
    assert_eq!(results["n-samples"]["piqa"]["effective"], 5);
    assert!(results["results"]["lambada_openai"]["perplexity,none"].as_f64() > Some(1.0));
    assert_eq!(
        results["higher_is_better"]["lambada_openai"]["perplexity"],
        false
    );
    let samples = fs::read_to_string(place.path("samples/samples_piqa.jsonl")).expect("samples");
    assert_eq!(samples.lines().count(), 5);

    // Limits, shots and batches; own tasks.
    place.succeed("eval model --tasks piqa --tasks-dir data --limit 2 --num-fewshot 1 --batch-tokens 1 --json few.json");
    let few = json(&place.path("few.json"));
    assert_eq!(
        few["n-samples"]["piqa"],
        serde_json::json!({"original": 5, "effective": 2})
    );
    assert_eq!(few["n-shot"]["piqa"], 1);
    place.write(
        "own.toml",
        "[[task]]\nname = \"own\"\nfiles = [\"piqa_validation\"]\ncontext = \"{goal}?\"\nchoices = [\"{sol1}\", \"{sol2}\"]\n\
         gold = { index = \"label\" }\nmetrics = [\"acc\"]\n",
    );
    assert!(
        place
            .succeed("eval model --tasks own --task-file own.toml --tasks-dir data")
            .contains("own")
    );
}

#[test]
fn what_is_wrong_is_said_in_a_line() {
    let place = Place::new();
    place.write("bad.toml", "[[task]]\nname = \"x\"\nmetrics = [\"f1\"]\n");
    place.write(
        "own.toml",
        "[[task]]\nname = \"own\"\ncontext = \"{goal}?\"\ncontinuation = \"{sol1}\"\nmetrics = [\"acc\"]\n",
    );
    place.write("data/sciq_test.jsonl", "{\"support\":\"\"}\n");
    let tasks = "eval model --tasks-dir data --tasks";
    for (arguments, said) in [
        (
            format!("{tasks} arc"),
            "no task \"arc\"; choose among arc_easy",
        ),
        (
            format!("{tasks} arc_easy"),
            "no data for arc_easy; put arc_easy_test.jsonl",
        ),
        (
            format!("{tasks} sciq"),
            "sciq_test.jsonl:1: no field \"question\"",
        ),
        (
            format!("{tasks} piqa --task-file bad.toml"),
            "bad.toml:3: unknown variant",
        ),
        (
            format!("{tasks} piqa --num-fewshot 5"),
            "5 items, but 5 are to be shown",
        ),
        (format!("{tasks} piqa --batch-tokens 0"), "--batch-tokens 0"),
        (format!("{tasks} piqa --context 0"), "--context 0"),
        (
            format!("{tasks} piqa --json run.toml"),
            "run.toml: already exists",
        ),
        (
            format!("{tasks} piqa,sciq --shots-from data/piqa_validation.jsonl"),
            "--shots-from",
        ),
        (
            "eval nowhere --tasks piqa --tasks-dir data".to_owned(),
            "nowhere",
        ),
        (
            "eval model --tasks piqa".to_owned(),
            if cfg!(feature = "hub") {
                "baber/piqa@refs%2Fconvert%2Fparquet/*/validation/*.parquet: not in the cache"
            } else {
                "--features hub"
            },
        ),
        (
            "eval model --tasks own --task-file own.toml".to_owned(),
            "names no data on the Hub: give --tasks-dir",
        ),
    ] {
        let errors = place.refuse(&arguments);
        assert!(errors.contains(said), "{arguments}: {errors}");
    }
    let neither = place.run("eval model");
    assert_eq!(neither.status.code(), Some(2));
    assert!(text(&neither.stderr).contains("--data"));
}

#[cfg(feature = "hub")]
#[test]
fn what_the_hub_s_cache_holds_is_used_without_a_network() {
    let place = Place::new();
    let sha = "0123456789abcdef0123456789abcdef01234567";
    let kept = format!("hf/hub/datasets--a--b/snapshots/{sha}/data");
    fs::create_dir_all(place.path(&kept)).expect("a folder");
    fs::create_dir_all(place.path("hf/hub/datasets--a--b/refs")).expect("a folder");
    place.write("hf/hub/datasets--a--b/refs/main", sha);
    // Two files of one split, in the order of their names.
    for (name, goal) in [("1.jsonl", "second"), ("0.jsonl", "first")] {
        let line =
            format!("{{\"goal\":\"{goal}\",\"sol1\":\"one\",\"sol2\":\"two\",\"label\":1}}\n");
        place.write(&format!("{kept}/{name}"), &line);
    }
    place.write(
        "own.toml",
        "[[task]]\nname = \"own\"\nhub = \"hf://datasets/a/b/data/*.jsonl\"\ncontext = \"{goal}?\"\nchoices = [\"{sol1}\", \"{sol2}\"]\n\
         gold = { index = \"label\" }\nmetrics = [\"acc\"]\n",
    );
    place.succeed("eval model --tasks own --task-file own.toml --log-samples samples");
    let samples = fs::read_to_string(place.path("samples/samples_own.jsonl")).expect("samples");
    let goals: Vec<serde_json::Value> = samples
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["doc"]["goal"].clone()
        })
        .collect();
    assert_eq!(goals, ["first", "second"]);
}
