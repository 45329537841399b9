//! White space as lm-evaluation-harness sees it.

/// White space as Python's `str.strip` sees it: Unicode's, and the four separators of ASCII.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}
