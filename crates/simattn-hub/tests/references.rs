//! What parses prints itself, and nothing panics.

use proptest::prelude::*;
use simattn_hub::{DatasetReference, ModelReference};

const PART: &str = "[A-Za-z0-9][A-Za-z0-9_-]{0,8}";

proptest! {
    #[test]
    fn no_string_panics(text in "(hf://)?(datasets/|models/)?.{0,40}") {
        if let Err(error) = text.parse::<ModelReference>() {
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
        if let Err(error) = text.parse::<DatasetReference>() {
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
    }

    #[test]
    fn what_prints_parses(
        owner in PART, name in PART, revision in proptest::option::of("[a-z0-9]{1,5}(/[a-z0-9]{1,5}){0,2}"),
        pattern in "[a-z*?]{1,6}(/[a-z0-9*.]{1,6}z){0,2}",
    ) {
        prop_assume!(!["datasets", "models", "spaces"].contains(&owner.as_str()));
        let at = revision.as_ref().map_or(String::new(), |r| format!("@{}", r.replace('/', "%2F")));
        let text = format!("hf://{owner}/{name}{at}");
        let model: ModelReference = text.parse().expect("a model");
        prop_assert_eq!(model.to_string(), text);
        prop_assert_eq!(model.repository.revision(), revision.as_deref().unwrap_or("main"));
        let text = format!("hf://datasets/{owner}/{name}{at}/{pattern}");
        let data: DatasetReference = text.parse().expect("a data set");
        prop_assert_eq!(data.to_string(), text);
    }
}

#[test]
fn what_is_not_possible_is_named() {
    for text in [
        "hf:/a/b",
        "hf://a",
        "hf://a/b/c",
        "hf://datasets/a/b",
        "hf://spaces/a",
        "hf://../b",
        "hf://a/b@",
        "hf://a/b@..%2Fx",
        "hf://a/b c",
    ] {
        assert!(text.parse::<ModelReference>().is_err(), "{text}");
    }
    for text in [
        "hf://a/b",
        "hf://datasets/a/b",
        "hf://datasets/a/b/",
        "hf://datasets/a/b/../x",
    ] {
        assert!(text.parse::<DatasetReference>().is_err(), "{text}");
    }
}
