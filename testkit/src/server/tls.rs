//! The same connections under TLS: a listener whose certificate, and whose demand for one of the client's, can change while
//! it listens. Touches the network, on 127.0.0.1 only.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{BreakableListener, BreakableStream, Connection};

/// Who connects and says nothing is let go after this.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// How long a client that is refused may go on talking. Closed at once, the kernel would take back the alert that tells it why.
const FAREWELL: Duration = Duration::from_secs(1);

type Handshake = BoxFuture<'static, Option<(TlsStream<BreakableStream>, Connection)>>;

/// A listener that shakes hands with many at once, each by what is set when it comes.
pub(super) struct TlsListener {
    inner: BreakableListener,
    config: watch::Receiver<Arc<ServerConfig>>,
    handshakes: FuturesUnordered<Handshake>,
}

impl TlsListener {
    pub(super) fn new(
        inner: BreakableListener,
        config: watch::Receiver<Arc<ServerConfig>>,
    ) -> Self {
        Self {
            inner,
            config,
            handshakes: FuturesUnordered::new(),
        }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<BreakableStream>;
    type Addr = Connection;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                (stream, connection) = self.inner.accept() => {
                    let acceptor = TlsAcceptor::from(Arc::clone(&self.config.borrow()));
                    self.handshakes.push(Box::pin(shake_hands(acceptor, stream, connection)));
                }
                Some(done) = self.handshakes.next() => {
                    if let Some(done) = done {
                        return done;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        stream.remote_addr().clone()
    }
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: BreakableStream,
    mut connection: Connection,
) -> Option<(TlsStream<BreakableStream>, Connection)> {
    let handshake = acceptor.accept(stream).into_fallible();
    match timeout(HANDSHAKE_WITHIN, handshake).await {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            let shown = session.peer_certificates().and_then(<[_]>::first);
            connection.certificate = shown.map(|shown| shown.clone().into_owned());
            Some((stream, connection))
        }
        Ok(Err((error, mut stream))) => {
            connection.tally.refused(error.to_string());
            tokio::spawn(timeout(FAREWELL, async move {
                let _ = stream.shutdown().await;
                let mut ignored = [0; 1024];
                while stream.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
            }));
            None
        }
        Err(_) => {
            connection.tally.refused("no handshake in time".to_owned());
            None
        }
    }
}
