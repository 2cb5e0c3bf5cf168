//! `foredeck run`: all roles in one process. Today that is the controller.

use clap::Args;

use super::controller;

#[derive(Args, Debug)]
pub(super) struct RunArguments {
    #[command(flatten)]
    controller: controller::ControllerArguments,
}

pub(super) async fn run(arguments: RunArguments) -> anyhow::Result<()> {
    controller::run(arguments.controller).await
}
