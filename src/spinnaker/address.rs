//! Gate's addresses: a base URL, path segments that Gate takes, a query. Touches nothing.

use std::fmt::Write as _;

use reqwest::Url;

use super::settings::SettingsError;

/// A checked base URL.
#[derive(Debug, Clone)]
pub(super) struct Base(Url);

impl Base {
    pub(super) fn new(url: Url) -> Result<Self, SettingsError> {
        let fit = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if fit {
            Ok(Self(url))
        } else {
            Err(SettingsError::Url)
        }
    }

    /// The address of `segments` under the base; the segment that can't be sent, otherwise.
    pub(super) fn address<'a>(
        &self,
        segments: &[&'a str],
        query: &[(&str, &str)],
    ) -> Result<Url, &'a str> {
        let mut path = self.0.path().trim_end_matches('/').to_owned();
        for segment in segments {
            if !is_sendable(segment) {
                return Err(segment);
            }
            path.push('/');
            path.push_str(&encode(segment));
        }
        let mut url = self.0.clone();
        url.set_path(&path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

/// Spring's firewall answers 400 to a path with one of these, encoded or not; dots would change the path.
fn is_sendable(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && !segment
            .chars()
            .any(|char| matches!(char, '/' | '%' | ';' | '\\') || char.is_control())
}

/// Everything but RFC 3986's unreserved characters as `%XX`: Tomcat refuses `[`, `]` and `|` in the open.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String doesn't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: &str) -> Base {
        Base::new(Url::parse(url).unwrap()).unwrap()
    }

    #[test]
    fn a_path_prefix_stays() {
        for url in [
            "https://gate.example/api/v1",
            "https://gate.example/api/v1/",
        ] {
            let address = base(url)
                .address(&["pipelines", "01A"], &[("reason", "a b&c")])
                .unwrap();
            assert_eq!(
                address.as_str(),
                "https://gate.example/api/v1/pipelines/01A?reason=a+b%26c"
            );
        }
    }

    #[test]
    fn odd_names_are_encoded_and_impossible_ones_refused() {
        let gate = base("http://gate.example");
        let address = gate.address(&["Grün [prod] #1?|"], &[]).unwrap();
        assert_eq!(address.path(), "/Gr%C3%BCn%20%5Bprod%5D%20%231%3F%7C");
        for name in ["", ".", "..", "a/b", "50%", "a;b", "a\\b", "a\nb"] {
            assert_eq!(gate.address(&["x", name], &[]), Err(name));
        }
    }

    #[test]
    fn a_base_is_the_url_of_a_server() {
        for url in [
            "ftp://gate.example",
            "https://u:p@gate.example",
            "https://gate.example?x=1",
            "https://gate.example#x",
            "data:text/plain,x",
        ] {
            assert!(Base::new(Url::parse(url).unwrap()).is_err(), "{url}");
        }
    }
}
