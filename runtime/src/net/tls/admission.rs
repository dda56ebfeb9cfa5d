//! What is said after the TLS handshake and before the first frame.
//!
//! ```text
//!   0              Welcome       come in                  controller to node
//!   1              TokenWanted   say the join token       controller to node
//!   2 len16 text   Refused       no, and why              controller to node
//!   len16 bytes    the token                              node to controller
//! ```
//!
//! In TLS 1.3 a node's handshake is over before the controller has judged its certificate. Waiting for this word, the
//! node hears the judgement, and can tell its user; and a token is sent only where one is wanted. Invariant: what is read
//! is bounded, and a text of the other side is one plain line before anybody sees it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::files::JoinToken;

/// Longest reason that is sent or read, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// A controller's word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    Welcome,
    TokenWanted,
    Refused(String),
}

impl Word {
    pub(super) async fn write(&self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        match self {
            Self::Welcome => stream.write_all(&[0]).await?,
            Self::TokenWanted => stream.write_all(&[1]).await?,
            Self::Refused(reason) => {
                let text = reason.get(..reason.floor_char_boundary(MAX_REASON_BYTES)).unwrap_or_default();
                let mut bytes = vec![2];
                bytes.extend(counted(text.as_bytes()));
                stream.write_all(&bytes).await?;
            }
        }
        stream.flush().await
    }

    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        match stream.read_u8().await? {
            0 => Ok(Self::Welcome),
            1 => Ok(Self::TokenWanted),
            2 => {
                let text = read_counted(stream, MAX_REASON_BYTES).await?;
                let text: String = String::from_utf8_lossy(&text).chars().filter(|c| !c.is_control()).collect();
                Ok(Self::Refused(text))
            }
            other => Err(nonsense(&format!("no word of an admission begins with {other}"))),
        }
    }
}

pub(super) async fn write_token(stream: &mut (impl AsyncWrite + Unpin), token: &JoinToken) -> io::Result<()> {
    stream.write_all(&counted(token.bytes())).await?;
    stream.flush().await
}

pub(super) async fn read_token(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    read_counted(stream, JoinToken::MAX_BYTES).await
}

/// The bytes behind their count. They are short: see the callers.
fn counted(bytes: &[u8]) -> Vec<u8> {
    let count = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    count.to_be_bytes().into_iter().chain(bytes.iter().copied().take(count.into())).collect()
}

async fn read_counted(stream: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<u8>> {
    let count = usize::from(stream.read_u16().await?);
    if count > most {
        return Err(nonsense(&format!("{count} bytes are announced, and {most} are the most")));
    }
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
