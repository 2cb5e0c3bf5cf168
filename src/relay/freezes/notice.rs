//! What a message about a freeze is for: the word under which its status remembers it. Touches nothing.

use std::fmt;

use jiff::Timestamp;

use crate::slack::ids::ChannelId;

/// What a message about a freeze is for. There is at most one for each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Notice {
    /// It has begun; kept up to date until it is over.
    Began(Beginning),
    /// It is over: an answer to the one before.
    Over(Beginning),
}

/// Where, and of which time that it began.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Beginning {
    /// The channel.
    pub(super) channel: ChannelId,
    /// When it began, in seconds since 1970.
    pub(super) since: i64,
}

impl Notice {
    /// Reads the word of [`fmt::Display`].
    pub(super) fn read(word: &str) -> Option<Self> {
        let (what, rest) = word.split_once(':')?;
        let (since, channel) = rest.split_once(':')?;
        let beginning = Beginning {
            channel: channel.parse().ok()?,
            since: since.parse().ok()?,
        };
        match what {
            "began" => Some(Self::Began(beginning)),
            "over" => Some(Self::Over(beginning)),
            _ => None,
        }
    }

    /// The fixed word for metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Began(_) => "freeze-began",
            Self::Over(_) => "freeze-over",
        }
    }

    /// Which beginning it is about.
    pub(super) fn beginning(&self) -> &Beginning {
        match self {
            Self::Began(beginning) | Self::Over(beginning) => beginning,
        }
    }
}

impl Beginning {
    /// When that was.
    pub(super) fn at(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.since).ok()
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Began(_) => "began",
            Self::Over(_) => "over",
        };
        let Beginning { channel, since } = self.beginning();
        write!(formatter, "{word}:{since}:{channel}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice_is_read_back_and_nothing_else_is() {
        let beginning = Beginning {
            channel: "C024BE91L".parse().unwrap(),
            since: 1_772_618_400,
        };
        for notice in [Notice::Began(beginning.clone()), Notice::Over(beginning)] {
            assert_eq!(Notice::read(&notice.to_string()), Some(notice));
        }
        for bad in [
            "",
            "began",
            "began:1",
            "began::C024BE91L",
            "began:x:C024BE91L",
            "began:1:",
            "began:1:c",
            "live:1:C024BE91L",
        ] {
            assert_eq!(Notice::read(bad), None, "{bad}");
        }
    }
}
