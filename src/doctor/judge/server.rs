//! The API server: its version, and whether its clock and ours agree; and Vaults' clocks. Touches nothing.

use jiff::{SignedDuration, Timestamp};

use crate::doctor::{
    page::{Finding, lasting, word},
    seen::Seen,
};

/// What the API server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// `v1.36.1`.
    pub version: String,
    /// What it takes the time for, to the second.
    pub date: Option<Timestamp>,
    /// Our clock when it was asked, and when it had answered.
    pub asked: (Timestamp, Timestamp),
}

/// The line about the API server itself.
pub const API_SERVER: &str = "api-server";
const CLOCK: &str = "clock";
const VAULT: &str = "vault";

/// The oldest minor version of Kubernetes 1 that the chart installs on: admission policies are stable from there on.
const OLDEST: u32 = 30;
/// The oldest that the client library is made for.
const SUPPORTED: u32 = 33;
/// The first whose admission stamps who asks.
const STAMPS: u32 = 36;
/// A clock that is off by more is worth a word, in seconds.
const NOTICED: i64 = 5;
/// One that is off by more breaks logins and certificates, in seconds.
const WRONG: i64 = 60;

/// Its version.
pub fn version(seen: &Seen<ServerFacts>) -> Finding {
    let facts = match seen {
        Ok(facts) => facts,
        Err(unseen) => return unseen.line(API_SERVER, "The API server"),
    };
    let version = word(&facts.version);
    let todo = "Upgrade the cluster, or install foredeck in another";
    match minor(&facts.version) {
        None => Finding::warn(
            API_SERVER,
            &format!("It says that its version is {version}, which is none of Kubernetes'"),
            "Find out what answers at the kubeconfig's address",
        ),
        Some(minor) if minor < OLDEST => Finding::fail(
            API_SERVER,
            &format!("Kubernetes {version} is too old: foredeck takes 1.{OLDEST} or newer"),
            todo,
        ),
        Some(minor) if minor < SUPPORTED => Finding::warn(
            API_SERVER,
            &format!(
                "Kubernetes {version} works as far as is known, but isn't what foredeck is made for: that is 1.{SUPPORTED} and newer"
            ),
            todo,
        ),
        Some(minor) if minor < STAMPS => Finding::ok(
            API_SERVER,
            &format!(
                "Kubernetes {version}; people write their own user names, since admission stamps them from 1.{STAMPS} on"
            ),
        ),
        Some(_) => Finding::ok(API_SERVER, &format!("Kubernetes {version}")),
    }
}

/// Whether its admission stamps who asks; `None` where its version isn't known.
pub fn stamps(seen: &Seen<ServerFacts>) -> Option<bool> {
    let facts = seen.as_ref().ok()?;
    minor(&facts.version).map(|minor| minor >= STAMPS)
}

/// `v1.36.1-eks-1` is 36.
fn minor(version: &str) -> Option<u32> {
    let mut parts = version.strip_prefix('v')?.split(['.', '-', '+']);
    if parts.next()? != "1" {
        return None;
    }
    parts.next()?.parse().ok()
}

/// Whether our clock and the API server's agree.
pub fn clock(seen: &Seen<ServerFacts>) -> Finding {
    let facts = match seen {
        Ok(facts) => facts,
        Err(unseen) => return unseen.line(CLOCK, "The API server's clock"),
    };
    let Some(date) = facts.date else {
        let found = "The API server, or a proxy before it, doesn't say what time it is";
        return Finding::skip(CLOCK, found, None);
    };
    off(CLOCK, "the API server's", ahead(date, facts.asked))
}

/// What time it is for the API server, where ours says `now`; as far as it is known.
pub fn now(seen: &Seen<ServerFacts>, now: Timestamp) -> Timestamp {
    let facts = seen.as_ref().ok();
    let told = facts.and_then(|facts| Some((facts.date?, facts.asked)));
    let ahead = told.map_or(0, |(date, asked)| ahead(date, asked));
    now.checked_sub(SignedDuration::from_secs(ahead))
        .unwrap_or(now)
}

/// By how many seconds our clock is ahead of one that told this date while we asked.
fn ahead(date: Timestamp, (before, after): (Timestamp, Timestamp)) -> i64 {
    // It tells whole seconds, and tells them at some moment between.
    if before.as_second() > date.as_second() + 1 {
        before.as_second() - date.as_second() - 1
    } else if after.as_second() < date.as_second() {
        after.as_second() - date.as_second()
    } else {
        0
    }
}

/// What a Vault says of its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultFacts {
    /// Where it is, and for what.
    pub name: String,
    /// What it says; or why nothing is known, in words.
    pub health: Result<VaultHealth, String>,
}

