//! What the chart can be told, and what it refuses to be told.

use anyhow::{Context, Result};

use crate::support::render;

const MUTATING: &str = "kind: MutatingAdmissionPolicy\n";

#[tokio::test]
async fn stamps_are_installed_where_the_cluster_has_them() -> Result<()> {
    let served = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";
    assert!(!render(&[]).await?.contains(MUTATING));
    assert!(
        render(&["--api-versions", served])
            .await?
            .contains(MUTATING)
    );
    // A bare on or off is a boolean to YAML 1.1.
    for (value, wanted) in [
        ("on", true),
        ("true", true),
        ("off", false),
        ("false", false),
    ] {
        let value = format!("admission.mutating={value}");
        let rendered = render(&["--set", &value, "--api-versions", served]).await?;
        assert_eq!(rendered.contains(MUTATING), wanted, "{value}");
    }
    Ok(())
}

#[tokio::test]
async fn values_that_open_a_door_are_refused() -> Result<()> {
    for bad in [
        "identity.groupPrefixes={system:}",
        "identity.groupPrefixes={}",
        "identity.groupPrefixes={System:}",
        "identity.groupPrefixes={it's:}",
        "identity.usernameFormat=alice",
        "identity.usernameFormat=system:{email}",
        "identity.groupPrefixes={a\"]||true||[\":}",
        "identity.emailDomains={@corp.example}",
        "identity.emailDomains={corp example}",
        "identity.usernames={system:admin}",
        "controller.audit.url=http://sink.example/lines",
        "controller.audit.url=https://user:password@sink.example/lines",
        "controller.audit.file=lines",
        "admission.mutating=perhaps",
        "admission.mutatng=on",
    ] {
        let error = render(&["--set", bad])
            .await
            .err()
            .with_context(|| bad.to_owned())?;
        assert!(error.to_string().contains("schema"), "{bad}: {error:#}");
    }
    Ok(())
}

#[tokio::test]
async fn without_domains_the_receiver_may_speak_for_any_name() -> Result<()> {
    assert!(!render(&[]).await?.contains(".matches("));
    let told = render(&["--set", "identity.emailDomains={corp.example}"]).await?;
    let rule = r#"(object.spec.requester.username.lowerAscii().matches("^[^:/#@\\s]+@(corp\\.example)$") || "#;
    assert!(told.contains(rule), "{told}");
    let format = "identity.usernameFormat=oidc:{email}/Slack";
    let told = render(&[
        "--set",
        "identity.emailDomains={corp.example}",
        "--set-literal",
        format,
    ])
    .await?;
    let rule = r#"(object.spec.requester.username.startsWith("oidc:") && object.spec.requester.username.lowerAscii().matches("^oidc:[^:/#@\\s]+@(corp\\.example)/slack$") || "#;
    assert!(told.contains(rule), "{told}");
    Ok(())
}

#[tokio::test]
async fn nobody_needs_to_be_an_administrator() -> Result<()> {
    assert!(
        render(&[])
            .await?
            .contains("a member of system:masters may")
    );
    let none = render(&["--set-json", "admission.administrators=[]"]).await?;
    assert!(none.contains("group in []"));
    assert!(!none.contains("mended by hand"));
    Ok(())
}
