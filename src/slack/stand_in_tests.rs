//! All of it together against the stand-in Slack: one app, told of everything over both transports.

use std::{sync::Arc, time::Duration};

use foredeck_testkit::slack::{Effect, Fault, Goodbye, RequestUrls, StandInSlack};
use jiff::Timestamp;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    blocks::{Block, Input, Message, Metadata},
    client::{
        Answering, Destination, Elsewhere, Post, Posted, Priority, SlackClient, SlackError,
        SlackSettings, Span,
    },
    elements::{Button, Choice, ExternalSelect, PlainTextInput, Value},
    http,
    ids::{ChannelId, MessageTs, UserId},
    inbound::{Allowed, Delivery, Event, Handler, Inbound, Intake, Reply},
    metrics::SlackMetrics,
    signature::SigningSecrets,
    socket::{SocketMode, SocketSettings},
    text::{Mrkdwn, Plain},
    view::View,
};

const DEADLINE: Duration = Duration::from_secs(20);

/// An app that does each thing once.
struct App(SlackClient);

impl Handler for App {
    async fn handle(&self, delivery: Delivery) -> Reply {
        let first = delivery.retry.is_none();
        match delivery.kind {
            Inbound::Command(command) if command.text == "form" => {
                self.0.open_view(&command.trigger, &form()).await.unwrap();
                Reply::Empty
            }
            Inbound::Command(command) => {
                let text = Mrkdwn::fixed("You said ") + Mrkdwn::code(&command.text);
                let button = Button::new("go", "Go").value(Value::new(command.text).unwrap());
                let blocks = [
                    Block::section(text.clone()),
                    Block::actions([button.into()]),
                ];
                Reply::ephemeral(Message::new(text, blocks))
            }
            Inbound::Actions(actions) => {
                let value = actions.actions[0].given.first().unwrap();
                let done = Message::plain(Mrkdwn::fixed("Started ") + Mrkdwn::code(value));
                let url = actions.response_url.as_ref().unwrap();
                self.0
                    .respond(url, Answering::Replace(&done))
                    .await
                    .unwrap();
                let to = Destination::Channel(actions.place().unwrap().clone());
                post(&self.0, &to, None, &done).await.unwrap();
                Reply::Empty
            }
            Inbound::Suggestion(suggestion) => {
                let choice = Choice::new(suggestion.value.clone(), suggestion.value);
                Reply::Options(vec![choice.unwrap()])
            }
            Inbound::Submission(submission) => {
                let values = &submission.view.state;
                if values.get("why", "why") == Some("bad") {
                    let error = ("why".to_owned(), Plain::new("Say more"));
                    return Reply::ViewErrors([error].into());
                }
                let what = values.get("what", "what").unwrap();
                let to = Destination::Person(submission.user.id.clone());
                let message = Message::plain(Mrkdwn::fixed("Chosen: ") + Mrkdwn::code(what));
                post(&self.0, &to, None, &message).await.unwrap();
                Reply::Empty
            }
            Inbound::Event(event) => match event.event {
                Event::Mention(message) if message.text.contains("again") && first => {
                    Reply::Refused
                }
                Event::Mention(message) => {
                    let to = Destination::Channel(message.channel);
                    let answer = Message::plain(Mrkdwn::fixed("Heard"));
                    post(&self.0, &to, Some(&message.ts), &answer)
                        .await
                        .unwrap();
                    Reply::Empty
                }
                _ => Reply::Empty,
            },
            _ => Reply::Empty,
        }
    }
}

fn form() -> View {
    let what = ExternalSelect::new("what", "Choose");
    let why = PlainTextInput::new("why");
    View::modal(
        "form",
        "A form",
        [
            Input::new("what", "What", what).into(),
            Input::new("why", "Why", why).into(),
        ],
    )
    .submit("Send")
}

async fn post(
    client: &SlackClient,
    to: &Destination,
    thread: Option<&MessageTs>,
    message: &Message,
) -> Result<Posted, SlackError> {
    let permit = client.reserve_post(to, Priority::Final).await;
    let post = Post {
        to,
        thread,
        broadcast: false,
        message,
    };
    client.post_message(permit, post).await
}

async fn stand_in() -> StandInSlack {
    let slack = StandInSlack::start().await.unwrap();
    let scopes = ["channels:history", "groups:history"].map(str::to_owned);
    slack.change_app(|app| app.scopes.extend(scopes));
    slack
}

fn client(slack: &StandInSlack) -> SlackClient {
    let api = slack.api_url().parse().unwrap();
    let settings = SlackSettings::new(&api, slack.bot_token().into()).unwrap();
    let settings = settings.deadline(Duration::from_secs(2)).without_proxies();
    SlackClient::new(settings).unwrap()
}

