//! Which commit a version is: found once, when a request is accepted, and the same from then on, whatever becomes of the
//! branch, of GitHub or of the controller.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployRequest, DeployTarget,
    deploy_request::{Phase, WaitingFor},
    version::{Changes, Relation},
};
use foredeck_testkit::{
    toolbox::{Github, GithubFault},
    wait_for,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    repository::{asked, commit_of},
    support::{Bed, PATIENCE, deploy, message, phase_of, reason},
};

const QUICK: Duration = Duration::from_millis(200);
/// Until the test ends it.
const ENDLESS: Duration = Duration::from_mins(10);
const ALICE: &str = "alice@corp.example";
const CAROL: &str = "carol@corp.example";

/// What is sent in these tests.
const SHORT: &str = "{{ short_commit }}";

fn short(commit: &str) -> &str {
    &commit[..7]
}

fn changes(request: &DeployRequest) -> Option<&Changes> {
    request.status.as_ref()?.changes.as_deref()
}

fn problem(request: &DeployRequest) -> &str {
    let changes = changes(request);
    changes
        .and_then(|changes| changes.problem.as_deref())
        .unwrap_or_default()
}

/// It was started once, as this commit: what is sent, its mark and its status say so.
async fn started_as(bed: &Bed, request: &DeployRequest, commit: &str) -> Result<()> {
    let trigger = bed.trigger(request).await?;
    let sent = trigger["parameters"].clone();
    let sent = [&sent["branch"], &sent["to"]].map(|value| value.as_str().unwrap_or_default());
    ensure!(sent.contains(&short(commit)), "{trigger}, not {commit}");
    ensure!(trigger["foredeck"]["commit"] == commit, "{trigger}");
    ensure!(bed.launches(request) == 1, "started more than once");
    let now = bed.get(&request.name_any()).await?;
    ensure!(
        commit_of(&now).as_deref() == Some(commit),
        "{:?}",
        now.status
    );
    Ok(())
}

