//! Slack and Okta: whether they take the tokens, and what those may. Touches nothing.

use std::collections::BTreeSet;

use crate::{
    doctor::page::{Finding, few, word},
    slack::manifest::{APP_TOKEN_SCOPE, SCOPES},
};

const SLACK: &str = "slack";
const OKTA: &str = "okta";

/// What came of asking somebody with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<T> {
    /// No token was given.
    Ungiven,
    /// There is none to ask with: why, in words.
    Unusable(String),
    /// They don't take it, or can't be reached: why, in words.
    Refused(String),
    /// They answered.
    Answered(T),
}

/// What Slack says of the bot's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotFacts {
    /// The workspace. Its people named it.
    pub team: String,
    /// What the token may; empty where Slack doesn't tell.
    pub scopes: BTreeSet<String>,
}

/// The bot's token.
pub fn bot(asked: &Asked<BotFacts>) -> Finding {
    let facts = match asked {
        Asked::Answered(facts) => facts,
        other => {
            return unanswered(
                SLACK,
                other,
                "The bot's token",
                "SLACK_BOT_TOKEN, --slack-bot-token-file or --slack-bot-token-vault",
                "Take the token from the app's page under OAuth & Permissions, and see that Slack can be reached",
            );
        }
    };
    let team = word(&facts.team);
    if facts.scopes.is_empty() {
        let found = format!("Slack takes the bot's token for {team}, and doesn't say what it may");
        return Finding::skip(SLACK, &found, None);
    }
    let missing = |optional: bool| -> Vec<String> {
        SCOPES
            .iter()
            .filter(|scope| scope.optional == optional && !facts.scopes.contains(scope.name))
            .map(|scope| format!("{} ({})", scope.name, scope.purpose))
            .collect()
    };
    let todo = "Add them on the app's page under OAuth & Permissions, or paste the manifest anew, and install the app again";
    let (needed, wished) = (missing(false), missing(true));
    if !needed.is_empty() {
        let found = format!("The bot's token for {team} lacks {}", few(&needed));
        return Finding::fail(SLACK, &found, todo);
    }
    if !wished.is_empty() {
        let found = format!("The bot's token for {team} works, without {}", few(&wished));
        return Finding::warn(SLACK, &found, todo);
    }
    Finding::ok(
        SLACK,
        &format!("The bot's token for {team} may all that the manifest asks for"),
    )
}

/// The app-level token.
pub fn app(asked: &Asked<()>) -> Finding {
    match asked {
        Asked::Answered(()) => {
            Finding::ok(SLACK, "Slack gives the app-level token a socket's address")
        }
        other => unanswered(
            SLACK,
            other,
            "The app-level token",
            "SLACK_APP_TOKEN, --slack-app-token-file or --slack-app-token-vault; Socket Mode alone takes one",
            &format!(
                "Make one with the scope {APP_TOKEN_SCOPE} on the app's page under Basic Information"
            ),
        ),
    }
}

/// Okta's token.
pub fn okta(asked: &Asked<()>) -> Finding {
    match asked {
        Asked::Answered(()) => Finding::ok(OKTA, "Okta takes the token, which may read users"),
        other => unanswered(
            OKTA,
            other,
            "Okta's token",
            "--okta-url with OKTA_API_TOKEN or --okta-token-file; only where groups come from Okta",
            "See that the token's owner may read users and groups, and that Okta can be reached",
        ),
    }
}

fn unanswered<T>(
    check: &'static str,
    asked: &Asked<T>,
    what: &str,
    given_by: &str,
    todo: &str,
) -> Finding {
    match asked {
        Asked::Ungiven => Finding::skip(
            check,
            &format!("{what} wasn't given, so nobody was asked"),
            Some(&format!("Give it: {given_by}")),
        ),
        Asked::Unusable(why) => Finding::fail(check, &format!("{what} can't be used: {why}"), todo),
        Asked::Refused(why) => Finding::fail(check, &format!("{what} doesn't work: {why}"), todo),
        Asked::Answered(_) => Finding::ok(check, &format!("{what} works")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::page::State;

    #[test]
    fn scopes_are_held_to_the_manifest() {
        let judged = |without: &[&str]| {
            let scopes = SCOPES
                .iter()
                .map(|scope| scope.name)
                .filter(|name| !without.contains(name));
            bot(&Asked::Answered(BotFacts {
                team: "Harbor".to_owned(),
                scopes: scopes.map(str::to_owned).collect(),
            }))
        };
        assert_eq!(judged(&[]).state, State::Ok);
        assert_eq!(judged(&["usergroups:read"]).state, State::Warn);
        let finding = judged(&["chat:write", "usergroups:read"]);
        assert_eq!(finding.state, State::Fail);
        assert!(
            finding.found.contains("chat:write") && !finding.found.contains("usergroups"),
            "{finding:?}"
        );
        let all: Vec<&str> = SCOPES.iter().map(|scope| scope.name).collect();
        assert_eq!(judged(&all).state, State::Skip);
    }

    #[test]
    fn a_token_that_was_not_given_is_no_trouble_and_one_that_is_refused_is() {
        assert_eq!(app(&Asked::Ungiven).state, State::Skip);
        assert!(
            app(&Asked::Ungiven)
                .todo
                .unwrap()
                .contains("SLACK_APP_TOKEN")
        );
        assert_eq!(okta(&Asked::Refused("no".to_owned())).state, State::Fail);
        assert_eq!(app(&Asked::Unusable("empty".to_owned())).state, State::Fail);
        assert_eq!(okta(&Asked::Answered(())).state, State::Ok);
    }
}
