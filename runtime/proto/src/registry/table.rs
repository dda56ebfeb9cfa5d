//! The callbacks of a process on the wire, with every signature once.
//!
//! Invariant: what [`CallbackTable::open`] lets pass is within bounds, has no name twice, and every signature is
//! sound: the bytes come from somebody else's machine.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::call::CallbackSpec;
use crate::name::CallbackName;
use crate::signature::{Fingerprint, Signature};

/// Most callbacks of a process.
pub const MAX_CALLBACKS_PER_PROCESS: usize = 1024;

/// Most bytes of a process's callbacks with their signatures on the wire.
pub const MAX_TABLE_BYTES: usize = 1024 * 1024;

/// A callback as a registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Its full name.
    pub name: CallbackName,
    /// Its type.
    pub signature: Arc<Signature>,
    /// What its type is compared by.
    pub fingerprint: Fingerprint,
}

/// The payload of `Register` and `Entry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackTable {
    /// The signatures, each once.
    pub signatures: Vec<Arc<Signature>>,
    /// The callbacks: full name and the place of the signature.
    pub callbacks: Vec<(CallbackName, u32)>,
}

/// Callbacks cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Too many.
    #[error("{0} callbacks, a process may have {MAX_CALLBACKS_PER_PROCESS}")]
    TooMany(usize),
    /// Too large.
    #[error("callbacks and signatures of {0} bytes, a process may have {MAX_TABLE_BYTES}")]
    TooLarge(usize),
    /// One name twice.
    #[error("the callback {0} twice")]
    Twice(CallbackName),
    /// Not what it should be.
    #[error("callbacks that cannot be read: {0}")]
    Malformed(String),
}

impl Callback {
    /// Computes the fingerprint.
    pub fn new(spec: &CallbackSpec) -> Self {
        let fingerprint = spec.signature.fingerprint();
        Self { name: spec.name.clone(), signature: spec.signature.clone(), fingerprint }
    }
}

impl CallbackTable {
    /// The bytes for these callbacks.
    ///
    /// # Errors
    /// [`TableError`]: the process cannot be registered anywhere.
    pub fn encode(callbacks: &[Callback]) -> Result<Bytes, TableError> {
        let mut table = Self { signatures: Vec::new(), callbacks: Vec::new() };
        // Signatures of one fingerprint may differ in names, which are kept.
        let mut places: HashMap<Fingerprint, Vec<u32>> = HashMap::new();
        let mut names = HashSet::new();
        for callback in callbacks {
            if !names.insert(&callback.name) {
                return Err(TableError::Twice(callback.name.clone()));
            }
            let alike = places.entry(callback.fingerprint).or_default();
            let same = |place: &&u32| table.signatures.get(**place as usize) == Some(&callback.signature);
            let place = alike.iter().find(same).copied().unwrap_or_else(|| {
                let place = u32::try_from(table.signatures.len()).unwrap_or(u32::MAX);
                table.signatures.push(callback.signature.clone());
                alike.push(place);
                place
            });
            table.callbacks.push((callback.name.clone(), place));
        }
        if table.callbacks.len() > MAX_CALLBACKS_PER_PROCESS {
            return Err(TableError::TooMany(table.callbacks.len()));
        }
        let bytes = postcard::to_stdvec(&table).map_err(|error| TableError::Malformed(error.to_string()))?;
        if bytes.len() > MAX_TABLE_BYTES {
            return Err(TableError::TooLarge(bytes.len()));
        }
        Ok(Bytes::from(bytes))
    }

