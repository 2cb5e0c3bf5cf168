//! What there is to do, row by row.

use serde_json::{Value, json};

use super::*;
use crate::{
    relay::testing::{changed, environment, judged, now, protected, request},
    slack::client::Destination,
};

/// An entry of the status.
fn told(purpose: &str, channel: &str, ts: Option<&str>) -> Value {
    json!({"purpose": purpose, "channel": channel, "ts": ts, "since": "2026-03-04T10:00:02Z"})
}

fn status(messages: &[Value]) -> SlackStatus {
    serde_json::from_value(json!({"messages": messages})).unwrap()
}

struct Scene {
    request: DeployRequest,
    environment: Option<Environment>,
    application: Option<Application>,
    told: SlackStatus,
    unsent: Option<Purpose>,
    now: Timestamp,
}

impl Scene {
    fn of(request: DeployRequest, messages: &[Value]) -> Self {
        Self {
            request,
            environment: None,
            application: None,
            told: status(messages),
            unsent: None,
            now: now(),
        }
    }

    fn facts<'a>(&'a self, timing: &'a Timing) -> Facts<'a> {
        Facts {
            request: &self.request,
            environment: self.environment.as_ref(),
            application: self.application.as_ref(),
            told: &self.told,
            unsent: self.unsent.as_ref(),
            live_url: None,
            now: self.now,
            timing,
        }
    }

    fn plan(&self) -> Plan {
        plan(&self.facts(&Timing::default()))
    }

    /// `post live C0ASKED`, `post end C0ASKED/1.2 broadcast`, `update live Final`.
    fn steps(&self) -> Vec<String> {
        self.plan().steps.iter().map(shown).collect()
    }

    /// As if all messages showed what they should.
    fn up_to_date(mut self) -> Self {
        for step in self.plan().steps {
            if let Step::Update {
                purpose, message, ..
            } = step
            {
                let word = purpose.to_string();
                let entry = self
                    .told
                    .messages
                    .iter_mut()
                    .find(|entry| entry.purpose == word);
                entry.unwrap().digest = Some(message::digest(&message));
            }
        }
        self
    }
}

fn shown(step: &Step) -> String {
    let spot = |posting: &Posting| {
        let to = match &posting.spot.to {
            Destination::Channel(channel) => channel.to_string(),
            Destination::Person(user) => format!("@{user}"),
        };
        let thread = posting.spot.thread.as_ref();
        let thread = thread
            .map(|thread| format!("/{thread}"))
            .unwrap_or_default();
        let broadcast = if posting.broadcast { " broadcast" } else { "" };
        format!("{} {to}{thread}{broadcast}", posting.purpose)
    };
    match step {
        Step::Post(posting) => format!("post {}", spot(posting)),
        Step::Settle(posting, _) => format!("settle {}", spot(posting)),
        Step::Whisper(posting, user) => format!("whisper {} to {user}", spot(posting)),
        Step::Update {
            purpose, priority, ..
        } => format!("update {purpose} {priority:?}"),
    }
}

const LIVE: &str = "1772618402.000100";

fn live() -> Value {
    told("live", "C0ASKED", Some(LIVE))
}

