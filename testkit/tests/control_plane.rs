//! What the other tests rely on: a control plane that is real, tells people apart, and is gone when its process is.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use foredeck_testkit::{ControlPlane, wait_for};
use futures::future::try_join_all;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, UserInfo};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_api_server_is_ready_and_of_the_pinned_version() -> Result<()> {
    let version = ControlPlane::shared()
        .await
        .admin()
        .apiserver_version()
        .await?;
    if std::env::var_os("KUBEBUILDER_ASSETS").is_none() {
        assert_eq!(version.git_version, "v1.36.3");
    }
    assert_eq!(version.major, "1");
    Ok(())
}

#[tokio::test]
async fn the_api_server_is_trusted_by_its_own_authority_only() -> Result<()> {
    let mut config = ControlPlane::shared().await.admin_config();
    assert!(!config.accept_invalid_certs);
    config.root_cert = None;
    let refusal = Client::try_from(config)?.apiserver_version().await;
    assert!(format!("{:?}", refusal.unwrap_err()).contains("UnknownIssuer"));
    Ok(())
}

#[tokio::test]
async fn a_person_may_do_what_a_role_of_their_group_allows_and_nothing_else() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("rbac").await?;
    let admin = plane.admin();
    let role: Role = object(json!({
        "metadata": {"name": "readers"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}],
    }))?;
    create(&admin, &namespace, &role).await?;
    let binding: RoleBinding = object(json!({
        "metadata": {"name": "readers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "readers"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "okta:readers"}],
    }))?;
    create(&admin, &namespace, &binding).await?;

    let alice = plane.client_as("alice@corp.example", &["okta:readers"]);
    let as_alice = Api::<ConfigMap>::namespaced(alice, &namespace);
    // The authorizer learns of a new role by a watch.
    wait_for("alice to be let in", SOON, async || {
        Ok(as_alice.list(&ListParams::default()).await?)
    })
    .await?;
    let refusal = as_alice
        .create(
            &PostParams::default(),
            &object(json!({"metadata": {"name": "x"}}))?,
        )
        .await;
    assert_eq!(status_code(refusal), Some(403));

    let bob = plane.client_as("bob@corp.example", &["okta:writers"]);
    let refusal = Api::<ConfigMap>::namespaced(bob, &namespace)
        .list(&ListParams::default())
        .await;
    assert_eq!(status_code(refusal), Some(403));
    Ok(())
}

#[tokio::test]
async fn the_api_server_sees_a_person_with_their_groups() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let alice =
        who_am_i(plane.client_as("alice@corp.example", &["okta:readers", "okta:deployers"]))
            .await?;
    assert_eq!(alice.username.as_deref(), Some("alice@corp.example"));
    assert_eq!(
        alice.groups.unwrap(),
        ["okta:readers", "okta:deployers", "system:authenticated"]
    );

    let role = who_am_i(plane.client_as("system:serviceaccount:shop:receiver", &[])).await?;
    assert!(
        role.groups
            .unwrap()
            .contains(&"system:serviceaccounts:shop".to_owned())
    );
    Ok(())
}

#[tokio::test]
async fn a_token_of_a_service_account_is_one() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("tokens").await?;
    create::<ServiceAccount>(
        &plane.admin(),
        &namespace,
        &object(json!({"metadata": {"name": "receiver"}}))?,
    )
    .await?;
    let request: TokenRequest = object(json!({"spec": {"audiences": []}}))?;
    let answer = Api::<ServiceAccount>::namespaced(plane.admin(), &namespace)
        .create_token_request("receiver", &PostParams::default(), &request)
        .await?;
    let mut config = plane.admin_config();
    config.auth_info.token = answer
        .status
        .and_then(|status| status.token)
        .map(Into::into);
    let seen = who_am_i(Client::try_from(config)?).await?;
    assert_eq!(
        seen.username,
        Some(format!("system:serviceaccount:{namespace}:receiver"))
    );
    Ok(())
}