async fn run(bed: &Bed, name: &str, spec: Value) -> Result<DeployRequest> {
    bed.request(name, spec).await?;
    let ended = bed.until_phase(name, Phase::Succeeded).await?;
    bed.until_free().await?;
    Ok(ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_moves_while_its_request_waits_changes_nothing() -> Result<()> {
    let bed = Bed::new("moves", ENDLESS).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    bed.sends(SHORT).await?;
    let _controller = bed.controller()?;
    let one = github.head("main").await?;
    github.branch("release", &one).await?;
    let first = bed.request("first", deploy("staging", "main")).await?;
    bed.until_phase("first", Phase::Running).await?;
    started_as(&bed, &first, &one).await?;

    let two = github.commit("release", "Second", "Robin").await?;
    let second = bed.request("second", deploy("staging", "release")).await?;
    let waits = bed.until_phase("second", Phase::Queued).await?;
    ensure!(
        commit_of(&waits).as_ref() == Some(&two),
        "{:?}",
        waits.status
    );
    // Moved, pushed over, gone.
    github.commit("release", "Third", "Robin").await?;
    let other = github.orphan("other").await?;
    github.force_push("release", &other).await?;
    github.delete_branch("release").await?;
    bed.touch("second").await?;
    ensure!(bed.finish(&first));
    started_as(&bed, &second, &two).await?;
    ensure!(bed.finish(&second));
    let ended = bed.until_phase("second", Phase::Succeeded).await?;
    ensure!(
        asked(&github, "/commits/release") == 1,
        "{:?}",
        github.calls()
    );

    // What ran is known by its commit, and what changed stays said.
    bed.until_free().await?;
    let current = bed
        .target("staging")
        .await?
        .status
        .and_then(|status| status.current);
    let current = current.context("nothing runs")?;
    ensure!(current.commit.as_ref() == Some(&two), "{current:?}");
    let told = changes(&ended).context("no changes")?;
    ensure!(
        told.from.as_ref() == Some(&one)
            && told.relation == Some(Relation::Ahead)
            && told.added == 1,
        "{told:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_approved_as_the_commit_that_it_was() -> Result<()> {
    let bed = Bed::new("approved", QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    bed.sends(SHORT).await?;
    bed.let_people_write().await?;
    bed.let_them(ALICE, &["deploy"], "production").await?;
    bed.let_them(CAROL, &["approve"], "production").await?;
    bed.protect("production", json!({"approvals": {"required": 1}}))
        .await?;
    let _controller = bed.controller()?;
    let alice = bed.somebody(ALICE, &[]);
    let accepted = github.commit("main", "Accepted", "Robin").await?;
    let request = bed
        .request_as(&alice, "first", deploy("production", "main"))
        .await?;
    let waits = bed.until_phase("first", Phase::AwaitingApproval).await?;
    ensure!(commit_of(&waits).as_ref() == Some(&accepted));
    let other = github.orphan("other").await?;
    github.force_push("main", &other).await?;
    bed.approve(CAROL, "first").await?;
    started_as(&bed, &request, &accepted).await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(asked(&github, "/commits/main") == 1, "{:?}", github.calls());

    // What isn't there is not approved, and what hands the branch's name on isn't either.
    bed.request_as(&alice, "typo", deploy("production", "mian"))
        .await?;
    let failed = bed.until_phase("typo", Phase::Failed).await?;
    ensure!(
        reason(&failed, "Succeeded") == "VersionNotFound" && message(&failed).contains("`mian`"),
        "{:?}",
        failed.status
    );
    bed.sends("{{ version }}").await?;
    bed.request_as(&alice, "named", deploy("production", "main"))
        .await?;
    let failed = bed.until_phase("named", Phase::Failed).await?;
    ensure!(
        reason(&failed, "Succeeded") == "VersionMoves",
        "{:?}",
        failed.status
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_there_goes_as_it_was_typed_where_nobody_minds() -> Result<()> {
    let bed = Bed::new("typed", QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    let _controller = bed.controller()?;
    let typed = run(&bed, "typed", deploy("staging", "build-17")).await?;
    ensure!(
        commit_of(&typed).is_none() && problem(&typed).contains("`build-17`"),
        "{:?}",
        typed.status
    );
    let trigger = bed.trigger(&typed).await?;
    ensure!(trigger["parameters"]["branch"] == "build-17", "{trigger}");
    ensure!(
        asked(&github, "/commits/build-17") == 1,
        "{:?}",
        github.calls()
    );

    // A template that can't do without says which, and why.
    bed.sends("checkout:{{ short_commit }}").await?;
    bed.request("lacking", deploy("staging", "build-18"))
        .await?;
    let failed = bed.until_phase("lacking", Phase::Failed).await?;
    let text = message(&failed);
    ensure!(
        reason(&failed, "Succeeded") == "VersionNotFound",
        "{:?}",
        failed.status
    );
    for part in [
        "checkout:{{ short_commit }}",
        "`build-18`",
        "no branch, tag or commit",
    ] {
        ensure!(text.contains(part) && !text.contains("undefined"), "{text}");
    }
    // A whole SHA-1 is looked up, too.
    let nowhere = "0123456789".repeat(4);
    bed.request("nowhere", deploy("staging", &nowhere)).await?;
    let failed = bed.until_phase("nowhere", Phase::Failed).await?;
    ensure!(
        message(&failed).contains("no branch, tag or commit"),
        "{:?}",
        failed.status
    );
    let whole = run(
        &bed,
        "whole",
        deploy("staging", &github.head("main").await?),
    )
    .await?;
    ensure!(
        commit_of(&whole) == whole.spec.version,
        "{:?}",
        whole.status
    );
    bed.until_free().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_a_commit_waits_for_github_in_nobodys_way() -> Result<()> {
    let bed = Bed::new("down", QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    let _controller = bed.controller()?;
    github.set_fault(Some(GithubFault::Status(503)));
    // By its name alone it goes, and says that nobody knows which commit that is.
    let goes = run(&bed, "goes", deploy("staging", "main")).await?;
    ensure!(
        commit_of(&goes).is_none() && !problem(&goes).is_empty(),
        "{:?}",
        goes.status
    );

    bed.sends(SHORT).await?;
    let waits = bed.request("waits", deploy("staging", "main")).await?;
    let kept = bed
        .until_kept_by("waits", WaitingFor::Repository, "{{ short_commit }}")
        .await?;
    ensure!(phase_of(&kept) == Phase::Pending, "{:?}", kept.status);
    ensure!(reason(&kept, "Reconciling") == "CommitUnknown");
    bed.protect(
        "production",
        json!({"unresolvedVersions": "Refuse", "expireAfter": "4s"}),
    )
    .await?;
    bed.request("expires", deploy("production", "main")).await?;
    let expired = bed.until_phase("expires", Phase::Expired).await?;
    ensure!(
        message(&expired).contains("It last waited for this:"),
        "{}",
        message(&expired)
    );
    // Its target is free meanwhile.
    bed.until_free().await?;
    let restart = json!({"application": "checkout", "environment": "staging", "action": "restart"});
    run(&bed, "restart", restart).await?;
    github.set_fault(None);
    started_as(&bed, &waits, &github.head("main").await?).await?;
    bed.until_phase("waits", Phase::Succeeded).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_heeded_until_it_is_over() -> Result<()> {
    let bed = Bed::new("limited", QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    bed.sends(SHORT).await?;
    let _controller = bed.controller()?;
    github.set_fault(Some(GithubFault::Limited(3600)));
    bed.request("first", deploy("staging", "main")).await?;
    bed.until_kept_by("first", WaitingFor::Repository, "rate limit")
        .await?;
    let calls = github.calls().len();
    for _ in 0..5 {
        bed.touch("first").await?;
        let seen = bed.get("first").await?.resource_version();
        ensure!(seen.is_some());
    }
    // Whoever comes after it finds GitHub as limited: by then the touches were looked at.
    bed.request("second", deploy("production", "main")).await?;
    bed.until_kept_by("second", WaitingFor::Repository, "rate limit")
        .await?;
    ensure!(
        asked(&github, "/commits/main") <= 2 && github.calls().len() <= calls + 1,
        "{:?}",
        github.calls()
    );
    // Who decides that it may go without needs no GitHub.
    github.forget_calls();
    bed.sends("{{ version }}").await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(asked(&github, "/commits/main") == 0, "{:?}", github.calls());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_repository_there_are_no_commits() -> Result<()> {
    let bed = Bed::new("norepo", QUICK).await?;
    let _controller = bed.controller()?;
    let plain = run(&bed, "plain", deploy("staging", "main")).await?;
    ensure!(
        commit_of(&plain).is_none() && changes(&plain).is_none(),
        "{:?}",
        plain.status
    );
    let decided = plain
        .status
        .iter()
        .flat_map(|status| &status.decisions)
        .count();
    ensure!(decided > 0, "{:?}", plain.status);
    bed.sends(SHORT).await?;
    bed.request("lacking", deploy("staging", "main")).await?;
    let failed = bed.until_phase("lacking", Phase::Failed).await?;
    ensure!(
        reason(&failed, "Succeeded") == "TemplateFailed"
            && message(&failed).contains("spec.repository of Application `checkout`"),
        "{:?}",
        failed.status
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_is_gone_back_to_and_restarted_as_its_commit() -> Result<()> {
    let bed = Bed::new("back", QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    bed.sends(SHORT).await?;
    let _controller = bed.controller()?;
    let one = github.head("main").await?;
    run(&bed, "one", deploy("staging", "main")).await?;
    let two = github.commit("main", "Second", "Robin").await?;
    let second = run(&bed, "two", deploy("staging", "main")).await?;
    started_as(&bed, &second, &two).await?;
    github.commit("main", "Third", "Robin").await?;
    github.forget_calls();
    let act = |action: &str| json!({"application": "checkout", "environment": "staging", "action": action});
    let restart = run(&bed, "restart", act("restart")).await?;
    ensure!(
        commit_of(&restart).as_ref() == Some(&two),
        "{:?}",
        restart.status
    );
    let back = run(&bed, "back", act("rollback")).await?;
    started_as(&bed, &back, &one).await?;
    let told = changes(&back).context("no changes")?;
    ensure!(
        told.relation == Some(Relation::Behind) && told.removed == 1,
        "{told:?}"
    );
    // Neither asked; how far what runs is behind may have been looked at once meanwhile.
    ensure!(asked(&github, "/commits/main") <= 1, "{:?}", github.calls());

    // A target that lost what it knew finds the commits in Spinnaker's records, also of requests that are gone.
    for name in ["one", "two", "restart", "back"] {
        bed.delete::<DeployRequest>(name).await?;
    }
    let target = bed.target("staging").await?.name_any();
    bed.delete::<DeployTarget>(&target).await?;
    let third = github.head("main").await?;
    let next = bed.request("next", deploy("staging", "main")).await?;
    // So is what the rollback left, until somebody lifts it.
    let held = bed
        .until_target("staging", "held", |status| status.hold.is_some())
        .await?;
    let uid = held.hold.context("no hold")?.uid;
    bed.merge::<DeployTarget>(&target, json!({"spec": {"unhold": {"uid": uid}}}))
        .await?;
    started_as(&bed, &next, &third).await?;
    bed.until_phase("next", Phase::Succeeded).await?;
    let rebuilt = bed.target("staging").await?.status.unwrap_or_default();
    let commits: Vec<_> = rebuilt
        .history
        .iter()
        .map(|run| run.commit.clone())
        .collect();
    ensure!(
        commits
            == [
                Some(third),
                Some(one.clone()),
                Some(two.clone()),
                Some(two),
                Some(one)
            ],
        "{commits:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_holds_nothing_up() -> Result<()> {
    let bed = Bed::new("changes", QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    let _controller = bed.controller()?;
    let one = github.head("main").await?;
    run(&bed, "one", deploy("staging", "main")).await?;
    github.commits("main", 3).await?;
    github.set_fault_for("/compare/", GithubFault::Status(502));
    let silent = run(&bed, "silent", deploy("staging", "main")).await?;
    let told = changes(&silent).context("no changes")?;
    ensure!(
        told.from.as_ref() == Some(&one) && told.relation.is_none() && told.problem.is_some(),
        "{told:?}"
    );
    github.set_fault(None);
    github.commits("main", 3).await?;
    github.forget_calls();
    let told = run(&bed, "told", deploy("staging", "main")).await?;
    let told = changes(&told).context("no changes")?;
    ensure!(told.added == 3 && told.problem.is_none(), "{told:?}");
    ensure!(asked(&github, "/compare/") == 1, "{:?}", github.calls());

    github.commits("main", 3).await?;
    github.set_fault_for("/compare/", GithubFault::Slow(ENDLESS));
    let slow = run(&bed, "slow", deploy("staging", "main")).await?;
    ensure!(problem(&slow).contains("too long"), "{:?}", slow.status);
    github.set_fault(None);

    // Merge commits are counted nowhere, also where more lies between than is listed.
    run(&bed, "before", deploy("staging", "main")).await?;
    for number in 0..6 {
        let (branch, head) = (format!("own-{number}"), github.head("main").await?);
        github.branch(&branch, &head).await?;
        github.commit(&branch, "Own", "Robin").await?;
        github.merge("main", &branch).await?;
    }
    let merged = run(&bed, "merged", deploy("staging", "main")).await?;
    let told = changes(&merged).context("no changes")?;
    ensure!(told.added == 6 && told.commits.len() == 6, "{told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_shown_to_who_approves_as_soon_as_it_is_known() -> Result<()> {
    let bed = Bed::new("late-changes", QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    bed.sends(SHORT).await?;
    bed.let_people_write().await?;
    bed.let_them(ALICE, &["deploy"], "production").await?;
    let _controller = bed.controller()?;
    run(&bed, "one", deploy("production", "main")).await?;
    bed.protect("production", json!({"approvals": {"required": 1}}))
        .await?;
    github.commits("main", 3).await?;
    // Longer than is waited for it, and shorter than a call may take.
    let slow = GithubFault::Slow(Duration::from_secs(3));
    github.set_fault_for("/compare/", slow);
    let alice = bed.somebody(ALICE, &[]);
    bed.request_as(&alice, "two", deploy("production", "main"))
        .await?;
    bed.until("two", "what changes", |request| {
        changes(request).is_some_and(|changes| changes.added == 3)
    })
    .await?;
    let waits = bed.until_phase("two", Phase::AwaitingApproval).await?;
    ensure!(problem(&waits).is_empty(), "{:?}", waits.status);
    // How far the target is behind is asked too, without the commits.
    let listed = format!(
        "...{}?per_page=100",
        commit_of(&waits).context("no commit")?
    );
    ensure!(asked(&github, &listed) == 1, "{:?}", github.calls());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_repository_is_said_and_hinders_nothing() -> Result<()> {
    let bed = Bed::new("archived", QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    github.archive().await?;
    let _controller = bed.controller()?;
    for (name, base) in [("first", false), ("second", true)] {
        let ended = run(&bed, name, deploy("staging", "main")).await?;
        ensure!(commit_of(&ended).is_some(), "{:?}", ended.status);
        ensure!(
            problem(&ended).contains("is archived"),
            "{:?}",
            ended.status
        );
        let told = changes(&ended).context("no changes")?;
        ensure!(told.from.is_some() == base, "{told:?}");
    }
    Ok(())
}

/// The controller dies there; the branch moves; another controller comes.
async fn dies_at(point: &str, keeps: bool) -> Result<()> {
    let prefix = point.replace('@', "-");
    let bed = Bed::new(&prefix, QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    bed.sends(SHORT).await?;
    let mut dying = bed.controller_with(&["--test-crash-at", point])?;
    let one = github.head("main").await?;
    let request = bed.request("first", deploy("staging", "main")).await?;
    dying.until_ended().await?;
    ensure!(
        bed.launches(&request) == 0,
        "{point}: it was started before"
    );
    let before = commit_of(&bed.get("first").await?);
    ensure!(before.is_some() == keeps, "{point}: {before:?}");
    let two = github.commit("main", "Meanwhile", "Robin").await?;
    let _next = bed.controller()?;
    started_as(&bed, &request, if keeps { &one } else { &two }).await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_survives_its_controller() -> Result<()> {
    // The first status that is written is the acceptance.
    dies_at("before-status", false).await?;
    dies_at("after-status", true).await?;
    dies_at("before-claim-target", true).await?;
    dies_at("after-claim-target", true).await?;
    dies_at("after-mark-request", true).await?;
    dies_at("before-post", true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_keeps_its_commit_when_the_request_forgets_it() -> Result<()> {
    let bed = Bed::new("forgets", QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    bed.sends(SHORT).await?;
    let mut dying = bed.controller_with(&["--test-crash-at", "after-claim-target"])?;
    let one = github.head("main").await?;
    let request = bed.request("first", deploy("staging", "main")).await?;
    dying.until_ended().await?;
    bed.wipe_status::<DeployRequest>("first").await?;
    github.commit("main", "Meanwhile", "Robin").await?;
    let _next = bed.controller()?;
    started_as(&bed, &request, &one).await
}

/// Waits until GitHub was asked so often.
async fn until_asked(github: &Github, part: &str, times: usize) -> Result<()> {
    wait_for(&format!("{part} to be asked for"), PATIENCE, async || {
        let count = asked(github, part);
        ensure!(count >= times, "{count}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_spinnaker_asks_github_once() -> Result<()> {
    let bed = Bed::unconnected("gateless", QUICK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    bed.sends(SHORT).await?;
    let mut connection = bed.connection();
    connection["gateUrl"] = json!("http://127.0.0.1:9");
    bed.create::<foredeck::api::SpinnakerConnection>("gate", connection)
        .await?;
    let _controller = bed.controller()?;
    let one = github.head("main").await?;
    let request = bed.request("first", deploy("staging", "main")).await?;
    bed.until_kept_by("first", WaitingFor::Spinnaker, "")
        .await?;
    until_asked(&github, "/commits/main", 1).await?;
    github.commit("main", "Meanwhile", "Robin").await?;
    let url = json!({"spec": {"gateUrl": bed.gate.url()}});
    bed.merge::<foredeck::api::SpinnakerConnection>("gate", url)
        .await?;
    started_as(&bed, &request, &one).await?;
    ensure!(asked(&github, "/commits/main") == 1, "{:?}", github.calls());
    Ok(())
}
