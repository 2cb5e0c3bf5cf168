//! What falls off a full record, and what is counted then.

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A status with these decisions, each by somebody else.
fn status(decisions: &[(DecisionKind, i64)], audited: Option<u32>) -> DeployRequestStatus {
    let mut records = Records::of(&mut DeployRequestStatus::default(), at(0));
    for (number, (what, second)) in decisions.iter().enumerate() {
        records.push(*what, at(*second), Some(&format!("old-{number}")), None);
    }
    DeployRequestStatus {
        decisions: records.all,
        audited,
        ..DeployRequestStatus::default()
    }
}

/// With these appended by one write, each by somebody else.
fn appended(
    mut status: DeployRequestStatus,
    decisions: &[(DecisionKind, i64)],
) -> (Vec<DecisionRecord>, Option<u32>) {
    let mut records = Records::of(&mut status, at(0));
    for (number, (what, second)) in decisions.iter().enumerate() {
        records.push(*what, at(*second), Some(&format!("new-{number}")), None);
    }
    records.bounded()
}

fn by(record: &DecisionRecord) -> &str {
    record.by.as_deref().unwrap_or_default()
}

#[test]
fn what_falls_off_is_counted_off_what_the_sinks_have() {
    let mut full = vec![(DecisionKind::Requested, 0)];
    full.resize(bounds::DECISIONS, (DecisionKind::Refused, 0));
    let three = [(DecisionKind::Refused, 0); 3];
    for (audited, left) in [
        (None, None),
        (Some(10), Some(7)),
        (Some(2), Some(1)),
        (Some(0), Some(0)),
        // Somebody wrote that by hand.
        (Some(99), Some(47)),
    ] {
        let (all, counted) = appended(status(&full, audited), &three);
        assert_eq!(all.len(), bounds::DECISIONS);
        assert_eq!(all[0].what, DecisionKind::Requested);
        assert_eq!(counted, left, "{audited:?}");
    }
    assert_eq!(appended(status(&full[..5], Some(5)), &[]).1, Some(5));
}

#[test]
fn what_a_write_decides_stands_in_it_however_old_it_is() {
    let full = [(DecisionKind::Approved, 100); bounds::DECISIONS];
    let (all, _) = appended(
        status(&full, None),
        &[(DecisionKind::Approved, 1), (DecisionKind::Refused, 200)],
    );
    let new: Vec<&str> = all
        .iter()
        .map(by)
        .filter(|by| by.starts_with("new"))
        .collect();
    assert_eq!(new, ["new-0", "new-1"]);
}

#[test]
fn a_refusal_makes_room_before_any_approval() {
    let mut full = vec![(DecisionKind::Approved, 1); bounds::DECISIONS - 1];
    full.push((DecisionKind::Refused, 100));
    let (all, _) = appended(status(&full, None), &[(DecisionKind::Approved, 2)]);
    assert!(
        all.iter()
            .all(|record| record.what == DecisionKind::Approved)
    );
}

fn decisions(most: usize) -> impl Strategy<Value = Vec<(DecisionKind, i64)>> {
    let kinds = prop::sample::select(vec![
        DecisionKind::Requested,
        DecisionKind::Approved,
        DecisionKind::Lapsed,
        DecisionKind::Refused,
        DecisionKind::Refused,
    ]);
    prop::collection::vec((kinds, 0..40_i64), 0..=most)
}

/// Who asked stands once.
fn once(decisions: Vec<(DecisionKind, i64)>) -> Vec<(DecisionKind, i64)> {
    let mut met = false;
    let mut first = |kind: &DecisionKind| {
        *kind != DecisionKind::Requested || !std::mem::replace(&mut met, true)
    };
    decisions
        .into_iter()
        .filter(|(kind, _)| first(kind))
        .collect()
}

proptest! {
    #[test]
    fn the_sinks_have_as_many_of_what_is_left_as_they_had_of_it(
        old in decisions(bounds::DECISIONS),
        new in decisions(30),
        audited in 0..=bounds::DECISIONS,
    ) {
        let (old, new) = (once(old), new.into_iter().filter(|(kind, _)| *kind != DecisionKind::Requested).collect::<Vec<_>>());
        let audited = audited.min(old.len());
        let (all, counted) = appended(status(&old, u32::try_from(audited).ok()), &new);
        prop_assert!(all.len() <= bounds::DECISIONS);
        let had = |record: &DecisionRecord| {
            let number = by(record).strip_prefix("old-").and_then(|number| number.parse::<usize>().ok());
            number.is_some_and(|number| number < audited)
        };
        let counted = usize::try_from(counted.unwrap()).unwrap();
        prop_assert!(all[..counted].iter().all(had));
        prop_assert!(!all[counted..].iter().any(had));
        let stand = all.iter().filter(|record| by(record).starts_with("new-")).count();
        prop_assert_eq!(stand, new.len());
        let asked = |all: &[DecisionKind]| all.contains(&DecisionKind::Requested);
        let kinds: Vec<_> = all.iter().map(|record| record.what).collect();
        prop_assert_eq!(asked(&kinds), asked(&old.iter().map(|(kind, _)| *kind).collect::<Vec<_>>()));
        // Another one fell off only where no refusal was left that could.
        let others = |kinds: &mut dyn Iterator<Item = DecisionKind>| kinds.filter(|kind| *kind != DecisionKind::Refused).count();
        let before = others(&mut old.iter().chain(&new).map(|(kind, _)| *kind));
        if others(&mut kinds.iter().copied()) < before {
            prop_assert!(!all.iter().any(|record| by(record).starts_with("old-") && record.what == DecisionKind::Refused));
        }
    }
}

#[test]
fn of_what_is_being_deleted_a_cancel_that_counts_is_told_once_and_nothing_else() {
    let request = |status: DeployRequestStatus| -> DeployRequest {
        let cancel = serde_json::json!({"reason": "changed my mind", "by": {"username": "bob@corp.example"}});
        let spec = serde_json::json!({"application": "checkout", "environment": "staging", "cancel": cancel});
        let mut whole: DeployRequest = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "first", "namespace": "shop"}, "spec": spec,
        }))
        .unwrap();
        whole.status = Some(status);
        whole
    };
    let going = request(status(&[(DecisionKind::Started, 0)], Some(1)));
    let counts = Gates::open();
    let next = canceled_going(&going, &counts, at(5)).unwrap();
    assert_eq!(next.audited, Some(1));
    assert_eq!(next.decisions.len(), 2);
    assert_eq!(next.decisions[1].what, DecisionKind::Canceled);
    assert_eq!(by(&next.decisions[1]), "bob@corp.example");
    assert_eq!(next.decisions[1].why.as_deref(), Some("changed my mind"));
    assert_eq!(canceled_going(&request(next), &counts, at(9)), None);

    let nobody_judged = Gates {
        cancel: None,
        ..Gates::open()
    };
    assert_eq!(canceled_going(&going, &nobody_judged, at(5)), None);
    let mut unwanted = going.clone();
    unwanted.spec.cancel = None;
    assert_eq!(canceled_going(&unwanted, &counts, at(5)), None);
    let ended = DeployRequestStatus {
        phase: Some(Phase::Succeeded),
        ..DeployRequestStatus::default()
    };
    assert_eq!(canceled_going(&request(ended), &counts, at(5)), None);
}
