//! Every command of `docs/vault.md`, run as it stands there: on the real OpenBao and the real API server, with the real
//! binary and kubectl; and its files, as far as something here reads such. Only Gate and Slack are stand-ins, and the addresses
//! are the test's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use foredeck::api::SpinnakerConnection;
use foredeck_testkit::{
    ControlPlane, StandInGate, StandInSlack,
    gate::GateTls,
    slack::Call,
    tls::Authority,
    toolbox::{OpenBao, OpenBaoProgram},
    wait_for,
};
use kube::Api;
use serde_json::{Value, json};

const PAGE: &str = "docs/vault.md";
const NAMESPACE: &str = "shop";
const HOME: &str = "foredeck-system";
/// As whom the page's certificates name foredeck.
const PRINCIPAL: &str = "foredeck-shop";
const AUDIENCE: &str = "vault.prod.example";
const PATIENCE: Duration = Duration::from_mins(1);

/// A block of the page that people copy.
#[derive(Debug, Clone, PartialEq)]
struct Block {
    heading: String,
    text: String,
}

/// The blocks that are marked with that language, in their order.
fn blocks(page: &str, wanted: &str) -> Vec<Block> {
    let (mut found, mut heading, mut open) = (Vec::new(), String::new(), None);
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language == wanted, String::new())),
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    title.clone_into(&mut heading);
                }
            }
            (Some((true, text)), None) => text.extend([line, "\n"]),
            (Some((false, _)), None) => {}
            (Some(_), Some(_)) => {
                if let Some((true, text)) = open.take() {
                    found.push(Block {
                        heading: heading.clone(),
                        text,
                    });
                }
                open = None;
            }
        }
    }
    found
}

/// The variables that a block sets, each in a line.
fn variables(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| {
            name.chars()
                .all(|next| next.is_ascii_uppercase() || next == '_')
        })
        .collect()
}

/// A shell's user: a folder with the files that the page names, and a PATH with the programs that it names.
struct Desk {
    folder: PathBuf,
    variables: BTreeMap<&'static str, String>,
    running: Vec<(Child, PathBuf)>,
}

