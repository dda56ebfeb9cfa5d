//! Components that are opened together: each is read and looked at once, however many modules have it.
//!
//! Invariants: a file is read once, so that all its modules have the same component, whatever becomes of it meanwhile; of files
//! with one content, one is kept. What a component is found to have depends on its bytes and on what the operator says of
//! it, so only modules that say the same share that.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daffi_proto::name::NameGlob;

use super::cache::{ContentSum, digest};
use super::{LoadError, LoadOptions, Readable, read_file, servable};

/// The bytes of a component.
pub(super) struct Content {
    pub bytes: Vec<u8>,
    pub digest: ContentSum,
}

/// What is found in a component is the same where this is.
#[derive(PartialEq, Eq, Hash)]
struct Question {
    digest: ContentSum,
    callbacks: Option<Vec<NameGlob>>,
    fetchers: Vec<(String, String)>,
    skip_unsupported: bool,
}

/// Opens components, and remembers them.
#[derive(Default)]
pub struct Opener {
    files: HashMap<PathBuf, Arc<Content>>,
    contents: HashMap<ContentSum, Arc<Content>>,
    opened: HashMap<Question, Arc<Readable>>,
}

impl Opener {
    /// Reads a component file, and finds all that is wrong with it that can be found without compiling it. What was opened
    /// before with the same content and the same options is the same one. It blocks.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong and what to do.
    pub fn open(&mut self, path: &Path, options: LoadOptions) -> Result<Arc<Readable>, LoadError> {
        let content = self.content(path, options.max_bytes)?;
        let question = Question {
            digest: content.digest,
            callbacks: options.callbacks.clone(),
            fetchers: options.fetchers.clone(),
            skip_unsupported: options.skip_unsupported,
        };
        if let Some(opened) = self.opened.get(&question) {
            return Ok(opened.clone());
        }
        let name = path.display().to_string();
        let description = Arc::new(servable(&name, &content.bytes, &options)?);
        let opened = Arc::new(Readable { name, content, options, description });
        Ok(self.opened.entry(question).or_insert(opened).clone())
    }

    fn content(&mut self, path: &Path, max_bytes: u64) -> Result<Arc<Content>, LoadError> {
        if let Some(content) = self.files.get(path) {
            return Ok(content.clone());
        }
        let bytes = read_file(path, max_bytes)?;
        let digest = digest(&bytes);
        let content = self.contents.entry(digest).or_insert_with(|| Arc::new(Content { bytes, digest })).clone();
        Ok(self.files.entry(path.to_owned()).or_insert(content).clone())
    }
}
