//! What is to be said of a connection, an Environment and an Application before anybody deploys: from what was found to
//! conditions and descriptions. Touches nothing.

mod pipelines;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

pub use self::pipelines::{Description, Wanted, describe, wanted};
use super::{approvals, login::LoginState, refusal::Refusal, resolve};
use crate::api::{
    Environment, SpinnakerConnection,
    application::PipelineDescription,
    bounds,
    conditions::{self, ConditionType, Reason},
    deploy_request::WaitingFor,
};

/// What keeps a connection from being used until somebody mends it.
const UNUSABLE: [Reason; 9] = [
    Reason::LoginFailed,
    Reason::SpinnakerForbidden,
    Reason::CredentialsNotFound,
    Reason::CredentialsInvalid,
    Reason::CertificateIssueFailed,
    Reason::CertificateExpired,
    Reason::HostNotAllowed,
    Reason::NotSpinnaker,
    Reason::ConnectionInvalid,
];
/// What says nothing of the configuration: Gate, or the Vault that we need for it, only could not be asked.
const PASSING: [Reason; 4] = [
    Reason::VaultUnreachable,
    Reason::GateUnreachable,
    Reason::SpinnakerBusy,
    Reason::SpinnakerUnclear,
];
/// From which difference on Vault's clock is said to be another than ours: certificates of half a minute suffer from less.
const SKEW: SignedDuration = SignedDuration::from_secs(30);
/// Problems that a sentence names; the others stand in the descriptions.
const NAMED: usize = 3;
/// The longest of them there.
const NAMED_LENGTH: usize = 500;

/// Whether something can be used as it stands, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `None` when it can't be known now.
    pub ready: Option<bool>,
    /// The fixed word.
    pub reason: Reason,
    /// A sentence: what, by which rule, and who can do what about it.
    pub message: String,
}

impl Verdict {
    fn good(message: String) -> Self {
        Self {
            ready: Some(true),
            reason: Reason::ConfigurationValid,
            message,
        }
    }

    /// With what is wrong beside it, and keeps nobody from using it.
    #[must_use]
    pub fn noting(mut self, note: Option<String>) -> Self {
        if let Some(note) = note {
            self.message = format!("{} {note}", self.message);
        }
        self
    }

    /// Makes it the condition `Ready`.
    pub fn set(&self, conditions: &mut Vec<Condition>, generation: Option<i64>, now: Timestamp) {
        conditions::set(
            conditions,
            ConditionType::Ready,
            self.ready,
            self.reason,
            &self.message,
            generation,
            now,
        );
    }
}

/// Whether the refusal only says that Gate could not be asked.
pub fn is_passing(refusal: &Refusal) -> bool {
    PASSING.contains(&refusal.reason)
}

// === Connection ===

/// `found` is as whom Gate knows us, or why it can't be asked.
///
/// A certificate that can't be renewed leaves the connection ready for as long as Gate takes it, and the sentence says until
/// when that is.
pub fn connection(
    connection: &SpinnakerConnection,
    minimum_settle: Duration,
    found: Result<&str, &Refusal>,
    login: &LoginState,
) -> Verdict {
    let verdict = bare_connection(connection, minimum_settle, found);
    let renewal = login
        .shown()
        .zip(login.not_renewed())
        .map(|(certificate, refusal)| {
            format!(
                " The client certificate in use lasts until {}. Renewing it fails: {}",
                certificate.not_after, refusal.message
            )
        });
    let skew = login
        .certificate
        .as_ref()
        .map(|certificate| certificate.skew)
        .unwrap_or_default();
    let skew = (skew.abs() > SKEW).then(|| {
        let seconds = skew.abs().as_secs();
        let way = if skew.is_positive() {
            "ahead of"
        } else {
            "behind"
        };
        format!(
            " Vault's clock is {seconds} s {way} the controller's; whoever runs the two can set them by the same time."
        )
    });
    let notes: String = renewal.into_iter().chain(skew).collect();
    Verdict {
        message: format!("{}{notes}", verdict.message),
        ..verdict
    }
}

