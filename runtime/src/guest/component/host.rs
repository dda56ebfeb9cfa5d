//! What the host itself provides to guests: WASI and `daffi:runtime`.
//!
//! These tables say what the linker has, so that `inspect` and the error of a missing import need no compiler. A test
//! links each function of them, and another compares `daffi:runtime` with the repository's WIT.

use super::interface::InterfaceName;

/// An interface, without its version, and its functions.
type Table = &'static [(&'static str, &'static str)];

/// WASI 0.2, in both engines.
pub(super) const WASI_P2: Table = &[
    ("wasi:cli/environment", "get-environment get-arguments initial-cwd"),
    ("wasi:cli/exit", "exit exit-with-code"),
    ("wasi:cli/stdin", "get-stdin"),
    ("wasi:cli/stdout", "get-stdout"),
    ("wasi:cli/stderr", "get-stderr"),
    ("wasi:cli/terminal-input", ""),
    ("wasi:cli/terminal-output", ""),
    ("wasi:cli/terminal-stdin", "get-terminal-stdin"),
    ("wasi:cli/terminal-stdout", "get-terminal-stdout"),
    ("wasi:cli/terminal-stderr", "get-terminal-stderr"),
    ("wasi:clocks/monotonic-clock", "now resolution subscribe-instant subscribe-duration"),
    ("wasi:clocks/wall-clock", "now resolution"),
    (
        "wasi:filesystem/types",
        "[method]descriptor.read-via-stream [method]descriptor.write-via-stream [method]descriptor.append-via-stream \
         [method]descriptor.advise [method]descriptor.sync-data [method]descriptor.get-flags \
         [method]descriptor.get-type [method]descriptor.set-size [method]descriptor.set-times [method]descriptor.read \
         [method]descriptor.write [method]descriptor.read-directory [method]descriptor.sync \
         [method]descriptor.create-directory-at [method]descriptor.stat [method]descriptor.stat-at \
         [method]descriptor.set-times-at [method]descriptor.link-at [method]descriptor.open-at \
         [method]descriptor.readlink-at [method]descriptor.remove-directory-at [method]descriptor.rename-at \
         [method]descriptor.symlink-at [method]descriptor.unlink-file-at [method]descriptor.is-same-object \
         [method]descriptor.metadata-hash [method]descriptor.metadata-hash-at \
         [method]directory-entry-stream.read-directory-entry filesystem-error-code",
    ),
    ("wasi:filesystem/preopens", "get-directories"),
    ("wasi:io/error", "[method]error.to-debug-string"),
    ("wasi:io/poll", "[method]pollable.ready [method]pollable.block poll"),
    (
        "wasi:io/streams",
        "[method]input-stream.read [method]input-stream.blocking-read [method]input-stream.skip \
         [method]input-stream.blocking-skip [method]input-stream.subscribe [method]output-stream.check-write \
         [method]output-stream.write [method]output-stream.blocking-write-and-flush [method]output-stream.flush \
         [method]output-stream.blocking-flush [method]output-stream.subscribe [method]output-stream.write-zeroes \
         [method]output-stream.blocking-write-zeroes-and-flush [method]output-stream.splice \
         [method]output-stream.blocking-splice",
    ),
    ("wasi:random/insecure-seed", "insecure-seed"),
    ("wasi:random/insecure", "get-insecure-random-bytes get-insecure-random-u64"),
    ("wasi:random/random", "get-random-bytes get-random-u64"),
    ("wasi:sockets/network", ""),
    ("wasi:sockets/instance-network", "instance-network"),
    (
        "wasi:sockets/ip-name-lookup",
        "[method]resolve-address-stream.resolve-next-address [method]resolve-address-stream.subscribe \
         resolve-addresses",
    ),
    (
        "wasi:sockets/tcp",
        "[method]tcp-socket.start-bind [method]tcp-socket.finish-bind [method]tcp-socket.start-connect \
         [method]tcp-socket.finish-connect [method]tcp-socket.start-listen [method]tcp-socket.finish-listen \
         [method]tcp-socket.accept [method]tcp-socket.local-address [method]tcp-socket.remote-address \
         [method]tcp-socket.is-listening [method]tcp-socket.address-family \
         [method]tcp-socket.set-listen-backlog-size [method]tcp-socket.keep-alive-enabled \
         [method]tcp-socket.set-keep-alive-enabled [method]tcp-socket.keep-alive-idle-time \
         [method]tcp-socket.set-keep-alive-idle-time [method]tcp-socket.keep-alive-interval \
         [method]tcp-socket.set-keep-alive-interval [method]tcp-socket.keep-alive-count \
         [method]tcp-socket.set-keep-alive-count [method]tcp-socket.hop-limit [method]tcp-socket.set-hop-limit \
         [method]tcp-socket.receive-buffer-size [method]tcp-socket.set-receive-buffer-size \
         [method]tcp-socket.send-buffer-size [method]tcp-socket.set-send-buffer-size [method]tcp-socket.subscribe \
         [method]tcp-socket.shutdown",
    ),
    ("wasi:sockets/tcp-create-socket", "create-tcp-socket"),
    (
        "wasi:sockets/udp",
        "[method]udp-socket.start-bind [method]udp-socket.finish-bind [method]udp-socket.stream \
         [method]udp-socket.local-address [method]udp-socket.remote-address [method]udp-socket.address-family \
         [method]udp-socket.unicast-hop-limit [method]udp-socket.set-unicast-hop-limit \
         [method]udp-socket.receive-buffer-size [method]udp-socket.set-receive-buffer-size \
         [method]udp-socket.send-buffer-size [method]udp-socket.set-send-buffer-size [method]udp-socket.subscribe \
         [method]incoming-datagram-stream.receive [method]incoming-datagram-stream.subscribe \
         [method]outgoing-datagram-stream.check-send [method]outgoing-datagram-stream.send \
         [method]outgoing-datagram-stream.subscribe",
    ),
    ("wasi:sockets/udp-create-socket", "create-udp-socket"),
];

