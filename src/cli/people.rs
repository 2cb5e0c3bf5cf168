//! Where the people are whom roles know. Touches nothing.

use std::time::Duration;

use clap::Args;

use super::values;

/// What every role takes that knows people: one in `foredeck run`.
#[derive(Args, Clone, Debug)]
pub(super) struct PeopleArguments {
    /// Foredeck's own namespace: Persons count there, and its connections may be shared with other namespaces
    #[arg(long, value_name = "NAME", env = "FOREDECK_HOME_NAMESPACE", default_value = "foredeck-system", value_parser = values::namespace)]
    pub(super) home_namespace: String,

    /// How old the groups of a person in Slack may be; older, and the request waits
    #[arg(long, value_name = "DURATION", env = "FOREDECK_GROUPS_MAX_AGE", default_value = "10m", value_parser = values::groups_max_age)]
    pub(super) groups_max_age: Duration,
}
