//! Whether somebody may: who they count as now, and what the API server's answers about them mean. Touches nothing.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{
    gates::Access,
    people::{self, Limits, People},
    refusal::Refusal,
    roles::groups_of,
};
use crate::api::{
    DeployRequest,
    actor::Actor,
    conditions::{self, ConditionType, Reason},
    deploy_request::{DecisionKind, DeployRequestStatus, WaitingFor},
    environment::{Automation, JudgmentRole},
};

/// The verb of saying yes or no to a start.
pub const APPROVE: &str = "approve";
/// The verb of cancelling what somebody else asked for.
pub const CANCEL: &str = "cancel";
/// The verb of keeping what from starting: on an Environment, and for one Application on that too.
pub const LOCK: &str = "lock";
/// The verb of passing order, freezes and locks, of lifting others' locks, and of the stop button.
pub const OVERRIDE: &str = "override";
/// The verb of answering a manual judgment.
pub const JUDGE: &str = "judge";
/// How the names of users and groups begin that the cluster itself hands out.
const SYSTEM: &str = "system:";
/// Names of who can be asked, at most, in one sentence.
const MOST_HOLDERS: usize = 5;

/// As whom the API server is asked about somebody.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The Kubernetes user name.
    pub username: String,
    /// Their groups, as they are known now; without `system:authenticated`, which everybody is in.
    pub groups: Vec<String>,
}

/// A verb that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The verb.
    pub verb: String,
    /// `applications` or `environments`; `deployfreezes` of the stop button.
    pub resource: &'static str,
    /// The object.
    pub name: String,
}

/// What the API server says of somebody and a verb, on the Application and on the Environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// They may; in the API server's words, which name the binding.
    Granted(String),
    /// They lack these verbs.
    Refused(Vec<Missing>),
}

impl Permission {
    /// Whether they may.
    pub fn is_granted(&self) -> bool {
        matches!(self, Self::Granted(_))
    }
}

/// As whom somebody counts now, and what the API server says that they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// As whom.
    pub subject: Subject,
    /// The API server's answer about one verb.
    pub permission: Permission,
}

/// What somebody may, for one verb. The refusal says that they are nobody, or, with `waiting_for`, why it can't be said.
pub type Known = Result<Standing, Refusal>;

/// What is asked of the API server, and its answer. `answer` is a sentence where there is none.
pub fn known(subject: Subject, answer: Result<Permission, impl std::fmt::Display>) -> Known {
    match answer {
        Ok(permission) => Ok(Standing {
            subject,
            permission,
        }),
        Err(problem) => Err(Refusal::passing(
            WaitingFor::Authorization,
            Reason::AccessUnknown,
            format!("{problem}; nobody may anything until it does, and it is asked again."),
        )),
    }
}

/// Whether this is a user that the cluster itself made: a `ServiceAccount`, a node, a component.
pub fn is_system(name: &str) -> bool {
    name.get(..SYSTEM.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SYSTEM))
}

/// Somebody who wants something, and when what they are known by was stamped.
#[derive(Debug, Clone, Copy)]
pub struct Stamped<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// When the object was created. For a cancel, which comes later and is judged at once, now.
    pub at: Timestamp,
}

/// As whom somebody is judged now who wants to do `verb`: a person as [`People::subject`] says, automation as it was
/// stamped, if the Environment lists it with that verb. RBAC has to be asked about either.
///
/// # Errors
/// As [`People::subject`].
pub fn subject(
    who: Stamped<'_>,
    verb: &str,
    automation: &[Automation],
    people: &People,
    limits: Limits,
    now: Timestamp,
) -> Result<Subject, Refusal> {
    let username = &who.actor.username;
    if !is_system(username) {
        return people.subject(who.actor, who.at, limits, now);
    }
    let listed = automation
        .iter()
        .any(|entry| entry.username == *username && entry.verbs.iter().any(|known| known == verb));
    if who.actor.slack.is_some() || !listed {
        return Err(Refusal::permanent(
            Reason::Nobody,
            format!(
                "Not allowed: `{username}` is no person, and the Environment's spec.protection.automation does not list it with the verb `{verb}`; who owns the Environment can add it."
            ),
        ));
    }
    people::stamped(who.actor, who.at, limits.stamped, now)
}

