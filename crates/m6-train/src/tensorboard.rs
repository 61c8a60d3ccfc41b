//! TensorBoard event files: TFRecord frames around hand-encoded `Event` protobufs with scalar summaries.
//!
//! Only five fields of two messages are needed, so an encoder of a page replaces a protobuf library.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes scalars to one `events.out.tfevents.*` file.
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Opens a new event file in `dir`. A run resumed after `resumed_step` says so, and TensorBoard then drops the
    /// points of later steps it finds in the files before.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn create(dir: &Path, resumed_step: u64) -> Result<Self> {
        let now = wall_time();
        let (path, file) = create_unique(dir, now as u64)?;
        let mut writer = Self { path, file };
        writer.record(&version_event(now))?;
        if 0 < resumed_step {
            writer.record(&session_start_event(now, resumed_step + 1))?;
        }
        Ok(writer)
    }

    /// Writes the scalars of one step as one event; they are with the operating system when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn scalars(&mut self, step: u64, values: &[(String, f64)]) -> Result<()> {
        self.record(&scalar_event(wall_time(), step, values))
    }

    fn record(&mut self, event: &[u8]) -> Result<()> {
        self.file
            .write_all(&frame(event))
            .map_err(Error::io(&self.path))
    }
}

/// Two runs in one second must not share a file: the first free number is taken.
fn create_unique(dir: &Path, seconds: u64) -> Result<(PathBuf, File)> {
    for n in 0..u32::MAX {
        let path = dir.join(format!(
            "events.out.tfevents.{seconds:010}.m6.{}.{n}",
            std::process::id()
        ));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(Error::io(&path)(error)),
        }
    }
    unreachable!("four billion event files in one second")
}

fn wall_time() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// One TFRecord: length, masked checksum of the length, data, masked checksum of the data; little-endian.
fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(data.len() + 16);
    out.extend_from_slice(&length);
    out.extend_from_slice(&masked_crc(&length).to_le_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(&masked_crc(data).to_le_bytes());
    out
}

/// The checksum of TFRecord: crc32c, rotated and offset so that a checksum of checksums stays useful.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// Field numbers and wire types of `tensorflow.Event`, `Summary`, `Summary.Value` and `SessionLog`.
mod field {
    pub const EVENT_WALL_TIME: (u32, u32) = (1, 1);
    pub const EVENT_STEP: (u32, u32) = (2, 0);
    pub const EVENT_FILE_VERSION: (u32, u32) = (3, 2);
    pub const EVENT_SUMMARY: (u32, u32) = (5, 2);
    pub const EVENT_SESSION_LOG: (u32, u32) = (7, 2);
    pub const SUMMARY_VALUE: (u32, u32) = (1, 2);
    pub const VALUE_TAG: (u32, u32) = (1, 2);
    pub const VALUE_SIMPLE: (u32, u32) = (2, 5);
    pub const SESSION_STATUS: (u32, u32) = (1, 0);
}

fn version_event(wall_time: f64) -> Vec<u8> {
    let mut event = event_head(wall_time, 0);
    put_bytes(&mut event, field::EVENT_FILE_VERSION, b"brain.Event:2");
    event
}

fn session_start_event(wall_time: f64, step: u64) -> Vec<u8> {
    const START: u64 = 1;
    let mut session = Vec::new();
    put_varint_field(&mut session, field::SESSION_STATUS, START);
    let mut event = event_head(wall_time, step);
    put_bytes(&mut event, field::EVENT_SESSION_LOG, &session);
    event
}

fn scalar_event(wall_time: f64, step: u64, values: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut entry = Vec::new();
        put_bytes(&mut entry, field::VALUE_TAG, tag.as_bytes());
        put_tag(&mut entry, field::VALUE_SIMPLE);
        entry.extend_from_slice(&(*value as f32).to_le_bytes());
        put_bytes(&mut summary, field::SUMMARY_VALUE, &entry);
    }
    let mut event = event_head(wall_time, step);
    put_bytes(&mut event, field::EVENT_SUMMARY, &summary);
    event
}

