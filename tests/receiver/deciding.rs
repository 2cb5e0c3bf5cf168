//! Approve, Reject and the buttons of a judgment: whose click counts, for what, and once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::{
    api::{DeployApproval, DeployRequest, Environment},
    relay::message,
    slack::client::{Destination, Post, Priority, SlackClient, SlackSettings},
};
use foredeck_testkit::{
    ApiProxy,
    api_proxy::{ApiEffect, ApiFault},
    slack::{Ephemeral, Message, User, View},
    wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, text};

/// Any digest.
const DIGEST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Another one.
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn awaiting(digest: &str) -> Value {
    json!({"phase": "AwaitingApproval", "approvals": {"required": 2}, "resolved": {
        "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p1"}, "version": "v42",
        "target": {"account": "eks-1", "namespace": "shop"}, "deployTarget": "t", "digest": digest,
    }})
}

fn judging(judgment: &Value) -> Value {
    let mut status = json!({"phase": "Running", "execution": {"id": "01J", "status": "RUNNING"}});
    status["judgment"] = json!({"stage": "s1", "name": "Go?"});
    if let (Some(known), Some(more)) = (status["judgment"].as_object_mut(), judgment.as_object()) {
        known.extend(more.clone());
    }
    status
}

/// A request of alice's to production, and what stands in Slack about it.
struct Asked<'a> {
    bed: &'a Bed,
    name: String,
    marks: std::cell::Cell<u32>,
}

impl<'a> Asked<'a> {
    /// The receiver knows it by then.
    async fn new(bed: &'a Bed, status: Value) -> Result<Self> {
        let alice = bed.slack.user("alice");
        let requester = json!({"username": "alice@harbor.example", "slack": {"team": bed.slack.team_id(), "user": alice.id()}});
        let spec = json!({"application": "checkout", "environment": "production", "version": "v42", "requester": requester});
        let request: DeployRequest = bed.create(&bed.namespace, "one", spec).await?;
        let asked = Self {
            bed,
            name: request.name_any(),
            marks: std::cell::Cell::default(),
        };
        asked.becomes(status).await?;
        Ok(asked)
    }

    /// Writes the status, and waits until the receiver has heard of it.
    async fn becomes(&self, mut status: Value) -> Result<()> {
        self.marks.set(self.marks.get() + 1);
        let mark = format!("mark {}.", self.marks.get());
        if status["phase"] == "AwaitingApproval" || status["phase"] == "Running" {
            status["waiting"] =
                json!({"for": "Approval", "message": mark, "since": "2026-01-01T00:00:00Z"});
        }
        self.bed.set_status(&self.name, status.clone()).await?;
        let shows = if status["waiting"].is_null() {
            "canceled"
        } else {
            &mark
        };
        self.known_as(shows).await
    }

    /// Waits until the receiver tells this of the request.
    async fn known_as(&self, shows: &str) -> Result<()> {
        wait_for("the receiver has heard of it", PATIENCE, async || {
            let answer = self
                .bed
                .typed("alice", "deploys", "/deploy status checkout")
                .await?;
            ensure!(text(&answer).contains(shows), "{}", text(&answer));
            Ok(())
        })
        .await
    }

    async fn request(&self) -> Result<DeployRequest> {
        Ok(self.bed.requests_api().get(&self.name).await?)
    }

    /// Posts the question as the relay does.
    async fn question(&self) -> Result<Message> {
        let request = self.request().await?;
        let environment: Option<Environment> =
            Api::namespaced(self.bed.client.clone(), &self.bed.namespace)
                .get_opt("production")
                .await?;
        let message = match message::current_judgment(&request) {
            Some((mark, _)) => message::judgment(&request, environment.as_ref(), &mark, None, None),
            None => message::approval(
                &request,
                environment.as_ref(),
                None,
                message::Readers::Channel,
                None,
            ),
        };
        let slack = &self.bed.slack;
        let settings = SlackSettings::new(&slack.api_url().parse()?, slack.bot_token().into())?;
        let client = SlackClient::new(settings.without_proxies())?;
        let to = Destination::Channel(slack.channel("deploys")?.id.parse()?);
        let permit = client.reserve_post(&to, Priority::Interactive).await;
        let post = Post {
            to: &to,
            thread: None,
            broadcast: false,
            message: &message,
        };
        let posted = client.post_message(permit, post).await?;
        let channel = slack.channel("deploys")?;
        channel
            .message(posted.ts.as_str())
            .cloned()
            .context("the message")
    }

