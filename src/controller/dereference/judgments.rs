//! What people answered where an execution waits for a judgment, and whether they may. Touches the API server (reads and
//! access reviews).

use futures::future::join_all;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Gathered, Memo,
    gates::{Asked, Asking, Ground, cached},
    with_approvals,
};
use crate::{
    api::{
        DeployApproval, DeployRequest, Environment, conditions::Reason,
        deploy_approval::ApprovalSubject,
    },
    controller::{context::Context, error::ControllerError, objects},
    domain::{
        access::{self, JUDGE, Known},
        decide::{self, Sighting},
        gates::RefusedVoice,
        judgment::{self, Answer, JudgmentFacts, JudgmentStage},
        refusal::Refusal,
    },
    spinnaker::{Execution, Moment},
};

/// Words of people who may not judge that are told of, at most: whoever may create approvals could fill the record.
const REFUSED: usize = 10;

/// Whether the stages have to be read with their contexts, which lists come without: to say what a judgment asks, to
/// answer it, and to learn how one was answered.
pub(super) fn have_to_be_read(
    context: &Context,
    request: &DeployRequest,
    execution: &Execution,
) -> bool {
    let shown = request
        .status
        .as_ref()
        .and_then(|status| status.judgment.as_deref());
    let stages = execution.judgments();
    let open = |stage: &&crate::spinnaker::JudgmentStage| {
        !matches!(stage.moment, Moment::Ahead | Moment::Over)
    };
    let is_over = shown.is_some_and(|shown| {
        !stages
            .iter()
            .filter(open)
            .any(|stage| stage.judgment.stage == shown.stage)
    });
    // What was read once doesn't change while nobody answers.
    let is_known = |stage: &crate::spinnaker::JudgmentStage| {
        shown.is_some_and(|shown| shown.stage == stage.judgment.stage && shown.answer.is_none())
    };
    is_over
        || stages
            .iter()
            .filter(|stage| stage.moment == Moment::Unread)
            .any(|stage| !is_known(stage) || !answers(&cached(context, request)).is_empty())
}

/// Gathers the answers, and says of each whether it counts.
pub(super) async fn look(
    context: &Context,
    request: &DeployRequest,
    memo: &mut Memo,
    gathered: &mut Gathered,
) {
    let Sighting::Seen(observation) = &gathered.facts.sighting else {
        return;
    };
    if observation.judgments.is_empty() || gathered.facts.gone {
        return;
    }
    let ground = match &memo.ground {
        Some(ground) => ground.clone(),
        None => Ground::known(context, request).await,
    };
    let Ok(known) = &ground else { return };
    gathered.facts.judgments = match &memo.judgments {
        Some(judgments) => judgments.clone(),
        None => {
            let place = Place {
                execution: &observation.execution.id,
                stages: &observation.judgments,
                environment: gathered.named.environment.as_ref(),
            };
            Box::pin(judged(context, request, place, known, Asking::Remembered)).await
        }
    };
    let verdicts = decide::verdicts(request, &gathered.facts);
    let verdicts = with_approvals(&ground, verdicts);
    gathered.facts.gates.refused = refused(&verdicts);
    let anew = |known: &DeployApproval| {
        verdicts
            .iter()
            .any(|(judged, _)| judged.uid() == known.uid())
    };
    memo.verdicts.retain(|(known, _)| !anew(known));
    memo.verdicts.extend(verdicts);
}

/// The answers as the API server has them now, and what it says now of those who gave them.
pub(in crate::controller) async fn judgments_now(
    context: &Context,
    request: &DeployRequest,
    execution: &str,
    stages: &[JudgmentStage],
) -> Result<(Result<Ground, Refusal>, JudgmentFacts), ControllerError> {
    let namespace = request.namespace().unwrap_or_default();
    let name = &request.spec.environment;
    let (ground, environment) = tokio::join!(
        Box::pin(Ground::read(context, request)),
        objects::read::<Environment>(&context.client, &namespace, name)
    );
    let environment = environment?;
    let place = Place {
        execution,
        stages,
        environment: environment.as_ref(),
    };
    let facts = match &ground {
        Ok(ground) => Box::pin(judged(context, request, place, ground, Asking::Now)).await,
        Err(_) => JudgmentFacts::default(),
    };
    Ok((ground, facts))
}

/// Where somebody answers.
struct Place<'a> {
    execution: &'a str,
    stages: &'a [JudgmentStage],
    environment: Option<&'a Environment>,
}

async fn judged(
    context: &Context,
    request: &DeployRequest,
    place: Place<'_>,
    ground: &Ground,
    asking: Asking,
) -> JudgmentFacts {
    let asked = Asked::of(context, request, ground, asking);
    let answers = answers(&ground.approvals)
        .into_iter()
        .map(async |approval| {
            let wanted = judgment::is_wanted(place.execution, place.stages, approval);
            let known = if wanted {
                Some(about(&asked, approval).await)
            } else {
                None
            };
            Answer {
                approval: approval.clone(),
                known,
            }
        });
    let answers = join_all(answers).await;
    let protection = place
        .environment
        .map(|environment| &environment.spec.protection);
    let lacking = answers.iter().any(
        |answer| matches!(&answer.known, Some(Ok(standing)) if !standing.permission.is_granted()),
    );
    JudgmentFacts {
        holders: if lacking {
            asked.who_may(JUDGE).await
        } else {
            None
        },
        answers,
        roles: protection.map_or_else(Vec::new, |protection| protection.judgment_roles.clone()),
    }
}

/// What the author of an answer may.
async fn about(asked: &Asked<'_>, approval: &DeployApproval) -> Known {
    let given = created(approval);
    let (vouched, known) = tokio::join!(asked.vouched(given), async {
        match &approval.spec.approver {
            Some(approver) => asked.about(approver, given, JUDGE).await,
            None => Err(access::unstamped()),
        }
    });
    vouched.and(known)
}

fn answers(approvals: &[DeployApproval]) -> Vec<&DeployApproval> {
    approvals
        .iter()
        .filter(|approval| approval.spec.subject == ApprovalSubject::Judgment)
        .collect()
}

fn created(approval: &DeployApproval) -> Timestamp {
    approval
        .creation_timestamp()
        .map_or_else(Timestamp::now, |time| time.0)
}

/// Those who answered and may not, for the record.
fn refused(verdicts: &[(DeployApproval, crate::domain::approvals::Verdict)]) -> Vec<RefusedVoice> {
    let may_not = |reason| {
        matches!(
            reason,
            Reason::ApproverNotAuthorized | Reason::RoleMissing | Reason::Nobody
        )
    };
    let refused = verdicts
        .iter()
        .filter(|(_, verdict)| verdict.counts == Some(false) && may_not(verdict.reason))
        .map(|(approval, verdict)| RefusedVoice {
            by: approval
                .spec
                .approver
                .as_ref()
                .map(|approver| approver.username.clone()),
            at: created(approval),
            why: verdict.message.clone(),
        });
    refused.take(REFUSED).collect()
}
