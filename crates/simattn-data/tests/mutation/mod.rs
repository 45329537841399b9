//! Seeded changes to JSON files, of bytes, of numbers and of structure.

use serde_json::Value;

/// A small generator, seeded so that a failure can be repeated.
pub struct Dice(pub u64);

impl Dice {
    /// A number from 0 to one below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound.max(1) as u64) as usize
    }

    /// A few bytes flipped, replaced, left out, doubled, or the rest cut off.
    pub fn change_bytes(&mut self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for _ in 0..1 + self.below(3) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.below(256) as u8,
                2 => bytes[at] = b'0' + self.below(10) as u8,
                3 => drop(bytes.remove(at)),
                4 => bytes.insert(at, bytes[at]),
                _ if self.below(20) == 0 => bytes.truncate(at.max(1)),
                _ => bytes[at] = b" ,:{}[]\"0"[self.below(9)],
            }
        }
        bytes
    }

    /// One of the numbers, replaced by another; the rest byte for byte as it was.
    pub fn change_number(&mut self, whole: &[u8]) -> Vec<u8> {
        let all = numbers(whole);
        let (start, end) = all[self.below(all.len())];
        let text = std::str::from_utf8(&whole[start..end]).unwrap();
        let now = self.other(text.parse().unwrap_or(0));
        [&whole[..start], now.to_string().as_bytes(), &whole[end..]].concat()
    }

    fn other(&mut self, number: u64) -> u64 {
        match self.below(9) {
            0 => 0,
            1 => number.wrapping_add(1),
            2 => number.wrapping_sub(1),
            3 => number.wrapping_mul(2),
            4 => number / 2,
            5 => u64::MAX - self.below(3) as u64,
            6 => 1 << 31 << self.below(2),
            7 => self.below(1000) as u64,
            _ => number ^ 1 << self.below(20),
        }
    }

    /// Something in the tree removed, doubled, exchanged for its neighbour, or another value.
    pub fn change_value(&mut self, value: &mut Value) {
        match value {
            Value::Object(fields) if self.below(5) > 0 && !fields.is_empty() => {
                let at = self.below(fields.len());
                let name = fields.keys().nth(at).unwrap().clone();
                match self.below(12) {
                    0 => drop(fields.remove(&name)),
                    1 => {
                        let other = fields.values().nth(self.below(fields.len())).cloned();
                        fields[&name] = other.unwrap();
                    }
                    _ => self.change_value(&mut fields[&name]),
                }
            }
            Value::Array(items) if !items.is_empty() => {
                let (at, to) = (self.below(items.len()), self.below(items.len()));
                match self.below(6) {
                    0 => drop(items.remove(at)),
                    1 => items.insert(to, items[at].clone()),
                    2 => items.swap(at, to),
                    3 => items[at] = items[to].clone(),
                    _ => self.change_value(&mut items[at]),
                }
            }
            Value::Number(number) => {
                *value = self.other(number.as_u64().unwrap_or(1)).into();
            }
            Value::String(text) if !text.is_empty() => {
                let bytes = self.change_bytes(text.as_bytes());
                *text = String::from_utf8_lossy(&bytes).into_owned();
            }
            Value::Null => *value = Value::Bool(true),
            _ => *value = Value::Null,
        }
    }
}

/// Where the numbers of a JSON text stand, those within strings too.
pub fn numbers(text: &[u8]) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        match found.last_mut() {
            Some((_, end)) if byte.is_ascii_digit() && *end == at => *end += 1,
            _ if byte.is_ascii_digit() => found.push((at, at + 1)),
            _ => {}
        }
    }
    found
}
