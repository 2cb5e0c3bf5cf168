//! What a plan shows: what would run where, what runs there now, what it would wait for, and what speaks against it.
//! Touches nothing.
//!
//! Judged as the controller will judge, from what the controller wrote into the Application's status, by the same
//! functions. It is an early word and not the last: the controller asks Spinnaker itself, at the moment of starting.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    Order,
    asked::{self, Difference, Question, Said},
    pipeline::{about_pipeline, differences, judged},
    repeat::Repeat,
};
use crate::{
    api::{
        Application, DeployRequest, DeployTarget, Environment,
        application::{Action, PipelineDescription},
        artifact::Artifact,
        conditions::{self, ConditionType, Reason},
        deploy_request::{DEFAULT_ACTION, Phase, Place},
        deploy_target::{Active, DeployTargetStatus, Run},
        environment::{Concurrency, Confirm},
    },
    domain::{
        access, ids,
        parameters::refuse_expression,
        refusal::Refusal,
        repository, resolve,
        version::{self, Settled, Unresolved, Version},
    },
};

/// How many hexadecimal digits of a digest a plan carries.
const DIGEST: usize = 32;
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
}

/// A plan in plain data. Its texts are untrusted: what people, Spinnaker and manifests say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// The namespace.
    pub namespace: String,
    /// The action.
    pub action: String,
    /// The Application.
    pub application: String,
    /// The Environment.
    pub environment: String,
    /// The cluster and the namespace there.
    pub place: Place,
    /// Whether that is another than the Environment's own.
    pub elsewhere: bool,
    /// The version that would run: the one asked for, or what leaving it out comes to.
    pub version: Option<String>,
    /// Whether somebody named that version.
    pub version_given: bool,
    /// The commit that it stands for, as far as that is known.
    pub commit: Option<String>,
    /// The page of the application's repository, if it names one.
    pub repository: Option<String>,
    /// What changes there, where a commit and something that runs are known.
    pub difference: Option<Difference>,
    /// What the pipeline would get beside parameters.
    pub artifacts: Vec<Artifact>,
    /// The pipeline's name, where the Application's status describes it.
    pub pipeline: Option<String>,
    /// What runs there now.
    pub current: Option<Current>,
    /// The parameters whose values differ from the pipeline's defaults, by name.
    pub parameters: Vec<Differing>,
    /// Why.
    pub reason: Option<String>,
    /// Whose yes it needs before anything starts, if anybody's.
    pub approvals: Option<Needed>,
    /// What it will wait for.
    pub waits: Vec<Wait>,
    /// What somebody should know before they confirm.
    pub warnings: Vec<Warning>,
    /// What makes it impossible. With any of them there is no Deploy button.
    pub problems: Vec<Problem>,
}

/// What runs in a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Current {
    /// The version.
    pub version: Option<String>,
    /// The commit that it stood for, as far as that is known.
    pub commit: Option<String>,
    /// The request that brought it.
    pub request: String,
    /// Who asked for that, by their Kubernetes user name.
    pub requester: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// A parameter whose value differs from its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// Its name.
    pub name: String,
    /// What would be sent.
    pub value: String,
    /// What it is when nobody says, where that is known.
    pub default: Option<String>,
    /// Whether the asker sets it. If not, the Application's action does.
    pub asked: bool,
}

/// Whose yes is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// From so many people.
    pub people: u32,
    /// Of each of these groups somebody has to be among them.
    pub groups: Vec<String>,
    /// Whether the asker may be one of them.
    pub asker_may: bool,
}

/// What a request will wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Wait {
    /// Another request has the target.
    Held {
        /// Its name.
        request: String,
        /// Its version.
        version: Option<String>,
        /// Who asked for it, by their Kubernetes user name.
        requester: Option<String>,
    },
    /// So many wait in line already.
    Line {
        /// How many.
        requests: usize,
    },
}

/// What somebody should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Warning {
    /// This version runs there already. If it names a commit or an image there is nothing to deploy; a branch may have
    /// moved on.
    SameVersion,
    /// The repository doesn't say which commit the version is, and it may go all the same.
    Unresolved {
        /// Why not.
        sentence: String,
        /// Whether it was said that there is no such version: then it goes as it is named.
        missing: bool,
    },
    /// The repository doesn't say which commit the version is, and the Environment has it wait for that.
    WaitsForCommit {
        /// Why not.
        sentence: String,
    },
    /// Which commit it is was said before, and nobody says now whether it still is.
    NotAskedAgain {
        /// Why not.
        sentence: String,
    },
    /// The templates name the commit, which isn't known yet: it waits for that, and what it sends isn't known here.
    NeedsCommit,
    /// The Environment is not in order.
    EnvironmentNotReady {
        /// What its condition says.
        message: String,
    },
    /// What the controller found about the pipeline.
    Pipeline {
        /// In its words.
        message: String,
    },
    /// The controller hasn't described the pipeline yet, or not all of it: the parameters can't be judged here.
    NotDescribed,
    /// By the Environment's rule it takes the place of what waits there.
    Supersedes {
        /// How many requests.
        requests: usize,
    },
}

