//! What every query runs in: so much memory for sorting, grouping and joining, no disk, and the
//! files of one snapshot.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use url::Url;
use whodid_store::Snapshot;

use crate::table::STORE_URL;

/// Makes one that takes so many bytes of memory at most.
pub(crate) fn runtime(snapshot: &Snapshot, memory: usize) -> Result<Arc<RuntimeEnv>> {
    // What bodies hold must not lie about in temporary files.
    let no_disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(memory, 1.0)
        .with_disk_manager_builder(no_disk)
        .build_arc()?;
    // The name is a constant of this crate.
    if let Ok(url) = Url::parse(STORE_URL) {
        runtime.register_object_store(&url, snapshot.object_store());
    }
    Ok(runtime)
}