#[tokio::test]
async fn an_installed_definition_is_served_at_once_however_many_install_it() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let definitions = [harbours()?];
    try_join_all((0..8).map(|_| plane.install_crds(&definitions))).await?;

    let namespace = plane.namespace("harbours").await?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("test.foredeck.dev", "v1", "Harbour"));
    let api = Api::<DynamicObject>::namespaced_with(plane.admin(), &namespace, &kind);
    let harbour = DynamicObject::new("ostend", &kind).data(json!({"spec": {"depth": 12}}));
    api.create(&PostParams::default(), &harbour).await?;
    let too_deep = DynamicObject::new("mariana", &kind).data(json!({"spec": {"depth": 11_000}}));
    assert_eq!(
        status_code(api.create(&PostParams::default(), &too_deep).await),
        Some(422)
    );

    let seen = kubectl(
        plane.admin_kubeconfig(),
        &[
            "get",
            "harbours",
            "--namespace",
            &namespace,
            "--output",
            "name",
        ],
    )?;
    assert_eq!(seen.trim(), "harbour.test.foredeck.dev/ostend");
    Ok(())
}

#[tokio::test]
async fn admission_policies_that_change_objects_are_there() -> Result<()> {
    let admin = ControlPlane::shared().await.admin();
    let group = admin
        .list_api_group_resources("admissionregistration.k8s.io/v1")
        .await?;
    let names: Vec<_> = group
        .resources
        .iter()
        .map(|resource| resource.name.as_str())
        .collect();
    assert!(names.contains(&"mutatingadmissionpolicies"), "{names:?}");
    assert!(names.contains(&"validatingadmissionpolicies"), "{names:?}");
    Ok(())
}

#[tokio::test]
async fn manifests_are_applied_one_after_another_and_strictly() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let namespace = format!("applied-{}", std::process::id());
    let map = |value: &str| {
        format!(
            "# First where it is to be.\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n---\n\
             apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: one, namespace: {namespace}}}\ndata: {{a: {value}}}\n---\n"
        )
    };
    plane.apply(&map("first")).await?;
    plane.apply(&map("second")).await?;
    let maps = Api::<ConfigMap>::namespaced(plane.admin(), &namespace);
    let data = maps.get("one").await?.data.unwrap_or_default();
    assert_eq!(data.get("a").map(String::as_str), Some("second"));
    let misspelt = map("third").replace("data: {a", "dta: {a");
    let error = format!("{:#}", plane.apply(&misspelt).await.unwrap_err());
    assert!(
        error.contains("ConfigMap \"one\"") && error.contains("dta"),
        "{error}"
    );
    assert!(
        plane
            .apply("kind: Nothing\napiVersion: v1\nmetadata: {name: x}")
            .await
            .is_err()
    );
    Ok(())
}

#[tokio::test]
async fn policies_count_once_they_were_waited_for() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("policies").await?;
    let policies = json!({"matchConstraints": {"resourceRules": [{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"],
    }]}, "matchConditions": [{"name": "here", "expression": format!("request.namespace == '{namespace}'")}]});
    let with = |more: Value| {
        let mut spec = policies.clone();
        for (name, value) in more.as_object().into_iter().flatten() {
            spec[name] = value.clone();
        }
        spec
    };
    let refuses =
        with(json!({"validations": [{"expression": "object.metadata.name != 'refused'"}]}));
    let stamps = with(json!({
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {
            "expression": "[JSONPatch{op: 'add', path: '/data', value: Object.data{by: request.userInfo.username}}]",
        }}],
    }));
    let mut manifests = String::new();
    for (kind, spec) in [
        ("ValidatingAdmissionPolicy", refuses),
        (
            "ValidatingAdmissionPolicyBinding",
            json!({"policyName": namespace, "validationActions": ["Deny"]}),
        ),
        ("MutatingAdmissionPolicy", stamps),
        (
            "MutatingAdmissionPolicyBinding",
            json!({"policyName": namespace}),
        ),
    ] {
        let object = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": namespace}, "spec": spec,
        });
        manifests.push_str(&object.to_string());
        manifests.push_str("\n---\n");
    }
    plane.apply(&manifests).await?;
    try_join_all((0..3).map(|_| plane.policies_in_force())).await?;

    let maps = Api::<ConfigMap>::namespaced(plane.admin(), &namespace);
    let named = |name: &str| ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    let plain = PostParams::default();
    assert_eq!(
        status_code(maps.create(&plain, &named("refused")).await),
        Some(422)
    );
    let stamped = maps.create(&plain, &named("stamped")).await?;
    let data = stamped.data.unwrap_or_default();
    assert_eq!(
        data.get("by").map(String::as_str),
        Some("foredeck-test-admin")
    );
    Ok(())
}

