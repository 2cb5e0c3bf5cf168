//! Modals: opened, filled in, submitted, stacked and closed.

use std::time::Duration;

use foredeck_testkit::slack::{Failure, Timing, View};
use serde_json::{Value, json};

use crate::bench::{App, Bench};

fn plain(text: &str) -> Value {
    json!({"type": "plain_text", "text": text})
}

fn form(title: &str) -> Value {
    json!({
        "type": "modal", "callback_id": "deploy", "title": plain(title), "submit": plain("Deploy"),
        "private_metadata": "r-1", "notify_on_close": true, "blocks": [
            {"type": "input", "block_id": "app", "label": plain("Application"), "element": {
                "type": "external_select", "action_id": "application", "min_query_length": 1}},
            {"type": "input", "block_id": "version", "label": plain("Version"), "element": {
                "type": "plain_text_input", "action_id": "version", "initial_value": "main",
                "max_length": 20}},
            {"type": "input", "block_id": "note", "label": plain("Note"), "optional": true,
             "element": {"type": "plain_text_input", "action_id": "note"}},
            {"type": "actions", "block_id": "more", "elements": [
                {"type": "button", "action_id": "details", "text": plain("Details")}]},
        ],
    })
}

/// A stand-in on which alice has the form open.
async fn opened() -> (Bench, App, View) {
    let bench = Bench::new().await;
    let mut app = bench.connect().await;
    bench
        .slack
        .user("alice")
        .command("deploys", "/deploy")
        .unwrap();
    let envelope = app.next().await;
    let trigger = &envelope["payload"]["trigger_id"];
    let arguments = json!({"trigger_id": trigger, "view": form("Deploy")});
    let answer = bench.call("views.open", arguments).await;
    assert_eq!(answer["ok"], true, "{answer}");
    app.ack(&envelope).await;
    let view = bench.slack.view_of("alice").unwrap();
    assert_eq!(answer["view"]["id"], view.id);
    assert_eq!(answer["view"]["root_view_id"], view.id);
    (bench, app, view)
}

/// Fills the form in, and submits it.
async fn submitted(bench: &Bench, app: &mut App, view: &View) -> Value {
    let alice = bench.slack.user("alice");
    let asked = alice.suggest(view, "application", "che").unwrap();
    let envelope = app.next().await;
    assert_eq!(envelope["payload"]["type"], "block_suggestion");
    assert_eq!(envelope["payload"]["value"], "che");
    let options = json!({"options": [{"text": plain("checkout"), "value": "a-1"}]});
    app.answer(&envelope, options).await;
    asked.answered().await.unwrap();
    assert!(
        alice.select(view, "application", "a-2").is_err(),
        "it was not offered"
    );
    assert!(alice.select(view, "application", "a-1").unwrap().is_none());
    assert!(alice.fill(view, "version", "v42").unwrap().is_none());
    alice.submit(view).unwrap();
    let envelope = app.next().await;
    assert_eq!(envelope["payload"]["type"], "view_submission");
    assert_eq!(envelope["accepts_response_payload"], true);
    envelope
}

async fn until_view(bench: &Bench, what: &str, wanted: impl Fn(Option<View>) -> bool) {
    let found = bench.slack.until(what, Duration::from_secs(10), |world| {
        wanted(world.modal("alice")).then_some(())
    });
    found.await.unwrap();
}

#[tokio::test]
async fn a_trigger_works_once_and_not_for_long() {
    let (bench, _app, _) = opened().await;
    let open = async |trigger: &Value| {
        let arguments = json!({"trigger_id": trigger, "view": form("Deploy")});
        let answer = bench.call("views.open", arguments).await;
        answer["error"].as_str().unwrap_or("none").to_owned()
    };
    let used = bench.slack.deliveries()[0].payload()["trigger_id"].clone();
    assert_eq!(open(&used).await, "exchanged_trigger_id");
    assert_eq!(open(&json!("1.2.x")).await, "invalid_trigger_id");
    let delivery = bench
        .slack
        .user("bob")
        .command("deploys", "/deploy")
        .unwrap();
    bench.slack.pass_time(Duration::from_secs(4));
    assert_eq!(
        open(&delivery.payload()["trigger_id"]).await,
        "expired_trigger_id"
    );
}

