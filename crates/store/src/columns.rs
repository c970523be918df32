//! The columns of the table `events`: one list, from which the schema, the builders that fill a
//! batch and the view that reads one are made. What the columns mean is in `docs/fields.md`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder,
    Int32Array, Int32Builder, Int64Array, Int64Builder, ListArray, ListBuilder, MapArray,
    MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder, StringViewArray,
    StringViewBuilder, TimestampMicrosecondArray, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use whodid_event::{Pairs, Str};

use crate::error::Result;

/// The type of every timestamp. Without a zone, Delta would demand a newer protocol.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn element() -> Field {
    Field::new("element", DataType::Utf8, true)
}

fn strings_type() -> DataType {
    DataType::List(Arc::new(element()))
}

fn map_type(value: DataType) -> DataType {
    let entries = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)].into(),
    );
    DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
}

fn map_names() -> MapFieldNames {
    MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() }
}

fn string_builder() -> StringBuilder {
    StringBuilder::with_capacity(0, 0)
}

fn strings_builder(rows: usize) -> ListBuilder<StringBuilder> {
    ListBuilder::with_capacity(string_builder(), rows).with_field(element())
}

type MapOfText = MapBuilder<StringBuilder, StringBuilder>;
type MapOfTexts = MapBuilder<StringBuilder, ListBuilder<StringBuilder>>;

/// Makes the type, builder and array of each kind of column.
macro_rules! kind {
    (type text) => { DataType::Utf8View };
    (type texts) => { strings_type() };
    (type map) => { map_type(DataType::Utf8) };
    (type maps) => { map_type(strings_type()) };
    (type int) => { DataType::Int32 };
    (type long) => { DataType::Int64 };
    (type flag) => { DataType::Boolean };
    (type bytes) => { DataType::Binary };
    (type time) => { timestamp() };
    (builder text) => { StringViewBuilder };
    (builder texts) => { ListBuilder<StringBuilder> };
    (builder map) => { MapOfText };
    (builder maps) => { MapOfTexts };
    (builder int) => { Int32Builder };
    (builder long) => { Int64Builder };
    (builder flag) => { BooleanBuilder };
    (builder bytes) => { BinaryBuilder };
    (builder time) => { TimestampMicrosecondBuilder };
    (new text, $rows:expr) => { StringViewBuilder::with_capacity($rows) };
    (new texts, $rows:expr) => { strings_builder($rows) };
    (new map, $rows:expr) => {
        MapBuilder::with_capacity(Some(map_names()), string_builder(), string_builder(), $rows)
            .with_values_field(Field::new("value", DataType::Utf8, true))
    };
    (new maps, $rows:expr) => {
        MapBuilder::with_capacity(Some(map_names()), string_builder(), strings_builder(0), $rows)
            .with_values_field(Field::new("value", strings_type(), true))
    };
    (new int, $rows:expr) => { Int32Builder::with_capacity($rows) };
    (new long, $rows:expr) => { Int64Builder::with_capacity($rows) };
    (new flag, $rows:expr) => { BooleanBuilder::with_capacity($rows) };
    (new bytes, $rows:expr) => { BinaryBuilder::with_capacity($rows, 0) };
    (new time, $rows:expr) => {
        TimestampMicrosecondBuilder::with_capacity($rows).with_timezone("UTC")
    };
    (pad $builder:expr, map) => { $builder.append(false)? };
    (pad $builder:expr, maps) => { $builder.append(false)? };
    (pad $builder:expr, $kind:tt) => { $builder.append_null() };
    (array text) => { StringViewArray };
    (array texts) => { ListArray };
    (array map) => { MapArray };
    (array maps) => { MapArray };
    (array int) => { Int32Array };
    (array long) => { Int64Array };
    (array flag) => { BooleanArray };
    (array bytes) => { BinaryArray };
    (array time) => { TimestampMicrosecondArray };
}

