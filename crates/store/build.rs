//! Migrations are built into the library, so a new one is a reason to build it again.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
