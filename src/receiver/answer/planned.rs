//! Plans as people see them: what would happen, what runs there now, and the buttons. Touches nothing.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{commits as changed, held, standing};
use crate::{
    api::{artifact::Artifact, deploy_request::DEFAULT_ACTION},
    domain::version,
    receiver::plan::{
        asked::Moved,
        repeat::Repeat,
        shown::{Needed, Shown, Wait, Warning},
    },
    slack::{
        actions, artifacts,
        blocks::{Block, Message, RichText, Section},
        commits,
        elements::{Button, Element, Style, Value},
        ids::{ChannelId, UserId},
        text::{Mrkdwn, Plain, clean_lines},
    },
};

/// Parameters shown one by one.
const MOST_PARAMETERS: usize = 30;
/// The most characters of all parameters. Slack takes some 13,000 in one message, and refuses all of a longer one: then
/// nobody would see the plan.
const MOST_PARAMETERS_TEXT: usize = 1200;
/// The most characters of all artifacts.
const MOST_ARTIFACTS: usize = 1000;
/// The most characters of what somebody should know.
const MOST_WARNINGS: usize = 1000;
/// The most characters of whose yes it needs.
const MOST_APPROVALS: usize = 400;
/// The most characters of the reason, as it was given.
const MOST_REASON: usize = 400;
/// The most characters of an equal request, and of what it would wait for.
const MOST_STANDING: usize = 600;
/// How much of a parameter's value is shown.
const MOST_VALUE: usize = 120;
/// How much of a name that may be long.
const MOST_NAME: usize = 80;
/// How much of a sentence that the controller wrote.
const MOST_SENTENCE: usize = 300;

/// What a plan says beside what it would do.
#[derive(Debug, Clone)]
pub(in crate::receiver) struct Beside<'a> {
    /// Until when it can be confirmed.
    pub(in crate::receiver) expires: Timestamp,
    /// It is shown because another one was confirmed that is no longer true.
    pub(in crate::receiver) changed: bool,
    /// The version is another commit than it was when it was confirmed.
    pub(in crate::receiver) moved: Option<Moved>,
    /// An equal request, which makes this plan a second thought.
    pub(in crate::receiver) repeat: Option<Repeat<'a>>,
    /// Where it will be told how it goes, if not here.
    pub(in crate::receiver) telling: Telling,
}

/// Where it will be told how it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::receiver) enum Telling {
    /// Here, or that isn't known.
    Here,
    /// In the environment's channel.
    Channel(ChannelId),
    /// Not there, since the app is no member of it; in a direct message, as things stand.
    Direct {
        /// Where it would be told.
        channel: ChannelId,
        /// The app as people mention it, where that is known.
        bot: Option<UserId>,
    },
}

/// What the buttons of a plan carry.
pub(in crate::receiver) struct Buttons {
    /// The one that starts it.
    pub(in crate::receiver) go: Value,
    /// The one that opens the form.
    pub(in crate::receiver) edit: Value,
    /// The one that takes it away.
    pub(in crate::receiver) dismiss: Value,
    /// The one that has it pass what holds it, for those who may.
    pub(in crate::receiver) overriding: Option<Value>,
}

/// The plan as a message.
pub(in crate::receiver) fn message(
    shown: &Shown,
    beside: &Beside<'_>,
    buttons: Buttons,
) -> Message {
    let mut blocks = body(shown, beside);
    blocks.push(row(shown, beside, buttons));
    Message::new(stopped(shown) + first(shown, beside), blocks)
}

/// That everything is stopped, before the first line, where that is all that is seen of a message.
fn stopped(shown: &Shown) -> Mrkdwn {
    match shown.held.stop {
        Some(_) => Mrkdwn::fixed(":octagonal_sign: Everything is stopped. "),
        None => Mrkdwn::default(),
    }
}