/// What somebody wants to do, for sentences about it.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The verb.
    pub verb: &'a str,
    /// The team.
    pub namespace: &'a str,
    /// The Application.
    pub application: &'a str,
    /// The Environment.
    pub environment: &'a str,
    /// Who has the verb, where that could be read: whom to ask.
    pub holders: Option<&'a [String]>,
}

impl<'a> Wish<'a> {
    /// To do `verb` with what a request is about.
    pub fn of(request: &'a DeployRequest, verb: &'a str, holders: Option<&'a [String]>) -> Self {
        Self {
            verb,
            namespace: request.metadata.namespace.as_deref().unwrap_or_default(),
            application: &request.spec.application,
            environment: &request.spec.environment,
            holders,
        }
    }

    /// That somebody may not: which verb they lack on what, and whom to ask.
    pub fn refused(&self, username: &str, missing: &[Missing]) -> String {
        let mut lacks = String::new();
        for (index, missing) in missing.iter().enumerate() {
            let kind = match missing.resource {
                "environments" => "Environment",
                _ => "Application",
            };
            let and = if index == 0 {
                "no verb"
            } else {
                " and no verb"
            };
            let _ = write!(
                lacks,
                "{and} `{}` on {kind} `{}`",
                missing.verb, missing.name
            );
        }
        format!(
            "Not allowed: `{username}` has {lacks} in `{}`. {}",
            self.namespace,
            self.ask()
        )
    }

    /// Whom to ask.
    pub fn ask(&self) -> String {
        match self.holders {
            Some(holders) if !holders.is_empty() => {
                let more = if holders.len() > MOST_HOLDERS {
                    ", …"
                } else {
                    ""
                };
                let named: Vec<String> = holders
                    .iter()
                    .take(MOST_HOLDERS)
                    .map(|holder| format!("`{holder}`"))
                    .collect();
                format!(
                    "Ask one who has it ({}{more}), or who can change the RoleBindings there.",
                    named.join(", ")
                )
            }
            Some(_) => "Ask who can change the RoleBindings there.".to_owned(),
            None => format!(
                "Ask who can change the RoleBindings there; `{}` shows who has it.",
                show_holders(self.namespace)
            ),
        }
    }
}

/// What somebody types to see who has which verb in a namespace, where that is named nowhere else.
pub fn show_holders(namespace: &str) -> String {
    format!("kubectl describe roles,rolebindings --namespace {namespace}")
}

/// Whom to ask for a word on what `requester` asked for: all who may give one but themselves.
pub fn others(requester: Option<&Actor>, holders: Vec<String>) -> Vec<String> {
    let is_own = |holder: &String| {
        requester.is_some_and(|requester| requester.username.eq_ignore_ascii_case(holder))
    };
    holders
        .into_iter()
        .filter(|holder| !is_own(holder))
        .collect()
}

/// Whether whoever asked may. `known` is about the requester and the action.
pub fn access(wish: Wish<'_>, known: &Known) -> Access {
    match known {
        Ok(Standing {
            subject,
            permission: Permission::Granted(rule),
        }) => Access::Granted {
            username: subject.username.clone(),
            rule: rule.clone(),
        },
        Ok(Standing {
            subject,
            permission: Permission::Refused(missing),
        }) => Access::Denied(Refusal::permanent(
            Reason::NotAuthorized,
            wish.refused(&subject.username, missing),
        )),
        Err(refusal) if refusal.waiting_for.is_some() => Access::Unknown(refusal.clone()),
        Err(refusal) => Access::Denied(refusal.clone()),
    }
}

/// A request that nobody vouches for.
pub fn unstamped() -> Refusal {
    Refusal::permanent(
        Reason::Nobody,
        "nobody says who asked for it (spec.requester is empty); make it anew, and admission writes down who does.",
    )
}

