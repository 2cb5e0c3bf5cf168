//! Whether a Slack account is a human whom Kubernetes may know, and under which name. Touches nothing.

use super::username::{EmailDomain, UsernameFormat};
use crate::{
    api::{
        actor::{Actor, SlackPerson},
        bounds,
    },
    domain::access::{Subject, is_system},
    slack::{client::Account, ids::TeamId},
};

/// A human with a Kubernetes user name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Person {
    /// The Kubernetes user name: as mapped, else made of the verified e-mail address in lower case.
    pub username: String,
    /// Their groups, with the prefixes of their sources; sorted.
    pub groups: Vec<String>,
    /// The same person in Slack.
    pub slack: SlackPerson,
    /// Why groups of theirs may be missing, in sentences without a full stop: sources that don't say. What only such a
    /// group allows is refused.
    pub silent: Vec<String>,
}

impl Person {
    /// As whom the API server is asked about them.
    pub fn subject(&self) -> Subject {
        Subject {
            username: self.username.clone(),
            groups: self.groups.clone(),
        }
    }

    /// Who they are, to be stamped: with as many groups as fit.
    pub fn actor(&self) -> Actor {
        let groups = self.groups.iter().take(bounds::GROUPS).cloned();
        Actor {
            username: self.username.clone(),
            groups: groups.collect(),
            slack: Some(self.slack.clone()),
        }
    }
}

/// How a member's user name is made.
#[derive(Debug, Clone, Default)]
pub struct NameRules {
    /// Of the e-mail address.
    pub format: UsernameFormat,
    /// The domains whose addresses count; any when empty.
    pub domains: Vec<EmailDomain>,
}

/// A full member of the workspace, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// The Kubernetes user name.
    pub username: String,
    /// The verified e-mail address, in lower case; of one of the domains that count.
    pub email: Option<String>,
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
    /// The address is of another domain.
    #[error(
        "the e-mail address of this Slack account is of a domain that doesn't count here (`--email-domain`); ask with an \
         account of your organisation"
    )]
    OtherDomain,
    /// What a `Person` says of it can't be a name.
    #[error(
        "the user name to which a Person maps this Slack account can't be one of a human; ask who wrote it to mend \
         `spec.username`"
    )]
    BadMapping,
    /// Okta says that the account doesn't work.
    #[error("Okta says that your account there is not active; ask who runs Okta")]
    InactiveInOkta,
    /// Okta says that the account is closed.
    #[error("Okta says that your account there is suspended or deactivated; ask who runs Okta")]
    SuspendedInOkta,
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
            Self::OtherDomain => "OtherDomain",
            Self::BadMapping => "BadMapping",
            Self::InactiveInOkta => "InactiveInOkta",
            Self::SuspendedInOkta => "SuspendedInOkta",
            Self::Unknown => "UnknownAccount",
        }
    }
}

/// Who this is, in the workspace `home` where the app is installed. `mapped` is the user name that a `Person` gives: it
/// gives the name, and not the membership.
///
/// # Errors
/// Guests, bots, deactivated accounts, other workspaces' people and accounts without a confirmed address are nobody.
pub fn judge(
    account: &Account,
    home: &TeamId,
    rules: &NameRules,
    mapped: Option<&str>,
) -> Result<Member, Nobody> {
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
        .map(str::to_ascii_lowercase);
    let counts = |email: &String| {
        rules.domains.is_empty() || rules.domains.iter().any(|domain| domain.has(email))
    };
    if let Some(mapped) = mapped {
        return Ok(Member {
            username: mapped_name(mapped).ok_or(Nobody::BadMapping)?,
            email: email.filter(counts),
        });
    }
    let email = email.ok_or(Nobody::NoEmail)?;
    if !counts(&email) {
        return Err(Nobody::OtherDomain);
    }
    Ok(Member {
        username: rules.format.name(&email).ok_or(Nobody::NoEmail)?,
        email: Some(email),
    })
}

/// A user name that a platform team may give a human.
fn mapped_name(name: &str) -> Option<String> {
    let fine = !name.is_empty()
        && name.chars().count() <= bounds::NAME
        && !name
            .chars()
            .any(|char| char.is_control() || char.is_whitespace())
        && !is_system(name);
    fine.then(|| name.to_owned())
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
    use crate::domain::people::is_lasting;

    fn home() -> TeamId {
        TeamId::new("T0001").unwrap()
    }

    fn account(change: impl FnOnce(&mut Value)) -> Account {
        let mut account = json!({
            "id": "U0001", "team_id": "T0001", "profile": {"email": "Alice@Corp.Example"},
        });
        change(&mut account);
        serde_json::from_value(account).unwrap()
    }

    fn judged(change: impl FnOnce(&mut Value)) -> Result<String, Nobody> {
        judge(&account(change), &home(), &NameRules::default(), None).map(|member| member.username)
    }

    fn mapped(name: &str, change: impl FnOnce(&mut Value)) -> Result<Member, Nobody> {
        judge(&account(change), &home(), &NameRules::default(), Some(name))
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
    fn only_what_no_setting_mends_is_for_good() {
        for (nobody, lasting) in [
            (Nobody::Deactivated, true),
            (Nobody::Bot, true),
            (Nobody::Guest, true),
            (Nobody::Stranger, true),
            (Nobody::SuspendedInOkta, true),
            (Nobody::NoEmail, false),
            (Nobody::OtherDomain, false),
            (Nobody::BadMapping, false),
            (Nobody::InactiveInOkta, false),
            (Nobody::Unknown, false),
        ] {
            assert_eq!(is_lasting(nobody.reason()), lasting, "{nobody:?}");
        }
    }

    #[test]
    fn a_mapping_gives_the_name_and_not_the_membership() {
        let member = mapped("alice", |_| {}).unwrap();
        assert_eq!(member.username, "alice");
        assert_eq!(member.email.as_deref(), Some("alice@corp.example"));
        let without = mapped("alice", |account| account["profile"] = json!({}));
        assert_eq!(without.unwrap().email, None);
        for (field, value, nobody) in [
            ("deleted", json!(true), Nobody::Deactivated),
            ("is_bot", json!(true), Nobody::Bot),
            ("is_restricted", json!(true), Nobody::Guest),
            ("is_stranger", json!(true), Nobody::Stranger),
            ("team_id", json!("T0002"), Nobody::Stranger),
        ] {
            let judged = mapped("alice", |account| account[field] = value.clone());
            assert_eq!(judged, Err(nobody), "{field}: {value}");
        }
        for bad in ["system:masters", "System:admin", "", "a b", "a\nb"] {
            assert_eq!(mapped(bad, |_| {}), Err(Nobody::BadMapping), "{bad:?}");
        }
    }

    #[test]
    fn only_addresses_of_the_domains_that_count_make_names() {
        let rules = |domains: &[&str]| NameRules {
            format: "oidc:{email}".parse().unwrap(),
            domains: domains
                .iter()
                .map(|domain| domain.parse().unwrap())
                .collect(),
        };
        let judged = |domains: &[&str], name: Option<&str>| {
            judge(&account(|_| {}), &home(), &rules(domains), name)
        };
        let name = judged(&["other.example", "corp.example"], None).unwrap();
        assert_eq!(name.username, "oidc:alice@corp.example");
        assert_eq!(judged(&["other.example"], None), Err(Nobody::OtherDomain));
        // A mapping names a human whatever their address is, but that address says nothing of them elsewhere.
        let mapped = judged(&["other.example"], Some("alice")).unwrap();
        assert_eq!((mapped.username.as_str(), mapped.email), ("alice", None));
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