#[tokio::test]
async fn kubectl_is_the_person_of_its_kubeconfig() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let kubeconfig = plane.kubeconfig_as("alice@corp.example", &["okta:readers"], None)?;
    let seen: Value = serde_json::from_str(&kubectl(
        &kubeconfig,
        &["auth", "whoami", "--output", "json"],
    )?)?;
    assert_eq!(seen["status"]["userInfo"]["username"], "alice@corp.example");
    assert_eq!(
        seen["status"]["userInfo"]["groups"],
        json!(["okta:readers", "system:authenticated"])
    );

    let seen: Value = serde_json::from_str(&kubectl(
        plane.admin_kubeconfig(),
        &["auth", "whoami", "--output", "json"],
    )?)?;
    assert!(
        seen["status"]["userInfo"]["groups"]
            .to_string()
            .contains("system:masters")
    );
    Ok(())
}

#[tokio::test]
async fn kube_reads_the_kubeconfig_too() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig_as(
        "alice@corp.example",
        &["okta:readers"],
        None,
    )?)?;
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
            .await?;
    let seen = who_am_i(Client::try_from(config)?).await?;
    assert_eq!(seen.username.as_deref(), Some("alice@corp.example"));
    Ok(())
}

#[tokio::test]
async fn a_kubeconfig_can_lead_through_a_proxy() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig_through("http://127.0.0.1:1")?)?;
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
            .await?;
    assert_eq!(config.cluster_url, "http://127.0.0.1:1");
    let seen = serde_json::to_value(&config.auth_info)?;
    assert_eq!(seen["token"], plane.admin_token());
    Ok(())
}

#[tokio::test]
async fn two_control_planes_know_nothing_of_each_other() -> Result<()> {
    let (shared, own) = (ControlPlane::shared().await, ControlPlane::start().await?);
    let namespace = own.namespace("own").await?;
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(shared.admin());
    assert!(namespaces.get_opt(&namespace).await?.is_none());

    let folder = own.directory().to_owned();
    ensure!(
        !processes_with(&folder)?.is_empty(),
        "nothing runs in {}",
        folder.display()
    );
    let started = Instant::now();
    drop(own);
    assert_eq!(processes_with(&folder)?, Vec::<String>::new());
    assert!(!folder.exists());
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "took {:?}",
        started.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn a_killed_test_process_leaves_nothing_behind() -> Result<()> {
    let mut holder = Holder::start(|_| {})?;
    let folder = PathBuf::from(
        holder
            .line()?
            .strip_prefix("ready ")
            .context("a control plane")?,
    );
    let before = processes_with(&folder)?;
    for program in ["etcd", "kube-apiserver"] {
        ensure!(
            before.iter().any(|line| line.contains(program)),
            "no {program} in {before:?}"
        );
    }

    holder.process.kill()?;
    wait_for("the processes and the folder to go", SOON, async || {
        let left = processes_with(&folder)?;
        ensure!(left.is_empty(), "there still is {left:?}");
        ensure!(!folder.exists(), "there still is {}", folder.display());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_failed_start_quotes_the_log_and_leaves_nothing_behind() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("foredeck-broken-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    for name in ["etcd", "kube-apiserver"] {
        fs::write(
            folder.join(name),
            "#!/bin/sh\necho the disk is on fire\nexit 3\n",
        )?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.join(name), executable)?;
    }
    let error = Holder::start(|command| {
        command
            .env("KUBEBUILDER_ASSETS", &folder)
            .env("TMPDIR", &folder);
    })?
    .rest()?;
    assert!(
        error.contains("the disk is on fire") && error.contains("etcd.log"),
        "{error}"
    );
    let left: Vec<_> = fs::read_dir(&folder)?
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    fs::remove_dir_all(&folder)?;
    Ok(())
}

#[test]
fn missing_programs_are_told_in_a_sentence_that_helps() -> Result<()> {
    let empty = std::env::temp_dir();
    let error = Holder::start(|command| {
        command.env("KUBEBUILDER_ASSETS", empty.join("nowhere"));
    })?
    .rest()?;
    assert!(
        error.contains("there is no etcd in") && error.contains("unset it to have them built"),
        "{error}"
    );

    let target = empty.join(format!("foredeck-target-{}", std::process::id()));
    let error = Holder::start(|command| {
        command
            .env_remove("KUBEBUILDER_ASSETS")
            .env("CARGO_TARGET_DIR", &target)
            .env("PATH", "/nowhere");
    })?
    .rest()?;
    assert!(
        error.contains("install Go 1.") && error.contains("or set KUBEBUILDER_ASSETS"),
        "{error}"
    );
    fs::remove_dir_all(target)?;
    Ok(())
}

/// As tests and the demo do that start one in the background.
#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_can_be_started_by_a_task() -> Result<()> {
    let task = tokio::spawn(async {
        let plane = ControlPlane::start().await?;
        plane.install_crds(&[harbours()?]).await?;
        plane.namespace("task").await
    });
    assert!(task.await??.starts_with("task-"));
    Ok(())
}

/// Not a test: what the tests above kill, or start in an environment where it must fail.
#[test]
#[ignore = "run by the tests of how a control plane ends, in a process of its own"]
fn hold_a_control_plane() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match runtime.block_on(ControlPlane::start()) {
        Ok(plane) => {
            println!("\nheld: ready {}", plane.directory().display());
            // Ends with the test that started it, should that die.
            let _ = std::io::stdin().read(&mut [0]);
        }
        Err(error) => println!(
            "\nheld: failed {}",
            format!("{error:#}").replace('\n', " | ")
        ),
    }
}