fn bare_connection(
    connection: &SpinnakerConnection,
    minimum_settle: Duration,
    found: Result<&str, &Refusal>,
) -> Verdict {
    let user = match found {
        Ok(user) => user,
        Err(refusal) => {
            let advice = if is_passing(refusal) && refusal.reason != Reason::VaultUnreachable {
                " If it stays so, its owner has to see whether spec.gateUrl is Gate's address, and Spinnaker's operators whether Gate runs."
            } else {
                ""
            };
            return Verdict {
                ready: Some(false),
                reason: refusal.reason,
                message: format!("{}{advice}", refusal.message),
            };
        }
    };
    let settle = connection.spec.timeouts.settle.map(Duration::from);
    match settle.filter(|settle| *settle < minimum_settle) {
        Some(settle) => Verdict {
            ready: Some(false),
            reason: Reason::SettleTooShort,
            message: format!(
                "spec.timeouts.settle is {settle:?}, and an abandoned start may still run for longer; {minimum_settle:?} is used instead. Its owner can raise it, or leave it out."
            ),
        },
        None => Verdict::good(format!("Gate answers, and knows foredeck as {user:?}.")),
    }
}

/// Why the connection can't be used, as its own condition says it. What was said of an earlier spec doesn't count.
fn trouble_of(connection: &SpinnakerConnection, reasons: &[Reason]) -> Result<(), Refusal> {
    let said = connection
        .status
        .as_ref()
        .and_then(|status| conditions::find(&status.conditions, ConditionType::Ready))
        .filter(|ready| {
            ready.status != "True" && ready.observed_generation == connection.metadata.generation
        });
    let reason = |ready: &Condition| {
        reasons
            .iter()
            .find(|reason| reason.to_string() == ready.reason)
            .copied()
    };
    match said.and_then(|ready| Some((reason(ready)?, ready))) {
        None => Ok(()),
        Some((reason, ready)) => Err(Refusal::passing(
            WaitingFor::Configuration,
            reason,
            ready.message.clone(),
        )),
    }
}

/// Whether it is worth asking Gate: one that a moment ago did not answer is left to the connection's own look.
pub fn askable(connection: &SpinnakerConnection) -> Result<(), Refusal> {
    trouble_of(connection, &UNUSABLE)?;
    trouble_of(connection, &PASSING)
}

// === Environment ===

/// `not_shared` says whether another Environment reaches the same place.
pub fn environment(
    environment: &Environment,
    connection: Option<&SpinnakerConnection>,
    not_shared: Result<(), Refusal>,
) -> Result<(), Refusal> {
    let connection =
        connection.ok_or_else(|| super::connection::missing(&environment.spec.connection))?;
    let pattern = environment
        .spec
        .allow_targets
        .as_ref()
        .and_then(|allowed| allowed.namespace_pattern.as_deref());
    if let Some(pattern) = pattern {
        resolve::namespace_pattern(pattern)?;
    }
    if let Some(rules) = &environment.spec.protection.approvals {
        approvals::fixed_versions(rules)?;
    }
    not_shared?;
    resolve::place_allowed(environment, connection, &environment.spec.target)?;
    trouble_of(connection, &UNUSABLE)
}

