//! The form: opened, filled in, edited, and plans that are too long for a button.

use anyhow::{Context, Result};
use foredeck::api::Application;
use foredeck_testkit::slack::View;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, text, words};

/// What the controller would have found of the pipeline that deploys to staging.
async fn describe(bed: &Bed) -> Result<()> {
    let api: Api<Application> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let status = json!({"status": {"pipelines": [{
        "action": "deploy", "environment": "staging", "name": "Deploy to staging", "id": "p-1",
        "parameters": [
            {"name": "branch", "required": true},
            {"name": "replicas", "default": "2", "description": "How many"},
            {"name": "size", "required": true, "options": ["small", "large"]},
        ],
    }]}});
    api.patch_status("checkout", &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}

async fn view(bed: &Bed, what: &str, wanted: impl Fn(&View) -> bool) -> Result<View> {
    bed.slack
        .until(what, PATIENCE, |world| {
            world.modal("alice").filter(|view| wanted(view))
        })
        .await
}

/// The block and the action of the first field whose label is this.
fn field(view: &View, label: &str) -> Result<(String, String)> {
    let found = view
        .blocks()
        .iter()
        .find(|block| block["label"]["text"] == label);
    let block = found.with_context(|| format!("no field {label}: {}", json!(view.blocks())))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((
        text(&block["block_id"]),
        text(&block["element"]["action_id"]),
    ))
}

/// Chooses an option of a menu by what it says.
async fn choose(bed: &Bed, view: &View, label: &str, option: &str) -> Result<()> {
    let (block, action) = field(view, label)?;
    let all = view
        .blocks()
        .iter()
        .find(|one| one["block_id"] == block.as_str());
    let options = all
        .and_then(|block| block["element"]["options"].as_array())
        .context("options")?;
    let chosen = options.iter().find(|one| one["text"]["text"] == option);
    let value = chosen
        .and_then(|one| one["value"].as_str())
        .context("such an option")?;
    let alice = bed.slack.user("alice");
    if let Some(delivery) = alice.select(view, (block.as_str(), action.as_str()), value)? {
        delivery.answered().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_form_leads_from_nothing_to_a_request() -> Result<()> {
    let bed = Bed::new("form").await?;
    describe(&bed).await?;
    let _receiver = bed.receiver().await?;
    let alice = bed.slack.user("alice");
    alice.command("deploys", "/deploy")?.answered().await?;
    let form = view(&bed, "the form", |_| true).await?;

    let offered = alice
        .suggest(&form, "form-application", "che")?
        .answered()
        .await?;
    let value = offered.body.as_ref().context("options")?["options"][0]["value"]
        .as_str()
        .context("a value")?
        .to_owned();
    if let Some(delivery) = alice.select(&form, "form-application", &value)? {
        delivery.answered().await?;
    }
    let form = view(&bed, "the environments", |view| {
        field(view, "Environment").is_ok()
    })
    .await?;
    choose(&bed, &form, "Environment", "staging").await?;
    let form = view(&bed, "the parameters", |view| field(view, "size").is_ok()).await?;
    assert!(
        field(&form, "branch").is_err(),
        "the application's action sets it"
    );
    choose(&bed, &form, "size", "large").await?;
    for (label, words) in [
        ("Version", "main"),
        ("replicas", "3"),
        ("Reason", "because"),
    ] {
        let (block, action) = field(&form, label)?;
        alice.fill(&form, (block.as_str(), action.as_str()), words)?;
    }
    alice.submit(&form)?.answered().await?;
    let plan = view(&bed, "the plan", |view| view.title() == "Plan").await?;
    let shown = words(&json!(plan.blocks()));
    for part in [
        "*checkout*",
        "`main`",
        "*staging*",
        "`size` = `large`",
        "`3` instead of `2`",
        "because",
    ] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    assert!(bed.requests().await?.is_empty());

    alice.submit(&plan)?.answered().await?;
    let spec = bed.request().await?.spec;
    assert_eq!(spec.version.as_deref(), Some("main"));
    assert_eq!(spec.parameters["size"], "large");
    assert_eq!(spec.parameters["replicas"], "3");
    assert_eq!(spec.reason.as_deref(), Some("because"));
    let done = view(&bed, "the answer", |view| view.title() == "Foredeck").await?;
    assert!(
        words(&json!(done.blocks())).contains("Accepted"),
        "{:?}",
        done.blocks()
    );
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_edited_plan_and_the_old_one_are_one_request() -> Result<()> {
    let bed = Bed::new("edit").await?;
    let _receiver = bed.receiver().await?;
    let alice = bed.slack.user("alice");
    let old = bed
        .typed("alice", "deploys", "/deploy checkout main to staging")
        .await?;
    bed.press("alice", &old, "plan-edit")?.answered().await?;
    let form = view(&bed, "the form", |view| field(view, "Version").is_ok()).await?;
    let (block, action) = field(&form, "Version")?;
    alice.fill(&form, (block.as_str(), action.as_str()), "other")?;
    alice.submit(&form)?.answered().await?;
    let plan = view(&bed, "the plan", |view| view.title() == "Plan").await?;
    alice.submit(&plan)?.answered().await?;
    let request = bed.request().await?;
    assert_eq!(request.spec.version.as_deref(), Some("other"));

    // The first plan still stands in the channel.
    let told = bed.pressed("alice", &old, "plan-deploy").await?;
    assert!(
        told.text
            .contains("Another copy of this plan was confirmed first"),
        "{}",
        text(&told)
    );
    assert_eq!(bed.request().await?, request);
    Ok(())
}

#[tokio::test]
async fn what_a_field_is_to_blame_for_is_said_at_that_field() -> Result<()> {
    let bed = Bed::new("blame").await?;
    describe(&bed).await?;
    let _receiver = bed.receiver().await?;
    let alice = bed.slack.user("alice");
    let answer = bed
        .typed("alice", "deploys", "/deploy checkout main to staging")
        .await?;
    assert!(answer.text.contains("can't be done"), "{}", text(&answer));
    assert!(text(&answer).contains("size"), "{}", text(&answer));
    bed.press("alice", &answer, "plan-edit")?.answered().await?;
    let form = view(&bed, "the form", |view| field(view, "size").is_ok()).await?;
    let (block, action) = field(&form, "replicas")?;
    alice.fill(&form, (block.as_str(), action.as_str()), "${ 1 + 1 }")?;
    choose(&bed, &form, "size", "small").await?;
    alice.submit(&form)?.answered().await?;
    let form = view(&bed, "the errors", |view| !view.errors.is_empty()).await?;
    assert!(form.errors.contains_key(&block), "{:?}", form.errors);
    assert!(bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_plan_that_is_too_long_for_a_button_is_a_modal() -> Result<()> {
    let bed = Bed::new("long").await?;
    let _receiver = bed.receiver().await?;
    let alice = bed.slack.user("alice");
    let long = "x".repeat(900);
    let line = format!(
        "/deploy checkout main to staging {{\"one\": \"{long}\", \"two\": \"{long}\", \"three\": \"\"}}"
    );
    alice.command("deploys", &line)?.answered().await?;
    let plan = view(&bed, "the plan", |view| view.title() == "Plan").await?;
    assert!(bed.requests().await?.is_empty());
    alice.submit(&plan)?.answered().await?;
    let spec = bed.request().await?.spec;
    assert_eq!(spec.parameters["one"], long);
    assert_eq!(spec.parameters["two"], long);
    assert_eq!(spec.parameters["three"], "");
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn parameters_that_no_field_is_known_for_survive_an_edit() -> Result<()> {
    let bed = Bed::new("given").await?;
    let _receiver = bed.receiver().await?;
    let alice = bed.slack.user("alice");
    let line = "/deploy checkout main to staging {\"tier\": \"gold\", \"notes\": \"one\\ntwo\", \"typo\": \"x\"}";
    let plan = bed.typed("alice", "deploys", line).await?;
    bed.press("alice", &plan, "plan-edit")?.answered().await?;
    let form = view(&bed, "the form", |view| field(view, "Version").is_ok()).await?;
    field(&form, "tier")?;
    let notes = form
        .blocks()
        .iter()
        .find(|block| block["label"]["text"] == "notes");
    let notes = &notes.context("the notes")?["element"];
    assert_eq!(notes["initial_value"], "one\ntwo");
    assert_eq!(notes["multiline"], true);
    // It stays through a change of the form, and goes when it is emptied.
    choose(&bed, &form, "Environment", "quick").await?;
    let form = view(&bed, "the changed form", |view| field(view, "tier").is_ok()).await?;
    let (block, action) = field(&form, "typo")?;
    alice.fill(&form, (block.as_str(), action.as_str()), "")?;
    alice.submit(&form)?.answered().await?;
    let plan = view(&bed, "the plan", |view| view.title() == "Plan").await?;
    alice.submit(&plan)?.answered().await?;
    let spec = bed.request().await?.spec;
    let parameters = serde_json::to_value(&spec.parameters)?;
    assert_eq!(parameters, json!({"tier": "gold", "notes": "one\ntwo"}));
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    Ok(())
}
