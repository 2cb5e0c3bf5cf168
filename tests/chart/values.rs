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

/// Values that don't go together or can't be, and words of the sentence that refuses them.
const REFUSED: [(&[&str], &str); 40] = [
    (&["mode=both"], "/mode"),
    (&["controler.replicas=1"], "controler"),
    (&["controller.replica=1"], "replica"),
    (&["controller.replicas=0"], "/controller/replicas"),
    (&["single.replicas=2"], "replicas"),
    (&["receiver.replicas=5"], "/receiver/replicas"),
    (&["receiver.replicas=3"], "/receiver/socketsPerReplica"),
    (
        &["receiver.socketsPerReplica=3"],
        "/receiver/socketsPerReplica",
    ),
    (
        &["receiver.replicas=1", "receiver.socketsPerReplica=5"],
        "/receiver/socketsPerReplica",
    ),
    (&["namespaces={Shop}"], "/namespaces/0"),
    (&["image.tag=a b"], "/image/tag"),
    (&["image.digest=1.2.3"], "/image/digest"),
    (&["log.format=xml"], "/log/format"),
    (
        &["proxy.https=http://me:secret@proxy.example"],
        "/proxy/https",
    ),
    (
        &["controller.allowGateHosts={https://gate.example}"],
        "/controller/allowGateHosts/0",
    ),
    (
        &["git.allowHosts={https://api.github.com}"],
        "/git/allowHosts/0",
    ),
    (
        &["git.allowHosts={a token@github.example}"],
        "/git/allowHosts/0",
    ),
    (
        &["git.enabled=true", "git.allowHosts=null"],
        "git.allowHosts is empty",
    ),
    (
        &["controller.extraArguments={run}"],
        "/controller/extraArguments/0",
    ),
    (
        &["controller.resources.limit.memory=1Gi"],
        "/controller/resources",
    ),
    (&["slack.botToken=xoxb-1"], "botToken"),
    (&["slack.command=deploy"], "/slack/command"),
    (&["slack.requestTtl=30d"], "/slack/requestTtl"),
    (&["slack.startupChannel=general"], "/slack/startupChannel"),
    (
        &["slack.vault.botToken=foredeck/slack"],
        "/slack/vault/botToken",
    ),
    (&["okta.url=http://corp.okta.com"], "/okta/url"),
    (
        &["slack.transport=http"],
        "Set slack.enabled=true, or leave slack.transport out",
    ),
    (
        &["okta.url=https://corp.okta.com"],
        "slack.enabled is false",
    ),
    (
        &["slack.enabled=true", "slack.existingSecret="],
        "slack.existingSecret is empty",
    ),
    (
        &["slack.enabled=true", "ingress.enabled=true"],
        "slack.transport=http, or ingress.enabled=false",
    ),
    (
        &[
            "slack.enabled=true",
            "slack.transport=http",
            "ingress.enabled=true",
        ],
        "ingress.host is missing",
    ),
    (
        &[
            "slack.enabled=true",
            "slack.transport=http",
            "httpRoute.enabled=true",
        ],
        "httpRoute.parentRefs is empty",
    ),
    (
        &["slack.enabled=true", "slack.vault.botToken=a#b"],
        "secretsVault.address is missing",
    ),
    (
        &[
            "slack.enabled=true",
            "slack.vault.botToken=a#b",
            "secretsVault.address=https://vault.example",
            "secretsVault.role=foredeck",
        ],
        "would be good for the API server, too",
    ),
    (
        &[
            "slack.enabled=true",
            "slack.vault.botToken=a#b",
            "secretsVault.address=https://vault.example",
            "secretsVault.login=token",
        ],
        "a Secret holds the Vault token",
    ),
    (
        &[
            "slack.enabled=true",
            "slack.userGroups=true",
            "identity.groupPrefixes={okta:}",
        ],
        "add it there",
    ),
    (
        &["controller.audit.file=/var/log/foredeck/audit"],
        "controller.audit.file is /var/log/foredeck/audit, and nothing is mounted there",
    ),
    (
        &[
            "controller.audit.file=/var/log/foredeck/../audit",
            "controller.extraVolumeMounts[0].name=log",
            "controller.extraVolumeMounts[0].mountPath=/var/log/foredeck",
        ],
        "controller.extraVolumeMounts",
    ),
    (
        &[
            "controller.audit.file=/var/log/foredeck/audit",
            "controller.extraVolumeMounts[0].name=log",
            "controller.extraVolumeMounts[0].mountPath=/var/log/foredeck",
            "controller.extraVolumeMounts[0].readOnly=true",
        ],
        "the rest of the Pod is read-only",
    ),
    (
        &[
            "mode=single",
            "controller.audit.file=/var/log/foredeck/audit",
            "controller.extraVolumeMounts[0].name=log",
            "controller.extraVolumeMounts[0].mountPath=/var/log/foredeck",
        ],
        "a folder above the file in single.extraVolumeMounts",
    ),
];

#[tokio::test]
async fn an_audit_file_is_below_what_its_pod_mounts() -> Result<()> {
    for (mode, block) in [("separate", "controller"), ("single", "single")] {
        let volume = r#"{"name":"log","persistentVolumeClaim":{"claimName":"audit"}}"#;
        let rendered = render(&[
            "--set",
            &format!("mode={mode},controller.audit.file=/var/log/foredeck/audit"),
            "--set-json",
            &format!("{block}.extraVolumes=[{volume}]"),
            "--set-json",
            &format!(
                r#"{block}.extraVolumeMounts=[{{"name":"log","mountPath":"/var/log/foredeck/"}}]"#
            ),
        ])
        .await?;
        assert!(rendered.contains("--audit-file=/var/log/foredeck/audit"));
    }
    Ok(())
}

#[tokio::test]
async fn what_can_not_be_is_refused_by_the_name_of_the_value() -> Result<()> {
    for (values, words) in REFUSED {
        let arguments: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
        let refused = render(&arguments).await.err();
        let error = refused
            .with_context(|| format!("{values:?} is let through"))?
            .to_string();
        assert!(error.contains(words), "{values:?}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn without_domains_the_receiver_may_speak_for_any_name() -> Result<()> {
    let policies = ["--show-only", "templates/admission.yaml"];
    let told = render(&policies).await?;
    assert!(!told.contains("username.lowerAscii().matches("), "{told}");
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
