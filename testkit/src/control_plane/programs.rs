//! Where etcd and kube-apiserver come from: `KUBEBUILDER_ASSETS`, or a build with Go that happens once.
//!
//! Touches the target folder, and runs `go`. No registry ships a kube-apiserver, but its Go modules are published.

use std::env::{self, consts};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::provision::{Places, once, run, say, short_hash};

/// The field's convention for bringing one's own programs.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// Smaller programs, without symbols for debuggers.
const LINK_FLAGS: &str = "-s -w";

/// The two programs of a control plane.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub(super) etcd: PathBuf,
    pub(super) kube_apiserver: PathBuf,
}

impl Programs {
    /// Finds the programs, or builds them. Blocks for minutes in the latter case.
    pub(super) fn find_or_build() -> Result<Self> {
        if let Some(folder) = env::var_os(ASSETS).filter(|folder| !folder.is_empty()) {
            return Self::in_folder(Path::new(&folder)).with_context(|| {
                format!("{ASSETS} has to name a folder with etcd and kube-apiserver; unset it to have them built with Go")
            });
        }
        let places = Places::find()?;
        let recipe = Recipe::read(&places.testkit.join("kubernetes"))?;
        recipe.build_once(&places.kept.join("kubernetes"))
    }

    fn in_folder(folder: &Path) -> Result<Self> {
        let find = |name| {
            let program = folder.join(name);
            ensure!(
                program.is_file(),
                "there is no {name} in {}",
                folder.display()
            );
            Ok(program)
        };
        Ok(Self {
            etcd: find("etcd")?,
            kube_apiserver: find("kube-apiserver")?,
        })
    }
}

/// What is built: the folder of the Go module, and what its files say.
struct Recipe {
    module: PathBuf,
    go_version: String,
    kubernetes_version: String,
    etcd_version: String,
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
        let after = |word: &str| {
            let version = go_mod.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                (words.next() == Some(word)).then(|| words.next()).flatten()
            });
            let version = version.with_context(|| format!("go.mod has no line `{word} <version>`"));
            version.map(str::to_owned)
        };
        let kubernetes_version = after("k8s.io/kubernetes")?;
        let hash = short_hash(&format!("{go_mod}\n{go_sum}"));
        Ok(Self {
            module: module.to_owned(),
            go_version: after("go")?,
            etcd_version: after("go.etcd.io/etcd/server/v3")?,
            key: format!(
                "{kubernetes_version}-{}-{}-{hash}",
                consts::OS,
                consts::ARCH
            ),
            kubernetes_version,
        })
    }

    /// Gives the programs below `builds`, after building them if no process has done so yet.
    fn build_once(&self, builds: &Path) -> Result<Programs> {
        let built = once(builds, &self.key, "etcd and kube-apiserver", |folder| {
            self.require_go()?;
            say(format_args!(
                "building kube-apiserver {} and etcd {} with Go: this takes about four minutes, and happens once",
                self.kubernetes_version, self.etcd_version
            ));
            self.build(
                "go.etcd.io/etcd/server/v3",
                &folder.join("etcd"),
                LINK_FLAGS,
            )?;
            self.build(
                "k8s.io/kubernetes/cmd/kube-apiserver",
                &folder.join("kube-apiserver"),
                &self.version_flags()?,
            )
        })?;
        Programs::in_folder(&built)
    }

    /// Tells somebody who is new here what to do, before any word of building.
    fn require_go(&self) -> Result<()> {
        let found = Command::new("go").arg("version").output();
        ensure!(
            found.is_ok_and(|output| output.status.success()),
            "the tests' Kubernetes control plane is built with Go, and there is no `go` on the PATH: \
             install Go {} or newer (https://go.dev/dl/), or set {ASSETS} to a folder with etcd and kube-apiserver",
            self.go_version
        );
        Ok(())
    }

    /// Without these the API server reports a placeholder for its version, and kubectl complains about skew.
    fn version_flags(&self) -> Result<String> {
        let mut numbers = self.kubernetes_version.trim_start_matches('v').split('.');
        let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
            bail!("{} is no Kubernetes version", self.kubernetes_version);
        };
        let package = "k8s.io/component-base/version";
        let version = &self.kubernetes_version;
        Ok(format!(
            "{LINK_FLAGS} -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
        ))
    }

    fn build(&self, package: &str, program: &Path, link_flags: &str) -> Result<()> {
        let mut go = Command::new("go");
        // -v names each compiled package: a sign of life.
        go.args(["build", "-v", "-trimpath", "-ldflags", link_flags, "-o"])
            .arg(program)
            .arg(package)
            .current_dir(&self.module)
            // Static programs that need no C compiler, from this module alone.
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off");
        run(go, &format!("build {package} with Go"), "packages")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_and_a_key_are_read_from_the_go_module() {
        let recipe =
            Recipe::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes")).unwrap();
        assert!(
            recipe.kubernetes_version.starts_with("v1."),
            "{}",
            recipe.kubernetes_version
        );
        assert!(
            recipe.etcd_version.starts_with("v3."),
            "{}",
            recipe.etcd_version
        );
        assert!(recipe.go_version.starts_with("1."), "{}", recipe.go_version);
        assert!(
            recipe.key.starts_with(&recipe.kubernetes_version),
            "{}",
            recipe.key
        );
        let flags = recipe.version_flags().unwrap();
        assert!(
            flags.contains(".gitMajor=1 ") && !flags.contains("//"),
            "{flags}"
        );
    }
}