/// A plan that can't be carried out: why, and the form.
pub(in crate::receiver) fn impossible(shown: &Shown, edit: Option<Value>) -> Message {
    let first = Mrkdwn::fixed(":no_entry_sign: This can't be done, nothing was started: ")
        + wish(shown)
        + ".";
    let mut blocks: Vec<Block> = shown.held.stop.iter().map(held::banner).collect();
    blocks.push(Block::section(first.clone()));
    let reasons = shown
        .problems
        .iter()
        .fold(RichText::new(), |text, problem| text.line(&problem.message));
    blocks.push(reasons.into());
    if let Some(value) = edit {
        let form = Button::new(actions::PLAN_EDIT, "Open form")
            .value(value)
            .spoken("Open the form with this plan");
        blocks.push(Block::actions([Element::from(form)]));
    }
    let why = shown
        .problems
        .first()
        .map_or_else(Mrkdwn::default, |problem| {
            Mrkdwn::fixed(" ") + Mrkdwn::code_within(&problem.message, MOST_SENTENCE)
        });
    Message::new(stopped(shown) + first + why, blocks)
}

/// The first line, which has to stand alone.
pub(in crate::receiver) fn first(shown: &Shown, beside: &Beside<'_>) -> Mrkdwn {
    let moved = beside.moved.as_ref().map(moved);
    if let Some(repeat) = &beside.repeat {
        let before = match repeat {
            Repeat::Active(_) => "This is under way already: ",
            Repeat::Waiting(_) => "This waits already: ",
            Repeat::Ended(..) => "This was done a moment ago: ",
        };
        let sign = standing::sign(standing::phase(repeat.request()));
        let moved = moved.map_or_else(Mrkdwn::default, |moved| moved + ". ");
        return moved + before + wish(shown) + ", " + sign + held::after_wish(&shown.held) + ".";
    }
    if let Some(moved) = moved {
        return moved
            + ", so nothing was started. The plan now: "
            + wish(shown)
            + held::after_wish(&shown.held)
            + ".";
    }
    let before = if beside.changed {
        "Something has changed since you saw the plan, so nothing was started. The plan now: "
    } else {
        "Plan: "
    };
    Mrkdwn::fixed(before) + wish(shown) + held::after_wish(&shown.held) + "."
}

/// What became of a version while somebody looked at the plan.
fn moved(moved: &Moved) -> Mrkdwn {
    let name = Mrkdwn::code_within(&moved.version, MOST_NAME);
    let commit = |commit: &str| Mrkdwn::code(version::short(commit));
    match (&moved.from, &moved.to) {
        (Some(from), Some(to)) => {
            name + " moved from " + commit(from) + " to " + commit(to) + " while you looked"
        }
        (None, Some(to)) => {
            Mrkdwn::fixed("Which commit ") + name + " is, is known now: " + commit(to)
        }
        (_, None) => Mrkdwn::fixed("Which commit ") + name + " is, is not known any more",
    }
}

