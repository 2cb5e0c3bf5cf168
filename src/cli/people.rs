//! Where the people are whom roles know. Touches nothing.

use clap::Args;

use super::values;

/// What every role takes that knows people: one in `foredeck run`.
#[derive(Args, Clone, Debug)]
pub(super) struct PeopleArguments {
    /// Namespace in which Persons count
    #[arg(long, value_name = "NAME", env = "FOREDECK_PEOPLE_NAMESPACE", default_value = "foredeck-system", value_parser = values::namespace)]
    pub(super) people_namespace: String,
}
