//! One request at a time on a target: queue, reject, supersede, keys, rollback, cancel, timeout, expiry.
