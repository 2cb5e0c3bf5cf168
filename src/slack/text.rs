//! The only ways from text to Slack markup. Touches nothing.
//!
//! A [`Mrkdwn`] is made of atoms, each of them closed in itself: our own fixed markup, or foreign text inside something
//! that Slack does not parse. There is no way to put foreign text in bare, so none can mention a channel, forge a status
//! line, or show a link that leads elsewhere. Text is cut before it is escaped, and a [`Mrkdwn`] only between atoms.

use std::{
    fmt::{self, Write as _},
    iter::Sum,
    ops::{Add, AddAssign},
};

use jiff::Timestamp;
use reqwest::Url;
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::ids::{ChannelId, GroupId, UserId};

/// The most characters that [`Mrkdwn::code`] shows.
pub const MOST_CODE: usize = 200;
/// The most characters of a link's label.
pub const MOST_LABEL: usize = 100;
/// Slack takes no longer address.
const MOST_URL: usize = 2000;
/// What stands where there is nothing to show: Slack refuses empty texts.
const NOTHING: &str = "–";
const CUT: &str = "…";

/// Markup for Slack, safe by construction.
#[derive(Clone, Default, Eq)]
pub struct Mrkdwn {
    text: String,
    /// Where each atom ends, in bytes.
    ends: Vec<usize>,
}

impl Mrkdwn {
    /// Our own markup, taken as it is. Never for anything that is put together at run time.
    pub fn fixed(markup: &'static str) -> Self {
        Self::atom(markup.to_owned())
    }

    /// A name from Kubernetes: bold if it is a DNS label, else as code.
    pub fn name(name: &str) -> Self {
        if is_label(name) {
            Self::atom(format!("*{name}*"))
        } else {
            Self::code(name)
        }
    }

    /// Foreign text in a code span, on one line, of at most [`MOST_CODE`] characters.
    pub fn code(text: &str) -> Self {
        Self::code_within(text, MOST_CODE)
    }

    /// Foreign text in a code span, on one line, of at most `most` characters.
    pub fn code_within(text: &str, most: usize) -> Self {
        let clean = clean(text, most).replace('`', "'");
        let shown = if clean.is_empty() { NOTHING } else { &clean };
        Self::atom(format!("`{}`", escape(shown)))
    }

    /// Foreign text of several lines in a code block, of at most `most` characters; the last ones are dropped.
    pub fn code_block(text: &str, most: usize) -> Self {
        let clean = clean_lines(text, most).replace('`', "'");
        let shown = if clean.is_empty() { NOTHING } else { &clean };
        Self::atom(format!("```\n{}\n```", escape(shown)))
    }

    /// A link whose label can't pass for another address. An address that is neither `https` nor `http` becomes no link,
    /// only the label.
    pub fn link(url: &Url, label: &str) -> Self {
        let label = label_for(url, label);
        match address(url) {
            Some(address) => Self::atom(format!("<{address}|{}>", escape(&label))),
            None => Self::code_within(&label, MOST_LABEL),
        }
    }

    /// Mentions a person; they are notified where Slack notifies.
    pub fn user(user: &UserId) -> Self {
        Self::atom(format!("<@{user}>"))
    }

    /// Mentions the members of a user group.
    pub fn group(group: &GroupId) -> Self {
        Self::atom(format!("<!subteam^{group}>"))
    }

    /// Names a channel.
    pub fn channel(channel: &ChannelId) -> Self {
        Self::atom(format!("<#{channel}>"))
    }

    /// A moment, shown in each reader's own time zone.
    pub fn date(at: Timestamp) -> Self {
        let seconds = at.as_second();
        let utc = at.strftime("%Y-%m-%d %H:%M UTC");
        Self::atom(format!(
            "<!date^{seconds}^{{date_short_pretty}} {{time}}|{utc}>"
        ))
    }

    /// A number.
    pub fn number(number: impl TryInto<i128>) -> Self {
        match number.try_into() {
            Ok(number) => Self::atom(number.to_string()),
            Err(_) => Self::fixed(NOTHING),
        }
    }

