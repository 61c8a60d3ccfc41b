//! The one pass over all documents: hash, length, quality and band keys of each.

use rayon::prelude::*;

use super::minhash::{Bands, Signer};
use super::shingle;
use super::sort::{Sorted, Sorter};
use super::{Documents, Options, share};
use crate::Result;

/// Documents that are worked on together; a fixed number, so that threads change nothing.
const CHUNK: usize = 1024;

/// What is remembered of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    /// Characters but white space; held at the largest number there is.
    pub n_chars: u32,
    /// Quality, or minus infinity.
    pub quality: f32,
}

/// What the pass found.
pub(super) struct Marks {
    /// In order of documents; `None` for damaged ones.
    pub traits: Vec<Option<Traits>>,
    /// Hash of the text, document.
    pub exact: Sorted<(u128, u32)>,
    /// Band key, document.
    pub bands: Sorted<(u64, u32)>,
}

/// What the pass makes of one document.
struct Marked {
    traits: Traits,
    hash: u128,
    keys: Vec<u64>,
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    stripped: String,
    hashes: Vec<u64>,
    halves: Vec<u32>,
}

/// Goes over all documents once.
pub(super) fn mark<D: Documents + ?Sized>(
    documents: &D,
    options: &Options,
    watch: &mut dyn FnMut(usize),
) -> Result<Marks> {
    let n = documents.len();
    let marker = Marker {
        documents,
        shingle: options.shingle,
        signer: Signer::new(options.seed),
        cut: options.bands(),
    };
    let mut traits = Vec::with_capacity(n);
    let mut exact = Sorter::new(&options.spill, share::EXACT.of(options.memory));
    let mut bands = Sorter::new(&options.spill, share::BANDS.of(options.memory));
    for start in (0..n).step_by(CHUNK) {
        let chunk = start..n.min(start + CHUNK);
        let marked: Vec<Option<Marked>> = chunk
            .clone()
            .into_par_iter()
            .map_init(Scratch::default, |scratch, i| marker.mark(i, scratch))
            .collect::<Result<_>>()?;
        for (i, marked) in chunk.zip(marked) {
            traits.push(marked.as_ref().map(|marked| marked.traits));
            let Some(marked) = marked else { continue };
            exact.push((marked.hash, i as u32))?;
            for key in marked.keys {
                bands.push((key, i as u32))?;
            }
        }
        watch(traits.len());
    }
    Ok(Marks {
        traits,
        exact: exact.finish()?,
        bands: bands.finish()?,
    })
}

struct Marker<'d, D: ?Sized> {
    documents: &'d D,
    shingle: usize,
    signer: Signer,
    cut: Bands,
}

impl<D: Documents + ?Sized> Marker<'_, D> {
    fn mark(&self, index: usize, scratch: &mut Scratch) -> Result<Option<Marked>> {
        let Some(document) = self.documents.document(index)? else {
            return Ok(None);
        };
        shingle::strip(&document.text, &mut scratch.stripped);
        let n_chars = shingle::windows(&scratch.stripped, self.shingle, &mut scratch.hashes);
        // Empty texts are exact duplicates already; bands would make pairs of them all.
        let mut keys = Vec::new();
        if n_chars > 0 {
            let signature = self.signer.sign(&scratch.hashes, &mut scratch.halves);
            keys.extend(self.cut.keys(&signature));
        }
        let mut word = [0; 16];
        word.copy_from_slice(&blake3::hash(scratch.stripped.as_bytes()).as_bytes()[..16]);
        let quality = document.quality.filter(|quality| !quality.is_nan());
        Ok(Some(Marked {
            traits: Traits {
                n_chars: u32::try_from(n_chars).unwrap_or(u32::MAX),
                quality: quality.unwrap_or(f32::NEG_INFINITY),
            },
            hash: u128::from_le_bytes(word),
            keys,
        }))
    }
}