/// Whether what an Environment says comes before it can: each is there, and none of them comes after it. `all` are those of its
/// namespace.
pub fn order<'a>(
    environment: &Environment,
    all: impl IntoIterator<Item = &'a Environment>,
) -> Result<(), Refusal> {
    let all: BTreeMap<String, &Environment> = all
        .into_iter()
        .map(|other| (other.name_any(), other))
        .collect();
    let own = environment.name_any();
    let wrong = |message: String| {
        Err(Refusal::passing(
            WaitingFor::Configuration,
            Reason::OrderInvalid,
            format!(
                "{message} So nothing but rollbacks, and what runs there already, can start here without an override; its owner can correct spec.protection.after."
            ),
        ))
    };
    let names = |environment: &Environment| -> Vec<String> {
        let after = &environment.spec.protection.after;
        after
            .iter()
            .map(|after| after.environment.clone())
            .collect()
    };
    for name in names(environment) {
        if name == own {
            return wrong(format!(
                "spec.protection.after names {own:?} itself, where no version can be before it is there."
            ));
        }
        if !all.contains_key(&name) {
            return wrong(format!(
                "spec.protection.after names Environment {name:?}, which isn't in this namespace."
            ));
        }
        // Whatever comes before that one, and how it is reached.
        let mut ways = vec![vec![name.clone()]];
        let mut met = BTreeSet::from([name]);
        while let Some(way) = ways.pop() {
            let last = way.last().and_then(|last| all.get(last));
            for next in last.map(|last| names(last)).unwrap_or_default() {
                if next == own {
                    return wrong(format!(
                        "spec.protection.after leads in a circle: {own} comes after {}, which comes after {own}.",
                        way.join(", which comes after ")
                    ));
                }
                if met.insert(next.clone()) {
                    ways.push(way.iter().cloned().chain([next]).collect());
                }
            }
        }
    }
    Ok(())
}

/// What an Environment's look comes to.
pub fn environment_verdict(found: &Result<(), Refusal>) -> Verdict {
    match found {
        Ok(()) => {
            Verdict::good("its connection can be used, and lets its place through.".to_owned())
        }
        Err(refusal) => Verdict {
            ready: Some(false),
            reason: refusal.reason,
            message: refusal.message.clone(),
        },
    }
}

// === Application ===

/// What is to be said of an Application's repository, as it was asked: that it is archived, or why it can't be read. Nothing
/// where it can.
pub fn repository(name: &str, asked: Result<bool, &str>) -> Option<String> {
    match asked {
        Ok(false) => None,
        Ok(true) => Some(format!(
            "The repository {name} is archived, so that nothing new comes there; if it has moved, whoever keeps this Application can correct spec.repository."
        )),
        Err(trouble) => Some(format!(
            "The repository {name} can't be read: {trouble}. Until that is mended commits aren't known: rollbacks and restarts go by the ones that ran, and other versions as spec.protection.unresolvedVersions of their Environment says."
        )),
    }
}

/// What an Application's look comes to.
pub fn application(all: &[Description]) -> Verdict {
    if all.is_empty() {
        return Verdict::good(
            "there is no Environment in this namespace yet to look for pipelines in.".to_owned(),
        );
    }
    let troubles: Vec<(&PipelineDescription, &Refusal)> = all
        .iter()
        .filter_map(|one| Some((&one.shown, one.trouble.as_ref()?)))
        .collect();
    let (passing, lasting): (Vec<_>, Vec<_>) = troubles
        .iter()
        .partition(|(_, refusal)| is_passing(refusal));
    let (ready, named) = if lasting.is_empty() {
        (None, passing)
    } else {
        (Some(false), lasting)
    };
    let Some((_, first)) = named.first() else {
        return Verdict::good(
            "every action finds its pipeline in every Environment of this namespace.".to_owned(),
        );
    };
    // One cause often stands behind many.
    let mut sentences: Vec<(&str, Vec<String>)> = Vec::new();
    for (shown, refusal) in &named {
        let place = format!("{} in {}", shown.action, shown.environment);
        match sentences
            .iter_mut()
            .find(|(message, _)| *message == refusal.message)
        {
            Some((_, places)) => places.push(place),
            None => sentences.push((&refusal.message, vec![place])),
        }
    }
    let more = sentences.len().saturating_sub(NAMED);
    let mut message = sentences
        .iter()
        .take(NAMED)
        .map(|(message, places)| {
            let others = places.len().saturating_sub(NAMED);
            let mut places = places[..places.len().min(NAMED)].join(", ");
            if others > 0 {
                places = format!("{places} and {others} more");
            }
            format!("{places}: {}", bounds::cut(message, NAMED_LENGTH))
        })
        .collect::<Vec<_>>()
        .join(" ");
    if more > 0 {
        message = format!("{message} And {more} more: see status.pipelines.");
    }
    Verdict {
        ready,
        reason: first.reason,
        message,
    }
}

#[cfg(test)]
#[path = "readiness_tests.rs"]
mod tests;
