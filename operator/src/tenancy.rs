//! Tenants, their projects and their people.

pub mod member;
pub mod project;
pub mod roles;
pub mod tenant;

mod isolation;
