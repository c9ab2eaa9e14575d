//! Randomness for secrets and for names that nobody else may have; nothing that decides asks for it.

/// What random words are made of: nothing that a URL, a shell or a connection string would read otherwise.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// The largest multiple of the number of letters that a byte can hold; greater bytes would favour the first letters.
const FAIR_BELOW: u8 = 248;

/// A word of `length` letters and digits from the system's source of randomness; each carries 5.95 bits.
///
/// # Errors
/// The system has no randomness to give.
pub fn word(length: usize) -> Result<String, getrandom::Error> {
    let mut word = String::with_capacity(length);
    let mut bytes = [0; 64];
    while word.len() < length {
        getrandom::fill(&mut bytes)?;
        let wanted = length.saturating_sub(word.len());
        word.extend(bytes.iter().filter_map(|byte| letter(*byte)).take(wanted));
    }
    Ok(word)
}

/// The letter that a random byte stands for; none for a byte that would make letters unequally likely.
fn letter(byte: u8) -> Option<char> {
    if byte >= FAIR_BELOW {
        return None;
    }
    LETTERS.get(usize::from(byte) % LETTERS.len()).copied().map(char::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn every_letter_is_equally_likely() {
        let mut counts: BTreeMap<char, u32> = BTreeMap::new();
        for letter in (0..=u8::MAX).filter_map(letter) {
            *counts.entry(letter).or_default() += 1;
        }
        assert_eq!(counts.len(), 62);
        assert!(counts.values().all(|count| *count == 4), "{counts:?}");
    }

    #[test]
    fn words_have_their_length_and_differ() {
        for length in [0, 1, 63, 64, 65, 200] {
            assert_eq!(word(length).unwrap().len(), length);
        }
        let words: BTreeSet<String> = (0..1000).map(|_| word(32).unwrap()).collect();
        assert_eq!(words.len(), 1000);
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric())));
    }
}
