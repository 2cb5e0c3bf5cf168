//! What there is to do about a freeze, row by row.

use serde_json::{Value, json};

use super::*;

/// When it began, in seconds.
const SINCE: i64 = 1_772_618_400;
const DAY: i64 = 24 * 3600;

fn freeze(status: &Value) -> DeployFreeze {
    serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployFreeze",
        "metadata": {"name": "black-friday", "namespace": "shop", "uid": "f0", "creationTimestamp": "2026-03-01T10:00:00Z"},
        "spec": {
            "reason": "the busiest day of the year", "contact": "#shop-leads",
            "applications": ["check*"], "environments": ["production"], "exceptActions": ["rollback"],
            "notify": {"slack": {"channels": ["C0ONE", "C0TWO"]}},
            "by": {"username": "carol@corp.example"},
        },
        "status": status,
    }))
    .unwrap()
}

fn condition(status: &str) -> Value {
    json!([{"type": "Active", "status": status, "reason": "Frozen", "message": "", "lastTransitionTime": "2026-03-04T12:00:00Z"}])
}

/// It holds from ten o'clock until two.
fn on() -> DeployFreeze {
    freeze(
        &json!({"since": "2026-03-04T10:00:00Z", "until": "2026-03-04T14:00:00Z", "conditions": condition("True")}),
    )
}

/// It began anew a day later.
fn again() -> DeployFreeze {
    let mut again = on();
    again.status.as_mut().unwrap().since =
        Some(serde_json::from_value(json!("2026-03-05T10:00:00Z")).unwrap());
    again
}

fn off() -> DeployFreeze {
    freeze(&json!({"conditions": condition("False")}))
}

fn told(word: &str, channel: &str, ts: Option<&str>) -> SlackMessage {
    serde_json::from_value(json!({
        "purpose": format!("{word}:{SINCE}:{channel}"), "channel": channel, "ts": ts, "since": "2026-03-04T10:00:02Z",
    }))
    .unwrap()
}

/// `post began C0ONE Interactive`, `update began 1.1 Final`.
fn steps(
    freeze: &DeployFreeze,
    messages: Vec<SlackMessage>,
    unsent: Option<&Notice>,
) -> Vec<String> {
    let told = SlackStatus {
        messages,
        problem: None,
    };
    let facts = Facts {
        freeze,
        home: Some("foredeck-system"),
        told: &told,
        unsent,
    };
    let shown = |step: &Step| {
        let word = step.notice().to_string();
        let word = word.split(':').next().unwrap_or_default().to_owned();
        let priority = step.priority();
        match step {
            Step::Post(posting) => match &posting.spot.thread {
                Some(thread) => format!("post {word} {}/{thread} {priority:?}", posting.spot.id()),
                None => format!("post {word} {} {priority:?}", posting.spot.id()),
            },
            Step::Settle(posting, _) => format!("settle {word} {} {priority:?}", posting.spot.id()),
            Step::Update { at, .. } => format!("update {word} {} {priority:?}", at.ts),
        }
    };
    plan(facts).iter().map(shown).collect()
}

/// As it stands in the status once it shows what it is to show.
fn shown(freeze: &DeployFreeze, channel: &str) -> SlackMessage {
    let known = told("began", channel, Some("1.1"));
    let facts = Facts {
        freeze,
        home: Some("foredeck-system"),
        told: &SlackStatus::default(),
        unsent: None,
    };
    let notice = Notice::read(&known.purpose).unwrap();
    SlackMessage {
        digest: Some(digest(&message_of(facts, &notice, None))),
        ..known
    }
}

#[test]
fn it_is_told_once_in_each_channel_and_then_that_it_is_over() {
    let one = |entry: SlackMessage| vec![entry, shown(&on(), "C0TWO")];
    assert_eq!(
        steps(&on(), Vec::new(), None),
        [
            "post began C0ONE Interactive",
            "post began C0TWO Interactive"
        ]
    );
    assert!(steps(&on(), one(shown(&on(), "C0ONE")), None).is_empty());
    assert_eq!(
        steps(&on(), one(told("began", "C0ONE", None)), None),
        ["settle began C0ONE Interactive"]
    );
    let unsent = Notice::read(&told("began", "C0ONE", None).purpose).unwrap();
    assert_eq!(
        steps(&on(), one(told("began", "C0ONE", None)), Some(&unsent)),
        ["post began C0ONE Interactive"]
    );
    let refused = SlackMessage {
        refused: Some("shared_channel".to_owned()),
        ..told("began", "C0ONE", None)
    };
    assert!(steps(&on(), one(refused.clone()), None).is_empty());
    // Over: the message first, then the answer in its thread, then never again.
    assert_eq!(
        steps(&off(), vec![shown(&on(), "C0ONE")], None),
        ["update began 1.1 Final"]
    );
    assert_eq!(
        steps(&off(), vec![shown(&off(), "C0ONE")], None),
        ["post over C0ONE/1.1 Final"]
    );
    let answered = |ts| vec![shown(&on(), "C0ONE"), told("over", "C0ONE", ts)];
    assert_eq!(
        steps(&off(), answered(None), None),
        ["settle over C0ONE Final"]
    );
    assert!(steps(&off(), answered(Some("1.2")), None).is_empty());
    // Nobody was told that it began.
    assert!(steps(&off(), vec![refused], None).is_empty());
    assert!(steps(&off(), Vec::new(), None).is_empty());
}

