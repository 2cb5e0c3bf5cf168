//! Our client against vercel-labs' emulate: a third party's idea of Slack.

use foredeck::slack::{
    blocks::{Block, Message, Metadata},
    client::{
        Destination, Post, Posted, Priority, SlackClient, SlackError, SlackSettings, Span, ViewRef,
    },
    elements::Button,
    ids::{ChannelId, MessageTs, TriggerId, UserId},
    text::Mrkdwn,
    view::View,
};
use foredeck_testkit::toolbox::{Emulate, Node};
use serde_json::{Value, json};

const TOKEN: &str = "xoxb-of-no-worth";
/// What emulate gives its first channel and person.
const GENERAL: &str = "C000000001";
const ADMIN: &str = "U000000001";

async fn emulate() -> Option<Emulate> {
    foredeck::runtime::tls::install();
    let node = Node::fetch().await.unwrap()?;
    let scopes = [
        "channels:history",
        "channels:read",
        "chat:write",
        "groups:history",
        "groups:read",
        "im:history",
        "im:read",
        "im:write",
        "users:read",
        "users:read.email",
    ];
    let seed = json!({
        "users": [{"name": "alice", "real_name": "Alice Ferreira", "email": "alice@harbor.example"}],
        "tokens": [{"token": TOKEN, "user": "admin", "scopes": scopes}],
        "strict_scopes": true,
    });
    Some(Emulate::start(&node, "slack", &seed).await.unwrap())
}

fn client(emulate: &Emulate) -> SlackClient {
    let url = format!("{}/api/", emulate.url()).parse().unwrap();
    let settings = SlackSettings::new(&url, TOKEN.to_owned().into()).unwrap();
    SlackClient::new(settings.without_proxies()).unwrap()
}

/// What our client never does: asks emulate itself for something.
async fn ask(emulate: &Emulate, method: &str, arguments: Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .post(format!("{}/api/{method}", emulate.url()))
        .bearer_auth(TOKEN)
        .json(&arguments)
        .send()
        .await
        .unwrap();
    answer.json().await.unwrap()
}

fn message(text: &'static str) -> Message {
    let text = Mrkdwn::fixed(text);
    Message::new(text.clone(), [Block::section(text)])
}

async fn post(client: &SlackClient, thread: Option<&MessageTs>, message: &Message) -> Posted {
    let to = Destination::Channel(ChannelId::new(GENERAL).unwrap());
    let permit = client.reserve_post(&to, Priority::Final).await;
    let post = Post {
        to: &to,
        thread,
        broadcast: thread.is_some(),
        message,
    };
    client.post_message(permit, post).await.unwrap()
}

#[tokio::test]
async fn messages_are_posted_updated_and_found_again() {
    let Some(emulate) = emulate().await else {
        return;
    };
    let client = client(&emulate);
    let installation = client.auth_test().await.unwrap();
    assert_eq!(installation.user.as_str(), ADMIN);
    let general = ChannelId::new(GENERAL).unwrap();

    let mark = Metadata::new("foredeck", [("uid", "1".to_owned())]);
    let marked = message("checkout is on its way").metadata(mark);
    let posted = post(&client, None, &marked).await;
    let permit = client.reserve_update(Priority::Final).await;
    let new = message("checkout runs in staging");
    client.update_message(permit, &posted, &new).await.unwrap();
    let reply = post(&client, Some(&posted.ts), &message("it took two minutes")).await;

    let span = Span {
        oldest: &posted.ts,
        latest: &reply.ts,
    };
    let history = client.history(&general, span, None).await.unwrap();
    let found = history
        .items
        .iter()
        .find(|found| found.ts == posted.ts)
        .unwrap();
    assert!(
        found.has_mark("foredeck", "uid", "1"),
        "an update without a mark took it away: {found:?}"
    );
    let replies = client
        .replies(&general, &posted.ts, span, None)
        .await
        .unwrap();
    let replies: Vec<&str> = replies
        .items
        .iter()
        .map(|found| found.ts.as_str())
        .collect();
    assert_eq!(replies, [posted.ts.as_str(), reply.ts.as_str()]);
    let stored = ask(
        &emulate,
        "conversations.replies",
        json!({"channel": GENERAL, "ts": posted.ts}),
    )
    .await;
    assert_eq!(
        stored["messages"][0]["blocks"][0]["text"]["text"],
        "checkout runs in staging"
    );

    let link = client.permalink(&posted).await.unwrap();
    assert!(link.as_str().contains(GENERAL), "{link}");
    let admin = UserId::new(ADMIN).unwrap();
    let hint = message("only you see this");
    client
        .post_ephemeral(&general, &admin, Some(&posted.ts), &hint)
        .await
        .unwrap();
    client.delete_message(&reply).await.unwrap();
    let left = client
        .replies(&general, &posted.ts, span, None)
        .await
        .unwrap();
    assert_eq!(left.items.len(), 1);
}

