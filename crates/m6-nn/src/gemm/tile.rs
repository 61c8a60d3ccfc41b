//! What [`super::blocked`] asks of an instruction set: a small tile of the result that stays in registers, and copies in its order.

use super::pack::Lines;

/// Elements of the largest tile.
pub const LARGEST: usize = 14 * 32;

/// One instruction set's tile: `MR` rows of `NR` columns.
///
/// Every element of a tile is one sum over the inner index in order, by fused multiply-adds: all tiles give the same bits.
pub trait Tile: Sync {
    /// Rows of a tile.
    const MR: usize;
    /// Columns of a tile: whole vectors.
    const NR: usize;
    /// Columns whose right operand, with 512 inner indices, stays in the second-level cache of machines that have the instructions.
    const N_BLOCK: usize;

    /// Whether this machine has the instructions.
    fn is_here() -> bool;

    /// `c = scale * a b`, or `c += scale * a b` with `accumulate`: `a` is `[k, MR]`, `b` is `[k, NR]`, `c` a pointer to `MR` rows of `NR` and
    /// their stride.
    ///
    /// # Safety
    /// The instructions are here; `a` and `b` are readable for these sizes, `b` on a multiple of 64 bytes, `c` is writable.
    unsafe fn multiply(
        k: usize,
        a: *const f32,
        b: *const f32,
        c: (*mut f32, usize),
        accumulate: bool,
        scale: f32,
    );

    /// Copies `n` (at most `MR`) rows of `k` elements to `to [k, MR]`, with zeros for missing ones.
    ///
    /// # Safety
    /// The instructions are here; the elements are readable, `to` is writable.
    unsafe fn pack_left(to: *mut f32, from: Lines, n: usize, k: usize);

    /// Copies `n` (at most `NR`) columns of `k` elements to `to [k, NR]`, with zeros for missing ones.
    ///
    /// # Safety
    /// As [`Self::pack_left`].
    unsafe fn pack_right(to: *mut f32, from: Lines, n: usize, k: usize);
}
