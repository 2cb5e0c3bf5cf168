//! What a message is for: the word under which the status remembers it. Touches nothing.

use std::fmt;

use crate::slack::ids::ChannelId;

/// What a message about a request is for. There is at most one for each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Shows where the request stands, from the beginning to the end.
    Live,
    /// Tells who asked where the live message is, when that is elsewhere.
    Link,
    /// The stages, in the live message's thread; kept up to date.
    Stages,
    /// How it ended, in the live message's thread; mentions who asked.
    End,
    /// One line in a further channel when it starts.
    Started(ChannelId),
    /// One line in a further channel when it has ended.
    Ended(ChannelId),
}

impl Purpose {
    /// Reads the word of [`fmt::Display`].
    pub fn read(word: &str) -> Option<Self> {
        match word.split_once(':') {
            None => match word {
                "live" => Some(Self::Live),
                "link" => Some(Self::Link),
                "stages" => Some(Self::Stages),
                "end" => Some(Self::End),
                _ => None,
            },
            Some(("started", channel)) => channel.parse().ok().map(Self::Started),
            Some(("ended", channel)) => channel.parse().ok().map(Self::Ended),
            Some(_) => None,
        }
    }

    /// The fixed word for metrics: without the channel.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Link => "link",
            Self::Stages => "stages",
            Self::End => "end",
            Self::Started(_) => "started",
            Self::Ended(_) => "ended",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(channel) | Self::Ended(channel) => {
                write!(formatter, "{}:{channel}", self.word())
            }
            _ => formatter.write_str(self.word()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_is_read_back_and_nothing_else_is() {
        let channel: ChannelId = "C024BE91L".parse().unwrap();
        for purpose in [
            Purpose::Live,
            Purpose::Link,
            Purpose::Stages,
            Purpose::End,
            Purpose::Started(channel.clone()),
            Purpose::Ended(channel),
        ] {
            assert_eq!(Purpose::read(&purpose.to_string()), Some(purpose));
        }
        for bad in [
            "",
            "Live",
            "started",
            "started:",
            "started:x",
            "live:C1",
            "a:C12",
        ] {
            assert_eq!(Purpose::read(bad), None, "{bad}");
        }
    }
}
