//! One pass over one freeze: what is there to tell, one step after the other. Touches what its steps touch.

use kube::{ResourceExt, runtime::controller::Action};

use super::{
    desk::{Desk, Scene},
    plan::Step,
};
use crate::{
    api::DeployFreeze,
    relay::{
        error::RelayError,
        post::{post, record, settle},
        telling::{AGAIN, Done, NOT_OURS, Telling, held_up, look, take_all},
        trouble,
        update::update,
    },
    runtime::cache::Guarded,
};

/// Steps in one pass: more than all channels take.
const STEPS: usize = 100;

/// One pass over a freeze that a watch or a timer brought up.
pub(super) async fn reconcile(
    desk: &Desk,
    object: &Guarded<DeployFreeze>,
) -> Result<Action, RelayError> {
    let Ok(freeze) = &object.0 else {
        return Ok(Action::await_change());
    };
    let uid = freeze.uid().unwrap_or_default();
    for _ in 0..STEPS {
        if !desk.may_act() {
            return Ok(Action::requeue(NOT_OURS));
        }
        let Some(scene) = look(desk, freeze).await? else {
            return Ok(Action::await_change());
        };
        if let Some(unrecorded) = desk
            .memories()
            .recall(&uid, |memory| memory.unrecorded.clone())
        {
            if record(desk, &scene, unrecorded).await? {
                continue;
            }
            return Ok(Action::requeue(AGAIN));
        }
        let steps = desk.plan(&scene);
        if steps.is_empty() {
            return rest(desk, &scene).await;
        }
        if let Some(reason) = desk.standing.stopped() {
            trouble::stopped(desk, &scene, &reason).await?;
            return Ok(Action::requeue(desk.settings.pace.slowly));
        }
        if let Some(action) = take_all(desk, &scene, steps, None).await? {
            return Ok(action);
        }
    }
    Ok(Action::requeue(AGAIN))
}

/// There is nothing to tell now. That Slack doesn't accept us is said only as long as it is so.
async fn rest(desk: &Desk, scene: &Scene) -> Result<Action, RelayError> {
    let uid = scene.uid();
    let action = if !trouble::says_stopped(&scene.ledger.told) {
        Action::await_change()
    } else if !desk.standing.is_accepted() {
        Action::requeue(desk.settings.pace.slowly)
    } else if trouble::amend(desk, scene, trouble::is_accepted).await? {
        desk.memories()
            .remember(&uid, |memory| memory.told_stop = None);
        Action::await_change()
    } else {
        Action::requeue(AGAIN)
    };
    if scene.ledger.told.messages.is_empty() {
        desk.memories().forget(&uid);
    }
    Ok(action)
}

/// Does a step.
pub(super) async fn take(desk: &Desk, scene: &Scene, step: Step) -> Result<Done, RelayError> {
    let begins = matches!(step, Step::Post(_));
    let posting = match &step {
        Step::Post(posting) | Step::Settle(posting, _) => Some(posting),
        Step::Update { .. } => None,
    };
    if let Some(done) = held_up(desk, scene, step.notice(), begins, posting).await? {
        return Ok(done);
    }
    match step {
        Step::Post(posting) => post(desk, scene, posting).await,
        Step::Settle(posting, entry) => settle(desk, scene, posting, &entry).await,
        Step::Update {
            notice, priority, ..
        } => update(desk, scene, &notice, priority).await,
    }
}
