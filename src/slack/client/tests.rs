//! Calls against a small Slack of our own.

mod renewed;

use std::time::Duration;

use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpListener, time::Instant};

use super::*;
use crate::slack::{
    blocks::{Block, Metadata},
    metrics::SlackMetrics,
    testing::SmallSlack,
    text::Mrkdwn,
};

fn client_at(api: &Url) -> SlackClient {
    let settings = SlackSettings::new(api, "xoxb-secret\n".to_owned().into()).unwrap();
    let settings = settings.without_proxies().deadline(Duration::from_secs(2));
    SlackClient::new(settings).unwrap()
}

fn posted() -> Posted {
    Posted {
        channel: ChannelId::new("C1").unwrap(),
        ts: MessageTs::new("1.1").unwrap(),
    }
}

fn hello() -> Message {
    Message::new(Mrkdwn::fixed("hello"), [Block::divider()])
        .metadata(Metadata::new("foredeck", [("uid", "1".to_owned())]))
}

async fn post(client: &SlackClient) -> Result<Posted, SlackError> {
    let to = Destination::Channel(ChannelId::new("C1").unwrap());
    let permit = client.reserve_post(&to, Priority::Final).await;
    let message = hello();
    let post = Post {
        to: &to,
        thread: None,
        broadcast: false,
        message: &message,
    };
    client.post_message(permit, post).await
}

async fn update(client: &SlackClient) -> Result<(), SlackError> {
    let permit = client.reserve_update(Priority::Final).await;
    client.update_message(permit, &posted(), &hello()).await
}

