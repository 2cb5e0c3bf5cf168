//! Who gets in at a Gate that wants client certificates of its Vault's authority, and what the status says of it.

use anyhow::Result;

use crate::support::{Controller, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_gets_in_with_the_certificate_that_vault_issues() -> Result<()> {
    let Some(world) = World::new("in").await? else {
        return Ok(());
    };
    let _controller = Controller::start(&[&world]).await?;
    world.until_ready().await?;
    world.deploy("first").await?;
    assert_eq!(world.launches("first").await?, 1);
    Ok(())
}
