//! What Slack delivers, and what it is answered in time. Touches Slack and the API server through its steps.
//!
//! Slack delivers events again when they are refused, and nothing else. So a message that can't be worked on now, or of
//! which it isn't known that it was written down, is refused as long as Slack delivers it again; anything else is answered
//! in words that say whether something was started.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::{
    Receiver,
    answer::{refusing, started},
    occasion::{Answer, Occasion, Trouble},
    plan::PlanId,
};
use crate::{
    receiver::grammar::Typed,
    runtime::{crash, telemetry},
    slack::{
        actions,
        blocks::{Block, Message},
        ids::UserId,
        inbound::{
            AppMessage, BlockActions, BlockSuggestion, Delivery, Event, Handler, Inbound, Reply,
            SlashCommand, ViewSubmission, Visibility,
        },
        text::Plain,
        view::View,
    },
};

/// Between the answer and the moment when nobody waits for it any more.
const MARGIN: Duration = Duration::from_millis(100);
/// How old what is known of somebody's account may be who presses a button: that starts something.
const PRESSING: Duration = Duration::from_mins(1);
/// How often Slack delivers an event again at most.
const RETRIES: u8 = 3;

impl Handler for Receiver {
    async fn handle(&self, delivery: Delivery) -> Reply {
        let began = Instant::now();
        let by = delivery.deadline.checked_sub(MARGIN).unwrap_or(began);
        let kind = word(&delivery.kind);
        let retry = delivery.retry.map_or(0, |retry| retry.number);
        let around = tracing::error_span!("delivery", delivery.kind = kind);
        let answering = Box::pin(self.answer(delivery.kind, retry < RETRIES, by));
        let reply = answering.instrument(around.clone()).await;
        crash::point("before-answer");
        let took = began.elapsed();
        self.metrics.answered(kind, reply.word(), took);
        around.in_scope(|| {
            let duration_ms = telemetry::milliseconds(took);
            tracing::debug!(
                outcome = reply.word(),
                duration_ms,
                "a delivery is answered"
            );
        });
        reply
    }
}

/// A fixed word for metrics, finer than the envelope's.
fn word(inbound: &Inbound) -> &'static str {
    match inbound {
        Inbound::Event(event) => match &event.event {
            Event::Mention(_) => "mention",
            Event::Message(message) if message.is_direct() => "direct-message",
            _ => "event",
        },
        other => other.word(),
    }
}

impl Receiver {
    /// `comes_again` is whether Slack will deliver an event again that is refused.
    async fn answer(&self, inbound: Inbound, comes_again: bool, by: Instant) -> Reply {
        let foreign = inbound.is_foreign(self.identity.home());
        match inbound {
            Inbound::Command(command) => {
                if foreign {
                    return Reply::ephemeral(stranger());
                }
                Box::pin(self.command(command, by)).await
            }
            Inbound::Event(event) => match event.event {
                // Whoever is elsewhere gets no answer: it would be read elsewhere too.
                _ if foreign => Reply::Empty,
                Event::Mention(message) => Box::pin(self.message(message, comes_again, by)).await,
                Event::Message(message) if message.is_direct() => {
                    Box::pin(self.message(message, comes_again, by)).await
                }
                Event::UserChanged(user) => {
                    self.people.account_changed(&user).await;
                    Reply::Empty
                }
                Event::GroupChanged(_) => {
                    self.people.groups_changed();
                    Reply::Empty
                }
                _ => Reply::Empty,
            },
            Inbound::Actions(actions) => Box::pin(self.actions(actions, foreign, by)).await,
            Inbound::Submission(submission) => {
                if foreign {
                    return told_in_modal(&stranger());
                }
                Box::pin(self.submission(submission, by)).await
            }
            Inbound::Suggestion(suggestion) => {
                if foreign {
                    return Reply::Options(Vec::new());
                }
                self.suggestion(&suggestion, by).await
            }
            Inbound::Closed(_) | Inbound::Shortcut(_) | Inbound::Unknown { .. } => Reply::Empty,
        }
    }

    /// What `work` comes to, if that is in time; else the truth about what may have been started.
    pub(super) async fn in_time(
        &self,
        occasion: &Occasion,
        work: impl Future<Output = Result<Answer, Trouble>>,
    ) -> Result<Answer, Trouble> {
        let work = async {
            // A process that has just begun may still be listing.
            self.directory.opened().await;
            work.await
        };
        match timeout_at(occasion.by, work).await {
            Ok(answer) => answer,
            Err(_) => match occasion.attempted.get() {
                Some(attempted) if !occasion.comes_again => Ok(Answer::Say(started::never_known(
                    attempted,
                    &self.settings.command,
                ))),
                _ => Err(Trouble::Late),
            },
        }
    }

