//! What a message is made of: the part of Block Kit that we use. Touches nothing.
//!
//! Constructors keep Slack's limits by cutting between atoms of markup, so a message is never refused for its length;
//! [`Block::sections`] spreads a long text instead.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    elements::{Element, Key},
    text::{self, Mrkdwn, MrkdwnObject, Plain},
};

const MOST_SECTION: usize = 3000;
const MOST_FIELD: usize = 2000;
const MOST_FIELDS: usize = 10;
const MOST_HEADER: usize = 150;
const MOST_CONTEXT: usize = 10;
const MOST_ACTIONS: usize = 25;
const MOST_INPUT_LABEL: usize = 2000;
/// The most characters of one foreign text in a rich text block.
const MOST_RICH: usize = 3000;
/// The most blocks of a message.
pub const MOST_IN_MESSAGE: usize = 50;
/// `chat.update` refuses a text of more than 4000 characters, and counts escapes in a way that isn't said.
pub const MOST_TEXT: usize = 3500;

/// A block.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "each holds the type of its name")]
pub enum Block {
    Section(Section),
    Header(Header),
    Context(Context),
    Actions(Actions),
    Divider {},
    RichText(RichText),
    Input(Input),
}

impl Block {
    /// A text of up to 3000 characters, cut.
    pub fn section(text: Mrkdwn) -> Self {
        Section::new(text).into()
    }

    /// As many sections as the text needs.
    pub fn sections(text: &Mrkdwn) -> Vec<Self> {
        let pieces = text.pieces(MOST_SECTION);
        pieces.into_iter().map(Self::section).collect()
    }

    /// A title of up to 150 characters, cut.
    pub fn header(text: impl Into<Plain>) -> Self {
        Self::Header(Header {
            text: text.into().cut(MOST_HEADER),
        })
    }

    /// Small print: the first ten texts.
    pub fn context(texts: impl IntoIterator<Item = Mrkdwn>) -> Self {
        let texts = texts.into_iter().take(MOST_CONTEXT);
        Self::Context(Context {
            elements: texts
                .map(|text| MrkdwnObject(text.cut(MOST_FIELD)))
                .collect(),
        })
    }

    /// Buttons and menus: the first 25. Slack refuses a block without any.
    pub fn actions(elements: impl IntoIterator<Item = Element>) -> Self {
        Actions::new(elements).into()
    }

    /// A line.
    pub fn divider() -> Self {
        Self::Divider {}
    }
}

/// A text, pairs, and one element beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Section {
    #[serde(skip_serializing_if = "Option::is_none")]
    block_id: Option<Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<MrkdwnObject>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<MrkdwnObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accessory: Option<Box<Element>>,
}

impl Section {
    /// A text of up to 3000 characters, cut.
    pub fn new(text: Mrkdwn) -> Self {
        Self {
            text: Some(MrkdwnObject(text.cut(MOST_SECTION))),
            ..Self::default()
        }
    }

    /// Pairs without a text: the first ten, each of up to 2000 characters. Slack refuses a section without any.
    pub fn of_fields(fields: impl IntoIterator<Item = Mrkdwn>) -> Self {
        Self::default().fields(fields)
    }

    /// The first ten, each of up to 2000 characters.
    #[must_use]
    pub fn fields(mut self, fields: impl IntoIterator<Item = Mrkdwn>) -> Self {
        let fields = fields.into_iter().filter(|field| !field.is_empty());
        self.fields = fields
            .take(MOST_FIELDS)
            .map(|field| MrkdwnObject(field.cut(MOST_FIELD)))
            .collect();
        self
    }

    /// One element beside the text.
    #[must_use]
    pub fn accessory(mut self, element: impl Into<Element>) -> Self {
        self.accessory = Some(Box::new(element.into()));
        self
    }

    /// By which a press tells where it came from.
    #[must_use]
    pub fn id(mut self, id: impl Into<Key>) -> Self {
        self.block_id = Some(id.into());
        self
    }
}

/// A title.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Header {
    text: Plain,
}

/// Small print.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Context {
    elements: Vec<MrkdwnObject>,
}

/// Buttons and menus in a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Actions {
    #[serde(skip_serializing_if = "Option::is_none")]
    block_id: Option<Key>,
    elements: Vec<Element>,
}

impl Actions {
    /// The first 25.
    pub fn new(elements: impl IntoIterator<Item = Element>) -> Self {
        Self {
            block_id: None,
            elements: elements.into_iter().take(MOST_ACTIONS).collect(),
        }
    }

    /// By which a press tells where it came from.
    #[must_use]
    pub fn id(mut self, id: impl Into<Key>) -> Self {
        self.block_id = Some(id.into());
        self
    }
}

/// Text that Slack doesn't parse at all: the place for free text that a person or a program wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RichText {
    elements: Vec<Rich>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
enum Rich {
    #[serde(rename = "rich_text_section")]
    Line { elements: Vec<RichElement> },
    #[serde(rename = "rich_text_preformatted")]
    Preformatted { elements: Vec<RichElement> },
    #[serde(rename = "rich_text_quote")]
    Quote { elements: Vec<RichElement> },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum RichElement {
    Text {
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        style: Option<BTreeMap<&'static str, bool>>,
    },
}

impl RichElement {
    fn plain(text: String) -> Vec<Self> {
        vec![Self::Text { text, style: None }]
    }
}

impl RichText {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A line of it.
    #[must_use]
    pub fn line(mut self, text: &str) -> Self {
        let elements = RichElement::plain(Plain::new(text).cut(MOST_RICH).as_str().to_owned());
        self.elements.push(Rich::Line { elements });
        self
    }

