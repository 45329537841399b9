//! The filter `tojson` as Python's `json.dumps` writes: nothing escaped for HTML, a space after
//! separators.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Values within values at most.
const DEEPEST: usize = 64;

struct Style {
    indent: Option<usize>,
    item: String,
    key: String,
    ascii: bool,
    sorted: bool,
}

pub(super) fn tojson(
    value: &Value,
    ascii: Option<bool>,
    indent: Option<usize>,
    options: Kwargs,
) -> Result<String, Error> {
    let given: Option<usize> = options.get("indent")?;
    let indent = indent.or(given);
    let separators: Option<Vec<String>> = options.get("separators")?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(wrong("separators of tojson are a pair")),
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
    };
    let style = Style {
        indent,
        item,
        key,
        ascii: ascii.or(options.get("ensure_ascii")?).unwrap_or(false),
        sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    let mut out = String::new();
    write(&mut out, value, &style, 0)?;
    Ok(out)
}

fn write(out: &mut String, value: &Value, style: &Style, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(wrong("tojson: values are too deep within each other"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&value.to_string()),
        ValueKind::String => write_text(out, value.as_str().unwrap_or_default(), style)?,
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| (None, item));
            write_all(out, ['[', ']'], items.collect(), style, depth)?;
        }
        ValueKind::Map => {
            let mut entries = Vec::new();
            for key in value.try_iter()? {
                let item = value.get_item(&key)?;
                entries.push((Some(key.to_string()), item));
            }
            if style.sorted {
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            }
            write_all(out, ['{', '}'], entries, style, depth)?;
        }
        other => return Err(wrong(&format!("tojson: {other} is no JSON"))),
    }
    Ok(())
}

fn write_all(
    out: &mut String,
    [open, close]: [char; 2],
    entries: Vec<(Option<String>, Value)>,
    style: &Style,
    depth: usize,
) -> Result<(), Error> {
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = style.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', (indent * depth).min(4096)));
        }
    };
    out.push(open);
    let empty = entries.is_empty();
    for (place, (key, item)) in entries.into_iter().enumerate() {
        if place > 0 {
            out.push_str(&style.item);
        }
        line(out, depth + 1);
        if let Some(key) = key {
            write_text(out, &key, style)?;
            out.push_str(&style.key);
        }
        write(out, &item, style, depth + 1)?;
    }
    if !empty {
        line(out, depth);
    }
    out.push(close);
    Ok(())
}

fn write_text(out: &mut String, text: &str, style: &Style) -> Result<(), Error> {
    let quoted = serde_json::to_string(text).map_err(|error| wrong(&error.to_string()))?;
    if style.ascii {
        let mut units = [0; 2];
        for c in quoted.chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    } else {
        out.push_str(&quoted);
    }
    Ok(())
}

fn wrong(problem: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem.to_owned())
}
