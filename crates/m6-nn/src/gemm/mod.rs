//! Matrix products on slices: row-major views with strides, over the `gemm` crate and, for large `f32` products, loops of our own (`blocked`).
//!
//! The inner dimension is summed in an order that does not depend on the number of threads (tested), so products are reproducible.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod blocked;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod steps;
#[cfg(target_arch = "x86_64")]
mod tile;

use crate::real::Real;
use ::gemm::Parallelism;

/// Who does the work of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread alone: for products inside a parallel loop.
    One,
    /// The current rayon pool.
    Pool,
}

/// A matrix in a slice, read only; element `(i, j)` is at `i * row_stride + j * col_stride`.
#[derive(Debug, Clone, Copy)]
pub struct Mat<'a, T> {
    data: &'a [T],
    n_rows: usize,
    n_cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// A matrix in a slice, to be written; rows are `row_stride` apart and their elements adjacent.
#[derive(Debug)]
pub struct MatMut<'a, T> {
    data: &'a mut [T],
    n_rows: usize,
    n_cols: usize,
    row_stride: usize,
}

/// Elements that a strided matrix spans in its slice.
fn span(n_rows: usize, n_cols: usize, row_stride: usize, col_stride: usize) -> usize {
    if n_rows == 0 || n_cols == 0 {
        0
    } else {
        (n_rows - 1) * row_stride + (n_cols - 1) * col_stride + 1
    }
}

impl<'a, T> Mat<'a, T> {
    /// Rows without gaps. Panics if the slice is too short.
    pub fn new(data: &'a [T], n_rows: usize, n_cols: usize) -> Self {
        Self::strided(data, n_rows, n_cols, n_cols)
    }

    /// Rows `row_stride` apart. Panics if the slice is too short.
    pub fn strided(data: &'a [T], n_rows: usize, n_cols: usize, row_stride: usize) -> Self {
        assert!(
            data.len() >= span(n_rows, n_cols, row_stride, 1),
            "matrix is larger than its slice"
        );
        Self {
            data,
            n_rows,
            n_cols,
            row_stride,
            col_stride: 1,
        }
    }

