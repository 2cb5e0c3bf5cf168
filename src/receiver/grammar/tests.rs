//! Every form of the table, and the words that people read of them.

mod refusals;

use std::{collections::BTreeMap, time::Duration};

use super::{
    table::{BUILT_IN, FORMS, Needs, help, topics},
    *,
};
use crate::api::deploy_request::TargetOverride;

pub(super) fn vocabulary() -> Vocabulary {
    let owned = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    Vocabulary::new(
        owned(&["deploy", "rollback", "restart", "status"]),
        owned(&["checkout", "cart", "deploy-bot"]),
        owned(&["staging", "production"]),
    )
}

fn act(action: &str, application: &str, version: Option<&str>, environment: Option<&str>) -> Act {
    Act {
        action: action.to_owned(),
        application: match application.split_once('/') {
            Some((team, name)) => ApplicationRef::of(team, name),
            None => ApplicationRef::bare(application),
        },
        version: version.map(str::to_owned),
        environment: environment.map(str::to_owned),
        parameters: BTreeMap::new(),
        reason: None,
        target: None,
        terms: Terms::default(),
    }
}

fn time(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

fn main_to_staging() -> Act {
    act("deploy", "checkout", Some("main"), Some("staging"))
}

fn with(mut act: Act, parameters: &[(&str, &str)], reason: Option<&str>) -> Intent {
    act.parameters = parameters
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    act.reason = reason.map(str::to_owned);
    Intent::Act(act)
}

fn read(text: &str) -> Intent {
    parse(text, &vocabulary()).unwrap_or_else(|error| panic!("{text:?}: {}", error.sentence()))
}

fn refused(text: &str) -> ParseError {
    match parse(text, &vocabulary()) {
        Ok(intent) => panic!("{text:?} is read as {intent:?}"),
        Err(error) => error,
    }
}

#[test]
fn each_example_of_the_table_means_what_its_row_says() {
    let target = |namespace: &str| TargetOverride {
        account: None,
        namespace: Some(namespace.to_owned()),
    };
    let name = ApplicationRef::bare("checkout");
    let staging = Some("staging".to_owned());
    let meanings = [
        Intent::Act(main_to_staging()),
        Intent::Act(act("deploy", "checkout", Some("v1.2"), Some("staging"))),
        Intent::Act(act(
            "deploy",
            "shop/checkout",
            Some("main"),
            Some("staging"),
        )),
        Intent::Form(Draft::default()),
        Intent::Act(act("rollback", "checkout", None, Some("production"))),
        Intent::Act(act("restart", "checkout", None, Some("staging"))),
        with(
            act("deploy", "checkout", Some("v1.2"), Some("staging")),
            &[("replicas", "3")],
            Some("hotfix for INC-42"),
        ),
        with(
            main_to_staging(),
            &[("replicas", "3"), ("tier", "1.10")],
            None,
        ),
        Intent::Act(Act {
            target: Some(target("pr-42")),
            ..main_to_staging()
        }),
        Intent::Act(Act {
            terms: Terms {
                not_before: Some(time("2027-01-31T21:00:00Z")),
                start_before: Some(time("2027-01-31T23:00:00Z")),
                overriding: None,
            },
            ..act("deploy", "checkout", Some("v1.2"), Some("production"))
        }),
        Intent::Act(Act {
            terms: Terms {
                overriding: Some("INC-42, the shop is down".to_owned()),
                ..Terms::default()
            },
            ..act("deploy", "checkout", Some("v1.2"), Some("production"))
        }),
        Intent::Status {
            application: Some(name.clone()),
            environment: staging.clone(),
        },
        Intent::What {
            environment: Some("production".to_owned()),
        },
        Intent::History {
            application: name.clone(),
            environment: staging.clone(),
        },
        Intent::Why(CancelWhat::Named(ApplicationRef::bare("slack-7f3c2a9b"))),
        Intent::Why(CancelWhat::Target {
            application: name.clone(),
            environment: Some("production".to_owned()),
        }),
        Intent::Cancel(Cancel {
            what: CancelWhat::Target {
                application: name,
                environment: staging,
            },
            reason: Some("wrong branch".to_owned()),
        }),
        Intent::Cancel(Cancel {
            what: CancelWhat::Named(ApplicationRef::bare("slack-7f3c2a9b")),
            reason: None,
        }),
        guarding_tests::lock(
            guarding_tests::checkout_in_production(),
            "database migration",
            Some(Until::For(Duration::from_hours(2))),
        ),
        guarding_tests::lock(
            guarding_tests::production(),
            "audit",
            Some(Until::At("2026-11-24T06:00:00Z".parse().unwrap())),
        ),
        Intent::Unlock(guarding_tests::checkout_in_production()),
        Intent::Unlock(guarding_tests::production()),
        Intent::StopAll {
            reason: "payments are down".to_owned(),
        },
        Intent::ResumeAll,
        Intent::Help {
            topic: Some("parameters".to_owned()),
        },
    ];
    assert_eq!(meanings.len(), FORMS.len());
    for (form, meaning) in FORMS.iter().zip(meanings) {
        assert_eq!(read(form.example), meaning, "{}", form.example);
        assert_eq!(
            read(&format!("/deploy {}", form.example)),
            meaning,
            "{}",
            form.example
        );
        assert_eq!(read(&render(&meaning)), meaning, "{}", form.example);
    }
}

#[test]
fn the_same_may_be_said_in_several_ways() {
    for text in [
        "checkout main to staging",
        "checkout main in staging",
        "checkout main on staging",
        "checkout main staging",
        "checkout@main staging",
        "checkout@main to staging",
        "checkout to staging main",
        "to staging checkout main",
        "deploy checkout main to staging",
        "Deploy Checkout main To Staging",
        "/deploy deploy checkout main to staging",
        "  checkout\u{a0}main\u{2003}to\tstaging \n",
        "checkout\nmain\nto staging",
        "checkout `main` to staging",
        "“checkout” ‘main’ to 'staging'",
        "checkout@\"main\" staging",
        "<http://checkout|checkout> main to staging",
        "<mailto:checkout@main|checkout@main> staging",
        "checkout\u{200b} main to staging\u{feff}",
    ] {
        assert_eq!(read(text), Intent::Act(main_to_staging()), "{text:?}");
    }
}

#[test]
fn two_words_are_application_and_environment_if_there_is_such_an_environment() {
    assert_eq!(
        read("restart checkout staging"),
        Intent::Act(act("restart", "checkout", None, Some("staging")))
    );
    assert_eq!(
        read("checkout feature/x"),
        Intent::Act(act("deploy", "checkout", Some("feature/x"), None))
    );
    assert_eq!(
        read("checkout \"staging\""),
        Intent::Act(act("deploy", "checkout", Some("staging"), None)),
        "a branch may be named like an environment"
    );
    assert_eq!(
        read("checkout@v1 elsewhere"),
        Intent::Act(act("deploy", "checkout", Some("v1"), Some("elsewhere")))
    );
    assert_eq!(
        read("checkout"),
        Intent::Act(act("deploy", "checkout", None, None))
    );
}

#[test]
fn what_is_named_like_a_word_of_ours_can_be_reached() {
    for (text, application) in [
        ("deploy status main to staging", "status"),
        ("\"status\" main to staging", "status"),
        ("shop/status main to staging", "shop/status"),
        ("deploy deploy main to staging", "deploy"),
        ("deploy help main to staging", "help"),
        ("deploy \"to\" main to staging", "to"),
    ] {
        let meaning = act("deploy", application, Some("main"), Some("staging"));
        assert_eq!(read(text), Intent::Act(meaning), "{text}");
    }
    assert_eq!(
        read("checkout \"on\" to \"in\""),
        Intent::Act(act("deploy", "checkout", Some("on"), Some("in")))
    );
    assert_eq!(
        read("status status"),
        Intent::Status {
            application: Some(ApplicationRef::bare("status")),
            environment: None
        },
        "an action that is called like a word of ours is no verb"
    );
}

#[test]
fn parameters_and_reasons_are_taken_as_they_are_typed() {
    let base = main_to_staging;
    for (text, parameters, reason) in [
        (
            "replicas=3 size=1.10",
            &[("replicas", "3"), ("size", "1.10")][..],
            None,
        ),
        (
            "a=\"two words\" b='x=y' c=x=y d=",
            &[("a", "two words"), ("b", "x=y"), ("c", "x=y"), ("d", "")],
            None,
        ),
        ("a=“smart” b=‘it’", &[("a", "smart"), ("b", "it")], None),
        ("a=\"say \\\"hi\\\" \\\\\"", &[("a", "say \"hi\" \\")], None),
        (
            "a=&lt;b&gt; c=&amp;lt;",
            &[("a", "<b>"), ("c", "&lt;")],
            None,
        ),
        (
            "owner=<@U1|alice> room=<#C1|ops> url=<http://x.example|x.example>",
            &[("owner", "@alice"), ("room", "#ops"), ("url", "x.example")],
            None,
        ),
        ("a=${b}", &[("a", "${b}")], None),
        ("reason:\"x y\" a=1", &[("a", "1")], Some("x y")),
        (
            "a=1 reason: to be or not",
            &[("a", "1")],
            Some("to be or not"),
        ),
        ("reason=x a=1", &[("a", "1")], Some("x")),
        (
            "{\"a\": 1, \"reason\": \"x\"}",
            &[("a", "1"), ("reason", "x")],
            None,
        ),
        (
            "```\na: 1.10\nb: yes\n```",
            &[("a", "1.10"), ("b", "yes")],
            None,
        ),
        (
            "\na: 1.10\nb: 'x: y'",
            &[("a", "1.10"), ("b", "x: y")],
            None,
        ),
        (
            "b=2\nreason: why not\na: 1",
            &[("a", "1"), ("b", "2")],
            Some("why not"),
        ),
        ("\n{“a”: “b”}", &[("a", "b")], None),
    ] {
        let typed = format!("checkout main to staging {text}");
        assert_eq!(read(&typed), with(base(), parameters, reason), "{text}");
    }
}

#[test]
fn the_exact_text_of_a_code_block_is_preferred() {
    let typed = Typed {
        text: "checkout main to staging ```a: “1”```".to_owned(),
        preformatted: Some("a: \"1\"\nb: <http://x>".to_owned()),
    };
    assert_eq!(
        parse_typed(&typed, &vocabulary()),
        Ok(with(
            main_to_staging(),
            &[("a", "1"), ("b", "<http://x>")],
            None
        ))
    );
}

#[test]
fn two_pastes_are_one_too_many() {
    let typed = Typed {
        text: "checkout main to staging {\"a\": 1}".to_owned(),
        preformatted: Some("b: 2".to_owned()),
    };
    let error = parse_typed(&typed, &vocabulary()).unwrap_err();
    assert_eq!(error.reason(), "repeated");
}

#[test]
fn questions_take_their_names_in_any_order_that_makes_sense() {
    let status = |application: Option<&str>, environment: Option<&str>| Intent::Status {
        application: application.map(ApplicationRef::bare),
        environment: environment.map(str::to_owned),
    };
    for (text, meaning) in [
        ("status", status(None, None)),
        ("Status staging", status(None, Some("staging"))),
        ("status in staging", status(None, Some("staging"))),
        ("status in elsewhere", status(None, Some("elsewhere"))),
        ("status checkout", status(Some("checkout"), None)),
        ("status unknown", status(Some("unknown"), None)),
        (
            "status checkout staging",
            status(Some("checkout"), Some("staging")),
        ),
        (
            "status in staging checkout",
            status(Some("checkout"), Some("staging")),
        ),
        ("what", Intent::What { environment: None }),
        (
            "what in elsewhere",
            Intent::What {
                environment: Some("elsewhere".to_owned()),
            },
        ),
        (
            "history staging",
            Intent::History {
                application: ApplicationRef::bare("staging"),
                environment: None,
            },
        ),
        ("help", Intent::Help { topic: None }),
        ("?", Intent::Help { topic: None }),
        ("--help", Intent::Help { topic: None }),
        (
            "help Rollback",
            Intent::Help {
                topic: Some("rollback".to_owned()),
            },
        ),
        (
            "rollback",
            Intent::Form(Draft {
                action: Some("rollback".to_owned()),
                ..Draft::default()
            }),
        ),
        (
            "to staging",
            Intent::Form(Draft {
                environment: Some("staging".to_owned()),
                ..Draft::default()
            }),
        ),
    ] {
        assert_eq!(read(text), meaning, "{text}");
    }
    let cancel = |what| Intent::Cancel(Cancel { what, reason: None });
    let target = |name: &str, environment: Option<&str>| CancelWhat::Target {
        application: ApplicationRef::bare(name),
        environment: environment.map(str::to_owned),
    };
    assert_eq!(read("cancel checkout"), cancel(target("checkout", None)));
    assert_eq!(
        read("cancel other staging"),
        cancel(target("other", Some("staging")))
    );
    assert_eq!(
        read("cancel a-request.v1"),
        cancel(CancelWhat::Named(ApplicationRef::bare("a-request.v1")))
    );
    assert_eq!(
        read("cancel shop/one"),
        cancel(CancelWhat::Named(ApplicationRef::of("shop", "one")))
    );
}

#[test]
fn help_shows_what_somebody_may_do_and_nothing_else() {
    let vocabulary = Vocabulary::new(
        ["deploy", "rollback", "warm-up"].map(str::to_owned),
        Vec::new(),
        Vec::new(),
    );
    let examples = |allowed: &[&str], topic| -> Vec<String> {
        let lines = help(&vocabulary, &guarding_tests::actions(allowed), topic);
        lines.into_iter().map(|line| line.example).collect()
    };
    let nothing = examples(&[], None);
    assert!(nothing.contains(&"/deploy what production".to_owned()));
    assert!(!nothing.iter().any(|line| line.contains("main to")));
    let some = examples(&["deploy", "warm-up"], None);
    assert!(some.contains(&"/deploy checkout main to staging".to_owned()));
    assert!(some.contains(&"/deploy warm-up checkout in staging".to_owned()));
    assert!(some.contains(&"/deploy".to_owned()), "the form");
    assert!(!some.iter().any(|line| line.contains("rollback")));
    assert_eq!(
        examples(&["rollback"], Some("rollback")),
        ["/deploy rollback checkout in production"]
    );
    assert!(examples(&["deploy"], Some("rollback")).is_empty());
    for word in BUILT_IN {
        assert!(topics().contains(&word), "{word} has no help");
    }
    assert!(
        FORMS
            .iter()
            .all(|form| form.needs != Needs::Action("") && !form.sentence.contains('!'))
    );
}

#[test]
fn the_words_that_people_read_stay_as_they_were_written() {
    let vocabulary = vocabulary();
    let verbs: Vec<&str> = vocabulary.verbs().collect();
    let lines: Vec<String> = help(&vocabulary, &guarding_tests::everything(&verbs), None)
        .into_iter()
        .map(|line| format!("{}\n    {}", line.example, line.sentence))
        .collect();
    insta::assert_snapshot!("help", lines.join("\n"));
    let sentences: Vec<String> = [
        "chekcout main staging extra",
        "rolback checkout in production",
        "checkout main to",
        "checkout main to staging --force",
        "checkout main to staging a=1 a=2",
        "checkout main to staging reason=\"x",
        "checkout main to staging a=\"x\"y",
        "check_out main to staging",
        "checkout main to staging {\"a\": {}}",
        "checkout main to staging\na: &x 1",
        "checkout \u{202e}niam to staging",
        "status a=1",
        "history",
        "cancel",
        "help weather",
    ]
    .into_iter()
    .map(|text| refused(text).sentence())
    .collect();
    insta::assert_snapshot!("refusals", sentences.join("\n"));
}
