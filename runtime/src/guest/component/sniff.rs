//! What a file is that is no component, told by its first bytes: for the error message alone.

/// The magic number of WebAssembly files.
const WASM_MAGIC: &[u8] = b"\0asm";

/// What the first eight bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// A component of the version that we read; whether it is a good one is another question.
    Component,
    /// A core module.
    CoreModule,
    /// Something else, in words for the error message.
    Other(&'static str),
}

/// Looks at the beginning of a file.
pub(super) fn sniff(bytes: &[u8]) -> Sniffed {
    if let Some(rest) = bytes.strip_prefix(WASM_MAGIC) {
        return match rest {
            [0x0d, 0, 1, 0, ..] => Sniffed::Component,
            [1, 0, 0, 0, ..] => Sniffed::CoreModule,
            [_, _, 1, 0, ..] => Sniffed::Other("a component of a draft of the format; build it with current tools"),
            [_, _, _, _, ..] => Sniffed::Other("WebAssembly of a version that this runtime does not know"),
            _ => Sniffed::Other("a WebAssembly file of which only the first bytes are there; build or copy it again"),
        };
    }
    Sniffed::Other(binary(bytes).unwrap_or_else(|| text(bytes)))
}

fn binary(bytes: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 14] = [
        (b"\x7fELF", "a native ELF program or compiled wasm (`.cwasm`); name the `.wasm` file that it was made from"),
        (b"MZ", "a Windows program; build it for `wasm32-wasip2`"),
        (b"\xcf\xfa\xed\xfe", "a macOS program; build it for `wasm32-wasip2`"),
        (b"\xca\xfe\xba\xbe", "a macOS program or a Java class; build it for `wasm32-wasip2`"),
        (b"\x1f\x8b", "a gzip archive; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
        (b"\xfd7zXZ\0", "an xz archive; unpack it first"),
        (b"BZh", "a bzip2 archive; unpack it first"),
        (b"PK\x03\x04", "a zip archive; unpack it first"),
        (b"!<arch>\n", "a static library; link it into a component"),
        (b"BC\xc0\xde", "LLVM bitcode; link it into a component"),
        (b"%PDF", "a PDF document"),
        (b"\x89PNG", "a picture"),
        (b"version https://git-lfs", "a Git LFS pointer; run `git lfs pull`"),
    ];
    known.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, what)| *what)
}

fn text(bytes: &[u8]) -> &'static str {
    let head = bytes.get(..4096).unwrap_or(bytes);
    let head = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The cut may go through a character; anything else that is no UTF-8 is no text.
        Err(error) if error.error_len().is_none() => {
            head.get(..error.valid_up_to()).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
        }
        Err(_) => return "binary data of an unknown kind",
    };
    if bytes.is_empty() {
        return "an empty file; the build may have failed";
    }
    let head = head.trim_start_matches('\u{feff}').trim_start();
    let lower = head.to_ascii_lowercase();
    let starts = |any: &[&str]| any.iter().any(|start| lower.starts_with(start));
    if lower.contains('\0') {
        "binary data of an unknown kind"
    } else if starts(&["(component", "(module", ";;", "(;"]) {
        "WebAssembly text; translate it: `wasm-tools parse file.wat -o file.wasm`"
    } else if starts(&["<!doctype html", "<html"]) {
        "an HTML page; the download may have met an error page"
    } else if starts(&["<?xml", "<svg"]) {
        "XML"
    } else if starts(&["#!"]) {
        "a script"
    } else if starts(&["package ", "interface ", "world "]) && lower.contains(';') {
        "WIT text; build a component that exports it"
    } else if starts(&["{", "["]) {
        "JSON or TOML text"
    } else if head.is_empty() {
        "an empty text file"
    } else {
        "a text file (source code must be compiled to a component first)"
    }
}