/// What makes it impossible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The fixed word.
    pub reason: String,
    /// The parameter that it is about.
    pub parameter: Option<String>,
    /// A sentence: what, by which rule, and who can do what about it.
    pub message: String,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self {
            reason: refusal.reason.to_string(),
            parameter: None,
            message: refusal.message,
        }
    }
}

/// What happens after somebody has asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step<'a> {
    /// It can't be done: the problems are shown, and the form is offered.
    Refuse,
    /// An equal request is there: it is shown, with a button for doing it again, whatever the Environment says of
    /// confirmations.
    ShowRepeat(Repeat<'a>),
    /// The plan is shown.
    Confirm,
    /// The request is created at once.
    Create,
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
pub fn shown(namespace: &str, order: &Order, sights: Sights<'_>, said: &Said) -> Shown {
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
    let mut warnings = Vec::new();
    let Settled { version, problem } = settled(
        &request,
        version,
        sights,
        said,
        &mut problems,
        &mut warnings,
    );
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
    let (waits, warning) = waits(
        &name,
        target.and_then(|target| target.active.as_ref()),
        sights,
    );
    if !waits.is_empty() && sights.environment.spec.protection.concurrency == Concurrency::Reject {
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

impl Shown {
    /// The digest of what is shown, 32 hexadecimal digits. At the click it is made anew: if it differs, what the asker
    /// confirmed is not what would happen now, and they are shown a new plan.
    ///
    /// How long the line is doesn't count: it moves all the time in a busy place, and changes when it happens, not what.
    /// Nor does what lies between two commits, which follows from them, and why a repository doesn't say something.
    pub fn digest(&self) -> String {
        let mut lasting = self.clone();
        lasting.waits = Vec::new();
        lasting.difference = None;
        lasting
            .warnings
            .retain(|warning| !matches!(warning, Warning::NotAskedAgain { .. }));
        for warning in &mut lasting.warnings {
            match warning {
                Warning::Supersedes { requests } => *requests = 1,
                Warning::Unresolved { sentence, .. } | Warning::WaitsForCommit { sentence } => {
                    sentence.clear();
                }
                _ => {}
            }
        }
        let canonical = serde_json::to_value(&lasting)
            .unwrap_or_default()
            .to_string();
        let mut digest = ids::sha256(canonical.as_bytes());
        digest.truncate(DIGEST);
        digest
    }

    /// The digest of what is shown beside an equal request: another one makes another digest, so that whoever confirms
    /// "once more" has seen what it comes on top of.
    pub fn digest_beside(&self, repeat: Option<Repeat<'_>>) -> String {
        let digest = self.digest();
        let Some(repeat) = repeat else {
            return digest;
        };
        let both = format!("{digest} {}", repeat.request().name_any());
        let mut digest = ids::sha256(both.as_bytes());
        digest.truncate(DIGEST);
        digest
    }

    /// Whether it can be confirmed.
    pub fn is_possible(&self) -> bool {
        self.problems.is_empty()
    }

    /// What happens next, where the Environment says so of confirmations and there is this equal request.
    pub fn step<'a>(&self, confirm: Confirm, repeat: Option<Repeat<'a>>) -> Step<'a> {
        match (self.is_possible(), repeat, confirm) {
            (false, _, _) => Step::Refuse,
            (true, Some(repeat), _) => Step::ShowRepeat(repeat),
            (true, None, Confirm::Always) => Step::Confirm,
            (true, None, Confirm::Never) => Step::Create,
        }
    }
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
fn waits(name: &str, active: Option<&Active>, sights: Sights<'_>) -> (Vec<Wait>, Option<Warning>) {
    let mut waits: Vec<Wait> = active
        .map(|active| Wait::Held {
            request: active.name.clone(),
            version: active.version.clone(),
            requester: active.requester.clone(),
        })
        .into_iter()
        .collect();
    let line = sights
        .requests
        .iter()
        .filter(|request| {
            waits_for(request, name)
                && active.is_none_or(|active| request.uid().as_deref() != Some(&*active.uid))
        })
        .count();
    let mut warning = None;
    if line > 0 {
        if sights.environment.spec.protection.concurrency == Concurrency::Supersede {
            warning = Some(Warning::Supersedes { requests: line });
        } else {
            waits.push(Wait::Line { requests: line });
        }
    }
    (waits, warning)
}

fn waits_for(request: &DeployRequest, target: &str) -> bool {
    !access::is_canceled(request)
        && request.status.as_ref().is_some_and(|status| {
            status.phase == Some(Phase::Queued)
                && status
                    .resolved
                    .as_ref()
                    .is_some_and(|resolved| resolved.deploy_target == target)
        })
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
