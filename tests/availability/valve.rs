//! Something between a role and what it calls that can stop answering, as a network that swallows everything does.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use reqwest::Url;
use std::sync::Arc;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes bytes on while it is open. Shut, connections stay and are taken, and nothing gets through either way.
pub(crate) struct Valve {
    address: SocketAddr,
    open: watch::Sender<bool>,
    swallowed: Arc<AtomicUsize>,
}

impl Valve {
    /// Before that server.
    pub(crate) async fn before(server: &str) -> Result<Self> {
        let url: Url = server.parse()?;
        let host = url.host_str().context("a host")?.to_owned();
        let port = url.port_or_known_default().context("a port")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (open, seen) = watch::channel(true);
        let swallowed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&swallowed);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (host, seen, counted) = (host.clone(), seen.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let mut far = TcpStream::connect((host, port)).await?;
                    let (mut asked, mut answer) = near.split();
                    let (mut answered, mut ask) = far.split();
                    tokio::try_join!(
                        pass(&mut asked, &mut ask, seen.clone(), &counted),
                        pass(&mut answered, &mut answer, seen, &counted)
                    )
                });
            }
        });
        Ok(Self {
            address,
            open,
            swallowed,
        })
    }

    /// That server's address, by way of this.
    pub(crate) fn instead_of(&self, server: &str) -> Result<String> {
        let mut url: Url = server.parse()?;
        url.set_ip_host(self.address.ip())
            .and_then(|()| url.set_port(Some(self.address.port())))
            .map_err(|()| anyhow::anyhow!("an address with a port"))?;
        Ok(url.to_string())
    }

    pub(crate) fn shut(&self) {
        self.open.send_replace(false);
    }

    /// How many pieces were held back: something waits for an answer.
    pub(crate) fn swallowed(&self) -> usize {
        self.swallowed.load(Ordering::Relaxed)
    }
}

async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut open: watch::Receiver<bool>,
    swallowed: &AtomicUsize,
) -> std::io::Result<()> {
    let mut piece = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        if !*open.borrow() {
            swallowed.fetch_add(1, Ordering::Relaxed);
        }
        if open.wait_for(|open| *open).await.is_err() {
            return Ok(());
        }
        to.write_all(&piece[..read]).await?;
    }
}