macro_rules! columns {
    ($($kind:tt $name:ident;)*) => {
        /// Builders of the columns that are known before an event has its place, with room for as
        /// many rows as are expected: for a single event, a thousand in each of sixty columns
        /// would take half a megabyte.
        pub(crate) struct Builders {
            $(pub(crate) $name: kind!(builder $kind),)*
        }

        impl Builders {
            pub(crate) fn new(rows: usize) -> Self {
                Builders { $($name: kind!(new $kind, rows),)* }
            }

            /// Ends a row: every column it did not fill is null.
            pub(crate) fn end_row(&mut self, rows: usize) -> Result<()> {
                $(if self.$name.len() < rows {
                    kind!(pad self.$name, $kind);
                })*
                Ok(())
            }

            /// Returns the finished columns, in the order of the schema.
            pub(crate) fn finish(&mut self) -> Vec<ArrayRef> {
                vec![$(Arc::new(self.$name.finish()),)*]
            }
        }

        /// The columns of a batch, by name and type.
        #[allow(dead_code, reason = "derived columns are written for queries, and not read here")]
        pub(crate) struct View<'a> {
            pub(crate) seq: &'a Int64Array,
            pub(crate) received: &'a TimestampMicrosecondArray,
            $(pub(crate) $name: &'a kind!(array $kind),)*
        }

        impl<'a> View<'a> {
            /// # Errors
            /// The batch lacks a column or has one of another type.
            pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self> {
                Ok(View {
                    seq: typed(batch, "seq")?,
                    received: typed(batch, "received")?,
                    $($name: typed(batch, stringify!($name))?,)*
                })
            }
        }

        fn event_fields() -> Vec<Field> {
            vec![$(Field::new(stringify!($name), kind!(type $kind), true),)*]
        }
    };
}

columns! {
    text source;
    text form;
    text text;
    bytes raw;
    text raw_reason;
    long raw_size;
    bytes raw_sha256;
    int redacted;
    text level;
    bytes audit_id;
    text audit_id_text;
    text stage;
    text request_uri;
    text verb;
    text username;
    text user_uid;
    texts user_groups;
    maps user_extra;
    text impersonated_username;
    text impersonated_uid;
    texts impersonated_groups;
    maps impersonated_extra;
    text impersonation_constraint;
    texts source_ips;
    text user_agent;
    text resource;
    text namespace;
    text name;
    text object_uid;
    text api_group;
    text api_version;
    text resource_version;
    text subresource;
    int code;
    text status;
    text message;
    text reason;
    text status_details;
    text request_object;
    text response_object;
    time request_received_timestamp;
    time stage_timestamp;
    text decision;
    text decision_reason;
    map annotations;
    time time;
    text actor;
    text actor_kind;
    text action;
    text outcome;
    flag dry_run;
    text field_manager;
    text tool;
    text tool_version;
    text exec_command;
    text gvr;
    text object;
    flag truncated;
}

/// The columns of a file of the table `events`; `cluster` and `day` are in its path.
pub fn events_schema() -> SchemaRef {
    let mut fields = vec![
        Field::new("seq", DataType::Int64, false),
        Field::new("received", timestamp(), false),
        Field::new("duplicate", DataType::Boolean, false),
        Field::new("conflict", DataType::Boolean, false),
        Field::new("twin", DataType::Int64, true),
    ];
    fields.extend(event_fields());
    Arc::new(Schema::new(fields))
}

/// The columns of a file of the table `bodies`; `cluster` and `day` are in its path.
pub fn bodies_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("seq", DataType::Int64, false),
        Field::new("received", timestamp(), false),
        Field::new("member", DataType::Utf8View, false),
        Field::new("json", DataType::Utf8View, true),
        Field::new("commitment", DataType::Binary, true),
    ]))
}

/// Lets go of the room that columns of one's own have for more rows.
pub(crate) fn shrink(columns: &mut [ArrayRef]) {
    columns.iter_mut().filter_map(Arc::get_mut).for_each(Array::shrink_to_fit);
}