#[tokio::test]
async fn a_submission_carries_what_was_entered_and_an_empty_ack_closes_the_view() {
    let (bench, mut app, view) = opened().await;
    let incomplete = bench.slack.user("alice").submit(&view).unwrap_err();
    assert!(
        incomplete.to_string().contains("app/application"),
        "{incomplete}"
    );
    let envelope = submitted(&bench, &mut app, &view).await;
    let shown = &envelope["payload"]["view"];
    assert_eq!(shown["private_metadata"], "r-1");
    assert_eq!(shown["callback_id"], "deploy");
    let values = &shown["state"]["values"];
    assert_eq!(
        values["app"]["application"]["selected_option"]["value"],
        "a-1"
    );
    assert_eq!(
        values["version"]["version"],
        json!({"type": "plain_text_input", "value": "v42"})
    );
    assert_eq!(values["note"]["note"]["value"], Value::Null);
    app.ack(&envelope).await;
    until_view(&bench, "no view", |view| view.is_none()).await;
    assert!(
        bench.slack.violations().is_empty(),
        "{:?}",
        bench.slack.violations()
    );
}

#[tokio::test]
async fn errors_are_shown_at_their_inputs_and_the_form_stays() {
    let (bench, mut app, view) = opened().await;
    let envelope = submitted(&bench, &mut app, &view).await;
    let errors = json!({"response_action": "errors", "errors": {"version": "No such version."}});
    app.answer(&envelope, errors).await;
    until_view(&bench, "the error", |view| {
        view.is_some_and(|view| {
            view.errors
                .get("version")
                .is_some_and(|text| text == "No such version.")
        })
    })
    .await;
    // Errors for something that is no input break the form.
    bench.slack.user("alice").submit(&view).unwrap();
    let envelope = app.next().await;
    let errors = json!({"response_action": "errors", "errors": {"more": "?"}});
    app.answer(&envelope, errors).await;
    until_view(&bench, "the trouble", |view| {
        view.is_some_and(|view| view.notice.is_some())
    })
    .await;
    assert_eq!(bench.slack.violations().len(), 1);
}

#[tokio::test]
async fn a_submission_may_update_push_or_clear() {
    let (bench, mut app, view) = opened().await;
    let envelope = submitted(&bench, &mut app, &view).await;
    app.answer(
        &envelope,
        json!({"response_action": "update", "view": form("Checking")}),
    )
    .await;
    until_view(&bench, "the update", |view| {
        view.is_some_and(|view| view.title() == "Checking")
    })
    .await;
    let kept = bench.slack.view_of("alice").unwrap();
    assert_eq!(kept.id, view.id);
    assert_ne!(kept.hash, view.hash);
    assert_eq!(
        kept.entered["version"]["version"]["value"], "v42",
        "what was typed stays"
    );
    bench.slack.user("alice").submit(&kept).unwrap();
    let envelope = app.next().await;
    app.answer(
        &envelope,
        json!({"response_action": "push", "view": form("Confirm")}),
    )
    .await;
    until_view(&bench, "the push", |view| {
        view.is_some_and(|view| view.title() == "Confirm")
    })
    .await;
    let top = bench.slack.view_of("alice").unwrap();
    assert_eq!(
        (top.previous.as_ref(), &top.root),
        (Some(&view.id), &view.id)
    );
    assert!(
        bench.slack.user("alice").submit(&kept).is_err(),
        "it lies under another"
    );
    submitted(&bench, &mut app, &top).await;
    let envelope = bench.slack.deliveries().pop().unwrap();
    assert_eq!(envelope.payload()["view"]["previous_view_id"], view.id);
}

#[tokio::test]
async fn clear_closes_the_whole_stack() {
    let (bench, mut app, view) = opened().await;
    let envelope = submitted(&bench, &mut app, &view).await;
    app.answer(
        &envelope,
        json!({"response_action": "push", "view": form("Confirm")}),
    )
    .await;
    until_view(&bench, "the push", |view| {
        view.is_some_and(|view| view.title() == "Confirm")
    })
    .await;
    let top = bench.slack.view_of("alice").unwrap();
    let envelope = submitted(&bench, &mut app, &top).await;
    app.answer(&envelope, json!({"response_action": "clear"}))
        .await;
    until_view(&bench, "no view", |view| view.is_none()).await;
}

