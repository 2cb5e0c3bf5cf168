//! Every form, and what is none.
