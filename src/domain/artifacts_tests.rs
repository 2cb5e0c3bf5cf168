//! What a pipeline expects and what it gets: which fields match, what is refused, and what falls back.

use proptest::prelude::*;

use super::*;

fn image(name: &str, version: Option<&str>) -> Artifact {
    Artifact {
        kind: "docker/image".to_owned(),
        name: name.to_owned(),
        version: version.map(str::to_owned),
        ..Artifact::default()
    }
}

fn expecting(kind: &str, name: &str, version: Option<&str>) -> Expected {
    Expected {
        id: "e-1".to_owned(),
        name: "image".to_owned(),
        wanted: Pattern {
            kind: Some(kind.to_owned()),
            name: Some(name.to_owned()),
            version: version.map(str::to_owned),
            ..Pattern::default()
        },
        ..Expected::default()
    }
}

fn pipeline(expected: Vec<Expected>) -> Pipeline {
    Pipeline {
        application: "shop".to_owned(),
        id: "4f0a".to_owned(),
        name: "Deploy".to_owned(),
        disabled: false,
        revision: None,
        parameters: Vec::new(),
        expected,
    }
}

fn action(artifacts: &[Artifact]) -> Action {
    serde_json::from_value(serde_json::json!({"pipeline": "Deploy", "artifacts": artifacts}))
        .unwrap()
}

fn reason(result: Result<Vec<String>, Refusal>) -> Result<Vec<String>, Reason> {
    result.map_err(|refusal| {
        assert_eq!(refusal.waiting_for, None);
        refusal.reason
    })
}

#[test]
fn fields_match_as_orca_matches_them() {
    let checkout = "registry.example/shop/checkout";
    for (expected, artifact, matches) in [
        // Equal, though as an expression `+` means something else.
        (
            expecting("docker/image", "a+b", None),
            image("a+b", None),
            true,
        ),
        (
            expecting("docker/image", checkout, None),
            image(checkout, Some("1")),
            true,
        ),
        // The whole of it, not a part.
        (
            expecting("docker/image", "checkout", None),
            image(checkout, None),
            false,
        ),
        (
            expecting("docker/image", ".*checkout", None),
            image(checkout, None),
            true,
        ),
        (
            expecting("docker/image", "a|ab", None),
            image("ab", None),
            true,
        ),
        (
            expecting("docker/.*", ".*", None),
            image(checkout, None),
            true,
        ),
        (
            expecting("DOCKER/image", ".*", None),
            image(checkout, None),
            false,
        ),
        // Left out or empty takes anything; anything else wants the artifact to have it.
        (expecting("", "", Some("")), image(checkout, None), true),
        (
            expecting("docker/image", ".*", Some(".*")),
            image(checkout, None),
            false,
        ),
        (
            expecting("docker/image", ".*", Some(".*")),
            image(checkout, Some("")),
            true,
        ),
        (
            expecting("docker/image", ".*", Some("v\\d+")),
            image(checkout, Some("v12")),
            true,
        ),
        (
            expecting("docker/image", ".*", Some("v\\d+")),
            image(checkout, Some("main")),
            false,
        ),
        (
            expecting("docker/image", "(?i)CHECKOUT", None),
            image("checkout", None),
            true,
        ),
    ] {
        let found = bound(
            &pipeline(vec![expected.clone()]),
            std::slice::from_ref(&artifact),
            false,
        );
        assert_eq!(found.is_ok(), matches, "{expected:?} {artifact:?}");
    }
    let embedded = |kind: &str| Artifact {
        kind: kind.to_owned(),
        ..image("x", None)
    };
    for (theirs, ours) in [
        ("embedded/base64", "remote/base64"),
        ("remote/base64", "embedded/base64"),
    ] {
        let expected = pipeline(vec![expecting(theirs, "", None)]);
        bound(&expected, &[embedded(ours)], false).unwrap();
    }
}

#[test]
fn what_java_reads_otherwise_is_refused_unless_it_is_equal() {
    for pattern in [
        "a++", "a*+b", "(?!x).*", "\\p{L}+", "[a&&b]", "[a[b]]", "\\Qx\\E", "(?U)\\w", "\\v", "(",
    ] {
        let expected = pipeline(vec![expecting("docker/image", pattern, None)]);
        let refused = bound(&expected, &[image("aa", None)], false).unwrap_err();
        assert_eq!(refused.reason, Reason::ArtifactUnmatched, "{pattern}");
        assert!(
            refused.message.contains("can't read"),
            "{}",
            refused.message
        );
        bound(&expected, &[image(pattern, None)], false).unwrap();
    }
    for pattern in ["a\\+\\+", "\\\\+", "[+]+"] {
        whole(pattern).unwrap();
    }
}

