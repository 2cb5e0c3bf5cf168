//! The image is what .ci/run builds: the Dockerfile has no step of its own, everything that is fetched to make a release is
//! pinned, and no tag but that of a tested commit of main becomes one. Touches a git repository of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};

fn read(path: &str) -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).with_context(|| path.to_owned())
}

/// The Dockerfile's instructions: the word, and what follows it.
fn instructions(dockerfile: &str) -> Vec<(&str, &str)> {
    let lines = dockerfile.lines().map(str::trim_end);
    lines
        .filter(|line| !line.starts_with(['#', ' ']))
        .filter_map(|line| line.split_once(' '))
        .collect()
}

/// An image without its digest, if one stands behind it.
fn tag(image: &str) -> Result<&str> {
    let Some((tag, digest)) = image.split_once('@') else {
        return Ok(image);
    };
    let digits = digest.strip_prefix("sha256:").context("no sha256")?;
    ensure!(
        digits.len() == 64 && digits.chars().all(|digit| digit.is_ascii_hexdigit()),
        "{image}"
    );
    Ok(tag)
}

#[test]
fn the_dockerfile_runs_what_is_run_without_docker_and_nothing_else() -> Result<()> {
    let dockerfile = read("Dockerfile")?;
    let all = instructions(&dockerfile);
    let of = |word: &str| -> Vec<&str> {
        let found = all.iter().filter(|(known, _)| *known == word);
        found.map(|(_, rest)| *rest).collect()
    };
    ensure!(of("RUN") == [".ci/build --tools", ".ci/build /out/foredeck"]);
    ensure!(read(".ci/run")?.contains("\n  .ci/build target/image/foredeck\n"));
    let toolchain = read("rust-toolchain.toml")?;
    let version = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = "))
        .context("no channel")?
        .trim_matches('"');
    let from = of("FROM");
    ensure!(from.len() == 2, "{from:?}");
    let builder = from[0].strip_suffix(" AS build").context("no build")?;
    ensure!(tag(builder)? == format!("rust:{version}-bookworm"));
    ensure!(tag(from[1])? == "gcr.io/distroless/static-debian12:nonroot");
    // What is behind the last FROM is in the image.
    let last = all.iter().rposition(|(word, _)| *word == "FROM");
    let image = &all[last.context("no FROM")? + 1..];
    let copied: Vec<_> = image
        .iter()
        .filter(|(word, _)| matches!(*word, "COPY" | "ADD"))
        .collect();
    ensure!(
        copied == [&("COPY", "--from=build /out/foredeck /foredeck")],
        "{copied:?}"
    );
    ensure!(image.contains(&("USER", "65532:65532")));
    ensure!(image.contains(&("ENTRYPOINT", "[\"/foredeck\"]")));
    Ok(())
}

#[test]
fn a_release_builds_in_what_the_dockerfile_names_with_digests_that_it_asks_for_once() -> Result<()>
{
    let workflow = read(".github/workflows/release.yaml")?;
    for line in [
        "run: .ci/releasable \"$TAG\" | tee --append \"$GITHUB_OUTPUT\"",
        "container: ${{ needs.version.outputs.builder }}",
        "${{ needs.version.outputs.builder-named }}=docker-image://${{ needs.version.outputs.builder }}",
        "${{ needs.version.outputs.base-named }}=docker-image://${{ needs.version.outputs.base }}",
        "BUILDER: ${{ needs.version.outputs.builder }}",
        "BASE: ${{ needs.version.outputs.base }}",
    ] {
        let found = workflow.lines().filter(|found| found.trim() == line);
        ensure!(found.count() == 1, "not once: {line}");
    }
    // Each job comes after the one that asks, and no other place names an image to build in or on.
    let jobs = workflow.matches("runs-on: ").count();
    ensure!(workflow.matches("    needs: ").count() == jobs - 1);
    ensure!(!workflow.contains("rust:") && !workflow.contains("distroless"));
    Ok(())
}

#[test]
fn the_image_runs_as_who_the_chart_says() -> Result<()> {
    let pods = read("charts/foredeck/templates/_pods.tpl")?;
    ensure!(pods.contains("runAsUser: 65532\n") && pods.contains("runAsGroup: 65532\n"));
    Ok(())
}

#[test]
fn every_action_is_pinned_by_commit_and_no_workflow_has_rights_that_it_does_not_name() -> Result<()>
{
    for path in [
        ".github/workflows/ci.yaml",
        ".github/workflows/release.yaml",
    ] {
        let workflow = read(path)?;
        for line in workflow.lines() {
            let Some((_, action)) = line.split_once("uses: ") else {
                continue;
            };
            let (_, pin) = action.split_once('@').with_context(|| line.to_owned())?;
            let (commit, version) = pin.split_once(" # v").with_context(|| line.to_owned())?;
            ensure!(
                commit.len() == 40 && commit.chars().all(|digit| digit.is_ascii_hexdigit()),
                "{path}: {line}"
            );
            ensure!(
                version.starts_with(|digit: char| digit.is_ascii_digit()),
                "{path}: {line}"
            );
        }
        let checkouts = workflow.matches("uses: actions/checkout@").count();
        ensure!(
            checkouts == workflow.matches("persist-credentials: false").count(),
            "{path}"
        );
        ensure!(workflow.contains("\npermissions:"), "{path}");
        ensure!(!workflow.contains("pull_request_target"), "{path}");
        let jobs = workflow.matches("runs-on: ").count();
        ensure!(
            jobs == workflow.matches("timeout-minutes: ").count(),
            "{path}"
        );
    }
    Ok(())
}

