//! The commands by which `docs/operations.md` installs foredeck and starts its controller, run as they stand there, in their
//! order, on a real API server that knows nothing of foredeck yet.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use foredeck_testkit::{ControlPlane, helm, wait_for};
use serde_json::json;

const PAGE: &str = "docs/operations.md";
const PATIENCE: Duration = Duration::from_mins(1);

/// Killed when dropped.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The commands of a section: lines of its shell blocks, those that go on joined.
fn commands(page: &str, heading: &str) -> Result<Vec<String>> {
    let (_, section) = page
        .split_once(&format!("\n## {heading}\n"))
        .with_context(|| format!("a section {heading}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```sh\n").skip(1);
    let text: String = blocks
        .map(|block| block.split("```").next().unwrap_or_default())
        .collect();
    let lines = text.replace("\\\n", " ");
    Ok(lines.lines().map(str::to_owned).collect())
}

fn shell(command: &str, folder: &Path, kubeconfig: &Path) -> Result<Command> {
    let built = Path::new(env!("CARGO_BIN_EXE_foredeck"));
    let own = built.parent().context("a folder")?.to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([own].into_iter().chain(std::env::split_paths(&path)))?;
    let mut shell = Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c", command])
        .current_dir(folder)
        .env("PATH", path)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null());
    Ok(shell)
}

/// Starts a controller in a Pod's place, as its own `ServiceAccount`, and stops it once it is ready.
async fn becomes_ready(command: &str, folder: &Path, kubeconfig: &Path) -> Result<()> {
    let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let log = folder.join("controller.log");
    let child = shell(&format!("exec {command}"), folder, kubeconfig)?
        .env("FOREDECK_ADMIN_LISTEN", &admin)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?)
        .spawn()?;
    let mut started = Started(child);
    wait_for(command, PATIENCE, async || {
        let answer = reqwest::get(format!("http://{admin}/readyz")).await;
        let said = answer.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        ensure!(said.status().is_success(), "{}", said.text().await?);
        Ok(())
    })
    .await?;
    // Its Lease is given back only by one that is asked to end.
    let pid = started.0.id().to_string();
    Command::new("kill").arg(&pid).status()?;
    ensure!(started.0.wait()?.success(), "{command}");
    Ok(())
}

#[tokio::test]
async fn the_commands_install_foredeck_and_start_it() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join(PAGE))?;
    let plane = ControlPlane::start().await?;
    let team = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    plane.apply(&team.to_string()).await?;
    let folder: PathBuf = plane.directory().join("desk");
    fs::create_dir(&folder)?;
    for name in ["crds", "examples"] {
        symlink(root.join(name), folder.join(name))?;
    }
    let controller = "system:serviceaccount:foredeck-system:foredeck-controller";
    let controller = plane.kubeconfig_as(controller, &[], None)?;

    let mut starts = 0;
    for heading in ["Install", "Run"] {
        for command in commands(&page, heading)? {
            match command.split(' ').next() {
                Some("foredeck") if command.starts_with("foredeck controller") => {
                    ensure!(command.contains("--allow-gate-host"), "{command}");
                    becomes_ready(&command, &folder, &controller).await?;
                    starts += 1;
                }
                Some("kubectl" | "foredeck") => {
                    let admin = plane.admin_kubeconfig();
                    let output = shell(&command, &folder, admin)?.output()?;
                    let error = String::from_utf8_lossy(&output.stderr);
                    ensure!(output.status.success(), "{command}: {error}");
                }
                Some("helm") => {
                    let (asked, file) = command.split_once(" > ").context("a file")?;
                    let words = asked.split_whitespace().map(|word| word.trim_matches('\''));
                    let words: Vec<&str> = words.collect();
                    let ["helm", "template", "foredeck", chart, arguments @ ..] = &words[..] else {
                        bail!("{command}");
                    };
                    let rendered = helm::template(&root.join(chart), arguments).await?;
                    fs::write(folder.join(file), rendered)?;
                }
                // Asks whoever runs already.
                Some("curl") => {}
                _ => bail!("{PAGE} has a command that nobody runs: {command}"),
            }
        }
    }
    assert_eq!(starts, 3);
    Ok(())
}
