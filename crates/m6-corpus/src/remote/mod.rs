//! Objects of S3-compatible stores, in blocking calls (ours; the paper's corpus lay on the cloud store of its authors).
//!
//! An address is `s3://bucket/key`. Endpoint and credentials are the usual environment variables ([`HINT`]). Everything asynchronous stays
//! in this module, and so do the crates that need it: without the feature `s3` an address is understood and refused in one sentence.

mod address;
pub mod cache;
#[cfg(feature = "s3")]
mod client;
#[cfg(not(feature = "s3"))]
#[path = "without.rs"]
mod client;
#[cfg(feature = "s3")]
mod http;

#[cfg(all(test, feature = "s3"))]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use address::{Address, is_remote};
pub use client::Client;

use crate::Result;

/// What to set, for errors.
pub const HINT: &str = "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and for a store that is not Amazon's AWS_ENDPOINT_URL (with AWS_ALLOW_HTTP=true where it speaks plain HTTP)";
/// Bytes of one request for a part of an object, and of one part of an upload: what a transfer holds in memory.
pub const PIECE: u64 = 8 << 20;

/// What a store says about an object without giving it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its whole key in the bucket.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The store's word for this content: another content has another.
    pub etag: String,
}

/// The stores in use, by bucket; a connection pool each.
#[derive(Debug, Default)]
pub struct Stores {
    clients: Mutex<BTreeMap<String, Arc<Client>>>,
}

impl Stores {
    /// The client of a bucket.
    ///
    /// # Errors
    /// [`crate::Error::Remote`] when the environment's settings contradict themselves; [`crate::Error::Config`] without the feature `s3`.
    pub fn of(&self, bucket: &str) -> Result<Arc<Client>> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(bucket) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Client::open(bucket)?);
        clients.insert(bucket.to_string(), Arc::clone(&client));
        Ok(client)
    }

    /// Stores of tests: one bucket in memory.
    #[cfg(all(test, feature = "s3"))]
    pub fn with(client: Client) -> Self {
        let clients = BTreeMap::from([(client.bucket().to_string(), Arc::new(client))]);
        Self {
            clients: Mutex::new(clients),
        }
    }
}
