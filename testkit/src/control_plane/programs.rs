//! Where etcd and kube-apiserver come from: `KUBEBUILDER_ASSETS`, or a build with Go that happens once.
//!
//! Touches the target folder, and runs `go`. No registry ships a kube-apiserver, but its Go modules are published.

use std::collections::VecDeque;
use std::env::{self, consts};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};

/// The field's convention for bringing one's own programs.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// Smaller programs, without symbols for debuggers.
const LINK_FLAGS: &str = "-s -w";

/// Long enough not to fill a screen, short enough that nobody thinks that it hangs.
const BETWEEN_REPORTS: Duration = Duration::from_secs(15);

/// How much of Go's output a failed build quotes.
const QUOTED_LINES: usize = 40;

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
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the testkit is no member of a workspace")?;
        // A relative target folder is taken from the workspace: cargo's own working directory is not known here.
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| workspace.join("target"), |set| workspace.join(set));
        let recipe = Recipe::read(&workspace.join("testkit").join("kubernetes"))?;
        recipe.build_once(&target.join("testkit").join("kubernetes"))
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
        let hash = digest(&SHA256, format!("{go_mod}\n{go_sum}").as_bytes());
        let hash = hash
            .as_ref()
            .first_chunk()
            .map(|bytes| u64::from_be_bytes(*bytes))
            .context("a hash is longer than that")?;
        Ok(Self {
            module: module.to_owned(),
            go_version: after("go")?,
            etcd_version: after("go.etcd.io/etcd/server/v3")?,
            key: format!(
                "{kubernetes_version}-{}-{}-{hash:016x}",
                consts::OS,
                consts::ARCH
            ),
            kubernetes_version,
        })
    }

    /// Gives the programs below `builds`, after building them if no process has done so yet.
    fn build_once(&self, builds: &Path) -> Result<Programs> {
        let built = builds.join(&self.key);
        if built.is_dir() {
            return Programs::in_folder(&built);
        }
        fs::create_dir_all(builds)
            .with_context(|| format!("cannot create {}", builds.display()))?;
        let _lock = lock(&builds.join("lock"))?;
        if built.is_dir() {
            return Programs::in_folder(&built);
        }

        self.require_go()?;
        say(&format!(
            "building kube-apiserver {} and etcd {} with Go: this takes about four minutes, and happens once",
            self.kubernetes_version, self.etcd_version
        ));
        let started = Instant::now();
        // Only the holder of the lock is here; what lies there is left over from a build that was stopped.
        let unfinished = builds.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)
                .with_context(|| format!("cannot remove {}", unfinished.display()))?;
        }
        fs::create_dir(&unfinished)
            .with_context(|| format!("cannot create {}", unfinished.display()))?;
        self.build(
            "go.etcd.io/etcd/server/v3",
            &unfinished.join("etcd"),
            LINK_FLAGS,
        )?;
        self.build(
            "k8s.io/kubernetes/cmd/kube-apiserver",
            &unfinished.join("kube-apiserver"),
            &self.version_flags()?,
        )?;
        fs::rename(&unfinished, &built)
            .with_context(|| format!("cannot create {}", built.display()))?;
        say(&format!(
            "built in {} s: {}",
            started.elapsed().as_secs(),
            built.display()
        ));
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
        let mut go = Command::new("go")
            // -v names each compiled package: a sign of life.
            .args(["build", "-v", "-trimpath", "-ldflags", link_flags, "-o"])
            .arg(program)
            .arg(package)
            .current_dir(&self.module)
            // Static programs that need no C compiler, from this module alone.
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run go")?;
        let output = go.stderr.take().context("go has no standard error")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });

        let started = Instant::now();
        let mut next_report = started + BETWEEN_REPORTS;
        let mut packages: usize = 0;
        let mut tail = VecDeque::new();
        loop {
            match lines.recv_timeout(next_report.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    packages += 1;
                    tail.push_back(line);
                    if tail.len() > QUOTED_LINES {
                        tail.pop_front();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= next_report {
                next_report += BETWEEN_REPORTS;
                let seconds = started.elapsed().as_secs();
                say(&format!(
                    "still building {package}: {packages} packages in {seconds} s"
                ));
            }
        }
        let status = go.wait().context("cannot wait for go")?;
        ensure!(
            status.success(),
            "go could not build {package} ({status}):\n{}",
            Vec::from(tail).join("\n")
        );
        Ok(())
    }
}

/// Several test processes start at once, and one of them builds.
fn lock(path: &Path) -> Result<File> {
    let lock = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    if lock.try_lock().is_err() {
        say("another process builds etcd and kube-apiserver: waiting for it");
        lock.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(lock)
}

/// Tells the person in front of the terminal, also under `cargo test`: that captures `eprintln!`, but not this.
fn say(line: &str) {
    // Progress that nobody can read is no reason to fail.
    let _ = writeln!(io::stderr(), "foredeck-testkit: {line}");
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
