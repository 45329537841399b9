//! `simattn generate`, `chat` and `serve` as a user runs them.

mod common;

use std::io::Write;
use std::process::Output;

use common::{LLAMA, Place, text};
use serde_json::Value;

/// A trained model in `model`, and with a chat template in `chat`.
struct Trained(Place);

impl Trained {
    fn new() -> Self {
        let place = Place::empty();
        place.write("run.toml", LLAMA.replace("context = 32", "context = 96"));
        place.succeed("train run.toml --out model");
        place.succeed("convert to-hf model hf");
        let template = "{% for m in messages %}{{ m.role[0] }}: {{ m.content }}\n{% endfor %}";
        place.write("hf/chat_template.jinja", template);
        place.succeed("convert from-hf hf chat");
        Self(place)
    }

    /// Runs a command with more arguments, which may hold spaces.
    fn run(&self, arguments: &str, more: &[&str]) -> Output {
        let mut command = self.0.command(arguments);
        command.args(more).output().expect("the binary runs")
    }

    fn generated(&self, options: &str, prompt: &str) -> String {
        let output = self.run(&format!("generate model --tokens 20 {options}"), &[prompt]);
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{options}: {errors}");
        assert!(errors.contains("tokens/s"), "{errors}");
        text(&output.stdout)
    }
}

#[test]
fn prompts_of_a_file_get_what_each_gets_alone() {
    let prompts = ["Anna gave", "The old man\tand", "x"];
    let trained = Trained::new();
    trained
        .0
        .write("prompts.txt", format!("{}\n\n", prompts.join("\n")));
    let quoted = prompts.map(|prompt| serde_json::json!({ "prompt": prompt }).to_string());
    trained.0.write("prompts.jsonl", quoted.join("\n"));
    for options in [
        "",
        "--greedy",
        "--temperature 1.5 --seed 5 --top-k 40 --repetition-penalty 1.1",
    ] {
        let alone = prompts.map(|prompt| trained.generated(options, prompt));
        for file in ["prompts.txt", "prompts.jsonl"] {
            let lines = trained.run(
                &format!("generate model --tokens 20 --json --file {file} {options}"),
                &[],
            );
            assert!(lines.status.success(), "{}", text(&lines.stderr));
            let mut found = 0;
            for line in text(&lines.stdout).lines() {
                let line: Value = serde_json::from_str(line).expect("JSON");
                let prompt = prompts.iter().position(|prompt| line["prompt"] == *prompt);
                let expected = &alone[prompt.expect("one of them")];
                let answer = line["text"].as_str().expect("a text");
                assert_eq!(&format!("{answer}\n"), expected);
                let tokens = line["tokens"].as_array().expect("a list");
                assert!(
                    tokens
                        .iter()
                        .all(|token| token["logprob"].as_f64() <= Some(0.0))
                );
                found += 1;
            }
            assert_eq!(found, 3, "{options}");
        }
    }
    let together = trained.run("generate model --tokens 20 --file prompts.txt", &[]);
    let expected: String = prompts
        .iter()
        .enumerate()
        .map(|(place, prompt)| format!("== {} ==\n{}", place + 1, trained.generated("", prompt)))
        .collect();
    assert_eq!(text(&together.stdout), expected);
}

#[test]
fn sampling_follows_its_seed_and_stops_where_it_is_told() {
    let trained = Trained::new();
    let generated = |options: &str, prompt: &str| trained.generated(options, prompt);
    let drawn = |seed: u32| generated(&format!("--seed {seed}"), "Anna");
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    assert_eq!(generated("--temperature 0", "Anna"), generated("", "Anna"));
    let whole = generated("--seed 1", "Anna");
    let stop: String = whole.chars().skip(6).take(2).collect();
    let output = trained.run(
        "generate model --tokens 20 --seed 1 --stop",
        &[&stop, "Anna"],
    );
    let stopped = text(&output.stdout);
    assert_eq!(stopped.strip_suffix('\n'), whole.split(&stop).next());
    let likeliest = trained.run("generate model --tokens 2 --json --likeliest 3", &["Anna"]);
    let line: Value = serde_json::from_str(&text(&likeliest.stdout)).expect("JSON");
    assert_eq!(
        line["tokens"][0]["likeliest"]
            .as_array()
            .expect("a list")
            .len(),
        3
    );
    assert_eq!(line["finish"], "length");
    // The narrow types run too.
    generated("--weights int8 --cache bf16", "Anna");
}

