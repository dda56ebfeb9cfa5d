//! A client that speaks nonsense, or nothing at all.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{Cluster, PATIENCE};

/// A socket to the controller, without any protocol.
pub struct Raw(UnixStream);

impl Cluster {
    /// Connects to the controller's socket.
    pub fn raw(&self) -> Raw {
        self.raw_at(&self.socket())
    }

    /// Connects to this socket.
    pub fn raw_at(&self, socket: &Path) -> Raw {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Raw(stream)
    }
}

impl Raw {
    /// Writes bytes. The controller may have closed already, which is what the test asks for anyway.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// A frame: its length, then these bytes.
    pub fn frame(&mut self, bytes: &[u8]) {
        self.write(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        self.write(bytes);
    }

    /// Writes no more.
    pub fn end(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
    }

    /// Reads until the controller closes the link, and gives what it said before.
    pub fn closed(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        match self.0.read_to_end(&mut said) {
            Ok(_) => said,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => said,
            Err(error) => panic!("the controller did not close the link: {error}"),
        }
    }
}
