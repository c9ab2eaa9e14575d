//! Exact numbers until the one rounding.
//!
//! Rates are decimals of up to twelve places, conversions are ratios, and an amount stays numerator over denominator
//! until [`RoundingMode::round`] makes a whole number of it. Big integers rather than 128 bits: a quantity of 10^30
//! times a rate of 28 digits does not fit, and an overflow in the middle of a bill has no good answer.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How many places a decimal may have.
pub const DECIMAL_PLACES_MAX: usize = 12;
const DECIMAL_SCALE: i128 = 1_000_000_000_000;

/// A decimal ≥ 0 with at most 18 digits before and 12 after the point. Serialises as its text.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal(i128);

/// A text that is not such a decimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a decimal from 0 with at most 18 digits before and 12 after the point")]
pub struct DecimalRefused {
    /// The text as given.
    pub text: String,
}

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whether it is nothing.
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// The same number, exactly.
    pub fn exact(&self) -> Exact {
        Exact(BigRational::new(BigInt::from(self.0), BigInt::from(DECIMAL_SCALE)))
    }
}

impl FromStr for Decimal {
    type Err = DecimalRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || DecimalRefused { text: text.to_owned() };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |part: &str, most: usize| {
            !part.is_empty() && part.len() <= most && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !is_digits(whole, 18) || !is_digits(fraction, DECIMAL_PLACES_MAX) {
            return Err(refused());
        }
        format!("{whole}{fraction:0<DECIMAL_PLACES_MAX$}").parse().map(Self).map_err(|_| refused())
    }
}

impl TryFrom<String> for Decimal {
    type Error = DecimalRefused;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Decimal> for String {
    fn from(decimal: Decimal) -> Self {
        decimal.to_string()
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.div_euclid(DECIMAL_SCALE);
        let fraction = format!("{:012}", self.0.rem_euclid(DECIMAL_SCALE));
        match fraction.trim_end_matches('0') {
            "" => write!(formatter, "{whole}"),
            rest => write!(formatter, "{whole}.{rest}"),
        }
    }
}

/// An exact rational number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exact(BigRational);

#[cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "big integers grow instead of wrapping, and every divisor is checked before"
    )
)]
impl Exact {
    /// Nothing.
    pub fn zero() -> Self {
        Self(BigRational::zero())
    }

    /// A whole number.
    pub fn whole(number: i128) -> Self {
        Self(BigRational::from_integer(BigInt::from(number)))
    }

    /// `numerator / denominator`; `None` when the denominator is 0.
    pub fn ratio(numerator: i128, denominator: i128) -> Option<Self> {
        (denominator != 0)
            .then(|| Self(BigRational::new(BigInt::from(numerator), BigInt::from(denominator))))
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self(&self.0 + &other.0)
    }

    /// The difference.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// The product.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        Self(&self.0 * &other.0)
    }

    /// The quotient; `None` when `other` is 0.
    pub fn over(&self, other: &Self) -> Option<Self> {
        (!other.0.is_zero()).then(|| Self(&self.0 / &other.0))
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// Whether it is below nothing.
    pub fn is_negative(&self) -> bool {
        self.0.is_negative()
    }

    /// A decimal of at most `places` places, rounded half away from zero: for tables, never for amounts.
    pub fn rounded_text(&self, places: u8) -> String {
        let scale = BigInt::from(10).pow(u32::from(places));
        let scaled = &self.0 * BigRational::from_integer(scale.clone());
        let whole = RoundingMode::HalfAwayFromZero.round_big(&scaled);
        decimal_text(&whole, &scale, usize::from(places))
    }
}

impl fmt::Display for Exact {
    /// The exact decimal where there is one, else numerator/denominator.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match terminating(&self.0) {
            Some(text) => formatter.write_str(&text),
            None => write!(formatter, "{}/{}", self.0.numer(), self.0.denom()),
        }
    }
}

/// The decimal of a number whose denominator has no other factors than 2 and 5.
#[cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "big integers grow instead of wrapping, and the divisors are 2, 5 and the denominator"
    )
)]
fn terminating(number: &BigRational) -> Option<String> {
    let mut rest = number.denom().clone();
    let mut places = [0_usize; 2];
    for (prime, count) in [2, 5].into_iter().zip(places.iter_mut()) {
        let prime = BigInt::from(prime);
        while rest.is_multiple_of(&prime) {
            rest /= &prime;
            *count = count.saturating_add(1);
        }
    }
    if !rest.is_one() {
        return None;
    }
    let places = places.into_iter().max().unwrap_or(0);
    let scale = BigInt::from(10).pow(u32::try_from(places).ok()?);
    let scaled = number.numer() * (&scale / number.denom());
    Some(decimal_text(&scaled, &scale, places))
}

fn decimal_text(scaled: &BigInt, scale: &BigInt, places: usize) -> String {
    let (whole, fraction) = scaled.abs().div_rem(scale);
    let sign = if scaled.is_negative() { "-" } else { "" };
    let fraction = format!("{:0>places$}", fraction.to_string());
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        rest => format!("{sign}{whole}.{rest}"),
    }
}

/// How an exact number becomes a whole one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum RoundingMode {
    /// To the nearest, a half away from zero.
    #[default]
    HalfAwayFromZero,
    /// To the nearest, a half to the even one.
    HalfEven,
    /// Away from zero.
    Up,
    /// Towards zero.
    Down,
}

