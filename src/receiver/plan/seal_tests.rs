//! What was sealed comes back to whom it belongs, unaltered and in time, or not at all.

use jiff::ToSpan;
use proptest::prelude::*;
use secrecy::SecretString;

use super::{
    super::tests::{alice, now, order, plan},
    BUTTON, METADATA, Nonce, Purpose, SealError, Sealer,
};
use crate::api::{actor::SlackPerson, deploy_request::TargetOverride};

fn sealer(tokens: &[&str]) -> Sealer {
    let tokens: Vec<SecretString> = tokens
        .iter()
        .map(|token| SecretString::from(*token))
        .collect();
    Sealer::new(&tokens).unwrap()
}

const NONCE: Nonce = Nonce([7; 12]);

#[test]
fn a_sealed_plan_comes_back_as_it_was() {
    let seals = sealer(&["xoxb-1"]);
    let plan = plan(
        "shop/checkout feature/ü@1 to staging a=\"b c\" reason=\"why <not>\" target.account=eks target.namespace=pr-1 \
         at:2026-03-01T20:00:00Z before:2026-03-01T22:00:00+00:00 override:\"the shop <is> down\"",
    );
    let sealed = seals.seal(&plan, Purpose::Deploy, NONCE).unwrap();
    assert!(sealed.len() <= BUTTON);
    assert!(
        sealed
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    );
    let opened = seals
        .open(&sealed, Purpose::Deploy, &alice(), now())
        .unwrap();
    assert!(opened.complete);
    assert_eq!(opened.plan, plan);
}

#[test]
fn nobody_alters_a_plan_uses_anothers_or_uses_it_for_something_else() {
    let seals = sealer(&["xoxb-1"]);
    let plan = plan("checkout main to staging");
    let sealed = seals.seal(&plan, Purpose::Edit, NONCE).unwrap();
    let open = |sealed: &str, purpose, user: &str| {
        let person = SlackPerson {
            user: user.to_owned(),
            ..alice()
        };
        seals.open(sealed, purpose, &person, now()).map(|_| ())
    };
    assert_eq!(open(&sealed, Purpose::Edit, "U1"), Ok(()));
    assert_eq!(
        open(&sealed, Purpose::Deploy, "U1"),
        Err(SealError::Altered)
    );
    assert_eq!(open(&sealed, Purpose::Edit, "U2"), Err(SealError::NotYours));
    let stranger = SlackPerson {
        team: "T2".to_owned(),
        ..alice()
    };
    assert_eq!(
        seals
            .open(&sealed, Purpose::Edit, &stranger, now())
            .map(|_| ()),
        Err(SealError::NotYours),
        "the same id in another workspace is somebody else"
    );
    for index in 0..sealed.len() {
        let mut altered = sealed.clone().into_bytes();
        altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert_eq!(
            open(&altered, Purpose::Edit, "U1"),
            Err(SealError::Altered),
            "{index}"
        );
    }
    for bad in [
        "",
        "A",
        "AQ",
        "not base64",
        &"A".repeat(METADATA + 1),
        &sealed[..sealed.len() - 4],
    ] {
        assert_eq!(
            open(bad, Purpose::Edit, "U1"),
            Err(SealError::Altered),
            "{bad}"
        );
    }
}

#[test]
fn it_expires_ten_minutes_after_it_was_first_asked_for_however_often_it_was_edited() {
    let seals = sealer(&["xoxb-1"]);
    let first = plan("checkout main to staging");
    let edited = first.edited(order("checkout v2 to staging"), "x".to_owned());
    let sealed = seals.seal(&edited, Purpose::Deploy, NONCE).unwrap();
    let at = |time| {
        seals
            .open(&sealed, Purpose::Deploy, &alice(), time)
            .map(|opened| (opened.plan.asked_at, opened.expired))
    };
    assert_eq!(at(now() + 599.seconds()), Ok((now(), false)));
    // It opens all the same: it may have been carried out in time.
    assert_eq!(at(now() + 600.seconds()), Ok((now(), true)));
}

#[test]
fn a_replaced_token_still_opens_and_an_unknown_one_does_not() {
    let sealed = sealer(&["xoxb-old"])
        .seal(&plan("checkout main to staging"), Purpose::Deploy, NONCE)
        .unwrap();
    let open = |tokens: &[&str]| {
        sealer(tokens)
            .open(&sealed, Purpose::Deploy, &alice(), now())
            .map(|_| ())
    };
    assert_eq!(open(&["xoxb-new", "xoxb-old"]), Ok(()));
    assert_eq!(open(&["xoxb-new"]), Err(SealError::Altered));
    assert!(matches!(Sealer::new(&[]), Err(SealError::NoKey)));
    assert!(matches!(
        Sealer::new(&[SecretString::from(" ")]),
        Err(SealError::NoKey)
    ));
    assert!(!format!("{:?}", sealer(&["xoxb-old"])).contains("xoxb"));
}

#[test]
fn a_plan_too_long_for_a_button_goes_into_a_form_without_its_parameters() {
    let seals = sealer(&["xoxb-1"]);
    let mut plan = plan("checkout main to staging reason=why");
    plan.order.parameters = (0..64)
        .map(|number| (format!("parameter-{number}"), "x".repeat(1024)))
        .collect();
    plan.order.version = Some("v".repeat(253));
    plan.order.target = Some(TargetOverride {
        account: Some("a".repeat(253)),
        namespace: Some("n".repeat(63)),
    });
    assert_eq!(
        seals.seal(&plan, Purpose::Deploy, NONCE),
        Err(SealError::TooLong)
    );
    let stub = seals.seal_stub(&plan, Purpose::Form, NONCE).unwrap();
    assert!(stub.len() <= METADATA);
    let opened = seals.open(&stub, Purpose::Form, &alice(), now()).unwrap();
    assert!(!opened.complete);
    assert!(opened.plan.order.parameters.is_empty() && opened.plan.order.reason.is_none());
    assert_eq!(opened.plan.request_name(), plan.request_name());
    assert_eq!(opened.plan.order.version, plan.order.version);
}

proptest! {
    #[test]
    fn nothing_that_comes_back_panics(text in any::<String>(), bytes in "[A-Za-z0-9_-]{0,300}") {
        let seals = sealer(&["xoxb-1"]);
        prop_assert!(seals.open(&text, Purpose::Deploy, &alice(), now()).is_err());
        let begun = format!("AQ{bytes}");
        prop_assert!(seals.open(&begun, Purpose::Deploy, &alice(), now()).is_err());
    }
}
