//! The image is what .ci/run builds: the Dockerfile has no step of its own, and everything that is fetched to make a release is
//! pinned.

use std::{fs, path::Path};

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
    let built_in = format!("rust:{version}-bookworm");
    ensure!(from.len() == 2 && from[0].starts_with(&built_in) && from[0].ends_with(" AS build"));
    ensure!(
        from[1].starts_with("gcr.io/distroless/static-debian12:nonroot"),
        "{from:?}"
    );
    ensure!(read(".github/workflows/release.yaml")?.contains(&format!("container: {built_in}\n")));
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