#[tokio::test]
async fn messages_are_sent_as_slack_wants_them() {
    let slack = SmallSlack::start().await;
    let client = client_at(&slack.api);
    slack.answers(
        "chat.postMessage",
        &json!({"ok": true, "channel": "C1", "ts": "1.1", "message": {}}),
    );
    slack.answers("chat.update", &json!({"ok": true}));
    slack.answers(
        "chat.postEphemeral",
        &json!({"ok": true, "message_ts": "1.2"}),
    );
    slack.answers("chat.delete", &json!({"ok": true}));

    assert_eq!(post(&client).await, Ok(posted()));
    let asked = &slack.asked("chat.postMessage")[0];
    assert_eq!(asked.header("authorization"), "Bearer xoxb-secret");
    assert_eq!(
        asked.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert_eq!(
        asked.body,
        json!({
            "channel": "C1", "text": "hello", "blocks": [{"type": "divider"}], "parse": "none", "link_names": false,
            "unfurl_links": false, "unfurl_media": false,
            "metadata": {"event_type": "foredeck", "event_payload": {"uid": "1"}},
        })
    );

    let to = Destination::Person(UserId::new("U1").unwrap());
    let (thread, message) = (posted().ts, hello());
    let answer = Post {
        to: &to,
        thread: Some(&thread),
        broadcast: true,
        message: &message,
    };
    let permit = client.reserve_post(&to, Priority::Progress).await;
    client.post_message(permit, answer).await.unwrap();
    let asked = &slack.asked("chat.postMessage")[1].body;
    assert_eq!(
        (&asked["channel"], &asked["thread_ts"]),
        (&json!("U1"), &json!("1.1"))
    );
    assert_eq!(asked["reply_broadcast"], json!(true));

    let permit = client.reserve_update(Priority::Final).await;
    client
        .update_message(permit, &posted(), &Message::plain(Mrkdwn::fixed("over")))
        .await
        .unwrap();
    assert_eq!(
        slack.asked("chat.update")[0].body,
        json!({"channel": "C1", "ts": "1.1", "text": "over", "blocks": [], "parse": "none", "link_names": false})
    );

    let (channel, user) = (posted().channel, UserId::new("U1").unwrap());
    client
        .post_ephemeral(&channel, &user, Some(&thread), &hello())
        .await
        .unwrap();
    assert_eq!(
        slack.asked("chat.postEphemeral")[0].body,
        json!({
            "channel": "C1", "user": "U1", "thread_ts": "1.1", "text": "hello", "blocks": [{"type": "divider"}],
            "parse": "none", "link_names": false,
        })
    );
    client.delete_message(&posted()).await.unwrap();
    assert_eq!(
        slack.asked("chat.delete")[0].body,
        json!({"channel": "C1", "ts": "1.1"})
    );
}

#[tokio::test]
async fn what_takes_only_a_form_gets_a_query() {
    let slack = SmallSlack::start().await;
    let client = client_at(&slack.api);
    let channel = posted().channel;
    slack.answers("users.info", &json!({"ok": true, "user": {
        "id": "U1", "team_id": "T1", "deleted": false, "is_bot": false, "is_restricted": false, "tz": "Europe/Berlin",
        "profile": {"email": "a@b.example", "display_name": "", "real_name": "Ada"},
    }}));
    let account = client.account(&UserId::new("U1").unwrap()).await.unwrap();
    assert_eq!(
        (account.email(), account.name()),
        (Some("a@b.example"), "Ada")
    );
    let asked = &slack.asked("users.info")[0];
    assert_eq!(
        (asked.verb.as_str(), asked.query.as_deref()),
        ("GET", Some("user=U1"))
    );
    assert_eq!(asked.header("authorization"), "Bearer xoxb-secret");

    slack.answers(
        "conversations.info",
        &json!({"ok": true, "channel": {"id": "C1", "name": "x", "is_member": true}}),
    );
    assert!(client.conversation(&channel).await.unwrap().is_member);
    slack.answers(
        "chat.getPermalink",
        &json!({"ok": true, "permalink": "https://shop.slack.com/archives/C1/p1"}),
    );
    client.permalink(&posted()).await.unwrap();
    assert_eq!(
        slack.asked("chat.getPermalink")[0].query.as_deref(),
        Some("channel=C1&message_ts=1.1")
    );

    slack.answers(
        "conversations.members",
        &json!({"ok": true, "members": ["U1"], "response_metadata": {"next_cursor": "a="}}),
    );
    slack.answers(
        "conversations.members",
        &json!({"ok": true, "members": ["U2"], "response_metadata": {"next_cursor": ""}}),
    );
    let page = client.members(&channel, None).await.unwrap();
    let next = client.members(&channel, page.next.as_ref()).await.unwrap();
    assert_eq!((page.items.len(), next.next), (1, None));
    let query = slack.asked("conversations.members")[1]
        .query
        .clone()
        .unwrap();
    assert!(query.contains("cursor=a%3D"), "{query}");

    let at = posted();
    let span = Span {
        oldest: &at.ts,
        latest: &at.ts,
    };
    let mark = json!({"event_type": "foredeck", "event_payload": {"uid": "1"}});
    slack.answers("conversations.history", &json!({"ok": true, "messages": [
        {"type": "message", "ts": "1.1", "user": "U9", "metadata": mark}, {"ts": "1.0", "bot_id": "B1"},
    ]}));
    let page = client.history(&channel, span, None).await.unwrap();
    let marked: Vec<bool> = page
        .items
        .iter()
        .map(|found| found.has_mark("foredeck", "uid", "1"))
        .collect();
    assert_eq!(marked, [true, false]);
    assert!(
        slack.asked("conversations.history")[0]
            .query
            .as_ref()
            .unwrap()
            .contains("include_all_metadata=true")
    );
    slack.answers(
        "conversations.replies",
        &json!({"ok": true, "messages": []}),
    );
    client.replies(&channel, &at.ts, span, None).await.unwrap();
    let asked = slack.asked("conversations.replies")[0].query.clone();
    assert!(
        asked.is_some_and(|query| query.contains("oldest=") && query.contains("latest=")),
        "a thread is looked through in that span only"
    );
    slack.answers(
        "conversations.open",
        &json!({"ok": true, "channel": {"id": "D1"}}),
    );
    assert!(
        client
            .open_direct(&UserId::new("U1").unwrap())
            .await
            .unwrap()
            .is_direct()
    );
}

#[tokio::test]
async fn modals_are_opened_pushed_and_updated() {
    let slack = SmallSlack::start().await;
    let client = client_at(&slack.api);
    let view = View::modal("deploy", "Deploy", []);
    for method in ["views.open", "views.push", "views.update"] {
        slack.answers(
            method,
            &json!({"ok": true, "view": {"id": "V1", "hash": "1.a"}}),
        );
    }
    let trigger = TriggerId::new("1.2.x").unwrap();
    let opened = client.open_view(&trigger, &view).await.unwrap();
    client.push_view(&trigger, &view).await.unwrap();
    client
        .update_view(ViewRef::Id(&opened.id), Some(&opened.hash), &view)
        .await
        .unwrap();
    client
        .update_view(ViewRef::External("plan"), None, &view)
        .await
        .unwrap();
    assert_eq!(slack.asked("views.open")[0].body["trigger_id"], "1.2.x");
    let updates = slack.asked("views.update");
    assert_eq!(
        (&updates[0].body["view_id"], &updates[0].body["hash"]),
        (&json!("V1"), &json!("1.a"))
    );
    assert_eq!(
        (&updates[1].body["external_id"], updates[1].body.get("hash")),
        (&json!("plan"), None)
    );
    slack.answers(
        "views.open",
        &json!({"ok": false, "error": "expired_trigger_id"}),
    );
    slack.answers(
        "views.open",
        &json!({"ok": false, "error": "expired_trigger_id"}),
    );
    client.open_view(&trigger, &view).await.ok();
    let error = client.open_view(&trigger, &view).await.unwrap_err();
    assert_eq!(
        (error.reason(), matches!(error, SlackError::Missing { .. })),
        ("expired_trigger_id", true)
    );
}

#[tokio::test]
async fn the_installation_tells_its_scopes() {
    let slack = SmallSlack::start().await;
    let body = json!({"ok": true, "team_id": "T1", "team": "Shop", "user_id": "U9", "bot_id": "B1", "enterprise_id": null});
    slack.answers_with(
        "auth.test",
        200,
        &[("x-oauth-scopes", "chat:write, commands")],
        &body.to_string(),
    );
    let own = client_at(&slack.api).auth_test().await.unwrap();
    assert_eq!(
        own.scopes,
        ["chat:write".to_owned(), "commands".to_owned()].into()
    );
    assert_eq!(
        (own.team.as_str(), own.user.as_str(), own.enterprise),
        ("T1", "U9", None)
    );
}

#[tokio::test]
async fn errors_say_what_to_do_next() {
    let slack = SmallSlack::start().await;
    let client = client_at(&slack.api);
    let word = |fixed| Word::fixed(fixed);
    for (error, expected) in [
        (
            "not_in_channel",
            SlackError::FallBack {
                to: Elsewhere::DirectMessage,
                word: word("not_in_channel"),
            },
        ),
        (
            "message_not_found",
            SlackError::FallBack {
                to: Elsewhere::NewMessage,
                word: word("message_not_found"),
            },
        ),
        (
            "token_revoked",
            SlackError::Stop {
                word: word("token_revoked"),
                detail: Detail::default(),
            },
        ),
        (
            "msg_too_long",
            SlackError::OurBug {
                word: word("msg_too_long"),
                detail: Detail::default(),
            },
        ),
        (
            "internal_error",
            SlackError::Retry {
                word: word("internal_error"),
                after: None,
            },
        ),
    ] {
        let slack = SmallSlack::start().await;
        slack.answers("chat.update", &json!({"ok": false, "error": error}));
        assert_eq!(update(&client_at(&slack.api)).await, Err(expected));
    }
    slack.answers(
        "auth.test",
        &json!({"ok": false, "error": "missing_scope", "needed": "chat:write", "provided": "x"}),
    );
    let error = client.auth_test().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Slack doesn't accept the app: missing_scope (chat:write)"
    );
    slack.answers(
        "chat.update",
        &json!({"ok": false, "error": "<!here>\nodd", "response_metadata": {"messages": ["x"]}}),
    );
    let error = update(&client).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.to_string().as_str()),
        ("other", "Slack refuses: <!here> odd")
    );
    slack.answers("views.update", &json!({"ok": false, "error": "invalid_arguments", "response_metadata": {"messages": ["[ERROR] too long [json-pointer:/view/title]"]}}));
    let view = View::modal("a", "b", []);
    let error = client
        .update_view(ViewRef::External("x"), None, &view)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/view/title"), "{error}");
}

