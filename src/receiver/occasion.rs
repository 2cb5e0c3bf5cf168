//! Where something was said or pressed, and what an answer to it can be. Touches nothing.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

use super::answer::refusing;
use crate::{
    api::deploy_request::SlackPlace,
    slack::{
        blocks::Message,
        ids::{ChannelId, MessageTs, TriggerId, UserId},
        inbound::ResponseUrl,
        view::View,
    },
};

/// Where something was said or pressed, by whom, and until when it has to be answered.
#[derive(Debug, Clone)]
pub(super) struct Occasion {
    /// Who.
    pub(super) user: UserId,
    /// The conversation; a modal is in none.
    pub(super) channel: Option<ChannelId>,
    /// The first message of the thread that it was said in.
    pub(super) thread: Option<MessageTs>,
    /// The message that said it; its time is when it was said, however late it is delivered.
    pub(super) said: Option<MessageTs>,
    /// In a direct conversation with the app.
    pub(super) direct: bool,
    /// In a modal, where the answer is to be too.
    pub(super) in_modal: bool,
    /// The right to open a modal.
    pub(super) trigger: Option<TriggerId>,
    /// Where later answers go.
    pub(super) url: Option<ResponseUrl>,
    /// Slack delivers it again if it is refused: then what isn't settled needs no words.
    pub(super) comes_again: bool,
    /// When the answer has to be on its way.
    pub(super) by: Instant,
    /// Set once a create is about to be sent: from then on nobody may say that nothing was started.
    pub(super) attempted: Arc<OnceLock<Attempted>>,
}

/// The object that a create was sent for.
#[derive(Debug, Clone)]
pub(super) struct Attempted {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// What it is.
    pub(super) what: What,
}

/// What a create is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A request.
    Request,
    /// Somebody's yes or no.
    Approval,
    /// The stop button.
    Stop,
}

/// Between what became of a create and the answer that tells.
const TELLING: Duration = Duration::from_millis(100);

impl Occasion {
    /// Until when it has to be known what became of a create.
    pub(super) fn persist_by(&self) -> Instant {
        self.by.checked_sub(TELLING).unwrap_or(self.by)
    }

    /// Where it was said, for a request to remember.
    pub(super) fn place(&self) -> Option<SlackPlace> {
        Some(SlackPlace {
            channel: self.channel.as_ref()?.as_str().to_owned(),
            thread_ts: self
                .thread
                .as_ref()
                .map(|thread| thread.as_str().to_owned()),
        })
    }
}

/// An answer, whatever way it takes.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// Words for whoever asked.
    Say(Message),
    /// Words in the place of what was pressed; words like any other where nothing was.
    Replace(Message),
    /// What was pressed goes.
    Remove,
    /// A modal, where one can be opened, else words.
    Modal {
        /// The modal.
        view: Box<View>,
        /// The words.
        or: Message,
    },
    /// Nothing: it is received, and that is all.
    Nothing,
}

/// Why there is no answer of the usual kind.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// Somebody whom we have to ask doesn't answer. Nothing was started.
    Silent,
    /// It took too long. Nothing was started.
    Late,
    /// The person is told something else.
    Told(Message),
    /// What was pressed is good for nothing any more, and these words take its place.
    Over(Message),
}

impl Trouble {
    /// In words, for who gets no second chance.
    pub(super) fn into_answer(self) -> Answer {
        match self {
            Self::Silent => Answer::Say(refusing::silent()),
            Self::Late => Answer::Say(refusing::late()),
            Self::Told(message) => Answer::Say(message),
            Self::Over(message) => Answer::Replace(message),
        }
    }
}