    /// All of them, one after the other.
    pub fn concat(parts: impl IntoIterator<Item = Self>) -> Self {
        parts.into_iter().sum()
    }

    /// All of them with fixed markup between.
    pub fn join(parts: impl IntoIterator<Item = Self>, between: &'static str) -> Self {
        let mut joined = Self::default();
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 {
                joined += between;
            }
            joined += part;
        }
        joined
    }

    /// At most `most` characters: whole atoms, and a sign that something is missing.
    #[must_use]
    pub fn cut(self, most: usize) -> Self {
        if self.len() <= most {
            return self;
        }
        let mut kept = Self::default();
        for atom in self.atoms() {
            if kept.len() + atom.chars().count() + CUT.chars().count() > most {
                break;
            }
            kept.push(atom);
        }
        if most > 0 {
            kept += CUT;
        }
        kept
    }

    /// Pieces of at most `most` characters each, split between atoms. An atom longer than that is replaced by a sign
    /// that something is missing.
    pub fn pieces(&self, most: usize) -> Vec<Self> {
        let mut pieces = vec![Self::default()];
        for atom in self.atoms() {
            let length = atom.chars().count();
            let (atom, length) = if length > most {
                (CUT, 1)
            } else {
                (atom, length)
            };
            if let Some(last) = pieces.last_mut()
                && last.len() + length <= most
            {
                last.push(atom);
            } else {
                pieces.push(Self::atom(atom.to_owned()));
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    /// The markup.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its length in characters, escapes included.
    pub fn len(&self) -> usize {
        self.text.chars().count()
    }

    /// Whether there is nothing to show: Slack refuses such texts.
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    fn atom(text: String) -> Self {
        let ends = vec![text.len()];
        Self { text, ends }
    }

    fn push(&mut self, atom: &str) {
        self.text.push_str(atom);
        self.ends.push(self.text.len());
    }

    fn atoms(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .filter_map(|(start, end)| self.text.get(start..*end))
    }
}

impl AddAssign for Mrkdwn {
    fn add_assign(&mut self, other: Self) {
        let before = self.text.len();
        self.text.push_str(&other.text);
        self.ends.extend(other.ends.iter().map(|end| before + end));
    }
}

impl AddAssign<&'static str> for Mrkdwn {
    fn add_assign(&mut self, fixed: &'static str) {
        self.push(fixed);
    }
}

impl Add for Mrkdwn {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Add<&'static str> for Mrkdwn {
    type Output = Self;

    fn add(mut self, fixed: &'static str) -> Self {
        self += fixed;
        self
    }
}

impl Sum for Mrkdwn {
    fn sum<Parts: Iterator<Item = Self>>(parts: Parts) -> Self {
        parts.fold(Self::default(), Add::add)
    }
}

impl PartialEq for Mrkdwn {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Mrkdwn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(formatter)
    }
}

impl fmt::Display for Mrkdwn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// As a bare string, as the `text` of a message is; within blocks, [`MrkdwnObject`] wraps it.
impl Serialize for Mrkdwn {
    fn serialize<Into: Serializer>(&self, serializer: Into) -> Result<Into::Ok, Into::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// Markup as a text object. Slack turns nothing in it into links or mentions by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct MrkdwnObject(pub Mrkdwn);

impl Serialize for MrkdwnObject {
    fn serialize<Into: Serializer>(&self, serializer: Into) -> Result<Into::Ok, Into::Error> {
        let mut object = serializer.serialize_struct("MrkdwnObject", 3)?;
        object.serialize_field("type", "mrkdwn")?;
        object.serialize_field("text", &self.0)?;
        object.serialize_field("verbatim", &true)?;
        object.end()
    }
}

/// Text that Slack does not parse: on one line, without what doesn't show, never empty. Any text may become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain(String);

impl Plain {
    /// `text`, cleaned.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned()).cut(usize::MAX)
    }

