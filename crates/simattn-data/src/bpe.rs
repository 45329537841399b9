//! Learning byte-pair merges (Sennrich et al., 2016) from word counts.
//!
//! The result is a pure function of the counts: ties between pairs go to the smaller ids, no map is
//! iterated whose order could differ between runs, and nothing depends on threads.

use crate::byte_level::{END_OF_TEXT_ID, LEAST_VOCABULARY};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

type Pair = (u32, u32);

/// A merge is worth a token only if its pair occurs this often.
const LEAST_COUNT: i64 = 2;

/// What was learnt: the tokens' bytes by id, and the pairs in order.
pub(crate) struct Merges {
    /// Bytes by id; the end of text (256) has none.
    tokens: Vec<Vec<u8>>,
    pairs: Vec<Pair>,
}

impl Merges {
    /// How many ids there are, end of text included.
    pub(crate) fn vocabulary(&self) -> usize {
        self.tokens.len()
    }

    /// The merges as the bytes of their two sides, in order.
    pub(crate) fn spelled(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let bytes = |id: u32| self.tokens[id as usize].clone();
        self.pairs
            .iter()
            .map(|&(left, right)| (bytes(left), bytes(right)))
            .collect()
    }
}

struct Word {
    ids: Vec<u32>,
    count: i64,
}

/// Learns merges until the vocabulary has `vocabulary` ids or no pair occurs twice.
///
/// `words` are pre-tokens as bytes, each with how often it occurs, in an order that does not vary.
pub(crate) fn learn(words: &[(Vec<u8>, u64)], vocabulary: usize) -> Merges {
    let mut words: Vec<Word> = words
        .iter()
        .map(|(bytes, count)| Word {
            ids: bytes.iter().copied().map(u32::from).collect(),
            count: i64::try_from(*count).unwrap_or(i64::MAX),
        })
        .collect();
    let mut tokens: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    tokens.push(Vec::new());
    debug_assert_eq!(tokens.len(), LEAST_VOCABULARY);
    debug_assert_eq!(tokens.len() - 1, END_OF_TEXT_ID as usize);
    let mut id_of: HashMap<Vec<u8>, u32> = tokens[..256].iter().cloned().zip(0..).collect();

    let mut counts: HashMap<Pair, i64> = HashMap::new();
    let mut places: HashMap<Pair, Vec<u32>> = HashMap::new();
    for (index, word) in words.iter().enumerate() {
        for pair in word.ids.windows(2).map(|pair| (pair[0], pair[1])) {
            *counts.entry(pair).or_default() += word.count;
            remember(places.entry(pair).or_default(), index as u32);
        }
    }
    let mut queue: BinaryHeap<(i64, Reverse<Pair>)> = counts
        .iter()
        .map(|(&pair, &count)| (count, Reverse(pair)))
        .collect();

    let (mut pairs, mut learnt) = (Vec::new(), HashSet::new());
    while tokens.len() < vocabulary {
        let Some((count, Reverse(pair))) = queue.pop() else {
            break;
        };
        let current = counts.get(&pair).copied().unwrap_or(0);
        if count != current {
            // The entry is out of date; its pair may still be worth something.
            if current >= LEAST_COUNT {
                queue.push((current, Reverse(pair)));
            }
            continue;
        }
        if current < LEAST_COUNT {
            break;
        }
        let merged = [
            tokens[pair.0 as usize].as_slice(),
            tokens[pair.1 as usize].as_slice(),
        ]
        .concat();
        let id = *id_of.entry(merged).or_insert_with_key(|bytes| {
            tokens.push(bytes.clone());
            tokens.len() as u32 - 1
        });
        // A pair can come back when another pair spells one of its sides; it keeps its rank.
        if learnt.insert(pair) {
            pairs.push(pair);
        }
        let mut touched = HashSet::new();
        for place in places.remove(&pair).unwrap_or_default() {
            let word = &mut words[place as usize];
            let occurs = word.ids.windows(2).any(|at| (at[0], at[1]) == pair);
            if !occurs {
                continue;
            }
            for at in word.ids.windows(2) {
                *counts.entry((at[0], at[1])).or_default() -= word.count;
            }
            replace(&mut word.ids, pair, id);
            for at in word.ids.windows(2).map(|at| (at[0], at[1])) {
                *counts.entry(at).or_default() += word.count;
                if at.0 == id || at.1 == id {
                    remember(places.entry(at).or_default(), place);
                    touched.insert(at);
                }
            }
        }
        counts.remove(&pair);
        // The queue orders by value, so the order of these insertions is not seen.
        queue.extend(touched.into_iter().map(|at| (counts[&at], Reverse(at))));
    }
    Merges { tokens, pairs }
}

