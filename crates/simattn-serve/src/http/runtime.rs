//! The runtime under the server.

use std::io;
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::connections::serve;
use super::state::{Model, Settings};

/// How often it was said that the server is to stop.
type Stops = watch::Sender<u32>;

async fn said(mut stops: watch::Receiver<u32>, times: u32) {
    if stops.wait_for(|&count| count >= times).await.is_err() {
        // Nobody is left who could say it.
        std::future::pending::<()>().await;
    }
}

fn runtime() -> io::Result<Runtime> {
    // One thread carries bytes; what takes longer runs in a few beside it.
    Builder::new_current_thread()
        .max_blocking_threads(4)
        .enable_all()
        .build()
}

async fn listen(
    listener: TcpListener,
    model: Model,
    settings: Settings,
    stops: watch::Receiver<u32>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (first, second) = (said(stops.clone(), 1), said(stops, 2));
    serve(listener, model, settings, first, second).await
}

/// Serves a model until SIGTERM or SIGINT: what runs is finished first, and a second signal ends it
/// at once.
///
/// # Errors
/// A system that gives no threads or signals, or what keeps it from listening.
pub fn run(listener: TcpListener, model: Model, settings: Settings) -> io::Result<()> {
    runtime()?.block_on(async move {
        let (stops, stopped) = watch::channel(0);
        tokio::spawn(count_signals(stops, signals()?));
        listen(listener, model, settings, stopped).await
    })
}

#[cfg(unix)]
type Signals = [tokio::signal::unix::Signal; 2];

#[cfg(unix)]
fn signals() -> io::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok([
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    ])
}

#[cfg(unix)]
async fn count_signals(stops: Stops, [mut terminate, mut interrupt]: Signals) {
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stops.send_modify(|count| *count += 1);
    }
}

#[cfg(not(unix))]
fn signals() -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
async fn count_signals(stops: Stops, (): ()) {
    while tokio::signal::ctrl_c().await.is_ok() {
        stops.send_modify(|count| *count += 1);
    }
}

/// A server in a thread of its own, for programs that do other things too.
#[derive(Debug)]
pub struct Server {
    stops: Stops,
    thread: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Starts to serve a model.
    ///
    /// # Errors
    /// A system that gives no thread.
    pub fn start(listener: TcpListener, model: Model, settings: Settings) -> io::Result<Self> {
        let (stops, stopped) = watch::channel(0);
        let runtime = runtime()?;
        let thread = thread::Builder::new().name("simattn-server".to_owned());
        let thread =
            thread.spawn(move || runtime.block_on(listen(listener, model, settings, stopped)))?;
        Ok(Self { stops, thread })
    }

    /// Takes nothing new and finishes what runs; the second time, ends that too.
    pub fn stop(&self) {
        self.stops.send_modify(|count| *count += 1);
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// What kept it from listening.
    pub fn wait(self) -> io::Result<()> {
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the server's thread panicked")))
    }
}