#[test]
fn from_the_first_word_to_the_last() {
    let running = || request(Phase::Running);
    let failed = || request(Phase::Failed);
    let thread = json!({"spec": {"notify": {"slack": {"threadTs": "1.2"}}}});
    let rows: Vec<(&str, Scene, &[&str])> = vec![
        ("begins", Scene::of(request(Phase::Queued), &[]), &["post live C0ASKED"]),
        ("in a thread", Scene::of(changed(Phase::Queued, &thread), &[]), &["post live C0ASKED/1.2"]),
        ("written down, no more known", Scene::of(request(Phase::Queued), &[told("live", "C0ASKED", None)]), &["settle live C0ASKED"]),
        ("shows something else, and has run for a while", Scene::of(running(), &[live()]),
         &["update live Progress", "post stages C0ASKED/1772618402.000100"]),
        ("nothing new", Scene::of(request(Phase::Queued), &[live()]).up_to_date(), &[]),
        ("stages change", Scene::of(running(), &[live(), told("stages", "C0ASKED", Some("2.2"))]),
         &["update live Progress", "update stages Progress"]),
        ("ended badly", Scene::of(failed(), &[live()]), &["update live Final", "post end C0ASKED/1772618402.000100 broadcast"]),
        ("ended well", Scene::of(request(Phase::Succeeded), &[live()]).up_to_date(), &["post end C0ASKED/1772618402.000100"]),
        ("ended in a thread",
         Scene::of(changed(Phase::Failed, &thread), &[json!({"purpose": "live", "channel": "C0ASKED", "ts": LIVE, "threadTs": "1.2", "since": "2026-03-04T10:00:02Z"})]).up_to_date(),
         &["post end C0ASKED/1.2 broadcast"]),
        ("all told", Scene::of(failed(), &[live(), told("end", "C0ASKED", Some("3.3"))]).up_to_date(), &[]),
        ("the end is not known to be told", Scene::of(failed(), &[live(), told("end", "C0ASKED", None)]).up_to_date(), &["settle end C0ASKED"]),
        ("ended before it was told", Scene::of(failed(), &[]), &["post live C0ASKED"]),
        ("ended while the post is unknown", Scene::of(failed(), &[told("live", "C0ASKED", None)]), &["settle live C0ASKED"]),
        ("refused, then ended",
         Scene::of(failed(), &[json!({"purpose": "live", "channel": "C0ASKED", "since": "2026-03-04T10:00:02Z", "refused": "is_archived"})]),
         &["post end C0ASKED"]),
    ];
    for (name, scene, expected) in rows {
        assert_eq!(scene.steps(), expected, "{name}");
    }
}

#[test]
fn what_is_certainly_unsent_is_posted_without_looking() {
    let mut scene = Scene::of(request(Phase::Queued), &[told("live", "U01", None)]);
    scene.unsent = Some(Purpose::Live);
    assert_eq!(scene.steps(), ["post live @U01"]);
    scene.unsent = Some(Purpose::End);
    assert_eq!(scene.steps(), ["settle live @U01"]);
}

#[test]
fn what_nobody_wants_to_hear_is_not_announced() {
    let long_ago = json!({"status": {"finishedAt": "2026-03-03T10:00:00Z"}});
    let copy = json!({"metadata": {"annotations": {SEEN_ANNOTATION: "another"}}});
    let ended_as = |reason: &str| json!({"status": {"conditions": [{"type": "Succeeded", "status": "False", "reason": reason, "message": "", "lastTransitionTime": "2026-03-04T10:00:00Z"}]}});
    let kubectl = json!({"spec": {"notify": null, "requester": null}});
    let mut repeated = ended_as("AlreadyRan");
    repeated["spec"] = kubectl["spec"].clone();
    let own = environment(&json!({"channel": "C0OWN", "also": ["C0ALSO"]}));
    let rows = [
        ("ended long ago", changed(Phase::Failed, &long_ago)),
        ("a copy", changed(Phase::Running, &copy)),
        (
            "a restored copy",
            changed(Phase::Expired, &ended_as("Restored")),
        ),
        (
            "created again by a tool",
            changed(Phase::Succeeded, &repeated),
        ),
        (
            "being deleted",
            changed(
                Phase::Running,
                &json!({"metadata": {"deletionTimestamp": "2026-03-04T10:04:00Z"}}),
            ),
        ),
    ];
    for (name, request) in rows {
        let mut scene = Scene::of(request, &[]);
        scene.environment = Some(own.clone());
        assert_eq!(scene.plan(), Plan::default(), "{name}");
    }
    let mut asked_in_slack = Scene::of(changed(Phase::Succeeded, &ended_as("AlreadyRan")), &[]);
    assert_eq!(asked_in_slack.steps(), ["post live C0ASKED"]);
    asked_in_slack.request = changed(Phase::Running, &kubectl);
    assert_eq!(asked_in_slack.plan(), Plan::default(), "nowhere to tell it");
    asked_in_slack.environment = Some(own);
    assert_eq!(
        asked_in_slack.steps(),
        ["post live C0OWN", "post started:C0ALSO C0ALSO"],
        "kubectl"
    );
}

#[test]
fn a_copy_with_the_originals_status_leaves_the_originals_message_alone() {
    let copy = json!({"metadata": {"annotations": {SEEN_ANNOTATION: "another"}}});
    for phase in [Phase::Running, Phase::Failed] {
        let scene = Scene::of(changed(phase, &copy), &[live()]);
        assert_eq!(scene.plan(), Plan::default(), "{phase:?}");
    }
}

