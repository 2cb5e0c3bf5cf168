//! From what there is to see to what a plan shows. Touches nothing.
//!
//! Judged as the controller will judge, from what the controller wrote into the Application's status, by the same
//! functions. It is an early word and not the last: the controller asks Spinnaker itself, at the moment of starting.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Order,
    asked::{self, Difference, Question, Said},
    guarding::{self, Around},
    held::{self, Held},
    pipeline::{about_pipeline, differences, judged},
    shown::{Current, Needed, Problem, Shown, Wait, Warning},
};
use crate::{
    api::{
        Application, DeployRequest, DeployTarget, Environment,
        application::{Action, PipelineDescription},
        conditions::{self, ConditionType, Reason},
        deploy_request::{DEFAULT_ACTION, PipelineRef, Place, Resolved, WaitingFor},
        deploy_target::{Active, DeployTargetStatus, Run},
        environment::Concurrency,
        gate::GateKind,
    },
    domain::{
        access,
        guards::freeze::Freezes,
        ids,
        parameters::refuse_expression,
        refusal::Refusal,
        repository, resolve,
        selector::Labels,
        target::is_in_line,
        version::{self, Settled, Unresolved, Version},
    },
};

/// Stands for a commit that will be known.
const ANY_COMMIT: &str = "0000000000000000000000000000000000000000";

/// What there is to see, all of one namespace.
#[derive(Debug, Clone, Copy)]
pub struct Sights<'a> {
    /// The Application.
    pub application: &'a Application,
    /// The Environment.
    pub environment: &'a Environment,
    /// The namespace's targets, at least this Application's.
    pub targets: &'a [&'a DeployTarget],
    /// The namespace's requests, at least this Application's that have not ended.
    pub requests: &'a [&'a DeployRequest],
    /// The namespace's Environments, at least those that come before that one.
    pub environments: &'a [&'a Environment],
    /// The freezes of the namespace and of foredeck's own.
    pub freezes: &'a Freezes,
    /// The namespace's labels; `None` where they can't be read.
    pub namespace_labels: Option<&'a Labels>,
}

impl<'a> Sights<'a> {
    fn around(self) -> Around<'a> {
        Around {
            application: Some(self.application),
            environment: Some(self.environment),
            environments: self.environments,
            targets: self.targets,
            freezes: self.freezes,
            namespace_labels: self.namespace_labels,
        }
    }
}

/// When a plan was asked for, and when it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When it was first asked for.
    pub asked_at: Timestamp,
    /// The time.
    pub now: Timestamp,
}

fn is_about_no_earlier_version(problem: &Problem) -> bool {
    problem.reason == Reason::NoEarlierVersion.to_string()
}

/// What a plan asks for, before anybody asked its repository.
struct Wanted<'a> {
    request: DeployRequest,
    place: Place,
    /// The target's name.
    name: String,
    target: Option<&'a DeployTargetStatus>,
    version: Version,
    problems: Vec<Problem>,
}

fn wanted<'a>(namespace: &str, order: &Order, sights: Sights<'a>) -> Wanted<'a> {
    let mut request = DeployRequest::new("plan", order.spec(None, None));
    // What it was, when it was shown: asked for anew.
    request.spec.commit = None;
    request.metadata.namespace = Some(namespace.to_owned());
    let mut problems = Vec::new();
    let place = resolve::place(&request, sights.environment).unwrap_or_else(|refusal| {
        problems.push(refusal.into());
        sights.environment.spec.target.clone()
    });
    let name = ids::target_name(&order.application, &order.environment, &place);
    let target = sights
        .targets
        .iter()
        .find(|target| target.name_any() == name)
        .and_then(|target| target.status.as_ref());
    let version = match version::named(&request, target) {
        Ok(version) => version,
        Err(refusal) => {
            problems.push(refusal.into());
            Version::default()
        }
    };
    Wanted {
        request,
        place,
        name,
        target,
        version,
        problems,
    }
}

/// What a plan's repository is to be asked.
pub fn question(namespace: &str, order: &Order, sights: Sights<'_>) -> Question {
    let wanted = wanted(namespace, order, sights);
    let current = wanted.target.and_then(|target| target.current.as_ref());
    let base = current.and_then(|run| Version::that_ran(run).commit);
    let mut question = Question::of(sights.application, &wanted.version, base.as_deref());
    if version::forgotten(&wanted.request, sights.environment, &wanted.version).is_some() {
        // What its name means now says nothing of what ran.
        question.name = None;
    }
    question
}