/// What is planned, without its buttons.
pub(in crate::receiver) fn body(shown: &Shown, beside: &Beside<'_>) -> Vec<Block> {
    let mut blocks: Vec<Block> = shown.held.stop.iter().map(held::banner).collect();
    blocks.push(Block::section(first(shown, beside)));
    if let Some(repeat) = &beside.repeat {
        let request = repeat.request();
        let (_, label) = label(shown, beside);
        let again = match repeat {
            Repeat::Ended(..) => " starts it once more.",
            Repeat::Active(_) | Repeat::Waiting(_) => " starts it once more, after that one.",
        };
        blocks.push(Block::section(
            Mrkdwn::code(&request.name_any())
                + ": "
                + standing::line(request).cut(MOST_STANDING)
                + "\n"
                + Mrkdwn::code(label.as_str())
                + again,
        ));
    }
    let (_, verb) = label(shown, beside);
    blocks.extend(held::body(&shown.held, verb.as_str()));
    blocks.push(Section::of_fields(fields(shown)).into());
    if let Some(difference) = &shown.difference {
        let head = shown.commit.as_deref().unwrap_or_default();
        let page = shown.repository.as_deref();
        blocks.extend(changed::changes(difference, head, page));
    }
    if !shown.artifacts.is_empty() {
        blocks.extend(Block::sections(&artifacts(&shown.artifacts)));
    }
    if !shown.parameters.is_empty() {
        blocks.extend(Block::sections(&parameters(shown)));
    }
    if let Some(reason) = &shown.reason {
        blocks.push(
            RichText::new()
                .quote(&clean_lines(reason, MOST_REASON))
                .into(),
        );
    }
    blocks.extend(
        shown
            .approvals
            .as_ref()
            .map(|needed| Block::section(approvals(needed).cut(MOST_APPROVALS))),
    );
    let warnings: Vec<Mrkdwn> = shown
        .warnings
        .iter()
        .map(|one| warning(one, shown))
        .collect();
    if !warnings.is_empty() {
        let warnings = Mrkdwn::join(warnings, "\n").cut(MOST_WARNINGS);
        blocks.extend(Block::sections(&warnings));
    }
    let mut small: Vec<Mrkdwn> = shown
        .waits
        .iter()
        .map(|one| wait(one).cut(MOST_STANDING))
        .collect();
    small.extend(told(&beside.telling));
    small.push(
        Mrkdwn::fixed("Nothing starts before you confirm. Yours alone, good until ")
            + Mrkdwn::date(beside.expires)
            + ".",
    );
    blocks.push(Block::context(small));
    blocks
}

/// What is asked for.
pub(in crate::receiver) fn wish(shown: &Shown) -> Mrkdwn {
    standing::wish(
        &shown.action,
        &shown.application,
        commits::version(shown.version.as_deref(), shown.commit.as_deref(), None),
        &shown.environment,
    )
}

fn fields(shown: &Shown) -> Vec<Mrkdwn> {
    let pair = |name: &'static str, value: Mrkdwn| Mrkdwn::fixed(name) + "\n" + value;
    let application = Mrkdwn::name(&shown.namespace) + " / " + Mrkdwn::name(&shown.application);
    let page = shown.repository.as_deref();
    let place = Mrkdwn::code_within(&shown.place.account, MOST_NAME)
        + ", namespace "
        + Mrkdwn::code_within(&shown.place.namespace, MOST_NAME);
    let current = shown.current.as_ref().map_or_else(
        || Mrkdwn::fixed("nothing deployed from here yet"),
        |current| {
            let ran = version(current.version.as_deref(), current.commit.as_deref(), page);
            ran + " since " + Mrkdwn::date(current.since)
        },
    );
    let mut planned = version(shown.version.as_deref(), shown.commit.as_deref(), page);
    if !shown.version_given && shown.version.is_some() {
        planned += ", as no other is named";
    }
    let mut fields = vec![
        pair("*Application*", application),
        pair("*Environment*", Mrkdwn::name(&shown.environment)),
        pair(
            if shown.elsewhere {
                "*Where (not its own place)*"
            } else {
                "*Where*"
            },
            place,
        ),
        pair("*Version*", planned),
        pair("*Runs there now*", current),
    ];
    if let Some(pipeline) = &shown.pipeline {
        fields.push(pair("*Pipeline*", Mrkdwn::code_within(pipeline, MOST_NAME)));
    }
    fields
}

fn version(name: Option<&str>, sha: Option<&str>, page: Option<&str>) -> Mrkdwn {
    commits::version(name, sha, page).unwrap_or_else(|| Mrkdwn::fixed("none named"))
}

fn artifacts(all: &[Artifact]) -> Mrkdwn {
    let lines = all.iter().map(artifacts::line);
    let (lines, listed) = artifacts::list(lines, MOST_ARTIFACTS);
    and_more(
        Mrkdwn::fixed("*Artifacts*\n") + lines,
        all.len().saturating_sub(listed),
    )
}

