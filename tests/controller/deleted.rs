//! Requests deleted, pruned, restored; targets deleted or wiped.
