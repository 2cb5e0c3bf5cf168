//! Somebody says yes or no: to a start, or at a manual judgment. Touches the API server.
//!
//! What a button or a modal carries only says what was asked. At each click it is looked up anew who this is, what they
//! see, whether that is still asked, and whether their word would count; the controller judges all of it again. The word
//! is written down first and answered second, under a name that makes the first one win.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

use super::{
    Receiver,
    answer::deciding::{self, Asked},
    answer::started,
    conversation::silent,
    occasion::{Answer, Attempted, Occasion, Trouble, What},
    persist::{self, Created, Settled},
    sight::Sight,
};
use crate::{
    access::Permission,
    api::{
        DeployApproval, DeployRequest, Environment, bounds,
        deploy_approval::{
            ApprovalDecision, ApprovalSubject, DeployApprovalSpec, JudgmentAnswer, RequestReference,
        },
        deploy_request::{Judgment, Phase},
    },
    domain::{access, ids, roles},
    identity::Person,
    slack::{
        actions::{self, Question},
        inbound::OpenView,
        text::Plain,
    },
};

/// Words that don't count and whose place the next one takes, at most: somebody whose word never counts can press for ever.
const MOST_DEAD: usize = 8;

/// What is wrong with a submitted modal, by the block that it is about.
type Wrong = BTreeMap<String, Plain>;

impl Receiver {
    /// Somebody pressed Approve.
    pub(super) async fn approve_pressed(
        &self,
        occasion: &Occasion,
        value: &str,
    ) -> Result<Answer, Trouble> {
        let sight = self.sight(occasion).await?;
        let (request, digest) = self.approvable(&sight, value).await?;
        let word = start_word(
            &request,
            &sight.person,
            digest,
            ApprovalDecision::Approve,
            None,
        );
        self.record(occasion, &sight, &request, word).await
    }

    /// Somebody pressed Reject: whether they may is said at once, and why they do is asked.
    pub(super) async fn reject_pressed(
        &self,
        occasion: &Occasion,
        value: &str,
    ) -> Result<Answer, Trouble> {
        let sight = self.sight(occasion).await?;
        let (request, _) = self.approvable(&sight, value).await?;
        let view = deciding::ask_why(actions::REJECTION, &request, None, value);
        Ok(modal(Asked::Start, view))
    }

