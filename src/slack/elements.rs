//! The parts of Block Kit that a person acts on: buttons, menus, fields. Touches nothing.
//!
//! Constructors keep Slack's limits: what a person reads is cut; what we must get back whole ([`Value`]) is refused when
//! it doesn't fit. Limits are those of <https://docs.slack.dev/reference/block-kit>.

use std::borrow::Cow;

use jiff::Timestamp;
use reqwest::Url;
use serde::Serialize;

use super::text::{Mrkdwn, MrkdwnObject, Plain};

const MOST_ID: usize = 255;
const MOST_BUTTON: usize = 75;
const MOST_URL: usize = 3000;
const MOST_OPTION: usize = 75;
const MOST_OPTIONS: usize = 100;
const MOST_PLACEHOLDER: usize = 150;
const MOST_OVERFLOW: usize = 5;
const MOST_CONFIRM_TITLE: usize = 100;
const MOST_CONFIRM_TEXT: usize = 300;
const MOST_CONFIRM_BUTTON: usize = 30;
/// The most characters that a [`PlainTextInput`] lets a person write.
pub const MOST_INPUT: u16 = 3000;

/// A value that is longer than Slack carries. Nothing was cut: half a value is worse than none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {what} has {length} characters; Slack carries {most}")]
pub struct TooLong {
    what: &'static str,
    length: usize,
    most: usize,
}

impl TooLong {
    /// The fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        "too-long"
    }

    pub(super) fn check(what: &'static str, text: &str, most: usize) -> Result<(), Self> {
        let length = text.chars().count();
        if length > most {
            return Err(Self { what, length, most });
        }
        Ok(())
    }
}

/// What comes back when an element is used: at most 2000 characters. Comes back from whoever pressed, so it proves
/// nothing by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Value(String);

impl Value {
    /// The most characters.
    pub const MOST: usize = 2000;

    /// Checks its length.
    ///
    /// # Errors
    /// When it has more than [`Value::MOST`] characters.
    pub fn new(value: impl Into<String>) -> Result<Self, TooLong> {
        let value = value.into();
        TooLong::check("value", &value, Self::MOST)?;
        Ok(Self(value))
    }

    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of an action or a block: our own words, cut to 255 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Key(Cow<'static, str>);

impl From<&'static str> for Key {
    fn from(key: &'static str) -> Self {
        Self(Cow::Borrowed(key))
    }
}

impl From<String> for Key {
    fn from(mut key: String) -> Self {
        if let Some((end, _)) = key.char_indices().nth(MOST_ID) {
            key.truncate(end);
        }
        Self(Cow::Owned(key))
    }
}

impl Key {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a person can act on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "each holds the type of its name")]
pub enum Element {
    Button(Button),
    StaticSelect(StaticSelect),
    ExternalSelect(ExternalSelect),
    Overflow(Overflow),
    PlainTextInput(PlainTextInput),
    #[serde(rename = "datetimepicker")]
    DateTimePicker(DateTimePicker),
}

/// How a button looks. At most one of each in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// What most people will want.
    Primary,
    /// What can't be taken back.
    Danger,
}

/// A button.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Button {
    text: Plain,
    action_id: Key,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    style: Option<Style>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm: Option<Confirm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accessibility_label: Option<String>,
}

impl Button {
    /// A button with a label of at most 75 characters.
    pub fn new(action: impl Into<Key>, label: impl Into<Plain>) -> Self {
        Self {
            text: label.into().cut(MOST_BUTTON),
            action_id: action.into(),
            value: None,
            url: None,
            style: None,
            confirm: None,
            accessibility_label: None,
        }
    }

    /// What comes back when it is pressed.
    #[must_use]
    pub fn value(mut self, value: Value) -> Self {
        self.value = Some(value);
        self
    }

