//! Under which id all that happens to a request is found, in traces and in the logs of Spinnaker's services. Touches nothing.

use std::fmt;

/// A request's trace: its uid without the dashes. So nothing has to be stored for a restart to go on with it, and every role
/// knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// How it looks in an object.
    pub const PATTERN: &'static str = "^[0-9a-f]{32}$";

    /// Of the request with this uid; `None` of what is no uid, as API servers make them.
    pub fn of(uid: &str) -> Option<Self> {
        let digits = uid.bytes().filter(|byte| *byte != b'-');
        let mut id = 0_u128;
        let mut count = 0;
        for byte in digits {
            let digit = char::from(byte).to_digit(16)?;
            id = id.wrapping_shl(4) | u128::from(digit);
            count += 1;
        }
        // A trace of zeros is none.
        (count == 32 && id != 0).then_some(Self(id))
    }

    /// As a number.
    pub fn number(self) -> u128 {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_uid_without_the_dashes() {
        let id = TraceId::of("0F3b1c00-1111-4222-8333-0123456789ab").unwrap();
        assert_eq!(id.to_string(), "0f3b1c001111422283330123456789ab");
        for none in [
            "",
            "uid",
            "0f3b1c00-1111-4222-8333-0123456789a",
            "0f3b1c00-1111-4222-8333-0123456789abc",
            "00000000-0000-0000-0000-000000000000",
            "0f3b1c00-1111-4222-8333-0123456789ä",
            "+f3b1c00-1111-4222-8333-0123456789ab",
        ] {
            assert_eq!(TraceId::of(none), None, "{none}");
        }
    }
}
