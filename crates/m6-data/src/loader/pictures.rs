//! The pictures of a prepared folder without their texts, for networks that learn from pictures alone.

use std::path::Path;

use m6_store::blobs::BlobReader;

use super::Split;
use crate::entry::EntryRow;
use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// Every picture of one side of the split, in the order of sources, records and their pictures.
pub struct PictureSet {
    images: Vec<BlobReader>,
    /// Source and number of each picture.
    at: Vec<(u16, u64)>,
    manifest: Manifest,
}

impl PictureSet {
    /// Maps a prepared folder.
    ///
    /// # Errors
    /// The folder is no prepared data or is damaged.
    pub fn open(dir: &Path, split: Split) -> Result<Self> {
        let manifest = Manifest::read(dir)?;
        let (mut images, mut at) = (Vec::new(), Vec::new());
        for (source, config) in manifest.config.sources.iter().enumerate() {
            let folder = dir.join(&config.name);
            let records = BlobReader::open(&folder.join("records"))?;
            for i in 0..records.len() {
                let row = records.try_get(i).and_then(EntryRow::from_bytes);
                let row = row.ok_or_else(|| Error::Damaged {
                    place: format!("{}, record {i}", folder.display()),
                    detail: "there is no such record".to_string(),
                })?;
                if row.held_out == (split == Split::HeldOut) {
                    let own = (0..u64::from(row.n_images)).map(|n| row.first_image + n);
                    at.extend(own.map(|image| (source as u16, image)));
                }
            }
            images.push(BlobReader::open(&folder.join("images"))?);
        }
        Ok(Self {
            images,
            at,
            manifest,
        })
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// What the folder says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Pixels of picture `i`: `3 * side * side` bytes, channels first, straight from the map.
    ///
    /// # Errors
    /// There is no such picture, or its bytes are of another length.
    pub fn get(&self, i: usize) -> Result<&[u8]> {
        let pixels = self.at.get(i).and_then(|&(source, image)| {
            self.images[usize::from(source)].try_get(usize::try_from(image).ok()?)
        });
        let n_bytes = self.manifest.config.picture_bytes();
        let pixels = pixels.filter(|pixels| pixels.len() == n_bytes);
        pixels.ok_or_else(|| Error::Damaged {
            place: format!("picture {i} of {}", self.len()),
            detail: format!("it is not there with {n_bytes} bytes"),
        })
    }
}
