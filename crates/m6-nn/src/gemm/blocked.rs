//! Large `f32` products on the pool: the loops of Goto and van de Geijn around the tile of the machine's instruction set.
//!
//! A product is a sequence of rounds. A round multiplies a block of the left operand with a block of the right one, both packed in the order of
//! tiles; what the next round needs is packed at the same time. All this is one list of small jobs, which threads take in order as they get to
//! them: one that is held up holds up the others by a job at most. A job waits for those of earlier steps by asking again, not by
//! sleeping, since a step takes less than a millisecond. (The `gemm` crate gives each thread one fixed part; docs/benchmarks.md compares.)
//!
//! An element is the sum, over blocks of [`K_BLOCK`] inner indices in order, of sums in order: it depends on neither the number of threads
//! nor the other rows and columns, nor the tile.

use super::avx2::Avx2;
use super::avx512::Avx512;
use super::pack::Lines;
use super::steps::{Round, Step, even, parts};
use super::tile::{LARGEST, Tile};
use rayon::prelude::*;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Inner indices of a block.
const K_BLOCK: usize = 512;
/// Rows of a left block are at most this: with [`K_BLOCK`] inner indices 4 MB, for the third-level cache.
const M_BLOCK: usize = 2048;
/// Jobs that each thread should get of a round's products.
const JOBS_OF_A_THREAD: usize = 16;
/// Products smaller than this many multiplications do not repay the packing.
const N_SMALL: usize = 1 << 18;
/// Elements of a cache line.
const LINE: usize = 16;

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

/// Whether a product should be made here.
pub fn takes(size: (usize, usize, usize)) -> bool {
    suits::<Avx512>(size) || suits::<Avx2>(size)
}

/// Whether the machine has the tile's instructions and the product fills some tiles.
fn suits<T: Tile>((m, n, k): (usize, usize, usize)) -> bool {
    m >= T::MR && n >= T::NR && m * n * k >= N_SMALL && T::is_here()
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
    let place = |(start, row, col): (*const f32, usize, usize)| Place {
        start: start.cast_mut(),
        row,
        col,
    };
    let product = Product {
        size,
        a: place(a),
        b: place(b),
        c: place((c.0, c.1, 1)),
        accumulate,
        scale,
    };
    // SAFETY: as promised by the caller.
    unsafe {
        match suits::<Avx512>(size) {
            true => product.run::<Avx512>(),
            false => product.run::<Avx2>(),
        }
    }
}

struct Product {
    size: (usize, usize, usize),
    a: Place,
    b: Place,
    c: Place,
    accumulate: bool,
    scale: f32,
}

/// Waits for other threads' jobs, which take microseconds; leaves the core to others where it has to be shared.
#[inline(never)]
fn wait_until(ready: impl Fn() -> bool) {
    const SPINS: usize = 1000;
    for _ in 0..SPINS {
        if ready() {
            return;
        }
        std::hint::spin_loop();
    }
    while !ready() {
        std::thread::yield_now();
    }
}

/// A packed block. Jobs write disjoint parts of it, then, in a later step, read it.
struct Packed {
    start: *mut f32,
    _values: Vec<f32>,
}

// SAFETY: `start` points into the vector, which nobody else uses; who writes what is said at `Product::step`.
unsafe impl Send for Packed {}
// SAFETY: as above.
unsafe impl Sync for Packed {}

impl Packed {
    fn with_capacity(n: usize) -> Self {
        let mut values = Vec::<f32>::with_capacity(n + LINE);
        let start = values.as_mut_ptr();
        Self {
            start: start.wrapping_add(start.align_offset(LINE * size_of::<f32>())),
            _values: values,
        }
    }
}

