//! Chance, on which nothing secret rests: for names that no other process has, and for pauses that differ. Touches the
//! operating system's randomness.

use std::hash::{BuildHasher, RandomState};

/// 64 of its bits.
pub fn bits() -> u64 {
    // Keyed by the operating system.
    RandomState::new().hash_one(std::process::id())
}

/// A number between 0 and 1.
pub fn fraction() -> f64 {
    f64::from(u32::try_from(bits() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_differs_each_time_and_is_a_fraction() {
        let bits: BTreeSet<u64> = (0..100).map(|_| bits()).collect();
        assert_eq!(bits.len(), 100);
        assert!((0..100).all(|_| (0.0..=1.0).contains(&fraction())));
    }
}
