//! Connections: taken, watched, and ended.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::routes;
use super::state::{AppState, Model, Settings, becomes_true};

/// Bytes of the head of a request at most.
const HEAD: usize = 32 << 10;
/// Headers of a request at most.
const HEADERS: usize = 64;
/// For streams to say that they end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves a model until `stop` is done. Then nothing new is taken, and what runs is finished, or
/// ended after [`Settings::drain_time`], or at once when `stop_now` is done too.
///
/// # Errors
/// What keeps it from listening.
pub async fn serve(
    listener: TcpListener,
    model: Model,
    settings: Settings,
    stop: impl Future<Output = ()>,
    stop_now: impl Future<Output = ()>,
) -> io::Result<()> {
    let (end_streams, ending) = watch::channel(false);
    let (close, closing) = watch::channel(false);
    let places = Arc::new(Semaphore::new(settings.connections));
    let (head_time, drain_time) = (settings.head_time, settings.drain_time);
    let scheduler = model.scheduler.clone();
    let router = routes::router(AppState::new(model, settings, ending));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_headers(HEADERS)
        .max_header_size(HEAD)
        .max_buf_size(2 * HEAD);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let taken = tokio::select! {
            taken = take(&listener, &places) => taken,
            Some(_) = connections.join_next() => continue,
            () = &mut stop => break,
        };
        let (stream, place) = match taken {
            Ok(taken) => taken,
            Err(error) if is_of_one_connection(&error) => continue,
            // No file is left for it, perhaps for a while.
            Err(_) => {
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let (builder, closing) = (builder.clone(), closing.clone());
        connections.spawn(async move {
            let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                // Why a connection broke is its client's concern.
                _ = connection.as_mut() => {}
                () = becomes_true(closing) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(place);
        });
    }
    drop(listener);
    scheduler.drain();
    let _ = close.send(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        _ = timeout(drain_time, finished) => {}
        () = stop_now => {}
    }
    let _ = end_streams.send(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(LAST_WORDS, finished).await;
    connections.shutdown().await;
    Ok(())
}

/// The next connection, once there is a place for it.
async fn take(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Tokens are small and wanted at once.
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput
    )
}
