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
    /// Asks people to approve it, in the live message's thread; mentions them. Kept up to date, also when what would run
    /// changes.
    Approval,
    /// Asks people for one manual judgment, by its mark, in the live message's thread; kept up to date.
    Judgment(String),
    /// How it ended, in the live message's thread; mentions who asked.
    End,
    /// In a channel of the Environment: somebody let it pass order, freezes and locks.
    Overridden(ChannelId),
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
                "approval" => Some(Self::Approval),
                "end" => Some(Self::End),
                _ => None,
            },
            Some(("judgment", mark)) => is_mark(mark).then(|| Self::Judgment(mark.to_owned())),
            Some(("overridden", channel)) => channel.parse().ok().map(Self::Overridden),
            Some(("started", channel)) => channel.parse().ok().map(Self::Started),
            Some(("ended", channel)) => channel.parse().ok().map(Self::Ended),
            Some(_) => None,
        }
    }

    /// The fixed word for metrics: without the channel or the mark.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Link => "link",
            Self::Stages => "stages",
            Self::Approval => "approval",
            Self::Judgment(_) => "judgment",
            Self::End => "end",
            Self::Overridden(_) => "overridden",
            Self::Started(_) => "started",
            Self::Ended(_) => "ended",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overridden(channel) | Self::Started(channel) | Self::Ended(channel) => {
                write!(formatter, "{}:{channel}", self.word())
            }
            Self::Judgment(mark) => write!(formatter, "{}:{mark}", self.word()),
            _ => formatter.write_str(self.word()),
        }
    }
}

fn is_mark(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
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
            Purpose::Approval,
            Purpose::Judgment("0a1b".to_owned()),
            Purpose::Overridden(channel.clone()),
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
            "judgment",
            "judgment:",
            "judgment:XY",
            "a:C12",
        ] {
            assert_eq!(Purpose::read(bad), None, "{bad}");
        }
    }
}
