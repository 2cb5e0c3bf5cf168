//! What people are asked in the thread: to approve, and to judge.

use anyhow::{Context, Result};
use foredeck_testkit::slack::Message;
use serde_json::{Value, json};

use crate::support::{Bed, all_for, awaiting, now, purpose, queued, running, spec};

/// The ids of all that can be pressed.
fn pressable(message: &Message) -> Vec<String> {
    let rows = message
        .blocks()
        .iter()
        .filter(|block| block["type"] == "actions");
    let elements = rows.flat_map(|row| row["elements"].as_array().into_iter().flatten());
    elements
        .filter_map(|element| Some(element["action_id"].as_str()?.to_owned()))
        .collect()
}

fn two_of_the_leads() -> Value {
    json!({"approvals": {"required": 2, "mention": ["S0LEADS"]}})
}

async fn shows(bed: &Bed, what: &str, text: &str) -> Result<Message> {
    bed.until_seen(&format!("{what} says {text:?}"), |world| {
        let all = world.messages("deploys");
        all.into_iter().find(|message| {
            purpose(message).starts_with(what)
                && json!([message.text(), message.blocks()])
                    .to_string()
                    .contains(text)
        })
    })
    .await
}

#[tokio::test]
async fn approval_is_asked_for_once_and_its_buttons_go_with_the_question() -> Result<()> {
    let bed = Bed::new("approval").await?;
    bed.environment_under(json!({}), two_of_the_leads()).await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", awaiting("aa", &[])).await?;
    bed.until_posted("one", "approval").await?;
    let question = shows(&bed, "approval", "0 of 2 so far").await?;
    assert!(question.is_reply());
    assert!(
        question.text().starts_with("<!subteam^S0LEADS> "),
        "{}",
        question.text()
    );
    assert_eq!(pressable(&question), ["request-approve", "request-reject"]);
    shows(&bed, "live", "waits for approval").await?;

    bed.status("one", awaiting("aa", &["bob@corp.example"]))
        .await?;
    shows(&bed, "approval", "1 of 2 so far").await?;
    shows(&bed, "approval", "fine by me").await?;
    shows(&bed, "live", "1 of 2 approved by `bob@corp.example`").await?;
    // What would run changes: the same answer asks anew.
    let mut other = awaiting("bb", &[]);
    other["approvals"]["given"] = json!([]);
    bed.status("one", other).await?;
    let asked_anew = shows(&bed, "approval", "`branch` = `bb`").await?;
    assert_eq!(asked_anew.ts, question.ts);
    let value = json!(asked_anew.blocks()).to_string();
    assert!(
        value.contains("/bb\""),
        "the button is about the new one: {value}"
    );

    let mut enough = awaiting("bb", &["bob@corp.example", "carol@corp.example"]);
    enough["phase"] = json!("Queued");
    bed.status("one", enough).await?;
    let settled = shows(
        &bed,
        "approval",
        "approved by `bob@corp.example`, `carol@corp.example`",
    )
    .await?;
    assert_eq!(pressable(&settled), Vec::<String>::new());
    assert!(!settled.text().contains("<!"), "{}", settled.text());
    assert_eq!(all_for(&bed.slack, "deploys", "approval").len(), 1);
    let posts = bed.slack.calls_of("chat.postMessage");
    let mentioning = posts
        .iter()
        .filter(|call| json!(call.arguments).to_string().contains("subteam"))
        .count();
    assert_eq!(mentioning, 1, "an update notifies nobody");
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_question_goes_with_its_request() -> Result<()> {
    let bed = Bed::new("question-gone").await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", awaiting("aa", &[])).await?;
    bed.until_posted("one", "approval").await?;
    bed.request("two", bed.asked()).await?;
    bed.status("two", judged("01J-GO", &json!({}))).await?;
    shows(&bed, "judgment", "waits for a judgment").await?;
    for name in ["one", "two"] {
        bed.delete(name).await?;
    }
    for what in ["approval", "judgment"] {
        let question = shows(&bed, what, "its request was deleted").await?;
        assert_eq!(pressable(&question), Vec::<String>::new(), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn where_only_who_asked_would_be_asked_it_says_how_others_approve() -> Result<()> {
    let bed = Bed::new("alone").await?;
    bed.environment_under(json!({}), two_of_the_leads()).await?;
    bed.slack.remove_app_from("deploys");
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", awaiting("aa", &[])).await?;
    let told = bed.until_posted("one", "approval").await?;
    assert!(told.channel.starts_with('D'), "{}", told.channel);
    let question = bed
        .until_seen("the question said to alice", |world| {
            let all = world.direct_messages("alice");
            all.into_iter()
                .find(|message| purpose(message) == "approval")
        })
        .await?;
    assert_eq!(pressable(&question), Vec::<String>::new());
    let said = json!([question.text(), question.blocks()]).to_string();
    assert!(said.contains("Nobody else sees this message"), "{said}");
    assert!(!said.contains("<!subteam"), "{said}");
    bed.until_told("one", "that nobody else was asked", |told| {
        let problem = told.problem.as_deref().unwrap_or_default();
        problem.contains("goes to a direct message") && problem.contains("Nobody but who asked")
    })
    .await?;
    bed.until_event("one", "SlackUnasked").await?;
    bed.status("one", queued()).await?;
    bed.until_told("one", "that nobody is needed any more", |told| {
        let problem = told.problem.as_deref().unwrap_or_default();
        problem.contains("goes to a direct message") && !problem.contains("Nobody")
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_environment_that_mentions_people_nowhere_is_said_to() -> Result<()> {
    let bed = Bed::new("unasked").await?;
    bed.environment_under(json!({}), two_of_the_leads()).await?;
    let _relay = bed.relay()?;
    bed.request("one", spec()).await?;
    bed.status("one", awaiting("aa", &[])).await?;
    bed.until_told("one", "that nobody was asked", |told| {
        let problem = told.problem.as_deref().unwrap_or_default();
        problem.contains("spec.notify.slack.channel")
    })
    .await?;
    bed.status("one", queued()).await?;
    bed.until_told("one", "nothing is wrong any more", |told| {
        told.problem.is_none()
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn who_said_no_and_why_takes_the_place_of_the_buttons() -> Result<()> {
    let bed = Bed::new("rejected").await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", awaiting("aa", &[])).await?;
    bed.until_posted("one", "approval").await?;
    let decisions = json!([{"at": now(), "what": "Rejected", "by": "carol@corp.example", "why": "not on a Friday"}]);
    bed.status(
        "one",
        json!({"phase": "Denied", "finishedAt": now(), "decisions": decisions}),
    )
    .await?;
    let question = shows(&bed, "approval", "rejected by `carol@corp.example`").await?;
    assert_eq!(pressable(&question), Vec::<String>::new());
    shows(&bed, "approval", "not on a Friday").await?;
    shows(&bed, "live", "not on a Friday").await?;
    bed.until_posted("one", "end").await?;
    shows(&bed, "end", "not on a Friday").await?;
    Ok(())
}

#[tokio::test]
async fn a_cancel_takes_the_buttons_away() -> Result<()> {
    let bed = Bed::new("cancelled").await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", awaiting("aa", &[])).await?;
    bed.until_posted("one", "approval").await?;
    bed.cancel("one").await?;
    let question = shows(&bed, "approval", "nobody is asked to approve it now").await?;
    assert_eq!(pressable(&question), Vec::<String>::new());
    Ok(())
}

fn judged(stage: &str, more: &Value) -> Value {
    let mut status = running();
    status["judgment"] =
        json!({"stage": stage, "name": "Go?", "instructions": "Look at the graphs"});
    if let (Some(judgment), Some(more)) = (status["judgment"].as_object_mut(), more.as_object()) {
        judgment.extend(more.clone());
    }
    status
}

#[tokio::test]
async fn each_judgment_is_asked_for_and_shows_who_answered() -> Result<()> {
    let bed = Bed::new("judgment").await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", judged("s1", &json!({}))).await?;
    let question = shows(&bed, "judgment", "Look at the graphs").await?;
    assert!(question.is_reply());
    assert_eq!(pressable(&question), ["judge-go", "judge-stop", "link"]);
    let answer = json!({"answer": {"name": "judgment-1", "by": "bob@corp.example", "at": now()}});
    bed.status("one", judged("s1", &answer)).await?;
    let handed = shows(&bed, "judgment", "answered by `bob@corp.example`").await?;
    assert_eq!(pressable(&handed), Vec::<String>::new());
    let mut over = running();
    over["judgment"] = Value::Null;
    over["decisions"] =
        json!([{"at": later(), "what": "Judged", "by": "bob@corp.example", "why": "Continue"}]);
    bed.status("one", over).await?;
    shows(&bed, "judgment", "judged by `bob@corp.example`").await?;

    let with_inputs = json!({"inputs": ["blue", "green"], "answer": null});
    bed.status("one", judged("s2", &with_inputs)).await?;
    let second = shows(&bed, "judgment", "green").await?;
    assert_ne!(second.ts, question.ts);
    assert_eq!(
        pressable(&second),
        ["judge-go-0", "judge-go-1", "judge-stop", "link"]
    );
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    Ok(())
}

/// After the message was posted, by whatever clock.
fn later() -> String {
    (jiff::Timestamp::now() + std::time::Duration::from_secs(2))
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

#[tokio::test]
async fn a_judgment_for_roles_that_nobody_has_leads_to_spinnaker() -> Result<()> {
    let bed = Bed::new("roles").await?;
    let mapped = json!({"judgmentRoles": [{"role": "ops", "group": "okta:ops"}]});
    bed.environment_under(json!({}), mapped).await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", judged("s1", &json!({"roles": ["qa"]})))
        .await?;
    let question = shows(&bed, "judgment", "in Spinnaker only").await?;
    assert_eq!(pressable(&question), ["link"]);
    bed.status("one", judged("s1", &json!({"roles": ["qa", "ops"]})))
        .await?;
    let question = shows(&bed, "judgment", "okta:ops").await?;
    assert_eq!(pressable(&question), ["judge-go", "judge-stop", "link"]);
    Ok(())
}

#[tokio::test]
async fn a_question_is_asked_again_where_its_thread_is_gone() -> Result<()> {
    let bed = Bed::new("thread").await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    let live = bed.until_posted("one", "live").await?;
    let ts = live.ts.context("a message")?;
    bed.slack.inject(
        foredeck_testkit::slack::Fault::on(
            "chat.postMessage",
            foredeck_testkit::slack::Effect::Error("thread_not_found".to_owned()),
        )
        .with("thread_ts", &ts),
    );
    bed.status("one", awaiting("aa", &[])).await?;
    bed.until_posted("one", "approval").await?;
    let question = shows(&bed, "approval", "needs approval").await?;
    assert!(!question.is_reply());
    Ok(())
}
