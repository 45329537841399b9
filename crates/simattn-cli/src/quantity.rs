//! Numbers as people read them.

/// A whole number with commas between thousands: `12,345`.
pub(crate) fn grouped(number: f64) -> String {
    with_decimals(number, 0)
}

/// A number with `decimals` places, and commas between thousands.
pub(crate) fn with_decimals(number: f64, decimals: usize) -> String {
    let plain = format!("{number:.decimals$}");
    let start = usize::from(plain.starts_with('-'));
    let end = plain.find('.').unwrap_or(plain.len());
    if !number.is_finite() {
        return plain;
    }
    let mut text = plain[..start].to_owned();
    for (index, digit) in plain[start..end].chars().enumerate() {
        if index > 0 && (end - start - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text.push_str(&plain[end..]);
    text
}

/// A count in at most seven characters and about four digits: `9,876`, `12.35k`, `123.5M`.
pub(crate) fn count(number: f64) -> String {
    if number.abs() < 9_999.5 {
        return grouped(number);
    }
    let (scaled, suffix) = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")]
        .into_iter()
        .find(|(size, _)| number.abs() >= size * 0.99995)
        .map_or((number, ""), |(size, suffix)| (number / size, suffix));
    if scaled.abs() >= 9_999.5 {
        return format!("{number:.2e}");
    }
    format!("{}{suffix}", significant(scaled, 4))
}

/// A number with `digits` significant digits where it is below 10^digits, and whole above: `3.142`,
/// `31.42`, `31,416`.
pub(crate) fn significant(number: f64, digits: usize) -> String {
    with_decimals(number, decimals_for(number, digits))
}

/// How many decimals show `digits` significant digits of `number`.
pub(crate) fn decimals_for(number: f64, digits: usize) -> usize {
    if number == 0.0 || !number.is_finite() {
        return 0;
    }
    let magnitude = number.abs().log10().floor() as i64 + 1;
    // Rounding may carry into one more digit: 9.9996 is 10.00.
    let decimals = (digits as i64 - magnitude).clamp(0, 12);
    let carried = number.abs() + 0.5 * 10f64.powi(-decimals as i32) >= 10f64.powi(magnitude as i32);
    (decimals - i64::from(carried)).max(0) as usize
}

/// Bytes in binary units: `512 B`, `1.50 GiB`. From 1000 on it is the next unit, so that no number
/// has four digits.
pub(crate) fn bytes(number: f64) -> String {
    let (mut scaled, mut unit) = (number, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if scaled.abs() < 999.5 {
            break;
        }
        (scaled, unit) = (scaled / 1024.0, larger);
    }
    if unit == "B" {
        format!("{} B", grouped(scaled))
    } else {
        format!("{} {unit}", significant(scaled, 3))
    }
}

/// A perplexity with as many places as say something.
pub(crate) fn perplexity(value: f64) -> String {
    if value < 1000.0 {
        format!("{value:.3}")
    } else {
        count(value)
    }
}

/// A span of time: `9.5 s`, `12.3 min`, `1 h 30 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else if seconds < 5_397.0 {
        format!("{:.1} min", seconds / 60.0)
    } else {
        let minutes = (seconds / 60.0).round();
        format!(
            "{} h {:02} min",
            grouped((minutes / 60.0).floor()),
            minutes % 60.0
        )
    }
}

/// A power of ten as text: `10¹⁵`.
pub(crate) fn power_of_ten(exponent: i32) -> String {
    let digits = exponent.to_string();
    let raised = digits.chars().map(|digit| match digit {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4'..='9' => char::from_u32('⁴' as u32 + digit as u32 - '4' as u32).unwrap_or(digit),
        _ => '⁰',
    });
    std::iter::once('1')
        .chain(std::iter::once('0'))
        .chain(raised)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_read_as_expected() {
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(grouped(-1_234.0), "-1,234");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(with_decimals(12_345.678, 1), "12,345.7");
        assert_eq!(count(9_876.0), "9,876");
        assert_eq!(count(12_345.0), "12.35k");
        assert_eq!(count(999_999.0), "1.000M");
        assert_eq!(count(10_700_000.0), "10.70M");
        assert_eq!(significant(9.9996, 4), "10.00");
        assert_eq!(significant(0.01234, 3), "0.0123");
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(1.5 * 1024.0 * 1024.0 * 1024.0), "1.50 GiB");
        assert_eq!(duration(9.46), "9.5 s");
        assert_eq!(duration(740.0), "12.3 min");
        assert_eq!(duration(3_600.0 + 32.0 * 60.0), "1 h 32 min");
        assert_eq!(bytes(1_023.0 * 1024.0), "0.999 MiB");
        assert_eq!(power_of_ten(-15), "10⁻¹⁵");
        assert_eq!(with_decimals(f64::NAN, 2), "NaN");
    }

    #[test]
    fn large_perplexities_are_short() {
        assert_eq!(perplexity(29.8599), "29.860");
        assert!(perplexity(1e9).len() <= 8);
    }

    proptest! {
        #[test]
        fn counts_stay_short(number in 0.0f64..1e30) {
            prop_assert!(count(number).chars().count() <= 7, "{}", count(number));
        }

        #[test]
        fn commas_do_not_change_the_number(number in -1_000_000_000i64..1_000_000_000) {
            prop_assert_eq!(grouped(number as f64).replace(',', ""), number.to_string());
        }
    }
}
