//! Where traces go, and which, from the flag and the variables that OpenTelemetry has for it. Touches nothing.

use std::time::Duration;

use reqwest::Url;

/// How long spans are gathered.
const GATHER: Duration = Duration::from_secs(5);
/// The longest that a variable may ask for.
const LONGEST_GATHER: Duration = Duration::from_mins(1);

/// Where traces go, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// Where spans are posted to.
    pub(super) endpoint: Url,
    /// Traces are kept whose first 32 bits are at most this.
    pub(super) kept: u32,
    /// How long spans are gathered.
    pub(super) gather: Duration,
}

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The collector's address is none.
    #[error("{0} must be an http or https address")]
    Endpoint(&'static str),
    /// This binary can't send any.
    #[error(
        "a collector for traces is configured, and this foredeck was built without them; leave out --otlp-endpoint and OTEL_EXPORTER_OTLP_ENDPOINT, or take a build with the feature `traces`"
    )]
    NotBuilt,
    /// OpenTelemetry's exporter refuses its settings.
    #[error("traces can't be set up by the OTEL_EXPORTER_OTLP variables: {0}")]
    Exporter(String),
    /// Set up before in this process.
    #[error("traces are already set up")]
    Installed,
}

impl TraceError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Endpoint(_) => "TraceEndpointInvalid",
            Self::NotBuilt => "TracesNotBuilt",
            Self::Exporter(_) => "TraceExporterInvalid",
            Self::Installed => "TracesInstalledTwice",
        }
    }
}

impl TraceSettings {
    /// From the collector that a flag names, and the environment; `None` where nobody wants traces.
    ///
    /// # Errors
    /// When the collector's address is none.
    pub fn read(
        collector: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, TraceError> {
        let variable = |name: &str| {
            variable(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let (base, traces) = (
            "--otlp-endpoint (OTEL_EXPORTER_OTLP_ENDPOINT)",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        );
        let (text, name) = match (variable(traces), collector.map(str::trim)) {
            (Some(whole), _) => (whole, traces),
            (None, Some(collector)) if !collector.is_empty() => (
                format!("{}/v1/traces", collector.trim_end_matches('/')),
                base,
            ),
            (None, _) => return Ok(None),
        };
        let endpoint = text
            .parse::<Url>()
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or(TraceError::Endpoint(name))?;
        let is_off = |name: &str, word: &str| {
            variable(name).is_some_and(|value| value.eq_ignore_ascii_case(word))
        };
        if is_off("OTEL_SDK_DISABLED", "true") || is_off("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let sampler = variable("OTEL_TRACES_SAMPLER").unwrap_or_default();
        let kept = match sampler.trim_start_matches("parentbased_") {
            "always_off" => return Ok(None),
            "traceidratio" => variable("OTEL_TRACES_SAMPLER_ARG")
                .and_then(|part| part.parse::<f64>().ok())
                .map_or(u32::MAX, share),
            _ => u32::MAX,
        };
        if kept == 0 {
            return Ok(None);
        }
        let gather = variable("OTEL_BSP_SCHEDULE_DELAY")
            .and_then(|delay| delay.parse().ok())
            .map_or(GATHER, Duration::from_millis);
        Ok(Some(Self {
            endpoint,
            kept,
            gather: gather.min(LONGEST_GATHER),
        }))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of what fits"
)]
fn share(part: f64) -> u32 {
    (part.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(
        flag: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<Option<TraceSettings>, String> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        TraceSettings::read(flag, |name| {
            variables.get(name).map(|one| (*one).to_owned())
        })
        .map_err(|error| error.to_string())
    }

    fn endpoint(flag: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        read(flag, variables)
            .unwrap()
            .map(|settings| settings.endpoint.to_string())
    }

    #[test]
    fn traces_go_where_opentelemetry_says() {
        let all = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        assert_eq!(endpoint(None, &[]), None);
        assert_eq!(endpoint(Some(" "), &[(all, "")]), None);
        for (flag, variables, expected) in [
            (Some("http://a:4318"), vec![], "http://a:4318/v1/traces"),
            (Some("http://a:4318/"), vec![], "http://a:4318/v1/traces"),
            (Some("https://a/otel"), vec![], "https://a/otel/v1/traces"),
            (Some("http://a"), vec![(all, "http://b/x")], "http://b/x"),
            (None, vec![(all, "http://b/x")], "http://b/x"),
        ] {
            assert_eq!(endpoint(flag, &variables).as_deref(), Some(expected));
        }
        for wrong in ["collector:4317", "grpc://a", "a b", "/x"] {
            assert!(
                read(Some(wrong), &[])
                    .unwrap_err()
                    .contains("--otlp-endpoint")
            );
            assert!(read(None, &[(all, wrong)]).unwrap_err().contains(all));
        }
    }

    #[test]
    fn how_many_traces_are_kept_is_the_samplers_word() {
        let kept = |sampler: &str, part: &str| {
            let variables = [
                ("OTEL_TRACES_SAMPLER", sampler),
                ("OTEL_TRACES_SAMPLER_ARG", part),
            ];
            let settings = read(Some("http://a"), &variables).unwrap();
            settings.map(|settings| settings.kept)
        };
        assert_eq!(kept("", ""), Some(u32::MAX));
        assert_eq!(kept("parentbased_always_on", "0.1"), Some(u32::MAX));
        assert_eq!(kept("traceidratio", "0.5"), Some(u32::MAX / 2));
        assert_eq!(kept("parentbased_traceidratio", "7"), Some(u32::MAX));
        assert_eq!(kept("traceidratio", "much"), Some(u32::MAX));
        assert_eq!(kept("traceidratio", "0"), None);
        assert_eq!(kept("parentbased_always_off", ""), None);
        let off = [("OTEL_SDK_DISABLED", "true")];
        assert_eq!(read(Some("http://a"), &off).unwrap(), None);
        let delay = [("OTEL_BSP_SCHEDULE_DELAY", "100")];
        let settings = read(Some("http://a"), &delay).unwrap().unwrap();
        assert_eq!(settings.gather, Duration::from_millis(100));
    }
}
