//! What is none of the forms, and what hostile people type.

use super::*;

#[test]
fn what_is_no_form_is_quoted_with_the_nearest_that_is() {
    let long = "x".repeat(300);
    for (text, reason, nearest) in [
        (
            "checkout main to staging now",
            "unknown-word",
            "/deploy checkout main to staging",
        ),
        (
            "chekcout main staging extra",
            "unknown-word",
            "/deploy checkout main to staging",
        ),
        (
            "checkout@v1 main to staging",
            "unknown-word",
            "/deploy checkout v1 to staging",
        ),
        (
            "rolback checkout in production",
            "unknown-verb",
            "/deploy rollback checkout in production",
        ),
        (
            "frobnicate checkout",
            "unknown-verb",
            "/deploy checkout <version> to <environment>",
        ),
        (
            "checkout main to",
            "missing-environment",
            "/deploy <application> <version> to <environment>",
        ),
        (
            "checkout main to to staging",
            "missing-environment",
            "/deploy <application> <version> to <environment>",
        ),
        (
            "checkout main to staging in production",
            "repeated",
            "/deploy <application> <version> to <environment>",
        ),
        (
            "checkout main to staging a=1 a=2",
            "repeated",
            "/deploy checkout main to staging",
        ),
        (
            "checkout main to staging a=1 {\"a\": 2}",
            "repeated",
            "/deploy checkout main to staging",
        ),
        (
            "checkout main to staging --force",
            "unknown-option",
            "/deploy <application> <version> to <environment>",
        ),
        (
            "checkout main to staging reason:\"x\" reason=y",
            "repeated",
            "/deploy checkout main to staging",
        ),
        (
            "checkout main to staging reason=\"x",
            "unclosed-quote",
            "/deploy <application> <version> to <environment>",
        ),
        (
            "checkout main to staging a=\"x\"y",
            "glued-quote",
            "/deploy <application> <version> to <environment>",
        ),
        (
            "checkout main to staging reason:",
            "not-taken",
            "/deploy checkout main to staging",
        ),
        (
            "reason=x",
            "missing-application",
            "/deploy <application> <version> to <environment>",
        ),
        (
            "check_out main to staging",
            "invalid-name",
            "/deploy <application> <version> to staging",
        ),
        (
            "a/b/c main to staging",
            "invalid-name",
            "/deploy <application> <version> to staging",
        ),
        (
            "checkout main to #staging",
            "invalid-name",
            "/deploy <application> <version> to <environment>",
        ),
        (
            "checkout \"\" to staging",
            "invalid-name",
            "/deploy checkout <version> to staging",
        ),
        (
            &format!("checkout {long} to staging"),
            "invalid-name",
            "/deploy checkout <version> to staging",
        ),
        (
            "checkout main to staging {\"a\": {}}",
            "payload-nested",
            "/deploy checkout main to staging",
        ),
        (
            "status checkout staging more",
            "unknown-word",
            "/deploy status checkout staging",
        ),
        (
            "status a=1",
            "not-taken",
            "/deploy status [<application>] [<environment>]",
        ),
        (
            "what staging production",
            "unknown-word",
            "/deploy what staging",
        ),
        (
            "history",
            "missing-application",
            "/deploy history <application> [<environment>]",
        ),
        (
            "cancel",
            "missing-cancelled",
            "/deploy cancel <application> in <environment> reason:\"<why>\"",
        ),
        (
            "cancel checkout staging wrong branch",
            "unknown-word",
            "/deploy cancel checkout in staging reason:\"<why>\"",
        ),
        ("help weather", "unknown-topic", "/deploy help [<topic>]"),
        ("help cancel now", "unknown-word", "/deploy help [<topic>]"),
    ] {
        let error = refused(text);
        assert_eq!(error.reason(), reason, "{text}");
        assert_eq!(error.nearest(), nearest, "{text}");
        assert!(error.sentence().contains(error.nearest()), "{text}");
        assert!(error.input().chars().count() <= 200);
        assert!(!error.sentence().contains('\n'), "{text}");
        let quoted: String = text.chars().take(199).collect();
        assert!(error.sentence().contains(&quoted), "{text}");
    }
}

#[test]
fn hostile_text_is_refused_or_taken_as_text() {
    for (text, reason) in [
        ("checkout \u{202e}niam to staging", "hidden-character"),
        (
            "checkout main to staging reason=\u{202e}x",
            "hidden-character",
        ),
        ("checkout ma\u{7}in to staging", "hidden-character"),
        ("checkout \u{e0061} to staging", "hidden-character"),
        ("checkout ma\u{200d}in to staging", "invalid-name"),
        ("<!channel> main to staging", "invalid-name"),
        ("../../etc main to staging", "invalid-name"),
        ("chеckout main to staging", "invalid-name"),
    ] {
        assert_eq!(refused(text).reason(), reason, "{text:?}");
    }
    assert_eq!(refused(&"x ".repeat(40_000)).reason(), "too-long");
    assert_eq!(
        refused(&format!("checkout main to staging a={}", "x".repeat(1025))).reason(),
        "too-long"
    );
    assert_eq!(
        refused(&format!(
            "checkout main to staging reason={}",
            "x".repeat(1025)
        ))
        .reason(),
        "too-long"
    );
    let many: Vec<String> = (0..65).map(|number| format!("a{number}=1")).collect();
    let many = many.join(" ");
    assert_eq!(
        refused(&format!("checkout main to staging {many}")).reason(),
        "too-many-parameters"
    );
    assert_eq!(
        read(
            "checkout main to staging reason=\"&lt;!channel&gt; `x` *done* ${jndi:x} \u{1f680}\u{fe0f}\""
        ),
        with(
            main_to_staging(),
            &[],
            Some("<!channel> `x` *done* ${jndi:x} \u{1f680}\u{fe0f}")
        )
    );
}
