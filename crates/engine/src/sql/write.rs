//! Answers to SQL in the formats that other programs read.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::csv::{Writer as CsvWriter, WriterBuilder as CsvBuilder};
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use arrow::json::{ArrayWriter, LineDelimitedWriter};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::{Error, Result};

/// What an answer is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With a line of titles (RFC 4180).
    Csv,
    /// One array of objects.
    Json,
    /// An object a line.
    Jsonl,
    /// A file of Parquet, compressed with zstd.
    Parquet,
    /// A stream of Arrow IPC.
    Arrow,
}

/// Where an answer goes. Not a parameter: these writers would be compiled for each.
type Out = Box<dyn Write + Send>;

/// Writes an answer, rows as they come.
pub struct Sink(Kind);

enum Kind {
    Csv(Box<CsvWriter<Out>>),
    Json(ArrayWriter<Out>),
    Jsonl(LineDelimitedWriter<Out>),
    Parquet(Box<ArrowWriter<Out>>),
    Arrow(Box<StreamWriter<Out>>),
}

impl Sink {
    /// Begins to write rows of these columns.
    ///
    /// # Errors
    /// The columns have no such format, or nothing can be written.
    pub fn new(format: Format, schema: &SchemaRef, out: Out) -> Result<Self> {
        Ok(Sink(match format {
            Format::Csv => Kind::Csv(Box::new(CsvBuilder::new().with_header(true).build(out))),
            Format::Json => Kind::Json(ArrayWriter::new(out)),
            Format::Jsonl => Kind::Jsonl(LineDelimitedWriter::new(out)),
            Format::Parquet => {
                let zstd = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(zstd).build();
                let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties));
                Kind::Parquet(Box::new(writer.map_err(|error| Error::Sql(error.to_string()))?))
            }
            Format::Arrow => Kind::Arrow(Box::new(StreamWriter::try_new(out, schema)?)),
        }))
    }

    /// Writes rows.
    ///
    /// # Errors
    /// Nothing can be written any more, or a column has no such format: CSV has no lists and maps.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.0 {
            Kind::Csv(csv) => csv.write(&flat(batch)?)?,
            Kind::Json(json) => json.write(batch)?,
            Kind::Jsonl(json) => json.write(batch)?,
            Kind::Parquet(parquet) => {
                parquet.write(batch).map_err(|error| Error::Sql(error.to_string()))?;
            }
            Kind::Arrow(arrow) => arrow.write(batch)?,
        }
        Ok(())
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// Nothing can be written any more.
    pub fn finish(self) -> Result<()> {
        match self.0 {
            Kind::Csv(_) => {}
            Kind::Json(mut json) => json.finish()?,
            Kind::Jsonl(mut json) => json.finish()?,
            Kind::Parquet(parquet) => {
                parquet.close().map_err(|error| Error::Sql(error.to_string()))?;
            }
            Kind::Arrow(mut arrow) => arrow.finish()?,
        }
        Ok(())
    }
}

/// Rows with every list and map as the text that people read.
fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    use arrow::array::{Array, ArrayRef, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() && *field.data_type() != DataType::Binary {
            fields.push(field.clone());
            columns.push(column.clone());
            continue;
        }
        let format = ArrayFormatter::try_new(column, &FormatOptions::new())?;
        let text = |row| column.is_valid(row).then(|| format.value(row).to_string());
        let texts: StringArray = (0..column.len()).map(text).collect();
        fields.push(std::sync::Arc::new(Field::new(field.name(), DataType::Utf8, true)));
        columns.push(std::sync::Arc::new(texts));
    }
    Ok(RecordBatch::try_new(std::sync::Arc::new(Schema::new(fields)), columns)?)
}

/// Rows as texts, for tables that people read; `None` is null.
///
/// # Errors
/// A column cannot be shown.
pub fn texts(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    let options = FormatOptions::new();
    let formats = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let formats = formats.collect::<Result<Vec<_>, _>>()?;
    let row = |row: usize| {
        let columns = batch.columns().iter().zip(&formats);
        let cell = |(column, format): (&arrow::array::ArrayRef, &ArrayFormatter<'_>)| {
            arrow::array::Array::is_valid(column, row).then(|| format.value(row).to_string())
        };
        columns.map(cell).collect()
    };
    Ok((0..batch.num_rows()).map(row).collect())
}
