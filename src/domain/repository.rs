//! Where people see a repository, as opposed to where its API is. Touches nothing.

use crate::api::version::Repository;

/// GitHub's own pages.
const GITHUB: &str = "https://github.com";
/// GitHub's own API.
const GITHUB_API: &str = "https://api.github.com";

/// The repository's page.
pub fn page(repository: &Repository) -> String {
    let api = repository.api_url.as_deref().unwrap_or(GITHUB_API);
    let api = api.trim_end_matches('/');
    let host = if api.eq_ignore_ascii_case(GITHUB_API) {
        GITHUB
    } else {
        // An Enterprise Server has its API below its pages.
        api.strip_suffix("/api/v3").unwrap_or(api)
    };
    format!("{host}/{}", repository.github)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::version::Deployments;

    #[test]
    fn pages_are_where_people_look_and_not_where_programs_do() {
        for (api, commit) in [
            (None, "https://github.com/shop/checkout/commit/3f2a1bc"),
            (
                Some("https://api.github.com/"),
                "https://github.com/shop/checkout/commit/3f2a1bc",
            ),
            (
                Some("https://github.corp.example/api/v3"),
                "https://github.corp.example/shop/checkout/commit/3f2a1bc",
            ),
            (
                Some("http://127.0.0.1:4000"),
                "http://127.0.0.1:4000/shop/checkout/commit/3f2a1bc",
            ),
        ] {
            let repository = Repository {
                github: "shop/checkout".to_owned(),
                api_url: api.map(str::to_owned),
                secret_name: None,
                deployments: Deployments::default(),
            };
            assert_eq!(format!("{}/commit/3f2a1bc", page(&repository)), commit);
        }
    }
}