/// Places are visited word by word, so a repetition can only follow its like.
fn remember(places: &mut Vec<u32>, place: u32) {
    if places.last() != Some(&place) {
        places.push(place);
    }
}

/// Replaces the pair by the id, from left to right.
fn replace(ids: &mut Vec<u32>, pair: Pair, id: u32) {
    let (mut read, mut write) = (0, 0);
    while read < ids.len() {
        let found = read + 1 < ids.len() && (ids[read], ids[read + 1]) == pair;
        ids[write] = if found { id } else { ids[read] };
        read += if found { 2 } else { 1 };
        write += 1;
    }
    ids.truncate(write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(list: &[(&str, u64)]) -> Vec<(Vec<u8>, u64)> {
        list.iter()
            .map(|(word, count)| (word.as_bytes().to_vec(), *count))
            .collect()
    }

    fn spelled(merges: &Merges) -> Vec<String> {
        merges
            .spelled()
            .into_iter()
            .map(|(left, right)| {
                format!(
                    "{} {}",
                    String::from_utf8(left).unwrap(),
                    String::from_utf8(right).unwrap()
                )
            })
            .collect()
    }

    #[test]
    fn the_example_of_the_paper() {
        // Sennrich et al. (2016), section 3.2, with ties to the smaller bytes: e s (9), es t (9), l
        // o (7), lo w (7), …
        let list = words(&[("low", 5), ("lower", 2), ("newest", 6), ("widest", 3)]);
        let merges = learn(&list, 257 + 4);
        assert_eq!(spelled(&merges), ["e s", "es t", "l o", "lo w"]);
    }

    #[test]
    fn rare_pairs_are_not_learnt() {
        let merges = learn(&words(&[("ab", 1), ("cd", 2)]), 1000);
        assert_eq!(spelled(&merges), ["c d"]);
        assert_eq!(merges.vocabulary(), 258);
    }

    /// The definition, slowly: count all pairs anew before every merge.
    fn learn_naively(list: &[(Vec<u8>, u64)], vocabulary: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut words: Vec<(Vec<Vec<u8>>, u64)> = list
            .iter()
            .map(|(word, count)| (word.iter().map(|&b| vec![b]).collect(), *count))
            .collect();
        let mut order: Vec<Vec<u8>> = (0..=255).map(|b| vec![b]).collect();
        order.push(b"<|endoftext|>".to_vec());
        let mut merges = Vec::new();
        while order.len() < vocabulary {
            let mut counts: HashMap<(usize, usize), u64> = HashMap::new();
            let id = |t: &Vec<u8>| order.iter().position(|o| o == t).unwrap();
            for (word, count) in &words {
                for at in word.windows(2) {
                    *counts.entry((id(&at[0]), id(&at[1]))).or_default() += count;
                }
            }
            let best = counts
                .iter()
                .max_by_key(|(pair, count)| (**count, Reverse(**pair)));
            let Some((&(left, right), _)) = best.filter(|(_, count)| **count >= 2) else {
                break;
            };
            let (left, right) = (order[left].clone(), order[right].clone());
            let token = [left.clone(), right.clone()].concat();
            for (word, _) in &mut words {
                let mut index = 0;
                while index + 1 < word.len() {
                    if word[index] == left && word[index + 1] == right {
                        word[index] = token.clone();
                        word.remove(index + 1);
                    }
                    index += 1;
                }
            }
            if !order.contains(&token) {
                order.push(token);
            }
            if !merges.contains(&(left.clone(), right.clone())) {
                merges.push((left, right));
            }
        }
        merges
    }

    proptest! {
        #[test]
        fn merges_are_those_of_the_definition(
            list in proptest::collection::btree_map("[ab]{1,12}|[a-d]{1,6}", 1_u64..20, 1..25),
        ) {
            let list: Vec<(Vec<u8>, u64)> =
                list.into_iter().map(|(word, count)| (word.into_bytes(), count)).collect();
            prop_assert_eq!(learn(&list, 290).spelled(), learn_naively(&list, 290));
        }
    }
}
