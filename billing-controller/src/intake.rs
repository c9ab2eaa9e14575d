//! Where facts come in.