#[test]
fn an_end_that_is_only_dressed_anew_lets_new_ends_go_first() {
    let mut scene = Scene::of(
        request(Phase::Failed),
        &[live(), told("end", "C0ASKED", Some("3.3"))],
    );
    assert_eq!(scene.steps(), ["update live Final"]);
    scene.told.messages[0].phase = Some(Phase::Running);
    assert_eq!(scene.steps(), ["update live Final"]);
    scene.told.messages[0].phase = Some(Phase::Failed);
    assert_eq!(scene.steps(), ["update live Progress"]);
}

#[test]
fn what_was_begun_is_told_to_its_end_however_late() {
    let mut late = Scene::of(request(Phase::Failed), &[live()]);
    late.now = "2026-03-04T14:00:00Z".parse().unwrap();
    assert_eq!(
        late.steps(),
        [
            "update live Final",
            "post end C0ASKED/1772618402.000100 broadcast"
        ]
    );
    late.now = "2026-03-08T14:00:00Z".parse().unwrap();
    assert_eq!(
        late.steps(),
        ["update live Final"],
        "a live message never stays wrong"
    );
    late.told.messages[0].phase = Some(Phase::Failed);
    assert_eq!(late.plan(), Plan::default(), "but is not dressed anew");
}

#[test]
fn the_controller_has_the_first_word_for_a_while() {
    let mut scene = Scene::of(changed(Phase::Pending, &json!({"status": null})), &[]);
    scene.now = "2026-03-04T10:00:02Z".parse().unwrap();
    let plan = scene.plan();
    assert_eq!(
        (plan.steps.len(), plan.look_again),
        (0, Some(Duration::from_secs(3)))
    );
    scene.now = "2026-03-04T10:00:06Z".parse().unwrap();
    assert_eq!(scene.steps(), ["post live C0ASKED"]);
}

#[test]
fn short_runs_get_no_message_for_their_stages() {
    let mut scene = Scene::of(request(Phase::Running), &[live()]).up_to_date();
    scene.now = "2026-03-04T10:01:15Z".parse().unwrap();
    let plan = scene.plan();
    assert_eq!(
        (plan.steps.len(), plan.look_again),
        (0, Some(Duration::from_secs(5)))
    );
    let ended = Scene::of(request(Phase::Succeeded), &[live()]).up_to_date();
    let Step::Post(end) = &ended.plan().steps[0] else {
        panic!("no post")
    };
    let text = serde_json::to_string(&end.message).unwrap();
    assert!(text.contains("Bake"), "the end lists them: {text}");
}

#[test]
fn who_asked_elsewhere_is_told_where_it_is() {
    let own = environment(&json!({"channel": "C0OWN"}));
    let rows: [(&str, Value, &[&str]); 4] = [
        ("in a channel", json!({}), &["whisper link C0ASKED to U01"]),
        (
            "in a thread",
            json!({"spec": {"notify": {"slack": {"threadTs": "1.2"}}}}),
            &["post link C0ASKED/1.2"],
        ),
        (
            "in a direct message",
            json!({"spec": {"notify": {"slack": {"channel": "D0ALICE"}}}}),
            &["post link D0ALICE"],
        ),
        (
            "without a name",
            json!({"spec": {"requester": null}}),
            &["post link C0ASKED"],
        ),
    ];
    let own_and_listed = environment(&json!({"channel": "C0OWN", "also": ["C0ASKED"]}));
    for (name, patch, expected) in rows {
        let mut scene = Scene::of(
            changed(Phase::Queued, &patch),
            &[told("live", "C0OWN", Some(LIVE))],
        );
        let stamped = scene.request.spec.requester.is_some();
        scene.environment = Some(if stamped { &own } else { &own_and_listed }.clone());
        let mut scene = scene.up_to_date();
        assert_eq!(scene.steps(), expected, "{name}");
        scene.told.messages[0].channel = scene
            .request
            .spec
            .notify
            .clone()
            .unwrap()
            .slack
            .unwrap()
            .channel;
        assert!(scene.steps().is_empty(), "{name}: it went there after all");
    }
}