impl RoundingMode {
    /// The whole number, or `None` beyond 128 bits.
    pub fn round(self, number: &Exact) -> Option<i128> {
        self.round_big(&number.0).to_i128()
    }

    #[cfg_attr(
        not(test),
        expect(
            clippy::arithmetic_side_effects,
            reason = "big integers grow instead of wrapping, and a denominator is never 0"
        )
    )]
    fn round_big(self, number: &BigRational) -> BigInt {
        let (floor, rest) = number.numer().abs().div_rem(number.denom());
        let twice: BigInt = rest.clone() * 2;
        let is_up = match self {
            Self::HalfAwayFromZero => twice >= *number.denom(),
            Self::HalfEven => {
                twice > *number.denom() || (twice == *number.denom() && floor.is_odd())
            }
            Self::Up => !rest.is_zero(),
            Self::Down => false,
        };
        let magnitude = if is_up { floor + 1 } else { floor };
        if number.is_negative() { -magnitude } else { magnitude }
    }
}

/// Spreads `total_minor` over `weights` by largest remainder.
///
/// `weights`: each ≥ 0; result: same length and order, sums to `total_minor`; ties go to the earlier entry, so callers
/// sort by key first. When all weights are 0 everything goes to the first entry. Empty for no weights.
pub fn largest_remainder(total_minor: i64, weights: &[i64]) -> Vec<i64> {
    let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    let magnitude = i128::from(total_minor).unsigned_abs();
    let sum = sum.unsigned_abs();
    let mut shares: Vec<(u128, u128)> = weights
        .iter()
        .map(|weight| {
            // 63 bits × 63 bits.
            let product = magnitude.saturating_mul(u128::from(weight.unsigned_abs()));
            (product.checked_div(sum).unwrap_or(0), product.checked_rem(sum).unwrap_or(0))
        })
        .collect();
    let given: u128 = shares.iter().map(|(share, _)| share).sum();
    let mut left = magnitude.saturating_sub(given);
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|index| {
        (std::cmp::Reverse(shares.get(*index).map_or(0, |(_, rest)| *rest)), *index)
    });
    if sum == 0 {
        if let Some((share, _)) = shares.first_mut() {
            *share = left;
        }
        left = 0;
    }
    for index in order {
        if left == 0 {
            break;
        }
        if let Some((share, _)) = shares.get_mut(index) {
            *share = share.saturating_add(1);
            left = left.saturating_sub(1);
        }
    }
    let sign = total_minor.signum();
    shares
        .into_iter()
        .map(|(share, _)| i64::try_from(share).unwrap_or(i64::MAX).saturating_mul(sign))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_taken_and_refused() {
        for (text, shown) in [
            ("0", "0"),
            ("1.50", "1.5"),
            ("0.000000000001", "0.000000000001"),
            ("999999999999999999.999999999999", "999999999999999999.999999999999"),
        ] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_string(), shown);
        }
        for text in ["", ".", "1.", ".1", "-1", "+1", "1e3", "0.0000000000001", "1,5", "NaN", "1 "]
        {
            assert!(text.parse::<Decimal>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn modes_differ_at_the_half() {
        let half = Exact::ratio(5, 2).unwrap();
        let below = Exact::ratio(-5, 2).unwrap();
        let modes = [
            (RoundingMode::HalfAwayFromZero, 3, -3),
            (RoundingMode::HalfEven, 2, -2),
            (RoundingMode::Up, 3, -3),
            (RoundingMode::Down, 2, -2),
        ];
        for (mode, above, under) in modes {
            assert_eq!(mode.round(&half), Some(above));
            assert_eq!(mode.round(&below), Some(under));
        }
    }

    #[test]
    fn exact_texts() {
        for (numerator, denominator, text) in
            [(1, 8, "0.125"), (-1, 3, "-1/3"), (6, 3, "2"), (0, 7, "0"), (-5, 2, "-2.5")]
        {
            assert_eq!(Exact::ratio(numerator, denominator).unwrap().to_string(), text);
        }
        assert_eq!(Exact::ratio(2, 3).unwrap().rounded_text(4), "0.6667");
        assert!(Exact::ratio(1, 0).is_none());
    }

    proptest! {
        /// C6: shares add up without a repair, and none is off by more than one.
        #[test]
        fn remainders_add_up(total in -1_000_000_i64..1_000_000, weights in prop::collection::vec(0_i64..1_000, 1..20)) {
            let shares = largest_remainder(total, &weights);
            prop_assert_eq!(shares.iter().sum::<i64>(), total);
            let sum: i64 = weights.iter().sum();
            if sum > 0 {
                for (share, weight) in shares.iter().zip(&weights) {
                    prop_assert!((share * sum - total * weight).abs() < sum);
                }
            }
        }

        #[test]
        fn rounding_is_within_one(numerator in any::<i64>(), denominator in 1_i64..1_000_000) {
            let number = Exact::ratio(i128::from(numerator), i128::from(denominator)).unwrap();
            for mode in [RoundingMode::HalfAwayFromZero, RoundingMode::HalfEven, RoundingMode::Up, RoundingMode::Down] {
                let whole = mode.round(&number).unwrap();
                let error = whole * i128::from(denominator) - i128::from(numerator);
                prop_assert!(error.abs() < i128::from(denominator));
            }
        }
    }
}