    /// The transposed view.
    pub fn t(self) -> Self {
        Self {
            n_rows: self.n_cols,
            n_cols: self.n_rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

impl<'a, T> MatMut<'a, T> {
    /// Rows without gaps. Panics if the slice is too short.
    pub fn new(data: &'a mut [T], n_rows: usize, n_cols: usize) -> Self {
        Self::strided(data, n_rows, n_cols, n_cols)
    }

    /// Rows `row_stride` apart. Panics if the slice is too short or rows overlap.
    pub fn strided(data: &'a mut [T], n_rows: usize, n_cols: usize, row_stride: usize) -> Self {
        assert!(row_stride >= n_cols, "rows overlap");
        assert!(
            data.len() >= span(n_rows, n_cols, row_stride, 1),
            "matrix is larger than its slice"
        );
        Self {
            data,
            n_rows,
            n_cols,
            row_stride,
        }
    }
}

/// `dst = scale * lhs * rhs`, or `dst += scale * lhs * rhs` with `accumulate`. Panics if the shapes do not match.
pub fn gemm<T: Real>(
    threads: Threads,
    dst: MatMut<'_, T>,
    accumulate: bool,
    scale: T,
    lhs: Mat<'_, T>,
    rhs: Mat<'_, T>,
) {
    let (m, n, k) = (dst.n_rows, dst.n_cols, lhs.n_cols);
    assert!(
        lhs.n_rows == m && rhs.n_rows == k && rhs.n_cols == n,
        "gemm: shapes do not match"
    );
    let a = (lhs.data.as_ptr(), lhs.row_stride, lhs.col_stride);
    let b = (rhs.data.as_ptr(), rhs.row_stride, rhs.col_stride);
    // SAFETY: the constructors checked that every element of the three views is inside its slice; `dst` is borrowed uniquely.
    unsafe {
        gemm_raw(
            threads,
            (m, n, k),
            (dst.data.as_mut_ptr(), dst.row_stride),
            accumulate,
            scale,
            a,
            b,
        )
    }
}

/// [`gemm()`] on pointers, for tasks that write disjoint blocks of one buffer at the same time.
///
/// `size` is `(m, n, k)`; `dst` is pointer and row stride (elements of a row adjacent); `lhs` and `rhs` are pointer, row stride, column stride.
///
/// # Safety
/// Every element addressed must be inside a live allocation, and no other thread may touch the elements of `dst` meanwhile.
pub unsafe fn gemm_raw<T: Real>(
    threads: Threads,
    size: (usize, usize, usize),
    dst: (*mut T, usize),
    accumulate: bool,
    scale: T,
    lhs: (*const T, usize, usize),
    rhs: (*const T, usize, usize),
) {
    let (m, n, k) = size;
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            for i in 0..m {
                // SAFETY: row `i` of `dst` is inside its allocation by the caller's promise.
                unsafe { std::slice::from_raw_parts_mut(dst.0.add(i * dst.1), n) }.fill(T::zero());
            }
        }
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if threads == Threads::Pool && T::DTYPE == candle_core::DType::F32 && blocked::takes(size) {
        let scale = scale.to_f64() as f32;
        // SAFETY: `T` is f32; the rest as promised by the caller.
        unsafe {
            let (a, b) = ((lhs.0.cast(), lhs.1, lhs.2), (rhs.0.cast(), rhs.1, rhs.2));
            blocked::gemm(size, (dst.0.cast(), dst.1), accumulate, scale, a, b);
        }
        return;
    }
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::Pool => Parallelism::Rayon(0),
    };
    // SAFETY: as promised by the caller; the strides are given in the order the crate wants (column, row).
    unsafe {
        ::gemm::gemm(
            m,
            n,
            k,
            dst.0,
            1,
            dst.1 as isize,
            accumulate,
            lhs.0,
            lhs.2 as isize,
            lhs.1 as isize,
            rhs.0,
            rhs.2 as isize,
            rhs.1 as isize,
            T::one(),
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// `dst [m, n] = lhs [m, k] * rhs [k, n]` on the pool, rows without gaps.
pub fn matmul<T: Real>(dst: &mut [T], accumulate: bool, lhs: Mat<'_, T>, rhs: Mat<'_, T>) {
    let view = MatMut::new(dst, lhs.n_rows, rhs.n_cols);
    gemm(Threads::Pool, view, accumulate, T::one(), lhs, rhs);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        (0..n)
            .map(|i| ((i as u64 * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0)
            .collect()
    }

    fn naive(m: usize, n: usize, k: usize, a: &[f32], b: &[f32]) -> Vec<f32> {
        (0..m * n)
            .map(|e| (0..k).map(|p| a[e / n * k + p] * b[p * n + e % n]).sum())
            .collect()
    }

    #[test]
    fn products_match_the_definition_with_and_without_transposition() {
        let (m, n, k) = (7, 9, 5);
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let want = naive(m, n, k, &a, &b);
        let a_t: Vec<f32> = (0..k * m).map(|e| a[e % m * k + e / m]).collect();
        let mut plain = vec![0.0; m * n];
        matmul(&mut plain, false, Mat::new(&a, m, k), Mat::new(&b, k, n));
        let mut turned = vec![1.0; m * n];
        matmul(
            &mut turned,
            true,
            Mat::new(&a_t, k, m).t(),
            Mat::new(&b, k, n),
        );
        for i in 0..m * n {
            assert!((plain[i] - want[i]).abs() < 1e-5);
            assert!((turned[i] - 1.0 - want[i]).abs() < 1e-5);
        }
    }

    #[test]
    fn large_products_match_double_precision_in_every_layout() {
        for (m, n, k) in [(6, 700, 70), (97, 33, 2300), (50, 1100, 1040)] {
            let (a, b) = (numbers(m * k, 5), numbers(k * n, 6));
            let turn = |x: &[f32], rows: usize, cols: usize| -> Vec<f32> {
                (0..x.len())
                    .map(|e| x[e % rows * cols + e / rows])
                    .collect()
            };
            let (a_t, b_t) = (turn(&a, m, k), turn(&b, k, n));
            let exact = |e: usize| -> f64 {
                let term = |p| f64::from(a[e / n * k + p]) * f64::from(b[p * n + e % n]);
                0.25 + 0.5 * (0..k).map(term).sum::<f64>()
            };
            let want: Vec<f64> = (0..m * n).map(exact).collect();
            let lefts = [Mat::new(&a, m, k), Mat::new(&a_t, k, m).t()];
            let rights = [Mat::new(&b, k, n), Mat::new(&b_t, n, k).t()];
            // Rows with a gap, which must stay as it was.
            let stride = n + 3;
            for (left, right) in lefts
                .iter()
                .flat_map(|l| rights.iter().map(move |r| (*l, *r)))
            {
                let mut dst = vec![0.25; m * stride];
                let view = MatMut::strided(&mut dst, m, n, stride);
                gemm(Threads::Pool, view, true, 0.5, left, right);
                for (i, row) in dst.chunks_exact(stride).enumerate() {
                    assert_eq!(row[n..], [0.25; 3]);
                    for (j, &got) in row[..n].iter().enumerate() {
                        assert!(
                            (f64::from(got) - want[i * n + j]).abs() < 2e-5,
                            "{m} {n} {k}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_of_a_large_product_does_not_depend_on_the_others() {
        let (m, n, k) = (64, 600, 1200);
        let (a, b) = (numbers(m * k, 7), numbers(k * n, 8));
        let mut all = vec![0.0; m * n];
        matmul(&mut all, false, Mat::new(&a, m, k), Mat::new(&b, k, n));
        let mut some = vec![0.0; 13 * n];
        matmul(
            &mut some,
            false,
            Mat::new(&a[7 * k..], 13, k),
            Mat::new(&b, k, n),
        );
        assert!(all[7 * n..20 * n] == some[..]);
    }

    #[test]
    fn an_empty_inner_dimension_gives_zeros() {
        let mut dst = vec![3.0_f32; 6];
        matmul(&mut dst, false, Mat::new(&[], 2, 0), Mat::new(&[], 0, 3));
        assert_eq!(dst, vec![0.0; 6]);
    }

    #[test]
    fn products_are_bit_equal_for_any_number_of_threads() {
        for (m, n, k) in [
            (512, 320, 512),
            (3, 700, 257),
            (1, 2048, 512),
            (300, 1, 300),
            (130, 65, 2049),
            (100, 2100, 530),
        ] {
            let (a, b) = (numbers(m * k, 3), numbers(k * n, 4));
            let run = |n_threads| {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(n_threads)
                    .build()
                    .unwrap();
                let mut dst = vec![0.5; m * n];
                pool.install(|| matmul(&mut dst, true, Mat::new(&a, m, k), Mat::new(&b, k, n)));
                dst
            };
            assert!(run(1) == run(2) && run(1) == run(3), "{m} {n} {k}");
        }
    }
}