/// Whatever the stand-in tells is for us, and nothing else is.
fn intake(slack: &StandInSlack) -> Intake<App> {
    let allowed = Allowed {
        teams: [slack.team_id().parse().unwrap()].into(),
        apps: [slack.app_id().parse().unwrap()].into(),
    };
    let app = Arc::new(App(client(slack)));
    Intake::new(app, allowed, SlackMetrics::default())
}

async fn over_sockets(slack: &StandInSlack) -> (CancellationToken, JoinHandle<()>) {
    let settings = SocketSettings::new(slack.app_token().into(), || 3).unwrap();
    let settings = settings.without_proxies();
    let mode = SocketMode::new(client(slack), settings, intake(slack)).unwrap();
    let leave = CancellationToken::new();
    let running = tokio::spawn(mode.run(leave.clone()));
    slack.connected(2, DEADLINE).await.unwrap();
    (leave, running)
}

async fn over_http(slack: &StandInSlack) {
    let secrets = SigningSecrets::new([slack.signing_secret().into()]).unwrap();
    let router = http::router(intake(slack), secrets, Timestamp::now);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/slack", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    slack.deliver_by_http(RequestUrls {
        commands: format!("{base}/commands"),
        interactivity: format!("{base}/interactivity"),
        options: None,
        events: format!("{base}/events"),
    });
}

/// What a person does with the app, and sees.
async fn a_conversation(slack: &StandInSlack) {
    let alice = slack.user("alice");
    let said = alice
        .command("deploys", "/deploy <!here> `x` & @bob")
        .unwrap();
    said.answered().await.unwrap();
    let shown = slack.ephemerals("alice").pop().unwrap();
    assert!(shown.text.starts_with("You said `"), "{}", shown.text);
    let text = shown.text.replace("&lt;", "").replace("&gt;", "");
    assert!(!text.contains(['<', '>']), "{text}");

    alice.click(&shown, "go").unwrap().answered().await.unwrap();
    let started = |text: &str| text.starts_with("Started `");
    let replaced = slack.ephemerals("alice").pop().unwrap();
    assert!(started(&replaced.text), "{}", replaced.text);
    assert!(
        slack
            .messages("deploys")
            .iter()
            .any(|message| started(message.text()))
    );

    let asked = alice.command("deploys", "/deploy form").unwrap();
    asked.answered().await.unwrap();
    let view = slack.view_of("alice").unwrap();
    let offered = alice.suggest(&view, "what", "checkout").unwrap();
    let offered = offered.answered().await.unwrap().body.unwrap();
    assert_eq!(offered["options"][0]["value"], "checkout", "{offered}");
    alice.select(&view, "what", "checkout").unwrap();
    alice.fill(&view, "why", "bad").unwrap();
    alice.submit(&view).unwrap().answered().await.unwrap();
    let view = slack.view_of("alice").unwrap();
    assert_eq!(view.errors["why"], "Say more");
    alice.fill(&view, "why", "good").unwrap();
    alice.submit(&view).unwrap().answered().await.unwrap();
    assert!(slack.view_of("alice").is_none());
    let direct = slack.direct_messages("alice").pop().unwrap();
    assert_eq!(direct.text(), "Chosen: `checkout`");

    let mention = alice.mention("deploys", None, "once again").unwrap();
    let tries = mention.tried(2).await.unwrap();
    assert!(tries[0].result.as_ref().unwrap().is_err(), "{tries:?}");
    mention.answered().await.unwrap();
    let heard = slack.messages("deploys").into_iter();
    assert_eq!(heard.filter(|message| message.text() == "Heard").count(), 1);
    assert_eq!(
        slack.violations(),
        Vec::<String>::new(),
        "{}",
        slack.describe()
    );
}

#[tokio::test]
async fn the_app_works_over_sockets() {
    let slack = stand_in().await;
    // Without the wait between retries of events; a socket that keeps silent is waited for.
    slack.set_timing(foredeck_testkit::slack::Timing {
        event_retries: vec![Duration::ZERO],
        ..Default::default()
    });
    let (leave, running) = over_sockets(&slack).await;
    a_conversation(&slack).await;
    leave.cancel();
    timeout(DEADLINE, running).await.unwrap().unwrap();
    assert!(slack.sockets().is_empty(), "{:?}", slack.sockets());
}

#[tokio::test]
async fn the_app_works_over_http() {
    let slack = stand_in().await;
    over_http(&slack).await;
    a_conversation(&slack).await;
    let challenge = slack.verify_url("3eZbrw1aB").answered().await.unwrap();
    let body = challenge.body.unwrap();
    assert!(body.to_string().contains("3eZbrw1aB"), "{body}");
}

