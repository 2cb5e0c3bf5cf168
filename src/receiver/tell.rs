//! What is asked about: `status`, `what`, `history`. Touches nothing: all of it comes from the directory, and costs the
//! API server nothing.

use std::cmp::Reverse;

use kube::ResourceExt;

use super::{
    answer::{
        reading,
        standing::{self, Prefix},
    },
    sight::Sight,
    team::{Answer, Running},
};
use crate::{
    api::DeployRequest,
    slack::{blocks::Message, grammar::ApplicationRef, ids::ChannelId},
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
        let last = if open.is_empty() {
            ended(sight, question, &runs)
        } else {
            Vec::new()
        };
        reading::status(&open, &last, &runs, prefix)
    })
}

/// What ended last in these places; everywhere, if the question names no application.
fn ended(sight: &Sight, question: &Question<'_>, runs: &[Running<'_>]) -> Vec<DeployRequest> {
    let mut found = sight.pick(|request: &DeployRequest| {
        let spec = &request.spec;
        let place = runs.iter().any(|running| {
            running.target.metadata.namespace == request.metadata.namespace
                && running.target.spec.application == spec.application
                && running.target.spec.environment == spec.environment
        });
        let here = question.application.is_none() || place;
        let there = question
            .environment
            .is_none_or(|name| name == spec.environment);
        let over = standing::phase(request).is_terminal();
        (here && there && over).then(|| request.clone())
    });
    found.sort_by_key(|request| Reverse(request.creation_timestamp().map(|time| time.0)));
    found.truncate(MOST_ENDED);
    found
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