    /// Where it leads. Only `https` and `http`, of at most 3000 characters; others are left out. Slack reports such a
    /// press too.
    #[must_use]
    pub fn url(mut self, url: &Url) -> Self {
        let fits = url.as_str().len() <= MOST_URL && matches!(url.scheme(), "https" | "http");
        self.url = fits.then(|| url.as_str().to_owned());
        self
    }

    /// How it looks.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = Some(style);
        self
    }

    /// Asks once more.
    #[must_use]
    pub fn confirm(mut self, confirm: Confirm) -> Self {
        self.confirm = Some(confirm);
        self
    }

    /// What a screen reader says, at most 75 characters: a button's label alone says little there.
    #[must_use]
    pub fn spoken(mut self, words: impl Into<Plain>) -> Self {
        self.accessibility_label = Some(words.into().cut(MOST_BUTTON).as_str().to_owned());
        self
    }
}

/// The question behind a button.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Confirm {
    title: Plain,
    text: MrkdwnObject,
    #[serde(rename = "confirm")]
    yes: Plain,
    #[serde(rename = "deny")]
    no: Plain,
    #[serde(skip_serializing_if = "Option::is_none")]
    style: Option<Style>,
}

impl Confirm {
    /// A question with two answers: title at most 100 characters, text 300, answers 30 each.
    pub fn new(
        title: impl Into<Plain>,
        text: Mrkdwn,
        yes: impl Into<Plain>,
        no: impl Into<Plain>,
    ) -> Self {
        Self {
            title: title.into().cut(MOST_CONFIRM_TITLE),
            text: MrkdwnObject(text.cut(MOST_CONFIRM_TEXT)),
            yes: yes.into().cut(MOST_CONFIRM_BUTTON),
            no: no.into().cut(MOST_CONFIRM_BUTTON),
            style: None,
        }
    }

    /// How the answer that confirms looks.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = Some(style);
        self
    }
}

/// One choice of a menu.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    text: Plain,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Plain>,
}

impl Choice {
    /// The most characters of a value. Some of Slack's own libraries say 150; all agree on this.
    pub const MOST_VALUE: usize = 75;

    /// A choice: the label is cut to 75 characters, the value comes back as it is.
    ///
    /// # Errors
    /// When the value is longer than [`Choice::MOST_VALUE`].
    pub fn new(label: impl Into<Plain>, value: impl Into<String>) -> Result<Self, TooLong> {
        let value = value.into();
        TooLong::check("value of a choice", &value, Self::MOST_VALUE)?;
        Ok(Self {
            text: label.into().cut(MOST_OPTION),
            value,
            description: None,
        })
    }

    /// A line below the label, at most 75 characters.
    #[must_use]
    pub fn description(mut self, description: impl Into<Plain>) -> Self {
        self.description = Some(description.into().cut(MOST_OPTION));
        self
    }

    /// What comes back.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// At most as many choices as Slack takes: 100 in a menu.
pub(super) fn bounded(choices: impl IntoIterator<Item = Choice>) -> Vec<Choice> {
    choices.into_iter().take(MOST_OPTIONS).collect()
}

/// A menu whose choices are known: the first 100 of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StaticSelect {
    action_id: Key,
    placeholder: Plain,
    options: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_option: Option<Choice>,
}

impl StaticSelect {
    /// A menu. Slack refuses one without choices.
    pub fn new(
        action: impl Into<Key>,
        placeholder: impl Into<Plain>,
        choices: impl IntoIterator<Item = Choice>,
    ) -> Self {
        Self {
            action_id: action.into(),
            placeholder: placeholder.into().cut(MOST_PLACEHOLDER),
            options: bounded(choices),
            initial_option: None,
        }
    }

    /// Chosen from the start, if it is one of the choices: Slack refuses another.
    #[must_use]
    pub fn initial(mut self, value: &str) -> Self {
        self.initial_option = self
            .options
            .iter()
            .find(|choice| choice.value == value)
            .cloned();
        self
    }
}

