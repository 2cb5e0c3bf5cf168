//! The flags of the hosts of repositories. Touches nothing.

use clap::Args;

use super::values;
use crate::{
    domain::hosts::HostPattern,
    git::{self, GitMetrics},
    runtime::metrics::Metrics,
};

/// What every role takes that asks repositories.
#[derive(Args, Clone, Debug)]
pub(super) struct GitArguments {
    /// Host that an Application's repository may be at, perhaps with a port (`github.corp.example:8443`); `*` stands for any
    /// characters. Repeat it or separate with commas
    #[arg(
        long = "allow-git-host",
        value_name = "HOST",
        env = "FOREDECK_ALLOW_GIT_HOST",
        value_delimiter = ',',
        default_value = git::GITHUB,
        value_parser = values::host_pattern
    )]
    pub(super) git_hosts: Vec<HostPattern>,
}

/// How repositories are asked, and where that is counted.
#[derive(Clone, Debug)]
pub(super) struct Git {
    pub(super) settings: git::Settings,
    pub(super) metrics: GitMetrics,
}

impl GitArguments {
    /// How repositories are asked.
    pub(super) fn settings(self) -> git::Settings {
        git::Settings {
            allowed: self.git_hosts,
            ..git::Settings::default()
        }
    }

    /// Once in a process, since what is counted is registered here.
    pub(super) fn open(self, metrics: &Metrics) -> Git {
        Git {
            settings: self.settings(),
            metrics: GitMetrics::register(metrics),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: GitArguments,
    }

    fn hosts(line: &str) -> Result<Vec<String>, String> {
        Line::try_parse_from(format!("role {line}").split_whitespace())
            .map(|line| {
                let hosts = line.arguments.git_hosts.iter();
                hosts.map(ToString::to_string).collect()
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn githubs_own_is_allowed_unless_others_are_named() {
        assert_eq!(hosts("").unwrap(), ["api.github.com"]);
        assert_eq!(
            hosts("--allow-git-host github.corp.example,*.git.example:8443").unwrap(),
            ["github.corp.example", "*.git.example:8443"]
        );
        let refused = hosts("--allow-git-host https://github.com").unwrap_err();
        assert!(refused.contains("not a host"), "{refused}");
    }
}
