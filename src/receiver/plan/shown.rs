//! What a plan shows: what would run where, what runs there now, what it would wait for, and what speaks against it.
//! Touches nothing.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{asked::Difference, held::Held, repeat::Repeat};
use crate::{
    api::{artifact::Artifact, deploy_request::Place, environment::Confirm},
    domain::{ids, refusal::Refusal},
};

/// How many hexadecimal digits of a digest a plan carries.
const DIGEST: usize = 32;
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
    /// What holds it beside other requests, and what passes that.
    pub held: Held,
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
impl Shown {
    /// The digest of what is shown, 32 hexadecimal digits. At the click it is made anew: if it differs, what the asker
    /// confirmed is not what would happen now, and they are shown a new plan.
    ///
    /// How long the line is doesn't count: it moves all the time in a busy place, and changes when it happens, not what.
    /// What holds it does count: nobody is to be held, or let through, unseen.
    /// Nor does what lies between two commits, which follows from them, and why a repository doesn't say something.
    pub fn digest(&self) -> String {
        let mut lasting = self.clone();
        lasting.waits = Vec::new();
        lasting.difference = None;
        lasting.held = self.held.lasting();
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
            // Nobody passes a freeze, or runs into the stop button, unseen.
            (true, None, Confirm::Never)
                if self.held.overriding.is_some() || self.held.stop.is_some() =>
            {
                Step::Confirm
            }
            (true, None, Confirm::Never) => Step::Create,
        }
    }
}
