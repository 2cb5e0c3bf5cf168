//! `slack_sdk`'s `WebClient` calls every method of the stand-in.

use std::collections::BTreeSet;
use std::time::Duration;

use foredeck_testkit::slack::methods::METHODS;
use foredeck_testkit::slack::{ChannelKind, Effect, Fault, StandInSlack};
use foredeck_testkit::toolbox::Script;
use serde_json::{Value, json};

use crate::{SOON, python};

/// The SDK's client, driven from here.
struct WebClient {
    script: Script,
    called: BTreeSet<String>,
}

impl WebClient {
    async fn start(slack: &StandInSlack) -> Option<Self> {
        Some(Self {
            script: python(slack, "web_client.py").await?,
            called: BTreeSet::new(),
        })
    }

    async fn ask(&mut self, client: &str, method: &str, arguments: Value, pages: bool) -> Value {
        let order =
            json!({"client": client, "method": method, "arguments": arguments, "pages": pages});
        self.called.insert(method.to_owned());
        self.script.tell(&order).await.unwrap();
        self.script.next(SOON).await.unwrap()
    }

    /// Calls a method of which the SDK takes the answer for a success.
    async fn call(&mut self, method: &str, arguments: Value) -> Value {
        let mut answer = self.ask("bot", method, arguments, false).await;
        assert_eq!(answer["saw"], "answer", "{method}: {answer}");
        answer["data"].take()
    }

    /// Calls a method of which the SDK takes the answer for Slack's refusal, and gives its word for it.
    async fn refused(&mut self, method: &str, arguments: Value) -> String {
        let answer = self.ask("bot", method, arguments, false).await;
        assert_eq!(answer["saw"], "refusal", "{method}: {answer}");
        answer["data"]["error"].as_str().unwrap().to_owned()
    }
}

fn section(text: &str) -> Value {
    json!([{"type": "section", "text": {"type": "mrkdwn", "text": text}}])
}

