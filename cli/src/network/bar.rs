//! Bars and the lines of a tree, in the characters that the output can show.

use std::io::IsTerminal;

/// Cells of a bar.
pub const BAR_CELLS: u128 = 10;

/// What a terminal shows, or what every program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Characters {
    /// Boxes and blocks.
    Unicode,
    /// ASCII alone.
    Ascii,
}

/// The characters of one kind of output.
#[derive(Debug, Clone, Copy)]
pub struct Glyphs {
    /// Before a line that has others after it, and what stands below it.
    pub middle: (&'static str, &'static str),
    /// The same for the last line.
    pub last: (&'static str, &'static str),
    /// Held by claims, given away or resting, free.
    pub cells: (&'static str, &'static str, &'static str),
    /// Where a text was cut.
    pub cut: &'static str,
    /// Before a number of networks of a size.
    pub times: &'static str,
}

impl Characters {
    /// Unicode for a terminal, unless ASCII was asked for.
    pub fn for_output(ascii: bool) -> Self {
        if ascii || !std::io::stdout().is_terminal() { Self::Ascii } else { Self::Unicode }
    }

    /// Its characters.
    pub const fn glyphs(self) -> Glyphs {
        match self {
            Self::Unicode => Glyphs {
                middle: ("├─ ", "│  "),
                last: ("└─ ", "   "),
                cells: ("█", "▒", "░"),
                cut: "…",
                times: "×",
            },
            Self::Ascii => Glyphs {
                middle: ("|- ", "|  "),
                last: ("`- ", "   "),
                cells: ("#", "+", "."),
                cut: "~",
                times: "x",
            },
        }
    }
}

/// How much of something is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Held by claims.
    pub held: u128,
    /// Given to what is below, or resting.
    pub other: u128,
    /// All of it.
    pub total: u128,
}

impl Use {
    /// What is not free.
    pub const fn taken(self) -> u128 {
        self.held.saturating_add(self.other)
    }
}

/// The bar. What is there has a cell and what is free has one, however small: empty and full are seen for certain.
pub fn bar(used: Use, glyphs: Glyphs) -> String {
    let taken = cells(used.taken(), used.total);
    let held = cells(used.held, used.total).min(taken);
    let held = if used.other > 0 && held == taken { taken.saturating_sub(1) } else { held };
    let held = if used.held > 0 { held.max(1) } else { held };
    let (full, half, free) = glyphs.cells;
    let times = |glyph: &str, count: u128| glyph.repeat(usize::try_from(count).unwrap_or(0));
    times(full, held)
        + &times(half, taken.saturating_sub(held))
        + &times(free, BAR_CELLS.saturating_sub(taken))
}

fn cells(part: u128, total: u128) -> u128 {
    let part = part.min(total);
    if part == 0 {
        return 0;
    }
    if part == total {
        return BAR_CELLS;
    }
    // Large numbers lose low bits, which ten cells do not show.
    let shift = if total.leading_zeros() < 8 { 8 } else { 0 };
    let scaled = (part >> shift).saturating_mul(BAR_CELLS);
    let floor = scaled.checked_div(total >> shift).unwrap_or(0);
    floor.clamp(1, BAR_CELLS.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_full_are_never_mistaken() {
        let cases = [
            (0, 0, 256, "░░░░░░░░░░"),
            (1, 0, 256, "█░░░░░░░░░"),
            (255, 0, 256, "█████████░"),
            (256, 0, 256, "██████████"),
            (64, 64, 256, "██▒▒▒░░░░░"),
            (1, 255, 256, "█▒▒▒▒▒▒▒▒▒"),
            (255, 1, 256, "█████████▒"),
            (0, u128::MAX, u128::MAX, "▒▒▒▒▒▒▒▒▒▒"),
            (0, 1, u128::MAX, "▒░░░░░░░░░"),
            (0, 0, 0, "░░░░░░░░░░"),
        ];
        for (held, other, total, expected) in cases {
            let drawn = bar(Use { held, other, total }, Characters::Unicode.glyphs());
            assert_eq!(drawn, expected, "{held} {other} {total}");
        }
    }
}
