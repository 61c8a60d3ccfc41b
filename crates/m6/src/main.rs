//! The m6 binary: verbs, configuration, terminal, reports.
fn main() {}
