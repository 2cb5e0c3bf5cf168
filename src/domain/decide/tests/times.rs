//! When a request may start at the earliest and at the latest, and how long it waits for that.

use super::{
    gates::{passing, shut},
    *,
};
use crate::domain::gates::Approval;

fn at(seconds: i64) -> Time {
    Time(now() + jiff::SignedDuration::from_secs(seconds))
}

/// A request that was created a minute ago and waits for a freeze to end.
fn held(begins: Option<i64>, before: Option<i64>, expire_after: u64) -> (DeployRequest, Facts) {
    let mut request = request(None);
    request.spec.not_before = begins.map(at);
    request.spec.start_before = before.map(at);
    let mut facts = facts(ready(None), Sighting::NotAsked);
    facts.expire_after = Duration::from_secs(expire_after);
    facts.gates.guards.freeze = Some(shut(WaitingFor::Freeze, Reason::Frozen));
    (request, facts)
}

#[test]
fn it_gives_up_when_its_time_or_its_patience_is_over_whichever_comes_first() {
    // notBefore, startBefore and expireAfter in seconds from now, and when it gives up.
    let table = [
        (None, None, 3600, 3540),
        (None, Some(10), 3600, 10),
        (None, Some(5000), 3600, 3540),
        (Some(100), None, 3600, 3700),
        (Some(-30), None, 3600, 3570),
        // Patience is counted from its creation where its time came before that.
        (Some(-600), None, 3600, 3540),
        (Some(100), Some(200), 3600, 200),
        (Some(100), Some(9000), 3600, 3700),
        (None, None, u64::MAX, i64::MAX),
    ];
    for (begins, before, expire_after, gives_up) in table {
        let name = format!("{begins:?} {before:?} {expire_after}");
        let (request, facts) = held(begins, before, expire_after);
        let status = decide(&request, &facts, now()).status;
        let until = status.waiting.as_ref().unwrap().until.clone().unwrap();
        if gives_up == i64::MAX {
            assert_eq!(until.0, Timestamp::MAX);
            continue;
        }
        assert_eq!(until, at(gives_up), "{name}");
        let waiting = DeployRequest {
            status: Some(status),
            ..request
        };
        let just_before = at(gives_up).0 - Duration::from_millis(1);
        let early = decide(&waiting, &facts, just_before);
        assert_eq!(early.status.phase, Some(Phase::Queued), "{name}");
        assert!(early.requeue.unwrap() <= Duration::from_millis(1), "{name}");
        let ended = decide(&waiting, &facts, at(gives_up).0);
        assert_eq!(ended.status.phase, Some(Phase::Expired), "{name}");
        let message = ended.status.message.unwrap();
        assert!(
            message.contains(" Held by: Freeze. It last waited for this: it is Frozen."),
            "{message}"
        );
        let late = before == Some(gives_up);
        assert_eq!(message.contains("`spec.startBefore`"), late, "{message}");
        let begun = begins.is_some_and(|begins| begins > -60) && !late;
        assert_eq!(
            message.contains("`spec.notBefore`"),
            begins.is_some() && !late,
            "{message} {begun}"
        );
    }
}

#[test]
fn nothing_starts_at_the_moment_at_which_it_is_too_late_or_after_it() {
    for (before, starts) in [(1, true), (0, false), (-1, false)] {
        let mut request = request(Some(Phase::Queued));
        request.spec.start_before = Some(at(before));
        let mut facts = facts(ready(None), Sighting::Absent(SHORTEST_SETTLE));
        let decision = decide(&request, &facts, now());
        assert_eq!(
            matches!(decision.effect, Some(Effect::Claim(_))),
            starts,
            "{before}"
        );
        assert_eq!(
            decision.status.phase == Some(Phase::Expired),
            !starts,
            "{before}"
        );
        assert_eq!(facts.gates.are_open(&request, now()), starts, "{before}");
        // Who holds the target and sent nothing lets go.
        facts.target = ready(Some(active(UID, false, None)));
        let decision = decide(&request, &facts, now());
        assert_eq!(
            matches!(decision.effect, Some(Effect::Send(_))),
            starts,
            "{before}"
        );
        assert_eq!(
            decision.effect == Some(Effect::Release),
            !starts,
            "{before}"
        );
        // What may have been sent isn't sent again, and doesn't expire either.
        facts.target = ready(Some(active(UID, true, None)));
        let decision = decide(&request, &facts, now());
        assert_eq!(
            matches!(decision.effect, Some(Effect::Send(_))),
            starts,
            "{before}"
        );
        if !starts {
            assert_eq!(decision.status.phase, Some(Phase::Unknown));
            let waiting = decision.status.waiting.unwrap();
            assert_eq!(waiting.subject, WaitingFor::Person);
            assert!(
                waiting.message.contains("`spec.startBefore`"),
                "{waiting:?}"
            );
        }
        facts.sighting = observation(UID, None, 1);
        facts.target = ready(Some(active(UID, true, Some(shown(Some(1))))));
        let decision = decide(&request, &facts, now());
        assert_eq!(decision.status.phase, Some(Phase::Running), "{before}");
    }
}

