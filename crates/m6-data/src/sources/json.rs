//! Whole JSON files.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use m6_store::mmap::Mmap;
use serde_json::Value;

use super::each::{Each, Element};
use super::pictures::Pictures;
use crate::config::SourceConfig;
use crate::error::Result;
use crate::fields::FieldMap;
use crate::record::{BadRecord, Record, Source};

/// Records of JSON files, each held in memory as a whole while it is read.
pub(super) struct JsonSource {
    name: String,
    fields: FieldMap,
    pictures: Pictures,
    files: std::vec::IntoIter<PathBuf>,
    file: PathBuf,
    each: Option<Each>,
    elements: VecDeque<Element>,
    number: u64,
}

impl JsonSource {
    pub(super) fn new(config: &SourceConfig, files: Vec<PathBuf>, root: &Path) -> Result<Self> {
        Ok(Self {
            name: config.name.clone(),
            fields: FieldMap::new(config),
            pictures: Pictures::of(config, root)?,
            files: files.into_iter(),
            file: PathBuf::new(),
            each: Each::new(config.each.as_deref()),
            elements: VecDeque::new(),
            number: 0,
        })
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
        for image in self.fields.images(value) {
            record.images.push(self.pictures.find(image, &self.file));
        }
        Ok(record)
    }
}

impl Source for JsonSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn next(&mut self) -> Option<std::result::Result<Record, BadRecord>> {
        if let Some(fault) = self.pictures.next_fault() {
            return Some(Err(fault));
        }
        loop {
            if let Some(element) = self.elements.pop_front() {
                return Some(self.record(&element.into_value()));
            }
            self.file = self.files.next()?;
            self.number = 0;
            match read(&self.file, self.each.as_ref()) {
                Ok(elements) => self.elements = elements,
                Err(bad) => return Some(Err(bad)),
            }
        }
    }

    fn skipped(&self) -> BTreeMap<String, u64> {
        match self.pictures.n_unused() {
            0 => BTreeMap::new(),
            n => BTreeMap::from([("picture_without_record".to_string(), n)]),
        }
    }
}

fn read(file: &Path, each: Option<&Each>) -> std::result::Result<VecDeque<Element>, BadRecord> {
    let place = file.display().to_string();
    let map = Mmap::open(file)
        .map_err(|error| BadRecord::new(place.clone(), "unreadable", error, &[]))?;
    let bytes = map.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&map);
    let alone = |values: Vec<Value>| values.into_iter().map(Element::alone).collect();
    match serde_json::from_slice(bytes) {
        Ok(value @ (Value::Array(_) | Value::Object(_))) if each.is_some() => {
            let elements = each.map(|each| each.elements(value)).unwrap_or_default();
            match elements.is_empty() {
                true => {
                    let detail = "there is no record at the path of `each`";
                    Err(BadRecord::new(place, "field", detail, bytes))
                }
                false => Ok(elements),
            }
        }
        Ok(Value::Array(values)) => Ok(alone(values)),
        Ok(Value::Object(mut object)) => match object.get_mut("data").map(Value::take) {
            Some(Value::Array(values)) => Ok(alone(values)),
            Some(other) => {
                object.insert("data".to_string(), other);
                Ok(alone(vec![Value::Object(object)]))
            }
            None => Ok(alone(vec![Value::Object(object)])),
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
