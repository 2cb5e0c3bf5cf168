//! `foredeck explain` as people run it: the real binary on a real API server, with the rights of whoever asks.

use std::{path::Path, process::Command};

use anyhow::Result;
use foredeck::api::{DeployRequest, crds};
use foredeck_testkit::ControlPlane;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// The exit code, what was printed, and what was complained of.
type Said = (Option<i32>, String, String);

fn explain(kubeconfig: &Path, arguments: &[&str]) -> Result<Said> {
    let output = Command::new(env!("CARGO_BIN_EXE_foredeck"))
        .arg("explain")
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .output()?;
    Ok((
        output.status.code(),
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_explained_to_whoever_may_read_it() -> Result<()> {
    let plane = ControlPlane::shared().await;
    plane.install_crds(&crds()).await?;
    let namespace = plane.namespace("explain").await?;
    let admin = plane.admin_kubeconfig();
    let scope = ["--namespace", namespace.as_str()];
    let ask = |name, more: &[&str]| explain(admin, &[&[name], &scope[..], more].concat());

    let (code, _, complaint) = ask("dr/one", &[])?;
    assert_eq!(code, Some(1), "{complaint}");
    assert!(
        complaint.contains("there is no DeployRequest one in namespace"),
        "{complaint}"
    );

    let api: Api<DeployRequest> = Api::namespaced(plane.admin(), &namespace);
    let request = serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest", "metadata": {"name": "one"},
        "spec": {"application": "checkout", "environment": "production", "version": "v2"},
    }))?;
    api.create(&PostParams::default(), &request).await?;
    let (code, text, complaint) = ask("dr/one", &[])?;
    assert_eq!(code, Some(0), "{complaint}");
    assert!(
        text.starts_with(&format!("Pending: {namespace}/one\n"))
            && text.contains("No gate was judged for it so far."),
        "{text}"
    );

    let status = json!({"status": {
        "phase": "Queued", "message": "Held: a freeze.",
        "gates": [
            {"gate": "Policies", "state": "Open"},
            {"gate": "Freeze", "state": "Closed", "reason": "Frozen", "message": "Held: a freeze.", "until": "2026-06-08T06:00:00Z"},
            {"gate": "Lock", "state": "Unknown", "reason": "GuardsUnknown", "message": "no answer."},
        ],
    }});
    api.patch_status("one", &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    let (code, text, complaint) = ask("one", &[])?;
    assert_eq!(code, Some(0), "{complaint}");
    for line in [
        "Asks for deploy of `checkout` `v2` in `production`.\n",
        "  ✓ open        Policies\n",
        "  ✗ closed      Freeze         Held: a freeze. Opens 2026-06-08 06:00 UTC.\n",
        "  ? unknown     Lock           no answer.\n",
        "\"spec\":{\"override\"",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    let (code, text, complaint) = ask("deployrequests/one", &["-o", "json"])?;
    assert_eq!(code, Some(0), "{complaint}");
    let page: Value = serde_json::from_str(&text)?;
    assert_eq!(page["phase"], "Queued");
    assert_eq!(page["gates"][1]["state"], "Closed");
    assert_eq!(page["gates"][1]["until"], "2026-06-08T06:00:00Z");

    let status = json!({"status": {
        "phase": "Expired", "message": "it waited too long.", "finishedAt": "2026-06-07T12:00:00Z",
    }});
    api.patch_status("one", &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    let (_, text, _) = ask("dr/one", &[])?;
    assert!(
        text.contains("\nEnded 2026-06-07 12:00 UTC.\nit waited too long.\n")
            && text.contains("It ended, and stays as it is"),
        "{text}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_read_it_is_told_which_right_that_takes() -> Result<()> {
    let plane = ControlPlane::shared().await;
    plane.install_crds(&crds()).await?;
    let namespace = plane.namespace("unread").await?;
    let bob = plane.kubeconfig_as("bob@corp.example", &[], None)?;
    let (code, text, complaint) = explain(&bob, &["dr/one", "-n", &namespace])?;
    assert_eq!((code, text.as_str()), (Some(2), ""), "{complaint}");
    assert!(
        complaint.contains("the verb `get` on deployrequests.foredeck.dev"),
        "{complaint}"
    );
    let (code, _, complaint) = explain(&bob, &["dt/one"])?;
    assert_eq!(code, Some(2), "{complaint}");
    assert!(
        complaint.contains("only a DeployRequest can be explained"),
        "{complaint}"
    );
    Ok(())
}
