//! Mutations of parts: of their bytes, of JSON as a tree, of TOML by lines.

use serde_json::{Map, Value, json};

use crate::parts::{join, split};

/// Mutates one part of an input in place and gives its new length.
pub fn mutate(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut chance = Chance(u64::from(seed) ^ 0x9e37_79b9_7f4a_7c15);
    // Now and then the parts as such.
    if chance.below(16) == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, most);
    }
    let mut parts: Vec<Vec<u8>> = split(&data[..size])
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    for _ in 0..=chance.below(3) {
        let place = chance.below(parts.len());
        let other = parts[chance.below(parts.len())].clone();
        let part = std::mem::take(&mut parts[place]);
        parts[place] = mutate_part(part, &other, most, &mut chance);
    }
    let joined = join(&parts);
    let length = joined.len().min(most);
    data[..length].copy_from_slice(&joined[..length]);
    length
}

fn mutate_part(part: Vec<u8>, other: &[u8], most: usize, chance: &mut Chance) -> Vec<u8> {
    if chance.below(4) > 0 {
        if let Ok(mut tree) = serde_json::from_slice::<Value>(&part)
            && (tree.is_object() || tree.is_array())
        {
            for _ in 0..=chance.below(3) {
                mutate_tree(&mut tree, chance);
            }
            return tree.to_string().into_bytes();
        }
        if let Ok(text) = std::str::from_utf8(&part)
            && text.contains('\n')
            && chance.below(2) == 0
        {
            return mutate_lines(text, chance).into_bytes();
        }
    }
    if chance.below(24) == 0 {
        return other.to_vec();
    }
    mutate_bytes(part, most, chance)
}

fn mutate_bytes(mut part: Vec<u8>, most: usize, chance: &mut Chance) -> Vec<u8> {
    let size = part.len();
    let room = (size + 1 + chance.below(64)).min(most.max(1));
    part.resize(room.max(size), 0);
    let size = libfuzzer_sys::fuzzer_mutate(&mut part, size.min(room), room);
    part.truncate(size);
    part
}

