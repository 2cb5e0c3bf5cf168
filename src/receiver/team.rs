//! Which team a command means. Touches nothing.