#[tokio::test]
async fn the_official_client_calls_every_method() {
    let slack = StandInSlack::start().await.unwrap();
    // What the scopes of the app itself leave out is asked for here too.
    slack.change_app(|app| {
        for scope in ["channels:history", "groups:history"] {
            app.scopes.push(scope.to_owned());
        }
    });
    let Some(mut client) = WebClient::start(&slack).await else {
        return;
    };
    let alice = slack.user("alice").id().to_owned();
    let deploys = slack.channel("deploys").unwrap().id;
    let group = slack.add_group("sre", &["alice", "bob"]);

    let me = client.call("auth.test", json!({})).await;
    assert_eq!(me["user_id"], slack.bot_user_id());
    assert_eq!(me["team_id"], slack.team_id());

    let posted = client
        .call(
            "chat.postMessage",
            json!({"channel": deploys, "text": "one", "blocks": section("*one*"),
                   "metadata": {"event_type": "deploy", "event_payload": {"id": "1"}}}),
        )
        .await;
    let ts = posted["ts"].as_str().unwrap().to_owned();
    assert_eq!(posted["channel"], deploys);
    assert_eq!(posted["message"]["text"], "one");
    let reply = client
        .call(
            "chat.postMessage",
            json!({"channel": deploys, "text": "under it", "thread_ts": ts, "reply_broadcast": true,
                   "unfurl_links": false}),
        )
        .await;
    let updated = client
        .call(
            "chat.update",
            json!({"channel": deploys, "ts": ts, "text": "two", "blocks": section("two ünï <https://e.example|x>")}),
        )
        .await;
    assert_eq!(updated["text"], "two");
    let messages = slack.messages("deploys");
    assert_eq!(messages[0].text(), "two");
    assert_eq!(
        messages[0].blocks()[0]["text"]["text"],
        "two ünï <https://e.example|x>"
    );
    assert!(messages[1].is_reply() && messages[1].broadcast);

    let link = client
        .call(
            "chat.getPermalink",
            json!({"channel": deploys, "message_ts": ts}),
        )
        .await;
    let link = link["permalink"].as_str().unwrap();
    assert!(
        link.contains(&deploys) && link.contains(&ts.replace('.', "")),
        "{link}"
    );
    client
        .call(
            "chat.postEphemeral",
            json!({"channel": deploys, "user": alice, "text": "for you", "thread_ts": ts}),
        )
        .await;
    assert_eq!(slack.ephemerals("alice")[0].text, "for you");

    let replies = client
        .call(
            "conversations.replies",
            json!({"channel": deploys, "ts": ts}),
        )
        .await;
    assert_eq!(replies["messages"].as_array().unwrap().len(), 2);
    let history = client
        .call(
            "conversations.history",
            json!({"channel": deploys, "include_all_metadata": true}),
        )
        .await;
    assert_eq!(
        history["messages"].as_array().unwrap().last().unwrap()["metadata"]["event_payload"]["id"],
        "1"
    );
    client
        .call(
            "chat.delete",
            json!({"channel": deploys, "ts": reply["ts"]}),
        )
        .await;
    assert_eq!(slack.messages("deploys").len(), 1);
    for method in ["reactions.add", "reactions.remove"] {
        let arguments = json!({"channel": deploys, "timestamp": ts, "name": "eyes"});
        client.call(method, arguments).await;
    }

    let info = client
        .call(
            "conversations.info",
            json!({"channel": deploys, "include_num_members": true}),
        )
        .await;
    assert_eq!(info["channel"]["name"], "deploys");
    assert_eq!(info["channel"]["num_members"], 3);
    let direct = client
        .call(
            "conversations.open",
            json!({"users": alice, "return_im": true}),
        )
        .await;
    assert_eq!(direct["channel"]["user"], alice);
    let members = client
        .call("conversations.members", json!({"channel": deploys}))
        .await;
    assert!(
        members["members"]
            .as_array()
            .unwrap()
            .contains(&json!(alice))
    );
    let user = client.call("users.info", json!({"user": alice})).await;
    assert_eq!(user["user"]["profile"]["email"], "alice@harbor.example");
    let found = client
        .call(
            "users.lookupByEmail",
            json!({"email": "alice@harbor.example"}),
        )
        .await;
    assert_eq!(found["user"]["id"], alice);
    client.call("users.list", json!({})).await;
    let groups = client
        .call("usergroups.list", json!({"include_users": true}))
        .await;
    assert_eq!(groups["usergroups"][0]["handle"], "sre");
    let users = client
        .call("usergroups.users.list", json!({"usergroup": group}))
        .await;
    assert!(users["users"].as_array().unwrap().contains(&json!(alice)));

    let home = json!({"type": "home", "blocks": section("home")});
    let published = client
        .call("views.publish", json!({"user_id": alice, "view": home}))
        .await;
    assert_eq!(published["view"]["type"], "home");
    let opened = client
        .ask(
            "app",
            "apps.connections.open",
            json!({"app_token": slack.app_token()}),
            false,
        )
        .await;
    assert!(
        opened["data"]["url"].as_str().unwrap().starts_with("ws://"),
        "{opened}"
    );

    // What is paged is gone through by the SDK itself; these are called above, or here, or with a trigger.
    for number in 0..5 {
        slack.add_channel(&format!("team-{number}"), ChannelKind::Public, &[]);
    }
    let pages = client
        .ask("bot", "conversations.list", json!({"limit": 3}), true)
        .await;
    let pages = pages["pages"].as_array().unwrap();
    let names: BTreeSet<&str> = pages
        .iter()
        .flat_map(|page| page["channels"].as_array().unwrap())
        .map(|channel| channel["name"].as_str().unwrap())
        .collect();
    assert_eq!((pages.len(), names.len()), (3, 7), "{names:?}");

    let of_a_trigger = ["views.open", "views.push", "views.update"];
    let left: Vec<_> = METHODS
        .iter()
        .map(|method| method.name)
        .filter(|name| !client.called.contains(*name) && !of_a_trigger.contains(name))
        .collect();
    assert_eq!(left, Vec::<&str>::new(), "methods that nothing vouches for");
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn the_official_client_opens_pushes_and_updates_views() {
    let slack = StandInSlack::start().await.unwrap();
    let Some(mut client) = WebClient::start(&slack).await else {
        return;
    };
    let alice = slack.user("alice");
    let modal = |title: &str| {
        json!({"type": "modal", "callback_id": "c", "title": {"type": "plain_text", "text": title},
               "external_id": title,
               "blocks": [{"type": "actions", "elements": [
                   {"type": "button", "action_id": "more", "text": {"type": "plain_text", "text": "More"}}]}]})
    };
    let command = alice.command("deploys", "/deploy").unwrap();
    let trigger = &command.payload()["trigger_id"];
    let opened = client
        .call(
            "views.open",
            json!({"trigger_id": trigger, "view": modal("First")}),
        )
        .await;
    let id = &opened["view"]["id"];
    assert_eq!(opened["view"]["state"]["values"], json!({}));
    assert_eq!(slack.view_of("alice").unwrap().title(), "First");
    let updated = client
        .call(
            "views.update",
            json!({"view_id": id, "hash": opened["view"]["hash"], "view": modal("Second")}),
        )
        .await;
    assert_eq!(updated["view"]["id"], *id);
    let stale = json!({"view_id": id, "hash": opened["view"]["hash"], "view": modal("Third")});
    assert_eq!(client.refused("views.update", stale).await, "hash_conflict");
    let click = alice
        .click(&slack.view_of("alice").unwrap(), "more")
        .unwrap();
    let pushed = client
        .call(
            "views.push",
            json!({"trigger_id": click.payload()["trigger_id"], "view": modal("Above")}),
        )
        .await;
    assert_eq!(pushed["view"]["previous_view_id"], *id);
    let again = json!({"trigger_id": trigger, "view": modal("Late")});
    assert_eq!(
        client.refused("views.open", again).await,
        "exchanged_trigger_id"
    );
}

#[tokio::test]
async fn the_official_client_reads_refusals_and_waits_as_it_is_told() {
    let slack = StandInSlack::start().await.unwrap();
    let Some(mut client) = WebClient::start(&slack).await else {
        return;
    };
    let nowhere = json!({"channel": "C0000000000", "text": "x"});
    assert_eq!(
        client.refused("chat.postMessage", nowhere).await,
        "channel_not_found"
    );
    let too_long = json!({"channel": "deploys", "text": "x", "blocks": section(&"x".repeat(3001))});
    assert_eq!(
        client.refused("chat.postMessage", too_long).await,
        "invalid_blocks"
    );
    assert_eq!(
        client.refused("users.info", json!({"user": "U0"})).await,
        "user_not_found"
    );

    slack.inject(Fault::on("auth.test", Effect::RateLimited(7)));
    let limited = client.ask("bot", "auth.test", json!({}), false).await;
    assert_eq!(limited["status"], 429, "{limited}");
    assert_eq!(limited["data"]["error"], "ratelimited");
    let after = limited["headers"]
        .as_object()
        .unwrap()
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
    assert_eq!(after.unwrap().1, "7");

    slack.forget_calls();
    slack.inject(Fault::on("auth.test", Effect::RateLimited(1)));
    let patient = client.ask("patient", "auth.test", json!({}), false).await;
    assert_eq!(patient["data"]["ok"], true, "{patient}");
    let calls = slack.calls_of("auth.test");
    assert_eq!(calls.len(), 2);
    assert!(
        calls[1].at >= calls[0].at + Duration::from_secs(1),
        "it did not wait"
    );
}