#[test]
fn one_that_can_not_be_changed_any_more_is_answered_beside_it() {
    let lost = SlackMessage {
        refused: Some("message_not_found".to_owned()),
        ..shown(&on(), "C0ONE")
    };
    assert_eq!(steps(&off(), vec![lost], None), ["post over C0ONE Final"]);
}

#[test]
fn what_began_anew_is_told_anew_after_the_end_of_the_last() {
    assert_eq!(
        steps(&again(), vec![shown(&on(), "C0ONE")], None),
        [
            "update began 1.1 Final",
            "post began C0ONE Interactive",
            "post began C0TWO Interactive"
        ]
    );
    let done = SlackStatus {
        messages: vec![shown(&on(), "C0ONE"), told("over", "C0ONE", Some("1.2"))],
        problem: None,
    };
    assert!(
        without_old(&again(), &done, SINCE + DAY)
            .messages
            .is_empty()
    );
    assert_eq!(without_old(&again(), &done, SINCE), done);
}

#[test]
fn what_was_refused_of_what_holds_now_stays_known_while_an_older_beginning_is_ended() {
    let refused = SlackMessage {
        purpose: format!("began:{}:C0TWO", SINCE + DAY),
        refused: Some("uncertain".to_owned()),
        ..told("began", "C0TWO", None)
    };
    let known = SlackStatus {
        messages: vec![shown(&off(), "C0ONE"), refused.clone()],
        problem: None,
    };
    // The answer to the older beginning is being written down.
    assert_eq!(without_old(&again(), &known, SINCE), known);
    let left = without_old(&again(), &known, SINCE).messages;
    let planned = steps(&again(), left, None);
    assert!(
        !planned.iter().any(|step| step.contains("C0TWO")),
        "{planned:?}"
    );
    // Once it holds no more, nobody needs to know.
    let left = without_old(&off(), &known, SINCE).messages;
    assert!(!left.contains(&refused), "{left:?}");
}

#[test]
fn a_second_copy_is_spoken_of_as_long_as_its_beginning_is_known() {
    let twice = SlackMessage {
        earlier: Some(EarlierMessage::Unknown),
        ..shown(&on(), "C0ONE")
    };
    let mut known = SlackStatus {
        messages: vec![twice, told("over", "C0ONE", Some("1.2"))],
        problem: Some(trouble::SECOND_COPY.to_owned()),
    };
    assert_eq!(without_old(&again(), &known, SINCE), known);
    assert_eq!(
        without_old(&again(), &known, SINCE + DAY),
        SlackStatus::default()
    );
    // The next one may be about to be posted once more, for which it is said too.
    known.messages.push(SlackMessage {
        purpose: format!("began:{}:C0ONE", SINCE + DAY),
        ..told("began", "C0ONE", None)
    });
    let left = without_old(&again(), &known, SINCE + DAY);
    assert_eq!((left.messages.len(), left.problem), (1, known.problem));
}

#[test]
fn without_the_controllers_word_nothing_is_said() {
    for status in [
        json!({}),
        json!({"since": "2026-03-04T10:00:00Z"}),
        json!({"conditions": condition("Unknown")}),
    ] {
        assert!(steps(&freeze(&status), vec![shown(&on(), "C0ONE")], None).is_empty());
    }
    assert!(steps(&freeze(&Value::Null), Vec::new(), None).is_empty());
}

#[test]
fn what_is_said_of_a_freeze() {
    let mut stopped = on();
    stopped.metadata.namespace = Some("foredeck-system".to_owned());
    stopped.metadata.name = Some(crate::api::deploy_freeze::STOP_ALL.to_owned());
    stopped.spec = serde_json::from_value(json!({
        "reason": "<!channel> *everything* is on fire", "running": "Cancel",
        "by": {"username": "carol@corp.example"},
    }))
    .unwrap();
    stopped.status.as_mut().unwrap().until = None;
    let notice = Notice::read(&told("began", "C0ONE", None).purpose).unwrap();
    let answer = Notice::read(&told("over", "C0ONE", None).purpose).unwrap();
    let home = Some("foredeck-system");
    let ended = Some("2026-03-04T14:00:00Z".parse().unwrap());
    let all = [
        message::began(&on(), home, &notice, None),
        message::began(&stopped, home, &notice, Some(EarlierMessage::Unknown)),
        message::over(&off(), home, &notice, ended, None),
        message::over(&off(), home, &answer, ended, None),
        message::over(&off(), home, &notice, None, None),
        message::lifted(&stopped, home, &notice),
    ];
    insta::assert_json_snapshot!("freezes", all);
}

#[test]
fn only_what_the_controller_says_is_over_is_over() {
    assert!(is_over(&off()));
    assert!(!is_over(&on()));
    assert!(!is_over(&freeze(&Value::Null)), "nobody has said");
    assert!(!is_over(&freeze(&json!({"conditions": []}))));
}
