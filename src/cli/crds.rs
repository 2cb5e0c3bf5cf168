//! `foredeck crds`: the CRDs as one YAML stream. Touches stdout.

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::print;

const HEADER: &str = "# Printed by `foredeck crds`. Don't edit.\n";

pub(super) fn print() -> anyhow::Result<()> {
    print::page(&yaml(&crate::api::crds())?)
}

fn yaml(crds: &[CustomResourceDefinition]) -> anyhow::Result<String> {
    let mut page = HEADER.to_owned();
    for crd in crds {
        page.push_str("---\n");
        page.push_str(&serde_saphyr::to_string(crd).context("can't write a CRD as YAML")?);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn yaml_says_what_the_definitions_say() {
        let crds = crate::api::crds();
        let page = yaml(&crds).unwrap();
        let read: Vec<Value> = serde_saphyr::from_multiple(&page).unwrap();
        assert_eq!(serde_json::to_value(&crds).unwrap(), Value::Array(read));
        assert!(page.starts_with(HEADER), "{page}");
    }
}
