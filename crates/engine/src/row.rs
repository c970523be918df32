//! One event as a query returns it: its columns by name, and what came in.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;
use whodid_event::time;

use crate::table::events_table_schema;

/// An event's own id, `CLUSTER/SEQ`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// The cluster.
    pub cluster: String,
    /// The leaf index in the cluster's log.
    pub seq: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.seq)
    }
}

impl FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(cluster, seq)| {
            whodid_store::check_cluster(cluster).ok()?;
            Some(EventId { cluster: cluster.to_owned(), seq: seq.parse().ok()? })
        });
        parsed
            .ok_or_else(|| format!("{text:?} is no event id; write CLUSTER/SEQ, as in prod/18231"))
    }
}

/// A UUID as text.
pub(crate) fn uuid_text(bytes: [u8; 16]) -> String {
    Uuid::from_bytes(bytes).to_string()
}

/// What only serves to give the original back, or is shown in another form.
const INTERNAL: [&str; 7] =
    ["form", "text", "raw", "audit_id", "audit_id_text", "request_object", "response_object"];

/// Whether [`Row::json`] shows a field of this name.
pub fn is_shown(field: &str) -> bool {
    let is_column = || events_table_schema().column_with_name(field).is_some();
    ["id", "contradicted", "audit_id"].contains(&field)
        || (!INTERNAL.contains(&field) && is_column())
}

/// The columns that a field of [`Row::json`] is made of.
pub(crate) fn columns_of(field: &str) -> Vec<&str> {
    match field {
        "id" | "contradicted" => Vec::new(),
        "audit_id" => vec!["audit_id", "audit_id_text"],
        column => vec![column],
    }
}

/// Few events are longer as JSON.
const JSON_BYTES: usize = 2_048;

/// One row of `events`, with whatever columns were asked for.
#[derive(Clone, Debug)]
pub struct Row {
    batch: Arc<RowBatch>,
    row: usize,
}

/// Rows that came together, and the JSON of those that somebody asked for.
#[derive(Debug)]
pub(crate) struct RowBatch {
    columns: RecordBatch,
    json: OnceLock<Box<[OnceLock<String>]>>,
}

impl RowBatch {
    pub(crate) fn new(columns: RecordBatch) -> Arc<Self> {
        Arc::new(RowBatch { columns, json: OnceLock::new() })
    }

    pub(crate) fn columns(&self) -> &RecordBatch {
        &self.columns
    }

    pub(crate) fn row(self: &Arc<Self>, row: usize) -> Row {
        Row { batch: Arc::clone(self), row }
    }
}

impl Row {
    pub(crate) fn all(batches: &[RecordBatch]) -> impl Iterator<Item = Row> {
        batches.iter().flat_map(|columns| {
            let batch = RowBatch::new(columns.clone());
            (0..columns.num_rows()).map(move |row| batch.row(row))
        })
    }

    fn column<T: Array + 'static>(&self, name: &str) -> Option<&T> {
        let column = self.batch.columns.column_by_name(name)?.as_any().downcast_ref::<T>()?;
        column.is_valid(self.row).then_some(column)
    }

    /// Whether it has a column of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.batch.columns.column_by_name(name).is_some()
    }

    /// A text column.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.column::<StringViewArray>(name).map(|column| column.value(self.row))
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        let long = self.column::<Int64Array>(name).map(|column| column.value(self.row));
        long.or_else(|| self.column::<Int32Array>(name).map(|column| column.value(self.row).into()))
    }

    /// A truth value.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.column::<BooleanArray>(name).map(|column| column.value(self.row))
    }

    /// An instant, in microseconds since 1970.
    pub fn instant(&self, name: &str) -> Option<i64> {
        self.column::<TimestampMicrosecondArray>(name).map(|column| column.value(self.row))
    }

    /// Bytes.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.column::<BinaryArray>(name).map(|column| column.value(self.row))
    }

    /// A list of texts; unknown is empty.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let list = self.column::<ListArray>(name);
        list.map(|column| texts(&column.value(self.row))).unwrap_or_default()
    }

    /// The event's id.
    pub fn id(&self) -> EventId {
        EventId {
            cluster: self.text("cluster").unwrap_or_default().to_owned(),
            seq: self.int("seq").unwrap_or_default().cast_unsigned(),
        }
    }

    /// The audit ID, in whichever form it is kept.
    pub fn audit_id(&self) -> Option<String> {
        match self.bytes("audit_id") {
            Some(bytes) => bytes.try_into().ok().map(uuid_text),
            None => self.text("audit_id_text").map(str::to_owned),
        }
    }

    /// Every known column as JSON: times as RFC 3339, the audit ID as text. What only serves to
    /// give the original back is left out.
    pub fn json(&self) -> Map<String, Value> {
        object(self)
    }

    /// The same, of these fields and `id` if any is named, to be written without a tree.
    pub fn shown<'a>(&'a self, fields: &'a [&'a str]) -> Shown<'a> {
        Shown { row: self, fields, is_contradicted: false }
    }

    /// The same as text, made once however many ask for it.
    pub fn json_text(&self) -> &str {
        let rows = self.batch.columns.num_rows();
        let texts = self.batch.json.get_or_init(|| (0..rows).map(|_| OnceLock::new()).collect());
        let make = || {
            let mut text = Vec::with_capacity(JSON_BYTES);
            let written = serde_json::to_writer(&mut text, self).ok();
            written.and_then(|()| String::from_utf8(text).ok()).unwrap_or_default()
        };
        texts.get(self.row).map_or("{}", |text| text.get_or_init(make))
    }
}