/// WASI 0.3, in the concurrent engine.
pub(super) const WASI_P3: Table = &[
    ("wasi:cli/environment", "get-environment get-arguments get-initial-cwd"),
    ("wasi:cli/exit", "exit exit-with-code"),
    ("wasi:cli/types", ""),
    ("wasi:cli/stdin", "read-via-stream"),
    ("wasi:cli/stdout", "write-via-stream"),
    ("wasi:cli/stderr", "write-via-stream"),
    ("wasi:cli/terminal-input", ""),
    ("wasi:cli/terminal-output", ""),
    ("wasi:cli/terminal-stdin", "get-terminal-stdin"),
    ("wasi:cli/terminal-stdout", "get-terminal-stdout"),
    ("wasi:cli/terminal-stderr", "get-terminal-stderr"),
    ("wasi:clocks/types", ""),
    ("wasi:clocks/monotonic-clock", "now get-resolution wait-until wait-for"),
    ("wasi:clocks/system-clock", "now get-resolution"),
    (
        "wasi:filesystem/types",
        "[method]descriptor.read-via-stream [method]descriptor.write-via-stream [method]descriptor.append-via-stream \
         [method]descriptor.advise [method]descriptor.sync-data [method]descriptor.get-flags \
         [method]descriptor.get-type [method]descriptor.set-size [method]descriptor.set-times \
         [method]descriptor.read-directory [method]descriptor.sync [method]descriptor.create-directory-at \
         [method]descriptor.stat [method]descriptor.stat-at [method]descriptor.set-times-at \
         [method]descriptor.link-at [method]descriptor.open-at [method]descriptor.readlink-at \
         [method]descriptor.remove-directory-at [method]descriptor.rename-at [method]descriptor.symlink-at \
         [method]descriptor.unlink-file-at [method]descriptor.is-same-object [method]descriptor.metadata-hash \
         [method]descriptor.metadata-hash-at",
    ),
    ("wasi:filesystem/preopens", "get-directories"),
    ("wasi:random/insecure-seed", "get-insecure-seed"),
    ("wasi:random/insecure", "get-insecure-random-bytes get-insecure-random-u64"),
    ("wasi:random/random", "get-random-bytes get-random-u64"),
    (
        "wasi:sockets/types",
        "[static]tcp-socket.create [method]tcp-socket.bind [method]tcp-socket.connect [method]tcp-socket.listen \
         [method]tcp-socket.send [method]tcp-socket.receive [method]tcp-socket.get-local-address \
         [method]tcp-socket.get-remote-address [method]tcp-socket.get-is-listening \
         [method]tcp-socket.get-address-family [method]tcp-socket.set-listen-backlog-size \
         [method]tcp-socket.get-keep-alive-enabled [method]tcp-socket.set-keep-alive-enabled \
         [method]tcp-socket.get-keep-alive-idle-time [method]tcp-socket.set-keep-alive-idle-time \
         [method]tcp-socket.get-keep-alive-interval [method]tcp-socket.set-keep-alive-interval \
         [method]tcp-socket.get-keep-alive-count [method]tcp-socket.set-keep-alive-count \
         [method]tcp-socket.get-hop-limit [method]tcp-socket.set-hop-limit \
         [method]tcp-socket.get-receive-buffer-size [method]tcp-socket.set-receive-buffer-size \
         [method]tcp-socket.get-send-buffer-size [method]tcp-socket.set-send-buffer-size [static]udp-socket.create \
         [method]udp-socket.bind [method]udp-socket.connect [method]udp-socket.disconnect [method]udp-socket.send \
         [method]udp-socket.receive [method]udp-socket.get-local-address [method]udp-socket.get-remote-address \
         [method]udp-socket.get-address-family [method]udp-socket.get-unicast-hop-limit \
         [method]udp-socket.set-unicast-hop-limit [method]udp-socket.get-receive-buffer-size \
         [method]udp-socket.set-receive-buffer-size [method]udp-socket.get-send-buffer-size \
         [method]udp-socket.set-send-buffer-size",
    ),
    ("wasi:sockets/ip-name-lookup", "resolve-addresses"),
];

