//! What comes from Spinnaker, made fit for people: no secrets, no internal addresses, no control characters, bounded.
//! Touches nothing.
//!
//! A net, not a proof: a secret without a name or a shape passes. Nothing that is known to be secret may rely on it.

use crate::api::bounds;

/// What stands in a secret's place.
const SECRET: &str = "[removed]";
/// What stands in an address's place.
const ADDRESS: &str = "[address removed]";
/// Enough for any message; stack traces and bodies can be megabytes.
const READ: usize = 8 * bounds::MESSAGE;
/// The shortest run of characters that may be an encoded secret. AWS secret keys have 40.
const BLOB: usize = 40;
/// The rounds until a text no longer changes; two are the rule.
const ROUNDS: usize = 16;

/// `text` on one line, without secrets, URLs, IP addresses, ANSI sequences and control characters, cut to
/// [`bounds::MESSAGE`]. Cleaning a clean text changes nothing.
pub fn clean(text: &str) -> String {
    let mut clean = words(&plain(&beginning(text)));
    for _ in 0..ROUNDS {
        let again = bounds::cut(&words(&clean), bounds::MESSAGE);
        if again == clean {
            break;
        }
        clean = again;
    }
    clean
}

/// As much as is looked at, without a word that the cut may have torn.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(READ) {
        None => text.to_owned(),
        Some((end, _)) => {
            let start = &text[..end];
            let whole = start
                .rfind(char::is_whitespace)
                .map_or(start, |space| &start[..space]);
            format!("{whole} …")
        }
    }
}

/// Without ANSI sequences and characters that don't show or that turn the writing direction.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => {}
            _ if char.is_whitespace() => plain.push(' '),
            _ if char.is_control() => {}
            _ => plain.push(char),
        }
    }
    plain
}

fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.peek() {
        // Parameters, then one final byte.
        Some('[') => {
            chars.next();
            while let Some(char) = chars.next_if(|char| matches!(char, ' '..='~')) {
                if matches!(char, '@'..='~') {
                    break;
                }
            }
        }
        // A title or a link, up to BEL or ESC \.
        Some(']') => {
            while let Some(char) = chars.next_if(|char| !matches!(char, '\n')) {
                if char == '\u{7}' {
                    break;
                }
                if char == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    break;
                }
            }
        }
        _ => {}
    }
}

/// What the word before says of the next one.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Anything,
    /// A name such as `token` came before: the next word tells whether a value follows.
    Separator,
    /// A name and a separator came before.
    Secret,
    /// `Bearer` came before: a token, or just English.
    Bearer,
}

fn words(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut next = Next::Anything;
    for word in text.split_whitespace() {
        if !clean.is_empty() {
            clean.push(' ');
        }
        let is_scheme = ["bearer", "basic"]
            .iter()
            .any(|scheme| word.eq_ignore_ascii_case(scheme));
        let is_separator = matches!(word, "=" | ":" | "=>");
        next = match next {
            // `Authorization: Bearer <token>`, `password = <password>`.
            Next::Secret if is_scheme || is_separator => {
                clean.push_str(word);
                Next::Secret
            }
            Next::Separator if is_separator => {
                clean.push_str(word);
                Next::Secret
            }
            Next::Secret => {
                clean.push_str(SECRET);
                Next::Anything
            }
            Next::Bearer if looks_drawn(word) => {
                clean.push_str(SECRET);
                Next::Anything
            }
            _ if is_scheme => {
                clean.push_str(word);
                Next::Bearer
            }
            _ => one_word(word, &mut clean),
        };
    }
    clean
}

fn one_word(word: &str, clean: &mut String) -> Next {
    if let Some(value) = value_of_secret(word) {
        parts(&word[..value], clean);
        if word[value..].chars().all(is_delimiter) {
            clean.push_str(&word[value..]);
            return Next::Secret;
        }
        clean.push_str(SECRET);
        return Next::Anything;
    }
    parts(word, clean);
    if is_secret_name(last_name(word)) {
        Next::Separator
    } else {
        Next::Anything
    }
}

/// Replaces what is an address or a credential by its looks.
fn parts(word: &str, clean: &mut String) {
    for part in word.split_inclusive(is_delimiter) {
        let bare = part.trim_end_matches(is_delimiter);
        if is_address(bare) {
            clean.push_str(ADDRESS);
        } else if is_credential(bare) {
            clean.push_str(SECRET);
        } else {
            clean.push_str(bare);
        }
        clean.push_str(&part[bare.len()..]);
    }
}

fn is_delimiter(char: char) -> bool {
    matches!(
        char,
        '"' | '\'' | '`' | '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | ',' | ';' | '|' | '…'
    )
}

const SECRET_NAMES: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "authorization",
    "credential",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "private_key",
];

fn is_secret_name(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|name| text.contains(name))
}

/// Where in `word` the value of a secret begins, as in `token=x`, `"password":"x"`, `--client-secret=x`.
fn value_of_secret(word: &str) -> Option<usize> {
    word.match_indices(['=', ':'])
        .find(|(index, _)| is_secret_name(last_name(&word[..*index])))
        .map(|(index, separator)| index + separator.len())
}

/// The name at the end of `text`, without the quotes around it.
fn last_name(text: &str) -> &str {
    text.trim_end_matches(['"', '\'', '\\'])
        .rsplit(|char: char| !(char.is_alphanumeric() || matches!(char, '_' | '-' | '.')))
        .next()
        .unwrap_or_default()
}