/// What a Vault that answers says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VaultHealth {
    /// Whether it was ever set up.
    pub initialized: bool,
    /// Whether somebody has to unseal it.
    pub sealed: bool,
    /// By how many seconds our clock is ahead of its; it tells whole seconds.
    pub ahead: Option<i64>,
    /// Its version, as it says it.
    pub version: Option<String>,
}

/// A Vault, and whether its clock and ours agree.
pub fn vault(facts: &VaultFacts) -> Finding {
    let name = word(&facts.name);
    match &facts.health {
        Err(why) => Finding::fail(
            VAULT,
            &format!("{name}: {why}"),
            "See that Vault runs, that its address and its authority are right, and that network policies let it be reached",
        ),
        Ok(health) if !health.initialized => Finding::fail(
            VAULT,
            &format!("{name} isn't set up"),
            "Its operators initialise it",
        ),
        Ok(health) if health.sealed => Finding::fail(
            VAULT,
            &format!("{name} is sealed"),
            "Its operators unseal it",
        ),
        Ok(health) => match health.ahead {
            Some(ahead) if ahead.abs() > NOTICED => off(VAULT, &format!("that of {name}"), ahead),
            _ => {
                let version = health
                    .version
                    .as_deref()
                    .map_or_else(String::new, |version| {
                        format!(" (version {})", word(version))
                    });
                Finding::ok(
                    VAULT,
                    &format!("{name} is unsealed{version}, and its clock is ours"),
                )
            }
        },
    }
}

fn off(check: &'static str, whose: &str, ahead: i64) -> Finding {
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    let found = format!(
        "The clock here is {} {way} {whose}",
        lasting(ahead.saturating_abs())
    );
    let todo = "Have both set their clocks by NTP; where this isn't a machine of the cluster, ask again from a Pod of foredeck's";
    match ahead.saturating_abs() {
        seconds if seconds <= NOTICED => {
            Finding::ok(check, &format!("The clock here agrees with {whose}"))
        }
        seconds if seconds <= WRONG => Finding::warn(check, &found, todo),
        _ => Finding::fail(
            check,
            &format!("{found}: tokens, certificates and Slack's signatures are refused"),
            todo,
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;
    use crate::doctor::{page::State, seen::Unseen};

    fn facts(version: &str, ahead: i64) -> ServerFacts {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        ServerFacts {
            version: version.to_owned(),
            date: Some(now - ahead.seconds()),
            asked: (now, now),
        }
    }

    #[test]
    fn versions() {
        for (text, expected, stamped) in [
            ("v1.36.1", State::Ok, Some(true)),
            ("v1.40.0+k3s1", State::Ok, Some(true)),
            ("v1.35.9-eks-1a2b", State::Ok, Some(false)),
            ("v1.33.0", State::Ok, Some(false)),
            ("v1.32.7", State::Warn, Some(false)),
            ("v1.30.0", State::Warn, Some(false)),
            ("v1.29.9", State::Fail, Some(false)),
            ("v2.0.0", State::Warn, None),
            ("\u{1b}[31mno", State::Warn, None),
        ] {
            let seen = Ok(facts(text, 0));
            assert_eq!(version(&seen).state, expected, "{text}");
            assert_eq!(stamps(&seen), stamped, "{text}");
        }
        let down = Err(Unseen::Broken("connection refused".to_owned()));
        assert_eq!(version(&down).state, State::Fail);
    }

    #[test]
    fn clocks() {
        for (ahead, expected) in [
            (0, State::Ok),
            (3, State::Ok),
            (-4, State::Ok),
            (30, State::Warn),
            (-30, State::Warn),
            (600, State::Fail),
            (-600, State::Fail),
        ] {
            assert_eq!(
                clock(&Ok(facts("v1.36.1", ahead))).state,
                expected,
                "{ahead}"
            );
            let vault = vault(&VaultFacts {
                name: "https://vault.example".to_owned(),
                health: Ok(VaultHealth {
                    initialized: true,
                    ahead: Some(ahead),
                    ..VaultHealth::default()
                }),
            });
            assert_eq!(vault.state, expected, "{ahead}: {vault:?}");
        }
        assert!(clock(&Ok(facts("v1.36.1", 600))).found.contains("ahead of"));
        assert!(clock(&Ok(facts("v1.36.1", -600))).found.contains("behind"));
    }

    #[test]
    fn a_vault_that_cant_be_used_fails() {
        let facts = |health| VaultFacts {
            name: "https://vault.example".to_owned(),
            health,
        };
        let sealed = VaultHealth {
            initialized: true,
            sealed: true,
            ..VaultHealth::default()
        };
        for health in [
            Err("no answer".to_owned()),
            Ok(VaultHealth::default()),
            Ok(sealed),
        ] {
            assert_eq!(vault(&facts(health)).state, State::Fail);
        }
    }
}
