//! What changes, as people read it; and that nobody who may push writes anything else.

use foredeck_testkit::slack::StandInSlack;
use serde_json::json;

use super::{
    commits::{self, All},
    planned,
    tests::{HOSTILE, at, beside, buttons, page, request, shown},
};
use crate::{
    api::{
        gate::GateKind,
        version::{Changes, CommitLine, Relation},
    },
    receiver::plan::{
        asked::{Difference, Moved},
        held::{Gate, GivenUp, Held, Stop},
        repeat::Repeat,
        shown::{Differing, Needed, Shown, Wait, Warning},
    },
    slack::{actions::Span, blocks::Message, view::View},
};

const PAGE: &str = "https://github.com/shop/checkout";

fn sha(digit: char) -> String {
    digit.to_string().repeat(40)
}

fn lines(count: usize) -> Vec<CommitLine> {
    let line = |number: usize| CommitLine {
        sha: format!("{number:040x}"),
        title: format!("Change {number}"),
        author: "Ada".to_owned(),
    };
    (0..count).map(line).collect()
}

fn difference(relation: Option<Relation>, count: u32, commits: Vec<CommitLine>) -> Difference {
    let back = relation == Some(Relation::Behind);
    let (removed, added) = if back { (count, 0) } else { (0, count) };
    Difference {
        changes: Changes {
            from: Some(sha('a')),
            relation,
            added,
            removed,
            commits,
            url: Some(format!("{PAGE}/compare/{}...{}", sha('a'), sha('b'))),
            problem: None,
        },
        merges: 2,
    }
}

fn plan(difference: Difference) -> Shown {
    let mut plan = shown();
    plan.version = Some("main".to_owned());
    plan.commit = Some(sha('b'));
    plan.repository = Some(PAGE.to_owned());
    plan.difference = Some(difference);
    plan.current.as_mut().unwrap().commit = Some(sha('a'));
    plan.parameters.clear();
    plan.waits.clear();
    plan.warnings.clear();
    plan
}

fn message(difference: Difference) -> Message {
    planned::message(&plan(difference), &beside(None), buttons())
}

fn span(page: u8) -> Span {
    Span {
        namespace: "shop".to_owned(),
        application: "checkout".to_owned(),
        base: sha('a'),
        head: sha('b'),
        page,
    }
}

fn list(page: u8, commits: usize, cut: bool) -> View {
    let count = u32::try_from(commits).unwrap();
    let difference = difference(Some(Relation::Ahead), count, lines(commits));
    let all = All {
        difference: &difference,
        page: PAGE,
        cut,
    };
    commits::all(&span(page), &all)
}

#[test]
fn what_changes_reads_like_this() {
    let mut artifacts = plan(difference(Some(Relation::Ahead), 3, lines(3)));
    artifacts.artifacts = serde_json::from_value(json!([{
        "type": "docker/image", "name": "registry.example/shop/checkout", "version": "bbbbbbb",
        "reference": "registry.example/shop/checkout:bbbbbbb", "artifactAccount": "docker",
    }]))
    .unwrap();
    let mut diverged = difference(Some(Relation::Diverged), 12, lines(10));
    diverged.changes.removed = 1;
    let mut silent = difference(None, 0, Vec::new());
    silent.changes.problem = Some("GitHub doesn't answer.".to_owned());
    let mut moved = beside(None);
    moved.changed = true;
    moved.moved = Some(Moved {
        version: "main".to_owned(),
        from: Some(sha('b')),
        to: Some(sha('c')),
    });
    let mut unresolved = plan(difference(None, 0, Vec::new()));
    (unresolved.commit, unresolved.difference) = (None, None);
    unresolved.warnings = vec![
        Warning::Unresolved {
            sentence: "api.github.com doesn't answer as it should: it hasn't answered in time."
                .to_owned(),
            missing: false,
        },
        Warning::Unresolved {
            sentence: "shop/checkout has no branch, tag or commit `main`.".to_owned(),
            missing: true,
        },
        Warning::NotAskedAgain {
            sentence: "GitHub doesn't answer.".to_owned(),
        },
        Warning::NeedsCommit,
    ];
    let equal = request(&json!({"phase": "Queued"}));
    let mut moved_again = moved.clone();
    moved_again.repeat = Some(Repeat::Waiting(&equal));
    let mut waits = unresolved.clone();
    let sentence = "GitHub doesn't answer.".to_owned();
    waits.warnings = vec![Warning::WaitsForCommit { sentence }];
    insta::assert_snapshot!(
        "commits",
        page([
            (
                "ahead, with an artifact",
                planned::message(&artifacts, &beside(None), buttons())
            ),
            ("diverged, more than are listed", message(diverged)),
            (
                "going back",
                message(difference(Some(Relation::Behind), 2, lines(2)))
            ),
            (
                "unrelated",
                message(difference(Some(Relation::Unrelated), 0, Vec::new()))
            ),
            (
                "the same",
                message(difference(Some(Relation::Identical), 0, Vec::new()))
            ),
            (
                "nothing known of what runs",
                message(difference(None, 0, Vec::new()))
            ),
            ("nobody says", message(silent)),
            (
                "moved",
                planned::message(
                    &plan(difference(Some(Relation::Ahead), 1, lines(1))),
                    &moved,
                    buttons()
                )
            ),
            (
                "moved, and an equal request waits",
                planned::message(
                    &plan(difference(Some(Relation::Ahead), 1, lines(1))),
                    &moved_again,
                    buttons()
                )
            ),
            (
                "unresolved",
                planned::message(&unresolved, &beside(None), buttons())
            ),
            (
                "waits for its commit",
                planned::message(&waits, &beside(None), buttons())
            ),
        ])
    );
}

