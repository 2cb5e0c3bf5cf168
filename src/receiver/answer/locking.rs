//! What became of a lock, and of lifting one. Touches nothing.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{reading::said, refusing, standing};
use crate::{
    access::Missing,
    api::{
        DeployRequest, Environment,
        actor::Actor,
        lock::{Hold, Lock},
    },
    identity::Person,
    receiver::{
        grammar,
        locks::{Lifted, Set, Spot, Standing, Taken},
    },
    slack::{
        blocks::{Block, Message},
        text::Mrkdwn,
    },
};

/// How much of the API server's own words, or of a rule's, is shown.
const MOST_QUOTED: usize = 300;
/// Requests shown at most.
const MOST: usize = 5;
/// Names listed at most.
const MOST_NAMES: usize = 12;

/// Where: `*checkout* in *production*`.
pub(in crate::receiver) fn place(spot: &Spot) -> Mrkdwn {
    let environment = Mrkdwn::name(&spot.environment.name_any());
    let Some(target) = &spot.target else {
        return Mrkdwn::fixed("environment ") + environment + " as a whole";
    };
    let there = Mrkdwn::name(&target.application) + " in " + environment;
    let (own, place) = (&spot.environment.spec.target, &target.place);
    if own == place {
        return there;
    }
    there
        + " (namespace "
        + Mrkdwn::name(&place.namespace)
        + " of "
        + Mrkdwn::name(&place.account)
        + ")"
}

/// Who, without a mention: that would call them.
pub(super) fn by(actor: Option<&Actor>) -> Mrkdwn {
    match actor {
        Some(actor) => Mrkdwn::code_within(&actor.username, 80),
        None => Mrkdwn::fixed("somebody who is not known"),
    }
}

/// Somebody's reason.
pub(super) fn quoted(reason: &str) -> Mrkdwn {
    Mrkdwn::code_within(reason, MOST_QUOTED)
}

fn until(lock: &Lock) -> Mrkdwn {
    match &lock.until {
        Some(until) => Mrkdwn::fixed("until ") + Mrkdwn::date(until.0),
        None => Mrkdwn::fixed("until somebody unlocks it"),
    }
}

fn since(since: Option<Timestamp>) -> Mrkdwn {
    since.map_or_else(Mrkdwn::default, |since| {
        Mrkdwn::fixed(" since ") + Mrkdwn::date(since)
    })
}

/// What somebody types to lift it.
fn unlock(spot: &Spot, command: &str) -> Mrkdwn {
    let typed = grammar::guarded("unlock", &spot.named);
    Mrkdwn::code(&format!("{command} {typed}"))
}

/// What a lock came to.
pub(in crate::receiver) fn set(spot: &Spot, lock: &Lock, set: &Set, command: &str) -> Message {
    match set {
        Set::Done { changed } => {
            let done = if *changed {
                ":lock: Your lock is changed: "
            } else {
                ":lock: Locked: "
            };
            let first = Mrkdwn::fixed(done)
                + place(spot)
                + " is locked by you "
                + until(lock)
                + ". Why: "
                + quoted(&lock.reason);
            let next = unlock(spot, command)
                + " lifts it: you can, and whoever has the verb `override` there. What runs goes on; what is asked for \
                   meanwhile waits and says so.";
            Message::new(
                first.clone(),
                [Block::section(first), Block::context([next])],
            )
        }
        Set::Stands(there) => said(
            Mrkdwn::fixed(":lock: Nothing was changed: ")
                + place(spot)
                + " is locked by you already, "
                + until(there)
                + ". Why: "
                + quoted(&there.reason),
        ),
        Set::Taken(there) => {
            let first = Mrkdwn::fixed(":no_entry_sign: Not locked by you, nothing was changed: ")
                + place(spot)
                + " is locked already by "
                + locked(there);
            let next = by(there.lock.by.as_ref())
                + " can lift it, and whoever has the verb `override` there: "
                + unlock(spot, command)
                + ". Ask them, or say it again once it is lifted.";
            Message::new(first.clone(), [Block::section(first), Block::section(next)])
        }
        Set::Gone => {
            said(Mrkdwn::fixed("Nothing was locked: there is no ") + place(spot) + " any more.")
        }
        Set::Refused(message) => refused(spot, "lock", message),
        Set::Unreadable(why) => unreadable(spot, why),
        Set::Unknown => unknown(spot, "is locked", command),
    }
}

/// By whom, since when, until when, why.
fn locked(there: &Taken) -> Mrkdwn {
    by(there.lock.by.as_ref())
        + since(there.since)
        + ", "
        + until(&there.lock)
        + ". Why: "
        + quoted(&there.lock.reason)
}

