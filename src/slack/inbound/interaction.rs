//! What people press, choose and submit. Touches nothing.

use serde::Deserialize;

use super::{
    fields::{self, Given, Values},
    response_url::ResponseUrl,
};
use crate::slack::ids::{
    AppId, ChannelId, EnterpriseId, MessageTs, TeamId, TriggerId, UserId, ViewId,
};

/// Who pressed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Person {
    /// Their id; names change and are left out here.
    pub id: UserId,
    /// The workspace that they belong to, which in a shared channel is not ours.
    #[serde(default, rename = "team_id", deserialize_with = "fields::optional")]
    pub team: Option<TeamId>,
}

/// `{"id": …}` of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Team {
    /// Its id.
    pub id: TeamId,
}

/// `{"id": …}` of an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Enterprise {
    /// Its id.
    pub id: EnterpriseId,
}

/// `{"id": …}` of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Channel {
    /// Its id.
    pub id: ChannelId,
}

/// Where an element was used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Container {
    /// `message`, `message_attachment`, `view`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// The message.
    #[serde(default, rename = "message_ts", deserialize_with = "fields::optional")]
    pub message: Option<MessageTs>,
    /// The message's channel.
    #[serde(default, rename = "channel_id", deserialize_with = "fields::optional")]
    pub channel: Option<ChannelId>,
    /// The thread that the message is in.
    #[serde(default, rename = "thread_ts", deserialize_with = "fields::optional")]
    pub thread: Option<MessageTs>,
    /// Only one person sees the message; only its response URL can change it.
    #[serde(default, deserialize_with = "fields::flag")]
    pub is_ephemeral: bool,
    /// The modal.
    #[serde(default, rename = "view_id", deserialize_with = "fields::optional")]
    pub view: Option<ViewId>,
}

/// One press or choice.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Action {
    /// Which element, by our name for it.
    #[serde(rename = "action_id")]
    pub action: String,
    /// Which block, by our name for it, or Slack's.
    #[serde(default, rename = "block_id", deserialize_with = "fields::or_default")]
    pub block: String,
    /// What came back.
    #[serde(flatten)]
    pub given: Given,
    /// When.
    #[serde(default, deserialize_with = "fields::optional")]
    pub action_ts: Option<MessageTs>,
}

/// A message as far as it matters to an interaction.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Origin {
    /// The message.
    pub ts: MessageTs,
    /// The thread that it is in.
    #[serde(default, rename = "thread_ts", deserialize_with = "fields::optional")]
    pub thread: Option<MessageTs>,
    /// Its words. Untrusted text.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub text: String,
}

/// A modal as it comes back.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OpenView {
    /// Its id.
    pub id: ViewId,
    /// Which modal, by our name for it.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub callback_id: String,
    /// What we put in. Nothing proves that it is what we put in.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub private_metadata: String,
    /// What its fields hold.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub state: Values,
    /// Changes with every update; sent along, an update of what has changed meanwhile is refused.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub hash: String,
    /// The first modal of the stack.
    #[serde(
        default,
        rename = "root_view_id",
        deserialize_with = "fields::optional"
    )]
    pub root: Option<ViewId>,
    /// The modal below this one.
    #[serde(
        default,
        rename = "previous_view_id",
        deserialize_with = "fields::optional"
    )]
    pub previous: Option<ViewId>,
    /// Our own id for it.
    #[serde(default, deserialize_with = "fields::optional")]
    pub external_id: Option<String>,
    /// Where the app is installed.
    #[serde(
        default,
        rename = "app_installed_team_id",
        deserialize_with = "fields::optional"
    )]
    pub installed: Option<TeamId>,
}

macro_rules! interaction {
    ($(#[$documentation:meta])* $name:ident { $($(#[$field:meta])* $member:ident : $type:ty,)* }) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, PartialEq, Deserialize)]
        pub struct $name {
            /// Who did it.
            pub user: Person,
            /// The workspace; null where the app is installed for an organisation.
            #[serde(default, rename = "team")]
            pub(super) workspace: Option<Team>,
            /// The organisation.
            #[serde(default)]
            pub(super) enterprise: Option<Enterprise>,
            /// The app.
            #[serde(default, rename = "api_app_id", deserialize_with = "fields::optional")]
            pub(super) app: Option<AppId>,
            $($(#[$field])* pub $member: $type,)*
        }

        impl $name {
            /// The workspace: where it happened, else the person's own.
            pub fn team(&self) -> Option<&TeamId> {
                let workspace = self.workspace.as_ref().map(|team| &team.id);
                workspace.or(self.user.team.as_ref())
            }
        }
    };
}

interaction!(
    /// Elements were used, in a message or a modal.
    BlockActions {
        /// The right to open a modal.
        #[serde(default, rename = "trigger_id", deserialize_with = "fields::optional")]
        trigger: Option<TriggerId>,
        /// Where.
        #[serde(default, deserialize_with = "fields::or_default")]
        container: Container,
        /// The channel; use [`BlockActions::place`].
        #[serde(default)]
        channel: Option<Channel>,
        /// The message; null where Slack no longer has it, as with ephemeral ones.
        #[serde(default)]
        message: Option<Origin>,
        /// The modal.
        #[serde(default)]
        view: Option<OpenView>,
        /// What the fields of the message hold; a modal's are in its view.
        #[serde(default)]
        state: Option<Values>,
        /// Where answers go that change or replace the message. Messages only.
        #[serde(default, deserialize_with = "fields::optional")]
        response_url: Option<ResponseUrl>,
        /// What was used: one, as a rule.
        actions: Vec<Action>,
    }
);

impl BlockActions {
    /// The channel it happened in, if it was not in a modal.
    pub fn place(&self) -> Option<&ChannelId> {
        let channel = self.channel.as_ref().map(|channel| &channel.id);
        channel.or(self.container.channel.as_ref())
    }
}

interaction!(
    /// A modal was submitted.
    ViewSubmission {
        /// The right to open a modal.
        #[serde(default, rename = "trigger_id", deserialize_with = "fields::optional")]
        trigger: Option<TriggerId>,
        /// The modal and what was filled in.
        view: OpenView,
    }
);

interaction!(
    /// A modal was closed unsubmitted.
    ViewClosed {
        /// The modal.
        view: OpenView,
        /// The whole stack was closed.
        #[serde(default, deserialize_with = "fields::flag")]
        is_cleared: bool,
    }
);

interaction!(
    /// A menu asks for its choices. To be answered from memory: there is no time, and no second try.
    BlockSuggestion {
        /// What is typed so far. Untrusted text.
        #[serde(default, deserialize_with = "fields::or_default")]
        value: String,
        /// Which menu, by our name for it.
        action_id: String,
        /// Which block, by our name for it.
        #[serde(default, deserialize_with = "fields::or_default")]
        block_id: String,
        /// The modal around it, with what is filled in so far.
        #[serde(default)]
        view: Option<OpenView>,
    }
);

interaction!(
    /// A shortcut.
    Shortcut {
        /// Which, by our name for it.
        callback_id: String,
        /// The right to open a modal.
        #[serde(rename = "trigger_id")]
        trigger: TriggerId,
        /// On a message: its channel.
        #[serde(default)]
        channel: Option<Channel>,
        /// On a message: that.
        #[serde(default)]
        message: Option<Origin>,
        /// On a message: where answers go.
        #[serde(default, deserialize_with = "fields::optional")]
        response_url: Option<ResponseUrl>,
    }
);