/// The version as it may go; or what speaks against it.
fn settled(
    request: &DeployRequest,
    version: Version,
    sights: Sights<'_>,
    said: &Said,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Warning>,
) -> Settled {
    let asked = version::question(&version, sights.application).is_some();
    let forgotten = version::forgotten(request, sights.environment, &version).map(Err);
    let answer = forgotten.or_else(|| said.commit.clone());
    let answer = answer.filter(|_| asked);
    let late = || {
        Err(Unresolved::Unclear(
            "the repository hasn't answered in time.".to_owned(),
        ))
    };
    let answer = answer.or_else(|| asked.then(late));
    let unclear = answer.as_ref().and_then(|answer| answer.clone().err());
    let settled = match version::settle(version.clone(), sights.environment, answer) {
        Ok(settled) => {
            if let Some(problem) = &settled.problem {
                warnings.push(Warning::Unresolved {
                    sentence: problem.sentence().to_owned(),
                    missing: matches!(problem, Unresolved::Missing(_)),
                });
            }
            settled
        }
        // As the controller does: a repository that doesn't answer now closes nothing.
        Err(refusal) if refusal.waiting_for.is_some() => {
            let said = unclear.as_ref().map(Unresolved::sentence);
            let sentence = said.unwrap_or(&refusal.message).to_owned();
            warnings.push(Warning::WaitsForCommit { sentence });
            Settled {
                version,
                problem: unclear,
            }
        }
        Err(refusal) => {
            let environment = sights.environment.name_any();
            let message = format!(
                "{} Environment {environment:?} takes no version whose commit isn't known (spec.protection.unresolvedVersions). \
                 Name a branch, a tag or a commit that is there.",
                refusal.message
            );
            problems.push(Refusal { message, ..refusal }.into());
            Settled {
                version,
                problem: None,
            }
        }
    };
    if let Some(sentence) = &said.not_again {
        let sentence = sentence.clone();
        warnings.push(Warning::NotAskedAgain { sentence });
    }
    settled
}

