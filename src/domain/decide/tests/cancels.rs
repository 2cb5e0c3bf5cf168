//! Whose cancel counts, and what is told of one that doesn't.

use super::{
    gates::{asked, reason, rows},
    *,
};
use crate::api::deploy_request::{DecisionKind, DecisionRecord};

#[test]
fn only_a_cancel_that_counts_cancels_and_one_that_does_not_is_told() {
    for row in rows().into_iter().filter(|row| row.cancel) {
        let target = ready(Some(active(UID, true, Some(shown(Some(1))))));
        let mut facts = facts(target, observation(UID, None, 1));
        facts.gates = row.gates.clone();
        let decision = decide(&asked(Some(Phase::Running), &row), &facts, now());
        let told = reason(&decision, ConditionType::Cancelable);
        let told = told
            .as_ref()
            .map(|(status, reason)| (status.as_str(), reason.as_str()));
        match row.gates.refused_cancel() {
            None => assert!(
                matches!(decision.effect, Some(Effect::Cancel { .. })),
                "{}",
                row.name
            ),
            Some(refusal) => {
                assert_eq!(decision.effect, None, "{}", row.name);
                assert_eq!(decision.status.phase, Some(Phase::Running), "{}", row.name);
                let expected = if refusal.waiting_for.is_some() {
                    ("Unknown", "AccessUnknown")
                } else {
                    ("False", "CancelRefused")
                };
                assert_eq!(told, Some(expected), "{}", row.name);
            }
        }
    }
}

#[test]
fn a_cancel_that_nobody_judged_is_told_of_only_where_it_was_heeded() {
    let kinds = |decision: &Decision| -> Vec<DecisionKind> {
        let all = decision.status.decisions.iter();
        all.map(|record| record.what).collect()
    };
    let rows = rows();
    let named = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    let stranger = named("cancelled by a stranger");
    // While it runs the stranger's cancel is judged, and told.
    let running = active(UID, true, Some(shown(Some(1))));
    let mut facts = facts(ready(Some(running)), observation(UID, None, 1));
    facts.gates = stranger.gates.clone();
    let mut request = asked(Some(Phase::Running), stranger);
    request.status = Some(decide(&request, &facts, now()).status);
    facts.gates.cancel = None;
    for (end, why, heeded) in [
        (Phase::Succeeded, Reason::Succeeded, false),
        (Phase::Canceled, Reason::ExecutionCanceled, false),
        (Phase::Canceled, Reason::Canceled, true),
    ] {
        let TargetFact::Ready(status) = ready(Some(active(UID, true, Some(shown(Some(1)))))) else {
            unreachable!()
        };
        let outcome = Outcome::new(end, why, "so it ended.");
        let run = outcome.run(status.active.as_ref().unwrap(), None, now());
        let mut ended = facts.clone();
        ended.target = TargetFact::Ready(Box::new(target::finished(&status, run).unwrap()));
        let decision = decide(&request, &ended, now());
        assert_eq!(decision.status.phase, Some(end));
        assert_eq!(
            kinds(&decision).contains(&DecisionKind::Canceled),
            heeded,
            "{why}"
        );
        assert_eq!(
            reason(&decision, ConditionType::Cancelable),
            Some(("False".to_owned(), "CancelRefused".to_owned())),
            "{why}"
        );
    }
    // A copy of another object, with a cancel: nobody asked about that.
    let mut copy = asked(None, stranger);
    copy.metadata.annotations = Some([(SEEN_ANNOTATION.to_owned(), "another".to_owned())].into());
    let decision = decide(&copy, &facts, now());
    assert_eq!(decision.status.phase, Some(Phase::Expired));
    assert!(!kinds(&decision).contains(&DecisionKind::Canceled));
    assert_eq!(reason(&decision, ConditionType::Cancelable), None);
}

#[test]
fn a_cancel_in_the_place_of_a_refused_one_counts_by_its_own_word_and_for_good() {
    let row = rows()
        .into_iter()
        .find(|row| row.name == "cancelled by a stranger")
        .unwrap();
    let target = ready(Some(active(UID, true, Some(shown(Some(1))))));
    let mut facts = facts(target, observation(UID, None, 1));
    facts.gates = row.gates.clone();
    let mut request = asked(Some(Phase::Running), &row);
    let decision = decide(&request, &facts, now());
    let told =
        |decision: &Decision| reason(decision, ConditionType::Cancelable).map(|(status, _)| status);
    assert_eq!(decision.effect, None);
    assert_eq!(told(&decision).as_deref(), Some("False"));
    request.status = Some(decision.status);
    facts.gates.cancel = Some(Ok(()));
    let decision = decide(&request, &facts, now());
    assert!(
        matches!(decision.effect, Some(Effect::Cancel { .. })),
        "{:?}",
        decision.effect
    );
    // What was heeded once isn't given up, whoever may what by then.
    request
        .status
        .as_mut()
        .unwrap()
        .decisions
        .push(DecisionRecord {
            what: DecisionKind::Canceled,
            at: Time(now()),
            by: None,
            why: None,
        });
    let status = request.status.as_mut().unwrap();
    status
        .conditions
        .retain(|known| known.type_ != "Cancelable");
    facts.gates = row.gates.clone();
    let decision = decide(&request, &facts, now());
    assert!(
        matches!(decision.effect, Some(Effect::Cancel { .. })),
        "{:?}",
        decision.effect
    );
    assert_eq!(told(&decision), None);
}

#[test]
fn a_cancel_that_was_heeded_counts_also_when_nobody_can_say_so_any_more() {
    let row = rows()
        .into_iter()
        .find(|row| row.name == "cancel unknown")
        .unwrap();
    let mut active = active(UID, true, Some(shown(Some(1))));
    active.cancel_requested_at = Some(Time(now()));
    for ended in [None, Some(Ended::Canceled)] {
        let mut facts = facts(ready(Some(active.clone())), observation(UID, ended, 1));
        let mut request = asked(Some(Phase::Running), &row);
        request.spec.timeout = Some("1h".parse().unwrap());
        request.status = Some(decide(&request, &facts, now()).status);
        facts.gates = row.gates.clone();
        let decision = decide(&request, &facts, now());
        match decision.effect {
            Some(Effect::Finish(run)) => assert_eq!(run.phase, Phase::Canceled),
            Some(Effect::Cancel { .. }) => assert_eq!(ended, None),
            other => {
                // The first status of an ended one is the effect's, which is not recorded.
                assert_eq!(ended, None, "{other:?}");
            }
        }
    }
}
