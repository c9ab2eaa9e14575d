//! Words of messages that people read.

use std::collections::BTreeSet;

/// How many names a message lists before it says how many more there are.
const NAMES_SHOWN_MAX: usize = 5;

/// Names sorted and without repeats, five of them, and how many more: the same set always reads the same.
pub fn named(names: impl IntoIterator<Item = String>) -> String {
    let sorted: BTreeSet<String> = names.into_iter().collect();
    let shown: Vec<&str> = sorted.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect();
    match sorted.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let names = (0..8).rev().map(|number| format!("n{number}"));
        assert_eq!(named(names), "n0, n1, n2, n3, n4 and 3 more");
        assert_eq!(named(["b".to_owned(), "a".to_owned(), "b".to_owned()]), "a, b");
    }
}