/// A repository in which 0.2.0 can be released, with a GitHub and a registry that answer what they are told to.
struct Repository(PathBuf);

impl Repository {
    fn new(name: &str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let repository = Self(folder);
        let pinned = format!("FROM base:nonroot@sha256:{}\n", "b".repeat(64));
        repository.write("Dockerfile", &format!("FROM rust:1 AS build\n{pinned}"))?;
        repository.write("Cargo.toml", "[workspace.package]\nversion = \"0.2.0\"\n")?;
        let chart = "version: 0.2.0\nappVersion: 0.2.0\n";
        repository.write("charts/foredeck/Chart.yaml", chart)?;
        repository.write("CHANGELOG.md", "## [0.2.0] - today\n")?;
        repository.program(".ci/releasable", &read(".ci/releasable")?)?;
        let gh = "#!/bin/sh\nprintf '%s' \"$*\" >asked\necho \"$PASSED\"\n";
        repository.program("bin/gh", gh)?;
        let docker = format!("#!/bin/sh\necho '\"sha256:{}\"'\n", "a".repeat(64));
        repository.program("bin/docker", &docker)?;
        repository.git(&["init", "--quiet"])?;
        repository.git(&["add", "."])?;
        repository.git(&["commit", "--quiet", "--message", "0.2.0"])?;
        repository.git(&["update-ref", "refs/remotes/origin/main", "HEAD"])?;
        Ok(repository)
    }

    fn write(&self, path: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(&path, text)?;
        Ok(path)
    }

    fn program(&self, path: &str, text: &str) -> Result<()> {
        let path = self.write(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=alice",
                "-c",
                "user.email=alice@harbor.example",
            ])
            .args(arguments)
            .current_dir(&self.0)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "git {arguments:?}: {said}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// What .ci/releasable says of a tag, when so many runs of ci have passed.
    fn releasable(&self, tag: &str, passed: &str) -> Result<Output> {
        let path = std::env::var("PATH")?;
        let bin = self.0.join("bin");
        Ok(Command::new(self.0.join(".ci/releasable"))
            .arg(tag)
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("PASSED", passed)
            .output()?)
    }

    fn refuses(&self, tag: &str, passed: &str, because: &str) -> Result<()> {
        let output = self.releasable(tag, passed)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && output.stdout.is_empty());
        ensure!(said.contains(because), "{tag}: {said}");
        Ok(())
    }
}

#[test]
fn a_tag_of_a_tested_commit_of_main_is_released_in_images_with_digests() -> Result<()> {
    let repository = Repository::new("released")?;
    repository.git(&["tag", "v0.2.0"])?;
    let output = repository.releasable("v0.2.0", "1")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let printed = String::from_utf8(output.stdout)?;
    let printed: Vec<_> = printed.lines().collect();
    ensure!(printed[0] == "version=0.2.0", "{printed:?}");
    ensure!(
        printed[1] == format!("epoch={}", repository.git(&["log", "-1", "--format=%ct"])?),
        "{printed:?}"
    );
    ensure!(
        printed[2..]
            == [
                "builder-named=rust:1".to_owned(),
                format!("builder=rust:1@sha256:{a}"),
                format!("base-named=base:nonroot@sha256:{b}"),
                format!("base=base:nonroot@sha256:{b}"),
            ],
        "{printed:?}"
    );
    // Which runs count.
    let asked = fs::read_to_string(repository.0.join("asked"))?;
    let commit = repository.git(&["rev-parse", "HEAD"])?;
    for wanted in [
        "--workflow ci.yaml",
        &format!("--commit {commit}"),
        "--branch main",
        "--event push",
        "--status success",
    ] {
        ensure!(asked.contains(wanted), "{asked}");
    }
    Ok(())
}

#[test]
fn no_other_tag_is_released() -> Result<()> {
    let repository = Repository::new("refused")?;
    repository.refuses("v0.2.0", "1", "no such tag")?;
    repository.git(&["tag", "v0.2.0"])?;
    repository.refuses("v0.2.0", "0", "ci has not passed")?;
    repository.git(&["tag", "v0.3.0"])?;
    repository.refuses("v0.3.0", "1", "Cargo.toml has no line")?;
    repository.git(&["tag", "v0x2.0"])?;
    repository.refuses("v0x2.0", "1", "Cargo.toml has no line")?;
    repository.git(&["commit", "--quiet", "--allow-empty", "--message", "mine"])?;
    repository.refuses("v0.2.0", "1", "something else is checked out")?;
    repository.git(&["tag", "--force", "v0.2.0"])?;
    repository.refuses("v0.2.0", "1", "is not on main")?;
    repository.git(&["update-ref", "refs/remotes/origin/main", "HEAD"])?;
    repository.program("bin/docker", "#!/bin/sh\necho null\n")?;
    repository.refuses("v0.2.0", "1", "has no digest")?;
    repository.write(
        "charts/foredeck/Chart.yaml",
        "version: 0.2.0\nappVersion: 0.1.0\n",
    )?;
    repository.refuses("v0.2.0", "1", "appVersion: 0.2.0")
}
