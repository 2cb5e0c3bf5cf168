//! Where the next page is, by a `Link` header (RFC 8288). Touches nothing.

use reqwest::{
    Url,
    header::{HeaderMap, LINK},
};

use super::OktaError;

/// The address of the next page, if there is one. It is below the same address as the first: a token goes nowhere else.
///
/// # Errors
/// When it leads elsewhere, or can't be read.
pub(super) fn next(headers: &HeaderMap, first: &Url) -> Result<Option<Url>, OktaError> {
    for header in headers.get_all(LINK) {
        let text = header.to_str().map_err(|_| OktaError::Unclear)?;
        for (target, parameters) in links(text) {
            if !is_next(parameters) {
                continue;
            }
            let url = first.join(target).map_err(|_| OktaError::Unclear)?;
            let same = url.origin() == first.origin()
                && url.path() == first.path()
                && url.username().is_empty()
                && url.password().is_none();
            if !same {
                return Err(OktaError::Astray);
            }
            return Ok(Some(url));
        }
    }
    Ok(None)
}

/// Each `<target>` and what follows it.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('<')
        .skip(1)
        .filter_map(|link| link.split_once('>'))
}

fn is_next(parameters: &str) -> bool {
    parameters.split([';', ',']).any(|parameter| {
        parameter.split_once('=').is_some_and(|(name, value)| {
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .split(' ')
                    .any(|word| word.eq_ignore_ascii_case("next"))
        })
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    const FIRST: &str = "https://corp.okta.com/api/v1/users/00u1/groups";

    fn found(lines: &[&str]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, HeaderValue::from_str(line).unwrap());
        }
        next(&headers, &FIRST.parse().unwrap())
            .map(|url| url.map(String::from))
            .map_err(|error| error.reason())
    }

    #[test]
    fn the_next_page_is_found_among_others() {
        let this = format!("<{FIRST}?limit=200>; rel=\"self\"");
        let after = format!("<{FIRST}?after=a%2Cb,c;d&limit=200>; rel=\"next\"");
        let next = format!("{FIRST}?after=a%2Cb,c;d&limit=200");
        assert_eq!(found(&[]), Ok(None));
        assert_eq!(found(&[&this]), Ok(None));
        assert_eq!(found(&[&this, &after]), Ok(Some(next.clone())));
        let both = format!("{this}, {after}");
        assert_eq!(found(&[&both]), Ok(Some(next)));
        assert_eq!(found(&["nothing to see"]), Ok(None));
    }

    #[test]
    fn no_page_leads_elsewhere() {
        for elsewhere in [
            "https://evil.example/api/v1/users/00u1/groups",
            "http://corp.okta.com/api/v1/users/00u1/groups",
            "https://corp.okta.com:8443/api/v1/users/00u1/groups",
            "//evil.example/api/v1/users/00u1/groups",
            "https://corp.okta.com/api/v1/users/00u2/groups",
            "https://x@corp.okta.com/api/v1/users/00u1/groups",
        ] {
            let line = format!("<{elsewhere}>; rel=next");
            assert_eq!(found(&[&line]), Err("astray"), "{elsewhere}");
        }
    }
}
