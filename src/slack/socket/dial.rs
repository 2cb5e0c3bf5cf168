//! From an address to a WebSocket: through the environment's proxy, with the trust that other calls have. Touches the
//! network.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::Uri;
use hyper_util::{
    client::{
        legacy::connect::proxy::Tunnel,
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use reqwest::Url;
use rustls::{ClientConfig, crypto::aws_lc_rs, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config, tungstenite::protocol::WebSocketConfig,
};
use tower_service::Service;

use crate::slack::client::SettingsError;

/// Clicks in large modals reach hundreds of kilobytes.
const MOST_MESSAGE: usize = 4 << 20;

/// Anything that bytes go through.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<Through: AsyncRead + AsyncWrite + Send + Unpin> Wire for Through {}

pub(super) type Socket = WebSocketStream<Box<dyn Wire>>;

/// Why no socket came about, in a fixed word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotDialled(pub(super) &'static str);

/// How sockets are dialled.
#[derive(Clone)]
pub(super) struct Dialler {
    proxies: Option<Arc<Matcher>>,
    tls: Arc<ClientConfig>,
}

impl Dialler {
    pub(super) fn new(proxies: Option<Matcher>) -> Result<Self, SettingsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(SettingsError::Tls)?
            .with_no_client_auth();
        Ok(Self {
            proxies: proxies.map(Arc::new),
            tls: Arc::new(tls),
        })
    }

    /// Dials a `wss` address, or a `ws` one if `plain` says so. The address is a secret.
    pub(super) async fn dial(
        &self,
        address: &Url,
        plain: bool,
        deadline: Duration,
    ) -> Result<Socket, NotDialled> {
        let encrypted = match address.scheme() {
            "wss" => true,
            "ws" if plain => false,
            _ => return Err(NotDialled("socket-address")),
        };
        let dialling = async {
            let wire = self.reach(address, encrypted).await?;
            let config = WebSocketConfig::default()
                .max_message_size(Some(MOST_MESSAGE))
                .max_frame_size(Some(MOST_MESSAGE));
            client_async_with_config(address.as_str(), wire, Some(config))
                .await
                .map(|(socket, _)| socket)
                .map_err(|_| NotDialled("handshake"))
        };
        timeout(deadline, dialling)
            .await
            .unwrap_or(Err(NotDialled("timed-out")))
    }

    async fn reach(&self, address: &Url, encrypted: bool) -> Result<Box<dyn Wire>, NotDialled> {
        let bad = NotDialled("socket-address");
        let host = address.host_str().ok_or(bad)?;
        let port = address.port_or_known_default().ok_or(bad)?;
        let scheme = if encrypted { "https" } else { "http" };
        let target: Uri = format!("{scheme}://{host}:{port}/")
            .parse()
            .map_err(|_| bad)?;
        let proxies = self.proxies.as_ref();
        let wire = match proxies.and_then(|proxies| proxies.intercept(&target)) {
            Some(proxy) => self.through(&proxy, target).await?,
            None => connect(host, port)
                .await
                .map_err(|_| NotDialled("unreachable"))?,
        };
        if encrypted {
            encrypt(&self.tls, host, wire)
                .await
                .map_err(|_| NotDialled("tls"))
        } else {
            Ok(wire)
        }
    }

    /// Asks the proxy for a tunnel.
    async fn through(&self, proxy: &Intercept, target: Uri) -> Result<Box<dyn Wire>, NotDialled> {
        let uri = proxy.uri().clone();
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(NotDialled("proxy-kind"));
        }
        let door = Door {
            tls: Arc::clone(&self.tls),
        };
        let mut tunnel = Tunnel::new(uri, door);
        if let Some(login) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(login.clone());
        }
        match tunnel.call(target).await {
            Ok(wire) => Ok(wire.into_inner()),
            Err(error) => {
                tracing::debug!(%error, "the proxy opens no tunnel");
                Err(NotDialled("proxy"))
            }
        }
    }
}

/// The way to the proxy itself.
struct Door {
    tls: Arc<ClientConfig>,
}

impl Service<Uri> for Door {
    type Response = TokioIo<Box<dyn Wire>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let tls = Arc::clone(&self.tls);
        Box::pin(async move {
            let host = proxy.host().ok_or(io::ErrorKind::InvalidInput)?;
            let encrypted = proxy.scheme_str() == Some("https");
            let port = proxy.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
            let wire = connect(host, port).await?;
            let wire = if encrypted {
                encrypt(&tls, host, wire).await?
            } else {
                wire
            };
            Ok(TokioIo::new(wire))
        })
    }
}

async fn connect(host: &str, port: u16) -> io::Result<Box<dyn Wire>> {
    let stream = TcpStream::connect((bare(host), port)).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

async fn encrypt(
    tls: &Arc<ClientConfig>,
    host: &str,
    wire: Box<dyn Wire>,
) -> io::Result<Box<dyn Wire>> {
    let name = ServerName::try_from(bare(host).to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(tls))
        .connect(name, wire)
        .await?;
    Ok(Box::new(stream))
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}
