//! Bad input, and what it gets.
