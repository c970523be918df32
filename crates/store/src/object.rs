//! An object store on a [`Disk`] whose writes are durable when they return: the bytes are written
//! under another name and synced, then the name is linked and its folder synced, new folders too.
//!
//! `object_store`'s own local store never syncs, so that a commit of a table's log could vanish
//! with the power although every test with `kill -9` passed. The tables use this one instead.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error as ObjectError, GetOptions, GetResult,
    GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::disk::{self, Disk, Entry};
use crate::health::Health;

/// A long file is synced after so many bytes: file systems let the sync of one file, such as the
/// write-ahead log's, for which senders wait, take as long as what others have written.
const SYNC_BYTES: usize = 1 << 20;

/// Where files stand while they are being written.
pub(crate) const TMP: &str = "tmp";

const NAME: &str = "whodid disk";

/// The object store. Cloning it shares it.
#[derive(Clone, Debug)]
pub(crate) struct DiskStore {
    disk: Arc<dyn Disk>,
    health: Health,
    next: Arc<AtomicU64>,
    /// Folders whose names this process has made durable: one that exists may have been left by a
    /// process that was killed before it could.
    durable: Arc<Mutex<HashSet<String>>>,
}

impl DiskStore {
    pub(crate) fn new(disk: Arc<dyn Disk>, health: Health) -> Self {
        DiskStore { disk, health, next: Arc::default(), durable: Arc::default() }
    }

    /// Writes a new file, durably.
    ///
    /// # Errors
    /// It is there already, or the disk refuses.
    pub(crate) fn create(&self, path: &str, bytes: Vec<u8>) -> crate::Result<()> {
        self.put_now(path, &[bytes.into()], &PutMode::Create).map_err(|error| own(path, error))
    }

    /// Writes a file in the place of what has its name, durably.
    ///
    /// # Errors
    /// The disk refuses; the old file is still there.
    pub(crate) fn replace(&self, path: &str, bytes: Vec<u8>) -> crate::Result<()> {
        self.put_now(path, &[bytes.into()], &PutMode::Overwrite).map_err(|error| own(path, error))
    }

    /// Reads a small file; `None` where that is impossible.
    pub(crate) fn read_all(&self, path: &str) -> Option<Vec<u8>> {
        const SMALL_BYTES_MAX: u64 = 1 << 20;
        disk::read(&*self.disk, path, SMALL_BYTES_MAX).ok()
    }

    /// Writes one object, durably.
    fn put_now(&self, path: &str, chunks: &[Bytes], mode: &PutMode) -> Result<()> {
        self.health.check().map_err(generic)?;
        let folder = disk::parent(path);
        self.create_dirs(folder)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let tmp = format!("{TMP}/{}-{number}", std::process::id());
        let placed = self.place(&tmp, path, chunks, mode);
        // The temporary name is of no use either way; the writer clears the folder when it starts.
        let _removed = self.disk.remove(&tmp);
        placed?;
        self.health.synced(folder, self.disk.sync_dir(folder)).map_err(generic)
    }

    /// Creates a folder and those above it, each name durable before the next.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn create_dirs(&self, path: &str) -> Result<()> {
        let is_durable = || self.durable.lock().is_ok_and(|durable| durable.contains(path));
        if path.is_empty() || is_durable() {
            return Ok(());
        }
        let parent = disk::parent(path);
        self.create_dirs(parent)?;
        match self.disk.create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io_error(path, error));
            }
            _ => {}
        }
        self.health.synced(parent, self.disk.sync_dir(parent)).map_err(generic)?;
        if let Ok(mut durable) = self.durable.lock() {
            durable.insert(path.to_owned());
        }
        Ok(())
    }

    /// What an error comes to: once a sync has failed, every later error follows from it.
    pub(crate) fn judged(&self, error: crate::Error) -> crate::Error {
        self.health.check().err().unwrap_or(error)
    }

    fn place(&self, tmp: &str, path: &str, chunks: &[Bytes], mode: &PutMode) -> Result<()> {
        let mut file = self.disk.create(tmp).map_err(|error| io_error(tmp, error))?;
        let unavailable = |error| io_error(path, error);
        for piece in chunks.iter().flat_map(|chunk| chunk.chunks(SYNC_BYTES)) {
            file.append(piece).map_err(unavailable)?;
            if piece.len() == SYNC_BYTES {
                self.health.synced(path, file.sync()).map_err(generic)?;
            }
        }
        self.health.synced(path, file.sync()).map_err(generic)?;
        match mode {
            PutMode::Create => self.disk.link(tmp, path),
            PutMode::Overwrite => self.disk.rename(tmp, path),
            PutMode::Update(_) => return Err(unsupported("conditional update")),
        }
        .map_err(|error| io_error(path, error))
    }

    fn meta(path: &Path, entry: &Entry) -> ObjectMeta {
        ObjectMeta {
            location: path.clone(),
            last_modified: entry.modified.into(),
            size: entry.len,
            e_tag: None,
            version: None,
        }
    }

    /// Ranges of a file that are in memory, all of them or none: handing the reading over to
    /// another thread takes longer than reading them.
    fn at_hand(&self, path: &str, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
        let file = self.disk.open(path).ok()?;
        let read = |range: &Range<u64>| {
            let mut buffer = vec![0; usize::try_from(range.end - range.start).ok()?];
            file.read_now(&mut buffer, range.start).then(|| buffer.into())
        };
        ranges.iter().map(read).collect()
    }

    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let file = self.disk.open(path).map_err(|error| io_error(path, error))?;
        ranges
            .iter()
            .map(|range| {
                let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                let mut buffer = vec![0; length];
                file.read_at(&mut buffer, range.start).map_err(|error| io_error(path, error))?;
                Ok(buffer.into())
            })
            .collect()
    }

    /// Every object below a folder, in the order of their paths.
    fn walk(&self, folder: &str) -> Result<Vec<ObjectMeta>> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in self.list_folder(&folder)? {
                let path = join(&folder, &entry.name);
                if entry.is_dir {
                    folders.push(path);
                } else {
                    found.push(Self::meta(&Path::parse(&path)?, &entry));
                }
            }
        }
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    fn list_folder(&self, folder: &str) -> Result<Vec<Entry>> {
        match self.disk.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|error| io_error(folder, error)),
        }
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Runs a file operation off the async workers, where there are any.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