#[test]
fn further_channels_get_a_line_at_the_start_and_one_at_the_end() {
    let also = environment(&json!({"also": ["C0ALSO"]}));
    let steps = |request: DeployRequest, messages: &[Value]| {
        let mut scene = Scene::of(request, messages);
        scene.environment = Some(also.clone());
        scene.up_to_date().steps()
    };
    let (queued, ended) = (request(Phase::Queued), request(Phase::Succeeded));
    let end = told("end", "C0ASKED", Some("3.3"));
    let begun = told("started:C0ALSO", "C0ALSO", Some("4.4"));
    assert!(steps(queued, &[live()]).is_empty(), "nothing runs yet");
    let stages = told("stages", "C0ASKED", Some("2.2"));
    assert_eq!(
        steps(request(Phase::Running), &[live(), stages.clone()]),
        ["post started:C0ALSO C0ALSO"]
    );
    assert!(steps(request(Phase::Running), &[live(), stages, begun.clone()]).is_empty());
    assert_eq!(
        steps(ended.clone(), &[live(), end.clone(), begun.clone()]),
        ["post ended:C0ALSO C0ALSO"]
    );
    assert_eq!(
        steps(ended.clone(), &[live(), end.clone()]),
        ["post ended:C0ALSO C0ALSO"],
        "it was quick"
    );
    assert!(
        steps(
            ended,
            &[
                live(),
                end,
                begun,
                told("ended:C0ALSO", "C0ALSO", Some("5.5"))
            ]
        )
        .is_empty()
    );
    let never = request(Phase::Expired);
    assert!(
        !steps(never, &[live()])
            .iter()
            .any(|step| step.contains("C0ALSO")),
        "it never ran"
    );
}

#[test]
fn a_copy_says_so() {
    let mut scene = Scene::of(request(Phase::Queued), &[told("live", "C0ASKED", None)]);
    scene.told.messages[0].earlier = Some(EarlierMessage::Unknown);
    let Step::Settle(posting, _) = &scene.plan().steps[0] else {
        panic!("no settle")
    };
    let text = serde_json::to_string(&posting.message).unwrap();
    assert!(text.contains("second copy"), "{text}");
}

#[test]
fn approval_is_asked_for_once_and_told_to_its_end() {
    let asked = || request(Phase::AwaitingApproval);
    let post = format!("post approval C0ASKED/{LIVE}");
    let scene = Scene::of(asked(), &[live()]).up_to_date();
    assert_eq!(scene.steps(), [post.as_str()]);
    assert!(
        Scene::of(asked(), &[])
            .steps()
            .iter()
            .all(|step| !step.contains("approval"))
    );
    let question = told("approval", "C0ASKED", Some("2.2"));
    let told = Scene::of(asked(), &[live(), question.clone()]).up_to_date();
    assert_eq!(told.plan().steps, []);
    for (name, patch) in [
        (
            "more approved",
            json!({"status": {"approvals": {"required": 3}}}),
        ),
        (
            "what would run has changed",
            json!({"status": {"resolved": {"digest": "other"}}}),
        ),
    ] {
        let mut changed_since = Scene::of(changed(Phase::AwaitingApproval, &patch), &[]);
        changed_since.told = told.told.clone();
        let steps = changed_since.steps();
        assert!(
            steps.contains(&"update approval Interactive".to_owned()),
            "{name}: {steps:?}"
        );
    }
    for phase in [
        Phase::Queued,
        Phase::Denied,
        Phase::Expired,
        Phase::Canceled,
    ] {
        let mut ended = Scene::of(request(phase), &[]);
        ended.told = told.told.clone();
        let steps = ended.steps();
        assert!(
            steps.contains(&"update approval Interactive".to_owned()),
            "{phase:?}: {steps:?}"
        );
        let never = Scene::of(request(phase), &[live()]).steps();
        assert!(
            !never.iter().any(|step| step.contains("approval")),
            "{phase:?}: {never:?}"
        );
    }
}

#[test]
fn where_nobody_is_asked_to_approve_it_the_status_says_so() {
    let asked = || request(Phase::AwaitingApproval);
    let unasked = |scene: &Scene| scene.plan().unasked;
    let direct = told("live", "D0ALICE", Some(LIVE));
    let in_channel = told("approval", "C0ASKED", Some("2.2"));
    let nowhere = json!({"spec": {"notify": null}});
    let under = |request, messages: &[Value], protection: &Value| {
        let mut scene = Scene::of(request, messages);
        scene.environment = Some(protected(protection));
        scene
    };
    let mention = json!({"approvals": {"required": 1, "mention": ["S0LEADS"]}});
    let plain = json!({"approvals": {"required": 1}});
    let rows = vec![
        ("in the channel", under(asked(), &[live()], &mention), None),
        (
            "directly",
            under(asked(), std::slice::from_ref(&direct), &mention),
            Some(Unasked::Alone),
        ),
        (
            "it stayed in the channel",
            under(asked(), &[direct.clone(), in_channel], &mention),
            None,
        ),
        (
            "over",
            under(request(Phase::Queued), &[direct], &mention),
            None,
        ),
        (
            "nowhere",
            under(changed(Phase::AwaitingApproval, &nowhere), &[], &mention),
            Some(Unasked::NoChannel),
        ),
        (
            "nobody to mention",
            under(changed(Phase::AwaitingApproval, &nowhere), &[], &plain),
            None,
        ),
    ];
    for (name, scene, expected) in rows {
        assert_eq!(unasked(&scene), expected, "{name}");
        let message = message_of(&scene.facts(&Timing::default()), &Purpose::Approval, None);
        let text = serde_json::to_string(&message).unwrap();
        let alone = expected == Some(Unasked::Alone);
        assert_eq!(
            text.contains("Nobody else sees this message"),
            alone,
            "{name}: {text}"
        );
        assert!(
            !alone || !text.contains("request-approve"),
            "{name}: {text}"
        );
    }
}

