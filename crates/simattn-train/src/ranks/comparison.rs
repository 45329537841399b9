//! Whether all ranks are about to do the same.

use serde::{Deserialize, Serialize};

use super::{Ranks, RanksError};

/// Something that all ranks must have equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is.
    pub what: String,
    /// What this rank has.
    pub value: String,
}

impl Fact {
    /// `what` is `value` here.
    pub fn new(what: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            value: value.into(),
        }
    }
}

impl Ranks {
    /// Compares what this rank has with what the others have.
    ///
    /// # Errors
    ///
    /// [`RanksError::Differs`] with the first difference, the same on all ranks.
    pub fn compare(&self, facts: &[Fact]) -> Result<(), RanksError> {
        let own = serde_json::to_vec(facts).unwrap_or_default();
        let all = self.gather(own, "comparing what each is about to do");
        let read = |bytes: &Vec<u8>| serde_json::from_slice(bytes).unwrap_or_default();
        let all: Vec<Vec<Fact>> = all.iter().map(read).collect();
        let found = (1..all.len()).find_map(|rank| difference(rank, &all[0], &all[rank]));
        found.map_or(Ok(()), Err)
    }
}

/// The first thing that two ranks do not agree on.
fn difference(rank: usize, first: &[Fact], other: &[Fact]) -> Option<RanksError> {
    let of = |facts: &[Fact], what: &str| {
        let found = facts.iter().find(|fact| fact.what == what);
        found.map_or_else(|| "nothing".to_owned(), |fact| fact.value.clone())
    };
    first.iter().chain(other).find_map(|Fact { what, .. }| {
        let (ours, theirs) = (of(first, what), of(other, what));
        (ours != theirs).then(|| RanksError::Differs {
            rank,
            what: what.clone(),
            theirs,
            ours,
        })
    })
}

/// What decides which instructions kernels use: on unequal processors the last bits would differ.
pub fn instruction_set() -> String {
    let mut found = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! found {
            ($($name:tt)*) => {
                $(if std::arch::is_x86_feature_detected!($name) { found.push($name); })*
            };
        }
        found!("avx" "avx2" "fma" "avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl");
    }
    found.join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_with_both_sides() {
        let of = |rate: &str| {
            [
                Fact::new("seed", "1"),
                Fact::new("train.learning_rate", rate),
            ]
        };
        assert_eq!(difference(2, &of("0.1"), &of("0.1")), None);
        let error = difference(2, &of("0.1"), &of("0.2")).expect("they differ");
        let line = "rank 2 has train.learning_rate = 0.2, rank 0 has 0.1; all processes of a \
                    run need the same";
        assert_eq!(error.to_string(), line);
        let error = difference(1, &of("0.1")[..1], &of("0.1")).expect("they differ");
        assert!(error.to_string().contains("rank 0 has nothing"), "{error}");
        assert!(Ranks::alone().compare(&of("0.1")).is_ok());
    }
}