#[test]
fn whoever_may_push_writes_no_markup() {
    let hostile = CommitLine {
        sha: sha('c'),
        title: HOSTILE.to_owned(),
        author: HOSTILE.to_owned(),
    };
    let mut plan = plan(difference(Some(Relation::Ahead), 1, vec![hostile]));
    plan.version = Some(HOSTILE.to_owned());
    let text = json!(planned::message(&plan, &beside(None), buttons())).to_string();
    for bad in [
        "<!channel>",
        "<https://evil",
        "\u{202e}",
        "\\n:white_check_mark:",
    ] {
        assert!(!text.contains(bad), "{bad:?} in {text}");
    }
    assert!(text.contains("&lt;!channel&gt;"), "{text}");
}

#[test]
fn all_commits_fit_into_pages_that_slack_takes() {
    for (page, buttons) in [
        (0, vec!["commits-page-older"]),
        (4, vec!["commits-page-newer", "commits-page-older"]),
        (9, vec!["commits-page-newer"]),
        (200, vec!["commits-page-newer"]),
    ] {
        let view = json!(list(page, commits::MOST, true));
        let blocks = view["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 100);
        for block in blocks {
            let text = block["text"]["text"].as_str().unwrap_or_default();
            assert!(text.chars().count() <= 3000);
        }
        let found: Vec<&str> = blocks
            .iter()
            .filter_map(|block| block["elements"].as_array())
            .flatten()
            .filter_map(|element| element["action_id"].as_str())
            .collect();
        assert_eq!(found, buttons, "page {page}");
        let text = view.to_string();
        assert!(text.contains("the repository shows more"), "{text}");
        let first = usize::from(page.min(9)) * commits::PAGE;
        for number in [first, first + commits::PAGE - 1] {
            assert!(text.contains(&format!("`Change {number}`")), "{number}");
        }
    }
    let short = json!(list(0, 3, false)).to_string();
    assert!(!short.contains("commits-page"), "{short}");
}

/// Slack's limit of a message's blocks is some 13,000 characters, and whoever may push writes titles.
#[tokio::test]
async fn a_plan_of_the_worst_of_everything_is_taken_by_slack() {
    let loud = || "&".repeat(1000);
    let line = |number: usize| CommitLine {
        sha: format!("{number:040x}"),
        title: loud(),
        author: loud(),
    };
    let mut diverged = difference(Some(Relation::Diverged), 400, (0..10).map(line).collect());
    diverged.changes.removed = 400;
    let mut worst = plan(diverged);
    worst.version = Some(loud());
    worst.pipeline = Some(loud());
    worst.reason = Some(loud());
    worst.place.account = loud();
    worst.place.namespace = loud();
    worst.current.as_mut().unwrap().version = Some(loud());
    let artifact = json!({
        "type": loud(), "name": loud(), "version": loud(), "location": loud(), "reference": loud(),
        "artifactAccount": loud(),
    });
    worst.artifacts = serde_json::from_value(json!(vec![artifact; 20])).unwrap();
    worst.parameters = vec![
        Differing {
            name: loud(),
            value: loud(),
            default: Some(loud()),
            asked: false,
        };
        64
    ];
    worst.approvals = Some(Needed {
        people: 10,
        groups: vec![loud(); 200],
        asker_may: false,
    });
    let (sentence, message) = (loud(), loud());
    worst.warnings = vec![
        Warning::WaitsForCommit { sentence: loud() },
        Warning::NotAskedAgain { sentence },
        Warning::EnvironmentNotReady { message: loud() },
        Warning::Pipeline { message },
        Warning::NeedsCommit,
        Warning::NotDescribed,
    ];
    let held = Wait::Held {
        request: "a".repeat(63),
        version: Some(loud()),
        requester: Some(loud()),
    };
    worst.waits = vec![held, Wait::Line { requests: 400 }];
    let gate = |gate| Gate {
        gate,
        reason: "Frozen".to_owned(),
        message: loud(),
        until: Some(at()),
    };
    let gates = [
        GateKind::Time,
        GateKind::Order,
        GateKind::Freeze,
        GateKind::Lock,
    ];
    worst.held = Held {
        stop: Some(Stop {
            reason: loud(),
            by: Some(loud()),
            since: Some(at()),
            contact: Some(loud()),
        }),
        gates: gates.map(gate).to_vec(),
        overriding: Some(loud()),
        not_before: Some(at()),
        start_before: Some(at()),
        given_up: Some(GivenUp {
            from: Some(loud()),
            from_commit: None,
            to: Some(loud()),
            to_commit: None,
        }),
    };
    let mut request = request(&json!({"phase": "Failed", "message": loud()}));
    request.spec.version = Some(loud());
    let mut again = beside(Some(Repeat::Ended(&request, at())));
    again.moved = Some(Moved {
        version: loud(),
        from: Some(sha('b')),
        to: Some(sha('c')),
    });
    let message = planned::message(&worst, &again, buttons());
    let blocks = json!(message)["blocks"].clone();
    crate::runtime::tls::install();
    let slack = StandInSlack::start().await.unwrap();
    let token = slack.bot_token();
    let told: serde_json::Value = reqwest::Client::new()
        .post(format!("{}chat.postMessage", slack.api_url()))
        .bearer_auth(token)
        .json(&json!({"channel": slack.channel("deploys").unwrap().id, "text": "a plan", "blocks": blocks}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(told["ok"], true, "{told}");
    let text = blocks.to_string();
    assert!(text.contains("plan-again"), "{text}");
    for list in ["*What changes*", "*Artifacts*", "*Parameters*"] {
        assert!(text.contains(list), "{list} in {text}");
    }
}