/// `daffi:runtime` 0.1.
pub(super) const DAFFI: Table = &[
    ("daffi:runtime/types", ""),
    (
        "daffi:runtime/call",
        "fg bg send remaining [method]pending.subscribe [method]pending.try-get [method]pending.wait \
         [method]pending.cancel broadcast send-all gather [method]arrivals.subscribe [method]arrivals.try-next \
         [method]arrivals.next stream [method]reply.subscribe [method]reply.try-get [method]reply.wait \
         [method]outbound.subscribe [method]outbound.check-write [method]outbound.write [method]outbound.finish \
         [method]outbound.fail [method]outbound.ended [method]inbound.subscribe [method]inbound.try-next \
         [method]inbound.next schedule scheduled-tasks scheduled-task cancel-task",
    ),
    (
        "daffi:runtime/call-async",
        "fg send send-all broadcast gather stream given-up schedule scheduled-tasks scheduled-task cancel-task",
    ),
    ("daffi:runtime/mesh-async", "wait-process wait-callback processes callbacks watch"),
    (
        "daffi:runtime/mesh",
        "whoami wait-process wait-callback processes callbacks watch [method]member-events.subscribe \
         [method]member-events.try-next [method]member-events.next stop",
    ),
];

/// The interface that a guest may export to be told about its life.
pub(super) const LIFECYCLE: &str = "daffi:runtime/lifecycle";

/// The same with async functions.
pub(super) const LIFECYCLE_ASYNC: &str = "daffi:runtime/lifecycle-async";

/// Whether the host provides these functions of the interface: an error says what it lacks, in words that follow the
/// interface's name.
pub(super) fn provides(interface: &InterfaceName<'_>, functions: &[String]) -> Result<(), Missing> {
    let table = table(interface).map_err(Missing::Interface)?;
    let Some((_, known)) = table.iter().find(|(name, _)| *name == interface.full) else {
        return Err(Missing::Interface(absent(interface)));
    };
    let missing: Vec<&str> = functions
        .iter()
        .map(String::as_str)
        .filter(|function| !known.split_ascii_whitespace().any(|known| known == *function))
        .filter(|function| !function.starts_with("[resource-drop]"))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing::Functions(missing.join("`, `"))) }
}

/// What the host lacks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The interface as a whole, with the reason.
    Interface(String),
    /// These functions of an interface that it has.
    Functions(String),
}

fn table(interface: &InterfaceName<'_>) -> Result<Table, String> {
    let version = interface.version.as_ref().map(|version| (version.major, version.minor, version.pre.is_empty()));
    match (interface.is_wasi(), version) {
        (true, Some((0, 2, true))) => Ok(WASI_P2),
        (true, Some((0, 3, true))) => Ok(WASI_P3),
        (true, _) => Err("is of a WASI version that this runtime does not have; it has 0.2 and 0.3".to_owned()),
        (false, Some((0, 1, true))) => Ok(DAFFI),
        (false, _) => Err("is of a version that this runtime does not have; it has 0.1: build the guest with the \
                           `wit` folder of this release"
            .to_owned()),
    }
}

fn absent(interface: &InterfaceName<'_>) -> String {
    let provided = if interface.is_wasi() {
        "of WASI it provides cli, clocks, filesystem, io, random and sockets"
    } else {
        "of daffi:runtime it provides call and mesh, and call-async and mesh-async"
    };
    format!("is an import that nothing can satisfy: this runtime does not provide it; {provided}")
}
