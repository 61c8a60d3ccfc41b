//! One bucket, through `object_store`.

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, BackoffConfig, GetOptions, GetRange, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, RetryConfig,
};

use super::http::Connector;
use super::{Address, HINT, Object, PIECE};
use crate::{Error, Result};

/// Metadata of an uploaded file: the hash of its content, so that what is there is known without reading it.
const HASH: &str = "blake3";
/// Parts of an upload, at most; stores allow 10,000.
const MAX_PARTS: u64 = 9_000;

/// A bucket of a store.
#[derive(Debug)]
pub struct Client {
    bucket: String,
    store: Arc<dyn ObjectStore>,
}

impl Client {
    /// The bucket of the store that the environment names; nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Remote`] when the environment's settings contradict themselves.
    pub fn open(bucket: &str) -> Result<Self> {
        // About half a minute of patience: a long run rides through a restart of the store, a wrong endpoint is still told.
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(500),
                max_backoff: Duration::from_secs(10),
                base: 3.0,
            },
            max_retries: 8,
            retry_timeout: Duration::from_secs(120),
        };
        let built = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_retry(retry)
            .with_http_connector(Connector)
            .build();
        let address = Address {
            bucket: bucket.to_string(),
            key: String::new(),
        };
        match built {
            Ok(store) => Ok(Self::over(bucket, Arc::new(store))),
            Err(error) => Err(told(&address, "reach", &error)),
        }
    }

    /// A bucket of any store.
    pub(super) fn over(bucket: &str, store: Arc<dyn ObjectStore>) -> Self {
        Self {
            bucket: bucket.to_string(),
            store,
        }
    }

    /// An empty bucket for tests.
    #[cfg(test)]
    pub(crate) fn in_memory(bucket: &str) -> Self {
        Self::over(bucket, Arc::new(object_store::memory::InMemory::new()))
    }

    #[cfg(test)]
    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The address of a key.
    pub(crate) fn address(&self, key: &str) -> Address {
        Address {
            bucket: self.bucket.clone(),
            key: key.to_string(),
        }
    }

    /// Every object below a prefix, in order of key; the prefix ends at a `/`.
    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        let key = self.key(prefix)?;
        let listed: Vec<ObjectMeta> =
            self.wait(prefix, "list", self.store.list(Some(&key)).try_collect())?;
        let objects = listed.into_iter().map(|meta| self.object(meta));
        let mut objects = objects.collect::<Result<Vec<_>>>()?;
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    /// Whether there is an object below a prefix.
    pub(crate) fn any(&self, prefix: &str) -> Result<bool> {
        let key = self.key(prefix)?;
        let mut listed = self.store.list(Some(&key));
        let first = self.wait(prefix, "list", listed.try_next())?;
        Ok(first.is_some())
    }

    /// What the store says about a key; none where there is nothing.
    pub(crate) fn head(&self, key: &str) -> Result<Option<Object>> {
        let path = self.key(key)?;
        let found = self.found(key, "find", self.store.head(&path))?;
        found.map(|meta| self.object(meta)).transpose()
    }

    /// Size and hash of a file that [`Client::put_file`] uploaded; none where there is nothing, or something else.
    pub(crate) fn hash_of(&self, key: &str) -> Result<Option<(u64, String)>> {
        let path = self.key(key)?;
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = self.found(key, "find", self.store.get_opts(&path, options))?;
        Ok(found.and_then(|result| {
            let hash = result.attributes.get(&Attribute::Metadata(HASH.into()))?;
            Some((result.meta.size, hash.to_string()))
        }))
    }

    /// Bytes of an object, all that are asked for. With an ETag no other content is given.
    pub(crate) fn read(&self, key: &str, etag: Option<&str>, range: Range<u64>) -> Result<Vec<u8>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let path = self.key(key)?;
        let wanted = range.end - range.start;
        let options = GetOptions {
            if_match: etag.map(str::to_string),
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let bytes = self.wait(key, "read", async {
            self.store.get_opts(&path, options).await?.bytes().await
        })?;
        if bytes.len() as u64 != wanted {
            let problem = format!("{wanted} bytes were asked for, {} came", bytes.len());
            return Err(self.error(key, "read", problem));
        }
        Ok(bytes.into())
    }

    /// A small object, whole; none where there is nothing.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.key(key)?;
        let found = self.found(key, "read", async {
            self.store.get(&path).await?.bytes().await
        })?;
        Ok(found.map(Vec::from))
    }

    /// Puts a small object in place of what was there; readers see the one or the other.
    pub(crate) fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.key(key)?;
        let put = self.store.put(&path, PutPayload::from(bytes));
        self.wait(key, "write", put).map(|_| ())
    }

    /// Uploads a file with the hash of its content; readers see nothing of it before the end.
    pub(crate) fn put_file(&self, key: &str, path: &Path, hash: &str) -> Result<()> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let part = PIECE.max(size.div_ceil(MAX_PARTS));
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(HASH.into()), hash.to_string().into());
        let mut next = || -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            Read::take(&mut file, part)
                .read_to_end(&mut bytes)
                .map_err(io)?;
            Ok(bytes)
        };
        let place = self.key(key)?;
        if size <= part {
            let options = PutOptions::from(attributes);
            let put = self.store.put_opts(&place, next()?.into(), options);
            return self.wait(key, "write", put).map(|_| ());
        }
        let options = PutMultipartOptions::from(attributes);
        let begun = self.store.put_multipart_opts(&place, options);
        let mut upload = self.wait(key, "write", begun)?;
        let mut parts = || -> Result<()> {
            let mut left = size;
            while left > 0 {
                let bytes = next()?;
                if bytes.is_empty() {
                    let problem = format!("{} became shorter meanwhile", path.display());
                    return Err(self.error(key, "write", problem));
                }
                left = left.saturating_sub(bytes.len() as u64);
                self.wait(key, "write", upload.put_part(bytes.into()))?;
            }
            self.wait(key, "write", upload.complete()).map(|_| ())
        };
        let written = parts();
        if written.is_err() {
            // Best effort: parts that stay behind are the store's to remove.
            let _ = self.wait(key, "write", upload.abort());
        }
        written
    }

    /// Removes an object; one that is not there is no error.
    pub(crate) fn delete(&self, key: &str) -> Result<()> {
        let path = self.key(key)?;
        self.found(key, "remove", self.store.delete(&path))
            .map(|_| ())
    }

    fn key(&self, key: &str) -> Result<Key> {
        Key::parse(key).map_err(|error| self.error(key, "name", error.to_string()))
    }

    fn object(&self, meta: ObjectMeta) -> Result<Object> {
        let key = meta.location.to_string();
        let Some(etag) = meta.e_tag else {
            let problem = "the store gives no ETag, by which a changed object would be known";
            return Err(self.error(&key, "use", problem.to_string()));
        };
        Ok(Object {
            key,
            size: meta.size,
            etag,
        })
    }

    /// Runs one request to its end on this thread. The runtime only keeps the time between attempts: the requests themselves block.
    fn wait<T>(
        &self,
        key: &str,
        action: &'static str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| self.error(key, action, error.to_string()))?;
        let done = runtime.block_on(request);
        done.map_err(|error| told(&self.address(key), action, &error))
    }

    /// The same, where nothing at the key is an answer.
    fn found<T>(
        &self,
        key: &str,
        action: &'static str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<Option<T>> {
        let asked = async {
            match request.await {
                Ok(found) => Ok(Some(found)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.wait(key, action, asked)
    }

    fn error(&self, key: &str, action: &'static str, problem: String) -> Error {
        Error::Remote {
            address: self.address(key).to_string(),
            action,
            problem,
        }
    }
}

/// What a store's refusal means, with what to do.
fn told(address: &Address, action: &'static str, error: &object_store::Error) -> Error {
    use object_store::Error as Store;
    let endpoint = std::env::var("AWS_ENDPOINT_URL").or_else(|_| std::env::var("AWS_ENDPOINT"));
    let endpoint = endpoint.unwrap_or_else(|_| "Amazon's".to_string());
    let problem = match error {
        Store::NotFound { .. } => {
            format!("there is no such bucket or object (endpoint: {endpoint})")
        }
        Store::Precondition { .. } => {
            "the object was changed while it was read; run the same command again".to_string()
        }
        other => format!("{other} (endpoint: {endpoint}); {HINT}"),
    };
    Error::Remote {
        address: address.to_string(),
        action,
        problem,
    }
}