#[tokio::test]
async fn a_lost_answer_to_a_post_is_uncertain_and_never_sent_again() {
    let slack = SmallSlack::start().await;
    let client = client_at(&slack.api);
    for (status, body) in [
        (500, "oops"),
        (503, ""),
        (200, "<html>"),
        (200, "{}"),
        (200, r#"{"ok":true,"channel":"?"}"#),
        (200, r#"{"ok":false,"error":"internal_error"}"#),
    ] {
        let slack = SmallSlack::start().await;
        slack.answers_with("chat.postMessage", status, &[], body);
        slack.answers_with("chat.update", status, &[], body);
        let client = client_at(&slack.api);
        let error = post(&client).await.unwrap_err();
        assert!(
            matches!(error, SlackError::Uncertain { .. }),
            "{status} {body}: {error:?}"
        );
        assert_eq!(slack.asked("chat.postMessage").len(), 1);
        let update = update(&client).await;
        let fine = matches!(update, Err(SlackError::Retry { .. }) | Ok(()));
        assert!(fine, "{status} {body}: {update:?}");
    }
    slack.answers_with(
        "chat.postMessage",
        302,
        &[("location", "http://elsewhere.example/")],
        "",
    );
    let error = post(&client).await.unwrap_err();
    assert_eq!(
        (error.reason(), matches!(error, SlackError::Retry { .. })),
        ("redirected", true)
    );
}

#[tokio::test]
async fn a_connection_that_breaks_or_hangs_is_told_from_none() {
    crate::runtime::tls::install();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let api: Url = format!("http://{address}/api/").parse().unwrap();
    let server = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let _ = first.read(&mut [0; 64]).await;
        drop(first);
        let (second, _) = listener.accept().await.unwrap();
        (second, listener)
    });
    let error = post(&client_at(&api)).await.unwrap_err();
    assert_eq!(
        (
            error.reason(),
            matches!(error, SlackError::Uncertain { .. })
        ),
        ("connection_broken", true)
    );
    let error = post(&client_at(&api)).await.unwrap_err();
    assert_eq!(
        (
            error.reason(),
            matches!(error, SlackError::Uncertain { .. })
        ),
        ("timed_out", true)
    );
    drop(server.await.unwrap());
    let error = post(&client_at(&api)).await.unwrap_err();
    assert_eq!(
        (error.reason(), matches!(error, SlackError::Retry { .. })),
        ("unreachable", true)
    );
}

