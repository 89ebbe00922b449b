//! Vectors of patches, wherever they lie. A view on the host is made once, by who first asks for it.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// Vectors of one frame's patches on another device than the CPU.
pub trait TokenStorage: Send {
    /// Copies them to the host: L2-normalised rows, `(N, C)`. They are read once, and the device may free them.
    ///
    /// # Errors
    /// A device that is lost or out of memory.
    fn read(self: Box<Self>) -> anyhow::Result<Vec<f32>>;
}

/// Features that could not be brought to the host.
#[derive(Clone, Debug, thiserror::Error)]
#[error("reading the network's features: {0:#}")]
pub struct Unreadable(Arc<anyhow::Error>);

/// Vectors of one frame's patches `(N, C)`.
pub struct Tokens {
    /// Where they lie until they are read; none where they were made on the host.
    storage: Mutex<Option<Box<dyn TokenStorage>>>,
    host: OnceLock<Result<Vec<f32>, Unreadable>>,
}

impl Tokens {
    /// Vectors on another device.
    pub fn stored(storage: impl TokenStorage + 'static) -> Self {
        Self { storage: Mutex::new(Some(Box::new(storage))), host: OnceLock::new() }
    }

    /// The vectors on the host, brought there where they are not there yet. Who asks meanwhile waits for the one copy.
    ///
    /// # Errors
    /// A device that is lost or out of memory: the same error each time.
    pub fn load(&self) -> Result<&[f32], Unreadable> {
        let read = || {
            let storage = self.storage.lock().unwrap_or_else(PoisonError::into_inner).take();
            storage.map_or(Ok(Vec::new()), |storage| storage.read().map_err(|error| Unreadable(Arc::new(error))))
        };
        match self.host.get_or_init(read) {
            Ok(vectors) => Ok(vectors),
            Err(error) => Err(error.clone()),
        }
    }

    /// The vectors on the host; none where they cannot be read.
    #[inline]
    pub fn on_host(&self) -> &[f32] {
        match self.host.get() {
            Some(Ok(vectors)) => vectors,
            _ => self.load().unwrap_or_default(),
        }
    }
}

impl From<Vec<f32>> for Tokens {
    fn from(vectors: Vec<f32>) -> Self {
        Self { storage: Mutex::new(None), host: OnceLock::from(Ok(vectors)) }
    }
}

impl fmt::Debug for Tokens {
    /// Where they are: numbers would fill pages, and must not be read for this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.get() {
            Some(Ok(vectors)) => write!(f, "{} numbers", vectors.len()),
            Some(Err(error)) => write!(f, "{error}"),
            None => f.write_str("not read"),
        }
    }
}