    /// Presses a button as it stood there, and waits for what only this person then sees.
    async fn pressed(&self, person: &str, on: &Message, button: &str) -> Result<Ephemeral> {
        let before = self.bed.slack.ephemerals(person).len();
        let click = self.bed.slack.user(person).click_as_seen(on, button)?;
        click.answered().await?;
        self.bed.shown(person, before).await
    }

    async fn approvals(&self) -> Result<Vec<DeployApproval>> {
        let api: Api<DeployApproval> =
            Api::namespaced(self.bed.client.clone(), &self.bed.namespace);
        Ok(api.list(&ListParams::default()).await?.items)
    }

    /// Says of an approval that it doesn't count, as the controller would.
    async fn counts_for_nothing(&self, approval: &DeployApproval, why: &str) -> Result<()> {
        let api: Api<DeployApproval> =
            Api::namespaced(self.bed.client.clone(), &self.bed.namespace);
        let condition = json!({
            "type": "Counts", "status": "False", "reason": "ApprovalExpired", "message": why,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        api.patch_status(&approval.name_any(), &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    async fn nothing_was_said(&self) -> Result<()> {
        let all = self.approvals().await?;
        ensure!(all.is_empty(), "{all:?}");
        Ok(())
    }
}

async fn bed(prefix: &str) -> Result<Bed> {
    let bed = Bed::new(prefix).await?;
    for person in ["bob", "carol"] {
        if person == "carol" {
            bed.slack.add_user(User::named("carol"), &["deploys"]);
        }
        bed.allow(&bed.namespace, person, &["approve", "judge"])
            .await?;
    }
    Ok(bed)
}

async fn protect(bed: &Bed, protection: Value) -> Result<()> {
    let api: Api<Environment> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let patch = Patch::Merge(json!({"spec": {"protection": protection}}));
    api.patch("production", &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

async fn modal(bed: &Bed, person: &str, title: &str) -> Result<View> {
    bed.slack
        .until(&format!("{person}'s modal {title}"), PATIENCE, |world| {
            world.modal(person).filter(|view| view.title() == title)
        })
        .await
}

fn said(view: &View) -> String {
    json!(view.blocks()).to_string()
}

#[tokio::test]
async fn an_approval_is_one_object_however_often_it_is_pressed() -> Result<()> {
    let bed = bed("approve").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&told).contains("Approved: deploy *checkout*"),
        "{}",
        text(&told)
    );
    let all = asked.approvals().await?;
    assert_eq!(all.len(), 1, "{all:?}");
    let (approval, request) = (&all[0], asked.request().await?);
    assert!(
        approval.name_any().starts_with("approval-"),
        "{}",
        approval.name_any()
    );
    let owner = &approval.owner_references()[0];
    assert_eq!(
        (&owner.uid, owner.kind.as_str()),
        (&request.uid().unwrap(), "DeployRequest")
    );
    let bob = bed.slack.user("bob").id().to_owned();
    assert_eq!(
        json!(approval.spec),
        json!({
            "request": {"name": "one", "uid": request.uid()}, "for": "Start", "decision": "Approve", "digest": DIGEST,
            "approver": {"username": "bob@harbor.example", "slack": {"team": bed.slack.team_id(), "user": bob}},
        })
    );
    let again = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&again).contains("You have answered that already: approved"),
        "{}",
        text(&again)
    );
    assert_eq!(asked.approvals().await?.len(), 1);

    // The word of another person is another one; two clicks at once are one.
    let carol = bed.slack.user("carol");
    let clicks = [
        carol.click_as_seen(&question, "request-approve")?,
        carol.click_as_seen(&question, "request-approve")?,
    ];
    for click in clicks {
        click.answered().await?;
    }
    wait_for("both answers", PATIENCE, async || {
        let shown = bed.slack.ephemerals("carol");
        ensure!(shown.len() == 2, "{shown:?}");
        Ok(())
    })
    .await?;
    assert_eq!(asked.approvals().await?.len(), 2);
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_approval_that_lapsed_is_given_again_once_each_time() -> Result<()> {
    let bed = bed("again").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    for generation in 1..=3 {
        let told = asked.pressed("bob", &question, "request-approve").await?;
        assert!(
            text(&told).contains("Approved: deploy *checkout*"),
            "{}",
            text(&told)
        );
        let told = asked.pressed("bob", &question, "request-approve").await?;
        assert!(
            text(&told).contains("You have answered that already: approved"),
            "{}",
            text(&told)
        );
        let all = asked.approvals().await?;
        assert_eq!(all.len(), generation, "{all:?}");
        for approval in all.iter().filter(|one| one.status.is_none()) {
            asked.counts_for_nothing(approval, "it has lapsed.").await?;
        }
    }
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
async fn whose_word_does_not_count_is_told_why_and_nothing_is_written() -> Result<()> {
    let bed = bed("strangers").await?;
    bed.slack.add_user(User::named("dave"), &["deploys"]);
    bed.allow(&bed.namespace, "dave", &["deploy"]).await?;
    bed.slack.add_user(User::named("eve"), &["deploys"]);
    bed.slack.add_user(
        User {
            is_restricted: true,
            ..User::named("guest")
        },
        &["deploys"],
    );
    let alice_may: Api<k8s_openapi::api::rbac::v1::Role> =
        Api::namespaced(bed.client.clone(), &bed.namespace);
    let more = json!([
        {"apiGroups": ["foredeck.dev"], "resources": ["applications"], "verbs": ["list"]},
        {"apiGroups": ["foredeck.dev"], "resources": ["applications", "environments"], "verbs": ["deploy", "approve"]},
    ]);
    alice_may
        .patch(
            "alice",
            &PatchParams::default(),
            &Patch::Merge(json!({"rules": more})),
        )
        .await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    for (person, why) in [
        ("dave", "has no verb `approve` on application *checkout*"),
        ("eve", "no such request any more that you may see"),
        ("guest", "guests of this workspace"),
        ("alice", "you asked for it yourself"),
    ] {
        for button in ["request-approve", "request-reject"] {
            let told = asked.pressed(person, &question, button).await?;
            assert!(
                text(&told).contains(why),
                "{person}, {button}: {}",
                text(&told)
            );
        }
        assert!(bed.slack.view_of(person).is_none(), "{person}");
    }
    bed.slack.change_user("bob", |bob| bob.is_stranger = true);
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&told).contains("people of other workspaces"),
        "{}",
        text(&told)
    );
    asked.nothing_was_said().await?;
    // Where the Environment allows it, who asked may.
    protect(
        &bed,
        json!({"approvals": {"required": 1, "requesterMayApprove": true}}),
    )
    .await?;
    wait_for("the receiver has heard of the rule", PATIENCE, async || {
        asked.pressed("alice", &question, "request-approve").await?;
        ensure!(asked.approvals().await?.len() == 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_automation_asks_for_is_approved_by_the_named_groups_only() -> Result<()> {
    let bed = bed("automation").await?;
    protect(
        &bed,
        json!({"approvals": {"required": 1, "groups": ["okta:leads"]}}),
    )
    .await?;
    let _receiver = bed.receiver().await?;
    let spec = json!({"application": "checkout", "environment": "production", "requester": {"username": "system:serviceaccount:flux:flux"}});
    bed.create::<DeployRequest>(&bed.namespace, "one", spec)
        .await?;
    let asked = Asked {
        bed: &bed,
        name: "one".to_owned(),
        marks: std::cell::Cell::default(),
    };
    asked.becomes(awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(text(&told).contains("`okta:leads`"), "{}", text(&told));
    asked.nothing_was_said().await
}

#[tokio::test]
async fn a_button_is_good_only_for_what_it_showed() -> Result<()> {
    let bed = bed("stale").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    bed.slack
        .user("carol")
        .click_as_seen(&question, "request-reject")?
        .answered()
        .await?;
    let form = modal(&bed, "carol", "Reject").await?;

    asked.becomes(awaiting(OTHER)).await?;
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&told).contains("has changed since that message was made"),
        "{}",
        text(&told)
    );
    // A form that was opened before is no better.
    let carol = bed.slack.user("carol");
    carol.fill(&form, ("answer", "answer"), "not on a Friday")?;
    let answer = carol.submit(&form)?.answered().await?;
    let body = answer.body.context("an answer")?.to_string();
    assert!(
        body.contains("has changed since that message was made"),
        "{body}"
    );

    let newer = asked.question().await?;
    let mut running = awaiting(OTHER);
    running["phase"] = json!("Running");
    asked.becomes(running).await?;
    let told = asked.pressed("bob", &newer, "request-approve").await?;
    assert!(
        text(&told).contains("nobody is asked to approve it now"),
        "{}",
        text(&told)
    );
    asked
        .becomes(
            json!({"phase": "Canceled", "finishedAt": "2026-01-01T00:00:00Z", "waiting": null}),
        )
        .await?;
    let told = asked.pressed("bob", &newer, "request-approve").await?;
    assert!(text(&told).contains("has ended"), "{}", text(&told));

    // Another request of that name isn't what was asked about.
    bed.requests_api()
        .delete("one", &DeleteParams::default())
        .await?;
    let again = Asked::new(&bed, awaiting(OTHER)).await?;
    let told = again.pressed("bob", &newer, "request-approve").await?;
    assert!(
        text(&told).contains("no such request any more"),
        "{}",
        text(&told)
    );
    asked.nothing_was_said().await
}

#[tokio::test]
async fn after_a_cancel_nobody_approves() -> Result<()> {
    let bed = bed("cancelled").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(text(&told).contains("Approved"), "{}", text(&told));
    let patch = Patch::Merge(json!({"spec": {"cancel": {"reason": "wrong one"}}}));
    bed.requests_api()
        .patch("one", &PatchParams::default(), &patch)
        .await?;
    asked.known_as("to be canceled").await?;
    let told = asked.pressed("carol", &question, "request-approve").await?;
    assert!(text(&told).contains("is to be canceled"), "{}", text(&told));
    assert_eq!(asked.approvals().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_rejection_says_why_and_stands_beside_no_approval_of_the_same_person() -> Result<()> {
    let bed = bed("reject").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    let bob = bed.slack.user("bob");
    bob.click_as_seen(&question, "request-reject")?
        .answered()
        .await?;
    let form = modal(&bed, "bob", "Reject").await?;
    assert!(said(&form).contains("*checkout*"), "{}", said(&form));
    bob.fill(&form, ("answer", "answer"), "   ")?;
    bob.submit(&form)?.answered().await?;
    let form = bed
        .slack
        .until("an error", PATIENCE, |world| {
            world.modal("bob").filter(|view| !view.errors.is_empty())
        })
        .await?;
    assert!(
        form.errors["answer"].contains("Say why"),
        "{:?}",
        form.errors
    );
    asked.nothing_was_said().await?;
    bob.fill(&form, ("answer", "answer"), "not on a Friday <!channel>")?;
    bob.submit(&form)?.answered().await?;
    let done = modal(&bed, "bob", "Foredeck").await?;
    assert!(said(&done).contains("Rejected"), "{}", said(&done));
    let all = asked.approvals().await?;
    let spec = json!(all[0].spec);
    assert_eq!(spec["decision"], "Reject");
    assert_eq!(spec["comment"], "not on a Friday <!channel>");
    assert_eq!(spec["digest"], DIGEST);
    bob.close(&done)?;
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&told).contains("You have answered that already: rejected"),
        "{}",
        text(&told)
    );
    assert!(text(&told).contains("kubectl delete da"), "{}", text(&told));
    assert_eq!(asked.approvals().await?.len(), 1);
    Ok(())
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

#[tokio::test]
async fn nobody_is_told_of_an_approval_that_may_not_be_there() -> Result<()> {
    let bed = bed("unknown").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    let post = reqwest::Method::POST;
    // Certainly not written.
    proxy.inject(ApiFault::new(post.clone(), "deployapprovals", ApiEffect::Refuse(429)).times(1));
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&told).contains("Nothing was approved or rejected"),
        "{}",
        text(&told)
    );
    asked.nothing_was_said().await?;
    // Perhaps written: said so in time, and the truth once it is known.
    let before = bed.slack.ephemerals("bob").len();
    let mut held = proxy.hold(post, "deployapprovals", "");
    let click = bed
        .slack
        .user("bob")
        .click_as_seen(&question, "request-approve")?;
    held.arrived().await?;
    let answer = click.answered().await?;
    assert!(answer.after <= Duration::from_secs(3), "{answer:?}");
    let told = bed.shown("bob", before).await?;
    assert!(
        text(&told).contains("unknown whether this was accepted"),
        "{}",
        text(&told)
    );
    assert!(text(&told).contains("kubectl get da"), "{}", text(&told));
    held.release();
    bed.slack
        .until("the truth", PATIENCE, |world| {
            let all = world.ephemerals("bob");
            all.into_iter().find(|one| text(one).contains("Approved"))
        })
        .await?;
    assert_eq!(asked.approvals().await?.len(), 1);
    Ok(())
}