#[test]
fn what_speaks_of_a_request_that_goes_is_its_live_message_and_its_open_questions() {
    let spoken = |scene: &Scene| {
        let found = speaking(&scene.facts(&Timing::default()));
        let found = found.iter().map(|(purpose, _)| purpose.to_string());
        found.collect::<Vec<_>>()
    };
    let question = told("approval", "C0ASKED", Some("2.2"));
    let stages = told("stages", "C0ASKED", Some("3.3"));
    let all = [live(), stages, question];
    let asked = Scene::of(request(Phase::AwaitingApproval), &all);
    assert_eq!(spoken(&asked.up_to_date()), ["live", "approval"]);
    let over = Scene::of(request(Phase::Queued), &all);
    assert_eq!(
        spoken(&over),
        ["live", "approval"],
        "its buttons are still there"
    );
    assert_eq!(spoken(&over.up_to_date()), ["live"]);
    let judging = judged(&json!({}));
    let (mark, _) = message::current_judgment(&judging).unwrap();
    let open = told(&format!("judgment:{mark}"), "C0ASKED", Some("2.2"));
    let older = told("judgment:0a", "C0ASKED", Some("1.9"));
    let judging = Scene::of(judging, &[live(), older, open]).up_to_date();
    assert_eq!(
        spoken(&judging),
        ["live".to_owned(), format!("judgment:{mark}")]
    );
}

#[test]
fn each_judgment_is_asked_for_by_itself() {
    let first = judged(&json!({}));
    let second = judged(&json!({"status": {"judgment": {"stage": "01J-NEXT"}}}));
    let purpose = |request: &DeployRequest| {
        Purpose::Judgment(message::current_judgment(request).unwrap().0).to_string()
    };
    let (one, two) = (purpose(&first), purpose(&second));
    assert_ne!(one, two);
    let stages = told("stages", "C0ASKED", Some("2.2"));
    let asked = |request: DeployRequest, messages: &[Value]| {
        Scene::of(request, messages).up_to_date().steps()
    };
    assert_eq!(
        asked(first.clone(), &[live(), stages.clone()]),
        [format!("post {one} C0ASKED/{LIVE}")]
    );
    let question = told(&one, "C0ASKED", Some("3.3"));
    let both = [live(), stages.clone(), question.clone()];
    assert_eq!(asked(first, &both), Vec::<String>::new());
    assert_eq!(
        asked(second.clone(), &both),
        [format!("post {two} C0ASKED/{LIVE}")]
    );
    let steps = Scene::of(second, &both).steps();
    assert!(
        steps.contains(&format!("update {one} Interactive")),
        "{steps:?}"
    );
    let answer = json!({"name": "a", "by": "b", "at": "2026-03-04T10:03:00Z"});
    let answered = judged(&json!({"status": {"judgment": {"answer": answer}}}));
    assert_eq!(
        asked(answered.clone(), &[live(), stages]),
        Vec::<String>::new(),
        "nothing to ask"
    );
    let steps = Scene::of(answered, &both).steps();
    assert!(
        steps.contains(&format!("update {one} Interactive")),
        "{steps:?}"
    );
}

