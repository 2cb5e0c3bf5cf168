//! `foredeck crds`: the CRDs as one YAML stream. Touches stdout.

use std::io::{self, Write};

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

const HEADER: &str = "# Printed by `foredeck crds`. Don't edit.\n";

pub(super) fn print() -> anyhow::Result<()> {
    let page = yaml(&crate::api::crds())?;
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(page.as_bytes())
        .and_then(|()| stdout.flush())
    {
        // Whoever reads has seen enough, `head` for one.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("can't write to stdout"),
    }
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
