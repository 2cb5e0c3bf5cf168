//! Calls that are refused for their token, and made once more with a new one.

use super::*;
use crate::runtime::live::LiveSecretSource;

/// A client whose token can be changed.
fn live_client(api: &Url) -> (SlackClient, LiveSecretSource) {
    let (token, source) = LiveSecret::new("xoxb-old".into());
    let settings = SlackSettings::new(api, token).unwrap().without_proxies();
    (SlackClient::new(settings).unwrap(), source)
}

fn bearers(slack: &SmallSlack, method: &str) -> Vec<String> {
    let asked = slack.asked(method);
    let headers = asked.iter().map(|asked| asked.header("authorization"));
    headers.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_call_that_is_refused_for_its_token_is_made_once_more_with_the_new_one() {
    let slack = SmallSlack::start().await;
    for word in [
        "invalid_auth",
        "token_revoked",
        "token_expired",
        "account_inactive",
    ] {
        let (client, mut source) = live_client(&slack.api);
        let keeping = tokio::spawn(async move {
            let mut times = 0;
            while let Some(questions) = source.asked().await {
                times += 1;
                source.set("xoxb-new".into());
                drop(questions);
            }
            times
        });
        slack.answers("chat.postMessage", &json!({"ok": false, "error": word}));
        slack.answers(
            "chat.postMessage",
            &json!({"ok": true, "channel": "C1", "ts": "1.1", "message": {}}),
        );
        assert_eq!(post(&client).await, Ok(posted()), "{word}");
        assert_eq!(
            bearers(&slack, "chat.postMessage"),
            ["Bearer xoxb-old", "Bearer xoxb-new"],
            "{word}"
        );
        drop(client);
        assert_eq!(keeping.await.unwrap(), 1, "{word}");
        slack.forget("chat.postMessage");
    }
}

#[tokio::test]
async fn a_call_is_not_repeated_without_a_new_token_nor_for_another_reason() {
    let slack = SmallSlack::start().await;
    let (client, mut source) = live_client(&slack.api);
    let keeping = tokio::spawn(async move {
        let mut times = 0;
        while source.asked().await.is_some() {
            times += 1;
        }
        times
    });
    for word in ["invalid_auth", "missing_scope", "fatal_error"] {
        slack.answers("chat.update", &json!({"ok": false, "error": word}));
        assert_eq!(update(&client).await.unwrap_err().reason(), word);
        assert_eq!(slack.asked("chat.update").len(), 1, "{word}");
        slack.forget("chat.update");
    }
    drop(client);
    assert_eq!(keeping.await.unwrap(), 1);
    // Nobody keeps this one: it is refused at once.
    let client = client_at(&slack.api);
    slack.answers(
        "chat.update",
        &json!({"ok": false, "error": "invalid_auth"}),
    );
    let start = Instant::now();
    update(&client).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_second_refusal_is_the_answer() {
    let slack = SmallSlack::start().await;
    let (client, mut source) = live_client(&slack.api);
    tokio::spawn(async move {
        let mut number = 0;
        while let Some(questions) = source.asked().await {
            number += 1;
            source.set(format!("xoxb-{number}").into());
            drop(questions);
        }
    });
    slack.answers(
        "chat.update",
        &json!({"ok": false, "error": "invalid_auth"}),
    );
    assert_eq!(update(&client).await.unwrap_err().reason(), "invalid_auth");
    assert_eq!(slack.asked("chat.update").len(), 2);
}