#[test]
fn what_cannot_be_generated_is_said() {
    let trained = Trained::new();
    let refused = |options: &str| trained.0.refuse(&format!("generate {options}"));
    assert!(refused("model --file nothing.txt").contains("nothing.txt"));
    assert!(refused("model x --temperature -1").contains("temperature = -1"));
    assert!(refused("model x --top-p 2").contains("top_p = 2"));
    assert!(refused("model x --tokens 96").contains("context of 96"));
    trained.0.write("empty.txt", "\n\n");
    assert!(refused("model --file empty.txt").contains("no prompt"));
    trained.0.write("wrong.jsonl", "{\"text\": 1}");
    assert!(refused("model --file wrong.jsonl").contains("line 1"));
    for usage in ["generate model", "generate model x --greedy --seed 3"] {
        assert_eq!(trained.0.run(usage).status.code(), Some(2), "{usage}");
    }
}

#[test]
fn a_chat_goes_on_until_its_input_ends() {
    let trained = Trained::new();
    let no_template = trained.0.refuse("chat model");
    assert!(no_template.contains("no chat template"), "{no_template}");
    let talk = |lines: &str| {
        let mut command = trained.0.command("chat chat --tokens 8 --temperature 0");
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("it runs");
        child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(lines.as_bytes())
            .expect("read");
        let output = child.wait_with_output().expect("it ends");
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{errors}");
        (text(&output.stdout), errors)
    };
    let (once, _) = talk("Hello\n");
    assert!(once.ends_with('\n') && once.len() > 1, "{once:?}");
    let (twice, said) = talk("Hello\n\n/new\nHello\n");
    assert_eq!(twice, once.repeat(2));
    assert!(said.contains("a new conversation"), "{said}");
    let long = "long ".repeat(8);
    let (_, said) = talk(&format!("{long}\n{long}\n{long}\n"));
    assert!(said.contains("the context of 96 tokens is full"), "{said}");
    let (_, said) = talk(&format!("{}\n", "long ".repeat(30)));
    assert!(said.contains("does not fit"), "{said}");
}

#[cfg(all(feature = "serve", unix))]
mod serving {
    use std::io::{BufRead, BufReader, Read};
    use std::net::TcpStream;
    use std::process::{Child, Command};

    use super::*;

    /// A running server and its address.
    fn served(trained: &Trained, options: &str) -> (Child, String) {
        let mut command = trained.0.command(&format!("serve chat --port 0 {options}"));
        let mut child = command
            .env_remove("SIMATTN_API_KEY")
            .spawn()
            .expect("it runs");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let address = lines.find_map(|line| {
            let line = line.expect("text");
            line.strip_prefix("serve: listening at http://")
                .map(str::to_owned)
        });
        // Whoever says more must not be ended by that.
        std::thread::spawn(move || lines.count());
        (child, address.expect("an address"))
    }

    fn asked(address: &str, path: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("a response");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn a_server_says_what_generate_says_and_ends_when_told() {
        let trained = Trained::new();
        let (mut child, address) = served(&trained, "");
        let body = r#"{"prompt": "Anna gave", "max_tokens": 20, "temperature": 0}"#;
        let (head, body) = asked(&address, "/v1/completions", body);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let answer = body["choices"][0]["text"].as_str().expect("a text");
        assert_eq!(format!("{answer}\n"), trained.generated("", "Anna gave"));
        assert_eq!(body["model"], "chat");
        let told = Command::new("kill").arg(child.id().to_string()).status();
        assert!(told.expect("kill runs").success());
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
    }

    #[test]
    fn strangers_need_a_key() {
        let trained = Trained::new();
        let refused = trained.0.refuse("serve chat --host 0.0.0.0 --port 0");
        assert!(refused.contains("SIMATTN_API_KEY"), "{refused}");
        assert!(
            trained
                .0
                .refuse("serve chat --api-key= --port 0")
                .contains("empty")
        );
        let (mut child, address) = served(&trained, "--api-key secret");
        let (head, _) = asked(&address, "/v1/completions", r#"{"prompt": "a"}"#);
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }
}
