//! What the stand-ins listen with: connections that can be broken in the middle, and a port that can go and come back.
//! Touches the network, on 127.0.0.1 only.

mod tls;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::tls::TlsListener;
use crate::wait::wait_for;

/// How long a port that comes back may be somebody else's: the kernel lends what is free to connections that go out.
const BORROWED: Duration = Duration::from_secs(10);

/// How many connections there were, over all servers that count here, and why handshakes failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    refusals: Mutex<Vec<String>>,
}

impl Tally {
    /// How many were taken, refused ones included.
    pub(crate) fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Why handshakes failed, oldest first.
    pub(crate) fn refusals(&self) -> Vec<String> {
        let refusals = self.0.refusals.lock();
        refusals.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn next(&self) -> u64 {
        self.0.connections.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn refused(&self, why: String) {
        let refusals = self.0.refusals.lock();
        refusals.unwrap_or_else(PoisonError::into_inner).push(why);
    }
}

/// A connection as a handler sees it: something that can be broken.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Counts up from 1.
    pub(crate) number: u64,
    /// What the client showed, checked.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    tally: Tally,
    broken: Arc<AtomicBool>,
}

impl Connection {
    /// Resets the connection as soon as anything would be written to it.
    pub(crate) fn reset(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }
}

impl Connected<IncomingStream<'_, BreakableListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, BreakableListener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A listener whose connections can be broken one by one or all at once.
#[derive(Debug)]
pub(crate) struct BreakableListener {
    inner: TcpListener,
    closing: watch::Receiver<bool>,
    tally: Tally,
}

impl Listener for BreakableListener {
    type Io = BreakableStream;
    type Addr = Connection;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, _) = Listener::accept(&mut self.inner).await;
        // Small answers must not wait for acknowledgements.
        let _ = stream.set_nodelay(true);
        let connection = Connection {
            number: self.tally.next(),
            certificate: None,
            tally: self.tally.clone(),
            broken: Arc::default(),
        };
        let mut closing = self.closing.clone();
        let closed = Box::pin(async move {
            // An error means that the server is gone, which closes as well.
            let _ = closing.wait_for(|closing| *closing).await;
        });
        let stream = BreakableStream {
            inner: stream,
            broken: Arc::clone(&connection.broken),
            closed,
        };
        (stream, connection)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Connection {
            number: 0,
            certificate: None,
            tally: self.tally.clone(),
            broken: Arc::default(),
        })
    }
}

/// A connection that can be broken.
pub(crate) struct BreakableStream {
    inner: TcpStream,
    broken: Arc<AtomicBool>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl BreakableStream {
    fn break_now(&self) -> io::Error {
        // With this the kernel sends a reset instead of an orderly end.
        let _ = self.inner.set_zero_linger();
        io::ErrorKind::ConnectionReset.into()
    }
}

impl AsyncRead for BreakableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(context).is_ready() {
            // A future that is done must not be polled again.
            self.closed = Box::pin(std::future::ready(()));
            return Poll::Ready(Err(self.break_now()));
        }
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for BreakableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken.load(Ordering::SeqCst) {
            return Poll::Ready(Err(self.break_now()));
        }
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// A server that listens. Dropping it closes its port and all its connections.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    closing: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Listens on the given port of 127.0.0.1; port 0 picks a free one.
    pub(crate) async fn start(port: u16, router: Router) -> anyhow::Result<Self> {
        Self::listen(port, router, None, Tally::default()).await
    }

    /// The same, on TLS if there is a configuration for it: each connection by the one of that moment.
    pub(crate) async fn listen(
        port: u16,
        router: Router,
        tls: Option<watch::Receiver<Arc<ServerConfig>>>,
        tally: Tally,
    ) -> anyhow::Result<Self> {
        let inner = wait_for("the port to be free", BORROWED, async || {
            Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?)
        })
        .await?;
        let address = inner.local_addr()?;
        let (closing, closed) = watch::channel(false);
        let listener = BreakableListener {
            inner,
            closing: closed,
            tally,
        };
        let service = router.into_make_service_with_connect_info::<Connection>();
        let serving = tokio::spawn(async move {
            let served = match tls {
                None => axum::serve(listener, service).await,
                Some(config) => axum::serve(TlsListener::new(listener, config), service).await,
            };
            if let Err(error) = served {
                tracing::error!(%error, "a stand-in stopped serving");
            }
        });
        Ok(Self {
            address,
            closing,
            serving,
        })
    }

    /// Closes the port and all connections; returns when a new server may take the port.
    pub(crate) async fn stop(mut self) {
        self.closing.send_replace(true);
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        self.serving.abort();
    }
}