fn generic(source: impl std::error::Error + Send + Sync + 'static) -> ObjectError {
    ObjectError::Generic { store: NAME, source: Box::new(source) }
}

/// Returns the store's own error that is wrapped in one of `object_store`'s.
pub(crate) fn own(path: &str, error: ObjectError) -> crate::Error {
    let unavailable = |source| crate::Error::Unavailable { path: path.to_owned(), source };
    match error {
        ObjectError::Generic { source, .. } => match source.downcast::<crate::Error>() {
            Ok(own) => *own,
            Err(other) => unavailable(io::Error::other(other)),
        },
        other => unavailable(io::Error::other(other)),
    }
}

fn unsupported(operation: &str) -> ObjectError {
    ObjectError::NotImplemented { operation: operation.to_owned(), implementer: NAME.to_owned() }
}

fn io_error(path: &str, source: io::Error) -> ObjectError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => ObjectError::NotFound { path, source: source.into() },
        io::ErrorKind::AlreadyExists => ObjectError::AlreadyExists { path, source: source.into() },
        _ => generic(crate::Error::Unavailable { path, source }),
    }
}

impl fmt::Display for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

#[async_trait]
impl ObjectStore for DiskStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (store, path) = (self.clone(), location.to_string());
        blocking(move || {
            let chunks: Vec<Bytes> = payload.into_iter().collect();
            store.put_now(&path, &chunks, &options.mode)
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (store, path) = (self.clone(), location.clone());
        let (meta, range, bytes) = blocking(move || {
            let entry = store.disk.stat(path.as_ref()).map_err(|e| io_error(path.as_ref(), e))?;
            if entry.is_dir {
                let error = io::Error::from(io::ErrorKind::NotFound);
                return Err(io_error(path.as_ref(), error));
            }
            let meta = Self::meta(&path, &entry);
            options.check_preconditions(&meta)?;
            let range = match &options.range {
                Some(range) => range.as_range(meta.size).map_err(generic)?,
                None => 0..meta.size,
            };
            let wanted = if options.head { 0..0 } else { range.clone() };
            let bytes = store.read_ranges(path.as_ref(), &[wanted])?;
            Ok((meta, range, bytes))
        })
        .await?;
        let payload = GetResultPayload::Stream(stream::iter(bytes.into_iter().map(Ok)).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let Some(read) = self.at_hand(location.as_ref(), ranges) {
            return Ok(read);
        }
        let (store, path, ranges) = (self.clone(), location.to_string(), ranges.to_vec());
        blocking(move || store.read_ranges(&path, &ranges)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .map(move |location| {
                let location = location?;
                store
                    .disk
                    .remove(location.as_ref())
                    .map_err(|error| io_error(location.as_ref(), error))?;
                Ok(location)
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.walk(prefix.map_or("", Path::as_ref)) {
            Ok(found) => stream::iter(found.into_iter().map(Ok)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.map_or("", Path::as_ref);
        let mut listed = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        for entry in self.list_folder(folder)? {
            let path = Path::parse(join(folder, &entry.name))?;
            if entry.is_dir {
                listed.common_prefixes.push(path);
            } else {
                listed.objects.push(Self::meta(&path, &entry));
            }
        }
        listed.common_prefixes.sort();
        listed.objects.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let mode = match options.mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        let (store, from, to) = (self.clone(), from.to_string(), to.to_string());
        blocking(move || {
            let size = store.disk.stat(&from).map_err(|error| io_error(&from, error))?.len;
            let bytes = store.read_ranges(&from, std::slice::from_ref(&(0..size)))?;
            store.put_now(&to, &bytes, &mode)
        })
        .await
    }
}

/// A file written in parts: they are kept until the last one is there, as segments and
/// checkpoints are small.
#[derive(Debug)]
struct Upload {
    store: DiskStore,
    location: Path,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.extend(data);
        Box::pin(async { Ok(()) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (store, path) = (self.store.clone(), self.location.to_string());
        let parts = std::mem::take(&mut self.parts);
        blocking(move || store.put_now(&path, &parts, &PutMode::Overwrite)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
