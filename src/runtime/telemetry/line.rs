//! How a log line looks, so that whatever is said in it stays one line and in its own field. Touches nothing.

use std::fmt::{self, Debug};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::MakeExt,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{Writer, debug_fn},
    },
    registry::{LookupSpan, Scope},
};

/// One JSON object: `timestamp`, `level`, `target`, `message`, then all that is said in the line and around it, by one level of
/// dotted names. What is said in the line itself stands before what is said around it.
pub(super) struct Json;

/// What every line has; nothing else may take its place.
const OWN: [&str; 4] = ["timestamp", "level", "target", "message"];

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            let around = span.extensions();
            let Some(around) = around.get::<FormattedFields<N>>() else {
                continue;
            };
            if let Ok(Value::Object(around)) = serde_json::from_str(&around.fields) {
                for (name, value) in around {
                    fields.put(&name, value);
                }
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        // What comes from the crate `log` says itself where it is from.
        let target = fields.said.remove("log.target");
        fields.said.retain(|name, _| !name.starts_with("log."));
        let head = [
            ("timestamp", format!("{:.6}", Timestamp::now()).into()),
            ("level", metadata.level().as_str().into()),
            ("target", target.unwrap_or_else(|| metadata.target().into())),
            ("message", fields.message.into()),
        ];
        let head = head
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        for (number, (name, value)) in head.chain(fields.said).enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            write!(writer, "{before}{}:{value}", Value::String(name))?;
        }
        writer.write_str("}\n")
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    said: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        if OWN.contains(&name) {
            self.said.insert(format!("field.{name}"), value);
        } else {
            self.said.insert(name.to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field.name(), value.into());
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field.name(), super::chain(value).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The fields of a line of text: `name=value`, and the message as it is, each without a character that would end the line,
/// move the cursor or turn the direction of writing.
pub(super) fn text() -> impl for<'a> FormatFields<'a> + Send + Sync + 'static {
    debug_fn(
        |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
            let text = format!("{value:?}");
            match field.name() {
                "message" => {}
                name => write!(writer, "{name}=")?,
            }
            for character in text.chars() {
                if is_out_of_line(character) {
                    write!(writer, "{}", character.escape_unicode())?;
                } else {
                    writer.write_char(character)?;
                }
            }
            Ok(())
        },
    )
    .delimited(" ")
}

fn is_out_of_line(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str = "a\n{\"level\":\"ERROR\"}\r\u{1b}[31m\u{7}\u{9b}2J\" \u{202E}\u{2028}b\\";

    fn say() {
        let span = tracing::error_span!("pass", request.name = HOSTILE, duration_ms = 1_u64);
        span.in_scope(|| {
            tracing::warn!(
                target = "elsewhere",
                text = %HOSTILE,
                duration_ms = 2_u64,
                error = &io::Error::other(HOSTILE) as &(dyn std::error::Error + 'static),
                "said {HOSTILE}"
            );
        });
    }

    fn page(format: impl FnOnce(Page)) -> String {
        let page = Page::default();
        format(page.clone());
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_of_json_is_one_object_whatever_is_said_in_it() {
        let written = page(|page| {
            let layer = tracing_subscriber::fmt::layer()
                .json()
                .event_format(Json)
                .with_writer(move || page.clone());
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        });
        assert_eq!(written.matches('\n').count(), 1, "{written}");
        assert!(!written.contains('\u{1b}'), "{written}");
        assert!(written.starts_with("{\"timestamp\":\"2"), "{written}");
        let line: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["target"], module_path!());
        assert_eq!(line["field.target"], "elsewhere");
        assert_eq!(line["message"], format!("said {HOSTILE}"));
        assert_eq!(line["text"], HOSTILE);
        assert_eq!(line["error"], HOSTILE);
        assert_eq!(line["request.name"], HOSTILE);
        assert_eq!(line["duration_ms"], 2, "the line's own word counts");
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.len() == 27, "{time}");
    }

    #[test]
    fn a_line_of_text_stays_a_line_whatever_is_said_in_it() {
        let written = page(|page| {
            let layer = tracing_subscriber::fmt::layer()
                .fmt_fields(text())
                .with_ansi(false)
                .with_writer(move || page.clone());
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        });
        assert_eq!(written.matches('\n').count(), 1, "{written:?}");
        let line = written.trim_end_matches('\n');
        assert!(!line.chars().any(is_out_of_line), "{line:?}");
        for part in [
            "WARN",
            "pass{",
            "request.name=",
            "said a",
            "text=a",
            "\\u{1b}[31m",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
}
