//! Parquet tables, row by row.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Value};

use super::pictures::from_base64;
use crate::config::SourceConfig;
use crate::error::{Error, Result, hint};
use crate::fields::{FieldMap, ImageValue};
use crate::record::{BadRecord, Picture, Record, Source};

/// Key of the stand-in that a byte column leaves in the JSON form of a row.
const BYTES: &str = "$bytes";

/// Records of Parquet files.
pub(super) struct ParquetSource {
    name: String,
    fields: FieldMap,
    files: std::vec::IntoIter<PathBuf>,
    file: PathBuf,
    rows: Option<RowIter<'static>>,
    number: u64,
}

impl ParquetSource {
    /// Opens every file once and checks that it has the columns that the source names.
    pub(super) fn new(config: &SourceConfig, files: Vec<PathBuf>) -> Result<Self> {
        let fields = FieldMap::new(config);
        for path in &files {
            let reader = reader(path)?;
            let schema = reader.metadata().file_metadata().schema();
            let names: Vec<&str> = schema
                .get_fields()
                .iter()
                .map(|field| field.name())
                .collect();
            for column in fields.columns(config.id.is_some()) {
                if !names.contains(&column) {
                    return Err(Error::Column {
                        place: path.display().to_string(),
                        field: column.to_string(),
                        hint: hint(column, names.iter().copied()),
                        columns: names.join(", "),
                    });
                }
            }
        }
        Ok(Self {
            name: config.name.clone(),
            fields,
            files: files.into_iter(),
            file: PathBuf::new(),
            rows: None,
            number: 0,
        })
    }

    fn record(&self, row: Row) -> Record {
        let mut blobs = Vec::new();
        let value = row_value(row, &mut blobs);
        let place = format!("{}#{}", self.file.display(), self.number);
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let mut record = self
            .fields
            .record(&value, place, &format!("{stem}:{}", self.number));
        for image in self.fields.images(&value) {
            let (ImageValue::Named(image) | ImageValue::Base64(image)) = image;
            if !image.is_null() {
                record.images.push(picture(image, &mut blobs));
            }
        }
        record
    }

    /// The next row of the open file; a damaged page ends the file, since nothing after it can be trusted.
    fn next_row(&mut self) -> Option<std::result::Result<Row, BadRecord>> {
        let rows = self.rows.as_mut()?;
        // The reader is known to panic on some damaged pages; bytes from outside must not stop the run.
        let next = catch_unwind(AssertUnwindSafe(|| rows.next()));
        self.number += 1;
        let place = format!("{}#{}", self.file.display(), self.number);
        let bad = match next {
            Ok(Some(Ok(row))) => return Some(Ok(row)),
            Ok(None) => {
                self.rows = None;
                return None;
            }
            Ok(Some(Err(error))) => BadRecord::new(place, "parquet", error, &[]),
            Err(_) => BadRecord::new(
                place,
                "parquet",
                "the reader gave up on a damaged page",
                &[],
            ),
        };
        self.rows = None;
        Some(Err(bad))
    }
}

impl Source for ParquetSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn next(&mut self) -> Option<std::result::Result<Record, BadRecord>> {
        loop {
            match self.next_row() {
                Some(Ok(row)) => return Some(Ok(self.record(row))),
                Some(Err(bad)) => return Some(Err(bad)),
                None => {
                    self.file = self.files.next()?;
                    self.number = 0;
                }
            }
            match reader(&self.file) {
                Ok(reader) => self.rows = Some(RowIter::from_file_into(Box::new(reader))),
                Err(error) => {
                    let place = self.file.display().to_string();
                    return Some(Err(BadRecord::new(place, "unreadable", error, &[])));
                }
            }
        }
    }
}

fn reader(path: &Path) -> Result<SerializedFileReader<File>> {
    let file = File::open(path).map_err(|cause| Error::io(path, cause))?;
    let damaged = |detail: String| Error::Parquet {
        path: path.to_path_buf(),
        detail,
    };
    match catch_unwind(|| SerializedFileReader::new(file)) {
        Ok(Ok(reader)) => Ok(reader),
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(_) => Err(damaged("the footer is damaged".to_string())),
    }
}

/// A picture from the stand-in of a byte column, a `{bytes, path}` struct, or base64 text.
fn picture(value: &Value, blobs: &mut [Vec<u8>]) -> Picture {
    let inner = value.get("bytes").unwrap_or(value);
    if let Some(blob) = inner
        .get(BYTES)
        .and_then(Value::as_u64)
        .and_then(|at| blobs.get_mut(at as usize))
    {
        return Picture::Encoded(std::mem::take(blob));
    }
    match inner.as_str() {
        Some(text) => from_base64(text.as_bytes()),
        None => Picture::Absent(String::from("no bytes in the image column")),
    }
}

fn row_value(row: Row, blobs: &mut Vec<Vec<u8>>) -> Value {
    let columns = row.into_columns().into_iter();
    Value::Object(
        columns
            .map(|(name, field)| (name, field_value(field, blobs)))
            .collect(),
    )
}

/// The JSON form of a field; bytes that are not text are moved aside.
fn field_value(field: Field, blobs: &mut Vec<Vec<u8>>) -> Value {
    match field {
        Field::Str(text) => Value::String(text),
        Field::Bool(value) => Value::Bool(value),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float(value) => value.into(),
        Field::Double(value) => value.into(),
        Field::Bytes(bytes) => {
            blobs.push(bytes.data().to_vec());
            let mut stand_in = Map::new();
            stand_in.insert(BYTES.to_string(), (blobs.len() as u64 - 1).into());
            Value::Object(stand_in)
        }
        Field::Group(row) => row_value(row, blobs),
        Field::ListInternal(list) => {
            let items = list.elements().iter().cloned();
            Value::Array(items.map(|item| field_value(item, blobs)).collect())
        }
        _ => Value::Null,
    }
}
