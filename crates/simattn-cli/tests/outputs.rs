//! Whatever is wrong with the outputs of a command is said before its work, and nothing is written.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::Place;

const CONFIG: &str = r#"
[model]
context = 16
layers = 1
width = 16
attention = { kind = "mha", heads = 2, head_dim = 8 }
[data]
tales_train_bytes = 9000
tales_validation_bytes = 2000
[train]
steps = 1
batch = 2
evaluation_batches = 1
"#;

/// A command up to its output, which comes last.
struct Writer {
    arguments: &'static str,
    /// Whether the output is a file and not a folder.
    file: bool,
    /// A file that shows that the work was done.
    result: &'static str,
}

const fn folder(arguments: &'static str, result: &'static str) -> Writer {
    Writer {
        arguments,
        file: false,
        result,
    }
}

/// Every command with an output. `IN` is its input: a model, a text, tasks.
const WRITERS: [Writer; 8] = [
    folder(
        "train run.toml --peak-flops 1e11 --data IN/text --out",
        "model.safetensors",
    ),
    folder(
        "compare --config run.toml --variants mha --data IN/text --out",
        "results.json",
    ),
    folder("prepare IN/text --tokenizer bytes --out", "index.json"),
    folder(
        "upcycle IN/model --expanded-heads 4 --expanded-head-dim 8",
        "model.safetensors",
    ),
    folder("convert to-hf IN/model", "config.json"),
    folder("convert from-hf IN/hf", "model.safetensors"),
    folder(
        "eval IN/model --tasks piqa --tasks-dir IN/data --device cpu --log-samples",
        "samples_piqa.jsonl",
    ),
    Writer {
        arguments: "eval IN/model --tasks piqa --tasks-dir IN/data --device cpu --json",
        file: true,
        result: "",
    },
];

impl Place {
    fn new() -> Self {
        let place = Self::empty();
        place.write("run.toml", CONFIG);
        place
    }

    /// Text, a model in both forms, and a task.
    fn with_inputs() -> Self {
        let place = Self::new();
        fs::create_dir_all(place.path("in/text")).expect("a folder");
        fs::create_dir(place.path("in/data")).expect("a folder");
        for name in ["a", "b", "c"] {
            let text = format!("{name} fox met a crow.\n").repeat(100);
            place.write(&format!("in/text/{name}.txt"), text);
        }
        let item = "{\"goal\":\"g\",\"sol1\":\"one\",\"sol2\":\"two\",\"label\":0}\n";
        place.write("in/data/piqa_validation.jsonl", item.repeat(2));
        for prepare in [
            "train run.toml --peak-flops 1e11 --out in/model",
            "convert to-hf in/model in/hf",
        ] {
            place.succeed(prepare);
        }
        place
    }

    /// Runs a command with its output, on the inputs in `from`.
    fn write_with(&self, writer: &Writer, from: &str, out: &str) -> Output {
        let words = writer.arguments.replace("IN", from);
        let mut command = self.command(&words);
        command.arg(out).output().expect("the binary runs")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// All paths below a folder, links not followed.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        found.push(entry.path());
        if entry.file_type().expect("a type").is_dir() {
            found.extend(tree(&entry.path()));
        }
    }
    found.sort();
    found
}

#[cfg(unix)]
fn link(to: &Path, from: &Path) {
    std::os::unix::fs::symlink(to, from).expect("a link");
}

/// Whether permissions stop this process; they do not stop root.
#[cfg(unix)]
fn is_stopped(folder: &Path) -> bool {
    fs::create_dir(folder.join("probe")).is_err()
}

