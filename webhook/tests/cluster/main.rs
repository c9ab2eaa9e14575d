//! The webhook on a real API server: rules by every door, certificates under load, life without it.
#![cfg(test)]

mod admission;
mod hook;
mod network;
mod rotation;
