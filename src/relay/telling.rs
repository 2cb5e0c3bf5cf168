//! What requests and freezes have in common when they are told of, and what each kind says of itself. The steps themselves are
//! in `post`, `update` and `trouble`. Touches the API server and Slack.

use std::{
    fmt::{Debug, Display},
    ops::Deref,
    time::Duration,
};

use kube::{ResourceExt, runtime::controller::Action};
use tokio::time::Instant;

use super::{
    error::RelayError,
    ledger::{self, Ledger, Told},
    means::Means,
    memory::Memories,
    place::Spot,
    plan::Posting,
    trouble,
};
use crate::{
    api::deploy_request::{EarlierMessage, Phase, SlackMessage, SlackStatus},
    runtime::cache::Cache,
    slack::{
        blocks::Message,
        client::{Posted, Priority, SlackError},
    },
};

/// How soon a pass is made again that found somebody else at work.
pub(super) const AGAIN: Duration = Duration::from_millis(200);
/// How soon is looked whether it is our turn.
pub(super) const NOT_OURS: Duration = Duration::from_secs(1);
/// The shortest time between two passes of which the first asked for the second.
const SHORTEST: Duration = Duration::from_millis(50);

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// Look what is next.
    Next,
    /// Not before this much time.
    Later(Duration),
    /// Somebody else wrote first: look again soon.
    Overtaken,
    /// We may not act any more.
    NotOurs,
    /// Nothing, until the object changes.
    Idle,
}

/// Whoever tells of all objects of one kind.
pub(super) trait Telling: Deref<Target = Means> + Sized {
    /// What is told of.
    type Object: Told + Clone + Debug + Send + Sync + 'static;
    /// What a message is for. Its text is what the ledger and the message's mark have.
    type Purpose: Clone + Ord + Display;
    /// What a plan depends on, besides the object and what was told.
    type Around;
    /// One thing to do.
    type Step;

    /// The type of the messages' mark.
    const MARK: &'static str;

    /// All objects.
    fn cache(&self) -> &Cache<Self::Object>;

    /// What is remembered of them.
    fn memories(&self) -> &Memories<Self::Object, Self::Purpose>;

    /// What a plan depends on besides.
    fn around(&self, object: &Self::Object) -> Self::Around;

    /// A purpose's fixed word for metrics.
    fn word(purpose: &Self::Purpose) -> &'static str;

    /// Whether all that is left to tell is the end, which goes before everything else.
    fn has_ended(object: &Self::Object) -> bool;

    /// The phase that a message shows, of what has phases.
    fn phase(_: &Self::Object) -> Option<Phase> {
        None
    }

    /// What was told without what need not be known any more once there is a message for `purpose`.
    fn kept(_: &Self::Object, told: &SlackStatus, _purpose: &Self::Purpose) -> SlackStatus {
        told.clone()
    }

    /// What is to be posted for a purpose at a place, if anything is.
    fn planned_post(
        &self,
        scene: &Scene<Self>,
        purpose: &Self::Purpose,
        spot: &Spot,
    ) -> Option<Posting<Self::Purpose>>;

    /// Which message is to be brought up to date for a purpose, if any, and what it is to say.
    fn planned_update(
        &self,
        scene: &Scene<Self>,
        purpose: &Self::Purpose,
    ) -> Option<(Posted, Message)>;

    /// What the message for a purpose says now.
    fn message(
        &self,
        scene: &Scene<Self>,
        purpose: &Self::Purpose,
        earlier: Option<EarlierMessage>,
    ) -> Message;

    /// Does a step.
    async fn take(&self, scene: &Scene<Self>, step: Self::Step) -> Result<Done, RelayError>;

    /// Whether it may be told where another organisation reads along.
    fn may_be_shared(_: &Scene<Self>) -> bool {
        false
    }

    /// Slack refuses a message where it was to go: it goes elsewhere, if there is any such place.
    async fn elsewhere(
        &self,
        scene: &Scene<Self>,
        posting: &Posting<Self::Purpose>,
        reason: &'static str,
    ) -> Result<Done, RelayError> {
        trouble::refuse(self, scene, posting, reason).await
    }

    /// Slack refuses to change a message: what else is done for it. `None` when it stays as it is.
    async fn anew(
        &self,
        _: &Scene<Self>,
        _: Unchanged<'_, Self::Purpose>,
    ) -> Result<Option<Done>, RelayError> {
        Ok(None)
    }

    /// What is said of a message that is not posted, and will not be.
    fn refusal(posting: &Posting<Self::Purpose>, reason: &'static str) -> String;

    /// There is no room to write down another message: its status says so, once.
    async fn no_room(&self, scene: &Scene<Self>) -> Result<Done, RelayError>;

    /// It was deleted after a message was posted, which `entry` speaks of and `ledger` doesn't.
    fn went_meanwhile(&self, object: &Self::Object, ledger: Ledger, entry: SlackMessage);

    /// An object as the cache has it, if it is still that one.
    fn cached(&self, object: &Self::Object) -> Option<Self::Object> {
        let namespace = object.namespace().unwrap_or_default();
        let found = self.cache().get(&namespace, &object.name_any());
        found.filter(|found| found.uid() == object.uid())
    }
}

/// A message that Slack refuses to change.
pub(super) struct Unchanged<'a, P> {
    /// What it is for.
    pub(super) purpose: &'a P,
    /// As it is written down.
    pub(super) entry: &'a SlackMessage,
    /// What it was to show.
    pub(super) message: &'a Message,
    /// Why, by Slack's word.
    pub(super) reason: &'static str,
    /// The same, in full; `None` where Slack doesn't accept such calls.
    pub(super) refusal: Option<SlackError>,
}

