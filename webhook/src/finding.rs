//! What a rule found, in the form the author of an object can act on.
//!
//! Each finding names one field, what is wrong with it and what would be right. Findings travel to the author twice: as
//! one message that people read, and as `details.causes` that programs read; both are built from the same values here,
//! so they cannot differ.

pub use operator_kit::words::named;
use std::fmt;

/// What sort of trouble a field is in, in the words of the Kubernetes API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The value cannot be as it is.
    Invalid,
    /// Another object has this value already, and it has to be unique.
    Duplicate,
    /// The act itself is not allowed, whatever the value.
    Forbidden,
}

impl Cause {
    /// The constant word of the Kubernetes API for it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Path of the field, such as `spec.parentRef.name`.
    pub field: String,
    /// What sort of trouble it is.
    pub cause: Cause,
    /// The problem and the remedy, one line.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.message)
    }
}

/// All that the rules say about one request: refused when there is any finding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What has to change, in the order of the rules.
    pub findings: Vec<Finding>,
    /// What is allowed and worth a word to the author, such as a reference to nothing yet.
    pub warnings: Vec<String>,
}

impl Verdict {
    /// Whether nothing stands against the request.
    pub fn allows(&self) -> bool {
        self.findings.is_empty()
    }

    /// Notes that a value cannot be as it is.
    pub fn invalid(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.push(field, Cause::Invalid, message);
    }

    /// Notes that another object has the value already.
    pub fn duplicate(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.push(field, Cause::Duplicate, message);
    }

    /// Notes that the act is not allowed.
    pub fn forbid(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.push(field, Cause::Forbidden, message);
    }

    /// Says something that does not stand in the way.
    pub fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(message.into());
    }

    fn push(&mut self, field: impl Into<String>, cause: Cause, message: impl Into<String>) {
        self.findings.push(Finding { field: field.into(), cause, message: message.into() });
    }
}