/// A list, and how many are missing there.
fn and_more(list: Mrkdwn, rest: usize) -> Mrkdwn {
    if rest == 0 {
        return list;
    }
    list + "\n… and " + Mrkdwn::number(rest as u64) + " more"
}

fn parameters(shown: &Shown) -> Mrkdwn {
    let lines = shown.parameters.iter().take(MOST_PARAMETERS).map(|one| {
        let line = Mrkdwn::fixed("• ")
            + Mrkdwn::code_within(&one.name, MOST_NAME)
            + " = "
            + Mrkdwn::code_within(&one.value, MOST_VALUE);
        let line = match &one.default {
            Some(default) => line + " instead of " + Mrkdwn::code_within(default, MOST_VALUE),
            None => line,
        };
        if one.asked {
            line
        } else {
            line + ", by the application"
        }
    });
    let (lines, listed) = artifacts::list(lines, MOST_PARAMETERS_TEXT);
    and_more(
        Mrkdwn::fixed("*Parameters*\n") + lines,
        shown.parameters.len().saturating_sub(listed),
    )
}

fn warning(warning: &Warning, shown: &Shown) -> Mrkdwn {
    let version = || Mrkdwn::code_within(shown.version.as_deref().unwrap_or_default(), MOST_NAME);
    Mrkdwn::fixed(":warning: ")
        + match warning {
            Warning::Unresolved {
                sentence,
                missing: false,
            } => {
                Mrkdwn::code_within(sentence, MOST_SENTENCE)
                    + " Which commit "
                    + version()
                    + " is will be found when it is accepted."
            }
            Warning::Unresolved { sentence, .. } => {
                Mrkdwn::code_within(sentence, MOST_SENTENCE)
                    + " The environment takes it all the same: "
                    + version()
                    + " goes as it is named, without a commit."
            }
            Warning::WaitsForCommit { sentence } => {
                Mrkdwn::code_within(sentence, MOST_SENTENCE)
                    + " The environment takes no version whose commit isn't known, so it waits until the repository says which \
                       commit "
                    + version()
                    + " is."
            }
            Warning::NotAskedAgain { sentence } => {
                Mrkdwn::fixed("Whether ")
                    + version()
                    + " has moved since you saw the plan can't be asked now: "
                    + Mrkdwn::code_within(sentence, MOST_SENTENCE)
                    + " The commit is the one that you saw."
            }
            Warning::NeedsCommit => Mrkdwn::fixed(
                "What it hands to the pipeline names the commit: parameters and artifacts are found when the commit is, and it \
                 doesn't start before.",
            ),
            Warning::SameVersion => Mrkdwn::fixed(
                "What runs there has this version already; if it is a branch, it may have moved on.",
            ),
            Warning::EnvironmentNotReady { message } => {
                Mrkdwn::fixed("The environment isn't in order, so it would wait: ")
                    + Mrkdwn::code_within(message, MOST_SENTENCE)
            }
            Warning::Pipeline { message } => {
                Mrkdwn::fixed("About the pipeline: ") + Mrkdwn::code_within(message, MOST_SENTENCE)
            }
            Warning::NotDescribed => Mrkdwn::fixed(
                "The pipeline's parameters aren't all known here; they are checked when it starts.",
            ),
            Warning::Supersedes { requests } => {
                Mrkdwn::fixed("It takes the place of what waits there: ")
                    + Mrkdwn::number(*requests as u64)
                    + " in line."
            }
        }
}

/// What it will wait for.
fn wait(wait: &Wait) -> Mrkdwn {
    match wait {
        Wait::Held {
            request,
            version: held,
            requester,
        } => {
            let held = held.as_deref().map_or_else(Mrkdwn::default, |held| {
                Mrkdwn::fixed(" (") + Mrkdwn::code_within(held, MOST_NAME) + ")"
            });
            let of = requester
                .as_deref()
                .map_or_else(Mrkdwn::default, |requester| {
                    Mrkdwn::fixed(", asked by ") + Mrkdwn::code_within(requester, MOST_NAME) + ","
                });
            Mrkdwn::fixed("It waits until ") + Mrkdwn::code(request) + held + of + " has ended."
        }
        Wait::Line { requests: 1 } => Mrkdwn::fixed("One request is in line before it."),
        Wait::Line { requests } => {
            Mrkdwn::number(*requests as u64) + " requests are in line before it."
        }
    }
}

