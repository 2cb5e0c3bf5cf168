//! What a plan says of the requests that wait at the same place.

use serde_json::json;

use super::{
    super::super::shown::{Wait, Warning},
    world,
};
use crate::api::environment::Concurrency;

#[test]
fn the_queue_is_shown_as_the_environments_rule_has_it() {
    let text = "checkout main to staging ticket=1";
    let mut world = world();
    world.held();
    world.waiting("one");
    world.waiting("two");
    let held = Wait::Held {
        request: "holder".to_owned(),
        version: Some("v7".to_owned()),
        requester: None,
    };
    let shown = world.shown(text);
    assert_eq!(shown.waits, [held.clone(), Wait::Line { requests: 2 }]);
    assert!(shown.is_possible());
    world.environment.spec.protection.concurrency = Concurrency::Supersede;
    let shown = world.shown(text);
    assert_eq!(
        (shown.waits, shown.warnings),
        (vec![held], vec![Warning::Supersedes { requests: 2 }])
    );
    world.environment.spec.protection.concurrency = Concurrency::Reject;
    assert_eq!(world.reasons(text), ["TargetBusy"]);
}

#[test]
fn who_is_held_is_in_nobodys_way_and_is_not_turned_away() {
    let text = "checkout main to staging ticket=1";
    for gate in ["Time", "Order", "Freeze", "Lock"] {
        let mut world = world();
        world.waiting_for("one", gate);
        let shown = world.shown(text);
        assert_eq!((shown.waits, shown.warnings), (vec![], vec![]), "{gate}");
        world.environment.spec.protection.concurrency = Concurrency::Reject;
        assert!(world.shown(text).is_possible(), "{gate}");
        // Whom it will cancel is said all the same.
        world.environment.spec.protection.concurrency = Concurrency::Supersede;
        let warnings = world.shown(text).warnings;
        let is_early = gate == "Time";
        let taken = (!is_early).then_some(Warning::Supersedes { requests: 1 });
        assert_eq!(warnings, taken.into_iter().collect::<Vec<_>>(), "{gate}");
        // Nobody holds the target: whoever comes first in line does soon, and turns nobody away until then.
        world.waiting("two");
        world.environment.spec.protection.concurrency = Concurrency::Reject;
        assert!(world.shown(text).is_possible(), "{gate}");
    }

    let mut held = world();
    held.held();
    held.waiting("one");
    held.frozen("closing", "shop", &json!({"reason": "closing"}));
    held.environment.spec.protection.concurrency = Concurrency::Reject;
    assert!(held.shown(text).is_possible());
    let passing = format!("{text} override:why");
    assert_eq!(held.reasons(&passing), ["TargetBusy"]);
    held.environment.spec.protection.concurrency = Concurrency::Supersede;
    assert_eq!(held.shown(text).warnings, []);
    held.waiting_for("two", "Freeze");
    let warnings = held.shown(text).warnings;
    assert_eq!(warnings, [Warning::Supersedes { requests: 1 }]);
    let early = held.shown(&format!("{text} at:2026-03-01T20:00:00Z"));
    assert_eq!(early.warnings, [], "it is about another time");
}
