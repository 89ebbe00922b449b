//! The `maskd-train` command.

fn main() {}