#[test]
fn a_channel_that_nobody_lists_is_told_nothing() {
    let kubectl = json!({"spec": {"requester": {"username": "bob@corp.example", "slack": null}}});
    let application = |channels: &[&str]| -> Application {
        serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "Application", "metadata": {"name": "checkout"},
            "spec": {"actions": {"deploy": {"pipeline": "p"}}, "slack": {"channels": channels}},
        }))
        .unwrap()
    };
    let mut scene = Scene::of(changed(Phase::Queued, &kubectl), &[]);
    assert_eq!(scene.plan(), Plan::default());
    scene.environment = Some(environment(&json!({"channel": "C0OWN"})));
    assert_eq!(scene.steps(), ["post live C0OWN"]);
    scene.told = status(&[told("live", "C0OWN", Some(LIVE))]);
    assert_eq!(
        scene.up_to_date().steps(),
        Vec::<String>::new(),
        "no link either"
    );
    let mut scene = Scene::of(changed(Phase::Queued, &kubectl), &[]);
    scene.application = Some(application(&["C0ASKED"]));
    assert_eq!(scene.steps(), ["post live C0ASKED"]);
    let mut scene = Scene::of(changed(Phase::Running, &kubectl), &[live()]);
    scene.application = Some(application(&["C0OTHER"]));
    let steps = scene.steps();
    assert!(
        steps.contains(&"update live Progress".to_owned()),
        "begun when it was listed: {steps:?}"
    );
}

#[test]
fn one_without_a_person_has_no_answer_at_a_good_end() {
    let patch = json!({"spec": {"requester": null}});
    let scene = |phase| {
        let mut scene = Scene::of(changed(phase, &patch), &[live()]);
        scene.environment = Some(environment(&json!({"also": ["C0ASKED"]})));
        scene.up_to_date()
    };
    assert!(scene(Phase::Succeeded).steps().is_empty());
    let failed = scene(Phase::Failed);
    assert_eq!(
        failed.steps(),
        [format!("post end C0ASKED/{LIVE} broadcast")]
    );
}

#[test]
fn an_override_is_told_once_in_each_channel_of_the_environment() {
    let decisions = json!({"status": {"decisions": [
        {"at": "2026-03-04T10:01:00Z", "what": "Overridden", "by": "bob@corp.example", "why": "the shop is down"},
    ]}});
    let own = environment(&json!({"channel": "C0OWN", "also": ["C0ALSO"]}));
    let scene = |phase, messages: &[Value]| {
        let mut scene = Scene::of(changed(phase, &decisions), messages);
        scene.environment = Some(own.clone());
        scene
    };
    let posts = |scene: &Scene| {
        let mut steps = scene.steps();
        steps.retain(|step| step.contains("overridden"));
        steps
    };
    let own_live = told("live", "C0OWN", Some(LIVE));
    let both = ["C0ALSO", "C0OWN"].map(|channel| format!("post overridden:{channel} {channel}"));
    let begun = scene(Phase::Running, std::slice::from_ref(&own_live));
    assert_eq!(posts(&begun), both);
    // Until it starts it may yet go by another's word; then the latest is told.
    assert!(posts(&scene(Phase::Queued, std::slice::from_ref(&own_live))).is_empty());
    let waits = json!({"status": {"decisions": [
        decisions["status"]["decisions"][0],
        {"at": "2026-03-04T10:02:00Z", "what": "Overridden", "by": "olga@corp.example", "why": "it burns"},
    ]}});
    let mut again = scene(Phase::Queued, std::slice::from_ref(&own_live));
    again.request = changed(Phase::Queued, &waits);
    assert!(posts(&again).is_empty());
    again.request = changed(Phase::Running, &waits);
    assert_eq!(posts(&again), both);
    let message = message::overridden(&again.request, &"C0OWN".parse().unwrap(), None, None);
    let text = serde_json::to_string(message.blocks()).unwrap();
    assert!(
        text.contains("olga@corp.example") && text.contains("it burns") && !text.contains("bob@"),
        "{text}"
    );
    // What nobody passed is not told.
    let mut plain = scene(Phase::Running, std::slice::from_ref(&own_live));
    plain.request = request(Phase::Running);
    assert!(posts(&plain).is_empty());
    // A relay that died between writing it down and posting it looks for it; what is told stays told.
    let told = [
        own_live.clone(),
        told("overridden:C0OWN", "C0OWN", None),
        told("overridden:C0ALSO", "C0ALSO", Some("3.3")),
    ];
    assert_eq!(
        posts(&scene(Phase::Succeeded, &told)),
        ["settle overridden:C0OWN C0OWN"]
    );
    // Long over, and nobody told it then.
    let mut late = scene(Phase::Succeeded, &[own_live]);
    late.now = "2026-03-06T10:00:00Z".parse().unwrap();
    assert!(posts(&late).is_empty());
}
