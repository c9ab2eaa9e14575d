//! The edge: from the numbers of the outside world to integers of base units.
//!
//! Prometheus speaks binary floats. A float is taken apart into mantissa and exponent and multiplied exactly, then
//! rounded once to the nearest base unit (a half away from zero): no float arithmetic happens anywhere. Each reading
//! is converted alone, so differences of readings telescope and a sum over any number of steps is the difference of
//! the last and the first. Above 2^53 a float skips whole units and is refused rather than billed.

use money::Quantity;
use serde::{Deserialize, Serialize};

/// Why a reading cannot be used. The reading itself travels along, as text, for whoever has to decide.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum ReadingRefused {
    /// NaN or infinite.
    #[error("the reading {text} is not a number")]
    NotFinite {
        /// The reading.
        text: String,
    },
    /// Beyond 2^53 units, where a float no longer counts by ones.
    #[error("the reading {text} is beyond 2^53 and has lost whole units")]
    TooLarge {
        /// The reading.
        text: String,
    },
    /// Below zero where only growth makes sense.
    #[error("the reading {text} is negative")]
    Negative {
        /// The reading.
        text: String,
    },
    /// Dated at no instant, well after its arrival, or ages before it: taken at its word it would be the latest for
    /// ever, or make a step over decades. The record that carries it is dated at the arrival.
    #[error(
        "the reading {text} is not dated near its arrival; are the sender's clock and its unit right?"
    )]
    Untimely {
        /// The reading and its time.
        text: String,
    },
}

/// A decimal that cannot be a held amount or a bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a decimal from 0 with at most 18 digits before and 6 after the point")]
pub struct DecimalRefused {
    /// The text as given.
    pub text: String,
}

const MANTISSA_BITS: u32 = 52;
const EXPONENT_BIAS: i32 = 1_075;

/// Base units of a reading. `base_units_per_unit`: 1 to 10^12.
///
/// # Errors
/// [`ReadingRefused`] for a number that is not finite, beyond 2^53 or below zero.
pub fn reading_to_base_units(
    value: f64,
    base_units_per_unit: i64,
) -> Result<Quantity, ReadingRefused> {
    let text = || format!("{value}");
    if !value.is_finite() {
        return Err(ReadingRefused::NotFinite { text: text() });
    }
    if value > 9_007_199_254_740_992.0 {
        return Err(ReadingRefused::TooLarge { text: text() });
    }
    if value < 0.0 {
        return Err(ReadingRefused::Negative { text: text() });
    }
    // What is left is +0, −0 or positive up to 2^53: 53 bits of mantissa × 40 bits of scale fit in 127.
    let bits = value.to_bits() & (u64::MAX >> 1);
    let fraction = bits & ((1 << MANTISSA_BITS) - 1);
    let raw_exponent = i32::try_from(bits >> MANTISSA_BITS).unwrap_or(0);
    let (mantissa, exponent) = if raw_exponent == 0 {
        (fraction, 1_i32.saturating_sub(EXPONENT_BIAS))
    } else {
        (fraction | (1 << MANTISSA_BITS), raw_exponent.saturating_sub(EXPONENT_BIAS))
    };
    let product = i128::from(mantissa).saturating_mul(i128::from(base_units_per_unit));
    let shift = exponent.unsigned_abs();
    let scaled = if exponent >= 0 {
        product.checked_shl(shift)
    } else {
        let half = shift.checked_sub(1).and_then(|bit| 1_i128.checked_shl(bit)).unwrap_or(0);
        product.saturating_add(half).checked_shr(shift).or(Some(0))
    };
    scaled.map(Quantity).ok_or_else(|| ReadingRefused::TooLarge { text: text() })
}

/// A held amount such as `2` or `0.5` in millionths of its unit.
///
/// # Errors
/// [`DecimalRefused`] unless it is a plain decimal from 0 with at most six places.
pub fn held_from_text(text: &str) -> Result<Quantity, DecimalRefused> {
    let refused = || DecimalRefused { text: text.to_owned() };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str, most: usize| {
        !part.is_empty() && part.len() <= most && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_digits(whole, 18) || !is_digits(fraction, 6) {
        return Err(refused());
    }
    let digits: i128 = format!("{whole}{fraction:0<6}").parse().map_err(|_| refused())?;
    Ok(Quantity(digits))
}

/// A bound given in units per second, in base units per second, rounded up so that the bound itself is allowed.
///
/// # Errors
/// [`DecimalRefused`] as for [`held_from_text`].
pub fn bound_from_text(text: &str, base_units_per_unit: i64) -> Result<Quantity, DecimalRefused> {
    let millionths = held_from_text(text)?.0;
    let scaled = millionths.saturating_mul(i128::from(base_units_per_unit));
    Ok(Quantity(scaled.saturating_add(999_999).div_euclid(1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn readings_are_taken_and_refused() {
        for (value, scale, wanted) in [
            (0.0, 1, 0),
            (-0.0, 1, 0),
            (12.345_678, 1_000_000, 12_345_678),
            (0.1, 1_000_000, 100_000),
            (0.5, 1, 1),
            (0.499_999, 1, 0),
            (1e-300, 1_000_000, 0),
            (f64::MIN_POSITIVE / 4.0, 1_000_000_000_000, 0),
            (9_007_199_254_740_992.0, 1_000_000_000_000, 9_007_199_254_740_992_000_000_000_000),
        ] {
            assert_eq!(reading_to_base_units(value, scale), Ok(Quantity(wanted)), "{value}");
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 9_007_199_254_740_994.0] {
            let refusal = reading_to_base_units(value, 1).unwrap_err().to_string();
            assert!(refusal.contains(&format!("{value}")), "{refusal}");
        }
    }

    #[test]
    fn amounts_are_taken_and_refused() {
        for (text, wanted) in
            [("0", 0), ("2", 2_000_000), ("0.5", 500_000), ("1.000001", 1_000_001)]
        {
            assert_eq!(held_from_text(text), Ok(Quantity(wanted)));
        }
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1.0000001", "2Gi", "٣", "1 "] {
            assert!(held_from_text(text).is_err(), "{text} was accepted");
        }
        assert_eq!(bound_from_text("0.000001", 1), Ok(Quantity(1)));
        assert_eq!(bound_from_text("2.5", 1_000_000), Ok(Quantity(2_500_000)));
    }

    proptest! {
        /// A microsecond count that went through a float of seconds comes back, up to 285 years.
        #[test]
        fn microseconds_survive_a_float_of_seconds(microseconds in 0_i64..4_000_000_000_000_000) {
            let text = format!("{}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000);
            let seconds: f64 = text.parse().unwrap();
            prop_assert_eq!(
                reading_to_base_units(seconds, 1_000_000),
                Ok(Quantity(i128::from(microseconds)))
            );
        }
    }
}
