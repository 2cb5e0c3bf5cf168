//! The real helm, which renders, checks and installs a chart: `HELM`, an installed one, or a build with Go that happens once.
//!
//! Touches the target folder, and runs `helm` and `go`. No registry ships a helm, but its Go module is published.

use std::env::{self, consts};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::provision::{self, Places, once, say, short_hash};

/// Names a helm of one's own.
const HELM: &str = "HELM";

/// Smaller programs, without symbols for debuggers.
const LINK_FLAGS: &str = "-s -w";

/// The rendered manifests of the chart in that folder, as `helm template` prints them, one YAML stream.
///
/// `arguments` go to helm: `--set`, `--namespace`, `--show-only`, `--api-versions`. The first time on a machine without
/// helm it is built with Go, which takes minutes.
///
/// # Errors
/// When helm cannot be had, or refuses: then with its words.
pub async fn template(chart: &Path, arguments: &[&str]) -> Result<String> {
    let chart = path(chart)?;
    run(
        &[&["template", "foredeck", chart], arguments].concat(),
        None,
    )
    .await
}

/// What `helm lint --strict` says of the chart in that folder with those values.
///
/// # Errors
/// When helm cannot be had, or finds fault with it: then with its words.
pub async fn lint(chart: &Path, arguments: &[&str]) -> Result<String> {
    let chart = path(chart)?;
    run(&[&["lint", "--strict", chart], arguments].concat(), None).await
}

/// What helm prints when it is called with these arguments, for the cluster of that kubeconfig if it needs one.
///
/// # Errors
/// When helm cannot be had, or refuses: then with its words.
pub async fn run(arguments: &[&str], kubeconfig: Option<&Path>) -> Result<String> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let kubeconfig = kubeconfig.map(Path::to_owned);
    tokio::task::spawn_blocking(move || {
        let mut helm = Command::new(find_or_build()?);
        // Nothing of the machine's own configuration of helm, and no cluster but the one that is named.
        helm.args(&arguments)
            .env_remove("KUBECONFIG")
            .env("HELM_PLUGINS", "/nonexistent")
            .stdin(Stdio::null());
        if let Some(kubeconfig) = kubeconfig {
            helm.env("KUBECONFIG", kubeconfig);
        }
        let output = helm.output().context("cannot run helm")?;
        ensure!(
            output.status.success(),
            "helm {}: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    })
    .await
    .context("helm broke off")?
}

/// The helm program itself, for whoever runs commands that people would type.
///
/// # Errors
/// When it cannot be had.
pub async fn program() -> Result<PathBuf> {
    tokio::task::spawn_blocking(find_or_build)
        .await
        .context("the build broke off")?
}

fn path(chart: &Path) -> Result<&str> {
    chart
        .to_str()
        .with_context(|| format!("{} is no text", chart.display()))
}

/// What `HELM` names, else an installed one, else the one that Go builds.
fn find_or_build() -> Result<PathBuf> {
    if let Some(own) = env::var_os(HELM).filter(|own| !own.is_empty()) {
        let own = PathBuf::from(own);
        ensure!(
            answers(&own),
            "{HELM} is {}, which is no helm: name one, or unset it to have it built with Go",
            own.display()
        );
        return Ok(own);
    }
    let installed = PathBuf::from("helm");
    if answers(&installed) {
        return Ok(installed);
    }
    let places = Places::find()?;
    let recipe = Recipe::read(&places.testkit.join("helm"))?;
    recipe.build_once(&places.kept.join("helm"))
}

fn answers(helm: &Path) -> bool {
    let output = Command::new(helm).args(["version", "--short"]).output();
    output.is_ok_and(|output| output.status.success())
}

/// What is built: the folder of the Go module, and what its files say.
struct Recipe {
    module: PathBuf,
    helm_version: String,
    /// Of the Kubernetes that helm takes for granted when it asks none: `1.36`.
    kubernetes: (String, String),
    /// Changes with every change of go.mod, go.sum or the machine's kind, so that an outdated build is never found.
    key: String,
}

impl Recipe {
    fn read(module: &Path) -> Result<Self> {
        let read = |name| {
            let file = module.join(name);
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        let (go_mod, go_sum) = (read("go.mod")?, read("go.sum")?);
        let version = |wanted: &str| {
            let version = go_mod.lines().find_map(|line| {
                let mut words = line
                    .split_whitespace()
                    .skip_while(|word| *word == "require");
                (words.next() == Some(wanted))
                    .then(|| words.next())
                    .flatten()
            });
            version
                .map(str::to_owned)
                .with_context(|| format!("go.mod requires no {wanted}"))
        };
        let helm_version = version("helm.sh/helm/v3")?;
        // v0.36.3 is of Kubernetes 1.36.
        let client = version("k8s.io/client-go")?;
        let Some(minor) = client.split('.').nth(1) else {
            bail!("{client} is no version of client-go");
        };
        let hash = short_hash(&format!("{go_mod}\n{go_sum}"));
        Ok(Self {
            module: module.to_owned(),
            kubernetes: ("1".to_owned(), minor.to_owned()),
            key: format!("{helm_version}-{}-{}-{hash}", consts::OS, consts::ARCH),
            helm_version,
        })
    }

    /// Gives helm below `builds`, after building it if no process has done so yet.
    fn build_once(&self, builds: &Path) -> Result<PathBuf> {
        let built = once(builds, &self.key, "helm", |folder| {
            let found = Command::new("go").arg("version").output();
            ensure!(
                found.is_ok_and(|output| output.status.success()),
                "the chart is rendered by helm, which is built with Go where none is installed, and there is no `go` on \
                 the PATH: install Go (https://go.dev/dl/) or helm (https://helm.sh), or set {HELM} to one"
            );
            say(format_args!(
                "building helm {} with Go: this takes about two minutes, and happens once",
                self.helm_version
            ));
            let package = "helm.sh/helm/v3/cmd/helm";
            let mut go = Command::new("go");
            // -v names each compiled package: a sign of life.
            go.args([
                "build",
                "-v",
                "-trimpath",
                "-ldflags",
                &self.link_flags(),
                "-o",
            ])
            .arg(folder.join("helm"))
            .arg(package)
            .current_dir(&self.module)
            // A static program that needs no C compiler, from this module alone.
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off");
            provision::run(go, &format!("build {package} with Go"), "packages")
        })?;
        let helm = built.join("helm");
        ensure!(helm.is_file(), "there is no helm in {}", built.display());
        Ok(helm)
    }

    /// Without these helm takes Kubernetes for a 1.20, and refuses charts that need a newer one.
    fn link_flags(&self) -> String {
        let (major, minor) = &self.kubernetes;
        let package = "helm.sh/helm/v3/pkg/chartutil";
        format!(
            "{LINK_FLAGS} -X {package}.k8sVersionMajor={major} -X {package}.k8sVersionMinor={minor}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_and_a_key_are_read_from_the_go_module() {
        let recipe = Recipe::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("helm")).unwrap();
        assert!(
            recipe.helm_version.starts_with("v3."),
            "{}",
            recipe.helm_version
        );
        assert!(
            recipe.key.starts_with(&recipe.helm_version),
            "{}",
            recipe.key
        );
        let flags = recipe.link_flags();
        let minor = flags.rsplit('=').next().unwrap_or_default();
        assert!(
            minor.parse::<u8>().is_ok_and(|minor| minor >= 30),
            "{flags}"
        );
    }
}
