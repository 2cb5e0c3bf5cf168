//! What is said in Slack about a request: the request in, messages out. Touches nothing.
//!
//! Whatever a person typed, a commit says or Spinnaker answers goes through the types of [`crate::slack::text`], or into
//! rich text, which Slack doesn't parse. Nothing here depends on the time: the same request says the same.

mod approval;
mod changes;
mod gates;
mod judgment;
mod lines;
mod live;
mod overriding;
mod words;

use kube::ResourceExt;

pub use self::{
    approval::{Readers, approval, is_asked},
    judgment::{current as current_judgment, judgment},
    lines::{end, ended, gone, is_bad, link, stages, started},
    live::live,
    overriding::{is_overridden, overridden},
};
use super::purpose::Purpose;
use crate::{
    api::{
        DeployRequest,
        deploy_request::{DeployRequestStatus, EarlierMessage, Phase},
    },
    domain::ids,
    slack::{
        blocks::{Block, Message, Metadata},
        text::Mrkdwn,
    },
};

/// The type of the mark that our messages carry.
pub const MARK: &str = "foredeck_request";
/// The field of the mark that names the request's uid.
pub const MARK_UID: &str = "uid";
/// The field of the mark that names the purpose.
pub const MARK_PURPOSE: &str = "purpose";

/// The mark by which a message is found again. Every member of the workspace can read it, so it holds ids only.
fn marked(message: Message, request: &DeployRequest, purpose: &Purpose) -> Message {
    let uid = request.uid().unwrap_or_default();
    let fields = [(MARK_UID, uid), (MARK_PURPOSE, purpose.to_string())];
    message.metadata(Metadata::new(MARK, fields))
}

/// SHA-256 of all that Slack is sent, in hexadecimal.
pub fn digest(message: &Message) -> String {
    ids::sha256(&serde_json::to_vec(message).unwrap_or_default())
}

fn status(request: &DeployRequest) -> Option<&DeployRequestStatus> {
    request.status.as_ref()
}

/// Where the request stands.
pub fn phase(request: &DeployRequest) -> Phase {
    status(request)
        .and_then(|status| status.phase)
        .unwrap_or_default()
}

/// What a reader must know of an earlier message for the same purpose.
pub(super) fn about_earlier(earlier: Option<EarlierMessage>) -> Option<Block> {
    let note = match earlier? {
        EarlierMessage::Unknown => {
            "This may be the second copy: Slack did not say whether the first one arrived. Only this one is kept up to date."
        }
        EarlierMessage::Unchangeable => {
            "This takes the place of an earlier message, which could no longer be changed."
        }
    };
    Some(Block::context([Mrkdwn::fixed(note)]))
}

#[cfg(test)]
mod tests;
