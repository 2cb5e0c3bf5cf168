//! The controller killed at every point, under every fault: one launch at most, and the truth at the end.
