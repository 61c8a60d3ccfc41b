//! Large `f32` products on the pool, for machines with AVX2 and without AVX-512: the five loops of Goto and van de Geijn.
//!
//! Why not the `gemm` crate: on two threads its products of a training step ran at 87-117 GFLOP/s in the median, these at 133-150,
//! in turns in one process (`cargo run --release -p m6-nn --example products`). It gives each thread one fixed part, so a thread that is held up holds up all;
//! here the pool takes small blocks of rows as it gets to them.
//!
//! An element is the sum, over blocks of [`K_BLOCK`] inner indices in order, of sums in order: it depends on neither the number of threads
//! nor the other rows and columns.

use super::avx2::{Lines, MR, NR, pack, tile};
use rayon::prelude::*;
use std::cell::RefCell;

/// Inner indices whose left rows stay in the second-level cache and whose right tile columns stay in the first.
const K_BLOCK: usize = 512;
/// Inner indices that are packed at a time, a multiple of [`K_BLOCK`].
const K_PACKED: usize = 4 * K_BLOCK;
/// Rows of a task.
const M_BLOCK: usize = 8 * MR;
/// Elements of the right operand that are packed at a time: 4 MB, for the third-level cache.
const N_PACKED: usize = 1 << 20;
/// Products smaller than this many multiplications do not repay the packing.
const N_SMALL: usize = 1 << 18;

/// A matrix somewhere in memory.
#[derive(Clone, Copy)]
struct Place {
    start: *mut f32,
    row: usize,
    col: usize,
}

// SAFETY: the caller of `gemm` promises that all elements live through the call and that nobody else writes them.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl Place {
    /// # Safety
    /// The element is inside the matrix.
    unsafe fn at(self, i: usize, j: usize) -> *mut f32 {
        // SAFETY: as promised.
        unsafe { self.start.add(i * self.row + j * self.col) }
    }
}

