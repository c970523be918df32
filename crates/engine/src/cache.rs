//! What the answers of one process share: footers of files, their indexes of words, and the marks
//! in them. Files never change, so that nothing here is ever out of date; what is too much is let
//! go. How files are read is [`crate::table`]'s.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::runtime_env::RuntimeEnv;
use whodid_store::{DataFile, Snapshot, Table, WordIndex};

use crate::error::Result;

/// Footers and page indexes, in bytes.
const FOOTERS_MAX: usize = 64 << 20;

/// Indexes of words, in bytes.
const WORDS_MAX: usize = 128 << 20;

/// What is kept between answers; clones share it. One for each record.
#[derive(Clone)]
pub struct Cache {
    pub(crate) footers: Arc<FileMetadataCache>,
    words: Arc<Mutex<Words>>,
    marks: Arc<Mutex<HashMap<String, Arc<[Mark]>>>>,
}

/// What an event that is no duplicate says of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) twin: u64,
    pub(crate) is_conflict: bool,
}

#[derive(Default)]
struct Words {
    by_path: HashMap<String, Option<Arc<WordIndex>>>,
    memory: usize,
}

impl Default for Cache {
    fn default() -> Self {
        let footers = RuntimeEnv::default().cache_manager.get_file_metadata_cache();
        footers.update_cache_limit(FOOTERS_MAX);
        Cache { footers, words: Arc::default(), marks: Arc::default() }
    }
}

impl Cache {
    /// The index of words of a file, if it has one.
    pub(crate) async fn words(
        &self,
        snapshot: &Snapshot,
        table: Table,
        file: &DataFile,
    ) -> Result<Option<Arc<WordIndex>>> {
        let lock = || self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().by_path.get(&file.path) {
            return Ok(known.clone());
        }
        let index = snapshot.word_index(table, file).await?.map(Arc::new);
        let memory = index.as_ref().map_or(0, |index| index.memory());
        let mut words = lock();
        if words.memory + memory > WORDS_MAX {
            *words = Words::default();
        }
        words.memory += memory;
        words.by_path.insert(file.path.clone(), index.clone());
        Ok(index)
    }

    /// The marks in a file of events, if they were read already.
    pub(crate) fn marks(&self, file: &DataFile) -> Option<Arc<[Mark]>> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(&file.path).cloned()
    }

    /// Keeps the marks in files of events, and lets go of those in files that are there no more.
    pub(crate) fn keep_marks(&self, live: &[DataFile], read: Vec<(String, Arc<[Mark]>)>) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.extend(read);
        if marks.len() > 2 * live.len() {
            let live: std::collections::HashSet<&str> =
                live.iter().map(|file| file.path.as_str()).collect();
            marks.retain(|path, _| live.contains(path.as_str()));
        }
    }
}
