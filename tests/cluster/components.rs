//! The guests, by name: what `guests/build.sh` built.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where `guests/build.sh` puts the components.
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("DAFFI_COMPONENTS") {
        return folder.into();
    }
    match std::env::var_os("CARGO_TARGET_DIR") {
        // Relative to where cargo was called, which is the repository's root.
        Some(target) => root().join(target).join("components"),
        None => root().join("target/components"),
    }
}

/// The built component of this name.
pub fn component(name: &str) -> PathBuf {
    let path = folder().join(format!("{name}.wasm"));
    assert!(path.is_file(), "there is no {}: run `make guests`", path.display());
    path
}