#[tokio::test]
async fn no_command_is_lost_while_sockets_are_replaced() {
    let slack = stand_in().await;
    let (leave, running) = over_sockets(&slack).await;
    let alice = slack.user("alice");
    let mut deliveries = Vec::new();
    for round in 0..3 {
        for socket in slack.sockets().iter().filter(|socket| !socket.leaving) {
            slack.say_goodbye(socket.id, Goodbye::RefreshRequested);
            for number in 0..10 {
                let line = format!("/deploy {round}-{number}");
                deliveries.push(alice.command("deploys", &line).unwrap());
                tokio::task::yield_now().await;
            }
        }
        slack.connected(2, DEADLINE).await.unwrap();
    }
    for delivery in &deliveries {
        delivery.answered().await.unwrap();
    }
    assert_eq!(deliveries.len(), 60);
    leave.cancel();
    timeout(DEADLINE, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_went_wrong_is_told_as_it_is() {
    let slack = stand_in().await;
    let client = client(&slack);
    let deploys = slack.channel("deploys").unwrap().id;
    let deploys = ChannelId::new(deploys).unwrap();
    let to = Destination::Channel(deploys.clone());
    let mark = Metadata::new("foredeck", [("uid", "1".to_owned())]);
    let message = Message::plain(Mrkdwn::fixed("hello")).metadata(mark);

    let first = post(&client, &to, None, &message).await.unwrap();
    slack.inject(Fault::on("chat.postMessage", Effect::LoseAnswer));
    let error = post(&client, &to, None, &message).await.unwrap_err();
    assert!(matches!(error, SlackError::Uncertain { .. }), "{error:?}");
    slack.inject(Fault::on("chat.postMessage", Effect::InternalErrorAfter));
    let error = post(&client, &to, None, &message).await.unwrap_err();
    assert!(matches!(error, SlackError::Uncertain { .. }), "{error:?}");
    slack.inject(Fault::on("chat.postMessage", Effect::Hang));
    let error = post(&client, &to, None, &message).await.unwrap_err();
    assert!(matches!(error, SlackError::Uncertain { .. }), "{error:?}");
    assert_eq!(
        slack.calls_of("chat.postMessage").len(),
        4,
        "nothing was sent again"
    );
    // The two that were posted after all are found by their mark.
    let latest = MessageTs::new("9999999999.000000").unwrap();
    let span = Span {
        oldest: &first.ts,
        latest: &latest,
    };
    let page = client.history(&deploys, span, None).await.unwrap();
    let ours = page.items.iter().filter(|found| {
        let by_us = found.user.as_ref().map(UserId::as_str) == Some(&slack.bot_user_id());
        by_us && found.has_mark("foredeck", "uid", "1")
    });
    assert_eq!(ours.count(), 3);

    slack.inject(Fault::on("chat.update", Effect::LoseAnswer));
    let permit = client.reserve_update(Priority::Final).await;
    let error = client
        .update_message(permit, &first, &message)
        .await
        .unwrap_err();
    assert!(matches!(error, SlackError::Retry { .. }), "{error:?}");
    slack.inject(Fault::on("chat.update", Effect::RateLimited(2)));
    let permit = client.reserve_update(Priority::Final).await;
    let error = client
        .update_message(permit, &first, &message)
        .await
        .unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    let permit = client.reserve_update(Priority::Final).await;
    client
        .update_message(permit, &first, &message)
        .await
        .unwrap();

    let gone = Posted {
        channel: deploys,
        ts: MessageTs::new("1.000001").unwrap(),
    };
    let permit = client.reserve_update(Priority::Final).await;
    let error = client
        .update_message(permit, &gone, &message)
        .await
        .unwrap_err();
    let elsewhere = |error: &SlackError| match error {
        SlackError::FallBack { to, .. } => Some(*to),
        _ => None,
    };
    assert_eq!(elsewhere(&error), Some(Elsewhere::NewMessage), "{error:?}");
    slack.remove_app_from("deploys");
    let error = post(&client, &to, None, &message).await.unwrap_err();
    assert_eq!(
        elsewhere(&error),
        Some(Elsewhere::DirectMessage),
        "{error:?}"
    );
    slack.set_installation(foredeck_testkit::slack::Installation::TokenRevoked);
    let error = client.auth_test().await.unwrap_err();
    assert!(matches!(error, SlackError::Stop { .. }), "{error:?}");
}

#[tokio::test]
async fn a_burst_keeps_slacks_limits() {
    let slack = stand_in().await;
    slack.enforce_rate_limits(true);
    let client = client(&slack);
    let to = Destination::Channel(ChannelId::new(slack.channel("deploys").unwrap().id).unwrap());
    let message = Message::plain(Mrkdwn::fixed("hello"));
    let mut posted = Vec::new();
    for _ in 0..3 {
        posted.push(post(&client, &to, None, &message).await.unwrap());
    }
    for number in 0..14 {
        let permit = client.reserve_update(Priority::Progress).await;
        let new = Message::plain(Mrkdwn::number(number));
        client
            .update_message(permit, &posted[0], &new)
            .await
            .unwrap();
    }
    assert!(
        slack.rate_limit_violations().is_empty(),
        "{:?}",
        slack.rate_limit_violations()
    );
}