#[test]
fn people_say_yes_before_its_time_and_what_it_is_found_to_be_is_written_down() {
    let (request, mut facts) = held(Some(600), None, 3600);
    facts.gates.guards.time = Some(shut(WaitingFor::Time, Reason::NotYet));
    let missing = passing(WaitingFor::Approval, Reason::ApprovalMissing);
    facts.gates.approval = Approval::Missing(super::gates::approvals(0, None), missing);
    let status = decide(&request, &facts, now()).status;
    assert_eq!(status.phase, Some(Phase::AwaitingApproval));
    let message = status.waiting.unwrap().message;
    assert!(
        message.ends_with(" Also closed: Time, Freeze."),
        "{message}"
    );
    facts.gates.approval = Approval::NotNeeded;
    facts.plan = Ok(Plan {
        found: true,
        ..plan()
    });
    let decision = decide(&request, &facts, now());
    assert_eq!(decision.effect, None);
    assert_eq!(decision.status.phase, Some(Phase::Queued));
    assert_eq!(decision.status.resolved, Some(plan().resolved));
}

#[test]
fn it_looks_again_when_the_next_gate_opens_or_closes_by_itself() {
    let (request, mut facts) = held(None, None, 3600);
    let asleep = decide(&request, &facts, now()).requeue.unwrap();
    assert!(asleep >= HELD_CHECK, "{asleep:?}");
    facts.gates.guards.changes_at = Some(at(20).0);
    let woken = decide(&request, &facts, now()).requeue;
    assert_eq!(woken, Some(Duration::from_secs(20)));
    if let Some(freeze) = &mut facts.gates.guards.freeze {
        freeze.until = Some(at(7).0);
    }
    let decision = decide(&request, &facts, now());
    assert_eq!(decision.requeue, Some(Duration::from_secs(7)));
    // Its moment came since it was judged: it is judged anew soon, and not again and again.
    for passed in [0, 1, 300] {
        let mut late = facts.clone();
        if let Some(freeze) = &mut late.gates.guards.freeze {
            freeze.until = Some(at(-passed).0);
        }
        let decision = decide(&request, &late, now());
        assert_eq!(decision.requeue, Some(Duration::from_secs(1)), "{passed}");
    }
    // A second's difference says nothing new; another time does.
    let told = |facts: &Facts, before: &DeployRequestStatus| {
        let mut request = request.clone();
        request.status = Some(before.clone());
        decide(&request, facts, now()).status.gates == before.gates
    };
    for (seconds, same) in [(8, true), (10, false)] {
        if let Some(freeze) = &mut facts.gates.guards.freeze {
            freeze.until = Some(at(seconds).0);
        }
        assert_eq!(told(&facts, &decision.status), same, "{seconds}");
    }
    // What runs looks again when a freeze begins that may cancel it.
    let mut facts = super::facts(
        ready(Some(active(UID, true, Some(shown(Some(1)))))),
        observation(UID, None, 1),
    );
    facts.gates.guards.changes_at = Some(now() + Duration::from_millis(300));
    let decision = decide(&super::request(Some(Phase::Running)), &facts, now());
    assert_eq!(decision.requeue, Some(Duration::from_millis(300)));
}
