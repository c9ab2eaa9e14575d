//! An error with all its causes on one line, for logs, events and conditions.

use std::error::Error;
use std::fmt;

/// Prints an error and its sources, joined by `: `; each error's own text never repeats its source.
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", one_line(&self.0.to_string()))?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(formatter, ": {}", one_line(&error.to_string()))?;
            source = error.source();
        }
        Ok(())
    }
}

/// The text without line breaks and other control characters, so that a foreign message cannot forge a log line.
pub fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_are_joined_on_one_line() {
        let error = Outer(std::io::Error::other("inner\nforged"));
        assert_eq!(ErrorChain(&error).to_string(), "outer: inner forged");
    }
}
