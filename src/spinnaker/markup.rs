//! What people wrote as HTML for Deck, as plain text. Touches nothing.
//!
//! Not a sanitiser: what comes out is text, and whoever shows it escapes it as text. Links lose their addresses like
//! everything from Spinnaker does; Deck shows them.

use super::text::clean;
use crate::api::bounds;

/// Enough for what people write; more is not read.
const READ: usize = 8 * bounds::MESSAGE;
/// The longest thing between `<` and `>` that is taken for a tag, and between `&` and `;` for a character.
const TAG: usize = 1_024;
const CHARACTER: usize = 12;

/// Tags that begin a line.
const BLOCKS: [&str; 18] = [
    "br",
    "p",
    "div",
    "li",
    "ul",
    "ol",
    "tr",
    "table",
    "pre",
    "hr",
    "blockquote",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "section",
];
/// Tags whose content nobody reads.
const HIDDEN: [&str; 2] = ["script", "style"];

/// `html` without markup, its lines cleaned as [`clean`] does, cut to [`bounds::MESSAGE`].
pub(super) fn readable(html: &str) -> String {
    let html = html
        .char_indices()
        .nth(READ)
        .map_or(html, |(end, _)| &html[..end]);
    let plain = without_tags(html);
    let lines: Vec<String> = plain
        .lines()
        .map(|line| clean(&characters(line)))
        .filter(|line| !line.is_empty() && line != "-")
        .collect();
    bounds::cut(&lines.join("\n"), bounds::MESSAGE)
}

fn without_tags(html: &str) -> String {
    let mut plain = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        plain.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let Some((name, after)) = tag(rest) else {
            plain.push('<');
            rest = &rest[1..];
            continue;
        };
        rest = after;
        if name == "li" {
            plain.push_str("\n- ");
        } else if BLOCKS.contains(&name.trim_start_matches('/')) {
            plain.push('\n');
        } else if HIDDEN.contains(&name.as_str()) {
            rest = after_end_of(&name, rest);
        }
    }
    plain.push_str(rest);
    plain
}

/// The name of the tag that `text` begins with, with its `/` if it closes, and what follows the tag.
fn tag(text: &str) -> Option<(String, &str)> {
    let end = text.bytes().take(TAG).position(|byte| byte == b'>')?;
    let inner = &text[1..end];
    let (slash, inner) = match inner.strip_prefix('/') {
        Some(inner) => ("/", inner),
        None => ("", inner),
    };
    // `a < b > c` is no tag.
    if !inner.starts_with(|char: char| char.is_ascii_alphabetic()) {
        return None;
    }
    let name = inner
        .split(|char: char| !char.is_ascii_alphanumeric())
        .next()
        .unwrap_or_default();
    let name = format!("{slash}{}", name.to_ascii_lowercase());
    Some((name, &text[end + 1..]))
}

fn after_end_of<'a>(name: &str, text: &'a str) -> &'a str {
    let lower = text.to_ascii_lowercase();
    lower
        .find(&format!("</{name}"))
        .and_then(|start| text[start..].split_once('>'))
        .map_or("", |(_, after)| after)
}

/// Replaces `&amp;`, `&#8217;` and the like by what they stand for; once, so that `&amp;lt;` stays readable.
fn characters(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        plain.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.bytes().take(CHARACTER).position(|byte| byte == b';');
        match end.and_then(|end| Some((character(&rest[1..end])?, end))) {
            Some((char, end)) => {
                plain.push(char);
                rest = &rest[end + 1..];
            }
            None => {
                plain.push('&');
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn character(name: &str) -> Option<char> {
    let number = match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        },
        None => {
            return match name {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                "nbsp" => Some(' '),
                "ndash" | "mdash" => Some('–'),
                "hellip" => Some('…'),
                _ => None,
            };
        }
    };
    char::from_u32(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_becomes_lines_of_text() {
        for (html, text) in [
            ("ok?", "ok?"),
            ("a < b && c > d", "a < b && c > d"),
            (
                "<P>Look <b>here</b>.</P><p>Then there.</p>",
                "Look here.\nThen there.",
            ),
            ("one<br/>two<BR >three", "one\ntwo\nthree"),
            ("<ul><li>eu</li><li>us</li></ul>", "- eu\n- us"),
            ("x<script>alert('<b>')</script>y<style>p{}</style>z", "xyz"),
            ("x<script>never closed", "x"),
            ("x<!-- <b>no</b> -->y", "xy"),
            (
                "5 &lt; 6 &amp;&amp; 7&#8217;s &#x41; &bogus; &#xffffffff; &",
                "5 < 6 && 7’s A &bogus; &#xffffffff; &",
            ),
            ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
            (
                "<a href=\"https://grafana.internal/d/1\">the dashboard</a>",
                "the dashboard",
            ),
            ("see https://grafana.internal/d/1", "see [address removed]"),
            ("password=hunter2", "password=[removed]"),
            ("\u{202e}turned\u{1b}[31m", "turned"),
            ("<", "<"),
            ("", ""),
        ] {
            assert_eq!(readable(html), text, "{html}");
        }
        assert!(readable(&"<i>x</i> ".repeat(10_000)).chars().count() <= bounds::MESSAGE);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(html in "[<>/!a-z&;#x0-9ü\\- \n\"-]{0,400}") {
            prop_assert!(readable(&html).chars().count() <= bounds::MESSAGE);
        }
    }
}
