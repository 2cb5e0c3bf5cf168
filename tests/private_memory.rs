//! The memory of the real binary is its own, whatever it is told to do: it may leave no core dump, and its files below
//! `/proc` belong to root.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck_testkit::wait_for;

const PATIENCE: Duration = Duration::from_secs(30);
/// Who is nobody on any machine.
const NOBODY: u32 = 65_534;

/// Each way to start the binary. What only prints may have ended when it is looked at: of that, the limit alone tells.
const SUBCOMMANDS: [&[&str]; 6] = [
    &["controller", "--admin-listen", "off"],
    &["receiver", "--admin-listen", "off"],
    &["relay", "--admin-listen", "off"],
    &["run", "--admin-listen", "off"],
    &["crds"],
    &["slack-manifest"],
];

struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A place that a user without any rights can read.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Self> {
        let place = std::env::temp_dir().join(format!("foredeck-private-{}", std::process::id()));
        fs::create_dir_all(&place)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
        Ok(Self(place))
    }

    fn binary(&self) -> Result<PathBuf> {
        let binary = self.0.join("foredeck");
        fs::copy(env!("CARGO_BIN_EXE_foredeck"), &binary)?;
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
        Ok(binary)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A user that isn't root: files of root's are told from its own.
fn as_somebody(command: &mut Command) -> u32 {
    let own = fs::metadata("/proc/self").map_or(0, |own| own.uid());
    if own != 0 {
        return own;
    }
    command.uid(NOBODY).gid(NOBODY);
    NOBODY
}

/// How large a core it may leave: at most now, and at most ever.
fn core(child: &Child) -> Result<[String; 2]> {
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id()))?;
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let mut words = core.unwrap_or_default().split_whitespace();
    let mut next = || words.next().map(str::to_owned).context(limits.clone());
    Ok([next()?, next()?])
}

fn owner(child: &Child) -> Result<u32> {
    // Of the files below it; the folder itself stays the process's.
    let file = Path::new("/proc")
        .join(child.id().to_string())
        .join("environ");
    Ok(fs::metadata(file)?.uid())
}

#[tokio::test]
async fn no_subcommand_can_be_dumped_or_read_by_others() -> Result<()> {
    let place = Place::new()?;
    let binary = place.binary()?;
    // An API server that never answers: whoever needs one waits here.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let kubeconfig = place.0.join("kubeconfig");
    let server = format!("http://{}", silent.local_addr()?);
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
         clusters: [{{name: a, cluster: {{server: \"{server}\"}}}}]\nusers: [{{name: a, user: {{}}}}]\n"
    );
    fs::write(&kubeconfig, text)?;
    for arguments in SUBCOMMANDS {
        let mut command = Command::new(&binary);
        command
            .args(arguments)
            .env("KUBECONFIG", &kubeconfig)
            .env("SLACK_BOT_TOKEN", "xoxb-hush")
            .env("SLACK_APP_TOKEN", "xapp-hush")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let user = as_somebody(&mut command);
        let child = Started(command.spawn().context("start it")?);
        wait_for(
            &format!("private memory of {arguments:?}"),
            PATIENCE,
            async || {
                let owner = owner(&child.0)?;
                ensure!(owner == 0, "it belongs to {owner}, and runs as {user}");
                let core = core(&child.0)?;
                ensure!(core == ["0", "0"], "{core:?}");
                Ok(())
            },
        )
        .await?;
    }
    Ok(())
}

/// What the test above sees is the binary's doing. Of the core that shows only on a machine on which others may leave one.
#[test]
fn another_process_belongs_to_its_user_and_may_leave_a_core() -> Result<()> {
    let mut command = Command::new("sleep");
    command.arg("30");
    let user = as_somebody(&mut command);
    let child = Started(command.spawn()?);
    assert_eq!(owner(&child.0)?, user);
    if core(&child.0)?[1] == "0" {
        eprintln!("`ulimit -Hc` is 0 here: of the core, the test above shows the machine's doing");
    }
    Ok(())
}
