//! Whether all numbers of a tensor are numbers.

use thiserror::Error;

/// A tensor with values that are NaN or infinite: nothing that is computed with it has a meaning.
#[derive(Clone, Debug, PartialEq, Error)]
#[error(
    "tensor `{name}` holds values that are not finite ({bad} of {all}, the first of them {first})"
)]
pub struct NotFinite {
    /// The tensor.
    pub name: String,
    /// How many of its values are NaN or infinite.
    pub bad: usize,
    /// How many values it has.
    pub all: usize,
    /// The first of the bad ones.
    pub first: f32,
}

/// Checks that every value of the tensor `name` is finite. It costs one pass over memory.
///
/// # Errors
/// [`NotFinite`], with the count of values that are not.
pub fn check(name: &str, values: &[f32]) -> Result<(), NotFinite> {
    // The largest exponent of a piece tells whether it holds such a value; without an early exit
    // inside, the loop runs on vectors.
    const PIECE: usize = 4096;
    const EXPONENT: u32 = 0x7f80_0000;
    let largest = |piece: &[f32]| {
        let exponents = piece.iter().map(|value| value.to_bits() & EXPONENT);
        exponents.fold(0, u32::max)
    };
    let Some(start) = values
        .chunks(PIECE)
        .position(|piece| largest(piece) == EXPONENT)
    else {
        return Ok(());
    };
    let mut bad = values[start * PIECE..].iter().filter(|x| !x.is_finite());
    let first = bad.next().copied().unwrap_or(f32::NAN);
    Err(NotFinite {
        name: name.into(),
        bad: 1 + bad.count(),
        all: values.len(),
        first,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_counted_wherever_it_is() {
        let mut values = vec![f32::MAX; 10_000];
        values[0] = f32::MIN_POSITIVE / 2.0;
        assert_eq!(check("x", &values), Ok(()));
        assert_eq!(check("x", &[]), Ok(()));
        for place in [0, 4095, 4096, 9_999] {
            for wrong in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = values.clone();
                values[place] = wrong;
                let error = check("x", &values).expect_err("one is not finite");
                assert_eq!((error.bad, error.all), (1, 10_000));
                assert_eq!(error.first.to_bits(), wrong.to_bits());
            }
        }
        values[3] = f32::NEG_INFINITY;
        values[9_000] = f32::NAN;
        let line = check("a.b", &values).expect_err("two").to_string();
        assert_eq!(
            line,
            "tensor `a.b` holds values that are not finite (2 of 10000, the first of them -inf)"
        );
    }
}