#[tokio::test]
async fn people_and_channels_are_found() {
    let Some(emulate) = emulate().await else {
        return;
    };
    let client = client(&emulate);
    let general = ChannelId::new(GENERAL).unwrap();
    let conversation = client.conversation(&general).await.unwrap();
    assert_eq!(conversation.name.as_deref(), Some("general"));
    assert!(!conversation.is_archived);
    let members = client.members(&general, None).await.unwrap();
    assert!(
        members.items.iter().any(|user| user.as_str() == ADMIN),
        "{members:?}"
    );
    let found = ask(
        &emulate,
        "users.lookupByEmail",
        json!({"email": "alice@harbor.example"}),
    )
    .await;
    let alice = UserId::new(found["user"]["id"].as_str().unwrap()).unwrap();
    let account = client.account(&alice).await.unwrap();
    assert_eq!(account.email(), Some("alice@harbor.example"));
    let direct = client.open_direct(&alice).await.unwrap();
    assert!(direct.is_direct(), "{direct}");
    assert_eq!(client.open_direct(&alice).await.unwrap(), direct);
}

#[tokio::test]
async fn views_are_opened_updated_and_stacked() {
    let Some(emulate) = emulate().await else {
        return;
    };
    let client = client(&emulate);
    let view = |title: &'static str| {
        let button = Button::new("more", "More");
        View::modal("plan", title, [Block::actions([button.into()])])
    };
    let trigger = async |view: Option<&str>| {
        let arguments = json!({"user_id": ADMIN, "view_id": view});
        let given = ask(&emulate, "views.generateTriggerId", arguments).await;
        TriggerId::new(given["trigger_id"].as_str().unwrap()).unwrap()
    };
    let first = trigger(None).await;
    let opened = client.open_view(&first, &view("One")).await.unwrap();
    let updated = client
        .update_view(ViewRef::Id(&opened.id), Some(&opened.hash), &view("Two"))
        .await
        .unwrap();
    assert_eq!(updated.id, opened.id);
    let stale = client
        .update_view(ViewRef::Id(&opened.id), Some(&opened.hash), &view("Late"))
        .await;
    assert_eq!(word(&stale.unwrap_err()), "hash_conflict");
    let second = trigger(Some(opened.id.as_str())).await;
    let pushed = client.push_view(&second, &view("Above")).await.unwrap();
    assert_ne!(pushed.id, opened.id);
    let again = client.open_view(&first, &view("Again")).await;
    assert_eq!(word(&again.unwrap_err()), "exchanged_trigger_id");
}

#[tokio::test]
async fn refusals_are_understood() {
    let Some(emulate) = emulate().await else {
        return;
    };
    let client = client(&emulate);
    let nowhere = ChannelId::new("C0NOWHERE00").unwrap();
    let refused = client.conversation(&nowhere).await.unwrap_err();
    assert_eq!(word(&refused), "channel_not_found");
    let nobody = UserId::new("U0NOBODY000").unwrap();
    let refused = client.account(&nobody).await.unwrap_err();
    assert_eq!(word(&refused), "user_not_found");
    let gone = Posted {
        channel: ChannelId::new(GENERAL).unwrap(),
        ts: MessageTs::new("1.000001").unwrap(),
    };
    let permit = client.reserve_update(Priority::Final).await;
    let refused = client.update_message(permit, &gone, &message("x")).await;
    assert_eq!(word(&refused.unwrap_err()), "message_not_found");
}

fn word(error: &SlackError) -> &'static str {
    error.reason()
}