/// What a plan shows.
pub fn shown(
    namespace: &str,
    order: &Order,
    sights: Sights<'_>,
    said: &Said,
    times: Times,
) -> Shown {
    let Wanted {
        request,
        place,
        name,
        target,
        version,
        mut problems,
    } = wanted(namespace, order, sights);
    let own_place = &sights.environment.spec.target;
    for (what, text) in [
        ("the version", &order.version),
        ("the reason", &order.reason),
    ] {
        if let Some(Err(refusal)) = text.as_ref().map(|text| refuse_expression(what, text)) {
            problems.push(refusal.into());
        }
    }
    problems.extend(held::late(order, times.asked_at, times.now));
    let mut warnings = Vec::new();
    let Settled { version, problem } = settled(
        &request,
        version,
        sights,
        said,
        &mut problems,
        &mut warnings,
    );
    // What can't go for want of its commit is told once, and a repository that doesn't answer now closes nothing.
    let unclear = matches!(problem, Some(Unresolved::Unclear(_)));
    if !problems.iter().any(is_about_the_commit)
        && let Err(refusal) = version::goes_back(&request, target, &version)
        && (refusal.reason != Reason::CommitUnknown || !unclear)
    {
        problems.push(refusal.into());
    }
    let described = described(order, sights.application);
    let rules = sights.environment.spec.protection.approvals.as_ref();
    let action = sights.application.spec.actions.get(&order.action);
    if let (Some(rules), Some(action)) = (rules, action) {
        let previous = target.and_then(resolve::previous);
        let known = once_known(&version, &warnings);
        if let Err(refusal) = resolve::fixed(&request, action, rules, &known, previous.as_ref()) {
            match refusal.waiting_for {
                // What can't go for want of its commit is told once.
                None if problems.iter().any(is_about_the_commit) => {}
                None => problems.push(refusal.into()),
                Some(_) => warnings.push(Warning::EnvironmentNotReady {
                    message: refusal.message,
                }),
            }
        }
    }
    let secret = action.map(|action| action.secret_parameters.as_slice());
    let secret = secret.unwrap_or_default();
    let (mut differing, mut artifacts) = (Vec::new(), Vec::new());
    let rendered = resolve::values(&request, sights.application, &place, target, &version)
        .and_then(|values| {
            let artifacts =
                resolve::artifacts(&request, sights.application, &place, target, &version)?;
            Ok((values, artifacts))
        });
    match rendered {
        Ok((values, handed)) => {
            let declared = described.map_or(&[][..], |pipeline| &pipeline.parameters);
            differing = differences(&values, declared, order, secret);
            problems.extend(judged(described, &values, secret));
            artifacts = handed;
        }
        // A rollback to nothing is told once, and so is a version that can't go for want of its commit.
        Err(_)
            if problems.iter().any(|problem| {
                is_about_no_earlier_version(problem) || is_about_the_commit(problem)
            }) => {}
        Err(refusal)
            if matches!(
                refusal.reason,
                Reason::TemplateFailed | Reason::CommitUnknown
            ) && matches!(problem, Some(Unresolved::Unclear(_)))
                && action.is_some_and(names_commit) =>
        {
            warnings.push(Warning::NeedsCommit);
        }
        Err(refusal) => problems.push(version::explained(refusal, problem.as_ref()).into()),
    }
    warnings.extend(about_pipeline(described, &mut problems));
    warnings.extend(about_environment(sights.environment));
    let current = target.and_then(|target| target.current.as_ref());
    let difference = difference(sights.application, current, &version, said);
    warnings.extend(same(order, current, &version));
    let resolved = as_resolved(&version, &place, &name);
    let guards = guarding::guards(&request, &resolved, sights.around(), times.now);
    let mut held = held::held(order, sights.freezes, &guards, times.now);
    held.given_up = held::given_up(order, current, &version);
    let active = target.and_then(|target| target.active.as_ref());
    let (waits, warning) = waits(&name, active, &held, sights);
    // As the controller has it: one that is held is not turned away, and one that is held turns nobody away.
    if active.is_some()
        && held.closed().next().is_none()
        && sights.environment.spec.protection.concurrency == Concurrency::Reject
    {
        problems.push(Problem {
            reason: Reason::TargetBusy.to_string(),
            parameter: None,
            message: format!(
                "another request has {} in {}, and the Environment refuses whatever comes meanwhile; ask again when that has ended.",
                order.application, order.environment
            ),
        });
    }
    warnings.extend(warning);
    Shown {
        held,
        namespace: namespace.to_owned(),
        action: order.action.clone(),
        application: order.application.clone(),
        environment: order.environment.clone(),
        elsewhere: place != *own_place,
        place,
        version: version.name,
        version_given: order.version.is_some(),
        commit: version.commit,
        repository: sights
            .application
            .spec
            .repository
            .as_ref()
            .map(repository::page),
        difference,
        artifacts,
        pipeline: described.map(|pipeline| pipeline.name.clone()),
        current: current.map(|run| Current {
            version: run.version.clone(),
            commit: Version::that_ran(run).commit,
            request: run.name.clone(),
            requester: run.requester.clone(),
            since: run.finished_at.0,
        }),
        parameters: differing,
        reason: order.reason.clone(),
        approvals: rules.map(|rules| Needed {
            people: rules.required,
            groups: rules.groups.clone(),
            asker_may: rules.requester_may_approve,
        }),
        waits,
        warnings,
        problems,
    }
}

/// What its gates are judged by.
fn as_resolved(version: &Version, place: &Place, target: &str) -> Resolved {
    Resolved {
        connection: String::new(),
        pipeline: PipelineRef {
            application: String::new(),
            name: String::new(),
            id: String::new(),
        },
        revision: None,
        parameters: std::collections::BTreeMap::new(),
        version: version.name.clone(),
        commit: version.commit.clone(),
        artifacts: Vec::new(),
        target: place.clone(),
        deploy_target: target.to_owned(),
        digest: String::new(),
    }
}

fn is_about_the_commit(problem: &Problem) -> bool {
    [Reason::VersionNotFound, Reason::CommitUnknown]
        .iter()
        .any(|reason| problem.reason == reason.to_string())
}