/// An object as it is now, and what was told.
pub(super) struct Scene<T: Telling> {
    /// The object.
    pub(super) object: T::Object,
    /// What was told.
    pub(super) ledger: Ledger,
    /// The message that was written down and certainly not posted, by this process.
    pub(super) unsent: Option<T::Purpose>,
    /// What a plan depends on besides.
    pub(super) around: T::Around,
}

impl<T: Telling> Scene<T> {
    /// The object's.
    pub(super) fn uid(&self) -> String {
        self.object.uid().unwrap_or_default()
    }

    /// An object with what was told of it, which is remembered.
    pub(super) fn of(telling: &T, object: T::Object, ledger: Ledger) -> Self {
        let told = !ledger.told.messages.is_empty();
        let unsent = told.then(|| {
            let uid = object.uid().unwrap_or_default();
            telling.memories().begin(&uid, |memory| {
                memory.object = Some(object.clone());
                memory.ledger = Some(ledger.clone());
                memory.unsent.clone()
            })
        });
        let around = telling.around(&object);
        Self {
            object,
            ledger,
            unsent: unsent.flatten(),
            around,
        }
    }
}

/// An object as the cache has it, with what was told as whoever wrote last knows it. `None` when it is no more.
pub(super) async fn look<T: Telling>(
    telling: &T,
    object: &T::Object,
) -> Result<Option<Scene<T>>, RelayError> {
    let Some(object) = telling.cached(object) else {
        return Ok(None);
    };
    let cached = Ledger::of(&object);
    let uid = object.uid().unwrap_or_default();
    let known = telling
        .memories()
        .recall(&uid, |memory| memory.ledger.clone());
    let Some(newer) = known.filter(|known| !known.agrees_with(&cached)) else {
        return Ok(Some(Scene::of(telling, object, cached)));
    };
    let Some((object, fresh)) = Ledger::read(&telling.client, &object).await? else {
        return Ok(None);
    };
    let ledger = fresh.restored(&telling.client, &object, newer).await?;
    Ok(Some(Scene::of(telling, object, ledger)))
}

/// The same, as the API server has it now.
pub(super) async fn look_afresh<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
) -> Result<Option<Scene<T>>, RelayError> {
    let found = Ledger::read(&telling.client, &scene.object).await?;
    Ok(found.map(|(object, ledger)| Scene::of(telling, object, ledger)))
}

/// How urgent a step is by now: the object may have ended while it waits for its turn.
pub(super) fn urgency<T: Telling>(telling: &T, scene: &Scene<T>, planned: Priority) -> Priority {
    let ended = !T::has_ended(&scene.object)
        && telling
            .cached(&scene.object)
            .is_some_and(|object| T::has_ended(&object));
    if ended { Priority::Final } else { planned }
}

/// Why a step is not for now: Slack failed just before, there is no room to write down what it `begins`, or what it
/// posts may not be told there.
pub(super) async fn held_up<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    purpose: &T::Purpose,
    begins: bool,
    posting: Option<&Posting<T::Purpose>>,
) -> Result<Option<Done>, RelayError> {
    if let Some(left) = waits(telling, scene, purpose) {
        return Ok(Some(Done::Later(left)));
    }
    if begins {
        let told = T::kept(&scene.object, &scene.ledger.told, purpose);
        if !ledger::has_room(&told, purpose) {
            return telling.no_room(scene).await.map(Some);
        }
    }
    match posting {
        Some(posting) => trouble::among_strangers(telling, scene, posting).await,
        None => Ok(None),
    }
}

/// How long a message still waits since Slack failed. That the object has ended is tried at once.
fn waits<T: Telling>(telling: &T, scene: &Scene<T>, purpose: &T::Purpose) -> Option<Duration> {
    let ended = T::has_ended(&scene.object);
    let not_before = telling.memories().recall(&scene.uid(), |memory| {
        memory.not_before.get(purpose).copied()
    });
    let (until, _) = not_before.filter(|(_, had_ended)| *had_ended == ended)?;
    let left = until.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

/// Does the steps in their order, until one has changed what there is to do: `None`, then. Otherwise when the next pass is
/// to come; at the latest after `look_again`.
pub(super) async fn take_all<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    steps: Vec<T::Step>,
    look_again: Option<Duration>,
) -> Result<Option<Action>, RelayError> {
    let mut wait = look_again;
    for step in steps {
        let later = match telling.take(scene, step).await? {
            Done::Next => return Ok(None),
            Done::NotOurs => return Ok(Some(Action::requeue(NOT_OURS))),
            Done::Idle => continue,
            Done::Overtaken => AGAIN,
            Done::Later(later) => later,
        };
        wait = Some(wait.map_or(later, |wait| wait.min(later)));
        if telling.standing.stopped().is_some() {
            break;
        }
    }
    let again = wait.map(|wait| Action::requeue(wait.max(SHORTEST)));
    Ok(Some(again.unwrap_or_else(Action::await_change)))
}