    /// A sentence of ours, in which what stands between backquotes is a name or a command: it is shown as code. Only the looks
    /// of it can come out wrong where somebody's words hold backquotes.
    #[must_use]
    pub fn sentence(mut self, text: &str) -> Self {
        let plain = Plain::new(text).cut(MOST_RICH);
        let parts: Vec<&str> = plain.as_str().split('`').collect();
        if parts.len().is_multiple_of(2) || parts.iter().all(|part| part.is_empty()) {
            return self.line(text);
        }
        let parts = parts.into_iter().enumerate();
        let elements = parts
            .filter(|(_, part)| !part.is_empty())
            .map(|(index, part)| RichElement::Text {
                text: part.to_owned(),
                style: (index % 2 == 1).then(|| BTreeMap::from([("code", true)])),
            });
        let elements = elements.collect();
        self.elements.push(Rich::Line { elements });
        self
    }

    /// A bold line.
    #[must_use]
    pub fn bold(mut self, text: &str) -> Self {
        let elements = vec![RichElement::Text {
            text: Plain::new(text).cut(MOST_RICH).as_str().to_owned(),
            style: Some(BTreeMap::from([("bold", true)])),
        }];
        self.elements.push(Rich::Line { elements });
        self
    }

    /// Lines of a log or a manifest.
    #[must_use]
    pub fn preformatted(mut self, text: &str) -> Self {
        let elements = RichElement::plain(lines(text));
        self.elements.push(Rich::Preformatted { elements });
        self
    }

    /// What somebody said.
    #[must_use]
    pub fn quote(mut self, text: &str) -> Self {
        let elements = RichElement::plain(lines(text));
        self.elements.push(Rich::Quote { elements });
        self
    }
}

/// Several lines, never empty: Slack refuses an empty text.
fn lines(text: &str) -> String {
    let lines = text::clean_lines(text, MOST_RICH);
    if lines.trim().is_empty() {
        return Plain::new("").as_str().to_owned();
    }
    lines
}

/// A field of a modal with its label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Input {
    block_id: Key,
    label: Plain,
    element: Box<Element>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<Plain>,
    optional: bool,
    dispatch_action: bool,
}

impl Input {
    /// A field that must be filled in. `block` is the key under which its value, and an error about it, is found.
    pub fn new(
        block: impl Into<Key>,
        label: impl Into<Plain>,
        element: impl Into<Element>,
    ) -> Self {
        Self {
            block_id: block.into(),
            label: label.into().cut(MOST_INPUT_LABEL),
            element: Box::new(element.into()),
            hint: None,
            optional: false,
            dispatch_action: false,
        }
    }

    /// May stay empty.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Slack tells us of each change at once.
    #[must_use]
    pub fn dispatching(mut self) -> Self {
        self.dispatch_action = true;
        self
    }

    /// A line below the field.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Plain>) -> Self {
        self.hint = Some(hint.into().cut(MOST_INPUT_LABEL));
        self
    }
}

macro_rules! into_block {
    ($($name:ident),*) => {
        $(impl From<$name> for Block {
            fn from(block: $name) -> Self {
                Self::$name(block)
            }
        })*
    };
}

into_block!(Section, Header, Context, Actions, RichText, Input);

/// A message: the sentence that phones and screen readers get, and the blocks that others see.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    text: Mrkdwn,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocks: Vec<Block>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
}

impl Message {
    /// `text` must stand alone, and so must the first block: some notifications show only one of them. The text is cut
    /// to [`MOST_TEXT`] characters; of more than [`MOST_IN_MESSAGE`] blocks the first ones and the last one are kept
    /// (the last one is often the buttons).
    pub fn new(text: Mrkdwn, blocks: impl IntoIterator<Item = Block>) -> Self {
        let mut blocks: Vec<Block> = blocks.into_iter().collect();
        if blocks.len() > MOST_IN_MESSAGE {
            blocks.drain(MOST_IN_MESSAGE - 1..blocks.len() - 1);
        }
        Self {
            text: text.cut(MOST_TEXT),
            blocks,
            metadata: None,
        }
    }

    /// A message without blocks.
    pub fn plain(text: Mrkdwn) -> Self {
        Self::new(text, [])
    }

    /// What lets us find the message again. Every app and member of the workspace can read it: correlation ids only.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// The same message without blocks: what is left to try when Slack refuses them. A final state is never dropped.
    #[must_use]
    pub fn without_blocks(&self) -> Self {
        Self {
            blocks: Vec::new(),
            ..self.clone()
        }
    }

    /// The sentence.
    pub fn text(&self) -> &Mrkdwn {
        &self.text
    }

    /// The blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }
}

/// A mark on a message that apps can read and people don't see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metadata {
    event_type: &'static str,
    event_payload: BTreeMap<&'static str, String>,
}

impl Metadata {
    /// A mark of this type with flat fields.
    pub fn new(
        event_type: &'static str,
        fields: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        Self {
            event_type,
            event_payload: fields.into_iter().collect(),
        }
    }
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