#[test]
fn each_expected_artifact_is_met_by_exactly_one_of_ours() {
    let expected = pipeline(vec![
        Expected {
            id: "image".to_owned(),
            ..expecting("docker/image", "checkout", None)
        },
        Expected {
            id: "chart".to_owned(),
            ..expecting("helm/chart", "checkout", None)
        },
    ]);
    let chart = Artifact {
        kind: "helm/chart".to_owned(),
        ..image("checkout", None)
    };
    let ours = [
        image("checkout", Some("1")),
        chart.clone(),
        image("unasked", None),
    ];
    assert_eq!(
        reason(bound(&expected, &ours, false)),
        Ok(vec!["image".to_owned(), "chart".to_owned()])
    );
    assert_eq!(
        reason(bound(&expected, &ours[..1], false)),
        Err(Reason::ArtifactUnmatched)
    );
    let twice = [
        image("checkout", Some("1")),
        image("checkout", Some("2")),
        chart.clone(),
    ];
    let refused = bound(&expected, &twice, true).unwrap_err();
    assert!(
        refused.message.contains("more than one"),
        "{}",
        refused.message
    );
    let same = [
        image("checkout", Some("1")),
        image("checkout", Some("1")),
        chart,
    ];
    bound(&expected, &same, false).unwrap();
    assert_eq!(
        reason(bound(&pipeline(Vec::new()), &ours, false)),
        Ok(Vec::new())
    );
}

#[test]
fn a_default_or_an_earlier_one_is_taken_only_where_the_action_says_so() {
    for (has_default, takes_earlier, word) in [
        (true, false, "its default"),
        (false, true, "an earlier execution's"),
        (true, true, "an earlier execution's, or its default"),
    ] {
        let one = Expected {
            has_default,
            takes_earlier,
            ..expecting("docker/image", "checkout", None)
        };
        let expected = pipeline(vec![one]);
        let refused = bound(&expected, &[image("other", Some("7"))], false).unwrap_err();
        assert_eq!(refused.reason, Reason::ArtifactDefault);
        for part in [
            word,
            "docker/image other 7",
            "image: docker/image checkout",
            "\"Deploy\"",
        ] {
            assert!(
                refused.message.contains(part),
                "{part}: {}",
                refused.message
            );
        }
        assert_eq!(bound(&expected, &[], true), Ok(Vec::new()));
        assert_eq!(
            bound(&expected, &[image("checkout", None)], true).unwrap(),
            ["e-1"]
        );
    }
    let none = pipeline(vec![expecting("docker/image", "checkout", None)]);
    assert_eq!(
        reason(bound(&none, &[], true)),
        Err(Reason::ArtifactUnmatched)
    );
}

#[test]
fn an_action_is_impossible_only_by_what_is_fixed_in_it() {
    let expected = pipeline(vec![expecting("docker/image", "checkout", Some("v.*"))]);
    let one = |name, version| action(&[image(name, version)]);
    possible(&expected, &one("checkout", Some("{{ commit }}"))).unwrap();
    possible(&expected, &one("{{ application.name }}", Some("v1"))).unwrap();
    let refused = possible(&expected, &one("other", Some("{{ commit }}"))).unwrap_err();
    assert_eq!(refused.reason, Reason::ArtifactUnmatched);
    assert!(
        refused.message.contains("docker/image other"),
        "{}",
        refused.message
    );
    possible(&expected, &one("checkout", None)).unwrap_err();
    possible(&expected, &action(&[])).unwrap_err();
    let odd = pipeline(vec![expecting("docker/image", "(?!x).*", None)]);
    possible(&odd, &one("checkout", None)).unwrap();
}

proptest! {
    #[test]
    fn whatever_the_pipeline_expects_nothing_panics_and_the_equal_matches(
        pattern in "\\PC{0,20}", name in "\\PC{0,20}", version in proptest::option::of("[a-z.*+?(){}|\\\\\\[\\]]{0,8}"),
    ) {
        let expected = pipeline(vec![expecting("docker/image", &pattern, version.as_deref())]);
        let _ = bound(&expected, &[image(&name, version.as_deref())], false);
        prop_assert!(bound(&expected, &[image(&pattern, version.as_deref())], false).is_ok());
    }
}
