//! What a store holds when a writer starts: folders, tables and log files, made where they are not
//! there yet, settled where a crash left them. What is made of it is the writer's.

use std::collections::VecDeque;
use std::sync::Arc;

use whodid_event::time::Micros;

use crate::columns::{bodies_schema, events_schema};
use crate::dedupe::Fingerprints;
use crate::descriptor::Descriptor;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::flush::{Retired, Tables};
use crate::health::Health;
use crate::ledger::log;
use crate::object::{self, DiskStore, TMP};
use crate::recover::{self, Recovered, Watermarks};
use crate::table::{BODIES, DeltaLog, EVENTS};
use crate::wal::{self, Log, replay};
use crate::writer::{open_tables, watermarks};
use crate::{keys, whole};

/// What a store holds when it is opened, and the log file that goes on.
pub(crate) struct Found {
    pub(crate) store: DiskStore,
    /// `None` for a new store.
    pub(crate) known: Option<Descriptor>,
    pub(crate) tables: Tables,
    pub(crate) watermarks: Watermarks,
    pub(crate) fingerprints: Fingerprints,
    pub(crate) recovered: Recovered,
    pub(crate) retired: VecDeque<Retired>,
    pub(crate) log: Log,
}

impl Found {
    /// Reads a store, and begins its next log file.
    ///
    /// # Errors
    /// As opening a writer.
    pub(crate) async fn read(disk: &Arc<dyn Disk>) -> Result<Self> {
        let health = Health::default();
        let store = DiskStore::new(Arc::clone(disk), health.clone());
        let known = Descriptor::load(&**disk)?;
        prepare_folders(disk, &store)?;
        settle(&**disk, &health)?;
        let files = replay::open_all(&**disk)?;
        whole::check(&**disk, known.is_some(), &files)?;
        let tables =
            if known.is_some() { open_tables(&store).await? } else { make_tables(&store).await? };
        let watermarks = watermarks(&tables, &**disk).await?;
        whole::check_keys(&**disk, &watermarks)?;
        let fingerprints = Fingerprints::new();
        let mut recovered = recover::read(&files, &watermarks, &fingerprints, Some(disk))?;
        if !recovered.losses.is_empty() {
            return Err(recovered.losses.swap_remove(0));
        }
        cut_torn(disk, &health, &recovered)?;
        let next_number = files.last().map_or(1, |file| file.number + 1);
        let retired = retired(&**disk, &files, &recovered)?;
        drop(files);
        let log = Log::create(disk, &health, next_number)?;
        Ok(Found { store, known, tables, watermarks, fingerprints, recovered, retired, log })
    }
}

/// Makes the folders of a store.
fn prepare_folders(disk: &Arc<dyn Disk>, store: &DiskStore) -> Result<()> {
    let unavailable = |path: &str, source| Error::Unavailable { path: path.into(), source };
    for folder in [TMP, wal::FOLDER, keys::FOLDER] {
        store.create_dirs(folder).map_err(|error| object::own(folder, error))?;
    }
    // Left behind by a crash; nothing refers to them.
    for entry in disk.list(TMP).map_err(|source| unavailable(TMP, source))? {
        let path = format!("{TMP}/{}", entry.name);
        disk.remove(&path).map_err(|source| unavailable(&path, source))?;
    }
    Ok(())
}

/// Makes durable what a process that was killed may have left unsynced, before it is believed:
/// the power may go later, and take with it what later events build on.
fn settle(disk: &dyn Disk, health: &Health) -> Result<()> {
    let mut folders = vec![String::new(), wal::FOLDER.into(), keys::FOLDER.into()];
    folders.extend(keys::clusters(disk)?.iter().map(|name| format!("{}/{name}", keys::FOLDER)));
    for table in [EVENTS, BODIES] {
        folders.extend([table.to_owned(), format!("{table}/_delta_log")]);
    }
    // A checkpoint that is there is not signed again.
    folders.push(log::FOLDER.into());
    folders.extend(log::folders(disk)?.iter().map(|name| format!("{}/{name}", log::FOLDER)));
    for mut file in replay::open_all(disk)? {
        file.settle(health)?;
    }
    for folder in folders.iter().filter(|folder| disk.stat(folder).is_ok()) {
        health.synced(folder, disk.sync_dir(folder))?;
    }
    Ok(())
}

/// Makes the tables of a new store, or what an interrupted start left to be made.
async fn make_tables(store: &DiskStore) -> Result<Tables> {
    Ok(Tables {
        events: DeltaLog::open_or_create(EVENTS, store, &events_schema()).await?,
        bodies: DeltaLog::open_or_create(BODIES, store, &bodies_schema()).await?,
    })
}

/// Cuts off what was never acknowledged, so that a flaw found there later is damage.
fn cut_torn(disk: &Arc<dyn Disk>, health: &Health, recovered: &Recovered) -> Result<()> {
    for (path, at) in &recovered.torn {
        let unavailable = |source| Error::Unavailable { path: path.clone(), source };
        let mut file = disk.open_to_append(path).map_err(unavailable)?;
        file.truncate(*at).map_err(unavailable)?;
        if *at == 0 {
            file.append(&wal::FILE_MAGIC).map_err(unavailable)?;
        }
        health.synced(path, file.sync())?;
    }
    Ok(())
}

/// Log files that hold nothing above the watermarks. They were covered at the latest by the last
/// commit of `events`.
fn retired(
    disk: &dyn Disk,
    files: &[replay::WalFile],
    recovered: &Recovered,
) -> Result<VecDeque<Retired>> {
    let log = format!("{EVENTS}/_delta_log");
    let commits = disk.list(&log).map_err(|source| Error::Read { path: log, source })?;
    let newest = commits.iter().map(|entry| entry.modified).max();
    let since = newest
        .and_then(|time| time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok())
        .and_then(|time| Micros::try_from(time.as_micros()).ok())
        .unwrap_or(0);
    let first_needed = recovered.frozen.first().map(|frozen| frozen.wal_number);
    Ok(files
        .iter()
        .map(|file| file.number)
        .take_while(|number| first_needed.is_none_or(|first| *number < first))
        .map(|number| Retired { number, since })
        .collect())
}
