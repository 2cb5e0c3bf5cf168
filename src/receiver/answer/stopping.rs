//! What became of the stop button. Touches nothing.

use kube::ResourceExt;

use super::{
    locking::{by, quoted},
    reading::said,
    refusing,
};
use crate::{
    api::{DeployFreeze, deploy_freeze::STOP_ALL},
    domain::access::OVERRIDE,
    identity::Person,
    receiver::{plan::held::Stop, stopping::Resumed},
    slack::{
        blocks::{Block, Message},
        text::Mrkdwn,
    },
};

/// Everything is stopped.
pub(in crate::receiver) fn stopped(
    freeze: &DeployFreeze,
    running: usize,
    command: &str,
) -> Message {
    let first = Mrkdwn::fixed(
        ":octagonal_sign: Everything is stopped: nothing starts anywhere until somebody says ",
    ) + Mrkdwn::code(&format!("{command} resume-all"))
        + ". Why: "
        + quoted(&freeze.spec.reason);
    let runs = match running {
        0 => Mrkdwn::fixed("Nothing that you may see runs now."),
        1 => Mrkdwn::fixed("One deployment that you may see runs now and goes on: "),
        many => Mrkdwn::number(many as u64) + " deployments that you may see run now and go on: ",
    };
    let cancel = if running == 0 {
        Mrkdwn::default()
    } else {
        Mrkdwn::code(&format!("{command} cancel <request>")) + " ends one."
    };
    let small = Mrkdwn::fixed(
        "What is asked for meanwhile waits. It takes the verb `override` on `deployfreezes/stop-all` to have it go on, and \
         one request passes it by an override of its own.",
    );
    Message::new(
        first.clone(),
        [
            Block::section(first),
            Block::section(runs + cancel),
            Block::context([small]),
        ],
    )
}

/// There is such a freeze already. `own` is whether it is theirs who asked, in the same words; `stops` whether it stops
/// everything now.
pub(in crate::receiver) fn stands(
    freeze: &DeployFreeze,
    own: bool,
    stops: bool,
    command: &str,
) -> Message {
    let resume = Mrkdwn::code(&format!("{command} resume-all"));
    if !stops {
        return said(
            Mrkdwn::fixed(
                ":warning: Not stopped: there is a freeze of that name which does not stop everything now. ",
            ) + told(freeze)
                + ". Lift it with "
                + resume
                + ", then say it again.",
        );
    }
    let first = if own {
        Mrkdwn::fixed(":octagonal_sign: Everything is stopped by you already: ")
    } else {
        Mrkdwn::fixed(":octagonal_sign: Everything is stopped already, nothing was changed: ")
    };
    said(first + told(freeze) + ". " + resume + " lifts it.")
}

/// By whom, since when, why.
fn told(freeze: &DeployFreeze) -> Mrkdwn {
    let since = freeze.creation_timestamp();
    let since = since.map_or_else(Mrkdwn::default, |since| {
        Mrkdwn::fixed(" since ") + Mrkdwn::date(since.0)
    });
    Mrkdwn::fixed("by ")
        + by(freeze.spec.by.as_ref())
        + since
        + ", why: "
        + quoted(&freeze.spec.reason)
}

/// It goes on, or doesn't. `waiting` is how many wait that they may see.
pub(in crate::receiver) fn resumed(resumed: &Resumed, waiting: usize, command: &str) -> Message {
    match resumed {
        Resumed::Done(freeze) => {
            let first = Mrkdwn::fixed(":arrow_forward: It goes on. Everything had been stopped ")
                + told(freeze)
                + ".";
            let next = match waiting {
                0 => Mrkdwn::fixed("Nothing that you may see waits."),
                1 => Mrkdwn::fixed("One request that you may see waits, and is judged again now."),
                many => {
                    Mrkdwn::number(many as u64)
                        + " requests that you may see wait, and are judged again now: they start in the order in which \
                           they were asked for, one for each target."
                }
            };
            Message::new(
                first.clone(),
                [
                    Block::section(first),
                    Block::section(next),
                    Block::context([Mrkdwn::fixed("Other freezes and locks stay as they are.")]),
                ],
            )
        }
        Resumed::Nothing => said(Mrkdwn::fixed(
            "Nothing was stopped, so nothing was changed. Other freezes and locks stay as they are.",
        )),
        Resumed::Anew(freeze) => said(
            Mrkdwn::fixed(
                ":octagonal_sign: Still stopped: somebody has stopped everything anew meanwhile, ",
            ) + told(freeze)
                + ". "
                + Mrkdwn::code(&format!("{command} resume-all"))
                + " lifts that.",
        ),
        Resumed::Refused(message) => said(
            Mrkdwn::fixed(":no_entry_sign: Still stopped: the API server refuses to lift it: ")
                + Mrkdwn::code_within(message, 300),
        ),
        Resumed::Unreadable(why) => said(
            Mrkdwn::fixed(":no_entry_sign: Still stopped: the freeze `stop-all` can't be read (")
                + Mrkdwn::code_within(why, 300)
                + "). Everything waits until somebody mends or deletes it with kubectl.",
        ),
        Resumed::Unknown => said(
            Mrkdwn::fixed(
                ":grey_question: It is unknown whether everything is still stopped: the Kubernetes API server has not \
                 answered in time. Say ",
            ) + Mrkdwn::code(&format!("{command} resume-all"))
                + " again: that does no harm.",
        ),
    }
}

/// They may neither stop everything nor have it go on. Where it is stopped now, `stop` says by whom.
pub(in crate::receiver) fn not_allowed(
    person: &Person,
    home: &str,
    stop: Option<&Stop>,
) -> Message {
    let presser = stop.and_then(|stop| stop.by.as_deref());
    let presser = presser.map_or_else(Mrkdwn::default, |presser| {
        Mrkdwn::fixed("Everything is stopped now by ")
            + Mrkdwn::code_within(presser, 80)
            + ": ask them. "
    });
    said(
        Mrkdwn::fixed(":no_entry_sign: Not allowed, nothing was changed: ")
            + Mrkdwn::code(&person.username)
            + " has no verb "
            + Mrkdwn::code(OVERRIDE)
            + " on "
            + Mrkdwn::code(&format!("deployfreezes/{STOP_ALL}"))
            + " in namespace "
            + Mrkdwn::name(home)
            + ". "
            + presser
            + refusing::whom_to_ask(home)
            + " One application is kept from starting by a lock, for which you need the verb `lock` there."
            + refusing::silence(person, " "),
    )
}

/// The API server refuses it.
pub(in crate::receiver) fn refused(message: &str) -> Message {
    said(
        Mrkdwn::fixed(":warning: Not stopped, everything goes on: the API server refuses it: ")
            + Mrkdwn::code_within(message, 300)
            + ". Tell whoever runs Foredeck.",
    )
}

/// The API server isn't there.
pub(in crate::receiver) fn not_done() -> Message {
    said(Mrkdwn::fixed(
        ":warning: Not stopped: the Kubernetes API server doesn't answer. Say it again in a moment.",
    ))
}
