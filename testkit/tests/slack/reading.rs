//! People, groups and channels are shown with the fields that clients read.

use foredeck_testkit::slack::{ChannelKind, User};
use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn a_person_is_shown_with_address_and_flags() {
    let bench = Bench::new().await;
    let mut guest = User::named("gwen");
    guest.is_restricted = true;
    let guest = bench.slack.add_user(guest, &[]);
    let user = bench.form("users.info", &[("user", &guest)]).await["user"].clone();
    assert_eq!(user["is_restricted"], true);
    assert_eq!(user["is_bot"], false);
    assert_eq!(user["team_id"], bench.slack.team_id());
    assert_eq!(user["profile"]["email"], "gwen@harbor.example");
    let bot = bench.slack.bot_user_id();
    let bot = bench.form("users.info", &[("user", &bot)]).await["user"].clone();
    assert_eq!(bot["is_bot"], true);
    assert_eq!(bot["profile"]["email"], json!(null));
    bench.slack.change_user("gwen", |user| user.deleted = true);
    let user = bench.form("users.info", &[("user", &guest)]).await["user"].clone();
    assert_eq!(user["deleted"], true);
    let nobody = bench.form("users.info", &[("user", "U0")]).await;
    assert_eq!(nobody["error"], "user_not_found");
}

#[tokio::test]
async fn addresses_take_a_scope_of_their_own() {
    let bench = Bench::new().await;
    bench
        .slack
        .change_app(|app| app.scopes.retain(|scope| scope != "users:read.email"));
    let bob = bench.slack.user("bob").id().to_owned();
    let answer = bench.form("users.info", &[("user", &bob)]).await;
    assert_eq!(answer["user"]["profile"].get("email"), None);
    let answer = bench
        .form("users.lookupByEmail", &[("email", "bob@harbor.example")])
        .await;
    assert_eq!(answer["error"], "missing_scope");
}

#[tokio::test]
async fn a_person_is_found_by_address_while_active() {
    let bench = Bench::new().await;
    let find = async || {
        bench
            .form("users.lookupByEmail", &[("email", "BOB@harbor.example")])
            .await
    };
    assert_eq!(find().await["user"]["name"], "bob");
    bench.slack.change_user("bob", |user| user.deleted = true);
    assert_eq!(find().await["error"], "users_not_found");
}

#[tokio::test]
async fn groups_are_listed_with_their_members() {
    let bench = Bench::new().await;
    let id = bench.slack.add_group("sre", &["alice", "bob"]);
    let list = bench
        .form("usergroups.list", &[("include_users", "true")])
        .await;
    assert_eq!(list["usergroups"][0]["handle"], "sre");
    assert_eq!(list["usergroups"][0]["users"].as_array().unwrap().len(), 2);
    let plain = bench.form("usergroups.list", &[]).await;
    assert_eq!(plain["usergroups"][0].get("users"), None);
    let users = bench
        .form("usergroups.users.list", &[("usergroup", &id)])
        .await;
    assert_eq!(users["users"][0], bench.slack.user("alice").id());
    let unknown = bench
        .form("usergroups.users.list", &[("usergroup", "S0")])
        .await;
    assert_eq!(unknown["error"], "no_such_subteam");
    bench
        .slack
        .change_group("sre", |group| group.disabled = true);
    assert_eq!(
        bench.form("usergroups.list", &[]).await["usergroups"],
        json!([])
    );
}

#[tokio::test]
async fn a_channel_is_shown_with_its_state() {
    let bench = Bench::new().await;
    let id = bench.channel("deploys");
    let info = bench.form("conversations.info", &[("channel", &id)]).await["channel"].clone();
    assert_eq!(info["name"], "deploys");
    assert_eq!(
        (&info["is_member"], &info["is_archived"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(info["is_ext_shared"], false);
    bench
        .slack
        .change_channel("deploys", |channel| channel.archived = true);
    let info = bench.form("conversations.info", &[("channel", &id)]).await["channel"].clone();
    assert_eq!(info["is_archived"], true);
    let secret = bench
        .slack
        .add_channel("secret", ChannelKind::Private, &["alice"]);
    let hidden = bench
        .form("conversations.info", &[("channel", &secret)])
        .await;
    assert_eq!(hidden["error"], "channel_not_found");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let bench = Bench::new().await;
    let id = bench.channel("deploys");
    let first = bench
        .form("conversations.members", &[("channel", &id), ("limit", "2")])
        .await;
    assert_eq!(first["members"].as_array().unwrap().len(), 2);
    let cursor = first["response_metadata"]["next_cursor"].as_str().unwrap();
    assert!(!cursor.is_empty());
    let arguments = [("channel", id.as_str()), ("limit", "2"), ("cursor", cursor)];
    let second = bench.form("conversations.members", &arguments).await;
    assert_eq!(second["members"].as_array().unwrap().len(), 1);
    assert_eq!(second["response_metadata"]["next_cursor"], "");
    let arguments = [("channel", id.as_str()), ("cursor", "nonsense")];
    let wrong = bench.form("conversations.members", &arguments).await;
    assert_eq!(wrong["error"], "invalid_cursor");
    let list = bench.form("conversations.list", &[]).await;
    assert_eq!(list["channels"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn history_takes_its_scope_and_threads_are_read_whole() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let parent = bench.post("deploys", "record").await;
    let reply = json!({"channel": channel, "text": "stage", "thread_ts": parent});
    bench.call("chat.postMessage", reply).await;
    let refused = bench
        .call("conversations.history", json!({"channel": channel}))
        .await;
    assert_eq!(refused["error"], "missing_scope");
    bench
        .slack
        .change_app(|app| app.scopes.push("channels:history".to_owned()));
    let history = bench
        .call("conversations.history", json!({"channel": channel}))
        .await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 1);
    assert_eq!(history["messages"][0]["reply_count"], 1);
    let replies = async |ts: &str| {
        let arguments = [("channel", channel.as_str()), ("ts", ts)];
        bench.form("conversations.replies", &arguments).await
    };
    let thread = replies(&parent).await;
    assert_eq!(thread["messages"].as_array().unwrap().len(), 2);
    assert_eq!(
        thread["messages"][1]["parent_user_id"],
        bench.slack.bot_user_id()
    );
    assert_eq!(replies("1.000001").await["error"], "thread_not_found");
}

#[tokio::test]
async fn a_permalink_leads_to_the_message() {
    let bench = Bench::new().await;
    let channel = bench.channel("deploys");
    let ts = bench.post("deploys", "record").await;
    let arguments = [("channel", channel.as_str()), ("message_ts", ts.as_str())];
    let answer = bench.form("chat.getPermalink", &arguments).await;
    let expected = format!(
        "https://harbor.slack.com/archives/{channel}/p{}",
        ts.replace('.', "")
    );
    assert_eq!(answer["permalink"], expected);
    let arguments = [("channel", channel.as_str()), ("message_ts", "1.000001")];
    let answer = bench.form("chat.getPermalink", &arguments).await;
    assert_eq!(answer["error"], "message_not_found");
}
