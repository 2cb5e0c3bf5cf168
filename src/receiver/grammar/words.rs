//! Splits what was typed into words, settings, a reason, and what is pasted behind. Touches nothing.

use super::{error::Problem, name::parameter_name};

/// The setting that says why. Written with a colon and without quotes, it takes the rest of its line.
pub(super) const REASON: &str = "reason";
/// The word that says why something passes what would hold it. Like the two below it takes a colon, and so is no
/// parameter's name; it takes the rest of its line as a reason does.
pub(super) const OVERRIDE: &str = "override:";
/// The word for the time before which nothing starts.
pub(super) const AT: &str = "at:";
/// The word for the time after which nothing starts.
pub(super) const BEFORE: &str = "before:";
const COLONED: [(&str, &str); 4] = [
    ("reason:", REASON),
    (OVERRIDE, OVERRIDE),
    (AT, AT),
    (BEFORE, BEFORE),
];
const FENCE: &str = "```";

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// As it stands: it may be a verb or a connective.
    Bare(String),
    /// In quotes: a value and nothing else.
    Quoted(String),
    /// `application@"a version in quotes"`.
    Versioned(String, String),
    /// `key=value`, or `reason: …`.
    Setting(String, String),
}

/// A line and what is pasted behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) words: Vec<Word>,
    /// JSON or YAML, as it stands.
    pub(super) payload: Option<String>,
    /// Whether that stands in a fence.
    pub(super) fenced: bool,
}

/// Splits `text`, which is normalised.
pub(super) fn split(text: &str) -> Result<Split, Problem> {
    let mut split = Split::default();
    let mut rest = text;
    let mut fresh_line = false;
    loop {
        let trimmed = rest.trim_start();
        fresh_line |= rest[..rest.len() - trimmed.len()].contains('\n');
        rest = trimmed;
        if rest.is_empty() {
            return Ok(split);
        }
        if let Some(fenced) = rest.strip_prefix(FENCE) {
            let (inside, behind) = fenced
                .split_once(FENCE)
                .ok_or_else(|| Problem::Unclosed(rest.to_owned()))?;
            if let Some(word) = behind.split_whitespace().next() {
                return Err(Problem::UnknownWord(word.to_owned()));
            }
            split.payload = Some(inside.to_owned());
            split.fenced = true;
            return Ok(split);
        }
        if rest.starts_with('{') || (fresh_line && !split.words.is_empty() && begins_yaml(rest)) {
            split.payload = Some(rest.to_owned());
            return Ok(split);
        }
        fresh_line = false;
        let (word, length) = word(rest)?;
        split.words.push(word);
        rest = &rest[length..];
    }
}

/// Whether a line reads like YAML's `key: value`. A reason, an override or a time on a line of its own is that.
fn begins_yaml(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default().trim_end();
    if line == "---" {
        return true;
    }
    let Some((key, rest)) = line.split_once(':') else {
        return false;
    };
    let key = key.trim_end().trim_matches(['"', '\'']);
    (rest.is_empty() || rest.starts_with(' '))
        && parameter_name(key).is_ok()
        && !key.eq_ignore_ascii_case(REASON)
        && coloned(line).is_none()
}

