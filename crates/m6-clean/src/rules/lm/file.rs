//! The model file: order, characters, unigrams, then each table's slots, little-endian, sealed with a hash.

use std::path::Path;

use super::table::Table;
use super::vocab::{MAX_CHARS, Vocab};
use super::{MAX_FILE_BYTES, Model, ORDERS};
use crate::rules::sealed::{self, Fields};
use crate::{Error, Result};

const MAGIC: [u8; 8] = *b"M6LM\0\0\0\0";
const VERSION: u32 = 1;

pub(super) fn save(model: &Model, path: &Path) -> Result<()> {
    let mut content = Vec::new();
    let mut word = |value: u32| content.extend_from_slice(&value.to_le_bytes());
    word(model.order() as u32);
    word(model.vocab.chars().len() as u32);
    model.vocab.chars().iter().for_each(|c| word(u32::from(*c)));
    model.unigrams.iter().for_each(|packed| word(*packed));
    for table in &model.tables {
        content.extend_from_slice(&table.slots().len().trailing_zeros().to_le_bytes());
        for slot in table.slots() {
            content.extend_from_slice(&slot.to_le_bytes());
        }
    }
    sealed::write(path, MAGIC, VERSION, &content)
}

pub(super) fn load(path: &Path) -> Result<Model> {
    let (content, blake3) = sealed::read(path, MAGIC, VERSION, MAX_FILE_BYTES)?;
    let mut model = parse(&content).ok_or_else(|| Error::Damaged {
        path: path.to_owned(),
        problem: "the language model's sizes do not fit its content".to_owned(),
    })?;
    model.blake3 = blake3;
    Ok(model)
}

fn parse(content: &[u8]) -> Option<Model> {
    let mut fields = Fields(content);
    let order = usize::try_from(fields.u32()?)
        .ok()
        .filter(|order| ORDERS.contains(order))?;
    let n_chars = usize::try_from(fields.u32()?)
        .ok()
        .filter(|n| *n <= MAX_CHARS)?;
    let chars: Option<Vec<char>> = fields
        .u32s(n_chars)?
        .into_iter()
        .map(char::from_u32)
        .collect();
    let vocab = Vocab::new(chars?);
    let unigrams = fields.u32s(vocab.n_ids())?;
    let mut tables = Vec::with_capacity(order - 1);
    for _ in 2..=order {
        let n_slots = 1usize.checked_shl(fields.u32()?)?;
        tables.push(Table::from_slots(fields.u64s(n_slots)?)?);
    }
    fields.0.is_empty().then(|| Model {
        vocab,
        unigrams,
        tables,
        blake3: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::lm::{Config, train};

    fn small() -> Model {
        let config = Config {
            min_char_count: 1,
            ..Config::default()
        };
        train(["山高水长。", "水落石出。", "山水画。𠀀"], &config)
            .unwrap()
            .model
    }

    #[test]
    fn a_saved_model_scores_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zh.m6lm");
        let model = small();
        model.save(&path).unwrap();
        let loaded = Model::load(&path).unwrap();
        assert_eq!(loaded.blake3(), m6_store::hash::hash_file(&path).unwrap());
        assert_eq!(loaded.order(), 5);
        for text in ["山水", "石", "𠀀", "不知道", ""] {
            assert_eq!(loaded.score(text), model.score(text), "{text}");
        }
        loaded.save(&dir.path().join("again")).unwrap();
        assert_eq!(
            m6_store::hash::hash_file(&dir.path().join("again")).unwrap(),
            loaded.blake3()
        );
    }

    proptest! {
        #[test]
        fn a_sealed_file_with_any_content_is_read_or_refused(mut content in prop::collection::vec(0u8..6, 0..200), order in 0u32..8) {
            if let Some(head) = content.first_chunk_mut::<4>() {
                *head = order.to_le_bytes();
            }
            if let Some(model) = parse(&content) {
                model.score("山水\0𠀀");
            }
        }
    }
}