impl Desk {
    fn new(plane: &ControlPlane, program: &OpenBaoProgram) -> Result<Self> {
        let folder = plane.directory().join("desk");
        fs::create_dir(&folder)?;
        let built = Path::new(env!("CARGO_BIN_EXE_foredeck"));
        let path = std::env::join_paths(
            [
                built.parent().context("a folder")?.to_owned(),
                program.folder().to_owned(),
            ]
            .into_iter()
            .chain(std::env::split_paths(
                &std::env::var_os("PATH").unwrap_or_default(),
            )),
        )?;
        let path = path.into_string().ok().context("a PATH")?;
        let kubeconfig = plane.admin_kubeconfig().display().to_string();
        Ok(Self {
            variables: BTreeMap::from([
                ("PATH", path),
                ("KUBECONFIG", kubeconfig),
                ("HOME", folder.display().to_string()),
            ]),
            folder,
            running: Vec::new(),
        })
    }

    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.insert(name, value.into());
    }

    fn file(&self, name: &str, content: &str) -> Result<String> {
        fs::write(self.folder.join(name), content)?;
        Ok(name.to_owned())
    }

    fn shell(&self, text: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", text])
            .current_dir(&self.folder)
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::null());
        command
    }

    /// Runs a block to its end, and gives what it printed.
    async fn run(&self, block: &Block) -> Result<String> {
        let mut command = tokio::process::Command::from(self.shell(&block.text));
        let output = command.kill_on_drop(true).output().await?;
        ensure!(
            output.status.success(),
            "{PAGE}, {}: {}\n{}\n{}",
            block.heading,
            block.text,
            String::from_utf8_lossy(&output.stderr),
            self.logs()
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts a role as the page does, in a Pod's place: as its own `ServiceAccount`.
    fn start(&mut self, plane: &ControlPlane, block: &Block) -> Result<()> {
        let role = block.text.split_whitespace().nth(1).context("a role")?;
        let user = format!("system:serviceaccount:{HOME}:foredeck-{role}");
        let log = self.folder.join(format!("{role}.log"));
        let output = File::create(&log)?;
        let child = self
            .shell(&format!("exec {}", block.text))
            .env("KUBECONFIG", plane.kubeconfig_as(&user, &[], None)?)
            .env("FOREDECK_ADMIN_LISTEN", "off")
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        self.running.push((child, log));
        Ok(())
    }

    fn logs(&self) -> String {
        let logs = self.running.iter().map(|(_, log)| {
            let text = fs::read_to_string(log).unwrap_or_default();
            format!("--- {}\n{text}", log.display())
        });
        logs.collect()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for (child, _) in &mut self.running {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[tokio::test]
async fn every_command_works_as_it_stands_there() -> Result<()> {
    let Some(program) = OpenBao::fetch().await? else {
        return Ok(());
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join(PAGE))?;
    let mut blocks = blocks(&page, "sh").into_iter();
    let told = blocks.next().context("a block with variables")?;

    let (plane, vault) = tokio::try_join!(ControlPlane::start(), program.start())?;
    plane
        .install(&foredeck::api::crds(), &root.join("examples/install"))
        .await?;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    plane.apply(&namespace.to_string()).await?;
    let slack = StandInSlack::start().await?;
    let servers = Authority::new("Servers")?;

    let mut desk = Desk::new(&plane, &program)?;
    fs::copy(
        root.join("examples/install/admission.yaml"),
        desk.folder.join("admission.yaml"),
    )?;
    desk.file("bot-token", &slack.bot_token())?;
    desk.file("app-token", &slack.app_token())?;
    for (name, value) in [
        ("NAMESPACE", NAMESPACE.to_owned()),
        ("AUDIENCE", AUDIENCE.to_owned()),
        ("GATE_HOST", "127.0.0.1".to_owned()),
        ("GATE_CA", desk.file("gate-ca.pem", &servers.ca_pem())?),
        ("VAULT", vault.url().to_owned()),
        ("VAULT_HOST", "127.0.0.1".to_owned()),
        ("VAULT_CA", desk.file("vault-ca.pem", vault.ca_pem())?),
        ("KUBERNETES", plane.url().to_owned()),
        (
            "KUBERNETES_CA",
            desk.file("kubernetes-ca.pem", plane.ca_pem())?,
        ),
    ] {
        desk.set(name, value);
    }
    let mut here: BTreeSet<&str> = desk.variables.keys().copied().collect();
    here.insert("GATE");
    for own in ["PATH", "KUBECONFIG", "HOME"] {
        here.remove(own);
    }
    assert_eq!(variables(&told.text), here);
    // What the page exports, and whoever reads it brings along.
    desk.set("BAO_ADDR", vault.url());
    desk.set("BAO_CACERT", "vault-ca.pem");
    desk.set("BAO_TOKEN", vault.root_token());
    desk.set("SLACK_API_URL", slack.api_url());

    manifests_fit(&plane, &desk, &page, &told).await?;
    let mut gate = None;
    let mut serials = BTreeSet::new();
    for block in blocks {
        if gate.is_none() && block.heading.starts_with("3.") {
            // Gate's trust store has what step 1 left for it.
            let tls = GateTls {
                server: servers.server()?,
                clients: Some(fs::read_to_string(desk.folder.join("root.crt"))?),
            };
            let started = StandInGate::start_tls(tls).await?;
            desk.set("GATE", started.url());
            gate = Some(started);
        }
        if block.text.starts_with("foredeck ") {
            as_a_kubelet(&plane, &mut desk, &block).await?;
            desk.start(&plane, &block)?;
            continue;
        }
        let printed = desk.run(&block).await?;
        if block.text.contains("kv-v2") {
            // Whoever types it in takes as long.
            wait_for("the secrets engine", PATIENCE, async || {
                vault.read("secret/config").await
            })
            .await?;
        }
        if block.text.contains("kubectl wait") {
            serials.insert(logged_in(&plane).await?);
        }
        if printed.starts_with("NAME ") {
            assert_eq!(headings(&printed), headings(shown(&page)?));
        }
    }
    // By each way of logging in to Vault a certificate of its own.
    assert_eq!(serials.len(), 3, "{serials:?}");
    for (method, role) in [
        ("apps.connections.open", "the receiver"),
        ("auth.test", "the relay"),
    ] {
        wait_for(role, PATIENCE, async || {
            let good = slack.calls_of(method).iter().any(Call::is_ok);
            ensure!(good, "no {method}: {}", desk.logs());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// What the page shows of files: Gate's profile says of its port what the variables say, and a Pod with what the page gives
/// it has the token where the binary looks for it, and for that Vault.
async fn manifests_fit(plane: &ControlPlane, desk: &Desk, page: &str, told: &Block) -> Result<()> {
    let files: Vec<Value> = blocks(page, "yaml")
        .iter()
        .map(|block| serde_saphyr::from_str(&block.text).with_context(|| block.text.clone()))
        .collect::<Result<_>>()?;
    let [profile, pod] = &files[..] else {
        bail!("{} files", files.len());
    };
    let port = format!(":{} ", profile["default"]["apiPort"]);
    ensure!(told.text.contains(&port), "GATE is not at{port}");
    for switch in ["/server/ssl/enabled", "/x509/enabled"] {
        ensure!(profile.pointer(switch) == Some(&json!(true)), "{switch}");
    }

    let token = &pod["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
    ensure!(token["audience"] == AUDIENCE, "{token}");
    let mount = &pod["containers"][0]["volumeMounts"][0]["mountPath"];
    let file = Path::new(mount.as_str().context("a path")?)
        .join(token["path"].as_str().context("a file")?);
    let help = desk.shell("foredeck relay --help").output()?;
    let help = String::from_utf8(help.stdout)?;
    let default = format!("[default: {}]", file.display());
    ensure!(help.contains(&default), "{default}: {help}");
    let mut spec = pod.clone();
    spec["containers"][0]["image"] = json!("foredeck");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "spec": spec,
        "metadata": {"name": "relay", "namespace": HOME},
    });
    plane.apply(&pod.to_string()).await
}

/// The token that the role's Pod would have.
async fn as_a_kubelet(plane: &ControlPlane, desk: &mut Desk, block: &Block) -> Result<()> {
    let role = block.text.split_whitespace().nth(1).context("a role")?;
    let account = format!("foredeck-{role}");
    let token = plane
        .service_account_token(HOME, &account, &[AUDIENCE])
        .await?;
    let file = desk.file(&format!("{role}-token"), &token)?;
    desk.set("FOREDECK_VAULT_JWT_FILE", file);
    Ok(())
}

/// The serial number of the certificate by which the connection is logged in.
async fn logged_in(plane: &ControlPlane) -> Result<String> {
    let connections: Api<SpinnakerConnection> = Api::namespaced(plane.admin(), NAMESPACE);
    let status = connections.get("spinnaker").await?.status;
    let status = status.context("a status")?;
    assert_eq!(status.user.as_deref(), Some(PRINCIPAL));
    let certificate = status.certificate.context("a certificate")?;
    Ok(certificate.serial)
}

/// The table that the page shows.
fn shown(page: &str) -> Result<&str> {
    let (_, table) = page.split_once("```\nNAME ").context("a table")?;
    let (table, _) = table.split_once("```").context("the table's end")?;
    Ok(table)
}

fn headings(table: &str) -> Vec<&str> {
    let line = table.lines().next().unwrap_or_default();
    let words = line.split_whitespace();
    words.skip_while(|word| *word == "NAME").collect()
}

#[test]
fn blocks_are_found_with_their_headings() {
    let page = "# One\n```sh\nA=b\n```\n## Two\n```yaml\nno: block\n```\n```\nshown\n```\n```sh\nls \\\n  -l\n```\n";
    let block = |heading: &str, text: &str| Block {
        heading: heading.to_owned(),
        text: text.to_owned(),
    };
    assert_eq!(
        blocks(page, "sh"),
        [block("", "A=b\n"), block("Two", "ls \\\n  -l\n")]
    );
    assert_eq!(blocks(page, "yaml"), [block("Two", "no: block\n")]);
    let set = variables("A_B=c  # d\nexport E=f\nls -l\n");
    assert_eq!(set, BTreeSet::from(["A_B"]));
}