fn event_head(wall_time: f64, step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    put_tag(&mut event, field::EVENT_WALL_TIME);
    event.extend_from_slice(&wall_time.to_le_bytes());
    put_varint_field(&mut event, field::EVENT_STEP, step);
    event
}

fn put_tag(out: &mut Vec<u8>, (number, wire_type): (u32, u32)) {
    put_varint(out, u64::from(number << 3 | wire_type));
}

fn put_varint_field(out: &mut Vec<u8>, field: (u32, u32), value: u64) {
    put_tag(out, field);
    put_varint(out, value);
}

fn put_bytes(out: &mut Vec<u8>, field: (u32, u32), bytes: &[u8]) {
    put_tag(out, field);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One decoded protobuf field: its number and its raw value.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let tag = take_varint(&mut bytes);
            let value = match tag & 7 {
                0 => take_varint(&mut bytes).to_le_bytes().to_vec(),
                1 => take(&mut bytes, 8).to_vec(),
                2 => {
                    let length = take_varint(&mut bytes) as usize;
                    take(&mut bytes, length).to_vec()
                }
                5 => take(&mut bytes, 4).to_vec(),
                other => panic!("wire type {other}"),
            };
            out.push((tag >> 3, value));
        }
        out
    }

    fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
        let (head, tail) = bytes.split_at(n);
        *bytes = tail;
        head
    }

    fn take_varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = take(bytes, 1)[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
        }
        panic!("varint too long")
    }

    /// The payloads of a TFRecord file; checksums are recomputed bit by bit, without the library under test.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let length = take(&mut bytes, 8).to_vec();
            assert_eq!(take(&mut bytes, 4), slow_masked_crc(&length).to_le_bytes());
            let data = take(
                &mut bytes,
                u64::from_le_bytes(length.try_into().unwrap()) as usize,
            )
            .to_vec();
            assert_eq!(take(&mut bytes, 4), slow_masked_crc(&data).to_le_bytes());
            out.push(data);
        }
        out
    }

    fn slow_masked_crc(data: &[u8]) -> u32 {
        let mut crc = !0u32;
        for &byte in data {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0x82f6_3b78
                } else {
                    crc >> 1
                };
            }
        }
        let crc = !crc;
        crc.rotate_right(15).wrapping_add(0xa282_ead8)
    }

    fn written(dir: &Path) -> Vec<Vec<(u64, Vec<u8>)>> {
        let mut paths: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
            .iter()
            .flat_map(|path| records(&std::fs::read(path).unwrap()))
            .map(|event| fields(&event))
            .collect()
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        // The check value of CRC-32C.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_crc(b"123456789"), slow_masked_crc(b"123456789"));
    }

    #[test]
    fn scalars_come_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(dir.path(), 0).unwrap();
        writer
            .scalars(300, &[("loss".into(), 1.5), ("eval/lm".into(), -2.25)])
            .unwrap();
        let events = written(dir.path());
        assert_eq!(events.len(), 2);
        assert_eq!(events[0][2], (3, b"brain.Event:2".to_vec()));
        assert_eq!(events[1][1], (2, 300u64.to_le_bytes().to_vec()));
        let values: Vec<_> = fields(&events[1][2].1)
            .iter()
            .map(|(_, value)| fields(value))
            .collect();
        assert_eq!(
            values[0],
            [(1, b"loss".to_vec()), (2, 1.5f32.to_le_bytes().to_vec())]
        );
        assert_eq!(
            values[1],
            [
                (1, b"eval/lm".to_vec()),
                (2, (-2.25f32).to_le_bytes().to_vec())
            ]
        );
    }

    #[test]
    fn a_resumed_run_tells_where_it_starts() {
        let dir = tempfile::tempdir().unwrap();
        EventWriter::create(dir.path(), 0).unwrap();
        EventWriter::create(dir.path(), 10).unwrap();
        let events = written(dir.path());
        assert_eq!(events.len(), 3);
        assert_eq!(events[2][1], (2, 11u64.to_le_bytes().to_vec()));
        assert_eq!(events[2][2], (7, vec![8, 1]));
    }
}
