//! AdamW with moments in 8 bits (Dettmers and others 2021): each block of both is decoded, updated as by [`super::adamw`], and encoded
//! again; the step itself is made of the moments before they lose their digits.

use super::adamw::AdamWStep;
use super::dynamic8::{BLOCK, Map};
use crate::glue::CHUNK;
use crate::real::Real;
use rayon::prelude::*;

/// Parameters of fewer elements keep moments in full, as in bitsandbytes: they take little, and norms and biases learn from every digit.
pub const LEAST: usize = 4096;

/// One moment: a code an element, and the largest magnitude of each block of [`BLOCK`].
pub struct Codes<'a> {
    /// By element.
    pub codes: &'a mut [u8],
    /// By block.
    pub scales: &'a mut [f32],
}

impl<'a> Codes<'a> {
    /// By chunks that are the same for any number of threads.
    fn chunks(self) -> impl IndexedParallelIterator<Item = Codes<'a>> {
        let codes = self.codes.par_chunks_mut(CHUNK);
        let scales = self.scales.par_chunks_mut(CHUNK / BLOCK);
        codes
            .zip(scales)
            .map(|(codes, scales)| Codes { codes, scales })
    }

    fn blocks(&mut self) -> impl Iterator<Item = (&mut [u8], &mut f32)> {
        self.codes.chunks_mut(BLOCK).zip(self.scales.iter_mut())
    }
}

/// Updates `value` and both moments from the gradient, all of the same elements.
pub fn adamw8<T: Real>(
    value: &mut [T],
    grad: &[T],
    avg: Codes<'_>,
    avg_sq: Codes<'_>,
    s: &AdamWStep,
) {
    let factors = s.factors::<T>();
    let (signed, unsigned) = (Map::signed(), Map::unsigned());
    let chunks = value
        .par_chunks_mut(CHUNK)
        .zip(grad.par_chunks(CHUNK))
        .zip(avg.chunks())
        .zip(avg_sq.chunks());
    chunks.for_each(|(((value, grad), mut avg), mut avg_sq)| {
        let (mut first, mut second) = ([T::zero(); BLOCK], [T::zero(); BLOCK]);
        let blocks = value.chunks_mut(BLOCK).zip(grad.chunks(BLOCK));
        let moments = avg.blocks().zip(avg_sq.blocks());
        for ((value, grad), ((codes, scale), (codes_sq, scale_sq))) in blocks.zip(moments) {
            let (first, second) = (&mut first[..value.len()], &mut second[..value.len()]);
            signed.decode(codes, *scale, first);
            unsigned.decode(codes_sq, *scale_sq, second);
            factors.update(value, grad, first, second);
            *scale = signed.encode(first, codes);
            *scale_sq = unsigned.encode(second, codes_sq);
        }
    });
}