    /// The callbacks in these bytes.
    ///
    /// # Errors
    /// [`TableError`]: refuse the process.
    pub fn open(bytes: &[u8]) -> Result<Arc<[Callback]>, TableError> {
        if bytes.len() > MAX_TABLE_BYTES {
            return Err(TableError::TooLarge(bytes.len()));
        }
        let malformed = |error: String| TableError::Malformed(error);
        let table: Self = postcard::from_bytes(bytes).map_err(|error| malformed(error.to_string()))?;
        if table.callbacks.len() > MAX_CALLBACKS_PER_PROCESS {
            return Err(TableError::TooMany(table.callbacks.len()));
        }
        if table.signatures.len() > table.callbacks.len() {
            return Err(malformed("more signatures than callbacks".to_owned()));
        }
        let mut signatures = Vec::with_capacity(table.signatures.len());
        for signature in table.signatures {
            signature.check().map_err(|error| malformed(error.to_string()))?;
            signatures.push((signature.fingerprint(), signature));
        }
        let mut names = HashSet::new();
        let mut callbacks = Vec::with_capacity(table.callbacks.len());
        for (name, place) in &table.callbacks {
            let Some((fingerprint, signature)) = signatures.get(*place as usize) else {
                return Err(malformed(format!("{name} has a signature that is not there")));
            };
            if !names.insert(name) {
                return Err(TableError::Twice(name.clone()));
            }
            callbacks.push(Callback { name: name.clone(), signature: signature.clone(), fingerprint: *fingerprint });
        }
        Ok(callbacks.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{Field, SignatureBuilder, Type};

    fn callback(name: &str, ty: Type) -> Callback {
        let signature = Arc::new(SignatureBuilder::new().function([("a", ty)], None).unwrap());
        Callback::new(&CallbackSpec { name: CallbackName::parse(name).unwrap(), signature })
    }

    #[test]
    fn every_signature_is_sent_once_and_every_callback_comes_back_with_its_own() {
        let mut callbacks: Vec<Callback> = (0..100).map(|at| callback(&format!("f{at}"), Type::S64)).collect();
        callbacks.push(callback("g", Type::String));
        let bytes = CallbackTable::encode(&callbacks).unwrap();
        let table: CallbackTable = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(table.signatures.len(), 2);
        let back = CallbackTable::open(&bytes).unwrap();
        for (before, after) in callbacks.iter().zip(back.iter()) {
            assert_eq!((&before.name, &before.signature), (&after.name, &after.signature));
            assert_eq!(before.fingerprint, after.fingerprint);
        }
    }

    #[test]
    fn too_many_callbacks_are_refused_on_both_sides() {
        let many: Vec<Callback> =
            (0..=MAX_CALLBACKS_PER_PROCESS).map(|at| callback(&format!("f{at}"), Type::S64)).collect();
        assert_eq!(CallbackTable::encode(&many), Err(TableError::TooMany(many.len())));
        let callbacks = many.iter().map(|callback| (callback.name.clone(), 0)).collect();
        let table = CallbackTable { signatures: vec![many[0].signature.clone()], callbacks };
        let bytes = postcard::to_stdvec(&table).unwrap();
        assert_eq!(CallbackTable::open(&bytes).unwrap_err(), TableError::TooMany(many.len()));
        assert!(matches!(CallbackTable::open(&vec![0; MAX_TABLE_BYTES + 1]), Err(TableError::TooLarge(_))));
    }

    #[test]
    fn a_table_that_is_not_sound_is_refused() {
        let good = callback("f", Type::S64);
        let name = good.name.clone();
        let mut wild = good.signature.as_ref().clone();
        wild.params = vec![Field { name: "a".to_owned(), ty: Type::Def(7) }];
        let signature = good.signature.clone();
        let tables = [
            (vec![signature.clone()], vec![(name.clone(), 0), (name.clone(), 0)], "twice"),
            (vec![signature.clone()], vec![(name.clone(), 1)], "a signature that is not there"),
            (vec![signature.clone(), signature], vec![(name.clone(), 0)], "more signatures than callbacks"),
            (vec![Arc::new(wild)], vec![(name, 0)], "refers to type 7"),
        ];
        for (signatures, callbacks, reason) in tables {
            let bytes = postcard::to_stdvec(&CallbackTable { signatures, callbacks }).unwrap();
            let error = CallbackTable::open(&bytes).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(CallbackTable::open(b"\x00").is_err());
    }
}
