//! Messages are posted, changed and taken away as Slack does it.

use foredeck_testkit::slack::{ChannelKind, User};
use serde_json::json;

use crate::bench::{Bench, with_button};

#[tokio::test]
async fn a_post_is_seen_in_its_channel_with_everything_a_client_reads() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let answer = bench.call("chat.postMessage", with_button(&channel)).await;
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(answer["channel"], channel);
    assert_eq!(answer["message"]["user"], bench.slack.bot_user_id());
    assert_eq!(answer["message"]["app_id"], bench.slack.app_id());
    assert_eq!(answer["message"]["ts"], answer["ts"]);
    // Slack gives an id to the block that has none.
    assert!(answer["message"]["blocks"][0]["block_id"].is_string());
    assert_eq!(answer["message"]["blocks"][1]["block_id"], "decision");
    let seen = bench.slack.messages("deploys");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].text(), "Deploy checkout?");
    assert!(seen[0].by_app);
}

#[tokio::test]
async fn timestamps_are_unique_and_grow() {
    let bench = Bench::new().await;
    let mut all = Vec::new();
    for number in 0..30 {
        all.push(bench.post("deploys", &number.to_string()).await);
    }
    let (seconds, part) = all[0].split_once('.').unwrap();
    assert_eq!((seconds.len(), part.len()), (10, 6));
    assert!(
        all.is_sorted_by(|earlier, later| earlier < later),
        "{all:?}"
    );
}

#[tokio::test]
async fn places_where_the_app_cannot_post_are_refused() {
    let bench = Bench::new().await;
    let bot = bench.slack.bot_user_id();
    let foreign = bench
        .slack
        .add_channel("elsewhere", ChannelKind::Public, &["alice"]);
    let secret = bench
        .slack
        .add_channel("secret", ChannelKind::Private, &["alice"]);
    let post = async |channel: &str| {
        let answer = bench
            .call("chat.postMessage", json!({"channel": channel, "text": "x"}))
            .await;
        answer["error"].as_str().unwrap_or("none").to_owned()
    };
    assert_eq!(post("C0NOWHERE01").await, "channel_not_found");
    assert_eq!(post(&foreign).await, "not_in_channel");
    assert_eq!(post(&secret).await, "channel_not_found");
    bench
        .slack
        .change_channel("secret", |channel| channel.members.push(bot));
    assert_eq!(post(&secret).await, "none");
    bench
        .slack
        .change_channel("secret", |channel| channel.archived = true);
    assert_eq!(post(&secret).await, "is_archived");
    assert!(bench.slack.remove_app_from("deploys"));
    assert_eq!(post(&bench.channel("deploys")).await, "not_in_channel");
    assert_eq!(
        bench
            .call(
                "chat.postMessage",
                json!({"channel": bench.channel("general")})
            )
            .await["error"],
        "no_text"
    );
}

#[tokio::test]
async fn a_post_to_a_person_arrives_in_the_direct_conversation() {
    let bench = Bench::new().await;
    let bob = bench.slack.user("bob").id().to_owned();
    let answer = bench
        .call("chat.postMessage", json!({"channel": bob, "text": "done"}))
        .await;
    let channel = answer["channel"].as_str().unwrap();
    assert!(channel.starts_with('D'));
    let opened = bench
        .call("conversations.open", json!({"users": bob}))
        .await;
    assert_eq!(opened["channel"]["id"], channel);
    assert_eq!(opened["already_open"], true);
    assert_eq!(bench.slack.direct_messages("bob")[0].text(), "done");
    // With the person's id it cannot be changed: that takes the conversation's.
    let update = |channel: &str| json!({"channel": channel, "ts": answer["ts"], "text": "failed"});
    assert_eq!(
        bench.call("chat.update", update(&bob)).await["error"],
        "channel_not_found"
    );
    assert_eq!(bench.call("chat.update", update(channel)).await["ok"], true);
}

#[tokio::test]
async fn text_alone_takes_the_blocks_away_and_says_edited() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let posted = bench.call("chat.postMessage", with_button(&channel)).await;
    let ts = posted["ts"].as_str().unwrap();
    let update = json!({"channel": channel, "ts": ts, "text": "running"});
    let answer = bench.call("chat.update", update).await;
    assert_eq!(
        (answer["ok"].clone(), answer["text"].clone()),
        (json!(true), json!("running"))
    );
    let message = &bench.slack.messages("deploys")[0];
    assert!(message.blocks().is_empty() && message.edited.is_some());
    assert_eq!(message.earlier[0].text, "Deploy checkout?");

    let mut update = with_button(&channel);
    update["ts"] = json!(ts);
    bench.call("chat.update", update).await;
    assert_eq!(bench.slack.messages("deploys")[0].blocks().len(), 2);
}

#[tokio::test]
async fn metadata_stays_unless_it_is_emptied_and_then_the_content_stays() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let mut post = with_button(&channel);
    post["metadata"] = json!({"event_type": "deployment", "event_payload": {"name": "r-1"}});
    let ts = bench.call("chat.postMessage", post).await["ts"].clone();
    let metadata = || bench.slack.messages("deploys")[0].metadata.clone();
    bench
        .call(
            "chat.update",
            json!({"channel": channel, "ts": ts, "text": "a"}),
        )
        .await;
    assert_eq!(metadata().unwrap()["event_payload"]["name"], "r-1");
    let emptied = json!({"channel": channel, "ts": ts, "metadata": {}});
    assert_eq!(bench.call("chat.update", emptied).await["ok"], true);
    assert_eq!(metadata(), None);
    assert_eq!(bench.slack.messages("deploys")[0].text(), "a");
    let wrong = json!({"channel": channel, "ts": ts, "metadata": {"event_type": 1}});
    assert_eq!(
        bench.call("chat.update", wrong).await["error"],
        "invalid_metadata_schema"
    );
}