/// The word that `text` begins with, and its length in bytes.
fn word(text: &str) -> Result<(Word, usize), Problem> {
    if let Some((value, length)) = quoted(text)? {
        return Ok((Word::Quoted(value), length));
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let bare = &text[..end];
    if let Some((key, behind)) = key(bare) {
        let at = end - behind.len();
        if let Some((value, length)) = quoted(&text[at..])? {
            return Ok((Word::Setting(key, value), at + length));
        }
        if bare[..at].ends_with(':') {
            let mut line = text[at..].split('\n').next().unwrap_or_default();
            let behind = line.trim_start();
            let skipped = line.len() - behind.len();
            if key == AT || key == BEFORE {
                let end = behind.find(char::is_whitespace).unwrap_or(behind.len());
                line = &line[..skipped + end];
            }
            if let Some((value, length)) = quoted(behind)? {
                return Ok((Word::Setting(key, value), at + skipped + length));
            }
            return Ok((Word::Setting(key, line.trim().to_owned()), at + line.len()));
        }
        return Ok((Word::Setting(key, behind.to_owned()), end));
    }
    if let Some((name, behind)) = bare.split_once('@')
        && let Some((version, length)) = quoted(&text[end - behind.len()..])?
    {
        return Ok((
            Word::Versioned(name.to_owned(), version),
            end - behind.len() + length,
        ));
    }
    Ok((Word::Bare(bare.to_owned()), end))
}

/// `reason:` and the like, and what stands behind it.
pub(super) fn coloned(text: &str) -> Option<(&'static str, &str)> {
    COLONED.iter().find_map(|(word, key)| {
        let start = text.get(..word.len())?;
        let fits = start.eq_ignore_ascii_case(word);
        fits.then(|| (*key, &text[word.len()..]))
    })
}

/// `key=` or `reason:`, and what stands behind it.
fn key(bare: &str) -> Option<(String, &str)> {
    if let Some((key, behind)) = coloned(bare) {
        return Some((key.to_owned(), behind));
    }
    let (key, behind) = bare.split_once('=')?;
    let key = parameter_name(key).ok()?;
    Some(if key.eq_ignore_ascii_case(REASON) {
        (REASON.to_owned(), behind)
    } else {
        (key, behind)
    })
}

/// The value in quotes that `text` begins with, and the length of all of it in bytes.
///
/// Straight quotes end at the next one that no backslash precedes. Curly ones, of which a keyboard makes pairs by its own
/// mind, end at the first that closes a word.
fn quoted(text: &str) -> Result<Option<(String, usize)>, Problem> {
    let Some(open) = text.chars().next() else {
        return Ok(None);
    };
    let closes: &[char] = match open {
        '"' => &['"'],
        '\'' => &['\''],
        '`' => &['`'],
        '“' | '”' | '„' | '‟' | '«' => &['"', '“', '”', '‟', '»'],
        '‘' | '’' | '‚' | '‛' => &['\'', '‘', '’', '‛'],
        _ => return Ok(None),
    };
    let straight = matches!(open, '"' | '\'' | '`');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, char)) = characters.next() {
        let escaped = characters
            .peek()
            .map(|(_, next)| *next)
            .filter(|next| char == '\\' && (*next == '\\' || closes.contains(next)));
        if let Some(next) = escaped.filter(|_| straight) {
            value.push(next);
            characters.next();
            continue;
        }
        if !closes.contains(&char) {
            value.push(char);
            continue;
        }
        let behind = at + char.len_utf8();
        if text[behind..]
            .chars()
            .next()
            .is_none_or(char::is_whitespace)
        {
            return Ok(Some((value, behind)));
        }
        if straight {
            return Err(Problem::Glued(text[..behind].to_owned()));
        }
        value.push(char);
    }
    Err(Problem::Unclosed(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Word> {
        split(text).unwrap().words
    }

    fn bare(text: &str) -> Word {
        Word::Bare(text.to_owned())
    }

    fn setting(key: &str, value: &str) -> Word {
        Word::Setting(key.to_owned(), value.to_owned())
    }

    #[test]
    fn words_settings_and_quotes_are_told_apart() {
        assert_eq!(
            words("deploy checkout@v1.2\tto  staging"),
            [
                bare("deploy"),
                bare("checkout@v1.2"),
                bare("to"),
                bare("staging")
            ]
        );
        assert_eq!(
            words(r#"a=1 b="two words" c="a \"quote\" and \\" d="#),
            [
                setting("a", "1"),
                setting("b", "two words"),
                setting("c", r#"a "quote" and \"#),
                setting("d", "")
            ]
        );
        assert_eq!(
            words("“smart quotes” 'single' `code`"),
            [
                Word::Quoted("smart quotes".to_owned()),
                Word::Quoted("single".to_owned()),
                Word::Quoted("code".to_owned()),
            ]
        );
        assert_eq!(
            words("reason:“it’s “really” broken” x"),
            [
                setting("reason", "it’s “really"),
                bare("broken”"),
                bare("x"),
            ]
        );
        assert_eq!(
            words("reason:“it’s broken” x"),
            [setting("reason", "it’s broken"), bare("x")]
        );
        assert_eq!(
            words("checkout@\"a b\" it's"),
            [
                Word::Versioned("checkout".to_owned(), "a b".to_owned()),
                bare("it's"),
            ]
        );
        assert_eq!(
            words("feature/x=1"),
            [bare("feature/x=1")],
            "no parameter's name has a slash"
        );
    }

    #[test]
    fn an_unquoted_reason_takes_the_rest_of_its_line() {
        assert_eq!(
            words("a reason: to be or not=to be\nreplicas=3"),
            [
                bare("a"),
                setting("reason", "to be or not=to be"),
                setting("replicas", "3"),
            ]
        );
        assert_eq!(
            words("Reason:hotfix for INC-42"),
            [setting("reason", "hotfix for INC-42")]
        );
        assert_eq!(
            words("reason: \"a b\" c"),
            [setting("reason", "a b"), bare("c")]
        );
        assert_eq!(
            words("reason=hotfix c"),
            [setting("reason", "hotfix"), bare("c")]
        );
    }

    #[test]
    fn what_is_pasted_behind_is_left_as_it_stands() {
        let payload = |text| split(text).unwrap().payload;
        assert_eq!(payload("a {\"b\": 1} "), Some("{\"b\": 1} ".to_owned()));
        assert_eq!(
            payload("a ```yaml\nb: 1\n```\n"),
            Some("yaml\nb: 1\n".to_owned())
        );
        assert_eq!(payload("a\nb: 1\nc: 2"), Some("b: 1\nc: 2".to_owned()));
        assert_eq!(payload("a\nto staging\nb: 1"), Some("b: 1".to_owned()));
        assert_eq!(payload("a\nto staging reason: x"), None);
        assert_eq!(payload("a\nreason: x"), None);
    }

    #[test]
    fn unfinished_quotes_are_told() {
        for text in ["\"a", "a=\"b", "reason:“b", "a ```b: 1", "`", "'"] {
            assert!(matches!(split(text), Err(Problem::Unclosed(_))), "{text}");
        }
        assert!(matches!(split("\"a\"b"), Err(Problem::Glued(_))));
        assert!(matches!(split("``` ``` b"), Err(Problem::UnknownWord(_))));
    }
}
