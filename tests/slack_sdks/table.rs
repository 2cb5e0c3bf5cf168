//! Every method that our client has is called as Slack's reference says: arguments, encoding, scopes.

use std::collections::BTreeSet;

use foredeck::slack::{
    blocks::{Block, Message, Metadata},
    client::{
        Answering, Destination, Method, Post, Posted, Priority, SlackClient, SlackSettings, Span,
        ViewRef,
    },
    elements::Button,
    ids::{ChannelId, MessageTs, TriggerId, UserId},
    inbound::{ResponseUrl, Visibility},
    text::Mrkdwn,
    view::View,
};
use foredeck_testkit::{
    StandInSlack,
    slack::{Call, Encoding, methods},
    toolbox::SlackModels,
};

/// The scopes that docs/slack.md asks for.
const SCOPES: [&str; 12] = [
    "usergroups:read",
    "commands",
    "chat:write",
    "app_mentions:read",
    "im:history",
    "im:write",
    "users:read",
    "users:read.email",
    "channels:read",
    "groups:read",
    "channels:history",
    "groups:history",
];

/// The methods that may be called with GET.
const READS: [&str; 7] = [
    "usergroups.list",
    "chat.getPermalink",
    "conversations.history",
    "conversations.info",
    "conversations.members",
    "conversations.replies",
    "users.info",
];

/// What is wrong with how a method was called.
fn mistakes(call: &Call) -> Vec<String> {
    if call.method == "response_url" {
        return Vec::new();
    }
    let Some(method) = methods::find(&call.method) else {
        return vec![format!("{} is no method that is listed", call.method)];
    };
    let mut mistakes = Vec::new();
    for argument in call.arguments.keys() {
        if !method.knows(argument) {
            mistakes.push(format!("{} has no argument {argument}", method.name));
        }
    }
    for argument in method.required {
        if !call.arguments.contains_key(*argument) {
            mistakes.push(format!("{} needs {argument}", method.name));
        }
    }
    if call.encoding == Encoding::Json && !method.json {
        mistakes.push(format!("{} doesn't read JSON", method.name));
    }
    if call.http_method != "POST" && !READS.contains(&method.name) {
        mistakes.push(format!("{} is called with POST", method.name));
    }
    let app_level = method.app_token || method.scopes.is_empty();
    if !app_level && !method.scopes.iter().any(|scope| SCOPES.contains(scope)) {
        mistakes.push(format!("{} needs one of {:?}", method.name, method.scopes));
    }
    mistakes
}

fn client(slack: &StandInSlack) -> SlackClient {
    foredeck::runtime::tls::install();
    let url = slack.api_url().parse().unwrap();
    let settings = SlackSettings::new(&url, slack.bot_token().into()).unwrap();
    SlackClient::new(settings.without_proxies()).unwrap()
}

fn message(text: &'static str) -> Message {
    let text = Mrkdwn::fixed(text);
    Message::new(text.clone(), [Block::section(text)])
}

fn view(title: &'static str) -> View {
    let button = Button::new("more", "More");
    View::modal("plan", title, [Block::actions([button.into()])]).external_id(title)
}

/// A slash command's trigger and response URL.
fn handed_out(slack: &StandInSlack, line: &str) -> (TriggerId, ResponseUrl) {
    let command = slack.user("alice").command("deploys", line).unwrap();
    let field = |name: &str| command.payload()[name].as_str().unwrap().to_owned();
    (
        TriggerId::new(field("trigger_id")).unwrap(),
        serde_json::from_value(field("response_url").into()).unwrap(),
    )
}

#[tokio::test]
async fn every_call_is_as_slacks_reference_has_it() {
    let slack = StandInSlack::start().await.unwrap();
    slack.change_app(|app| app.scopes = SCOPES.map(str::to_owned).to_vec());
    let client = client(&slack);
    let deploys = ChannelId::new(slack.channel("deploys").unwrap().id).unwrap();
    let alice = UserId::new(slack.user("alice").id()).unwrap();

    let installation = client.auth_test().await.unwrap();
    assert_eq!(
        installation.scopes,
        SCOPES.map(str::to_owned).into_iter().collect()
    );
    let to = Destination::Channel(deploys.clone());
    let mark = Metadata::new("foredeck", [("uid", "1".to_owned())]);
    let post = async |thread: Option<&MessageTs>, message: &Message| -> Posted {
        let permit = client.reserve_post(&to, Priority::Final).await;
        let post = Post {
            to: &to,
            thread,
            broadcast: thread.is_some(),
            message,
        };
        client.post_message(permit, post).await.unwrap()
    };
    let posted = post(None, &message("one").metadata(mark)).await;
    let reply = post(Some(&posted.ts), &message("below")).await;
    for new in [message("two"), Message::plain(Mrkdwn::fixed("three"))] {
        let permit = client.reserve_update(Priority::Final).await;
        client.update_message(permit, &posted, &new).await.unwrap();
    }
    client.permalink(&posted).await.unwrap();
    client
        .post_ephemeral(&deploys, &alice, Some(&posted.ts), &message("for you"))
        .await
        .unwrap();
    let span = Span {
        oldest: &posted.ts,
        latest: &reply.ts,
    };
    let found = client.history(&deploys, span, None).await.unwrap();
    assert!(found.items.iter().any(|found| found.ts == posted.ts));
    let found = client
        .replies(&deploys, &posted.ts, span, None)
        .await
        .unwrap();
    assert_eq!(found.items.len(), 2);
    client.delete_message(&reply).await.unwrap();

    client.conversation(&deploys).await.unwrap();
    client.open_direct(&alice).await.unwrap();
    client.members(&deploys, None).await.unwrap();
    client.account(&alice).await.unwrap();
    slack.add_group("shop-deployers", &["alice"]);
    let groups = client.user_groups().await.unwrap();
    assert_eq!(groups[0].handle, "shop-deployers");
    assert_eq!(groups[0].users, std::slice::from_ref(&alice));

    let (trigger, response_url) = handed_out(&slack, "/deploy");
    let opened = client.open_view(&trigger, &view("One")).await.unwrap();
    client
        .update_view(ViewRef::Id(&opened.id), Some(&opened.hash), &view("Two"))
        .await
        .unwrap();
    client
        .update_view(ViewRef::External("Two"), None, &view("Three"))
        .await
        .unwrap();
    let click = slack
        .user("alice")
        .click(&slack.view_of("alice").unwrap(), "more")
        .unwrap();
    let trigger = TriggerId::new(click.payload()["trigger_id"].as_str().unwrap()).unwrap();
    client.push_view(&trigger, &view("Above")).await.unwrap();
    for visibility in [Visibility::Ephemeral, Visibility::InChannel] {
        client
            .respond(&response_url, Answering::Say(visibility, &message("later")))
            .await
            .unwrap();
    }

    let calls = slack.calls();
    let mistakes: Vec<String> = calls.iter().flat_map(mistakes).collect();
    assert_eq!(mistakes, Vec::<String>::new());
    assert_eq!(slack.violations(), Vec::<String>::new());
    let called: BTreeSet<&str> = calls.iter().map(|call| call.method.as_str()).collect();
    let left: Vec<&str> = Method::ALL
        .iter()
        .map(|method| method.name())
        // The socket's own call is made where sockets are tested.
        .filter(|name| !called.contains(name) && *name != "apps.connections.open")
        .collect();
    assert_eq!(left, Vec::<&str>::new(), "methods that were not called");
    if let Some(mut models) = SlackModels::fetch().await.unwrap() {
        assert!(models.judge(&slack).await.unwrap() > 10);
    }
}