/// This test binary once more, as a process of its own.
struct Holder {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Holder {
    fn start(environment: impl FnOnce(&mut Command)) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([
                "--exact",
                "hold_a_control_plane",
                "--ignored",
                "--nocapture",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        environment(&mut command);
        let mut process = command.spawn()?;
        let output = BufReader::new(process.stdout.take().context("an output")?);
        Ok(Self { process, output })
    }

    fn line(&mut self) -> Result<String> {
        for line in self.output.by_ref().lines() {
            if let Some(line) = line?.strip_prefix("held: ") {
                return Ok(line.to_owned());
            }
        }
        bail!("the process ended without a word")
    }

    /// The failure of one that must fail, once it has ended.
    fn rest(mut self) -> Result<String> {
        let line = self.line()?;
        drop(self.process.stdin.take());
        self.process.wait()?;
        Ok(line
            .strip_prefix("failed ")
            .with_context(|| format!("it did not fail: {line}"))?
            .to_owned())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command lines that name `folder`, as those of all processes of a control plane do.
fn processes_with(folder: &Path) -> Result<Vec<String>> {
    let folder = folder.to_str().context("a folder of plain characters")?;
    let listed = Command::new("ps").args(["-A", "-o", "args="]).output();
    let listed = listed.context("this test needs `ps`: install procps")?;
    let lines = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    Ok(lines
        .into_iter()
        .filter(|line| line.contains(folder))
        .collect())
}

fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .output()
        .context("this test needs kubectl on the PATH: https://kubernetes.io/docs/tasks/tools/")?;
    ensure!(
        output.status.success(),
        "kubectl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn harbours() -> Result<CustomResourceDefinition> {
    object(json!({
        "metadata": {"name": "harbours.test.foredeck.dev"},
        "spec": {
            "group": "test.foredeck.dev",
            "names": {"kind": "Harbour", "plural": "harbours", "singular": "harbour"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": {"type": "object", "properties": {"depth": {"type": "integer", "maximum": 40}}}},
            }}}],
        },
    }))
}

fn object<K: DeserializeOwned>(content: Value) -> Result<K> {
    Ok(serde_json::from_value(content)?)
}

async fn create<K>(client: &Client, namespace: &str, object: &K) -> Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    K: Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    Api::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), object)
        .await?;
    Ok(())
}

async fn who_am_i(client: Client) -> Result<UserInfo> {
    let review = Api::<SelfSubjectReview>::all(client);
    let answer = review
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    answer
        .status
        .and_then(|status| status.user_info)
        .context("an identity")
}

fn status_code<T>(answer: kube::Result<T>) -> Option<u16> {
    match answer {
        Err(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}