impl Product {
    /// # Safety
    /// As [`gemm`]; the tile's instructions are here.
    unsafe fn run<T: Tile>(&self) {
        let (m, n, k) = self.size;
        let (rows, cols) = (even(m, M_BLOCK, T::MR), even(n, T::N_BLOCK, T::NR));
        let left = || Packed::with_capacity(rows * K_BLOCK.min(k));
        let right = || Packed::with_capacity(cols * K_BLOCK.min(k));
        let (lefts, rights) = ([left(), left()], [right(), right()]);
        let rounds = parts(k, K_BLOCK).flat_map(|inner| {
            parts(m, rows)
                .flat_map(move |rows| parts(n, cols).map(move |cols| Round { rows, cols, inner }))
        });
        let n_threads = rayon::current_num_threads();
        let steps = Step::all::<T>(rounds, JOBS_OF_A_THREAD * n_threads);
        let (taken, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |_| {
            let mut step = 0;
            loop {
                let job = taken.fetch_add(1, Relaxed);
                while steps
                    .get(step)
                    .is_some_and(|step| job >= step.first_job + step.n_jobs())
                {
                    step += 1;
                }
                let Some(step) = steps.get(step) else { return };
                // Earlier jobs were taken earlier, so somebody is at them.
                wait_until(|| done.load(Acquire) >= step.first_job);
                // SAFETY: all jobs of earlier steps are done; the buffers have room for whole blocks.
                unsafe { self.job::<T>(step, job - step.first_job, &lefts, &rights) };
                done.fetch_add(1, Release);
            }
        };
        (0..n_threads)
            .into_par_iter()
            .with_max_len(1)
            .for_each(work);
    }

    /// # Safety
    /// As [`Self::run`]; all jobs of earlier steps are done, and this one is nobody else's: every job has tile rows of the result, a packed tile
    /// row or a packed tile column of its own.
    unsafe fn job<T: Tile>(
        &self,
        step: &Step,
        job: usize,
        lefts: &[Packed; 2],
        rights: &[Packed; 2],
    ) {
        // SAFETY: as promised.
        unsafe {
            if let Some(now) = step.now.filter(|_| job < step.n_products) {
                let n_tiles = now.round.rows.1.div_ceil(T::MR);
                let tiles = job * step.group..n_tiles.min((job + 1) * step.group);
                self.multiply::<T>(now.round, tiles, &lefts[now.left], &rights[now.right]);
            } else if let Some(next) = step.next {
                let job = job - step.n_products;
                match job.checked_sub(step.n_left) {
                    None => self.pack_left::<T>(next.round, job, &lefts[next.left]),
                    Some(job) => self.pack_right::<T>(next.round, job, &rights[next.right]),
                }
            }
        }
    }

    /// # Safety
    /// The block exists and fits into the buffer; nobody else touches this tile row of it.
    unsafe fn pack_left<T: Tile>(&self, round: Round, tile: usize, to: &Packed) {
        let ((row, n_rows), (inner, k)) = (round.rows, round.inner);
        let i = tile * T::MR;
        // SAFETY: as promised.
        unsafe {
            let lines = Lines {
                start: self.a.at(row + i, inner),
                line: self.a.row,
                step: self.a.col,
            };
            T::pack_left(to.start.add(i * k), lines, T::MR.min(n_rows - i), k);
        }
    }

    /// # Safety
    /// The block exists and fits into the buffer; nobody else touches this tile column of it.
    unsafe fn pack_right<T: Tile>(&self, round: Round, tile: usize, to: &Packed) {
        let ((col, n_cols), (inner, k)) = (round.cols, round.inner);
        let j = tile * T::NR;
        // SAFETY: as promised.
        unsafe {
            let lines = Lines {
                start: self.b.at(inner, col + j),
                line: self.b.col,
                step: self.b.row,
            };
            T::pack_right(to.start.add(j * k), lines, T::NR.min(n_cols - j), k);
        }
    }

    /// Some tile rows of a round's part of the result.
    ///
    /// # Safety
    /// The buffers hold the round's blocks; nobody else writes these rows of `c`.
    unsafe fn multiply<T: Tile>(
        &self,
        round: Round,
        tiles: std::ops::Range<usize>,
        left: &Packed,
        right: &Packed,
    ) {
        let (n_rows, n_cols, k) = (round.rows.1, round.cols.1, round.inner.1);
        let accumulate = self.accumulate || round.inner.0 > 0;
        for i in tiles.map(|tile| tile * T::MR) {
            for j in (0..n_cols).step_by(T::NR) {
                // SAFETY: packed operands of k indices; the tile is inside `c`, or goes by way of a buffer.
                unsafe {
                    let (a, b) = (left.start.add(i * k), right.start.add(j * k));
                    let c = self.c.at(round.rows.0 + i, round.cols.0 + j);
                    let size = (T::MR.min(n_rows - i), T::NR.min(n_cols - j));
                    self.tile::<T>(k, a, b, c, size, accumulate);
                }
            }
        }
    }

    /// # Safety
    /// As [`Tile::multiply`], for the part of the tile that `size` gives.
    unsafe fn tile<T: Tile>(
        &self,
        k: usize,
        a: *const f32,
        b: *const f32,
        c: *mut f32,
        size: (usize, usize),
        accumulate: bool,
    ) {
        if size == (T::MR, T::NR) {
            // SAFETY: as promised.
            return unsafe { T::multiply(k, a, b, (c, self.c.row), accumulate, self.scale) };
        }
        let mut whole = [0.0_f32; LARGEST];
        // SAFETY: `whole` has the size of a tile; of `c` only the promised part is touched.
        unsafe {
            T::multiply(k, a, b, (whole.as_mut_ptr(), T::NR), false, self.scale);
            for (i, row) in whole.chunks_exact(T::NR).take(size.0).enumerate() {
                for (j, &value) in row.iter().take(size.1).enumerate() {
                    let to = c.add(i * self.c.row + j);
                    *to = if accumulate { value + *to } else { value };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `0.5 a b` added to ones, by a tile; `None` where the machine does not have its instructions.
    fn product<T: Tile>((m, n, k): (usize, usize, usize), turned: bool) -> Option<Vec<f32>> {
        if !T::is_here() {
            return None;
        }
        let numbers = |n: usize, step: usize| -> Vec<f32> {
            (0..n)
                .map(|i| (i * step % 1009) as f32 / 504.5 - 1.0)
                .collect()
        };
        let (mut a, mut b, mut c) = (
            numbers(m * k, 7919),
            numbers(k * n, 104_729),
            vec![1.0; m * n],
        );
        let place = |x: &mut [f32], row, col| Place {
            start: x.as_mut_ptr(),
            row,
            col,
        };
        let product = Product {
            size: (m, n, k),
            a: if turned {
                place(&mut a, 1, m)
            } else {
                place(&mut a, k, 1)
            },
            b: if turned {
                place(&mut b, 1, k)
            } else {
                place(&mut b, n, 1)
            },
            c: place(&mut c, n, 1),
            accumulate: true,
            scale: 0.5,
        };
        // SAFETY: the strides stay inside the vectors, which live on, and the instructions are there.
        unsafe { product.run::<T>() };
        Some(c)
    }

    #[test]
    fn every_tile_gives_the_same_bits() {
        // Whole tiles and edges, one block and several of rows, columns and inner indices.
        for size in [
            (14, 32, 16),
            (61, 77, 530),
            (2100, 40, 33),
            (30, 1100, 1041),
        ] {
            for turned in [false, true] {
                let (narrow, wide) = (
                    product::<Avx2>(size, turned),
                    product::<Avx512>(size, turned),
                );
                if let (Some(narrow), Some(wide)) = (narrow, wide) {
                    assert!(narrow == wide, "{size:?}, turned: {turned}");
                }
            }
        }
    }
}
