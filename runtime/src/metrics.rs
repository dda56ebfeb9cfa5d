//! The metrics endpoint: what this runtime's processes have done and used, over HTTP, for whoever collects it.
//!
//! Off unless an address is given. It answers `GET /metrics` and nothing else, in the text of OpenMetrics ([`text`]), one
//! request a connection. It runs among the network's threads and reads counters without a lock, so that no guest holds it up; what
//! one who asks may take is bounded here: connections at a time, bytes of a request, and time.
//! It knows no guests: what is told is given to it.

mod text;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
                    // Who asks and goes, or is slow, has no answer.
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        _ = timeout(CONNECTION_TIMEOUT, answer(stream, &*measure)) => {}
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

/// One request and its answer.
async fn answer(mut stream: TcpStream, measure: &(dyn Fn() -> Vec<Measured> + Sync)) -> io::Result<()> {
    let mut request = Vec::new();
    let asked = loop {
        match asked(&request) {
            Some(asked) => break asked,
            None if request.len() >= MAX_REQUEST_BYTES => break Asked::Senseless,
            None => {}
        }
        let room = (MAX_REQUEST_BYTES - request.len()) as u64;
        if (&mut stream).take(room).read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let (status, body) = match asked {
        Asked::Metrics => ("200 OK", text(&measure())),
        Asked::Elsewhere => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        Asked::Otherwise => ("405 Method Not Allowed", "only GET\n".to_owned()),
        Asked::Senseless => ("400 Bad Request", "this is no request\n".to_owned()),
    };
    let kind = match asked {
        Asked::Metrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Metrics,
    Elsewhere,
    Otherwise,
    Senseless,
}

/// None as long as it is not all there.
fn asked(bytes: &[u8]) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(_)) => Some(match (request.method, request.path) {
            (Some("GET"), Some(path)) if path.split('?').next() == Some("/metrics") => Asked::Metrics,
            (Some("GET"), _) => Asked::Elsewhere,
            _ => Asked::Otherwise,
        }),
        Err(_) => Some(Asked::Senseless),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        for (request, is) in [
            ("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", Some(Asked::Metrics)),
            ("GET /metrics?name=x HTTP/1.0\r\n\r\n", Some(Asked::Metrics)),
            ("GET / HTTP/1.1\r\n\r\n", Some(Asked::Elsewhere)),
            ("POST /metrics HTTP/1.1\r\n\r\n", Some(Asked::Otherwise)),
            ("GET /metrics HTTP/1.1\r\nhost: x\r\n", None),
            ("", None),
            ("\0\0\0\0", Some(Asked::Senseless)),
        ] {
            assert_eq!(asked(request.as_bytes()), is, "{request:?}");
        }
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
        assert!(ask(address, endless).await.starts_with("HTTP/1.1 400 "));
        let told = ask(address, b"GET /metrics HTTP/1.1\r\n\r\n").await;
        assert!(told.starts_with("HTTP/1.1 200 OK\r\n") && told.ends_with("# EOF\n"), "{told}");
        cancel.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
