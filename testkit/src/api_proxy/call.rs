//! What a call to the API server is about, as its address says. Touches nothing.

use axum::http::{Method, Uri};

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Without the query: `/apis/foredeck.dev/v1alpha1/namespaces/shop/deployrequests/first/status`.
    pub(super) path: String,
    /// The kind's plural, with its subresource if one is meant: `deployrequests/status`.
    pub(super) resource: String,
    pub(super) name: Option<String>,
    pub(super) shape: Shape,
}

/// What a reader wants. Only watchers list without saying which objects; see [`super::ApiProxy::remember_lists`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Everything there is: a watcher's first page.
    WholeList,
    /// Changes from some version on.
    Watch,
    /// Anything else: one object, a selection, a further page.
    Other,
}

impl Call {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        let path = uri.path().to_owned();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        // `api/v1` or `apis/<group>/<version>`, then `namespaces/<namespace>` unless the object has none.
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let rest = match rest {
            ["namespaces", _, inner @ ..] if !inner.is_empty() => inner,
            other => other,
        };
        let name = rest.get(1).map(|name| (*name).to_owned());
        let resource = match rest {
            [plural, _, subresource, ..] => format!("{plural}/{subresource}"),
            [plural, ..] => (*plural).to_owned(),
            [] => String::new(),
        };
        let says = |wanted: &str| {
            let mut pairs = uri.query().unwrap_or_default().split('&');
            pairs.any(|pair| {
                pair.split_once('=')
                    .is_some_and(|(key, value)| key == wanted && !matches!(value, "" | "false"))
            })
        };
        let selects = ["fieldSelector", "labelSelector", "continue"].map(says);
        let shape = if *method != Method::GET || name.is_some() || resource.is_empty() {
            Shape::Other
        } else if says("watch") {
            Shape::Watch
        } else if selects.contains(&true) {
            Shape::Other
        } else {
            Shape::WholeList
        };
        Self {
            method: method.clone(),
            path,
            resource,
            name,
            shape,
        }
    }

    pub(super) fn writes(&self) -> bool {
        matches!(
            self.method,
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE
        )
    }

    /// The plural alone.
    pub(super) fn kind(&self) -> &str {
        self.resource.split('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &Method, uri: &str) -> Call {
        Call::of(method, &uri.parse().unwrap())
    }

    #[test]
    fn a_watchers_list_is_told_from_a_selection_and_from_one_object() {
        let all = "/apis/foredeck.dev/v1alpha1/namespaces/shop/deployrequests";
        let shape = |rest: &str| call(&Method::GET, &format!("{all}{rest}")).shape;
        assert_eq!(shape("?limit=500"), Shape::WholeList);
        assert_eq!(shape("?&fieldSelector=a%3Db"), Shape::Other);
        // A further page belongs to a list that was served already.
        assert_eq!(shape("?limit=500&continue=x"), Shape::Other);
        assert_eq!(shape("?&watch=true&resourceVersion=7"), Shape::Watch);
        assert_eq!(shape("/first"), Shape::Other);
    }

    #[test]
    fn the_resource_is_read_from_every_form_of_address() {
        let of = |uri| {
            let call = call(&Method::PATCH, uri);
            (call.resource, call.name)
        };
        let first = Some("first".to_owned());
        assert_eq!(
            of("/apis/foredeck.dev/v1alpha1/namespaces/shop/deployrequests/first/status?x=y"),
            ("deployrequests/status".to_owned(), first.clone())
        );
        assert_eq!(
            of("/api/v1/namespaces/first"),
            ("namespaces".to_owned(), first)
        );
        assert_eq!(
            of("/apis/events.k8s.io/v1/namespaces/shop/events"),
            ("events".to_owned(), None)
        );
        assert_eq!(of("/version"), (String::new(), None));
    }
}