thread_local! {
    static LEFT: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Whether a product should be made here.
pub fn takes(size: (usize, usize, usize)) -> bool {
    let (m, n, k) = size;
    m >= MR && n >= NR && m * n * k >= N_SMALL && super::avx2::is_best()
}

/// `c = scale * a b` or `c += scale * a b`; pointers with row and column strides.
///
/// # Safety
/// [`takes`] said yes; every element is inside a live allocation, and nobody else touches those of `c` meanwhile.
pub unsafe fn gemm(
    size: (usize, usize, usize),
    c: (*mut f32, usize),
    accumulate: bool,
    scale: f32,
    a: (*const f32, usize, usize),
    b: (*const f32, usize, usize),
) {
    let (m, n, k) = size;
    let place = |(start, row, col): (*const f32, usize, usize)| Place {
        start: start.cast_mut(),
        row,
        col,
    };
    let (a, b) = (place(a), place(b));
    let c = place((c.0, c.1, 1));
    let k_packed = K_PACKED.min(k);
    let n_packed = (N_PACKED / k_packed / NR * NR).min(n.next_multiple_of(NR));
    let mut right = Right::with_capacity(n_packed * k_packed);
    for j in (0..n).step_by(n_packed) {
        for p in (0..k).step_by(k_packed) {
            let (n, k) = (n_packed.min(n - j), k_packed.min(k - p));
            // SAFETY: blocks of matrices that are inside their allocations; tasks of a loop write disjoint rows.
            unsafe {
                right.fill(b, (p, j), (k, n));
                (0..m.div_ceil(M_BLOCK))
                    .into_par_iter()
                    .with_max_len(1)
                    .for_each(|task| {
                        let i = task * M_BLOCK;
                        let rows = Rows {
                            a,
                            c,
                            at: (i, p, j),
                            n_rows: M_BLOCK.min(m - i),
                            scale,
                        };
                        LEFT.with_borrow_mut(|left| rows.run(&right, left, accumulate || p > 0));
                    });
            }
        }
    }
}

/// A part of the right operand in tile order: blocks of inner indices, in each the tile columns, in each `[k, 16]`.
struct Right {
    values: Vec<f32>,
    k: usize,
    n: usize,
}

fn aligned(values: &mut Vec<f32>, n: usize) -> *mut f32 {
    values.reserve((n + NR).saturating_sub(values.len()));
    let start = values.as_mut_ptr();
    // SAFETY: the capacity has NR elements, a cache line, to spare.
    unsafe { start.add(start.align_offset(64)) }
}

impl Right {
    fn with_capacity(n_elements: usize) -> Self {
        Self {
            values: Vec::with_capacity(n_elements + NR),
            k: 0,
            n: 0,
        }
    }

    /// Start of tile column `j` of the block of inner indices that begins at `p`.
    fn tile_column(start: *mut f32, (k, n): (usize, usize), p: usize, j: usize) -> *mut f32 {
        let k_block = K_BLOCK.min(k - p);
        // Inside the reserved capacity: p * n elements of earlier blocks, then k_block * NR per tile column.
        start.wrapping_add(p * n.next_multiple_of(NR) + j * k_block * NR)
    }

    /// # Safety
    /// The `k` rows and `n` columns of `b` from `at` on exist, and fit into the capacity.
    unsafe fn fill(&mut self, b: Place, at: (usize, usize), size: (usize, usize)) {
        (self.k, self.n) = size;
        let to = Place {
            start: aligned(&mut self.values, 0),
            row: 0,
            col: 0,
        };
        let (k, n) = size;
        (0..n.div_ceil(NR))
            .into_par_iter()
            .with_min_len(4)
            .for_each(|j| {
                for p in (0..k).step_by(K_BLOCK) {
                    // SAFETY: every task writes its own tile columns.
                    unsafe {
                        let lines = Lines {
                            start: b.at(at.0 + p, at.1 + j * NR),
                            line: b.col,
                            step: b.row,
                        };
                        let to = Self::tile_column(to.at(0, 0), size, p, j);
                        pack::<NR>(to, lines, NR.min(n - j * NR), K_BLOCK.min(k - p));
                    }
                }
            });
    }
}

/// Some rows of the result, with the offsets of the part of the product that is made now.
struct Rows {
    a: Place,
    c: Place,
    at: (usize, usize, usize),
    n_rows: usize,
    scale: f32,
}

impl Rows {
    /// # Safety
    /// The rows of `a` and `c` exist, and nobody else writes these rows of `c`.
    unsafe fn run(&self, right: &Right, left: &mut Vec<f32>, accumulate: bool) {
        let left = aligned(left, M_BLOCK * K_BLOCK);
        let start = right.values.as_ptr().cast_mut();
        // SAFETY: as in `aligned`, on the same buffer.
        let start = unsafe { start.add(start.align_offset(64)) };
        let (first_row, first_inner, first_col) = self.at;
        for p in (0..right.k).step_by(K_BLOCK) {
            let k = K_BLOCK.min(right.k - p);
            for i in (0..self.n_rows).step_by(MR) {
                // SAFETY: rows and inner indices inside `a`; the buffer holds M_BLOCK rows of K_BLOCK.
                unsafe {
                    let lines = Lines {
                        start: self.a.at(first_row + i, first_inner + p),
                        line: self.a.row,
                        step: self.a.col,
                    };
                    pack::<MR>(left.add(i * k), lines, MR.min(self.n_rows - i), k);
                }
            }
            for j in (0..right.n).step_by(NR) {
                let b = Right::tile_column(start, (right.k, right.n), p, j / NR);
                for i in (0..self.n_rows).step_by(MR) {
                    // SAFETY: packed operands of k indices; the tile is inside `c`, or goes by way of a buffer.
                    unsafe {
                        let c = self.c.at(first_row + i, first_col + j);
                        let size = (MR.min(self.n_rows - i), NR.min(right.n - j));
                        self.tile(k, left.add(i * k), b, c, size, accumulate || p > 0);
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`tile`], for the part of the tile that `size` gives.
    unsafe fn tile(
        &self,
        k: usize,
        a: *const f32,
        b: *const f32,
        c: *mut f32,
        size: (usize, usize),
        accumulate: bool,
    ) {
        if size == (MR, NR) {
            // SAFETY: as promised.
            return unsafe { tile(k, a, b, c, self.c.row, accumulate, self.scale) };
        }
        let mut whole = [0.0_f32; MR * NR];
        // SAFETY: `whole` has the size of a tile; of `c` only the promised part is touched.
        unsafe {
            tile(k, a, b, whole.as_mut_ptr(), NR, false, self.scale);
            for (i, row) in whole.chunks_exact(NR).take(size.0).enumerate() {
                for (j, &value) in row.iter().take(size.1).enumerate() {
                    let to = c.add(i * self.c.row + j);
                    *to = if accumulate { value + *to } else { value };
                }
            }
        }
    }
}