/// Whether `spec.cancel` is the word of who asked for the request, beyond doubt: then no verb is needed. Automation has to be listed
/// with `cancel` even then.
pub fn cancels_own(request: &DeployRequest, people: &People, automation: &[Automation]) -> bool {
    let by = request
        .spec
        .cancel
        .as_ref()
        .and_then(|cancel| cancel.by.as_ref());
    let (Some(by), Some(requester)) = (by, &request.spec.requester) else {
        return false;
    };
    let listed = automation.iter().any(|entry| {
        entry.username == by.username && entry.verbs.iter().any(|verb| verb == CANCEL)
    });
    people.certainly_same(by, requester) && (listed || !is_system(&by.username))
}

/// Whether `spec.cancel` counts. `known` is about who wrote it and the verb `cancel`; it isn't looked at where they cancel
/// their own.
///
/// # Errors
/// Without `waiting_for` it doesn't count; with it that can't be said now.
pub fn cancel(
    request: &DeployRequest,
    own: bool,
    wish: Wish<'_>,
    known: &Known,
) -> Result<(), Refusal> {
    let Some(cancel) = request.spec.cancel.as_ref().filter(|_| !own) else {
        return Ok(());
    };
    if cancel.by.is_none() {
        return Err(Refusal::permanent(
            Reason::CancelRefused,
            "it is not cancelled: nobody says who wanted that (spec.cancel.by is empty).",
        ));
    }
    match known {
        Ok(Standing {
            permission: Permission::Granted(_),
            ..
        }) => Ok(()),
        Ok(Standing {
            subject,
            permission: Permission::Refused(missing),
        }) => Err(Refusal::permanent(
            Reason::CancelRefused,
            format!(
                "it is not cancelled, as who wanted that neither asked for it nor may. {}",
                wish.refused(&subject.username, missing)
            ),
        )),
        Err(refusal) if refusal.waiting_for.is_some() => Err(Refusal {
            message: format!(
                "it is to be cancelled, but whether who wants that may can't be said: {}",
                refusal.message
            ),
            ..refusal.clone()
        }),
        Err(refusal) => Err(Refusal::permanent(
            Reason::CancelRefused,
            format!("it is not cancelled: {}", refusal.message),
        )),
    }
}

/// Whether `spec.cancel` is set and was not found not to count, as far as the status says: for whoever only looks, such as
/// a queue.
pub fn is_canceled(request: &DeployRequest) -> bool {
    let refused = request.status.as_ref().is_some_and(|status| {
        conditions::find(&status.conditions, ConditionType::Cancelable)
            .is_some_and(|condition| condition.status == "False")
    });
    request.spec.cancel.is_some() && !refused
}

/// Whether a cancel was found to count, and so goes on to count: whatever became of the rights of who wrote it, and
/// whatever another one says that was put in its place.
pub fn is_heeded(status: &DeployRequestStatus) -> bool {
    let mut decisions = status.decisions.iter();
    decisions.any(|decision| decision.what == DecisionKind::Canceled)
}

/// Whether somebody may answer a manual judgment. `known` is about them and the verb `judge`; `roles` are those that the
/// stage names, of which they need one by their groups.
///
/// # Errors
/// Without `waiting_for` they may not; with it that can't be said now.
pub fn judge(
    wish: Wish<'_>,
    known: &Known,
    roles: &[String],
    mapped: &[JudgmentRole],
) -> Result<(), Refusal> {
    let standing = known.as_ref().map_err(Clone::clone)?;
    let username = &standing.subject.username;
    if is_system(username) {
        return Err(Refusal::permanent(
            Reason::Nobody,
            format!("`{username}` is no person, and only a person can judge."),
        ));
    }
    if let Permission::Refused(missing) = &standing.permission {
        return Err(Refusal::permanent(
            Reason::NotAuthorized,
            wish.refused(username, missing),
        ));
    }
    let mut own = standing.subject.groups.iter();
    if groups_of(roles, mapped)
        .is_none_or(|groups| own.any(|group| groups.contains(group.as_str())))
    {
        return Ok(());
    }
    Err(Refusal::permanent(
        Reason::RoleMissing,
        format!(
            "Not allowed: the stage wants a judge with one of the roles {}, and no group of `{username}` has one by spec.protection.judgmentRoles of Environment `{}`. Judge in Spinnaker, or ask who owns the Environment.",
            quoted(roles),
            wish.environment
        ),
    ))
}

/// Names, each as code.
pub(super) fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
