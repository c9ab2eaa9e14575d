//! Why a claim got this address: as data, and in one line for people.

use super::PassedOver;
use crate::address::Address;
use crate::pool::Strategy;
use std::fmt;

/// Why this address: the rule that chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The claim asked for it by name.
    Explicit,
    /// The tenant had it under the same sticky key, and it was resting.
    Sticky,
    /// The lowest free one of the lowest eligible block.
    Lowest,
    /// A free neighbour of the tenant's longest run that has one.
    NeighbourOfRun {
        /// Where the run began.
        run_first: Address,
        /// How many addresses it had.
        run_length: u128,
    },
    /// Nearest to the tenant's run, in the block with most of its addresses.
    NearRun {
        /// How far from the run.
        distance: u16,
    },
    /// In the fullest block that fits the whole count.
    FullestBlock {
        /// Free slots of the block before.
        free: u16,
    },
    /// In a block that did not exist.
    FreshBlock,
    /// Probed from a slot given by the seed, in a least-filled block, and without a foreign neighbour.
    Seeded {
        /// Where probing began.
        start: u8,
    },
    /// Nothing was isolated: farthest from others.
    Farthest {
        /// Slots to the nearest foreign one.
        distance: u16,
    },
    /// Never used before, the lowest of those.
    NeverUsed,
    /// Given back longest ago.
    OldestRelease {
        /// Number of that release.
        seq: u64,
    },
}

/// Why this address, in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Why {
    /// The pool's strategy.
    pub strategy: Strategy,
    /// The rule that chose.
    pub rule: Rule,
    /// Slots of the block that were not free before.
    pub taken_before: u16,
    /// Candidates that came first and did not do.
    pub passed_over: PassedOver,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Explicit => formatter.write_str("the claim names it"),
            Self::Sticky => formatter.write_str("its sticky key brought it back from quarantine"),
            Self::Lowest => formatter.write_str("the lowest free address"),
            Self::NeighbourOfRun { run_first, run_length } => {
                write!(formatter, "beside the tenant's run of {run_length} from {run_first}")
            }
            Self::NearRun { distance } => {
                write!(
                    formatter,
                    "{distance} from the tenant's run in the block with most of its addresses"
                )
            }
            Self::FullestBlock { free } => {
                write!(
                    formatter,
                    "in the fullest block that fits the claim, with {free} free before"
                )
            }
            Self::FreshBlock => formatter.write_str("in a new block"),
            Self::Seeded { start } => {
                write!(
                    formatter,
                    "isolated, in a least-filled block, probed from slot {start} by seed"
                )
            }
            Self::Farthest { distance } => {
                write!(
                    formatter,
                    "nothing is isolated; {distance} from the nearest of another tenant"
                )
            }
            Self::NeverUsed => formatter.write_str("the lowest address that was never used"),
            Self::OldestRelease { seq } => {
                write!(formatter, "given back longest ago, as change {seq}")
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {} of the block's 256 were taken", self.rule, self.taken_before)?;
        let PassedOver { in_use, quarantined, not_handed_out, free } = self.passed_over;
        let passed = [
            (in_use, "in use"),
            (quarantined, "in quarantine"),
            (not_handed_out, "never handed out"),
            (free, "free but not chosen"),
        ];
        let mut word = "; passed over";
        for (count, what) in passed.into_iter().filter(|(count, _)| *count > 0) {
            write!(formatter, "{word} {count} {what}")?;
            word = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_why() {
        let passed_over = PassedOver { in_use: 3, quarantined: 1, ..PassedOver::default() };
        let why = Why {
            strategy: Strategy::Sequential,
            rule: Rule::Lowest,
            taken_before: 4,
            passed_over,
        };
        assert_eq!(
            why.to_string(),
            "the lowest free address; 4 of the block's 256 were taken; passed over 3 in use, 1 in quarantine"
        );
        let run_first = "10.0.0.4".parse().unwrap();
        let rule = Rule::NeighbourOfRun { run_first, run_length: 3 };
        let why = Why { rule, passed_over: PassedOver::default(), ..why };
        assert_eq!(
            why.to_string(),
            "beside the tenant's run of 3 from 10.0.0.4; 4 of the block's 256 were taken"
        );
    }
}
