//! What an index says is held against the headers that it lists: another index is refused, or gives
//! the same tokens.

use serde_json::Value;
use simattn_data::prepare::{Job, OnBadInput, prepare};
use simattn_data::shards::{INDEX, Index, ShardError, TokenShards};
use simattn_data::{TokenSource, Tokenizer};
use std::fs;
use std::path::{Path, PathBuf};

mod mutation;
use mutation::{Dice, numbers};

/// A folder of a few small shards of bytes in both parts.
fn prepared(place: &Path) -> PathBuf {
    let text = place.join("text.jsonl");
    let lines: Vec<String> = (0..40)
        .map(|n| format!("{{\"text\":\"document {n} with some words\"}}\n"))
        .collect();
    fs::write(&text, lines.concat()).unwrap();
    let out = place.join("shards");
    let job = Job {
        inputs: &[text],
        validation: &[],
        tokenizer: &Tokenizer::bytes(),
        out: &out,
        field: "text",
        validation_fraction: 0.3,
        seed: 1,
        shard_tokens: 150,
        on_bad_input: OnBadInput::Fail,
    };
    prepare(&job, &mut ()).unwrap();
    out
}

/// Everything that training takes from a folder.
#[derive(Debug, PartialEq)]
struct Taken(Vec<(u64, u64, u64, [u8; 32])>);

fn take(folder: &Path) -> Result<Taken, ShardError> {
    let index = Index::read(folder)?;
    let mut taken = Vec::new();
    for part in [&index.train, &index.validation] {
        let set = TokenShards::of_part(folder, &index, part)?;
        set.verify()?;
        let digest = set.digest().expect("verified");
        taken.push((set.tokens(), set.bytes(), set.documents(), digest));
    }
    Ok(Taken(taken))
}

fn write(folder: &Path, index: &Value) {
    fs::write(
        folder.join(INDEX),
        serde_json::to_vec_pretty(index).unwrap(),
    )
    .unwrap();
}

/// Sets the sums of a part to those of its shards.
fn add_up(index: &mut Value) {
    for part in ["train", "validation"] {
        for field in ["tokens", "documents", "bytes"] {
            let shards = index[part]["shards"].as_array().unwrap();
            let sum: u64 = shards
                .iter()
                .map(|shard| shard[field].as_u64().unwrap())
                .sum();
            index[part][field] = sum.into();
        }
    }
}

#[test]
fn an_index_that_says_other_than_its_headers_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path());
    let expected = take(&folder).unwrap();
    let whole: Value = serde_json::from_slice(&fs::read(folder.join(INDEX)).unwrap()).unwrap();
    let shards = |part: &str| whole[part]["shards"].as_array().unwrap().clone();
    assert!(shards("train").len() > 3 && shards("validation").len() > 1);
    let refused = |said: &str, change: &dyn Fn(&mut Value)| {
        let mut index = whole.clone();
        change(&mut index);
        add_up(&mut index);
        assert_ne!(index, whole, "{said}");
        write(&folder, &index);
        let line = take(&folder).expect_err(said).to_string();
        assert!(
            line.contains(said) && !line.contains('\n'),
            "{said}: {line}"
        );
    };
    let shard = |index: &mut Value, field: &str, value: u64| {
        index["train"]["shards"][1][field] = value.into();
    };
    refused("9000000 bytes of text there", &|index| {
        shard(index, "bytes", 9_000_000)
    });
    refused("1 documents there", &|index| shard(index, "documents", 1));
    refused("151 tokens there", &|index| shard(index, "tokens", 151));
    refused("300 ids in the vocabulary there", &|index| {
        index["tokenizer"]["vocabulary"] = 300.into();
    });
    refused("10 as the end-of-text id there", &|index| {
        index["tokenizer"]["end_of_text"] = 10.into();
    });
    // One shard twice, in two orders, in the other part, under a name of the other part.
    refused("the shard name", &|index| {
        index["train"]["shards"][1] = shards("train")[0].clone();
    });
    refused("the shard name", &|index| {
        let shards = index["train"]["shards"].as_array_mut().unwrap();
        shards.swap(0, 1);
    });
    refused("the shard name", &|index| {
        index["validation"] = whole["train"].clone();
    });
    refused("what is held out is trained on", &|index| {
        index["validation"]["shards"][0] = shards("train")[0].clone();
        index["validation"]["shards"][0]["file"] = "validation-00000.bin".into();
    });
    // Shards left out.
    refused("is not listed", &|index| {
        index["train"]["shards"].as_array_mut().unwrap().pop();
    });
    let more = "18446744073709551615";
    let mut index = whole
        .to_string()
        .replacen("\"tokens\":1", &format!("\"tokens\":{more}1"), 1);
    fs::write(folder.join(INDEX), &index).unwrap();
    assert!(take(&folder).is_err());
    // Sums beyond 64 bits.
    let numbers = shards("train")[0]["tokens"].to_string();
    index = whole.to_string().replace(
        &format!("\"tokens\":{numbers}"),
        &format!("\"tokens\":{more}"),
    );
    fs::write(folder.join(INDEX), &index).unwrap();
    assert!(
        take(&folder)
            .unwrap_err()
            .to_string()
            .contains("do not add up")
    );

    write(&folder, &whole);
    assert_eq!(take(&folder).unwrap(), expected);
    let index = Index::read(&folder).unwrap();
    index.check(&folder).unwrap();
    fs::remove_file(folder.join("train-00001.bin")).unwrap();
    assert!(matches!(
        index.check(&folder),
        Err(ShardError::Missing { .. })
    ));
}

#[test]
fn any_mutation_of_an_index_is_refused_or_gives_the_same_tokens() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path());
    let expected = take(&folder).unwrap();
    let whole = fs::read(folder.join(INDEX)).unwrap();
    let value: Value = serde_json::from_slice(&whole).unwrap();
    let mut dice = Dice(7);
    let (mut refused, mut same) = (0, 0);
    for round in 0..1500 {
        let bytes = match round % 3 {
            0 => dice.change_bytes(&whole),
            1 => dice.change_number(&whole),
            _ => {
                let mut value = value.clone();
                dice.change_value(&mut value);
                // Half of them with sums that add up again, as a careful hand would leave them.
                let whole = |part: &str| {
                    let shards = value[part]["shards"].as_array();
                    shards.is_some_and(|shards| {
                        shards.iter().all(|shard| {
                            ["tokens", "documents", "bytes"]
                                .iter()
                                .all(|field| shard[field].as_u64().is_some_and(|n| n < 1 << 40))
                        })
                    })
                };
                if round % 2 == 0 && whole("train") && whole("validation") {
                    add_up(&mut value);
                }
                serde_json::to_vec_pretty(&value).unwrap()
            }
        };
        fs::write(folder.join(INDEX), &bytes).unwrap();
        match take(&folder) {
            Ok(taken) => {
                let text = String::from_utf8_lossy(&bytes);
                assert_eq!(taken, expected, "round {round}: {text}");
                same += 1;
            }
            Err(error) => {
                assert!(!error.to_string().contains('\n'), "{error}");
                refused += 1;
            }
        }
    }
    assert!(
        refused > 800 && same > 25,
        "{refused} refused, {same} the same"
    );
    assert!(numbers(&whole).len() > 30);
}
