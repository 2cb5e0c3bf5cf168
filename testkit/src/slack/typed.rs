//! What people type, as Slack passes it on: mentions and links in angle brackets, rich text for messages. Touches nothing.

use serde_json::{Value, json};

use super::world::World;

/// The endings at which Slack takes a bare name for an address; a few of the many.
const ENDINGS: &[&str] = &["com", "org", "net", "io", "dev"];

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    User(String, String),
    Channel(String, String),
    Group(String, String),
    Broadcast(String),
    Link(String, Option<String>),
    Code(String),
    Fence(Vec<Piece>),
}

/// A text that was typed, taken apart.
#[derive(Debug)]
pub(super) struct Typed(Vec<Piece>);

impl Typed {
    pub(super) fn read(world: &World, text: &str) -> Self {
        let mut pieces = Vec::new();
        for (index, part) in text.split("```").enumerate() {
            let closed = text.matches("```").count() > index;
            if index % 2 == 1 && closed {
                let inside = part.strip_prefix('\n').unwrap_or(part);
                let inside = inside.strip_suffix('\n').unwrap_or(inside);
                pieces.push(Piece::Fence(links_only(inside)));
            } else if index % 2 == 1 {
                push_text(&mut pieces, "```");
                inline(world, part, &mut pieces);
            } else {
                inline(world, part, &mut pieces);
            }
        }
        Self(pieces)
    }

    /// The `text` of a message.
    pub(super) fn message_text(&self) -> String {
        self.0.iter().map(message_form).collect()
    }

    /// The `text` of a command that escapes.
    pub(super) fn command_text(&self) -> String {
        let form = |piece: &Piece| match piece {
            Piece::User(id, name) => format!("<@{id}|{name}>"),
            Piece::Channel(id, name) => format!("<#{id}|{name}>"),
            Piece::Group(id, handle) => format!("<!subteam^{id}|@{handle}>"),
            piece => message_form(piece),
        };
        self.0.iter().map(form).collect()
    }

    /// The `blocks` of a message.
    pub(super) fn rich_text(&self) -> Value {
        let mut elements: Vec<Value> = Vec::new();
        let mut section: Vec<Value> = Vec::new();
        for piece in &self.0 {
            if let Piece::Fence(inside) = piece {
                if !section.is_empty() {
                    let inner = std::mem::take(&mut section);
                    elements.push(json!({"type": "rich_text_section", "elements": inner}));
                }
                let inner: Vec<Value> = inside.iter().map(element).collect();
                elements.push(json!({
                    "type": "rich_text_preformatted", "border": 0, "elements": inner,
                }));
            } else {
                section.push(element(piece));
            }
        }
        if !section.is_empty() {
            elements.push(json!({"type": "rich_text_section", "elements": section}));
        }
        json!([{"type": "rich_text", "elements": elements}])
    }
}

/// `&`, `<` and `>` as entities.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn message_form(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => escape(text),
        Piece::User(id, _) => format!("<@{id}>"),
        Piece::Channel(id, name) => format!("<#{id}|{name}>"),
        Piece::Group(id, _) => format!("<!subteam^{id}>"),
        Piece::Broadcast(word) => format!("<!{word}>"),
        Piece::Link(url, None) => format!("<{}>", escape(url)),
        Piece::Link(url, Some(label)) => format!("<{}|{}>", escape(url), escape(label)),
        Piece::Code(text) => format!("`{}`", escape(text)),
        Piece::Fence(inside) => {
            let inside: String = inside.iter().map(message_form).collect();
            format!("```{inside}```")
        }
    }
}

