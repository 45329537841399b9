//! Which part a file of another tool belongs to, by the words of its name.

/// What a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Training,
    Validation,
    /// Words of both parts.
    Both,
    /// The letters of a part, but within a longer word.
    Within,
    /// Nothing of either part.
    Neither,
}

const TRAINING: [&str; 2] = ["train", "training"];
const VALIDATION: [&str; 5] = ["val", "valid", "validation", "eval", "evaluation"];
/// What may hang on such a word.
const ENDINGS: [&str; 6] = ["set", "data", "split", "tokens", "ids", "part"];

/// What the name of a file says: `x_train_000001.bin`, `val.bin`, `trainset.bin`, `WebTrain.bin`.
pub(super) fn says(name: &str) -> Says {
    let words = words(name);
    let has = |of: &[&str]| {
        words.iter().any(|word| {
            let stem = ENDINGS.iter().find_map(|ending| word.strip_suffix(ending));
            of.contains(&word.as_str()) || stem.is_some_and(|stem| of.contains(&stem))
        })
    };
    match (has(&TRAINING), has(&VALIDATION)) {
        (true, true) => Says::Both,
        (true, false) => Says::Training,
        (false, true) => Says::Validation,
        (false, false) => {
            let name = name.to_lowercase();
            if name.contains(TRAINING[0]) || name.contains(VALIDATION[0]) {
                Says::Within
            } else {
                Says::Neither
            }
        }
    }
}

/// Runs of letters in lower case; a capital behind a small letter begins another one.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for letter in name.chars() {
        if !letter.is_alphabetic() || small && letter.is_uppercase() {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            words
                .last_mut()
                .expect("never empty")
                .extend(letter.to_lowercase());
        }
        small = letter.is_lowercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_decide_and_not_letters() {
        for (name, expected) in [
            ("train.bin", Says::Training),
            ("medieval_train_1.bin", Says::Training),
            ("interval-train01.bin", Says::Training),
            ("fineweb_train_000001.bin", Says::Training),
            ("TinyStoriesTrain.bin", Says::Training),
            ("TRAIN0.bin", Says::Training),
            ("trainset.bin", Says::Training),
            ("constraint_val_0.bin", Says::Validation),
            ("x.validation.bin", Says::Validation),
            ("valid2.bin", Says::Validation),
            ("valdata.bin", Says::Validation),
            ("evaluation_0.bin", Says::Validation),
            ("train_val.bin", Says::Both),
            ("medieval_1.bin", Says::Within),
            ("mytrain.bin", Says::Within),
            ("values.bin", Says::Within),
            ("test.bin", Says::Neither),
            ("meta.bin", Says::Neither),
            ("", Says::Neither),
        ] {
            assert_eq!(says(name), expected, "{name}");
        }
    }
}
