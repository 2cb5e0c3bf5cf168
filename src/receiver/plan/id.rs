//! A plan's identity, and the name of the request that it becomes. Touches nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::slack::ids::{ChannelId, MessageTs, TeamId, TriggerId, ViewId};

/// Five bits each; without letters that read like others.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 100 bits.
const LENGTH: usize = 20;

/// Which plan it is: a hash of the delivery that it began with, and of nothing else. 20 lower-case letters and digits.
///
/// A redelivery has the same identity, and so has every edit, which keeps it. Two commands of one person have different
/// ones, even if they say the same: that is what [`super::repeat`] is for.
///
/// A name is one object in one namespace only. Until a plan was shown it can be for any of several teams, so it is shown
/// before it is carried out, and what another copy has started in another team is looked for in the caches. Two copies
/// that are confirmed for two teams within a watch's delay, a second or so, become two requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlanId(String);

impl PlanId {
    /// Of a slash command, or of a button that begins something anew.
    pub fn of_command(team: &TeamId, trigger: &TriggerId) -> Self {
        Self::of(["command", team.as_str(), trigger.as_str()])
    }

    /// Of a mention or a direct message. Not of the event: one message may be delivered as two of them.
    pub fn of_message(channel: &ChannelId, ts: &MessageTs) -> Self {
        Self::of(["message", channel.as_str(), ts.as_str()])
    }

    /// Of a form: of the first view of its stack.
    pub fn of_view(root: &ViewId) -> Self {
        Self::of(["view", root.as_str(), ""])
    }

    /// Its letters and digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(parts: [&str; 3]) -> Self {
        // Slack's identifiers hold no NUL, so different parts are different bytes.
        let hash = Sha256::digest(parts.join("\0").as_bytes());
        let mut bits = hash
            .iter()
            .take(16)
            .fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
        let mut text = String::with_capacity(LENGTH);
        for _ in 0..LENGTH {
            let digit = usize::try_from(bits & 31).unwrap_or_default();
            text.push(char::from(DIGITS[digit]));
            bits >>= 5;
        }
        Self(text)
    }
}

impl TryFrom<String> for PlanId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() == LENGTH && text.bytes().all(|byte| DIGITS.contains(&byte)) {
            Ok(Self(text))
        } else {
            Err("this is no plan's identity")
        }
    }
}

impl From<PlanId> for String {
    fn from(id: PlanId) -> Self {
        id.0
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The request's name: `slack-` and the plan's identity, 26 characters.
///
/// It is made of the identity alone, and doesn't say `checkout-main-…`: an edit may change application and version, and
/// a message that is delivered again may be read with another vocabulary, so a name that repeated them would let one
/// plan become two objects. What a request is about stands in the columns that `kubectl get dr` shows.
pub fn request_name(plan: &PlanId) -> String {
    format!("slack-{plan}")
}
