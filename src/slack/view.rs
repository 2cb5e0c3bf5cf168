//! Modals. Touches nothing.

use serde::Serialize;

use super::{
    blocks::Block,
    elements::{Key, TooLong},
    text::Plain,
};

const MOST_TITLE: usize = 24;
const MOST_BLOCKS: usize = 100;
const MOST_METADATA: usize = 3000;

/// A modal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    r#type: &'static str,
    callback_id: Key,
    title: Plain,
    #[serde(skip_serializing_if = "Option::is_none")]
    submit: Option<Plain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<Plain>,
    blocks: Vec<Block>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_metadata: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<Key>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    notify_on_close: bool,
}

impl View {
    /// A modal with a title of up to 24 characters and the first 100 blocks. One with input blocks needs
    /// [`View::submit`].
    pub fn modal(
        callback: impl Into<Key>,
        title: impl Into<Plain>,
        blocks: impl IntoIterator<Item = Block>,
    ) -> Self {
        Self {
            r#type: "modal",
            callback_id: callback.into(),
            title: title.into().cut(MOST_TITLE),
            submit: None,
            close: None,
            blocks: blocks.into_iter().take(MOST_BLOCKS).collect(),
            private_metadata: None,
            external_id: None,
            notify_on_close: false,
        }
    }

    /// The label of the button that submits, at most 24 characters.
    #[must_use]
    pub fn submit(mut self, label: impl Into<Plain>) -> Self {
        self.submit = Some(label.into().cut(MOST_TITLE));
        self
    }

    /// The label of the button that closes, at most 24 characters.
    #[must_use]
    pub fn close(mut self, label: impl Into<Plain>) -> Self {
        self.close = Some(label.into().cut(MOST_TITLE));
        self
    }

    /// What comes back with a submission. The person can't see it, but nothing proves that it comes back unchanged.
    ///
    /// # Errors
    /// When it has more than 3000 characters.
    pub fn private_metadata(mut self, metadata: impl Into<String>) -> Result<Self, TooLong> {
        let metadata = metadata.into();
        TooLong::check("private metadata", &metadata, MOST_METADATA)?;
        self.private_metadata = Some(metadata);
        Ok(self)
    }

    /// Our own id for it, unique in the workspace: with it a view can be updated before Slack has told its id.
    #[must_use]
    pub fn external_id(mut self, id: impl Into<Key>) -> Self {
        self.external_id = Some(id.into());
        self
    }

    /// Slack tells us when it is closed unsubmitted.
    #[must_use]
    pub fn notify_on_close(mut self) -> Self {
        self.notify_on_close = true;
        self
    }
}