#[tokio::test]
async fn only_own_messages_that_exist_can_be_changed() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let said = bench
        .slack
        .user("alice")
        .say("deploys", None, "hello")
        .unwrap();
    let ts = bench.post("deploys", "mine").await;
    let update = async |ts: &str, text: &str| {
        let arguments = json!({"channel": channel, "ts": ts, "text": text});
        let answer = bench.call("chat.update", arguments).await;
        answer["error"].as_str().unwrap_or("none").to_owned()
    };
    assert_eq!(update(&said.message.ts, "no").await, "cant_update_message");
    assert_eq!(update("1.000001", "no").await, "message_not_found");
    assert_eq!(update(&ts, &"x".repeat(4001)).await, "msg_too_long");
    assert_eq!(update(&ts, &"x".repeat(4000)).await, "none");
    let delete = json!({"channel": channel, "ts": said.message.ts});
    assert_eq!(
        bench.call("chat.delete", delete).await["error"],
        "cant_delete_message"
    );
    let delete = json!({"channel": channel, "ts": ts});
    assert_eq!(bench.call("chat.delete", delete).await["ok"], true);
    assert_eq!(update(&ts, "late").await, "message_not_found");
    assert_eq!(bench.slack.messages("deploys").len(), 1);
    bench
        .slack
        .change_channel("deploys", |channel| channel.archived = true);
    assert_eq!(update(&said.message.ts, "no").await, "cant_update_message");
}

#[tokio::test]
async fn a_message_somebody_deleted_is_gone_for_the_app() {
    let bench = Bench::new().await;
    let mut admin = User::named("ada");
    admin.is_admin = true;
    bench.slack.add_user(admin, &["deploys"]);
    let ts = bench.post("deploys", "status").await;
    let message = bench.slack.messages("deploys")[0].clone();
    assert!(bench.slack.user("bob").delete_message(&message).is_err());
    bench.slack.user("ada").delete_message(&message).unwrap();
    let update = json!({"channel": bench.channel("deploys"), "ts": ts, "text": "x"});
    assert_eq!(
        bench.call("chat.update", update).await["error"],
        "message_not_found"
    );
}

#[tokio::test]
async fn replies_hang_on_their_thread_and_may_be_shown_in_the_channel() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let parent = bench.post("deploys", "record").await;
    let reply = json!({"channel": channel, "text": "stage 1", "thread_ts": parent});
    let first = bench.call("chat.postMessage", reply).await;
    assert_eq!(first["message"]["thread_ts"], parent);
    let loud = json!({"channel": channel, "text": "failed", "thread_ts": parent,
        "reply_broadcast": true});
    let second = bench.call("chat.postMessage", loud).await;
    assert_eq!(second["message"]["subtype"], "thread_broadcast");
    let channel_now = bench.slack.channel("deploys").unwrap();
    assert_eq!(channel_now.replies(&parent).len(), 2);
    assert!(bench.slack.violations().is_empty());
    // An old reply can be shown too, but not with new words.
    let both = json!({"channel": channel, "ts": first["ts"], "text": "x", "reply_broadcast": true});
    assert_eq!(
        bench.call("chat.update", both).await["error"],
        "no_dual_broadcast_content_update"
    );
    let show = json!({"channel": channel, "ts": first["ts"], "reply_broadcast": true});
    assert_eq!(bench.call("chat.update", show).await["ok"], true);
    // A reply to a reply is lost from sight, which Slack does not say.
    let wrong = json!({"channel": channel, "text": "?", "thread_ts": first["ts"]});
    assert_eq!(bench.call("chat.postMessage", wrong).await["ok"], true);
    assert_eq!(bench.slack.violations().len(), 1);
}

#[tokio::test]
async fn an_ephemeral_message_is_for_one_person_until_the_next_reload() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let bob = bench.slack.user("bob");
    let arguments = json!({"channel": channel, "user": bob.id(), "text": "only you"});
    let answer = bench.call("chat.postEphemeral", arguments).await;
    assert!(answer["message_ts"].is_string(), "{answer}");
    assert_eq!(bench.slack.ephemerals("bob").len(), 1);
    assert!(bench.slack.ephemerals("alice").is_empty());
    assert!(bench.slack.messages("deploys").is_empty());
    let update = json!({"channel": channel, "ts": answer["message_ts"], "text": "x"});
    assert_eq!(
        bench.call("chat.update", update).await["error"],
        "message_not_found"
    );
    bob.reload();
    assert!(bench.slack.ephemerals("bob").is_empty());
    let outsider = bench.slack.add_user(User::named("olga"), &[]);
    let arguments = json!({"channel": channel, "user": outsider, "text": "x"});
    assert_eq!(
        bench.call("chat.postEphemeral", arguments).await["error"],
        "user_not_in_channel"
    );
}

#[tokio::test]
async fn a_reaction_is_added_and_taken_away_once() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let ts = bench.post("deploys", "status").await;
    let react = async |method: &str, name: &str| {
        let arguments = json!({"channel": channel, "timestamp": ts, "name": name});
        let answer = bench.call(method, arguments).await;
        answer["error"].as_str().unwrap_or("none").to_owned()
    };
    assert_eq!(react("reactions.add", "eyes").await, "none");
    assert_eq!(react("reactions.add", "eyes").await, "already_reacted");
    assert_eq!(react("reactions.add", ":eyes:").await, "invalid_name");
    assert_eq!(bench.slack.messages("deploys")[0].reactions[0].0, "eyes");
    assert_eq!(react("reactions.remove", "eyes").await, "none");
    assert_eq!(react("reactions.remove", "eyes").await, "no_reaction");
}
