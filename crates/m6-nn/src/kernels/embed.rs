//! Rows gathered from tables and added back to them.

use crate::glue::{fill_zero, uninit};
use crate::real::{Real, add_into};
use rayon::prelude::*;

/// An id that stands for no row.
pub const NONE: u32 = u32::MAX;

/// Rows per task.
const N_TASK_ROWS: usize = 32;

/// For every position the sum over tables `[v, d]` of the row that its id names: `[n, d]`. Ids are in range or [`NONE`].
pub fn embed<T: Real>(tables: &[(&[T], &[u32])], n: usize, d: usize) -> Vec<T> {
    let mut y = uninit(n * d);
    if d == 0 {
        return y;
    }
    y.par_chunks_mut(d * N_TASK_ROWS)
        .enumerate()
        .for_each(|(task, rows)| {
            rows.fill(T::zero());
            for (i, row) in rows.chunks_exact_mut(d).enumerate() {
                for (table, ids) in tables {
                    let id = ids[task * N_TASK_ROWS + i];
                    if id != NONE {
                        add_into(row, &table[id as usize * d..][..d]);
                    }
                }
            }
        });
    y
}

/// Adds the rows of `grad [n, d]` to the rows of `table` that `ids` name, in the order of the ids; an unfilled table is zeroed first.
pub fn embed_grad<T: Real>(grad: &[T], ids: &[u32], d: usize, table: &mut [T], filled: bool) {
    if !filled {
        fill_zero(table);
    }
    if d == 0 {
        return;
    }
    for (grad, &id) in grad.chunks_exact(d).zip(ids) {
        if id != NONE {
            add_into(&mut table[id as usize * d..][..d], grad);
        }
    }
}

/// The rows of `x [n, d]` that `at` names, in its order.
pub fn select_rows<T: Real>(x: &[T], at: &[u32], d: usize) -> Vec<T> {
    let mut y = uninit(at.len() * d);
    if d > 0 {
        y.par_chunks_mut(d)
            .zip(at)
            .for_each(|(row, &i)| row.copy_from_slice(&x[i as usize * d..][..d]));
    }
    y
}

/// A copy of `x [n, d]` with the rows of `rows [m, d]` added at `at`.
pub fn scatter_rows<T: Real>(x: &[T], rows: &[T], at: &[u32], d: usize) -> Vec<T> {
    let mut y = x.to_vec();
    embed_grad(rows, at, d, &mut y, true);
    y
}
