//! The model file: shape, bias and weights, little-endian, sealed with a hash.

use std::path::Path;

use super::{BITS, Model, Shape};
use crate::rules::sealed::{self, Fields};
use crate::{Error, Result};

const MAGIC: [u8; 8] = *b"M6CLS\0\0\0";
const VERSION: u32 = 1;
/// The largest table, and room for the head.
const MAX_FILE_BYTES: u64 = (4 << *BITS.end()) + 1024;

pub(super) fn save(model: &Model, path: &Path) -> Result<()> {
    let Shape {
        bits,
        min_n,
        max_n,
        max_chars,
    } = model.shape;
    let mut content = Vec::with_capacity(4 * model.weights.len() + 64);
    for word in [bits, min_n, max_n, max_chars] {
        content.extend_from_slice(&word.to_le_bytes());
    }
    for weight in std::iter::once(&model.bias).chain(&model.weights) {
        content.extend_from_slice(&weight.to_le_bytes());
    }
    sealed::write(path, MAGIC, VERSION, &content)
}

pub(super) fn load(path: &Path) -> Result<Model> {
    let (content, blake3) = sealed::read(path, MAGIC, VERSION, MAX_FILE_BYTES)?;
    let mut model = parse(&content).ok_or_else(|| Error::Damaged {
        path: path.to_owned(),
        problem: "the classifier's sizes do not fit its content".to_owned(),
    })?;
    model.blake3 = blake3;
    Ok(model)
}

fn parse(content: &[u8]) -> Option<Model> {
    let mut fields = Fields(content);
    let shape = Shape {
        bits: fields.u32()?,
        min_n: fields.u32()?,
        max_n: fields.u32()?,
        max_chars: fields.u32()?,
    };
    if !shape.is_valid() {
        return None;
    }
    let bias = f32::from_bits(fields.u32()?);
    let weights: Vec<f32> = fields
        .u32s(shape.n_buckets())?
        .into_iter()
        .map(f32::from_bits)
        .collect();
    let is_finite = bias.is_finite() && weights.iter().all(|weight| weight.is_finite());
    (is_finite && fields.0.is_empty()).then(|| Model {
        shape,
        bias,
        weights,
        blake3: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_survive_the_file_and_a_wrong_size_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quality.m6cls");
        let shape = Shape {
            bits: 8,
            ..Shape::default()
        };
        let weights: Vec<f32> = (0..256).map(|index| index as f32 * 0.01 - 1.0).collect();
        let model = Model {
            shape,
            bias: 0.25,
            weights,
            blake3: String::new(),
        };
        model.save(&path).unwrap();
        let loaded = Model::load(&path).unwrap();
        assert_eq!(loaded.blake3(), m6_store::hash::hash_file(&path).unwrap());
        assert_eq!(
            (loaded.bias, &loaded.weights, loaded.shape()),
            (model.bias, &model.weights, model.shape())
        );
        sealed::write(&path, MAGIC, VERSION, &[8, 0, 0, 0, 1, 0, 0, 0]).unwrap();
        assert!(
            Model::load(&path)
                .unwrap_err()
                .to_string()
                .contains("sizes")
        );
    }

    proptest! {
        #[test]
        fn any_content_is_read_or_refused(content in prop::collection::vec(any::<u8>(), 0..100)) {
            parse(&content);
        }
    }
}
