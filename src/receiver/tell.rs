//! What is asked about: `status`, `what`, `history`. Touches nothing: all of it comes from the directory, and costs the
//! API server nothing.

use super::{
    answer::{reading, standing::Prefix},
    sight::Sight,
    team::Answer,
};
use crate::{
    receiver::grammar::ApplicationRef,
    slack::{blocks::Message, ids::ChannelId},
};

/// Ended requests shown where nothing is under way.
const MOST_ENDED: usize = 3;

/// A question, and where it is asked.
pub(super) struct Question<'a> {
    /// The conversation.
    pub(super) channel: Option<&'a ChannelId>,
    /// The application that it is about.
    pub(super) application: Option<&'a ApplicationRef>,
    /// The environment that it is about.
    pub(super) environment: Option<&'a str>,
}

/// How it goes: what has not ended, and where nothing is under way, what ended last.
pub(super) fn status(sight: &Sight, question: &Question<'_>) -> Message {
    let prefix = prefix(sight);
    sight.look(question.channel, true, |team| {
        let open = match team.status(question.application, question.environment) {
            Answer::Rows(rows) => rows,
            Answer::Team(several) => return reading::which_of(&several),
            Answer::Absent(absent) => return reading::absent(&absent),
        };
        let runs = match question.application {
            Some(application) => match team.history(application, question.environment) {
                Answer::Rows(rows) => rows,
                Answer::Team(_) | Answer::Absent(_) => Vec::new(),
            },
            None => Vec::new(),
        };
        let mut last = match team.ended(question.application, question.environment) {
            Answer::Rows(rows) if open.is_empty() => rows,
            _ => Vec::new(),
        };
        last.truncate(MOST_ENDED);
        reading::status(&open, &last, &runs, prefix)
    })
}

/// What runs where.
pub(super) fn what(sight: &Sight, question: &Question<'_>) -> Message {
    let prefix = prefix(sight);
    sight.look(question.channel, true, |team| {
        match team.what(question.environment) {
            Answer::Rows(rows) => reading::what(&rows, question.environment, prefix),
            Answer::Team(several) => reading::which_of(&several),
            Answer::Absent(absent) => reading::absent(&absent),
        }
    })
}

/// What ran before.
pub(super) fn history(sight: &Sight, question: &Question<'_>) -> Message {
    let prefix = prefix(sight);
    let Some(application) = question.application else {
        return what(sight, question);
    };
    sight.look(question.channel, true, |team| {
        match team.history(application, question.environment) {
            Answer::Rows(rows) => reading::history(&rows, prefix),
            Answer::Team(several) => reading::which_of(&several),
            Answer::Absent(absent) => reading::absent(&absent),
        }
    })
}

fn prefix(sight: &Sight) -> Prefix {
    if sight.sees_several() {
        Prefix::Team
    } else {
        Prefix::None
    }
}
