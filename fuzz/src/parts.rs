//! An input as a list of parts.

use std::borrow::Cow;

/// Between two parts. Rare enough for mutations to leave most of them alone, and no part's own
/// format: parts grow and shrink without any length to keep right.
const BETWEEN: &[u8] = b"\n\x1e-part-\x1e\n";

/// The parts of an input.
pub fn split(data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(BETWEEN.len()).position(|at| at == BETWEEN) {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}

/// The inverse of [`split`].
pub fn join<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
    parts.join(BETWEEN)
}

/// The first part of an input: choices, one byte each. What is not there is 0.
#[derive(Clone, Copy, Debug)]
pub struct Switches<'a>(pub &'a [u8]);

impl Switches<'_> {
    /// Choice number `place`, below `count`. Written as digits, so that they can be read.
    pub fn choose(&self, place: usize, count: usize) -> usize {
        usize::from(self.0.get(place).map_or(0, |byte| byte.wrapping_sub(b'0'))) % count
    }

    /// Whether choice number `place` is other than 0. Rarely so after a mutation of the others.
    pub fn on(&self, place: usize) -> bool {
        self.choose(place, 4) == 1
    }
}

/// An input's switches and the parts behind them; as many as `count`, empty where they lack.
pub fn parts<'a, const N: usize>(data: &'a [u8]) -> (Switches<'a>, [&'a [u8]; N]) {
    let all = split(data);
    let switches = Switches(all[0]);
    let mut rest = all.into_iter().skip(1);
    (
        switches,
        std::array::from_fn(|_| rest.next().unwrap_or_default()),
    )
}

/// Text, what is no UTF-8 in it replaced.
pub fn text(part: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(part)
}