fn approvals(needed: &Needed) -> Mrkdwn {
    let mut text = Mrkdwn::fixed(":raised_hand: Before anything starts, ");
    text += match needed.people {
        1 => Mrkdwn::fixed("somebody has to approve it"),
        people => Mrkdwn::number(people) + " people have to approve it",
    };
    if !needed.groups.is_empty() {
        let groups = needed.groups.iter();
        text += Mrkdwn::fixed(", of each of these groups one: ")
            + Mrkdwn::join(
                groups.map(|group| Mrkdwn::code_within(group, MOST_NAME)),
                ", ",
            );
    }
    text + if needed.asker_may {
        "."
    } else {
        ". You can't, since you ask for it."
    }
}

fn told(telling: &Telling) -> Option<Mrkdwn> {
    match telling {
        Telling::Here => None,
        Telling::Channel(channel) => {
            Some(Mrkdwn::fixed("How it goes is told in ") + Mrkdwn::channel(channel) + ".")
        }
        Telling::Direct { channel, .. } if channel.is_direct() => Some(Mrkdwn::fixed(
            "I am no member of this conversation, so I can't tell here how it goes: follow it in the direct message that \
             you get.",
        )),
        Telling::Direct { channel, bot } => {
            let invite = bot.as_ref().map_or_else(
                || Mrkdwn::fixed("invite me"),
                |bot| Mrkdwn::fixed("/invite ") + Mrkdwn::user(bot),
            );
            Some(
                Mrkdwn::fixed("I am no member of ")
                    + Mrkdwn::channel(channel)
                    + ", so I can't tell there how it goes: "
                    + invite
                    + " there, or follow it in the direct message that you get.",
            )
        }
    }
}

fn row(shown: &Shown, beside: &Beside<'_>, buttons: Buttons) -> Block {
    let (action, label) = label(shown, beside);
    let spoken = format!(
        "{}: {} to {}",
        label.as_str(),
        shown.application,
        shown.environment
    );
    let go = Button::new(action, label)
        .value(buttons.go)
        .style(Style::Primary)
        .spoken(spoken);
    let edit = Button::new(actions::PLAN_EDIT, "Edit")
        .value(buttons.edit)
        .spoken("Edit this plan");
    let dismiss = Button::new(actions::PLAN_CANCEL, "Cancel")
        .value(buttons.dismiss)
        .spoken("Take this plan away; nothing is started");
    let mut row = [go, edit, dismiss].map(Element::from).to_vec();
    row.extend(buttons.overriding.map(held::plan_button));
    row.extend(show_all(shown));
    Block::actions(row)
}

/// The button that lists all commits, where the plan lists some.
fn show_all(shown: &Shown) -> Option<Element> {
    let difference = shown.difference.as_ref()?;
    let application = (&*shown.namespace, &*shown.application);
    changed::show_all(
        &difference.changes,
        application,
        shown.commit.as_deref()?,
        shown.repository.as_deref(),
    )
}

/// What the button that starts it is called.
pub(in crate::receiver) fn label(shown: &Shown, beside: &Beside<'_>) -> (&'static str, Plain) {
    let verb = if shown.action == DEFAULT_ACTION {
        "Deploy".to_owned()
    } else {
        capital(&shown.action)
    };
    if beside.repeat.is_some() {
        (actions::PLAN_AGAIN, Plain::from(format!("{verb} again")))
    } else {
        (actions::PLAN_DEPLOY, Plain::from(verb))
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
