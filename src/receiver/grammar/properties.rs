//! Whatever is typed: nothing panics, no word is lost, and what is rendered is read as what was meant.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use proptest::prelude::*;

use super::{tests::vocabulary, *};
use crate::api::deploy_request::TargetOverride;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]([a-z0-9.-]{0,12}[a-z0-9])?",
        prop::sample::select(vec![
            "status", "deploy", "to", "in", "on", "help", "rollback", "staging", "lock", "until",
            "for", "2h", "why"
        ])
        .prop_map(str::to_owned),
    ]
}

/// Text as reading can yield it: nothing in it that normalising takes away.
fn typed_text(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            4 => prop::char::range(' ', '~'),
            1 => prop::sample::select(vec!['"', '\\', '\'', '`', '“', '”', '’', '<', '>', '&', '{', '=', '\n', '\t', 'é', '🚀', '$']),
        ],
        1..most,
    )
    .prop_map(|characters| characters.into_iter().collect::<String>())
    .prop_filter("blank", |text| !text.trim().is_empty())
}

fn version() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9][A-Za-z0-9./_@+-]{0,20}",
        typed_text(20).prop_map(|text| text.replace(['\n', '\t'], "_")),
        prop::sample::select(vec!["to", "-rf", "reason:x", "a=b", "{}", "```", "staging"])
            .prop_map(str::to_owned),
    ]
}

fn reference() -> impl Strategy<Value = ApplicationRef> {
    (prop::option::of(name()), name()).prop_map(|(team, name)| ApplicationRef { team, name })
}

fn parameters() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop_oneof![
        "[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}",
        prop::sample::select(vec!["reason", "Reason", "target.account"]).prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        typed_text(30),
        Just(String::new()),
        // Only what is pasted can hold these.
        prop::sample::select(vec!["a\u{a0}b", "\u{200b}", "\u{2028}", "😀\u{feff}"])
            .prop_map(str::to_owned),
    ];
    prop::collection::btree_map(key, value, 0..5)
}

fn target() -> impl Strategy<Value = Option<TargetOverride>> {
    let field = || prop::option::of(typed_text(20));
    (field(), field()).prop_map(|(account, namespace)| {
        (account.is_some() || namespace.is_some()).then_some(TargetOverride { account, namespace })
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    let time = || prop::option::of(0..4_000_000_000_i64);
    (time(), time(), prop::option::of(typed_text(30))).prop_map(|(at, before, overriding)| {
        let time = |seconds: i64| jiff::Timestamp::from_second(seconds).ok();
        Terms {
            not_before: at.and_then(time),
            start_before: before
                .filter(|before| at.is_none_or(|at| at < *before))
                .and_then(time),
            overriding,
        }
    })
}

prop_compose! {
    fn any_act()(
        action in prop::sample::select(vec!["deploy", "rollback", "restart"]),
        application in reference(),
        version in prop::option::of(version()),
        environment in prop::option::of(name()),
        parameters in parameters(),
        reason in prop::option::of(typed_text(40)),
        target in target(),
        terms in terms(),
    ) -> Act {
        Act { action: action.to_owned(), application, version, environment, parameters, reason, target, terms }
    }
}

fn locked() -> impl Strategy<Value = LockWhat> {
    prop_oneof![
        (prop::option::of(name()), name())
            .prop_map(|(team, name)| LockWhat::Environment { team, name }),
        (reference(), name(), target()).prop_map(|(application, environment, target)| {
            LockWhat::Target {
                application,
                environment,
                target,
            }
        }),
    ]
}

fn until() -> impl Strategy<Value = Option<Until>> {
    let time = (1_u64..300_000_000).prop_map(|seconds| Until::For(Duration::from_secs(seconds)));
    let moment = (0_i64..4_000_000_000)
        .prop_map(|second| Until::At(Timestamp::from_second(second).unwrap()));
    prop::option::of(prop_oneof![time, moment])
}

fn any_intent() -> impl Strategy<Value = Intent> {
    let environment = || prop::option::of(name());
    prop_oneof![
        4 => any_act().prop_map(Intent::Act),
        1 => (prop::option::of(reference()), environment())
            .prop_map(|(application, environment)| Intent::Status { application, environment }),
        1 => environment().prop_map(|environment| Intent::What { environment }),
        1 => (reference(), environment())
            .prop_map(|(application, environment)| Intent::History { application, environment }),
        1 => (reference(), name(), prop::option::of(typed_text(20))).prop_map(|(application, environment, reason)| {
            let what = CancelWhat::Target { application, environment: Some(environment) };
            Intent::Cancel(Cancel { what, reason })
        }),
        1 => (locked(), typed_text(40), until())
            .prop_map(|(what, reason, until)| Intent::Lock(Lock { what, reason, until })),
        1 => locked().prop_map(Intent::Unlock),
        1 => typed_text(40).prop_map(|reason| Intent::StopAll { reason }),
        1 => (reference(), name()).prop_map(|(application, environment)| {
            Intent::Why(CancelWhat::Target { application, environment: Some(environment) })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_rendered_is_read_as_what_was_meant(intent in any_intent()) {
        let typed = render(&intent);
        let read = parse(&wire(&typed), &vocabulary());
        prop_assert_eq!(read, Ok(intent), "{}", typed);
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        if let Err(error) = parse(&text, &vocabulary()) {
            prop_assert!(!error.sentence().is_empty());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&String::from_utf8_lossy(&bytes), &vocabulary());
        let _ = read_payload(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_likely_mistake_panics_or_loses_a_word(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "deploy", "status", "cancel", "history", "what", "help", "checkout", "main", "to", "in", "staging", "\"", "'",
            "`", "```", "“", "”", "‘", "{", "}", "\"a\":1", "a=", "=", "a=1", "@", "/", "reason:", "\n", "a: 1", "&", "*x",
            "<@U1|a>", "lock", "unlock", "stop-all", "resume-all", "why", "until", "2h", "production", "<", ">", "&lt;", "--x", "\\", "- ", "[", "zebra",
        ]), 0..12),
        spaces in any::<u16>(),
    ) {
        let mut text = String::new();
        for (index, piece) in pieces.iter().enumerate() {
            text.push_str(piece);
            if spaces >> index & 1 == 1 {
                text.push(' ');
            }
        }
        match parse(&text, &vocabulary()) {
            Ok(intent) => {
                // Whatever was read, the odd word is in it.
                if text.contains("zebra") && !text.contains('#') {
                    prop_assert!(format!("{intent:?}").contains("zebra"), "{text:?}: {intent:?}");
                }
                // And it can be said again.
                let again = parse(&wire(&render(&intent)), &vocabulary());
                prop_assert_eq!(again, Ok(intent), "{}", text);
            }
            Err(error) => prop_assert!(error.nearest().starts_with("/deploy"), "{text:?}"),
        }
    }
}
