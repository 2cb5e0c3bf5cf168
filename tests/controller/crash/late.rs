//! A start that Gate does only after the settle time, against the contract: it can't be prevented, but it must be told.
