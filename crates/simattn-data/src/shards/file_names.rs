//! What the files of a prepared folder are called, while it is being written and afterwards.

/// The index of a prepared folder.
pub const INDEX: &str = "index.json";
/// The tokenizer of its ids.
pub const TOKENIZER: &str = "tokenizer.json";
/// The journal of an unfinished folder.
pub(crate) const JOURNAL: &str = "prepare.json";
/// Locked by the process that works in the folder.
pub(crate) const LOCK: &str = "prepare.lock";

/// The two parts, as the names of their shards begin.
pub(crate) const PARTS: [&str; 2] = ["train", "validation"];

/// The name of the shard that `number` others of its part stand before.
pub(crate) fn shard_name(part: &str, number: usize) -> String {
    format!("{part}-{number:05}.bin")
}

/// Whether a name is one that [`shard_name`] gives.
pub(crate) fn is_shard_name(name: &str) -> bool {
    let number = PARTS.iter().find_map(|part| {
        let number = name
            .strip_prefix(part)?
            .strip_prefix('-')?
            .strip_suffix(".bin")?;
        number
            .parse()
            .ok()
            .filter(|&number| shard_name(part, number) == name)
    });
    number.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards_are_one_to_one_with_their_numbers() {
        for (part, number) in [("train", 0), ("validation", 12), ("train", 123_456)] {
            assert!(is_shard_name(&shard_name(part, number)));
        }
        for other in [
            "train-1.bin",
            "train-000001.bin",
            "train-+0001.bin",
            "test-00000.bin",
        ] {
            assert!(!is_shard_name(other), "{other}");
        }
    }
}
