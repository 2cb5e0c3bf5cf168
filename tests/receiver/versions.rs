//! Versions and their commits: what a plan says of them, what it does when a branch moves or a repository doesn't answer,
//! and that nobody learns of commits whom they are none of the business of.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::{
    api::{Application, DeployTarget, deploy_request::Place},
    domain::{hosts::HostPattern, ids},
};
use foredeck_testkit::{
    slack::{Ephemeral, User, View},
    toolbox::{Github, GithubFault, Node},
    wait_for,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, Replica, buttons, text, words};

const STAGING: &str = "/deploy checkout main to staging";
/// Slack waits no longer.
const SLACK_WAITS: Duration = Duration::from_secs(3);
/// What somebody could write who wants to be taken for something else.
const HOSTILE: &str =
    "`*x*` <!channel> <https://evil.example|Spinnaker> \u{202e}:white_check_mark:";

/// A team whose application has its commits on GitHub.
struct Scene {
    bed: Bed,
    github: Github,
    receiver: Option<Replica>,
}

impl Scene {
    /// Nothing where Node is left out.
    async fn new(name: &str) -> Result<Option<Self>> {
        Self::with(name, |_| {}).await
    }

    async fn with(name: &str, change: impl FnOnce(&mut Bed)) -> Result<Option<Self>> {
        let Some(node) = Node::fetch().await? else {
            return Ok(None);
        };
        let mut bed = Bed::new(name).await?;
        let github = Github::start(&node, "shop/checkout").await?;
        let host: HostPattern = github.url().trim_start_matches("http://").parse()?;
        bed.git.allowed = vec![host];
        change(&mut bed);
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "github"}, "stringData": {"token": github.token()},
        }))?;
        Api::namespaced(bed.client.clone(), &bed.namespace)
            .create(&PostParams::default(), &secret)
            .await?;
        let scene = Self {
            bed,
            github,
            receiver: None,
        };
        let repository = json!({
            "github": "shop/checkout", "apiUrl": scene.github.url(), "secretName": "github",
        });
        let artifact = json!({
            "type": "docker/image", "name": "registry.example/shop/checkout", "version": "{{ short_commit }}",
        });
        scene
            .change(json!({"spec": {
                "repository": repository, "actions": {"deploy": {"artifacts": [artifact]}},
            }}))
            .await?;
        let receiver = scene.bed.receiver().await?;
        Ok(Some(Self {
            receiver: Some(receiver),
            ..scene
        }))
    }

    async fn change(&self, patch: Value) -> Result<()> {
        let api: Api<Application> = Api::namespaced(self.bed.client.clone(), &self.bed.namespace);
        api.patch("checkout", &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// What runs in staging, and ran before.
    async fn runs(&self, commits: &[&str]) -> Result<()> {
        let place = Place {
            account: "eks-test".to_owned(),
            namespace: "shop-staging".to_owned(),
        };
        let name = ids::target_name("checkout", "staging", &place);
        let spec = json!({"application": "checkout", "environment": "staging", "place": place});
        let namespace = &self.bed.namespace;
        self.bed
            .create::<DeployTarget>(namespace, &name, spec)
            .await?;
        let history: Vec<Value> = commits
            .iter()
            .enumerate()
            .map(|(index, commit)| {
                let at = format!("2026-01-02T0{}:00:00Z", 9 - index);
                json!({
                    "uid": format!("u{index}"), "name": format!("request-{index}"), "action": "deploy",
                    "version": "main", "commit": commit, "connection": "gate", "phase": "Succeeded",
                    "reason": "Succeeded", "sentAt": at, "finishedAt": at,
                })
            })
            .collect();
        let status = json!({"status": {"current": history[0], "history": history}});
        let api: Api<DeployTarget> = Api::namespaced(self.bed.client.clone(), namespace);
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await?;
        Ok(())
    }

    /// The plan of this line, once it says all of these.
    async fn planned(&self, line: &str, parts: &[&str]) -> Result<Ephemeral> {
        wait_for("such a plan", PATIENCE, async || {
            let plan = self.bed.typed("alice", "deploys", line).await?;
            let shown = text(&plan);
            for part in parts {
                ensure!(shown.contains(part), "{part} is missing in {shown}");
            }
            Ok(plan)
        })
        .await
    }

    fn asked(&self, part: &str) -> usize {
        let calls = self.github.calls();
        calls.iter().filter(|call| call.path.contains(part)).count()
    }

    /// The modal of somebody, once it is so.
    async fn modal(
        &self,
        person: &str,
        what: &str,
        wanted: impl Fn(&View) -> bool,
    ) -> Result<View> {
        self.bed
            .slack
            .until(what, PATIENCE, |world| {
                world.modal(person).filter(|view| wanted(view))
            })
            .await
    }
}

fn short(commit: &str) -> &str {
    &commit[..7]
}

fn says(view: &View, part: &str) -> bool {
    words(&json!(view.blocks())).contains(part)
}

#[tokio::test]
async fn a_plan_shows_its_commit_and_the_commits_between_and_asks_once_for_each() -> Result<()> {
    let Some(scene) = Scene::new("plan-commits").await? else {
        return Ok(());
    };
    let base = scene.github.head("main").await?;
    scene.runs(&[&base]).await?;
    scene.github.commit("main", HOSTILE, HOSTILE).await?;
    let head = scene
        .github
        .commit("main", "Faster start\n\nand a body", "Ada")
        .await?;
    scene.planned(STAGING, &["2 commits"]).await?;
    scene.github.forget_calls();
    let named = format!("`main` (`{}`)", short(&head));
    let plan = scene
        .planned(STAGING, &[&named, "`Faster start` `Ada`", "2 commits"])
        .await?;
    assert_eq!(scene.asked("/commits/"), 1, "{:?}", scene.github.calls());
    assert!(scene.asked("/compare/") <= 1);
    let shown = text(&plan);
    let link = format!("/shop/checkout/commit/{head}|{}>", short(&head));
    assert!(shown.contains(&link), "{shown}");
    let artifact = format!("registry.example/shop/checkout` version `{}`", short(&head));
    assert!(shown.contains(&artifact), "{shown}");
    for bad in ["<!channel>", "<https://evil", "\u{202e}"] {
        assert!(!shown.contains(bad), "{bad:?} in {shown}");
    }
    let accepted = scene.bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    let spec = scene.bed.request().await?.spec;
    assert_eq!(spec.version.as_deref(), Some("main"));
    assert_eq!(spec.commit, Some(head));
    assert_eq!(scene.bed.slack.violations(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_branch_that_moves_before_the_click_starts_nothing_and_is_shown_anew() -> Result<()> {
    let Some(scene) = Scene::new("plan-moved").await? else {
        return Ok(());
    };
    let base = scene.github.head("main").await?;
    scene.runs(&[&base]).await?;
    let first = scene.github.commit("main", "First", "Ada").await?;
    let plan = scene
        .planned(STAGING, &[short(&first), "1 commit."])
        .await?;
    let second = scene.github.commit("main", "Second", "Ada").await?;
    let anew = scene.bed.pressed("alice", &plan, "plan-deploy").await?;
    let moved = format!(
        "`main` moved from `{}` to `{}` while you looked, so nothing was started",
        short(&first),
        short(&second)
    );
    assert!(anew.text.contains(&moved), "{}", text(&anew));
    assert!(text(&anew).contains("2 commits."), "{}", text(&anew));
    assert!(scene.bed.requests().await?.is_empty());

    // A push by force is another commit like any other, and takes one away.
    scene.github.force_push("main", &base).await?;
    let anew = scene.bed.pressed("alice", &anew, "plan-deploy").await?;
    assert!(text(&anew).contains("moved from"), "{}", text(&anew));
    assert!(
        text(&anew).contains("the same commit runs there already"),
        "{}",
        text(&anew)
    );
    let accepted = scene.bed.pressed("alice", &anew, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    assert_eq!(scene.bed.request().await?.spec.commit, Some(base));
    Ok(())
}

#[tokio::test]
async fn a_branch_that_is_deleted_before_the_click_starts_nothing() -> Result<()> {
    let Some(scene) = Scene::new("plan-deleted").await? else {
        return Ok(());
    };
    let head = scene.github.head("main").await?;
    scene.github.branch("feature", &head).await?;
    let line = "/deploy checkout feature to staging";
    let plan = scene.planned(line, &[short(&head)]).await?;
    scene.github.delete_branch("feature").await?;
    let told = scene.bed.pressed("alice", &plan, "plan-deploy").await?;
    let shown = text(&told);
    assert!(
        shown.contains("has no branch, tag or commit `feature`"),
        "{shown}"
    );
    assert!(shown.contains("nothing was started"), "{shown}");
    assert!(scene.bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_repository_that_is_silent_at_the_click_leaves_what_was_shown() -> Result<()> {
    let Some(scene) = Scene::new("plan-silent").await? else {
        return Ok(());
    };
    let head = scene.github.head("main").await?;
    let plan = scene.planned(STAGING, &[short(&head)]).await?;
    scene.github.set_fault(Some(GithubFault::Status(502)));
    let told = scene.bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(told.text.contains("Accepted"), "{}", text(&told));
    assert_eq!(scene.bed.request().await?.spec.commit, Some(head));
    Ok(())
}

#[tokio::test]
async fn a_slow_repository_is_not_waited_for_and_the_request_goes_without_its_commit() -> Result<()>
{
    let slow = |bed: &mut Bed| bed.git_patience = Duration::from_millis(200);
    let Some(scene) = Scene::with("plan-slow", slow).await? else {
        return Ok(());
    };
    // What is handed over would need the commit.
    let artifacts = json!({"spec": {"actions": {"deploy": {"artifacts": null}}}});
    scene.change(artifacts).await?;
    let late = GithubFault::Slow(Duration::from_secs(4));
    scene.github.set_fault(Some(late));
    let delivery = scene.bed.slack.user("alice").command("deploys", STAGING)?;
    let answer = delivery.answered().await?;
    ensure!(
        answer.after < SLACK_WAITS,
        "answered after {:?}",
        answer.after
    );
    let plan = scene.bed.shown("alice", 0).await?;
    let shown = text(&plan);
    assert!(shown.contains("hasn't answered in time"), "{shown}");
    assert!(
        shown.contains("Which commit `main` is will be found when it is accepted"),
        "{shown}"
    );
    Ok(())
}

#[tokio::test]
async fn where_approvals_are_required_a_version_waits_until_its_commit_is_known() -> Result<()> {
    let Some(scene) = Scene::new("plan-approvals").await? else {
        return Ok(());
    };
    let head = scene.github.head("main").await?;
    let branch =
        json!({"spec": {"actions": {"deploy": {"parameters": {"branch": "{{ commit }}"}}}}});
    scene.change(branch).await?;
    let api: Api<foredeck::api::Environment> =
        Api::namespaced(scene.bed.client.clone(), &scene.bed.namespace);
    let rules = json!({"spec": {"protection": {"approvals": {"required": 1}}}});
    api.patch("staging", &PatchParams::default(), &Patch::Merge(rules))
        .await?;
    // A branch may be asked for where its commit is known.
    let approval = "somebody has to approve it";
    let plan = scene.planned(STAGING, &[short(&head), approval]).await?;
    assert!(buttons(&plan.blocks).contains(&"plan-deploy".to_owned()));
    scene.github.set_fault(Some(GithubFault::Limited(600)));
    let waits = "it waits until the repository says which commit `main` is";
    let plan = scene
        .planned(STAGING, &["rate limit is used up", waits])
        .await?;
    assert!(buttons(&plan.blocks).contains(&"plan-deploy".to_owned()));
    let accepted = scene.bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    assert_eq!(scene.bed.request().await?.spec.commit, None);
    Ok(())
}

#[tokio::test]
async fn a_command_that_asks_nothing_back_carries_the_commit_too() -> Result<()> {
    let Some(scene) = Scene::new("plan-quick").await? else {
        return Ok(());
    };
    let head = scene.github.head("main").await?;
    let told = scene
        .bed
        .typed("alice", "deploys", "/deploy checkout main to quick")
        .await?;
    assert!(told.text.contains("Accepted"), "{}", text(&told));
    assert_eq!(scene.bed.request().await?.spec.commit, Some(head));
    Ok(())
}

#[tokio::test]
async fn a_rollback_lists_what_would_be_given_up() -> Result<()> {
    let Some(scene) = Scene::new("plan-back").await? else {
        return Ok(());
    };
    let before = scene.github.head("main").await?;
    scene.github.commit("main", "Broken", "Ada").await?;
    let now = scene.github.commit("main", "More broken", "Ada").await?;
    scene.runs(&[&now, &before]).await?;
    let line = "/deploy rollback checkout in staging";
    let given_up = "Going back: 2 commits would be given up";
    scene
        .planned(
            line,
            &[short(&before), given_up, "`Broken`", "`More broken`"],
        )
        .await?;
    assert_eq!(scene.asked("/commits/main"), 0, "what ran is a commit");
    Ok(())
}

#[tokio::test]
async fn whoever_may_not_learns_nothing_and_has_nothing_asked() -> Result<()> {
    let Some(scene) = Scene::new("plan-oracle").await? else {
        return Ok(());
    };
    let base = scene.github.head("main").await?;
    scene.runs(&[&base]).await?;
    let head = scene
        .github
        .commits("main", 12)
        .await?
        .pop()
        .context("a commit")?;
    let plan = scene
        .planned(STAGING, &["12 commits", "newest 10 of 12"])
        .await?;
    // bob sees the team and may deploy nothing; mallory sees nothing.
    scene.bed.allow(&scene.bed.namespace, "bob", &[]).await?;
    let mallory = User::named("mallory");
    scene.bed.slack.add_user(mallory, &["deploys"]);
    scene.github.forget_calls();
    let told = scene.bed.typed("mallory", "deploys", STAGING).await?;
    assert!(told.text.contains("that you may see"), "{}", text(&told));
    wait_for("a team that bob sees", PATIENCE, async || {
        let told = scene.bed.typed("bob", "deploys", STAGING).await?;
        ensure!(told.text.contains("Not allowed"), "{}", text(&told));
        Ok(())
    })
    .await?;
    assert_eq!(scene.github.calls(), []);

    let all = scene.bed.press("alice", &plan, "commits")?;
    all.answered().await?;
    let list = scene
        .modal("alice", "the list", |view| says(view, "`Change 1`"))
        .await?;
    assert!(says(&list, short(&head)));
    assert_eq!(list.title(), "All commits");
    assert_eq!(scene.bed.slack.violations(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn of_two_thousand_commits_the_newest_are_listed_in_pages() -> Result<()> {
    let Some(scene) = Scene::new("plan-many").await? else {
        return Ok(());
    };
    let base = scene.github.head("main").await?;
    scene.runs(&[&base]).await?;
    let all = scene.github.commits("main", 2000).await?;
    let head = all.last().context("commits")?;
    let plan = scene
        .planned(STAGING, &["2000 commits", short(head)])
        .await?;
    scene
        .bed
        .press("alice", &plan, "commits")?
        .answered()
        .await?;
    let first = scene
        .modal("alice", "the first page", |view| says(view, "Page 1 of 10"))
        .await?;
    assert!(says(&first, short(head)));
    assert!(says(&first, "Only the newest 500"));
    scene
        .bed
        .slack
        .user("alice")
        .click(&first, "commits-page-older")?
        .answered()
        .await?;
    let second = scene
        .modal("alice", "the second page", |view| {
            says(view, "Page 2 of 10")
        })
        .await?;
    let older = &all[all.len() - 51];
    assert!(says(&second, short(older)), "{:?}", second.blocks());
    assert_eq!(scene.bed.slack.violations(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn branches_are_offered_from_memory_and_what_is_typed_always() -> Result<()> {
    let Some(scene) = Scene::new("plan-typeahead").await? else {
        return Ok(());
    };
    let head = scene.github.head("main").await?;
    let long = format!("feature/{}", "x".repeat(90));
    for name in ["release-1", long.as_str()] {
        scene.github.branch(name, &head).await?;
    }
    let alice = scene.bed.slack.user("alice");
    let plan = scene.planned(STAGING, &[short(&head)]).await?;
    scene
        .bed
        .press("alice", &plan, "plan-edit")?
        .answered()
        .await?;
    let form = scene
        .modal("alice", "the form", |view| says(view, "Version"))
        .await?;
    let offered = async |typed: &str| -> Result<Vec<String>> {
        let answer = alice
            .suggest(&form, "form-version", typed)?
            .answered()
            .await?;
        let options = answer.body.clone().context("options")?["options"].clone();
        let options = options.as_array().cloned().unwrap_or_default();
        Ok(options
            .iter()
            .filter_map(|one| one["value"].as_str().map(str::to_owned))
            .collect())
    };
    wait_for("branches", PATIENCE, async || {
        let all = offered("").await?;
        ensure!(all.contains(&"=release-1".to_owned()), "{all:?}");
        Ok(())
    })
    .await?;
    scene.github.set_fault(Some(GithubFault::Cut));
    let some = offered("rel").await?;
    assert_eq!(some, ["=rel", "=release-1"]);
    let digest = offered("xxx").await?.pop().context("the long one")?;
    assert!(digest.starts_with('#'), "{digest}");
    alice.select(&form, "form-version", &digest)?;
    alice.submit(&form)?.answered().await?;
    let plan = scene
        .modal("alice", "the plan", |view| view.title() == "Plan")
        .await?;
    assert!(says(&plan, "feature/xxx"), "{:?}", plan.blocks());
    Ok(())
}

#[tokio::test]
async fn without_a_repository_all_is_as_ever() -> Result<()> {
    let Some(scene) = Scene::new("plan-without").await? else {
        return Ok(());
    };
    scene
        .change(json!({"spec": {"repository": null, "actions": {"deploy": {"artifacts": null}}}}))
        .await?;
    let plan = wait_for("a plan without commits", PATIENCE, async || {
        let plan = scene.bed.typed("alice", "deploys", STAGING).await?;
        ensure!(!text(&plan).contains("commit"), "{}", text(&plan));
        Ok(plan)
    })
    .await?;
    let calls = scene.github.calls().len();
    let accepted = scene.bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    let spec = scene.bed.request().await?.spec;
    assert_eq!((spec.version.as_deref(), spec.commit), (Some("main"), None));
    assert_eq!(scene.github.calls().len(), calls);
    drop(scene.receiver);
    Ok(())
}