#[tokio::test]
async fn three_views_lie_on_each_other_and_no_more() {
    let (bench, mut app, view) = opened().await;
    let alice = bench.slack.user("alice");
    let mut top = view;
    let mut errors = Vec::new();
    for title in ["Two", "Three", "Four"] {
        alice.click(&top, "details").unwrap();
        let envelope = app.next().await;
        assert_eq!(envelope["payload"]["container"]["type"], "view");
        assert!(envelope["payload"].get("response_url").is_none());
        let arguments =
            json!({"trigger_id": envelope["payload"]["trigger_id"], "view": form(title)});
        let answer = bench.call("views.push", arguments).await;
        errors.push(answer["error"].as_str().unwrap_or("none").to_owned());
        app.ack(&envelope).await;
        top = bench.slack.view_of("alice").unwrap();
    }
    assert_eq!(errors, ["none", "none", "push_limit_reached"]);
    let closed = alice.close(&top).unwrap().unwrap();
    assert_eq!(closed.payload()["type"], "view_closed");
    assert_eq!(closed.payload()["is_cleared"], false);
    assert_eq!(bench.slack.view_of("alice").unwrap().title(), "Two");
    let closed = alice.close_all().unwrap();
    assert_eq!(closed.len(), 2);
    assert_eq!(closed[0].payload()["is_cleared"], true);
    assert!(bench.slack.view_of("alice").is_none());
}

#[tokio::test]
async fn a_view_is_updated_by_either_id_and_never_over_newer_content() {
    let (bench, _app, view) = opened().await;
    let mut named = form("Named");
    named["external_id"] = json!("deploy-1");
    let update = async |arguments: Value| {
        let answer = bench.call("views.update", arguments).await;
        answer["error"].as_str().unwrap_or("none").to_owned()
    };
    let by_id = json!({"view_id": view.id, "hash": view.hash, "view": named});
    assert_eq!(update(by_id.clone()).await, "none");
    assert_eq!(update(by_id).await, "hash_conflict");
    let by_name = json!({"external_id": "deploy-1", "view": form("By name")});
    assert_eq!(update(by_name.clone()).await, "none");
    assert_eq!(
        update(by_name).await,
        "not_found",
        "the name went with the update"
    );
    assert_eq!(
        update(json!({"view_id": "V0", "view": form("x")})).await,
        "not_found"
    );
    assert_eq!(bench.slack.view_of("alice").unwrap().title(), "By name");
}

#[tokio::test]
async fn a_submission_nobody_answers_leaves_the_form_with_a_notice() {
    let (bench, mut app, view) = opened().await;
    bench.slack.set_timing(Timing {
        answer_deadline: Duration::from_millis(1500),
        ..Timing::default()
    });
    submitted(&bench, &mut app, &view).await;
    let delivery = bench.slack.deliveries().pop().unwrap();
    assert_eq!(
        delivery.ended().await.unwrap(),
        Err(Failure::OperationTimeout)
    );
    assert!(
        bench
            .slack
            .view_of("alice")
            .unwrap()
            .notice
            .unwrap()
            .contains("trouble connecting")
    );
}

#[tokio::test]
async fn options_past_their_limits_offer_nothing() {
    let (bench, mut app, view) = opened().await;
    let alice = bench.slack.user("alice");
    assert!(
        alice.suggest(&view, "application", "").is_err(),
        "it asks for one character"
    );
    let asked = alice.suggest(&view, "application", "c").unwrap();
    let envelope = app.next().await;
    let long = "x".repeat(76);
    app.answer(
        &envelope,
        json!({"options": [{"text": plain(&long), "value": "a"}]}),
    )
    .await;
    asked.answered().await.unwrap();
    assert!(alice.select(&view, "application", "a").is_err());
    assert_eq!(bench.slack.violations().len(), 1);
    // To find nothing is no mistake.
    let asked = alice.suggest(&view, "application", "zzz").unwrap();
    let envelope = app.next().await;
    app.answer(&envelope, json!({"options": []})).await;
    asked.answered().await.unwrap();
    assert_eq!(bench.slack.violations().len(), 1);
}