/// The version as approvals will find it: one that waits for its commit is judged when it has one.
fn once_known(version: &Version, warnings: &[Warning]) -> Version {
    let waits = warnings
        .iter()
        .any(|warning| matches!(warning, Warning::WaitsForCommit { .. }));
    let some = || waits.then(|| ANY_COMMIT.to_owned());
    Version {
        name: version.name.clone(),
        commit: version.commit.clone().or_else(some),
    }
}

fn names_commit(action: &Action) -> bool {
    ["commit", "short_commit"]
        .iter()
        .any(|name| resolve::names(action, name))
}

/// What changes, where the application has a repository and something runs that a commit can be compared with.
fn difference(
    application: &Application,
    current: Option<&Run>,
    version: &Version,
    said: &Said,
) -> Option<Difference> {
    application.spec.repository.as_ref()?;
    let head = version.commit.as_deref()?;
    let base = Version::that_ran(current?).commit;
    Some(asked::difference(
        base.as_deref(),
        head,
        said.between.as_ref(),
    ))
}

/// That what is asked runs there already, by its name. Where both commits are known, what changes says it.
fn same(order: &Order, current: Option<&Run>, version: &Version) -> Option<Warning> {
    let current = current.filter(|_| order.action == DEFAULT_ACTION)?;
    let known = Version::that_ran(current).commit.is_some() && version.commit.is_some();
    let same = current.version.is_some() && current.version == version.name;
    (same && !known).then_some(Warning::SameVersion)
}

/// The description of the pipeline that the controller wrote.
pub fn described<'a>(
    order: &Order,
    application: &'a Application,
) -> Option<&'a PipelineDescription> {
    let status = application.status.as_ref()?;
    status.pipelines.iter().find(|pipeline| {
        pipeline.action == order.action && pipeline.environment == order.environment
    })
}

fn about_environment(environment: &Environment) -> Option<Warning> {
    let status = environment.status.as_ref()?;
    let ready = conditions::find(&status.conditions, ConditionType::Ready)?;
    (ready.status == "False").then(|| Warning::EnvironmentNotReady {
        message: ready.message.clone(),
    })
}

/// What it waits for in the order of the queue, or what it displaces.
fn waits(
    name: &str,
    active: Option<&Active>,
    own: &Held,
    sights: Sights<'_>,
) -> (Vec<Wait>, Option<Warning>) {
    let mut waits: Vec<Wait> = active
        .map(|active| Wait::Held {
            request: active.name.clone(),
            version: active.version.clone(),
            requester: active.requester.clone(),
        })
        .into_iter()
        .collect();
    let line = sights.requests.iter().filter(|request| {
        waits_for(request, name)
            && active.is_none_or(|active| request.uid().as_deref() != Some(&*active.uid))
    });
    let mut warning = None;
    if sights.environment.spec.protection.concurrency == Concurrency::Supersede {
        let is_free = own.closed().next().is_none();
        let is_early = own.closed().any(|gate| gate.gate == GateKind::Time);
        // As the controller has it: one that is held comes after whatever may start, and one whose time has not come, this
        // or the other, is about another time.
        let takes = |request: &&&DeployRequest| {
            waits_on(request) != Some(WaitingFor::Time)
                && (is_free || (is_held(request) && !is_early))
        };
        let requests = line.filter(takes).count();
        warning = (requests > 0).then_some(Warning::Supersedes { requests });
    } else {
        let requests = line.filter(|request| !is_held(request)).count();
        waits.extend((requests > 0).then_some(Wait::Line { requests }));
    }
    (waits, warning)
}

/// Whether its time, order, a freeze or a lock keeps it from starting: then it stands in nobody's way.
fn is_held(request: &DeployRequest) -> bool {
    matches!(
        waits_on(request),
        Some(WaitingFor::Time | WaitingFor::Order | WaitingFor::Freeze | WaitingFor::Lock)
    )
}

/// What it waits for first.
fn waits_on(request: &DeployRequest) -> Option<WaitingFor> {
    let waiting = request.status.as_ref()?.waiting.as_ref()?;
    Some(waiting.subject)
}

fn waits_for(request: &DeployRequest, target: &str) -> bool {
    !access::is_canceled(request) && is_in_line(request, target)
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