/// As [`Row::json`] says.
impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Shown { row: self, fields: &[], is_contradicted: false }.serialize(serializer)
    }
}

/// An event as JSON, with what later events say about it: all of its fields, or `id` and those that
/// are named.
pub struct Shown<'a> {
    pub(crate) row: &'a Row,
    pub(crate) fields: &'a [&'a str],
    pub(crate) is_contradicted: bool,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Row { batch, row } = self.row;
        let is_asked = |name: &str| self.fields.is_empty() || self.fields.contains(&name);
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("id", &self.row.id().to_string())?;
        let columns = &batch.columns;
        for (field, column) in columns.schema_ref().fields().iter().zip(columns.columns()) {
            let name = field.name().as_str();
            let is_known = !INTERNAL.contains(&name) && column.is_valid(*row);
            if is_known && is_asked(name) && has_json(column.data_type()) {
                object.serialize_entry(name, &Cell { column, row: *row })?;
            }
        }
        if let Some(id) = self.row.audit_id().filter(|_| is_asked("audit_id")) {
            object.serialize_entry("audit_id", &id)?;
        }
        if self.is_contradicted && is_asked("contradicted") {
            object.serialize_entry("contradicted", &true)?;
        }
        object.end()
    }
}

/// What is an object as one.
pub(crate) fn object(row: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(row) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

/// Whether [`Cell`] can write columns of a type.
fn has_json(data_type: &DataType) -> bool {
    use DataType::{Binary, Boolean, Int32, Int64, List, Map, Timestamp, Utf8, Utf8View};
    matches!(
        data_type,
        Utf8View | Utf8 | Int64 | Int32 | Boolean | Timestamp(..) | Binary | List(_) | Map(..)
    )
}

/// What a column holds in a row, as JSON.
struct Cell<'a> {
    column: &'a ArrayRef,
    row: usize,
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Cell { column, row } = *self;
        if column.is_null(row) {
            return serializer.serialize_unit();
        }
        let within = |offsets: &[i32]| {
            let at = |i: usize| offsets.get(i).and_then(|at| usize::try_from(*at).ok());
            at(row).unwrap_or_default()..at(row + 1).unwrap_or_default()
        };
        match column.data_type() {
            DataType::Utf8View => serializer.serialize_str(column.as_string_view().value(row)),
            DataType::Utf8 => serializer.serialize_str(column.as_string::<i32>().value(row)),
            DataType::Int64 => {
                serializer.serialize_i64(column.as_primitive::<Int64Type>().value(row))
            }
            DataType::Int32 => {
                serializer.serialize_i32(column.as_primitive::<Int32Type>().value(row))
            }
            DataType::Boolean => serializer.serialize_bool(column.as_boolean().value(row)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let instant = column.as_primitive::<TimestampMicrosecondType>().value(row);
                serializer.serialize_str(&time::format(instant))
            }
            DataType::Binary => {
                serializer.serialize_str(&hex(column.as_binary::<i32>().value(row)))
            }
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                let cell = |row| Cell { column: list.values(), row };
                serializer.collect_seq(within(list.value_offsets()).map(cell))
            }
            DataType::Map(..) => {
                let map = column.as_map();
                let cell =
                    |row| (Cell { column: map.keys(), row }, Cell { column: map.values(), row });
                serializer.collect_map(within(map.value_offsets()).map(cell))
            }
            _ => serializer.serialize_unit(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The texts of a list.
fn texts(list: &ArrayRef) -> Vec<String> {
    let texts = list.as_any().downcast_ref::<StringArray>().into_iter().flatten();
    texts.map(|text| text.unwrap_or_default().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let id: EventId = "prod-1/18231".parse().unwrap();
        assert_eq!((&*id.cluster, id.seq), ("prod-1", 18231));
        assert_eq!(id.to_string(), "prod-1/18231");
        for text in ["", "prod", "prod/", "prod/x", "Prod/1", "prod/-1", "a/b/1"] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
    }

    #[test]
    fn uuids() {
        let text = "74a11df0-238a-4a01-954e-95fbbb60a371";
        assert_eq!(uuid_text(whodid_store::uuid_bytes(text).unwrap()), text);
    }
}
