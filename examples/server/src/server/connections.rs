//! The connections that are open: taken in, served with time limits, ended.
#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{watch, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::listen::Listeners;
use super::patient::Patient;
use crate::app::App;
use crate::log;

/// At once; more wait until one ends. A process may have 1,024 files open by custom, and models need some.
const AT_ONCE: usize = 512;

/// Bytes of a request's head.
const HEAD: usize = 64 << 10;

/// How long nothing is taken in when the process has no file handles left.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Connections {
    router: Router,
    app: Arc<App>,
    patience: Duration,
    room: Arc<Semaphore>,
    open: JoinSet<()>,
    ending: watch::Sender<bool>,
}

impl Connections {
    pub(super) fn new(router: Router, app: Arc<App>) -> Self {
        let patience = Duration::from_secs(app.config.client_timeout.into());
        let (room, ending) = (Arc::new(Semaphore::new(AT_ONCE)), watch::Sender::new(false));
        Self { router, app, patience, room, open: JoinSet::new(), ending }
    }

    /// Takes connections in for as long as it is awaited.
    pub(super) async fn accept(&mut self, listeners: &Listeners) {
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&self.room).acquire_owned().await else { return };
            match listeners.accept().await {
                Ok(stream) => {
                    let served = self.serve(stream);
                    let counted = self.app.metrics.connection();
                    self.open.spawn(async move {
                        served.await;
                        drop((place, counted));
                    });
                }
                Err(error) if is_of_client(error.kind()) => {}
                Err(error) => {
                    log::warning!("no connection can be taken in: {error}");
                    sleep(PAUSE).await;
                }
            }
            self.forget_ended();
        }
    }

    fn forget_ended(&mut self) {
        while self.open.try_join_next().is_some() {}
    }

    /// Answers the requests of one connection until either side ends it.
    fn serve(&self, stream: TcpStream) -> impl std::future::Future<Output = ()> + Send + 'static {
        // Tokens are small, and each is to go out when it is there.
        let _ = stream.set_nodelay(true);
        let patient = Patient::new(stream, self.patience);
        let left = patient.left();
        let io = TokioIo::new(patient);
        let mut builder = Builder::new();
        // Also how long a connection may be idle.
        builder.timer(TokioTimer::new()).header_read_timeout(self.patience);
        builder.max_header_size(HEAD).max_buf_size(2 * HEAD);
        let service = TowerToHyperService::new(self.router.clone());
        let connection = builder.serve_connection(io, service);
        let mut ending = self.ending.subscribe();
        async move {
            let (mut connection, mut left) = (pin!(connection), pin!(left));
            let told = async {
                // An error: nobody is there any more who could tell.
                let _ = ending.wait_for(|ending| *ending).await;
            };
            // A client that breaks off, or sends no HTTP, is no event for the log.
            tokio::select! {
                _ = connection.as_mut() => return,
                () = left.as_mut() => return,
                () = told => connection.as_mut().graceful_shutdown(),
            }
            tokio::select! {
                _ = connection => {}
                () = left => {}
            }
        }
    }

    /// Has each connection end behind the answer that it is at, and the idle ones at once.
    pub(super) fn wind_up(&mut self) {
        self.forget_ended();
        self.ending.send_replace(true);
    }

    /// Waits until none is open.
    pub(super) async fn ended(&mut self) {
        while self.open.join_next().await.is_some() {}
    }

    pub(super) fn count(&self) -> usize {
        self.open.len()
    }
}

/// Of a client that broke off before it was taken in.
fn is_of_client(kind: ErrorKind) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(kind, ConnectionAborted | ConnectionRefused | ConnectionReset)
}
