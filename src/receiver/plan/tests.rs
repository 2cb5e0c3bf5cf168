//! Identity, sealing, repetition, and what a plan shows.
