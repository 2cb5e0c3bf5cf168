//! Tokens, encodings and arguments are checked as Slack checks them.

use foredeck_testkit::slack::{Encoding, Installation, methods};
use serde_json::{Value, json};

use crate::bench::Bench;

#[tokio::test]
async fn auth_test_says_who_the_bot_is_and_what_it_may() {
    let bench = Bench::new().await;
    let response = bench.send("auth.test", &json!({})).await.unwrap();
    let scopes = response.headers()["x-oauth-scopes"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        scopes.split(',').any(|scope| scope == "chat:write"),
        "{scopes}"
    );
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["team_id"], bench.slack.team_id());
    assert_eq!(answer["user_id"], bench.slack.bot_user_id());
    assert!(answer["bot_id"].as_str().unwrap().starts_with('B'));
}

#[tokio::test]
async fn tokens_are_told_apart() {
    let bench = Bench::new().await;
    let call = async |token: Option<&str>, method: &str| {
        let mut request = bench
            .client
            .post(format!("{}{method}", bench.slack.api_url()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["error"].as_str().unwrap_or("none").to_owned()
    };
    let (bot, app) = (bench.slack.bot_token(), bench.slack.app_token());
    assert_eq!(call(None, "auth.test").await, "not_authed");
    assert_eq!(call(Some("xoxb-wrong"), "auth.test").await, "invalid_auth");
    assert_eq!(
        call(Some(&app), "auth.test").await,
        "not_allowed_token_type"
    );
    assert_eq!(
        call(Some(&bot), "apps.connections.open").await,
        "not_allowed_token_type"
    );
    assert_eq!(call(Some(&bot), "auth.test").await, "none");
    assert_eq!(call(Some(&bot), "chat.shout").await, "unknown_method");
    bench.slack.set_installation(Installation::TokenRevoked);
    assert_eq!(call(Some(&bot), "auth.test").await, "token_revoked");
    bench.slack.set_installation(Installation::Inactive);
    assert_eq!(call(Some(&bot), "auth.test").await, "account_inactive");
    bench.slack.set_installation(Installation::Active);
    assert_eq!(call(Some(&bot), "auth.test").await, "none");
}

#[tokio::test]
async fn a_token_in_the_url_is_not_taken_and_one_in_a_form_is() {
    let bench = Bench::new().await;
    let token = bench.slack.bot_token();
    let url = format!("{}auth.test", bench.slack.api_url());
    let query = bench
        .client
        .get(format!("{url}?token={token}"))
        .send()
        .await
        .unwrap();
    assert_eq!(query.json::<Value>().await.unwrap()["error"], "not_authed");
    let form = bench
        .client
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={token}"));
    assert_eq!(
        form.send().await.unwrap().json::<Value>().await.unwrap()["ok"],
        true
    );
    // Neither is kept with the call.
    assert!(
        bench
            .slack
            .calls()
            .iter()
            .all(|call| call.arguments.is_empty())
    );
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let bench = Bench::new().await;
    bench
        .slack
        .change_app(|app| app.scopes = vec!["commands".to_owned()]);
    let arguments = json!({"channel": bench.channel("deploys"), "text": "hello"});
    let answer = bench.call("chat.postMessage", arguments).await;
    assert_eq!(
        answer,
        json!({"ok": false, "error": "missing_scope", "needed": "chat:write", "provided": "commands"})
    );
}

#[tokio::test]
async fn unknown_and_missing_arguments_are_named() {
    let bench = Bench::new().await;
    let answer = bench
        .call(
            "chat.postMessage",
            json!({"text": "hello", "colour": "red"}),
        )
        .await;
    assert_eq!(answer["error"], "invalid_arguments");
    assert_eq!(
        answer["response_metadata"]["messages"],
        json!([
            "[ERROR] missing required field: channel",
            "[ERROR] invalid additional property: colour",
        ])
    );
}

#[tokio::test]
async fn a_method_that_reads_forms_sees_nothing_in_json() {
    let bench = Bench::new().await;
    let bob = bench.slack.user("bob").id().to_owned();
    let answer = bench.call("users.info", json!({"user": bob})).await;
    assert_eq!(answer["error"], "invalid_arguments");
    assert_eq!(bench.slack.violations().len(), 1);
    let answer = bench.form("users.info", &[("user", &bob)]).await;
    assert_eq!(answer["user"]["profile"]["email"], "bob@harbor.example");
    let url = format!("{}users.info?user={bob}", bench.slack.api_url());
    let request = bench.client.get(url).bearer_auth(bench.slack.bot_token());
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["user"]["name"], "bob");
}

#[tokio::test]
async fn json_without_charset_is_taken_with_a_warning() {
    let bench = Bench::new().await;
    let request = bench
        .client
        .post(format!("{}auth.test", bench.slack.api_url()))
        .bearer_auth(bench.slack.bot_token())
        .header("content-type", "application/json")
        .body("{}");
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["warning"], "missing_charset");
    assert_eq!(
        answer["response_metadata"]["warnings"],
        json!(["missing_charset"])
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let bench = Bench::new().await;
    let call = async |kind: &str, body: &str| {
        let request = bench
            .client
            .post(format!("{}chat.postMessage", bench.slack.api_url()))
            .bearer_auth(bench.slack.bot_token())
            .header("content-type", kind)
            .body(body.to_owned());
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["error"].as_str().unwrap_or("none").to_owned()
    };
    assert_eq!(
        call("application/json; charset=utf-8", "{").await,
        "invalid_json"
    );
    assert_eq!(
        call("application/json; charset=utf-8", "[]").await,
        "json_not_object"
    );
    assert_eq!(call("text/xml", "<a/>").await, "invalid_post_type");
}

#[tokio::test]
async fn every_call_is_recorded_with_its_answer() {
    let bench = Bench::new().await;
    let ts = bench.post("deploys", "hello").await;
    bench
        .form(
            "chat.update",
            &[("channel", "C0"), ("ts", &ts), ("blocks", "[]")],
        )
        .await;
    let calls = bench.slack.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (calls[0].method.as_str(), calls[0].encoding),
        ("chat.postMessage", Encoding::Json)
    );
    assert!(calls[0].is_ok() && calls[0].argument("text") == "hello");
    assert_eq!(calls[1].encoding, Encoding::Form);
    assert_eq!(calls[1].arguments["blocks"], json!([]));
    assert_eq!(calls[1].error(), "channel_not_found");
}

#[test]
fn the_table_of_methods_has_no_method_twice_and_no_argument_twice() {
    let mut names: Vec<&str> = methods::METHODS.iter().map(|method| method.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    for method in methods::METHODS {
        for name in method.required {
            assert!(!method.optional.contains(name), "{} {name}", method.name);
        }
    }
}
