//! A freeze that cancels what runs, whoever dies in between.

use super::{gates::permanent, *};

fn running(change: impl Fn(&mut Active)) -> (DeployRequest, Facts) {
    let mut active = active(UID, true, Some(shown(Some(1))));
    change(&mut active);
    let mut facts = facts(ready(Some(active)), observation(UID, None, 1));
    facts.gates.guards.running = Some(permanent(Reason::Frozen));
    (request(Some(Phase::Running)), facts)
}

/// The target as it is once its start is forbidden.
fn forbidden(facts: &mut Facts, effect: &Effect) {
    let (TargetFact::Ready(status), Effect::Cancel { reason, frozen, .. }) =
        (&facts.target, effect)
    else {
        panic!("{effect:?}");
    };
    let next = target::forbidden(status, UID, frozen.then_some(reason.as_str()), now());
    facts.target = TargetFact::Ready(Box::new(next.unwrap()));
}

#[test]
fn what_runs_is_cancelled_and_says_by_which_freeze_wherever_it_is_interrupted() {
    for gone in [false, true] {
        for timeout in [None, Some("1h".parse().unwrap())] {
            for lifted in [false, true] {
                let (mut request, mut facts) = running(|_| {});
                facts.gone = gone;
                request.spec.timeout = timeout.filter(|_| !gone);
                // Died before it was forbidden: it is found again.
                for _ in 0..2 {
                    let effect = decide(&request, &facts, now()).effect.unwrap();
                    let Effect::Cancel {
                        reason,
                        execution,
                        frozen,
                    } = &effect
                    else {
                        panic!("{effect:?}");
                    };
                    assert_eq!(reason, "it is Frozen.");
                    assert_eq!(execution.as_deref(), Some("01EXECUTION"));
                    assert!(frozen);
                }
                let effect = decide(&request, &facts, now()).effect.unwrap();
                forbidden(&mut facts, &effect);
                if lifted {
                    // It was begun: what is cancelled in Spinnaker goes on to be.
                    facts.gates.guards.running = None;
                }
                // Died after it was forbidden and before Spinnaker heard of it: it hears of it again.
                let again = decide(&request, &facts, now()).effect;
                assert!(matches!(again, Some(Effect::Cancel { .. })), "{again:?}");
                // Asked, and not ended yet.
                facts.trouble = Some(refusal(Some(WaitingFor::Spinnaker)));
                let decision = decide(&request, &facts, now());
                assert_eq!(decision.effect, None);
                assert!(decision.requeue.is_some());
                facts.trouble = None;
                for (ended, phase, reason) in [
                    (Ended::Canceled, Phase::Canceled, "Frozen"),
                    (Ended::Succeeded, Phase::Succeeded, "Succeeded"),
                    (Ended::Failed, Phase::Failed, "ExecutionFailed"),
                ] {
                    facts.sighting = observation(UID, Some(ended), 1);
                    let effect = decide(&request, &facts, now()).effect;
                    let Some(Effect::Finish(run)) = effect else {
                        panic!("{effect:?}");
                    };
                    assert_eq!((run.phase, run.reason.as_str()), (phase, reason));
                }
            }
        }
    }
}

#[test]
fn what_somebodys_override_let_start_goes_on_also_when_its_request_is_gone() {
    for gone in [false, true] {
        let (request, mut facts) =
            running(|active| active.overridden_by = Some("olga@corp.example".to_owned()));
        facts.gone = gone;
        let decision = decide(&request, &facts, now());
        assert_eq!(decision.effect, None);
        assert_eq!(decision.status.phase, Some(Phase::Running));
    }
}

#[test]
fn what_may_have_been_sent_is_forbidden_and_ends_when_it_never_appears() {
    let (request, mut facts) = running(|active| active.execution = None);
    facts.sighting = Sighting::Absent(Duration::from_secs(1));
    let effect = decide(&request, &facts, now()).effect.unwrap();
    assert!(
        matches!(
            &effect,
            Effect::Cancel {
                execution: None,
                ..
            }
        ),
        "{effect:?}"
    );
    forbidden(&mut facts, &effect);
    assert_eq!(decide(&request, &facts, now()).effect, None);
    facts.sighting = Sighting::Absent(SHORTEST_SETTLE);
    let Some(Effect::Finish(run)) = decide(&request, &facts, now()).effect else {
        panic!("it goes on");
    };
    assert_eq!(
        (run.phase, run.reason.as_str()),
        (Phase::Canceled, "Frozen")
    );
}

#[test]
fn what_was_cancelled_before_ends_as_what_it_was_cancelled_for() {
    // By somebody whose words went with the request, or for its lateness.
    for (timeout, reason) in [
        (None, "Canceled"),
        (Some("1h".parse().unwrap()), "TimedOut"),
    ] {
        let (mut request, mut facts) =
            running(|active| active.cancel_requested_at = Some(Time(now())));
        request.spec.timeout = timeout;
        facts.sighting = observation(UID, Some(Ended::Canceled), 1);
        let Some(Effect::Finish(run)) = decide(&request, &facts, now()).effect else {
            panic!("it goes on");
        };
        assert_eq!(run.reason, reason);
    }
}