    /// At most `most` characters of it.
    #[must_use]
    pub fn cut(self, most: usize) -> Self {
        let clean = clean(&self.0, most);
        Self(if clean.is_empty() {
            NOTHING.to_owned()
        } else {
            clean
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Plain {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Plain {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl Serialize for Plain {
    fn serialize<Into: Serializer>(&self, serializer: Into) -> Result<Into::Ok, Into::Error> {
        let mut object = serializer.serialize_struct("Plain", 3)?;
        object.serialize_field("type", "plain_text")?;
        object.serialize_field("text", &self.0)?;
        object.serialize_field("emoji", &false)?;
        object.end()
    }
}

/// `text` on one line, without control characters and what doesn't show or turns the writing direction, cut to `most`
/// characters. Not escaped: this alone makes no markup.
pub fn clean(text: &str, most: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(4 * most.min(4096)));
    let (mut count, mut gap) = (0, false);
    for char in text.chars() {
        if char.is_whitespace() {
            gap = count > 0;
            continue;
        }
        if !shows(char) {
            continue;
        }
        count += 1 + usize::from(gap);
        if count > most {
            return shortened(&clean, most);
        }
        if gap {
            clean.push(' ');
        }
        gap = false;
        clean.push(char);
    }
    clean
}

/// Like [`clean`], but lines stay lines, and spaces spaces.
pub fn clean_lines(text: &str, most: usize) -> String {
    let mut clean = String::new();
    let mut chars = text.trim_end().chars().peekable();
    let mut count = 0;
    while let Some(char) = chars.next() {
        let char = match char {
            '\r' if chars.peek() == Some(&'\n') => continue,
            '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
            _ if char.is_whitespace() => ' ',
            _ if shows(char) => char,
            _ => continue,
        };
        count += 1;
        if count > most {
            return shortened(&clean, most);
        }
        clean.push(char);
    }
    clean
}

/// `&`, `<` and `>` as Slack wants them, and nothing else.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A text that is too long by at least one character.
fn shortened(text: &str, most: usize) -> String {
    let Some(keep) = most.checked_sub(1) else {
        return String::new();
    };
    let kept: String = text.chars().take(keep).collect();
    format!("{}{CUT}", kept.trim_end())
}

/// Whether a character neither hides nor turns others. Joiners go too, at the cost of some composed emoji.
fn shows(char: char) -> bool {
    !(char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
            // Private use: nobody knows what a reader sees.
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}'))
}

fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The address as it may stand in a link.
fn address(url: &Url) -> Option<String> {
    if !matches!(url.scheme(), "https" | "http") {
        return None;
    }
    let mut url = url.clone();
    // `https://spinnaker.example@elsewhere.example` reads like the first.
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    let mut address = String::new();
    for char in url.as_str().chars() {
        match char {
            '|' | '<' | '>' | '`' | '\\' => write!(address, "%{:02X}", u32::from(char)).ok()?,
            '&' => address.push_str("&amp;"),
            _ => address.push(char),
        }
    }
    (address.len() <= MOST_URL).then_some(address)
}

/// A label without markup of its own, and the host instead of one that reads like an address.
fn label_for(url: &Url, label: &str) -> String {
    let clean = clean(label, MOST_LABEL);
    let host = url.host_str().unwrap_or(NOTHING);
    if clean.is_empty() || reads_like_an_address(&clean) {
        return clean_label(host);
    }
    clean_label(&clean)
}

/// Signs that Slack would parse become ones that look like them.
fn clean_label(label: &str) -> String {
    label
        .chars()
        .map(|char| match char {
            '*' => '∗',
            '_' => 'ˍ',
            '~' => '∼',
            '`' => '\'',
            ':' => '∶',
            '|' => '¦',
            _ => char,
        })
        .collect()
}

fn reads_like_an_address(label: &str) -> bool {
    let is_dot = |char| matches!(char, '.' | '。' | '．' | '｡' | '․');
    let word = |word: &str| {
        let host = word.split(['/', ':', '?', '#']).next().unwrap_or(word);
        let host = host.trim_matches(|char: char| !char.is_alphanumeric());
        let last = host.rsplit(is_dot).next().unwrap_or_default();
        host.contains(is_dot) && last.chars().count() > 1 && last.chars().all(char::is_alphabetic)
    };
    label.contains("//") || label.contains('@') || label.split(' ').any(word)
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