fn held(hold: &Hold) -> Mrkdwn {
    let version = |version: &Option<String>| match version {
        Some(version) => Mrkdwn::code_within(version, 80),
        None => Mrkdwn::fixed("a version that is not known"),
    };
    let who = hold.by.as_deref().map_or_else(
        || Mrkdwn::fixed("somebody who is not known"),
        |who| Mrkdwn::code_within(who, 80),
    );
    who + " since "
        + Mrkdwn::date(hold.since.0)
        + ", by a rollback from "
        + version(&hold.from)
        + " to "
        + version(&hold.to)
}

/// What lifting it came to. Beside it: what else keeps requests from starting there, and what waits.
pub(in crate::receiver) fn lifted(
    person: &Person,
    spot: &Spot,
    lifted: &Lifted,
    (still, waiting): (&[String], &[DeployRequest]),
    command: &str,
) -> Message {
    match lifted {
        Lifted::Done { lifted, left } => {
            let mut blocks = Vec::new();
            let first = Mrkdwn::fixed(":unlock: Unlocked: ")
                + place(spot)
                + " "
                + stood(lifted, "was ", "had ")
                + ".";
            blocks.push(Block::section(first.clone()));
            if left.lock.is_some() || left.over.is_some() || left.hold.is_some() {
                blocks.push(Block::section(
                    Mrkdwn::fixed(":lock: It still ")
                        + stood(left, "is ", "has ")
                        + ". "
                        + who_lifts(spot),
                ));
            } else {
                blocks.extend(goes_on(still, waiting));
            }
            Message::new(first, blocks)
        }
        Lifted::Nothing => {
            let first = Mrkdwn::fixed("Nothing was changed: ") + place(spot) + " is not locked.";
            let blocks = [Block::section(first.clone())]
                .into_iter()
                .chain(goes_on(still, waiting));
            Message::new(first, blocks.collect::<Vec<_>>())
        }
        Lifted::Anew(there) => {
            let first = Mrkdwn::fixed(
                ":lock: Not unlocked: what was there has been replaced meanwhile, and now ",
            ) + place(spot)
                + " "
                + stood(there, "is ", "has ")
                + ".";
            let next = unlock(spot, command) + " lifts that.";
            Message::new(first.clone(), [Block::section(first), Block::section(next)])
        }
        Lifted::NotAllowed { left, missing } => {
            let first = Mrkdwn::fixed(":no_entry_sign: Not allowed, nothing was changed: ")
                + place(spot)
                + " "
                + stood(left, "is ", "has ")
                + ".";
            let rule = Mrkdwn::fixed("It is not yours, and ")
                + refusing::lacks(person, &spot.namespace, missing)
                + ". "
                + who_lifts(spot);
            let mut blocks = vec![Block::section(first.clone()), Block::section(rule)];
            blocks.extend(refusing::silent_sources(person).map(Block::section));
            Message::new(first, blocks)
        }
        Lifted::Refused(message) => refused(spot, "unlock", message),
        Lifted::Unreadable(why) => unreadable(spot, why),
        Lifted::Unknown => unknown(spot, "is still locked", command),
    }
}

fn who_lifts(spot: &Spot) -> Mrkdwn {
    Mrkdwn::fixed("Whoever set it can lift it, and whoever has the verb `override` there. ")
        + refusing::whom_to_ask(&spot.namespace)
}

/// What stands or stood there, behind the place: `is locked by …`.
fn stood(standing: &Standing, is: &'static str, has: &'static str) -> Mrkdwn {
    let lock = standing
        .lock
        .as_ref()
        .map(|there| Mrkdwn::fixed(is) + "locked by " + locked(there));
    let over = standing.over.as_ref().map(|lock| {
        Mrkdwn::fixed(has)
            + "a lock that is over, by "
            + by(lock.by.as_ref())
            + ", "
            + until(lock)
            + ". Why: "
            + quoted(&lock.reason)
    });
    let hold = standing
        .hold
        .as_ref()
        .map(|hold| Mrkdwn::fixed(is) + "held by " + held(hold));
    Mrkdwn::join([lock, over, hold].into_iter().flatten(), "; and it ")
}

