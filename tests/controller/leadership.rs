//! Two controllers at once.
