//! Reads what a call carries: token, encoding and arguments. Touches nothing.

use axum::http::{HeaderMap, Method as HttpMethod, Uri, header};
use serde_json::{Map, Value};

use super::super::calls::Encoding;
use super::super::methods;

/// The arguments that are JSON inside a form.
const NESTED: &[&str] = &[
    "attachments",
    "blocks",
    "metadata",
    "unfurled_attachments",
    "view",
];

/// A call's arguments by name.
#[derive(Debug, Default, Clone)]
pub(in crate::slack) struct Arguments(pub(in crate::slack) Map<String, Value>);

impl Arguments {
    /// An argument as text; an empty one is none.
    pub(in crate::slack) fn text(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// An argument, unless it is absent, null or empty.
    pub(in crate::slack) fn value(&self, name: &str) -> Option<&Value> {
        self.0
            .get(name)
            .filter(|value| !value.is_null() && *value != "")
    }

    pub(in crate::slack) fn flag(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(word)) => word == "true" || word == "1",
            Some(Value::Number(number)) => number.as_u64() == Some(1),
            _ => false,
        }
    }

    pub(in crate::slack) fn number(&self, name: &str) -> Option<usize> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_u64().and_then(|number| number.try_into().ok()),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A list of words, given as an array or with commas.
    pub(in crate::slack) fn words(&self, name: &str) -> Vec<String> {
        let split = |text: &str| {
            text.split(',')
                .map(|word| word.trim().to_owned())
                .filter(|word| !word.is_empty())
                .collect()
        };
        let array = |values: &[Value]| {
            let words = values.iter().filter_map(Value::as_str);
            words.map(str::to_owned).collect()
        };
        match self.0.get(name) {
            Some(Value::Array(values)) => array(values),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(Value::Array(values)) => array(&values),
                _ => split(text),
            },
            _ => Vec::new(),
        }
    }
}

/// A call as it came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) arguments: Arguments,
    pub(super) encoding: Encoding,
    pub(super) token: Option<String>,
    pub(super) warnings: Vec<&'static str>,
    /// The error, when nothing can be read.
    pub(super) unreadable: Option<&'static str>,
    /// JSON was sent to a method that reads forms only.
    pub(super) json_ignored: bool,
}

impl Received {
    pub(super) fn read(
        method: &str,
        http_method: &HttpMethod,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Self {
        let header = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let mut received = Self {
            arguments: Arguments::default(),
            encoding: Encoding::Nothing,
            token: bearer(header(header::AUTHORIZATION)),
            warnings: Vec::new(),
            unreadable: None,
            json_ignored: false,
        };
        if let Some(query) = uri.query() {
            received.take_form(query.as_bytes(), Encoding::Query);
        }
        if *http_method != HttpMethod::GET && !body.is_empty() {
            let kind = header(header::CONTENT_TYPE).to_ascii_lowercase();
            let (kind, parameters) = kind.split_once(';').unwrap_or((&kind, ""));
            match kind.trim() {
                "application/json" => {
                    if !parameters.contains("charset") {
                        received.warnings.push("missing_charset");
                    }
                    received.take_json(body);
                    let reads_json = methods::find(method).is_none_or(|method| method.json);
                    received.json_ignored = !reads_json && !received.arguments.0.is_empty();
                }
                "application/x-www-form-urlencoded" => {
                    if parameters.contains("charset") {
                        received.warnings.push("superfluous_charset");
                    }
                    received.take_form(body, Encoding::Form);
                }
                "" => received.unreadable = Some("missing_post_type"),
                _ => received.unreadable = Some("invalid_post_type"),
            }
        }
        received
    }

    fn take_json(&mut self, body: &[u8]) {
        self.encoding = Encoding::Json;
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => {
                for (name, value) in fields {
                    // A token is heeded in the header only.
                    if name != "token" {
                        let value = match value {
                            Value::String(text) => nested(&name, text),
                            value => value,
                        };
                        self.arguments.0.insert(name, value);
                    }
                }
            }
            Ok(_) => self.unreadable = Some("json_not_object"),
            Err(_) => self.unreadable = Some("invalid_json"),
        }
    }

    fn take_form(&mut self, body: &[u8], encoding: Encoding) {
        self.encoding = encoding;
        for (name, value) in form_urlencoded::parse(body) {
            if name == "token" {
                // One in the URL would stand in every log on the way, so it is not taken.
                if encoding == Encoding::Form && self.token.is_none() {
                    self.token = Some(value.into_owned());
                }
                continue;
            }
            let value = nested(&name, value.into_owned());
            self.arguments.0.insert(name.into_owned(), value);
        }
    }
}

fn bearer(header: &str) -> Option<String> {
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

/// The JSON in a text, for the arguments that are JSON.
fn nested(name: &str, text: String) -> Value {
    if NESTED.contains(&name)
        && let Ok(value) = serde_json::from_str(&text)
    {
        return value;
    }
    Value::String(text)
}