/// A menu whose choices Slack asks us for as the person types.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExternalSelect {
    action_id: Key,
    placeholder: Plain,
    /// Slack's default is 3, too long for short names.
    min_query_length: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_option: Option<Choice>,
}

impl ExternalSelect {
    /// A menu that asks from the first opening on.
    pub fn new(action: impl Into<Key>, placeholder: impl Into<Plain>) -> Self {
        Self {
            action_id: action.into(),
            placeholder: placeholder.into().cut(MOST_PLACEHOLDER),
            min_query_length: 0,
            initial_option: None,
        }
    }

    /// Asks only once so many characters are typed.
    #[must_use]
    pub fn min_query_length(mut self, characters: u8) -> Self {
        self.min_query_length = characters;
        self
    }

    /// Chosen from the start.
    #[must_use]
    pub fn initial(mut self, choice: Option<Choice>) -> Self {
        self.initial_option = choice;
        self
    }
}

/// The menu behind three dots: the first 5 choices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overflow {
    action_id: Key,
    options: Vec<Choice>,
}

impl Overflow {
    /// A menu. Slack refuses one without choices.
    pub fn new(action: impl Into<Key>, choices: impl IntoIterator<Item = Choice>) -> Self {
        Self {
            action_id: action.into(),
            options: choices.into_iter().take(MOST_OVERFLOW).collect(),
        }
    }
}

/// A field to write in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlainTextInput {
    action_id: Key,
    multiline: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    placeholder: Option<Plain>,
    max_length: u16,
}

impl PlainTextInput {
    /// A field of one line.
    pub fn new(action: impl Into<Key>) -> Self {
        Self {
            action_id: action.into(),
            multiline: false,
            initial_value: None,
            placeholder: None,
            max_length: MOST_INPUT,
        }
    }

    /// Several lines.
    #[must_use]
    pub fn multiline(mut self) -> Self {
        self.multiline = true;
        self
    }

    /// What stands in it from the start, verbatim: the person sends it back as it is.
    ///
    /// # Errors
    /// When it is longer than the field: cut, it would be sent back cut.
    pub fn initial(mut self, text: impl Into<String>) -> Result<Self, TooLong> {
        let text = text.into();
        TooLong::check("text of the field", &text, usize::from(self.max_length))?;
        self.initial_value = Some(text);
        Ok(self)
    }

    /// Shown while it is empty, at most 150 characters.
    #[must_use]
    pub fn placeholder(mut self, text: impl Into<Plain>) -> Self {
        self.placeholder = Some(text.into().cut(MOST_PLACEHOLDER));
        self
    }

    /// At most so many characters, between 1 and [`MOST_INPUT`]. To be said before [`PlainTextInput::initial`].
    #[must_use]
    pub fn max_length(mut self, characters: u16) -> Self {
        self.max_length = characters.clamp(1, MOST_INPUT);
        self
    }
}

/// A date and a time of day, by the clock of whoever chooses it. What comes back are seconds since 1970, as digits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DateTimePicker {
    action_id: Key,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_date_time: Option<i64>,
}

impl DateTimePicker {
    /// A field without a time.
    pub fn new(action: impl Into<Key>) -> Self {
        Self {
            action_id: action.into(),
            initial_date_time: None,
        }
    }

    /// What stands in it from the start, to the second. Slack takes ten digits: other times are left out.
    #[must_use]
    pub fn initial(mut self, at: Timestamp) -> Self {
        let seconds = at.as_second();
        self.initial_date_time = (1_000_000_000..10_000_000_000)
            .contains(&seconds)
            .then_some(seconds);
        self
    }
}

macro_rules! into_element {
    ($($name:ident),*) => {
        $(impl From<$name> for Element {
            fn from(element: $name) -> Self {
                Self::$name(element)
            }
        })*
    };
}

into_element!(
    Button,
    StaticSelect,
    ExternalSelect,
    Overflow,
    PlainTextInput,
    DateTimePicker
);
