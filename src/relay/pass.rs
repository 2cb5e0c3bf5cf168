//! One pass over one request: what is there to tell, one step after the other. Touches what its steps touch.

use std::{sync::Arc, time::Duration};

use kube::{ResourceExt, runtime::controller::Action};

use super::{
    context::{Context, Scene},
    error::RelayError,
    ledger::Ledger,
    memory::Address,
    message,
    plan::{self, Step},
    post,
    purpose::Purpose,
    telling::{AGAIN, Done, NOT_OURS, Telling, held_up, look, take_all},
    trouble,
    unasked::Unasked,
    update::update,
    whisper::whisper,
};
use crate::{
    api::DeployRequest,
    runtime::{
        cache::Guarded,
        traces::{self, Value},
    },
};

/// Steps in one pass; a request with ten further channels takes fewer.
const STEPS: usize = 40;

/// One pass over a request that a watch or a timer brought up.
pub(super) async fn reconcile(
    object: Arc<Guarded<DeployRequest>>,
    context: Arc<Context>,
) -> Result<Action, RelayError> {
    let Ok(request) = &object.0 else {
        return Ok(Action::await_change());
    };
    let context = &*context;
    let uid = request.uid().unwrap_or_default();
    for _ in 0..STEPS {
        if !context.may_act() {
            return Ok(Action::requeue(NOT_OURS));
        }
        let Some(scene) = look(context, request).await? else {
            context.delivered(&uid, true);
            return Ok(Action::await_change());
        };
        if let Some(unrecorded) = context
            .memories()
            .recall(&uid, |memory| memory.unrecorded.clone())
        {
            if post::record(context, &scene, unrecorded).await? {
                continue;
            }
            return Ok(Action::requeue(AGAIN));
        }
        let plan = context.plan(&scene);
        context.delivered(&uid, plan.steps.is_empty());
        if let Some(done) = unasked(context, &scene, plan.unasked).await? {
            match done {
                // What isn't told is remembered only where it is written down, which wakes the next pass.
                Done::Next if scene.ledger.told.messages.is_empty() => {}
                Done::Next => continue,
                _ => return Ok(Action::requeue(AGAIN)),
            }
        }
        if plan.steps.is_empty() {
            return Ok(rest(context, request, &scene, plan.look_again));
        }
        if let Some(reason) = context.standing.stopped() {
            trouble::stopped(context, &scene, &reason).await?;
            return Ok(Action::requeue(context.settings.pace.slowly));
        }
        if let Some(action) = take_all(context, &scene, plan.steps, plan.look_again).await? {
            return Ok(action);
        }
    }
    Ok(Action::requeue(AGAIN))
}

/// There is nothing to do now.
fn rest(
    context: &Context,
    request: &DeployRequest,
    scene: &Scene,
    look_again: Option<Duration>,
) -> Action {
    let uid = scene.uid();
    let ended = message::phase(&scene.object).is_terminal();
    let untold = scene.ledger.told.messages.is_empty();
    // A cache that is behind would have it told again.
    let settled = context
        .cached(request)
        .is_none_or(|cached| Ledger::of(&cached).agrees_with(&scene.ledger));
    if (ended || untold) && settled {
        context.memories().forget(&uid);
    }
    look_again.map_or_else(Action::await_change, Action::requeue)
}

/// Says of a request that nobody who may approve it is asked to, as long as that is so. `None` when it says so already.
async fn unasked(
    context: &Context,
    scene: &Scene,
    unasked: Option<Unasked>,
) -> Result<Option<Done>, RelayError> {
    let told = &scene.ledger.told;
    let problem = Unasked::problem(unasked, told.problem.as_deref());
    if problem == told.problem {
        return Ok(None);
    }
    let written = trouble::amend(context, scene, |told| {
        let problem = Unasked::problem(unasked, told.problem.as_deref());
        told.problem = problem;
    })
    .await?;
    if !written {
        return Ok(Some(Done::Overtaken));
    }
    if let Some(unasked) = unasked {
        trouble::publish(context, scene, "SlackUnasked", unasked.sentence()).await;
    }
    Ok(Some(Done::Next))
}

/// Does a step; one that did something is in the request's trace.
pub(super) async fn traced(
    context: &Context,
    scene: &Scene,
    step: Step,
) -> Result<Done, RelayError> {
    let name = match &step {
        Step::Post(_) => "message.post",
        Step::Settle(..) => "message.settle",
        Step::Whisper(..) => "message.whisper",
        Step::Update { .. } => "message.update",
    };
    let mut span = traces::step(name, &scene.object);
    if let Some(span) = &mut span {
        let purpose = Value::Word(step.purpose().word());
        span.say("foredeck.message.purpose", purpose);
        let phase = message::phase(&scene.object).word();
        span.say("foredeck.phase", Value::Word(phase));
    }
    let acting = Box::pin(act(context, scene, step));
    let done = traces::within(span.as_ref(), acting).await;
    match (span, &done) {
        (Some(span), Ok(Done::Next)) => span.ended(None),
        (Some(span), Err(error)) => span.ended(Some(error.reason())),
        // Nothing was done yet.
        (None, _) | (Some(_), Ok(_)) => {}
    }
    done
}

async fn act(context: &Context, scene: &Scene, step: Step) -> Result<Done, RelayError> {
    let purpose = step.purpose();
    let begins = matches!(step, Step::Post(_) | Step::Whisper(..));
    let posting = match &step {
        Step::Post(posting) | Step::Settle(posting, _) => Some(posting),
        Step::Whisper(..) | Step::Update { .. } => None,
    };
    if let Some(done) = held_up(context, scene, purpose, begins, posting).await? {
        return Ok(done);
    }
    let pointing = matches!(
        purpose,
        Purpose::Link | Purpose::Overridden(_) | Purpose::Started(_) | Purpose::Ended(_)
    );
    if pointing && find_url(context, scene).await {
        return Ok(Done::Next);
    }
    match step {
        Step::Post(posting) => post::post(context, scene, posting).await,
        Step::Settle(posting, entry) => post::settle(context, scene, posting, &entry).await,
        Step::Whisper(posting, user) => whisper(context, scene, posting, &user).await,
        Step::Update {
            purpose, priority, ..
        } => Box::pin(update(context, scene, &purpose, priority)).await,
    }
}

/// Asks once where people see the live message; whether the answer is new.
async fn find_url(context: &Context, scene: &Scene) -> bool {
    let uid = scene.uid();
    let asked = context.memories().recall(&uid, |memory| {
        Some(!matches!(memory.live_url, Address::NotAsked))
    });
    let live = plan::entry(&scene.ledger.told, &Purpose::Live).and_then(plan::posted);
    let (Some(false), Some(live)) = (asked, live) else {
        return false;
    };
    let Some(url) = context.unless_ended(context.slack.permalink(&live)).await else {
        return true;
    };
    if let Err(error) = &url {
        tracing::debug!(reason = error.reason(), "Slack gives no link to a message");
    }
    context.memories().remember(&uid, |memory| {
        memory.live_url = url.map_or(Address::Unknown, Address::At);
    });
    true
}
