//! The metrics endpoint: what this runtime's processes have done and used, over HTTP, for whoever collects it.
//!
//! Off unless an address is given. It answers `GET /metrics` and nothing else, in the text of OpenMetrics ([`text`]), one
//! request a connection. It runs among the network's threads and reads counters without a lock, so that no guest holds it up; what
//! one who asks may take is bounded here: connections at a time, bytes of a request, and time.
//! It knows no guests: what is told is given to it.

mod text;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use text::{Measured, text};

/// Most connections at a time; the next ones wait.
const MAX_CONNECTIONS: usize = 16;

/// How long one may take, from its first byte to the last of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a request.
const MAX_REQUEST_BYTES: usize = 8 << 10;

/// Most headers of one.
const MAX_HEADERS: usize = 64;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PLAIN: &str = "text/plain; charset=utf-8";

/// The pause after a connection could not be accepted, which is where the process has no files left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The endpoint, listening.
pub struct Metrics {
    listener: TcpListener,
    address: SocketAddr,
}

impl Metrics {
    /// Takes the address.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it is, with the port that the system chose for 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is cancelled, with what is measured at that moment.
    pub async fn run(
        self,
        measure: impl Fn() -> Vec<Measured> + Send + Sync + 'static,
        tasks: TaskTracker,
        cancel: CancellationToken,
    ) {
        let (places, measure) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), Arc::new(measure));
        let serve = async {
            loop {
                // It is never closed.
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let Ok((stream, _)) = self.listener.accept().await else {
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let (measure, cancel) = (Arc::clone(&measure), cancel.clone());
                tasks.spawn(async move {
                    let _place = place;
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = serve(stream, &*measure) => {}
                    }
                });
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = serve => {}
        }
    }
}

/// Answers what is asked on a connection, within its time.
async fn serve(stream: TcpStream, measure: &(dyn Fn() -> Vec<Measured> + Sync)) {
    let answers = service_fn(async |request| Ok::<_, Infallible>(answer(&request, measure)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(MAX_REQUEST_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), answers);
    // Who asks and goes, or is slow, has no answer.
    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
}

fn answer<B>(request: &Request<B>, measure: &(dyn Fn() -> Vec<Measured> + Sync)) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, OPENMETRICS, text(&measure())),
        (&Method::GET, _) => (StatusCode::NOT_FOUND, PLAIN, "metrics are at /metrics\n".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let answer = |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            super::answer(&request, &Vec::new).status().as_u16()
        };
        assert_eq!([answer("GET", "/metrics"), answer("GET", "/metrics?name=x")], [200, 200]);
        assert_eq!([answer("GET", "/"), answer("GET", "/metrics/x"), answer("POST", "/metrics")], [404, 404, 405]);
    }

    async fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).await.unwrap();
        told
    }

    #[tokio::test]
    async fn who_asks_too_much_is_refused_and_the_next_one_is_answered() {
        let metrics = Metrics::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, tasks, cancel) = (metrics.address(), TaskTracker::new(), CancellationToken::new());
        tasks.spawn(metrics.run(Vec::new, tasks.clone(), cancel.clone()));
        let endless = [b"GET /metrics HTTP/1.1\r\nx: ".as_slice(), &[b'x'; MAX_REQUEST_BYTES]].concat();
        let endless = endless.get(..MAX_REQUEST_BYTES).unwrap();
        assert!(ask(address, endless).await.starts_with("HTTP/1.1 431 "));
        assert!(ask(address, b"\0\0\0\0").await.starts_with("HTTP/1.1 400 "));
        let told = ask(address, b"GET /metrics HTTP/1.1\r\n\r\n").await;
        assert!(told.starts_with("HTTP/1.1 200 OK\r\n") && told.ends_with("# EOF\n"), "{told}");
        cancel.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