#[cfg(unix)]
#[test]
fn what_is_wrong_with_an_output_is_said_before_the_work() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let here = &place.path("");
    place.write("file", "mine");
    fs::create_dir(place.path("full")).expect("a folder");
    place.write("full/mine", "mine");
    fs::create_dir(place.path("closed")).expect("a folder");
    link(&place.path("loop-b"), &place.path("loop-a"));
    link(&place.path("loop-a"), &place.path("loop-b"));
    link(&place.path("nowhere"), &place.path("dangling"));
    fs::set_permissions(place.path("closed"), fs::Permissions::from_mode(0o555)).expect("ours");
    let long = "n".repeat(300);
    let mut ways = vec![
        ("file", "file"),
        ("file/below", "file"),
        ("file/below/more", "file"),
        ("full", "full"),
        ("loop-a", "loop-a"),
        ("loop-a/below", "loop-a"),
        ("loop-a/below/more", "loop-a"),
        ("dangling", "dangling"),
        (&long, "nnn"),
    ];
    let (below_long, above_long) = (format!("new/{long}"), format!("{long}/new"));
    ways.extend([(below_long.as_str(), "nnn"), (above_long.as_str(), "nnn")]);
    if is_stopped(&place.path("closed")) {
        ways.extend([("closed/new", "closed"), ("closed/new/more", "closed")]);
    } else {
        eprintln!("permissions stop nobody here: a folder that may not be written is not tried");
        fs::remove_dir(place.path("closed/probe")).expect("a folder");
    }
    let before = tree(here);
    for writer in &WRITERS {
        let mut ways = ways.clone();
        if writer.file {
            ways.extend([("closed", "closed"), ("new/", "new"), ("new/..", "new")]);
        }
        for (out, named) in ways {
            // The inputs are missing: a command that had begun to work would say so.
            let output = place.write_with(writer, "absent", out);
            let (said, what) = (said(&output), format!("{} {out:.20}", writer.arguments));
            assert_eq!(output.status.code(), Some(2), "{what}: {said}");
            assert_eq!(said.lines().count(), 1, "{what}: {said}");
            assert!(
                said.contains(named) && !said.contains("absent"),
                "{what}: {said}"
            );
            assert!(output.stdout.is_empty(), "{what}");
            assert_eq!(tree(here), before, "{what}: {said}");
        }
    }
    let mine = fs::read_to_string(place.path("file")).expect("the file");
    assert_eq!(mine, "mine");
}

#[cfg(unix)]
#[test]
fn a_free_place_an_empty_folder_and_a_link_to_one_are_outputs() {
    let place = Place::with_inputs();
    for (number, writer) in WRITERS.iter().enumerate() {
        let out = |name: &str| format!("out{number}/{name}");
        let mut outs = vec![out("a/b/new")];
        if !writer.file {
            outs.extend([out("empty"), out("linked")]);
            for name in ["empty/lost+found", "real"] {
                fs::create_dir_all(place.path(&out(name))).expect("a folder");
            }
            link(&place.path(&out("real")), &place.path(&out("linked")));
        }
        for out in outs {
            let output = place.write_with(writer, "in", &out);
            assert!(
                output.status.success(),
                "{} {out}: {}",
                writer.arguments,
                said(&output)
            );
            let result = place.path(&out).join(writer.result);
            let result = if writer.file {
                place.path(&out)
            } else {
                result
            };
            assert!(result.is_file(), "{} {out}", writer.arguments);
            let left = tree(&place.path(&format!("out{number}")));
            let unfinished = |path: &PathBuf| path.to_string_lossy().contains("unfinished");
            assert!(!left.iter().any(unfinished), "{left:?}");
        }
    }
}

#[test]
fn scores_of_a_task_called_group_two_are_shown_and_written() {
    let place = Place::with_inputs();
    place.write(
        "own.toml",
        "[[task]]\nname = \"group/two\"\nfiles = [\"piqa_validation\"]\ncontext = \"{goal}\"\n\
         choices = [\"{sol1}\", \"{sol2}\"]\ngold = { index = \"label\" }\nmetrics = [\"acc\"]\n",
    );
    let words = "eval in/model --tasks group/two --task-file own.toml --tasks-dir in/data \
                 --device cpu --log-samples all --json all/results.json";
    let table = place.succeed(words);
    assert!(table.contains("group/two"), "{table}");
    assert!(place.path("all/samples_group_two.jsonl").is_file());
    let json = fs::read(place.path("all/results.json")).expect("results");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert!(json["results"]["group/two"].is_object(), "{json}");
}