/// Puts the texts of each column into as few buffers as there can be: merged rows have those of
/// all that they were merged from.
pub(crate) fn gather(batch: RecordBatch) -> Result<RecordBatch> {
    let (schema, mut columns, _) = batch.into_parts();
    for column in &mut columns {
        if let Some(views) = column.as_any().downcast_ref::<StringViewArray>() {
            *column = Arc::new(views.gc());
        }
    }
    shrink(&mut columns);
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Returns a field as it is stored: views are a matter of memory.
pub(crate) fn stored(field: &Field) -> Field {
    match field.data_type() {
        DataType::Utf8View => field.clone().with_data_type(DataType::Utf8),
        _ => field.clone(),
    }
}

/// Returns a column by name and type.
///
/// # Errors
/// It is not there, or of another type.
pub(crate) fn typed<'a, T: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T> {
    let found = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<T>());
    found.ok_or_else(|| {
        let what = format!("column {name} is missing or of another type");
        arrow::error::ArrowError::SchemaError(what).into()
    })
}

/// Appends a list; an empty one stays null, as the API leaves empty lists out.
pub(crate) fn append_texts(builder: &mut ListBuilder<StringBuilder>, values: &[Str<'_>]) {
    for value in values {
        builder.values().append_value(&**value);
    }
    if !values.is_empty() {
        builder.append(true);
    }
}

/// Appends a map of texts; an empty one stays null.
pub(crate) fn append_map<'p>(
    builder: &mut MapOfText,
    pairs: impl Iterator<Item = &'p (Str<'p>, Str<'p>)>,
) -> Result<()> {
    let mut is_empty = true;
    for (key, value) in pairs {
        builder.keys().append_value(&**key);
        builder.values().append_value(&**value);
        is_empty = false;
    }
    if !is_empty {
        builder.append(true)?;
    }
    Ok(())
}

/// Appends a map of lists; an empty one stays null.
pub(crate) fn append_maps(builder: &mut MapOfTexts, pairs: &Pairs<'_, Vec<Str<'_>>>) -> Result<()> {
    for (key, values) in &pairs.0 {
        builder.keys().append_value(&**key);
        for value in values {
            builder.values().values().append_value(&**value);
        }
        builder.values().append(true);
    }
    if !pairs.0.is_empty() {
        builder.append(true)?;
    }
    Ok(())
}

/// Reads a list back; null is empty.
pub(crate) fn texts(array: &ListArray, row: usize) -> Vec<Str<'_>> {
    if array.is_null(row) {
        return Vec::new();
    }
    let [from, to] = bounds(array.value_offsets(), row);
    text_range(array.values(), from, to)
}

/// Reads a map of texts back, in its order.
pub(crate) fn map(array: &MapArray, row: usize) -> Vec<(Str<'_>, Str<'_>)> {
    if array.is_null(row) {
        return Vec::new();
    }
    let [from, to] = bounds(array.value_offsets(), row);
    let keys = text_range(array.keys(), from, to);
    keys.into_iter().zip(text_range(array.values(), from, to)).collect()
}

/// Reads a map of lists back, in its order.
pub(crate) fn maps(array: &MapArray, row: usize) -> Pairs<'_, Vec<Str<'_>>> {
    if array.is_null(row) {
        return Pairs::default();
    }
    let [from, to] = bounds(array.value_offsets(), row);
    let keys = text_range(array.keys(), from, to);
    let Some(lists) = array.values().as_any().downcast_ref::<ListArray>() else {
        return Pairs::default();
    };
    Pairs(keys.into_iter().zip((from..to).map(|i| texts(lists, i))).collect())
}

fn bounds(offsets: &[i32], row: usize) -> [usize; 2] {
    let at = |i: usize| offsets.get(i).and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
    [at(row), at(row + 1)]
}

fn text_range(values: &ArrayRef, from: usize, to: usize) -> Vec<Str<'_>> {
    let Some(values) = values.as_any().downcast_ref::<StringArray>() else { return Vec::new() };
    (from..to).map(|i| Str::from(values.value(i))).collect()
}
