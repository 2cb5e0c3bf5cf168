//! Whether a Slack account is a human whom Kubernetes may know, and under which name. Touches nothing.

use crate::{
    api::actor::SlackPerson,
    domain::access::Subject,
    slack::{client::Account, ids::TeamId},
};

/// A human with a Kubernetes user name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Person {
    /// The Kubernetes user name: the verified e-mail address, in lower case.
    pub username: String,
    /// Their groups, with the prefixes of their sources.
    pub groups: Vec<String>,
    /// The same person in Slack.
    pub slack: SlackPerson,
}

impl Person {
    /// As whom the API server is asked about them.
    pub fn subject(&self) -> Subject {
        Subject {
            username: self.username.clone(),
            groups: self.groups.clone(),
        }
    }
}

/// Why an account is nobody: it may see and do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Nobody {
    /// Deactivated.
    #[error("this Slack account is deactivated")]
    Deactivated,
    /// A bot or an app.
    #[error("bots and apps can't ask for deployments; use `kubectl apply` or a commit instead")]
    Bot,
    /// A guest.
    #[error("guests of this workspace can't ask for deployments; ask a full member")]
    Guest,
    /// Of another workspace or organisation.
    #[error(
        "people of other workspaces can't ask for deployments here; ask a member of this workspace"
    )]
    Stranger,
    /// No address, or none that Slack vouches for.
    #[error(
        "Slack shows no confirmed e-mail address for this account, and that is how it is known to Kubernetes; \
         ask who runs this Slack app to grant it `users:read.email`, or confirm your address in Slack"
    )]
    NoEmail,
    /// Slack doesn't know it.
    #[error("Slack doesn't know this account")]
    Unknown,
}

impl Nobody {
    /// A fixed word for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Deactivated => "Deactivated",
            Self::Bot => "Bot",
            Self::Guest => "Guest",
            Self::Stranger => "Stranger",
            Self::NoEmail => "NoEmail",
            Self::Unknown => "UnknownAccount",
        }
    }
}

/// Who this is, in the workspace `home` where the app is installed.
///
/// # Errors
/// Guests, bots, deactivated accounts, other workspaces' people and accounts without a confirmed address are nobody.
pub fn judge(account: &Account, home: &TeamId) -> Result<Person, Nobody> {
    if account.deleted {
        return Err(Nobody::Deactivated);
    }
    if account.is_bot {
        return Err(Nobody::Bot);
    }
    if account.is_stranger || account.team.as_ref() != Some(home) {
        return Err(Nobody::Stranger);
    }
    if account.is_restricted || account.is_ultra_restricted {
        return Err(Nobody::Guest);
    }
    let email = account
        .email()
        .filter(|email| is_address(email) && account.is_email_confirmed != Some(false))
        .ok_or(Nobody::NoEmail)?;
    Ok(Person {
        username: email.to_ascii_lowercase(),
        groups: Vec::new(),
        slack: SlackPerson {
            team: home.to_string(),
            user: account.id.to_string(),
        },
    })
}

/// Something at somewhere, and nothing that Kubernetes or a log would read otherwise: `system:` names have no `@`. ASCII
/// only: other letters have lower cases that are somebody else's name (a Kelvin sign's is a `k`).
fn is_address(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(char))
    };
    text.len() <= 253
        && text
            .split_once('@')
            .is_some_and(|(name, host)| plain(name) && plain(host))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn home() -> TeamId {
        TeamId::new("T0001").unwrap()
    }

    fn judged(change: impl FnOnce(&mut Value)) -> Result<String, Nobody> {
        let mut account = json!({
            "id": "U0001", "team_id": "T0001", "profile": {"email": "Alice@Corp.Example"},
        });
        change(&mut account);
        let account: Account = serde_json::from_value(account).unwrap();
        judge(&account, &home()).map(|person| person.username)
    }

    #[test]
    fn a_full_member_is_the_address_that_slack_vouches_for() {
        let name = Ok("alice@corp.example".to_owned());
        assert_eq!(judged(|_| {}), name);
        assert_eq!(
            judged(|account| account["is_email_confirmed"] = json!(true)),
            name
        );
    }

    #[test]
    fn everybody_else_is_nobody() {
        let cases = [
            ("deleted", json!(true), Nobody::Deactivated),
            ("is_bot", json!(true), Nobody::Bot),
            ("is_restricted", json!(true), Nobody::Guest),
            ("is_ultra_restricted", json!(true), Nobody::Guest),
            ("is_stranger", json!(true), Nobody::Stranger),
            ("team_id", Value::Null, Nobody::Stranger),
            ("team_id", json!("T0002"), Nobody::Stranger),
            ("profile", json!({}), Nobody::NoEmail),
            ("is_email_confirmed", json!(false), Nobody::NoEmail),
        ];
        for (field, value, nobody) in cases {
            let judged = judged(|account| account[field] = value.clone());
            assert_eq!(judged, Err(nobody), "{field}: {value}");
        }
    }

    #[test]
    fn what_is_no_address_is_no_user_name() {
        for text in [
            "",
            "alice",
            "@corp.example",
            "alice@",
            "system:masters",
            "system:admin@corp.example",
            "a b@corp.example",
            "alice@corp.example\n",
            "alice@corp@example",
            "mi\u{212a}e@corp.example",
        ] {
            let judged = judged(|account| account["profile"]["email"] = json!(text));
            assert_eq!(judged, Err(Nobody::NoEmail), "{text:?}");
        }
    }
}