fn element(piece: &Piece) -> Value {
    match piece {
        Piece::Text(text) => json!({"type": "text", "text": text}),
        Piece::User(id, _) => json!({"type": "user", "user_id": id}),
        Piece::Channel(id, _) => json!({"type": "channel", "channel_id": id}),
        Piece::Group(id, _) => json!({"type": "usergroup", "usergroup_id": id}),
        Piece::Broadcast(word) => json!({"type": "broadcast", "range": word}),
        Piece::Link(url, None) => json!({"type": "link", "url": url}),
        Piece::Link(url, Some(label)) => json!({"type": "link", "url": url, "text": label}),
        Piece::Code(text) => json!({"type": "text", "text": text, "style": {"code": true}}),
        Piece::Fence(_) => Value::Null,
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if text.is_empty() {
        return;
    }
    if let Some(Piece::Text(last)) = pieces.last_mut() {
        last.push_str(text);
    } else {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Text with inline code, mentions and links.
fn inline(world: &World, text: &str, pieces: &mut Vec<Piece>) {
    let parts: Vec<&str> = text.split('`').collect();
    let last = parts.len() - 1;
    for (index, part) in parts.iter().enumerate() {
        if index % 2 == 1 && index < last && !part.is_empty() {
            pieces.push(Piece::Code((*part).to_owned()));
            continue;
        }
        if index % 2 == 1 {
            push_text(pieces, "`");
            if part.is_empty() && index < last {
                push_text(pieces, "`");
            }
        }
        words(part, pieces, |word| {
            named(world, word).or_else(|| address(word))
        });
    }
}

/// The inside of a fence: of everything else only addresses become links.
fn links_only(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let url = |word: &str| address(word).filter(|piece| matches!(piece, Piece::Link(_, None)));
    words(text, &mut pieces, url);
    pieces
}

/// Replaces words that mean something, and keeps everything between them.
fn words(text: &str, pieces: &mut Vec<Piece>, meaning: impl Fn(&str) -> Option<Piece>) {
    let boundary = |symbol: char| symbol.is_whitespace() || "\"'(),;[]{}".contains(symbol);
    for word in text.split_inclusive(boundary) {
        let tail = word.chars().next_back().filter(|symbol| boundary(*symbol));
        let bare = tail.map_or(word, |tail| &word[..word.len() - tail.len_utf8()]);
        let core = bare.trim_end_matches(['.', ':', '!', '?']);
        let rest = &bare[core.len()..];
        match meaning(core) {
            Some(piece) => {
                pieces.push(piece);
                push_text(pieces, rest);
            }
            None => push_text(pieces, bare),
        }
        if let Some(tail) = tail {
            push_text(pieces, tail.encode_utf8(&mut [0; 4]));
        }
    }
}

/// A person, channel, group or everybody.
fn named(world: &World, typed: &str) -> Option<Piece> {
    if let Some(inside) = typed
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
    {
        // As somebody writes who knows the notation.
        return if let Some(id) = inside.strip_prefix('@') {
            let user = world.users.get(id)?;
            Some(Piece::User(user.id.clone(), user.name.clone()))
        } else {
            let channel = world.channels.get(inside.strip_prefix('#')?)?;
            Some(Piece::Channel(channel.id.clone(), channel.name.clone()))
        };
    }
    if let Some(name) = typed.strip_prefix('@').filter(|name| !name.is_empty()) {
        if ["here", "channel", "everyone"].contains(&name) {
            return Some(Piece::Broadcast(name.to_owned()));
        }
        if let Some(user) = world.users.values().find(|user| user.name == name) {
            return Some(Piece::User(user.id.clone(), user.name.clone()));
        }
        let group = world.groups.values().find(|group| group.handle == name)?;
        return Some(Piece::Group(group.id.clone(), group.handle.clone()));
    }
    let name = typed.strip_prefix('#').filter(|name| !name.is_empty())?;
    let channel = world
        .channels
        .values()
        .find(|channel| channel.name == name)?;
    Some(Piece::Channel(channel.id.clone(), channel.name.clone()))
}

/// An address, an e-mail address, or a name that looks like a host.
fn address(word: &str) -> Option<Piece> {
    for scheme in ["https://", "http://"] {
        if word
            .strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty())
        {
            return Some(Piece::Link(word.to_owned(), None));
        }
    }
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|symbol| symbol.is_ascii_alphanumeric() || ".-_".contains(symbol))
    };
    let host = |text: &str| {
        let ending = text.rsplit_once('.');
        plain(text) && ending.is_some_and(|(name, end)| !name.is_empty() && ENDINGS.contains(&end))
    };
    if let Some((name, domain)) = word.split_once('@') {
        let known = plain(name) && domain.contains('.') && plain(domain);
        return known.then(|| Piece::Link(format!("mailto:{word}"), Some(word.to_owned())));
    }
    let (start, _) = word.split_once('/').unwrap_or((word, ""));
    host(start).then(|| Piece::Link(format!("http://{word}"), Some(word.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Typed {
        Typed::read(&World::new(), text)
    }

    #[test]
    fn mentions_and_links_are_put_in_brackets_and_the_rest_is_escaped() {
        let world = World::new();
        let bob = &world.user("bob").unwrap().id;
        let text = typed("ask @bob, see https://ci.example/a?b=1&c=2 or a<b & mail x@y.example")
            .message_text();
        assert_eq!(
            text,
            format!(
                "ask <@{bob}>, see <https://ci.example/a?b=1&amp;c=2> or a&lt;b &amp; \
                 mail <mailto:x@y.example|x@y.example>"
            )
        );
    }

    #[test]
    fn a_command_carries_names_with_ids() {
        let world = World::new();
        let (bob, deploys) = (
            &world.user("bob").unwrap().id,
            &world.channel("deploys").unwrap().id,
        );
        let text = typed("lock prod for @bob in #deploys at shop.example.com").command_text();
        assert_eq!(
            text,
            format!(
                "lock prod for <@{bob}|bob> in <#{deploys}|deploys> at \
                 <http://shop.example.com|shop.example.com>"
            )
        );
    }

    #[test]
    fn a_fence_is_preformatted_and_keeps_what_is_in_it() {
        let typed = typed("deploy this ```\n{\"a\": \"<x>\"}\n``` please `now`");
        assert_eq!(
            typed.rich_text(),
            json!([{"type": "rich_text", "elements": [
                {"type": "rich_text_section", "elements": [{"type": "text", "text": "deploy this "}]},
                {"type": "rich_text_preformatted", "border": 0,
                 "elements": [{"type": "text", "text": "{\"a\": \"<x>\"}"}]},
                {"type": "rich_text_section", "elements": [
                    {"type": "text", "text": " please "},
                    {"type": "text", "text": "now", "style": {"code": true}},
                ]},
            ]}])
        );
        assert_eq!(
            typed.message_text(),
            "deploy this ```{\"a\": \"&lt;x&gt;\"}``` please `now`"
        );
    }

    #[test]
    fn versions_and_unclosed_fences_stay_text() {
        for text in [
            "v1.2.3 feature/x a@b",
            "an open ``` fence",
            "one ` tick",
            "@nobody #nowhere",
        ] {
            assert_eq!(typed(text).message_text(), text);
        }
    }
}
