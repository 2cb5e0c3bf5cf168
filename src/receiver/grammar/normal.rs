//! From what Slack sends to what was typed: entities, its forms of links and mentions, spaces. Touches nothing.

/// What a person typed, without what Slack and the keyboard made of it.
///
/// In one pass, so that nothing is unescaped twice: `&amp; &lt; &gt;` become signs; `<@U1|name>`, `<#C1|name>`,
/// `<http://x|x>` and the like become what the person saw; line ends become `\n`; whatever else is a space becomes one;
/// what comes along when text is copied and doesn't show goes. Curly quotes stay, since they matter only around a value.
pub(super) fn normalised(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '&'
            && let Some((sign, length)) = entity(rest)
        {
            found.push(sign);
            rest = &rest[length..];
        } else if first == '<'
            && let Some((shown, length)) = escape(rest)
        {
            // What is shown is text of a line, so it holds no line end; its own entities are undone here and not again.
            found.push_str(&shown);
            rest = &rest[length..];
        } else {
            match first {
                '\r' if rest[1..].starts_with('\n') => {}
                '\r' | '\u{85}' | '\u{b}' | '\u{c}' | '\u{2028}' | '\u{2029}' => found.push('\n'),
                '\n' | '\t' => found.push(first),
                _ if first.is_whitespace() => found.push(' '),
                _ if left_over(first) => {}
                _ => found.push(first),
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// Whether normalising changes a character where it stands alone, without regard to entities.
pub(super) fn changes(char: char) -> bool {
    left_over(char) || (char.is_whitespace() && !matches!(char, ' ' | '\n' | '\t'))
}

/// What was typed, as Slack sends it: the three signs as entities.
pub fn wire(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Characters that come along with copied text and mean nothing: zero-width spaces, marks of the byte order, soft hyphens.
fn left_over(char: char) -> bool {
    matches!(char, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
}

fn entity(text: &str) -> Option<(char, usize)> {
    [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')]
        .into_iter()
        .find(|(entity, _)| text.starts_with(entity))
        .map(|(entity, sign)| (sign, entity.len()))
}

/// What one of Slack's own forms in angle brackets shows, and how long the form is. Angle brackets that a person typed
/// come as entities, or, where the app asked for plain text, don't look like one of these.
fn escape(text: &str) -> Option<(String, usize)> {
    let end = text.find('>')?;
    let inner = text.get(1..end)?;
    if inner.is_empty() || inner.contains(['<', '\n', '\r']) {
        return None;
    }
    let (target, label) = match inner.split_once('|') {
        Some((target, label)) => (target, (!label.is_empty()).then_some(label)),
        None => (inner, None),
    };
    let sign = target.chars().next()?;
    let shown = match sign {
        '@' | '#' => {
            let name = label.unwrap_or(&target[1..]);
            format!("{sign}{}", name.trim_start_matches(sign))
        }
        '!' => match label {
            Some(label) => label.to_owned(),
            None => format!("@{}", &target[1..]),
        },
        _ if is_address(target) => match label {
            Some(label) => label.to_owned(),
            None => target.trim_start_matches("mailto:").to_owned(),
        },
        _ => return None,
    };
    Some((without_entities(&shown), end + 1))
}

fn is_address(target: &str) -> bool {
    let scheme = target.split(':').next().unwrap_or_default();
    let rest = &target[scheme.len()..];
    !scheme.is_empty()
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && (rest.starts_with("://") || (matches!(scheme, "mailto" | "tel") && rest.len() > 1))
}

fn without_entities(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((sign, length)) = entity(rest) {
            found.push(sign);
            rest = &rest[length..];
            continue;
        }
        if !left_over(first) {
            found.push(if first.is_whitespace() { ' ' } else { first });
        }
        rest = &rest[first.len_utf8()..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slack_made_of_a_line_is_undone_once() {
        for (sent, typed) in [
            ("a &amp;lt; b", "a &lt; b"),
            ("a &lt;b&gt; &amp; c", "a <b> & c"),
            ("&lt;http://x|y&gt;", "<http://x|y>"),
            ("owner=<@U1|alice>", "owner=@alice"),
            ("owner=<@U1>", "owner=@U1"),
            ("in <#C1|releases> now", "in #releases now"),
            ("in <#C1|>", "in #C1"),
            (
                "<http://checkout.example|checkout.example>",
                "checkout.example",
            ),
            (
                "<https://x.example/?a=1&amp;b=2>",
                "https://x.example/?a=1&b=2",
            ),
            ("<mailto:a@b.example|a@b.example>", "a@b.example"),
            ("<mailto:a@b.example>", "a@b.example"),
            ("<!here>", "@here"),
            ("<!subteam^S1|@leads>", "@leads"),
            ("a < b > c", "a < b > c"),
            ("<foo>", "<foo>"),
            ("<>", "<>"),
            ("<@U1", "<@U1"),
            ("a\u{a0}b\u{202f}c\u{3000}d", "a b c d"),
            ("a\u{200b}b\u{feff}", "ab"),
            ("a\r\nb\rc\u{2028}d", "a\nb\nc\nd"),
            ("“it’s”", "“it’s”"),
        ] {
            assert_eq!(normalised(sent), typed, "{sent}");
        }
    }

    #[test]
    fn what_was_typed_comes_back_from_what_is_sent() {
        for typed in ["<@U1|x>", "&amp;", "a&b<c>d", "<http://evil|main>"] {
            assert_eq!(normalised(&wire(typed)), typed);
        }
    }
}
