//! The buttons of a judgment: whose click counts, for what, and once.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    asked::{Asked, bed, modal, protect, said},
    support::text,
};

fn judging(judgment: &Value) -> Value {
    let mut status = json!({"phase": "Running", "execution": {"id": "01J", "status": "RUNNING"}});
    status["judgment"] = json!({"stage": "s1", "name": "Go?"});
    if let (Some(known), Some(more)) = (status["judgment"].as_object_mut(), judgment.as_object()) {
        known.extend(more.clone());
    }
    status
}

#[tokio::test]
async fn the_first_answer_to_a_judgment_wins() -> Result<()> {
    let bed = bed("judge").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, judging(&json!({}))).await?;
    let question = asked.question().await?;
    let told = asked.pressed("alice", &question, "judge-go").await?;
    assert!(
        text(&told).contains("has no verb `judge`"),
        "{}",
        text(&told)
    );
    let clicks = ["bob", "carol"].map(|person| {
        let click = bed.slack.user(person).click_as_seen(&question, "judge-go");
        (person, click)
    });
    let mut words = Vec::new();
    for (person, click) in clicks {
        click?.answered().await?;
        words.push(text(&bed.shown(person, 0).await?));
    }
    words.sort();
    let all = asked.approvals().await?;
    assert_eq!(all.len(), 1, "{all:?}");
    let spec = json!(all[0].spec);
    assert_eq!(spec["judgment"], json!({"execution": "01J", "stage": "s1"}));
    assert_eq!(
        (&spec["for"], &spec["decision"]),
        (&json!("Judgment"), &json!("Approve"))
    );
    assert!(
        words.iter().any(|word| word.contains("Answered: continue")),
        "{words:?}"
    );
    let first = all[0]
        .spec
        .approver
        .clone()
        .context("an approver")?
        .username;
    assert!(
        words
            .iter()
            .any(|word| word.contains(&format!("`{first}` has answered that already"))),
        "{words:?}"
    );

    // Another stage is another question.
    asked.becomes(judging(&json!({"stage": "s2"}))).await?;
    let told = asked.pressed("bob", &question, "judge-go").await?;
    assert!(
        text(&told).contains("does not wait for that judgment now"),
        "{}",
        text(&told)
    );
    let question = asked.question().await?;
    let answer = json!({"stage": "s2", "answer": {"name": "a", "by": "kay@corp.example", "at": "2026-01-01T00:00:00Z"}});
    asked.becomes(judging(&answer)).await?;
    let told = asked.pressed("bob", &question, "judge-go").await?;
    assert!(
        text(&told).contains("`kay@corp.example` has answered it already"),
        "{}",
        text(&told)
    );
    assert_eq!(asked.approvals().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_does_not_count_bars_no_other_judge() -> Result<()> {
    let bed = bed("dead").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, judging(&json!({}))).await?;
    let question = asked.question().await?;
    asked.pressed("bob", &question, "judge-go").await?;
    let told = asked.pressed("carol", &question, "judge-go").await?;
    assert!(
        text(&told).contains("`bob@harbor.example` has answered that already"),
        "{}",
        text(&told)
    );
    let all = asked.approvals().await?;
    assert_eq!(all.len(), 1, "{all:?}");
    asked
        .counts_for_nothing(&all[0], "`bob@harbor.example` may not judge.")
        .await?;
    let told = asked.pressed("carol", &question, "judge-go").await?;
    assert!(
        text(&told).contains("Answered: continue"),
        "{}",
        text(&told)
    );
    let told = asked.pressed("bob", &question, "judge-go").await?;
    assert!(
        text(&told).contains("`carol@harbor.example` has answered that already"),
        "{}",
        text(&told)
    );
    assert_eq!(asked.approvals().await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn only_what_a_stage_offers_is_an_answer() -> Result<()> {
    let bed = bed("inputs").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, judging(&json!({"inputs": ["blue", "green"]}))).await?;
    let question = asked.question().await?;
    // What the stage offers has changed: the button's input is none of it any more.
    asked
        .becomes(judging(&json!({"inputs": ["green", "red"]})))
        .await?;
    let told = asked.pressed("bob", &question, "judge-go-0").await?;
    assert!(
        text(&told).contains("none of the answers that the stage offers"),
        "{}",
        text(&told)
    );
    asked.nothing_was_said().await?;
    let told = asked.pressed("bob", &question, "judge-go-1").await?;
    assert!(
        text(&told).contains("continue with `green`"),
        "{}",
        text(&told)
    );
    let spec = json!(asked.approvals().await?[0].spec);
    assert_eq!(spec["judgment"]["input"], "green");

    let many: Vec<String> = (0..7).map(|number| format!("cluster {number}")).collect();
    asked
        .becomes(judging(&json!({"stage": "s2", "inputs": many})))
        .await?;
    let question = asked.question().await?;
    let bob = bed.slack.user("bob");
    bob.click_as_seen(&question, "judge-choose")?
        .answered()
        .await?;
    let form = modal(&bed, "bob", "Continue").await?;
    let options = form
        .blocks()
        .iter()
        .find_map(|block| block["element"]["options"].as_array())
        .context("options")?;
    let third = options
        .iter()
        .find(|option| option["text"]["text"] == "cluster 3")
        .and_then(|option| option["value"].as_str())
        .context("the third")?
        .to_owned();
    bob.select(&form, ("answer", "answer"), &third)?;
    bob.submit(&form)?.answered().await?;
    let done = modal(&bed, "bob", "Foredeck").await?;
    assert!(said(&done).contains("cluster 3"), "{}", said(&done));
    let all = asked.approvals().await?;
    assert!(
        all.iter()
            .any(|one| json!(one.spec)["judgment"]["input"] == "cluster 3"),
        "{all:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_judgment_is_stopped_with_a_reason_and_roles_are_looked_at() -> Result<()> {
    let bed = bed("stop").await?;
    protect(
        &bed,
        json!({"judgmentRoles": [{"role": "ops", "group": "okta:ops"}]}),
    )
    .await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, judging(&json!({"roles": []}))).await?;
    let question = asked.question().await?;
    asked.becomes(judging(&json!({"roles": ["ops"]}))).await?;
    let told = asked.pressed("bob", &question, "judge-go").await?;
    assert!(
        text(&told).contains("members of *okta:ops*") || text(&told).contains("`okta:ops`"),
        "{}",
        text(&told)
    );
    asked.becomes(judging(&json!({"roles": ["qa"]}))).await?;
    let told = asked.pressed("bob", &question, "judge-stop").await?;
    assert!(
        text(&told).contains("maps no group to them"),
        "{}",
        text(&told)
    );
    asked.nothing_was_said().await?;
    asked.becomes(judging(&json!({"roles": []}))).await?;
    let bob = bed.slack.user("bob");
    bob.click_as_seen(&question, "judge-stop")?
        .answered()
        .await?;
    let form = modal(&bed, "bob", "Stop").await?;
    bob.fill(&form, ("answer", "answer"), "the graphs are red")?;
    bob.submit(&form)?.answered().await?;
    modal(&bed, "bob", "Foredeck").await?;
    let spec = json!(asked.approvals().await?[0].spec);
    assert_eq!(
        (&spec["decision"], &spec["comment"]),
        (&json!("Reject"), &json!("the graphs are red"))
    );
    Ok(())
}
