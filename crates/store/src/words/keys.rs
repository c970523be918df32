//! What an index has of the rows of a table: the words in texts, and of `events` whole values of
//! some columns. What a word is, is [`whodid_event::words`]'s to say.

use std::collections::HashSet;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, RecordBatch, StringArray, StringViewArray,
};
use arrow::datatypes::DataType;
use whodid_event::words;

use crate::columns::typed;
use crate::error::Result;
use crate::snapshot::Table;

/// The columns of `events` that hold what a person wrote or would read: a search for words looks
/// into these, of lists into the elements and of maps into the values.
pub const TEXT_COLUMNS: [&str; 27] = [
    "request_uri",
    "verb",
    "username",
    "user_uid",
    "user_groups",
    "user_extra",
    "impersonated_username",
    "impersonated_uid",
    "impersonated_groups",
    "impersonated_extra",
    "source_ips",
    "user_agent",
    "resource",
    "namespace",
    "name",
    "object_uid",
    "api_group",
    "subresource",
    "object",
    "message",
    "reason",
    "status_details",
    "decision_reason",
    "annotations",
    "exec_command",
    "audit_id_text",
    "raw",
];

/// The columns of `events` whose values can be looked up as they are; of the others in
/// [`TEXT_COLUMNS`] their words can.
pub const VALUE_COLUMNS: [&str; 16] = [
    "audit_id",
    "username",
    "impersonated_username",
    "actor",
    "actor_kind",
    "verb",
    "action",
    "resource",
    "subresource",
    "namespace",
    "name",
    "gvr",
    "code",
    "reason",
    "outcome",
    "tool",
];

/// What an index is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u64);

impl Key {
    /// A word, in lower case.
    pub fn word(word: &str) -> Self {
        Key(twox_hash::XxHash64::oneshot(0, word.as_bytes()))
    }

    /// A text or bytes in one of [`VALUE_COLUMNS`].
    pub fn value(column: &str, value: &[u8]) -> Self {
        Key(twox_hash::XxHash64::oneshot(Self::word(column).0, value))
    }

    /// A number in one of [`VALUE_COLUMNS`].
    pub fn number(column: &str, value: i64) -> Self {
        Self::value(column, &value.to_le_bytes())
    }

    /// One filter in 256 has a key by chance. Words of bodies and audit IDs are often asked for
    /// alone, and reading what does not have them takes long: these have a second key, of which
    /// the first says nothing.
    pub fn twice(self) -> [Self; 2] {
        [self, Key(self.0.rotate_left(32))]
    }

    /// By what filters know it.
    pub(super) fn hash(self) -> u64 {
        self.0
    }
}

/// Calls `take` with each key of some rows, with some more than once.
pub(super) fn each(table: Table, rows: &RecordBatch, mut take: impl FnMut(Key)) -> Result<()> {
    match table {
        Table::Bodies => {
            for body in typed::<StringViewArray>(rows, "json")?.iter().flatten() {
                words::each(&words::unescaped(body), |word| {
                    Key::word(word).twice().into_iter().for_each(&mut take);
                });
            }
        }
        Table::Events => {
            // Most texts are those of the rows before.
            let mut known: HashSet<String> = HashSet::new();
            for column in TEXT_COLUMNS {
                let Some(column) = rows.column_by_name(column) else { continue };
                texts(column, &mut |text| {
                    if !known.contains(text) {
                        known.insert(text.to_owned());
                        words::each(text, |word| take(Key::word(word)));
                    }
                });
            }
            for name in VALUE_COLUMNS {
                let Some(column) = rows.column_by_name(name) else { continue };
                values(name, column, &mut take);
            }
        }
    }
    Ok(())
}

/// Calls `look` with each text in a column.
fn texts(column: &ArrayRef, look: &mut dyn FnMut(&str)) {
    if let Some(texts) = column.as_any().downcast_ref::<StringViewArray>() {
        texts.iter().flatten().for_each(look);
    } else if let Some(texts) = column.as_any().downcast_ref::<StringArray>() {
        texts.iter().flatten().for_each(look);
    } else if let Some(bytes) = column.as_any().downcast_ref::<BinaryArray>() {
        bytes.iter().flatten().for_each(|bytes| look(&String::from_utf8_lossy(bytes)));
    } else if let DataType::List(_) = column.data_type() {
        let lists = column.as_list::<i32>();
        texts(&span(lists.value_offsets(), lists.values()), look);
    } else if let DataType::Map(..) = column.data_type() {
        let maps = column.as_map();
        texts(&span(maps.value_offsets(), maps.values()), look);
    }
}

/// The elements of some lists, which stand behind one another.
fn span(offsets: &[i32], elements: &ArrayRef) -> ArrayRef {
    let at = |offset: Option<&i32>| {
        offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or_default()
    };
    let (from, to) = (at(offsets.first()), at(offsets.last()));
    elements.slice(from, to.saturating_sub(from))
}

/// Calls `take` with the keys of each value in a column; those in bytes are audit IDs.
fn values(name: &str, column: &ArrayRef, take: &mut impl FnMut(Key)) {
    if let Some(texts) = column.as_any().downcast_ref::<StringViewArray>() {
        texts.iter().flatten().for_each(|text| take(Key::value(name, text.as_bytes())));
    } else if let Some(bytes) = column.as_any().downcast_ref::<BinaryArray>() {
        let keys = bytes.iter().flatten().flat_map(|bytes| Key::value(name, bytes).twice());
        keys.for_each(take);
    } else if let Some(numbers) = column.as_any().downcast_ref::<Int32Array>() {
        numbers.iter().flatten().for_each(|number| take(Key::number(name, number.into())));
    }
}
