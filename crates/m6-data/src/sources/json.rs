//! Whole JSON files.

use std::path::{Path, PathBuf};

use m6_store::mmap::Mmap;
use serde_json::Value;

use super::pictures::Pictures;
use crate::config::SourceConfig;
use crate::fields::FieldMap;
use crate::record::{BadRecord, Record, Source};

/// Records of JSON files, each held in memory as a whole while it is read.
pub(super) struct JsonSource {
    name: String,
    fields: FieldMap,
    pictures: Pictures,
    files: std::vec::IntoIter<PathBuf>,
    file: PathBuf,
    values: std::vec::IntoIter<Value>,
    number: u64,
}

impl JsonSource {
    pub(super) fn new(config: &SourceConfig, files: Vec<PathBuf>) -> Self {
        Self {
            name: config.name.clone(),
            fields: FieldMap::new(config),
            pictures: Pictures::Beside,
            files: files.into_iter(),
            file: PathBuf::new(),
            values: Vec::new().into_iter(),
            number: 0,
        }
    }

    fn record(&mut self, value: &Value) -> std::result::Result<Record, BadRecord> {
        self.number += 1;
        let place = format!("{}#{}", self.file.display(), self.number);
        if !value.is_object() {
            let text = value.to_string();
            return Err(BadRecord::new(
                place,
                "json",
                "expected an object",
                text.as_bytes(),
            ));
        }
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let mut record = self
            .fields
            .record(value, place, &format!("{stem}:{}", self.number));
        for name in self.fields.images(value) {
            record.images.push(self.pictures.find(name, &self.file));
        }
        Ok(record)
    }
}

impl Source for JsonSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn next(&mut self) -> Option<std::result::Result<Record, BadRecord>> {
        loop {
            if let Some(value) = self.values.next() {
                return Some(self.record(&value));
            }
            self.file = self.files.next()?;
            self.number = 0;
            match read(&self.file) {
                Ok(values) => self.values = values.into_iter(),
                Err(bad) => return Some(Err(bad)),
            }
        }
    }
}

fn read(file: &Path) -> std::result::Result<Vec<Value>, BadRecord> {
    let place = file.display().to_string();
    let map = Mmap::open(file)
        .map_err(|error| BadRecord::new(place.clone(), "unreadable", error, &[]))?;
    let bytes = map.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&map);
    match serde_json::from_slice(bytes) {
        Ok(Value::Array(values)) => Ok(values),
        Ok(Value::Object(mut object)) => match object.get_mut("data").map(Value::take) {
            Some(Value::Array(values)) => Ok(values),
            Some(other) => {
                object.insert("data".to_string(), other);
                Ok(vec![Value::Object(object)])
            }
            None => Ok(vec![Value::Object(object)]),
        },
        Ok(_) => Err(BadRecord::new(
            place,
            "json",
            "expected a list or an object",
            bytes,
        )),
        Err(error) => Err(BadRecord::new(place, "json", error, bytes)),
    }
}