#[tokio::test]
async fn a_limit_pauses_the_method() {
    let slack = SmallSlack::start().await;
    let client = client_at(&slack.api);
    slack.answers_with(
        "chat.update",
        429,
        &[("retry-after", "7")],
        r#"{"ok":false,"error":"ratelimited"}"#,
    );
    slack.answers(
        "chat.postMessage",
        &json!({"ok": false, "error": "rate_limited"}),
    );
    let error = update(&client).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.retry_after()),
        ("ratelimited", Some(Duration::from_secs(7)))
    );
    let wait = client.budget().load(Method::ChatUpdate).wait;
    assert!(wait > Duration::from_secs(6), "{wait:?}");
    let error = post(&client).await.unwrap_err();
    assert!(
        matches!(error, SlackError::Retry { after: Some(_), .. }),
        "{error:?}"
    );
    assert!(client.budget().load(Method::ChatPostMessage).wait > Duration::from_secs(20));
    assert_eq!(client.budget().load(Method::UsersInfo).wait, Duration::ZERO);
}

#[tokio::test]
async fn answers_to_response_urls_stay_with_slack() {
    let slack = SmallSlack::start().await;
    let client = client_at(&slack.api);
    let url = ResponseUrl::new(slack.api.join("hook").unwrap().as_str()).unwrap();
    slack.answers_with("hook", 200, &[], "ok");
    slack.answers_with("hook", 200, &[], r#"{"ok":true}"#);
    slack.answers_with("hook", 200, &[], "ok");
    slack.answers_with("hook", 404, &[], r#"{"ok":false,"error":"used_url"}"#);
    slack.answers_with("hook", 404, &[], "expired_url");
    slack.answers_with("hook", 500, &[], "");
    let message = Message::plain(Mrkdwn::fixed("done"));
    client
        .respond(&url, Answering::Say(Visibility::Ephemeral, &message))
        .await
        .unwrap();
    client
        .respond(&url, Answering::Replace(&message))
        .await
        .unwrap();
    client.respond(&url, Answering::Delete).await.unwrap();
    let bodies: Vec<Value> = slack
        .asked("hook")
        .into_iter()
        .map(|asked| {
            assert_eq!(asked.header("authorization"), "");
            asked.body
        })
        .collect();
    assert_eq!(
        bodies,
        [
            json!({"text": "done", "response_type": "ephemeral", "replace_original": false}),
            json!({"text": "done", "replace_original": true}),
            json!({"delete_original": true}),
        ]
    );
    for reason in ["used_url", "expired_url", "server_error"] {
        let error = client.respond(&url, Answering::Delete).await.unwrap_err();
        assert_eq!(error.reason(), reason);
    }
    let elsewhere = ResponseUrl::new("http://169.254.169.254/latest").unwrap();
    let error = client
        .respond(&elsewhere, Answering::Delete)
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "invalid-response-url");
}

#[tokio::test]
async fn neither_token_nor_response_url_is_shown() {
    let api: Url = API_URL.parse().unwrap();
    let settings = SlackSettings::new(&api, "xoxb-secret".to_owned().into()).unwrap();
    assert!(!format!("{settings:?}").contains("secret"));
    for bad in ["", " \n", "xoxb two", "xoxb-\u{e9}"] {
        let error = SlackSettings::new(&api, bad.to_owned().into()).unwrap_err();
        assert_eq!(error.reason(), "token");
    }
    for bad in [
        "ftp://slack.com/",
        "https://a:b@slack.com/api/",
        "https://slack.com/api/?x",
        "https://slack.com/#x",
    ] {
        let error = SlackSettings::new(&bad.parse().unwrap(), "x".to_owned().into()).unwrap_err();
        assert_eq!(error.reason(), "api-url", "{bad}");
    }
}

#[tokio::test]
async fn calls_are_counted_by_fixed_words() {
    let slack = SmallSlack::start().await;
    slack.answers("auth.test", &json!({"ok": false, "error": "made_up_1234"}));
    let metrics = crate::runtime::metrics::Metrics::default();
    let settings = SlackSettings::new(&slack.api, "x".to_owned().into())
        .unwrap()
        .without_proxies();
    let client = SlackClient::new(settings.metrics(SlackMetrics::register(&metrics))).unwrap();
    client.auth_test().await.unwrap_err();
    let page = metrics.encode().unwrap();
    assert!(
        page.contains("slack_calls_total{method=\"auth.test\",outcome=\"other\"} 1"),
        "{page}"
    );
    assert!(!page.contains("made_up"), "{page}");
}

#[tokio::test]
async fn a_permit_is_for_one_method() {
    let client = client_at(&API_URL.parse().unwrap());
    let permit = client.reserve_update(Priority::Final).await;
    let start = Instant::now();
    let to = Destination::Channel(posted().channel);
    let message = hello();
    let post = Post {
        to: &to,
        thread: None,
        broadcast: false,
        message: &message,
    };
    let error = client.post_message(permit, post).await.unwrap_err();
    assert_eq!(error.reason(), "wrong_permit");
    assert!(start.elapsed() < Duration::from_secs(1));
}
