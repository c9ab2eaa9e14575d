//! Counts and scores, as integers.

use std::fmt;

/// How the addresses of a pool and family stand. Numbers are of addresses, saturating.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// In the pool's ranges.
    pub total: u128,
    /// Free to be handed out.
    pub free: u128,
    /// Held or allocated.
    pub allocated: u128,
    /// Resting.
    pub quarantined: u128,
    /// Never handed out: excluded, gateway, edge, skipped.
    pub excluded: u128,
    /// Taken from this pool, and no longer among the addresses it hands out; in none of the other numbers.
    pub out_of_range: u128,
}

impl Counts {
    /// Free + allocated + quarantined + excluded = total.
    pub fn add_up(&self) -> bool {
        self.free
            .checked_add(self.allocated)
            .and_then(|sum| sum.checked_add(self.quarantined))
            .and_then(|sum| sum.checked_add(self.excluded))
            == Some(self.total)
    }
}

/// Thousandths, 0 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PerMille(u16);

impl PerMille {
    /// `part` of `whole`, rounded down; 0 of nothing.
    pub fn of(part: u128, whole: u128) -> Self {
        // Large numbers lose low bits, which thousandths do not show.
        let shift = if whole.leading_zeros() < 10 { 10 } else { 0 };
        let (part, whole) = (part.min(whole) >> shift, whole >> shift);
        let thousandths = part.checked_mul(1_000).and_then(|scaled| scaled.checked_div(whole));
        Self(thousandths.and_then(|value| u16::try_from(value).ok()).unwrap_or(0))
    }

    /// What is missing to 1000.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(1_000_u16.saturating_sub(self.0))
    }

    /// As a number, 0 to 1000.
    pub const fn thousandths(self) -> u16 {
        self.0
    }
}

impl fmt::Display for PerMille {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0.checked_div(1_000), self.0.checked_rem(1_000));
        write!(formatter, "{}.{:03}", whole.unwrap_or(0), rest.unwrap_or(0))
    }
}
