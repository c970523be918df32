//! Values taken out of the table of bodies, their commitments left in their place: leaves and
//! proofs stay what they are. When it may be done, and what else has to go, is for others to say
//! ([`crate::retention`], [`crate::redaction`]).

use std::sync::Arc;

use arrow::array::StringViewBuilder;
use arrow::array::{Array, BinaryArray, BinaryBuilder, Int64Array, RecordBatch, StringViewArray};
use whodid_event::entry::{self, Commitment};

use crate::columns::{bodies_schema, typed};
use crate::compact::{Sealed, Writing};
use crate::error::{Error, Result};
use crate::flush::{blocking, checkpoint_if_due, put_file};
use crate::keys::BlockKeys;
use crate::rebuild::decode;
use crate::segment::{self, ERASED_SUFFIX};
use crate::snapshot::Table;
use crate::table::{Commit, DataFile, NewFile, TableLog};

/// Whether no request and no response is left in a file of bodies; its name says so.
pub(crate) fn is_erased(file: &DataFile) -> bool {
    file.path.ends_with(ERASED_SUFFIX)
}

/// Takes the values out of files of bodies that `is_going` names by leaf and member; only requests
/// and responses are asked for.
///
/// # Errors
/// A file is not as it was sealed, or the disk refuses; it can be repeated then.
pub(crate) async fn erase(
    writing: &Writing<'_>,
    is_wanted: impl Fn(&DataFile) -> bool,
    is_going: impl Fn(u64, &str) -> bool + Clone + Send + 'static,
) -> Result<()> {
    let Writing { shared, tables, store, ledger, disk } = writing;
    let sealed = Sealed::of(writing)?;
    // Nothing may be listed meanwhile.
    let mut tables = tables.lock().await;
    for file in tables.bodies.files().into_iter().filter(|file| is_wanted(file)) {
        let bytes = sealed.fetch(Table::Bodies, &file).await?;
        let (cluster, is_going) = (file.cluster.clone(), is_going.clone());
        let mut keys = BlockKeys::new(Arc::clone(disk));
        let erased = blocking(move || {
            let erase = |batch| without(&batch, &cluster, &mut keys, &is_going);
            let (batches, gone): (Vec<_>, Vec<_>) = decode(Table::Bodies, &bytes)?
                .into_iter()
                .map(erase)
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .unzip();
            if gone.iter().sum::<u64>() == 0 {
                return Ok(None);
            }
            segment::file(Table::Bodies, &cluster, &batches, segment::SETTLED_LEVEL).map(Some)
        });
        let Some(erased) = erased.await? else { continue };
        put_file(store, ledger, Table::Bodies.name(), &erased).await?;
        let add = vec![NewFile::listed(&erased)];
        let commit = Commit { add, remove: vec![file], is_deletion: true, ..Commit::default() };
        tables.bodies.commit(&commit).await?;
        shared.lock().files = Arc::new(tables.files());
        checkpoint_if_due(&mut tables).await?;
    }
    Ok(())
}

/// Rows of bodies without some of their values, and how many went.
fn without(
    batch: &RecordBatch,
    cluster: &str,
    keys: &mut BlockKeys,
    is_going: impl Fn(u64, &str) -> bool,
) -> Result<(RecordBatch, u64)> {
    let members: &StringViewArray = typed(batch, "member")?;
    let values: &StringViewArray = typed(batch, "json")?;
    let commitments: &BinaryArray = typed(batch, "commitment")?;
    let seqs: &Int64Array = typed(batch, "seq")?;
    let (mut kept, mut left, mut gone) = (StringViewBuilder::new(), BinaryBuilder::new(), 0);
    for (row, seq) in seqs.values().iter().enumerate() {
        let (seq, member) = (seq.cast_unsigned(), members.value(row));
        let is_body = entry::BODY_NAMES.contains(&member);
        if values.is_null(row) || !is_body || !is_going(seq, member) {
            kept.append_option(values.is_valid(row).then(|| values.value(row)));
            left.append_option(commitments.is_valid(row).then(|| commitments.value(row)));
            continue;
        }
        kept.append_null();
        left.append_value(commitment(keys, cluster, seq, member, values.value(row))?);
        gone += 1;
    }
    let columns = batch.columns().iter().take(batch.num_columns() - 2).cloned();
    let columns = columns.chain([Arc::new(kept.finish()) as _, Arc::new(left.finish()) as _]);
    Ok((RecordBatch::try_new(bodies_schema(), columns.collect())?, gone))
}

fn commitment(
    keys: &mut BlockKeys,
    cluster: &str,
    seq: u64,
    member: &str,
    value: &str,
) -> Result<Commitment> {
    let salt = keys.of(cluster, seq)?.of(seq, member).ok_or_else(|| {
        let id = format!("{cluster}/{seq}");
        Error::Invalid(format!("the salt of the {member} of {id} is gone, and its value is not"))
    })?;
    Ok(entry::commitment(&salt, member, value.as_bytes()))
}