    /// Somebody said why they reject it.
    pub(super) async fn rejection_submitted(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        view: &OpenView,
    ) -> Result<Result<Answer, Wrong>, Trouble> {
        let comment = match comment(view) {
            Ok(comment) => comment,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let (request, digest) = self.approvable(sight, &view.private_metadata).await?;
        let decision = ApprovalDecision::Reject;
        let word = start_word(&request, &sight.person, digest, decision, Some(comment));
        self.record(occasion, sight, &request, word).await.map(Ok)
    }

    /// Somebody pressed what lets a judgment go on.
    pub(super) async fn judge_pressed(
        &self,
        occasion: &Occasion,
        value: &str,
    ) -> Result<Answer, Trouble> {
        let sight = self.sight(occasion).await?;
        let judged = self.judgeable(&sight, value).await?;
        let input = judged.input(judged.answer.as_deref())?;
        let decision = ApprovalDecision::Approve;
        let word = judged.word(&sight.person, decision, input, None);
        self.record(occasion, &sight, &judged.request, word).await
    }

    /// Somebody wants to choose one of many inputs.
    pub(super) async fn choose_pressed(
        &self,
        occasion: &Occasion,
        value: &str,
    ) -> Result<Answer, Trouble> {
        let sight = self.sight(occasion).await?;
        let judged = self.judgeable(&sight, value).await?;
        let view = deciding::ask_which(&judged.request, &judged.judgment, value);
        Ok(modal(Asked::Judgment, view))
    }

    /// Somebody chose one.
    pub(super) async fn choice_submitted(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        view: &OpenView,
    ) -> Result<Answer, Trouble> {
        let judged = self.judgeable(sight, &view.private_metadata).await?;
        let chosen = view.state.get(actions::ANSWER, actions::ANSWER);
        let input = judged.input(chosen)?;
        let decision = ApprovalDecision::Approve;
        let word = judged.word(&sight.person, decision, input, None);
        self.record(occasion, sight, &judged.request, word).await
    }

    /// Somebody pressed Stop at a judgment: why is asked.
    pub(super) async fn stop_pressed(
        &self,
        occasion: &Occasion,
        value: &str,
    ) -> Result<Answer, Trouble> {
        let sight = self.sight(occasion).await?;
        let judged = self.judgeable(&sight, value).await?;
        let stage = Some(judged.judgment.name.as_str());
        let view = deciding::ask_why(actions::STOPPING, &judged.request, stage, value);
        Ok(modal(Asked::Judgment, view))
    }

    /// Somebody said why it is to stop.
    pub(super) async fn stop_submitted(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        view: &OpenView,
    ) -> Result<Result<Answer, Wrong>, Trouble> {
        let comment = match comment(view) {
            Ok(comment) => comment,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let judged = self.judgeable(sight, &view.private_metadata).await?;
        let decision = ApprovalDecision::Reject;
        let word = judged.word(&sight.person, decision, None, Some(comment));
        self.record(occasion, sight, &judged.request, word)
            .await
            .map(Ok)
    }

    /// The request that somebody is asked about, and the digest that the button showed, if their word on it would count
    /// now as far as that can be seen.
    async fn approvable(
        &self,
        sight: &Sight,
        value: &str,
    ) -> Result<(DeployRequest, String), Trouble> {
        let told = |message| Err(Trouble::Told(message));
        let Some((question, request)) = find(sight, value) else {
            return told(deciding::gone(Asked::Start));
        };
        let phase = request.status.as_ref().and_then(|status| status.phase);
        if phase != Some(Phase::AwaitingApproval) {
            return told(deciding::not_asked(Asked::Start, &request));
        }
        if access::is_canceled(&request) {
            return told(deciding::canceled(Asked::Start, &request));
        }
        let resolved = request
            .status
            .as_ref()
            .and_then(|status| status.resolved.as_ref());
        if resolved.map(|resolved| &resolved.digest) != Some(&question.mark) {
            return told(deciding::changed(&request));
        }
        self.permitted(sight, &request, Asked::Start, access::APPROVE)
            .await?;
        let environment = environment(sight, &request);
        let rules = environment
            .as_ref()
            .and_then(|environment| environment.spec.protection.approvals.as_ref());
        let own_counts = rules.is_some_and(|rules| rules.requester_may_approve);
        if !own_counts && self.asked_themselves(&request, &sight.person) {
            return told(deciding::own(&request));
        }
        let requester = request.spec.requester.as_ref();
        let groups = rules
            .map(|rules| rules.groups.as_slice())
            .unwrap_or_default();
        if requester.is_some_and(|requester| access::is_system(&requester.username))
            && !groups
                .iter()
                .any(|group| sight.person.groups.contains(group))
        {
            return told(deciding::not_of_groups(&sight.person, &request, groups));
        }
        Ok((request, question.mark))
    }

    /// The judgment that somebody is asked for, if their answer would count now as far as that can be seen.
    async fn judgeable(&self, sight: &Sight, value: &str) -> Result<Judged, Trouble> {
        let told = |message| Err(Trouble::Told(message));
        let Some((question, request)) = find(sight, value) else {
            return told(deciding::gone(Asked::Judgment));
        };
        let status = request.status.clone().unwrap_or_default();
        let ended = status.phase.is_some_and(Phase::is_terminal);
        let (Some(judgment), Some(execution), false) = (status.judgment, status.execution, ended)
        else {
            return told(deciding::not_asked(Asked::Judgment, &request));
        };
        let uid = request.uid().unwrap_or_default();
        let mark = ids::judgment_mark(&uid, &execution.id, &judgment.stage);
        if mark != question.mark {
            return told(deciding::not_asked(Asked::Judgment, &request));
        }
        if access::is_canceled(&request) {
            return told(deciding::canceled(Asked::Judgment, &request));
        }
        if let Some(answer) = &judgment.answer {
            return told(deciding::answered(&request, answer));
        }
        self.permitted(sight, &request, Asked::Judgment, access::JUDGE)
            .await?;
        let environment = environment(sight, &request);
        let groups = roles::judging_groups(&judgment.roles, environment.as_ref());
        let person = &sight.person;
        if let Some(groups) = groups
            && !person
                .groups
                .iter()
                .any(|group| groups.contains(group.as_str()))
        {
            return told(deciding::no_role(person, &request, &judgment, &groups));
        }
        Ok(Judged {
            request,
            execution: execution.id,
            judgment: *judgment,
            mark,
            answer: question.answer,
        })
    }

    async fn permitted(
        &self,
        sight: &Sight,
        request: &DeployRequest,
        asked: Asked,
        verb: &str,
    ) -> Result<(), Trouble> {
        let (person, spec) = (&sight.person, &request.spec);
        let namespace = request.namespace().unwrap_or_default();
        let subject = person.subject();
        let asking = self.access.may(
            &subject,
            verb,
            &namespace,
            &spec.application,
            &spec.environment,
        );
        match asking.await.map_err(|error| silent(&error))? {
            Permission::Granted(_) => Ok(()),
            Permission::Refused(missing) => Err(Trouble::Told(deciding::not_allowed(
                asked, person, request, &missing,
            ))),
        }
    }

    /// Whether this is the human who asked for it, under whichever name.
    fn asked_themselves(&self, request: &DeployRequest, person: &Person) -> bool {
        let requester = request.spec.requester.as_ref();
        let records = self.identity.records();
        requester.is_some_and(|requester| records.same_human(requester, &person.actor()))
    }

    /// Creates it, and says what became of that. One that stands there and doesn't count is in nobody's way: this one
    /// takes its place.
    async fn record(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        request: &DeployRequest,
        mut word: DeployApproval,
    ) -> Result<Answer, Trouble> {
        let attempt = |word: &DeployApproval| Attempted {
            namespace: word.namespace().unwrap_or_default(),
            name: word.name_any(),
            what: What::Approval,
        };
        let _first = occasion.attempted.set(attempt(&word));
        let deadline = occasion.persist_by();
        let mut created = persist::write(&self.client, word.clone(), deadline, async {}).await;
        for _ in 0..MOST_DEAD {
            let Some(uid) = dead(&created) else { break };
            word.metadata.name = Some(ids::next_name(&word.name_any(), &uid));
            created = persist::write(&self.client, word.clone(), deadline, async {}).await;
        }
        let attempted = attempt(&word);
        self.metrics.decided(created.word());
        let telling = Telling {
            person: sight.person.clone(),
            request: request.clone(),
            word,
            attempted,
            command: self.settings.command.clone(),
        };
        Ok(Answer::Say(match created {
            Created::Settled(settled) => telling.told(&settled),
            Created::Unknown(call) => {
                let unknown = started::unknown(&telling.attempted, &telling.command);
                self.tell_later(occasion, call, move |settled| telling.told(settled));
                unknown
            }
        }))
    }
}

/// The uid of what stands in a word's place, if the controller has found that it doesn't count. That may be what a look
/// by name has found, which says that it is new.
fn dead(created: &Created<DeployApproval>) -> Option<String> {
    match created {
        Created::Settled(Settled::New(found) | Settled::Existing(found)) => {
            let counts = deciding::counts(found)?;
            (counts.status == "False").then(|| found.uid()).flatten()
        }
        Created::Settled(_) | Created::Unknown(_) => None,
    }
}

/// What an answer needs to say what became of somebody's word.
struct Telling {
    person: Person,
    request: DeployRequest,
    word: DeployApproval,
    attempted: Attempted,
    command: String,
}

impl Telling {
    fn told(&self, settled: &Settled<DeployApproval>) -> crate::slack::blocks::Message {
        let asked = match self.word.spec.subject {
            ApprovalSubject::Start => Asked::Start,
            ApprovalSubject::Judgment => Asked::Judgment,
        };
        match settled {
            // A look by name may have found another one.
            Settled::New(found) if found.spec == self.word.spec => {
                deciding::recorded(&self.request, found)
            }
            Settled::New(found) | Settled::Existing(found) => {
                deciding::stands(&self.person, &self.request, &self.word, found)
            }
            Settled::Refused(message) => deciding::refused(asked, message),
            Settled::NotDone => deciding::not_done(asked),
            Settled::Unknowable => started::never_known(&self.attempted, &self.command),
        }
    }
}

/// A judgment that somebody may answer.
struct Judged {
    request: DeployRequest,
    execution: String,
    judgment: Judgment,
    mark: String,
    /// The mark of an input.
    answer: Option<String>,
}

impl Judged {
    /// The input that is meant, of those that the stage offers now; none where it offers none.
    fn input(&self, mark: Option<&str>) -> Result<Option<String>, Trouble> {
        let inputs = &self.judgment.inputs;
        let chosen = inputs
            .iter()
            .find(|input| mark == Some(ids::input_mark(input).as_str()));
        let fine = chosen.is_some() || (inputs.is_empty() && mark.is_none());
        if fine {
            return Ok(chosen.cloned());
        }
        Err(Trouble::Told(deciding::no_such_input(&self.judgment)))
    }

    fn word(
        &self,
        person: &Person,
        decision: ApprovalDecision,
        input: Option<String>,
        comment: Option<String>,
    ) -> DeployApproval {
        let spec = DeployApprovalSpec {
            request: reference(&self.request),
            subject: ApprovalSubject::Judgment,
            decision,
            digest: None,
            judgment: Some(JudgmentAnswer {
                execution: self.execution.clone(),
                stage: self.judgment.stage.clone(),
                input,
            }),
            comment,
            approver: Some(person.actor()),
        };
        word(&self.request, &ids::judgment_name(&self.mark), spec)
    }
}

fn start_word(
    request: &DeployRequest,
    person: &Person,
    digest: String,
    decision: ApprovalDecision,
    comment: Option<String>,
) -> DeployApproval {
    let uid = request.uid().unwrap_or_default();
    let name = ids::approval_name(&uid, &digest, &person.slack);
    let spec = DeployApprovalSpec {
        request: reference(request),
        subject: ApprovalSubject::Start,
        decision,
        digest: Some(digest),
        judgment: None,
        comment,
        approver: Some(person.actor()),
    };
    word(request, &name, spec)
}

/// The object, which goes with its request.
fn word(request: &DeployRequest, name: &str, spec: DeployApprovalSpec) -> DeployApproval {
    let mut word = DeployApproval::new(name, spec);
    word.metadata.namespace = request.namespace();
    word.metadata.owner_references = Some(vec![OwnerReference {
        api_version: DeployRequest::api_version(&()).into_owned(),
        kind: DeployRequest::kind(&()).into_owned(),
        name: request.name_any(),
        uid: request.uid().unwrap_or_default(),
        ..OwnerReference::default()
    }]);
    word
}

fn reference(request: &DeployRequest) -> RequestReference {
    RequestReference {
        name: request.name_any(),
        uid: request.uid().unwrap_or_default(),
    }
}

/// What a button or a modal asked, and the request as the directory has it, if that is still the one and may be seen.
fn find(sight: &Sight, value: &str) -> Option<(Question, DeployRequest)> {
    let question = Question::read(value)?;
    let target = &question.target;
    let request: DeployRequest = sight.get(&target.namespace, &target.name)?;
    let same = request.uid().as_deref() == Some(target.uid.as_str());
    same.then_some((question, request))
}

fn environment(sight: &Sight, request: &DeployRequest) -> Option<Environment> {
    let namespace = request.namespace().unwrap_or_default();
    sight.get(&namespace, &request.spec.environment)
}

/// What was written into the field of a modal.
pub(super) fn comment(view: &OpenView) -> Result<String, Wrong> {
    let written = view.state.get(actions::ANSWER, actions::ANSWER);
    let written = written.unwrap_or_default().trim();
    if written.is_empty() {
        let wrong = Plain::new("Say why, so that others know what to do about it.");
        return Err(BTreeMap::from([(actions::ANSWER.to_owned(), wrong)]));
    }
    Ok(bounds::cut(written, bounds::VALUE))
}

fn modal(asked: Asked, view: Option<crate::slack::view::View>) -> Answer {
    let or = deciding::no_modal(asked);
    match view {
        Some(view) => Answer::Modal {
            view: Box::new(view),
            or,
        },
        None => Answer::Say(or),
    }
}
