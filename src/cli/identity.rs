//! Who counts in Slack, under which name and with which groups, as flags of the receiver. Touches the environment, and the
//! file or the Vault that holds Okta's token.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use reqwest::Url;

use super::{
    people::PeopleArguments,
    secret::{Secrets, Source},
    slack::is,
    vault::KeyInVault,
};
use crate::identity::{
    NameRules, PeopleSettings,
    groups::{GroupPrefix, okta::OktaSettings},
    username::{EmailDomain, UsernameFormat},
};

/// How somebody in Slack becomes a user with groups.
#[derive(Args, Clone, Debug)]
pub(super) struct IdentityFlags {
    /// How the Kubernetes user name is made of a person's e-mail address; as the cluster's OIDC does it
    #[arg(
        long,
        value_name = "FORMAT",
        env = "FOREDECK_USERNAME_FORMAT",
        default_value_t
    )]
    username_format: UsernameFormat,

    /// A domain whose e-mail addresses count, exactly; any when none is given
    #[arg(
        long = "email-domain",
        value_name = "DOMAIN",
        env = "FOREDECK_EMAIL_DOMAIN",
        value_delimiter = ','
    )]
    email_domains: Vec<EmailDomain>,

    /// Takes Slack's user groups for groups. In many workspaces every member may edit them: have that restricted first
    #[arg(long, env = "FOREDECK_SLACK_GROUPS")]
    slack_groups: bool,

    /// What groups from Slack's user groups begin with
    #[arg(
        long,
        value_name = "PREFIX",
        env = "FOREDECK_SLACK_GROUP_PREFIX",
        default_value = "slack:"
    )]
    slack_group_prefix: GroupPrefix,

    /// The Okta organisation whose groups people have, such as <https://corp.okta.com>
    #[arg(long, value_name = "URL", env = "FOREDECK_OKTA_URL")]
    okta_url: Option<Url>,

    /// File that holds Okta's API token and may change; else `OKTA_API_TOKEN` does
    #[arg(long, value_name = "FILE", env = "OKTA_API_TOKEN_FILE")]
    okta_token_file: Option<PathBuf>,

    /// Where Vault holds Okta's API token, such as `foredeck/okta#token`
    #[arg(long, value_name = "PATH#KEY", env = "OKTA_API_TOKEN_VAULT")]
    okta_token_vault: Option<KeyInVault>,

    /// What groups from Okta begin with
    #[arg(
        long,
        value_name = "PREFIX",
        env = "FOREDECK_OKTA_GROUP_PREFIX",
        default_value = "okta:"
    )]
    okta_group_prefix: GroupPrefix,
}

impl IdentityFlags {
    /// What they come to.
    pub(super) async fn settings(
        self,
        people: PeopleArguments,
        secrets: &Secrets,
    ) -> Result<PeopleSettings> {
        let token = Source {
            name: "okta-token",
            variable: "OKTA_API_TOKEN",
            flag: "--okta-token",
            file: self.okta_token_file.as_ref(),
            vault: self.okta_token_vault.as_ref(),
            check: |secret| is(OktaSettings::check(secret)),
        };
        let okta = match &self.okta_url {
            Some(url) => {
                let what = "Okta's API token (in its admin console under Security, API, Tokens)";
                let token = secrets.required(&token, what).await?;
                let prefix = self.okta_group_prefix.clone();
                Some(OktaSettings::new(url, &token, prefix)?)
            }
            None => {
                ensure!(
                    self.okta_token_file.is_none() && self.okta_token_vault.is_none(),
                    "a token of Okta is given without --okta-url"
                );
                None
            }
        };
        Ok(PeopleSettings {
            namespace: people.home_namespace,
            names: NameRules {
                format: self.username_format,
                domains: self.email_domains,
            },
            limit: people.groups_max_age,
            slack_groups: self.slack_groups.then_some(self.slack_group_prefix),
            okta,
        })
    }
}
