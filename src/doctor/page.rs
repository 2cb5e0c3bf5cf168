//! What was found, and the page that says it: a line each, as text or as JSON. Touches nothing.
//!
//! Texts come from Gate, Vault, Slack and from whoever may write an object: each is put on one line, without characters that
//! don't show or that steer a terminal, and cut.

use std::fmt::Write;

use serde::Serialize;

use crate::api::bounds;

/// The longest text of a line's part, in code points.
const LONGEST: usize = 600;
/// The longest name or word within a sentence, in code points.
const SHORT: usize = 120;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it has to be.
    Ok,
    /// It works, and somebody should know.
    Warn,
    /// Something doesn't work, or isn't safe.
    Fail,
    /// It wasn't looked at: the sentence says why, and what it takes.
    Skip,
}

impl State {
    fn sign(self) -> &'static str {
        match self {
            Self::Ok => "✓ ok  ",
            Self::Warn => "! warn",
            Self::Fail => "✗ fail",
            Self::Skip => "- skip",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: a fixed word.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do, where there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
    /// It isn't known because nobody answered.
    #[serde(skip)]
    unanswered: bool,
}

impl Finding {
    /// It is as it has to be.
    pub fn ok(check: &'static str, found: &str) -> Self {
        Self::new(check, State::Ok, found, None)
    }

    /// It works, and somebody should do something.
    pub fn warn(check: &'static str, found: &str, todo: &str) -> Self {
        Self::new(check, State::Warn, found, Some(todo))
    }

    /// It doesn't work.
    pub fn fail(check: &'static str, found: &str, todo: &str) -> Self {
        Self::new(check, State::Fail, found, Some(todo))
    }

    /// It wasn't looked at.
    pub fn skip(check: &'static str, found: &str, todo: Option<&str>) -> Self {
        Self::new(check, State::Skip, found, todo)
    }

    /// Nobody answered.
    pub fn unanswered(check: &'static str, found: &str) -> Self {
        Self {
            unanswered: true,
            ..Self::new(check, State::Fail, found, None)
        }
    }

    fn new(check: &'static str, state: State, found: &str, todo: Option<&str>) -> Self {
        Self {
            check,
            state,
            found: line(found, LONGEST),
            todo: todo.map(|todo| line(todo, LONGEST)),
            unanswered: false,
        }
    }
}

/// All lines, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Page {
    /// How often each state was found.
    pub summary: Summary,
    /// The lines.
    pub findings: Vec<Finding>,
}

/// How often each state was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each counts the state of its name")]
pub struct Summary {
    pub ok: usize,
    pub warn: usize,
    pub fail: usize,
    pub skip: usize,
}

impl Page {
    /// Of these lines. Where the API server doesn't answer, that is one trouble, and not one of each line: the others then
    /// weren't looked at.
    pub fn of(mut findings: Vec<Finding>, api_server: &'static str) -> Self {
        let is_down = |finding: &Finding| finding.check == api_server && finding.unanswered;
        if findings.iter().any(is_down) {
            for finding in &mut findings {
                if finding.unanswered && finding.check != api_server {
                    finding.state = State::Skip;
                    "Not looked at, since the API server doesn't answer"
                        .clone_into(&mut finding.found);
                    finding.todo = None;
                }
            }
            findings.dedup();
        }
        let count = |state| {
            findings
                .iter()
                .filter(|finding| finding.state == state)
                .count()
        };
        let summary = Summary {
            ok: count(State::Ok),
            warn: count(State::Warn),
            fail: count(State::Fail),
            skip: count(State::Skip),
        };
        Self { summary, findings }
    }

    /// Whether anything fails.
    pub fn fails(&self) -> bool {
        self.summary.fail > 0
    }

    /// As text, a line each, and one that counts them.
    pub fn text(&self) -> String {
        let width = self
            .findings
            .iter()
            .map(|finding| finding.check.len())
            .max()
            .unwrap_or_default();
        let mut text = String::new();
        for Finding {
            check,
            state,
            found,
            todo,
            ..
        } in &self.findings
        {
            let found = found.trim_end_matches('.');
            let _ = write!(text, "{}  {check:width$}  {found}.", state.sign());
            if let Some(todo) = todo {
                let _ = write!(text, " To do: {}.", todo.trim_end_matches('.'));
            }
            text.push('\n');
        }
        let Summary {
            ok,
            warn,
            fail,
            skip,
        } = self.summary;
        let _ = writeln!(text, "{ok} ok, {warn} warn, {fail} fail, {skip} skip");
        text
    }
}

/// A name or a word of somebody else's within a sentence: short, on one line.
pub fn word(text: &str) -> String {
    line(text, SHORT)
}

/// A sentence of somebody else's within a line.
pub fn sentence(text: &str) -> String {
    line(text, LONGEST / 2)
}

/// A few of many, and how many more there are.
pub fn few(all: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = all.iter().take(SHOWN).map(|one| word(one)).collect();
    let more = all.len().saturating_sub(SHOWN);
    if more == 0 {
        shown.join(", ")
    } else {
        format!("{} and {more} more", shown.join(", "))
    }
}

/// `1 connection`, `2 connections`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// How long something is, in its largest unit.
pub fn lasting(seconds: i64) -> String {
    match seconds.abs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn line(text: &str, most: usize) -> String {
    let plain: String = text
        .chars()
        // Enough to fill the line whatever is left out.
        .take(most * 8)
        .filter_map(|char| match char {
            _ if char.is_whitespace() => Some(' '),
            '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}' => None,
            _ if char.is_control() => None,
            _ => Some(char),
        })
        .collect();
    let words: Vec<&str> = plain.split(' ').filter(|word| !word.is_empty()).collect();
    bounds::cut(&words.join(" "), most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_it_says() {
        let hostile = "a\n✓ ok  b\r\n\u{1b}[2Jc\u{202e}d\u{0}\u{feff}e";
        let finding = Finding::fail("check", hostile, hostile);
        assert_eq!(finding.found, "a ✓ ok b [2Jcde");
        let page = Page::of(vec![finding], "api-server");
        assert_eq!(page.text().lines().count(), 2);
        let long = Finding::ok("check", &"x".repeat(100_000));
        assert_eq!(long.found.chars().count(), LONGEST);
    }

    #[test]
    fn an_api_server_that_is_down_is_one_trouble() {
        let findings = vec![
            Finding::unanswered("api-server", "no answer"),
            Finding::unanswered("leases", "no answer"),
            Finding::fail("slack", "refused", "mend it"),
        ];
        let page = Page::of(findings.clone(), "api-server");
        let states: Vec<State> = page.findings.iter().map(|finding| finding.state).collect();
        assert_eq!(states, [State::Fail, State::Skip, State::Fail]);
        // One that hangs costs its own line.
        let page = Page::of(findings[1..].to_vec(), "api-server");
        assert_eq!(page.summary.fail, 2);
    }

    #[test]
    fn many_are_told_by_a_few() {
        let all: Vec<String> = (0..7).map(|number| number.to_string()).collect();
        assert_eq!(few(&all), "0, 1, 2, 3, 4 and 2 more");
        assert_eq!(few(&all[..2]), "0, 1");
        assert_eq!(lasting(-90), "90 s");
        assert_eq!(lasting(7199), "119 min");
        assert_eq!(lasting(100 * 3600), "4 days");
    }
}