/// What goes on now.
fn goes_on(still: &[String], waiting: &[DeployRequest]) -> Vec<Block> {
    let mut lines: Vec<Mrkdwn> = still
        .iter()
        .map(|sentence| {
            Mrkdwn::fixed(":hourglass_flowing_sand: Still closed: ")
                + Mrkdwn::code_within(sentence, MOST_QUOTED)
        })
        .collect();
    match waiting {
        [] => lines.push(Mrkdwn::fixed("Nothing waits there.")),
        [one] => lines.push(
            Mrkdwn::fixed("This waits there and is judged again now: ")
                + standing::asked(&one.spec)
                + " ("
                + Mrkdwn::code(&one.name_any())
                + ").",
        ),
        several => {
            lines.push(
                Mrkdwn::number(several.len() as u64)
                    + " requests wait there and are judged again now, the oldest first:",
            );
            lines.extend(several.iter().take(MOST).map(|one| {
                Mrkdwn::fixed("• ")
                    + standing::asked(&one.spec)
                    + " ("
                    + Mrkdwn::code(&one.name_any())
                    + ")"
            }));
            if several.len() > MOST {
                lines.push(Mrkdwn::fixed("• …"));
            }
        }
    }
    Block::sections(&Mrkdwn::join(lines, "\n"))
}

/// The person lacks the verb.
pub(in crate::receiver) fn not_allowed(
    person: &Person,
    spot: &Spot,
    missing: &[Missing],
) -> Message {
    said(
        Mrkdwn::fixed(":no_entry_sign: Not allowed, nothing was changed: ")
            + refusing::lacks(person, &spot.namespace, missing)
            + ". "
            + refusing::whom_to_ask(&spot.namespace)
            + refusing::silence(person, " "),
    )
}

fn refused(spot: &Spot, verb: &'static str, message: &str) -> Message {
    said(
        Mrkdwn::fixed(":no_entry_sign: Nothing was changed: the API server refuses to ")
            + verb
            + " "
            + place(spot)
            + ": "
            + Mrkdwn::code_within(message, MOST_QUOTED),
    )
}

fn unreadable(spot: &Spot, why: &str) -> Message {
    said(
        Mrkdwn::fixed(":no_entry_sign: Nothing was changed: what is known of ")
            + place(spot)
            + " can't be read ("
            + Mrkdwn::code_within(why, MOST_QUOTED)
            + "). Nothing starts there until somebody mends that with kubectl.",
    )
}

fn unknown(spot: &Spot, what: &'static str, command: &str) -> Message {
    let look = match &spot.target {
        Some(target) => format!(
            "{command} why {} in {}",
            target.application,
            spot.environment.name_any()
        ),
        None => format!(
            "kubectl get environments -n {} {}",
            spot.namespace,
            spot.environment.name_any()
        ),
    };
    said(
        Mrkdwn::fixed(":grey_question: It is unknown whether ")
            + place(spot)
            + " "
            + what
            + ": the Kubernetes API server has not answered in time. Say it again: that does no harm. Or look with "
            + Mrkdwn::code(&look)
            + ".",
    )
}

/// It would be over already.
pub(in crate::receiver) fn over(spot: &Spot, until: Timestamp) -> Message {
    said(
        Mrkdwn::fixed("Nothing was locked: ")
            + Mrkdwn::date(until)
            + " is over. Name a time that is to come, or how long: `2h`. Nothing was changed of "
            + place(spot)
            + ".",
    )
}

/// No calendar goes so far.
pub(in crate::receiver) fn too_long() -> Message {
    said(Mrkdwn::fixed(
        "Nothing was locked: no calendar goes so far. Leave the time out, and it stays until somebody unlocks it.",
    ))
}

/// The Environment doesn't allow that place.
pub(in crate::receiver) fn no_place(why: &str) -> Message {
    said(Mrkdwn::fixed("Nothing was changed: ") + Mrkdwn::code_within(why, MOST_QUOTED))
}

/// It was said some time ago.
pub(in crate::receiver) fn said_long_ago(at: Timestamp) -> Message {
    said(
        Mrkdwn::fixed(":warning: Nothing was changed: this was said at ")
            + Mrkdwn::date(at)
            + ", and has reached me only now. Say it again if it is still right.",
    )
}

/// Several teams have such an environment.
pub(in crate::receiver) fn which_environment(several: &[&Environment]) -> Message {
    let names = several.iter().take(MOST_NAMES).map(|environment| {
        let team = environment.namespace().unwrap_or_default();
        Mrkdwn::code(&format!("{team}/{}", environment.name_any()))
    });
    said(
        Mrkdwn::fixed(
            "Several teams have such an environment. Nothing was changed. Say it again and name one: ",
        ) + Mrkdwn::join(names, ", ")
            + ".",
    )
}
