//! Rebuilds when a migration is added or changed: the migrator is embedded at compile time.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