/// Changes one line of a text: of JSON lines one object, of TOML one field.
fn mutate_lines(text: &str, chance: &mut Chance) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let place = chance.below(lines.len());
    let other = lines[chance.below(lines.len())].clone();
    let line = &mut lines[place];
    if let Ok(mut tree @ Value::Object(_)) = serde_json::from_str(line) {
        mutate_tree(&mut tree, chance);
        *line = tree.to_string();
        return lines.join("\n");
    }
    match (chance.below(6), line.split_once('=')) {
        (0..3, Some((field, _))) => {
            let value = match chance.below(3) {
                0 => other.split_once('=').map_or("", |(_, value)| value).into(),
                _ => scalar(chance).to_string(),
            };
            *line = format!("{field}= {value}");
        }
        (0, None) | (3, _) => lines.insert(place, other),
        (4, _) => {
            lines.remove(place);
        }
        _ => {
            let bytes = mutate_bytes(std::mem::take(line).into_bytes(), 1 << 12, chance);
            *line = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    lines.join("\n")
}

/// Changes one node of a tree.
fn mutate_tree(tree: &mut Value, chance: &mut Chance) {
    let count = count(tree);
    let spare = node(tree, &mut chance.below(count))
        .cloned()
        .unwrap_or_default();
    let name = any_name(tree, chance);
    let mut place = chance.below(count);
    let Some(found) = node_mut(tree, &mut place) else {
        return;
    };
    match chance.below(8) {
        0 | 1 => *found = scalar(chance),
        2 => *found = spare,
        3 | 4 => match found {
            Value::Object(map) => change_object(map, name, spare, chance),
            Value::Array(list) => change_array(list, spare, chance),
            other => change_scalar(other, chance),
        },
        _ => change_scalar(found, chance),
    }
}

fn change_object(map: &mut Map<String, Value>, name: String, spare: Value, chance: &mut Chance) {
    let keys: Vec<String> = map.keys().cloned().collect();
    let key = if keys.is_empty() {
        name.clone()
    } else {
        keys[chance.below(keys.len())].clone()
    };
    match chance.below(4) {
        0 => {
            map.insert(name, spare);
        }
        1 => {
            let value = map.remove(&key).unwrap_or_default();
            map.insert(name, value);
        }
        _ => {
            map.remove(&key);
        }
    }
}

fn change_array(list: &mut Vec<Value>, spare: Value, chance: &mut Chance) {
    let place = chance.below(list.len() + 1);
    match chance.below(4) {
        0 => list.insert(place, spare),
        1 if place < list.len() => list.insert(place, list[place].clone()),
        2 => list.truncate(place),
        _ if place < list.len() => {
            let last = list.len() - 1;
            list.swap(place, last);
            list.pop();
        }
        _ => list.push(spare),
    }
}

fn change_scalar(value: &mut Value, chance: &mut Chance) {
    *value = match value {
        Value::Number(number) => {
            let whole = number.as_i64();
            match (chance.below(6), whole) {
                (0, Some(whole)) => whole.saturating_add(1).into(),
                (1, Some(whole)) => whole.saturating_sub(1).into(),
                (2, Some(whole)) => whole.saturating_mul(2).into(),
                (3, Some(whole)) => (whole / 2).into(),
                (4, _) => json!(number.as_f64().unwrap_or(1.0) * 1.5),
                _ => scalar(chance),
            }
        }
        Value::String(text) => {
            let bytes = mutate_bytes(text.clone().into_bytes(), 1 << 12, chance);
            Value::String(String::from_utf8_lossy(&bytes).into_owned())
        }
        Value::Bool(flag) => Value::Bool(!*flag),
        _ => scalar(chance),
    };
}

/// A value that readers have been wrong about.
fn scalar(chance: &mut Chance) -> Value {
    const WHOLE: [i64; 14] = [
        0,
        1,
        2,
        3,
        7,
        -1,
        255,
        65_536,
        i32::MAX as i64,
        i32::MAX as i64 + 1,
        u32::MAX as i64,
        u32::MAX as i64 + 1,
        i64::MAX,
        i64::MIN,
    ];
    const TEXT: [&str; 12] = [
        "",
        " ",
        "\n",
        "\0",
        "a",
        "\u{feff}é",
        "../a",
        "<|endoftext|>",
        "</s>",
        "▁",
        "bytes",
        "bpe:300",
    ];
    match chance.below(8) {
        0 => Value::Null,
        1 => json!(chance.below(2) == 0),
        2 => json!([]),
        3 => json!({}),
        4 => json!([0.5, 1e-30, 1e300, -0.0, 1e-320, 3.5][chance.below(6)]),
        5 => json!(TEXT[chance.below(TEXT.len())]),
        6 if chance.below(8) == 0 => json!(u64::MAX),
        _ => json!(WHOLE[chance.below(WHOLE.len())]),
    }
}

/// The name of a field somewhere in a tree.
fn any_name(tree: &Value, chance: &mut Chance) -> String {
    fn collect<'a>(value: &'a Value, names: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(name, value)| {
                names.push(name);
                collect(value, names);
            }),
            Value::Array(list) => list.iter().for_each(|value| collect(value, names)),
            _ => {}
        }
    }
    let mut names = Vec::new();
    collect(tree, &mut names);
    if names.is_empty() {
        "text".to_owned()
    } else {
        names[chance.below(names.len())].to_owned()
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(map) => map.values().map(count).sum(),
        Value::Array(list) => list.iter().map(count).sum(),
        _ => 0,
    }
}

/// The node that `place` counts down to.
fn node<'a>(value: &'a Value, place: &mut usize) -> Option<&'a Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Object(map) => map.values().find_map(|value| node(value, place)),
        Value::Array(list) => list.iter().find_map(|value| node(value, place)),
        _ => None,
    }
}

fn node_mut<'a>(value: &'a mut Value, place: &mut usize) -> Option<&'a mut Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Object(map) => map.values_mut().find_map(|value| node_mut(value, place)),
        Value::Array(list) => list.iter_mut().find_map(|value| node_mut(value, place)),
        _ => None,
    }
}

/// Numbers that follow from the seed alone, as the fuzzer wants it (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % count.max(1) as u64) as usize
    }
}
