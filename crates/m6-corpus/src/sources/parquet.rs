//! Parquet tables, row by row.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Value};

use super::doc::{Item, Picture, PictureData, Place};
use super::json::unreadable;
use super::rows::Rows;

/// Start of the name under which bytes of a column wait beside the JSON form of their row. No address starts so.
const BLOB: &str = "\u{0}blob:";

/// The records of a table; a damaged page ends it, since nothing after it can be trusted.
pub(super) fn open(rows: Arc<Rows>, path: PathBuf) -> Box<dyn Iterator<Item = Item>> {
    let reader = match reader(&path, &rows) {
        Ok(reader) => reader,
        Err(reason) => return unreadable(path, &reason),
    };
    let mut table = Some(RowIter::from_file_into(Box::new(reader)));
    let mut number = 0u64;
    Box::new(std::iter::from_fn(move || {
        let iterator = table.as_mut()?;
        // The reader is known to panic on some damaged pages; bytes from outside must not stop the run.
        let next = catch_unwind(AssertUnwindSafe(|| iterator.next()));
        number += 1;
        let place = Place {
            path: path.clone(),
            offset: 0,
            line: Some(number),
        };
        let reason = match next {
            Ok(Some(Ok(row))) => return Some(record(&rows, row, place)),
            Ok(None) => {
                table = None;
                return None;
            }
            Ok(Some(Err(error))) => error.to_string(),
            Err(_) => "the reader gave up on a damaged page".to_string(),
        };
        table = None;
        Some(Item::damage(place, reason))
    }))
}

/// Opens a table and checks that it has the columns that the source names.
fn reader(path: &Path, rows: &Rows) -> Result<SerializedFileReader<File>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let reader = match catch_unwind(|| SerializedFileReader::new(file)) {
        Ok(Ok(reader)) => reader,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("the footer is damaged".to_string()),
    };
    let schema = reader.metadata().file_metadata().schema();
    // A schema that is one value and no group is none that a table can have; asking it for fields would panic.
    if !schema.is_group() {
        return Err("the footer names no columns".to_string());
    }
    let names: Vec<&str> = schema
        .get_fields()
        .iter()
        .map(|field| field.name())
        .collect();
    match rows
        .map
        .columns(rows.names_id)
        .iter()
        .find(|column| !names.contains(column))
    {
        Some(missing) => Err(format!(
            "no column \"{missing}\" among: {}",
            names.join(", ")
        )),
        None => Ok(reader),
    }
}

fn record(rows: &Rows, row: Row, place: Place) -> Item {
    let mut blobs = Vec::new();
    let value = row_value(row, &mut blobs);
    let mut doc = rows.doc(&value, place);
    for (i, picture) in doc.pictures.iter_mut().enumerate() {
        fill(picture, i, &mut blobs);
    }
    doc.into_item()
}

/// Puts the bytes of a column, or of base64 text, in the place of a stand-in.
fn fill(picture: &mut Picture, i: usize, blobs: &mut [Vec<u8>]) {
    let PictureData::Address(address) = &picture.data else {
        return;
    };
    let blob = address
        .strip_prefix(BLOB)
        .and_then(|at| blobs.get_mut(at.parse::<usize>().ok()?));
    let bytes = match blob {
        // The bytes of one column are given to one picture.
        Some(blob) => Some(std::mem::take(blob)),
        None => data_uri(address),
    };
    if let Some(bytes) = bytes {
        picture.data = PictureData::Bytes {
            name: format!("image-{i}"),
            bytes,
        };
    }
}

/// The bytes of a `data:` address in base64.
fn data_uri(address: &str) -> Option<Vec<u8>> {
    let (_, encoded) = address.strip_prefix("data:")?.split_once(";base64,")?;
    base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .ok()
}

fn row_value(row: Row, blobs: &mut Vec<Vec<u8>>) -> Value {
    let columns = row.into_columns().into_iter();
    Value::Object(
        columns
            .map(|(name, field)| (name, field_value(field, blobs)))
            .collect(),
    )
}

/// The JSON form of a field; bytes are moved aside. A struct with `bytes` (the Hugging Face form of a picture) stands
/// for its bytes.
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
        // Text of a column that does not say it is text; an encoded picture is never UTF-8.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::String(text.to_string()),
            Err(_) => {
                blobs.push(bytes.data().to_vec());
                Value::String(format!("{BLOB}{}", blobs.len() - 1))
            }
        },
        Field::Group(row) => {
            let mut value = row_value(row, blobs);
            let blob = value
                .get_mut("bytes")
                .filter(|bytes| bytes.is_string())
                .map(Value::take);
            blob.unwrap_or(value)
        }
        Field::ListInternal(list) => {
            let items = list.elements().iter().cloned();
            Value::Array(items.map(|item| field_value(item, blobs)).collect())
        }
        Field::MapInternal(map) => {
            let entries = map.entries().iter().cloned();
            let named = entries.filter_map(|(key, value)| match key {
                Field::Str(key) => Some((key, field_value(value, blobs))),
                _ => None,
            });
            Value::Object(Map::from_iter(named))
        }
        _ => Value::Null,
    }
}