    async fn command(&self, command: SlashCommand, by: Instant) -> Reply {
        let id = PlanId::of_command(&command.team, &command.trigger);
        let typed = Typed {
            text: command.text,
            preformatted: None,
        };
        let own = self.voice.is_own(&command.user, &command.channel, by).await;
        let direct = own == Some(true);
        // In the app's own conversation an answer stays, as it does to a message there.
        let reply = |message| Reply::Message {
            visibility: if direct {
                Visibility::InChannel
            } else {
                Visibility::Ephemeral
            },
            message,
        };
        let occasion = Occasion {
            user: command.user,
            direct,
            channel: Some(command.channel),
            thread: None,
            said: None,
            in_modal: false,
            trigger: Some(command.trigger),
            url: command.response_url,
            comes_again: false,
            by,
            attempted: Arc::new(OnceLock::new()),
        };
        let answer = self
            .in_time(&occasion, Box::pin(self.said(&occasion, id, &typed)))
            .await;
        match answer.unwrap_or_else(Trouble::into_answer) {
            Answer::Say(message) | Answer::Replace(message) => reply(message),
            Answer::Remove | Answer::Nothing => Reply::Empty,
            Answer::Modal { view, or } => {
                let opened = match &occasion.trigger {
                    Some(trigger) => {
                        timeout_at(by, self.voice.slack.open_view(trigger, &view)).await
                    }
                    None => return reply(or),
                };
                match opened {
                    Ok(Ok(_)) => Reply::Empty,
                    Ok(Err(error)) => {
                        tracing::warn!(error = %telemetry::chain(&error), "a modal can't be opened");
                        reply(or)
                    }
                    Err(_) => reply(or),
                }
            }
        }
    }

    /// A mention, or a direct message.
    async fn message(&self, message: AppMessage, comes_again: bool, by: Instant) -> Reply {
        let Some(user) = message.person().cloned() else {
            return Reply::Empty;
        };
        let id = PlanId::of_message(&message.channel, &message.ts);
        // Nothing would be started twice, but it would be answered twice.
        if self.heard.get(&id).await.is_some() {
            return Reply::Empty;
        }
        let direct = message.is_direct();
        let occasion = Occasion {
            user,
            channel: Some(message.channel.clone()),
            // What isn't said in a thread isn't answered in one.
            thread: message.thread.clone(),
            said: Some(message.ts.clone()),
            direct,
            in_modal: false,
            trigger: None,
            url: None,
            comes_again,
            by,
            attempted: Arc::new(OnceLock::new()),
        };
        let typed = Typed {
            text: without_mention(&message.text).to_owned(),
            preformatted: message.preformatted.into_iter().next(),
        };
        let heard = id.clone();
        let answer = match self
            .in_time(&occasion, Box::pin(self.said(&occasion, id, &typed)))
            .await
        {
            Ok(answer) => answer,
            Err(Trouble::Silent | Trouble::Late) if comes_again => return Reply::Refused,
            Err(trouble) => trouble.into_answer(),
        };
        self.heard.insert(heard, ()).await;
        let (Answer::Say(said) | Answer::Replace(said) | Answer::Modal { or: said, .. }) = answer
        else {
            return Reply::Empty;
        };
        let voice = self.voice.clone();
        // Not within the deadline: what was written down is not asked for again because Slack is slow to show it.
        self.later.spawn(async move {
            if let Err(error) = voice.say(&occasion, &said).await {
                tracing::warn!(error = %telemetry::chain(&error), reason = error.reason(), "an answer didn't reach Slack");
            }
        });
        Reply::Empty
    }