/// Whether `word` looks drawn by a machine rather than written by a person.
fn looks_drawn(word: &str) -> bool {
    word.len() >= 8 && word.chars().any(|char| !char.is_ascii_lowercase())
}

fn is_address(text: &str) -> bool {
    text.contains("://") || text.split(['/', '@', '=']).any(is_ip_address) || is_internal(text)
}

fn is_ip_address(text: &str) -> bool {
    let host = text.split(':').next().unwrap_or_default();
    let numbers = host.split('.').filter(|number| {
        (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    host.split('.').count() == 4 && numbers.count() == 4
}

/// Names that only a cluster or a private network resolves.
fn is_internal(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.split(['/', ':', '@', '=']).any(|part| {
        let part = part.trim_end_matches('.');
        [".svc", ".svc.cluster.local", ".internal", ".local"]
            .iter()
            .any(|end| part.len() > end.len() && part.ends_with(end))
    })
}

fn is_credential(text: &str) -> bool {
    let known = [
        "eyJ",
        "spk_",
        "ghp_",
        "gho_",
        "ghs_",
        "github_pat_",
        "glpat-",
        "xoxb-",
        "xoxp-",
        "xapp-",
        "hvs.",
    ]
    .iter()
    .any(|start| {
        text.match_indices(start)
            .any(|(index, _)| text.len() - index >= start.len() + 8)
    });
    known || text.split(|char| !is_blob_char(char)).any(is_blob) || has_aws_key(text)
}

fn is_blob_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '+' | '/' | '_' | '-' | '=')
}

/// Hexadecimal runs are digests and commits, lower-case ones names: neither is a secret.
fn is_blob(run: &str) -> bool {
    run.len() >= BLOB
        && run.bytes().any(|byte| byte.is_ascii_digit())
        && run.bytes().any(|byte| byte.is_ascii_lowercase())
        && run.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn has_aws_key(text: &str) -> bool {
    ["AKIA", "ASIA"].iter().any(|start| {
        text.match_indices(start).any(|(index, _)| {
            text[index + start.len()..]
                .bytes()
                .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
                .count()
                >= 16
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_go() {
        for (text, expected) in [
            (
                "Error submitting webhook to http://127.0.0.1:28999/nf with status code 404.",
                "Error submitting webhook to [address removed] with status code 404.",
            ),
            (
                "Failed to connect to orca.spinnaker/10.1.2.3:8083",
                "Failed to connect to [address removed]",
            ),
            (
                "see (https://u:p@x.example/y?z) or clouddriver.spinnaker.svc:7002",
                "see ([address removed]) or [address removed]",
            ),
        ] {
            assert_eq!(clean(text), expected);
        }
    }

    #[test]
    fn secrets_go() {
        for text in [
            "token=hush",
            "curl -H 'X-Token: hush'",
            "Authorization: Bearer hush",
            "authorization: Basic hush",
            "{\"password\":\"hush\"}",
            "\"password\": \"hush\"",
            "--client-secret=hush",
            "DB_PASSWORD = hush",
            "sent Bearer hush-1234567",
            "key AKIAHUSHHUSHHUSHHUSH used",
            "jwt eyJhbGciOiJIUzI1NiJ9.hush.x",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYhushhushhush",
            "spk_hushhushhush",
        ] {
            let clean = clean(text);
            assert!(!clean.to_lowercase().contains("hush"), "{clean}");
            assert!(clean.contains(SECRET), "{clean}");
        }
    }

    #[test]
    fn what_people_need_stays() {
        for text in [
            "one is not two",
            "image shop/checkout@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 not found",
            "commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
            "'deployment checkout-api' in 'prod' for account eu-1: waiting, 2 of 3 replicas (1.2.3)",
            "the execution 01M80G42DSXGH8GQ08EENHJ74D",
            "Grüße 🚀 · 語",
            "Bearer token is invalid",
        ] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn control_characters_and_colours_go() {
        assert_eq!(
            clean("\u{1b}[31mred\u{1b}[0m\r\n\tnext\u{0}\u{202e} \u{1b}]0;title\u{7}end"),
            "red next end"
        );
    }

    #[test]
    fn a_long_text_is_bounded_and_tears_no_secret() {
        let long = format!("{}token=hush", "a ".repeat(20_000));
        assert_eq!(clean(&long).chars().count(), bounds::MESSAGE);
        let torn = format!("{} wJalrXUtnFEMI", "\u{0}".repeat(READ - 5));
        assert!(!clean(&torn).contains("wJ"));
    }

    fn pieces() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop_oneof![
                any::<String>(),
                "[a-zA-Z0-9+/=_:.-]{0,60}",
                "[ -~]{0,20}",
                Just("token".to_owned()),
                Just("=".to_owned()),
                Just(": ".to_owned()),
                Just("Bearer ".to_owned()),
                Just("http://a.b/".to_owned()),
                Just("10.0.0.1".to_owned()),
                Just("\u{1b}[".to_owned()),
                Just(" ".to_owned()),
                Just("x ".repeat(700)),
            ],
            0..12,
        )
        .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_text_is_bounded_and_cleaning_it_again_changes_nothing(text in pieces()) {
            let once = clean(&text);
            prop_assert!(once.chars().count() <= bounds::MESSAGE);
            prop_assert!(!once.chars().any(char::is_control));
            prop_assert!(!once.contains("://"));
            prop_assert_eq!(clean(&once), once);
        }
    }
}
