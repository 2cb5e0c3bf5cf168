//! The foredeck binary.

fn main() {}