    async fn actions(&self, pressed: BlockActions, foreign: bool, by: Instant) -> Reply {
        let Some(action) = pressed.actions.first().cloned() else {
            return Reply::Empty;
        };
        // A link takes people elsewhere; that it was pressed is nothing to us.
        if action.action.starts_with(actions::LINK) {
            return Reply::Empty;
        }
        let channel = pressed.place().cloned();
        let own = match &channel {
            Some(channel) if !foreign => self.voice.is_own(&pressed.user.id, channel, by).await,
            _ => None,
        };
        if !foreign {
            self.identity.forget_older(&pressed.user.id, PRESSING).await;
        }
        let occasion = Occasion {
            user: pressed.user.id.clone(),
            direct: own == Some(true),
            channel,
            thread: pressed.container.thread.clone(),
            said: None,
            in_modal: pressed.view.is_some(),
            trigger: pressed.trigger.clone(),
            url: pressed.response_url.clone(),
            comes_again: false,
            by,
            attempted: Arc::new(OnceLock::new()),
        };
        let answer = if foreign {
            Err(Trouble::Told(stranger()))
        } else {
            let pressing = Box::pin(self.pressed(&occasion, &action, pressed.view.as_ref()));
            self.in_time(&occasion, pressing).await
        };
        let answer = answer.unwrap_or_else(Trouble::into_answer);
        // A trigger is good for three seconds only; everything else can wait for Slack.
        let voice = self.voice.clone();
        if matches!(answer, Answer::Modal { .. }) {
            let _late = timeout_at(by, voice.answer_press(&occasion, &answer)).await;
        } else {
            self.later
                .spawn(async move { voice.answer_press(&occasion, &answer).await });
        }
        Reply::Empty
    }

    async fn submission(&self, submitted: ViewSubmission, by: Instant) -> Reply {
        let user = submitted.user.id.clone();
        self.identity.forget_older(&user, PRESSING).await;
        let occasion = in_modal(user, by);
        let work = Box::pin(self.submitted(&occasion, &submitted.view));
        let wrong = OnceLock::<BTreeMap<String, Plain>>::new();
        let answer = self
            .in_time(&occasion, async {
                match work.await? {
                    Ok(answer) => Ok(answer),
                    Err(errors) => {
                        let _first = wrong.set(errors);
                        Ok(Answer::Nothing)
                    }
                }
            })
            .await;
        if let Some(errors) = wrong.into_inner() {
            return Reply::ViewErrors(errors);
        }
        match answer.unwrap_or_else(Trouble::into_answer) {
            Answer::Say(message) | Answer::Replace(message) => told_in_modal(&message),
            Answer::Modal { view, .. } => Reply::ViewUpdate(view),
            Answer::Remove => Reply::ViewClear,
            Answer::Nothing => Reply::Empty,
        }
    }

    async fn suggestion(&self, asked: &BlockSuggestion, by: Instant) -> Reply {
        let occasion = in_modal(asked.user.id.clone(), by);
        let choices = timeout_at(by, self.suggested(&occasion, asked)).await;
        Reply::Options(choices.unwrap_or_default())
    }
}

fn in_modal(user: UserId, by: Instant) -> Occasion {
    Occasion {
        user,
        channel: None,
        thread: None,
        said: None,
        direct: false,
        in_modal: true,
        trigger: None,
        url: None,
        comes_again: false,
        by,
        attempted: Arc::new(OnceLock::new()),
    }
}

fn stranger() -> Message {
    refusing::nobody(&crate::identity::Nobody::Stranger.to_string())
}

/// Words in the place of a modal.
fn told_in_modal(message: &Message) -> Reply {
    let mut blocks = message.blocks().to_vec();
    if blocks.is_empty() {
        blocks.push(Block::section(message.text().clone()));
    }
    Reply::ViewUpdate(Box::new(
        View::modal("told", "Foredeck", blocks).close("Close"),
    ))
}

/// What was said behind the mention: every mention that it begins with is of whom it was said to.
fn without_mention(text: &str) -> &str {
    let mut rest = text.trim_start();
    while let Some((_, after)) = rest
        .strip_prefix("<@")
        .and_then(|mention| mention.split_once('>'))
    {
        rest = after.trim_start_matches([',', ':']).trim_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_addressed_is_no_part_of_what_is_said() {
        for (text, said) in [
            (
                "<@U0BOT> checkout main to staging",
                "checkout main to staging",
            ),
            ("  <@U0BOT|foredeck>: status", "status"),
            ("<@U0BOT> <@U0BOT>, help", "help"),
            (
                "checkout main to staging <@U0BOT>",
                "checkout main to staging <@U0BOT>",
            ),
            ("<@U0BOT>", ""),
            ("<@never closed", "<@never closed"),
            ("", ""),
        ] {
            assert_eq!(without_mention(text), said, "{text:?}");
        }
    }
}
