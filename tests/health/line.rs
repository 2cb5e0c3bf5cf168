//! The line to a server, which may be cut and mended: a port of this machine that leads to another. Touches both.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use foredeck_testkit::role::free_address;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// A line that is cut at first.
pub(crate) struct Line {
    address: SocketAddr,
    to: String,
    task: Option<JoinHandle<()>>,
}

impl Line {
    /// To whoever listens there (`http://127.0.0.1:40123`).
    pub(crate) fn to(url: &str) -> Result<Self> {
        Ok(Self {
            address: free_address()?,
            to: url.strip_prefix("http://").context("http")?.to_owned(),
            task: None,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it leads there.
    pub(crate) async fn mend(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        let to = self.to.clone();
        self.task = Some(tokio::spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                let to = to.clone();
                calls.spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        let _ended = copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        }));
        Ok(())
    }

    /// Ends every call, and takes no more.
    pub(crate) async fn cut(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _aborted = task.await;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
