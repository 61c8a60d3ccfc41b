//! An allocator that keeps large freed blocks, so that a training step does not fault its pages in again. The binary installs it:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: m6_nn::alloc::BlockAllocator = m6_nn::alloc::BlockAllocator::new();
//! ```
//!
//! Blocks of at least 1 MB are rounded up to one of eight sizes per power of two, aligned to 2 MB for huge pages, and kept when freed:
//! a step asks for the same sizes as the one before. Everything kept and lent together stays below 1.25 times the most that was ever
//! lent (plus 64 MB); beyond that the blocks freed longest ago go back to the system. Smaller requests go to the system. [`trim`] says that
//! what was needed so far says nothing of what will be.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smallest request that is kept.
const MIN_BLOCK: usize = 1 << 20;
/// Alignment of kept blocks: a huge page.
const ALIGN: usize = 2 << 20;
/// What may be kept beyond a quarter of the peak.
const SLACK: usize = 64 << 20;

/// Blocks kept at most.
const MAX_FREE: usize = 8192;

/// Calls of [`trim`].
static N_TRIMS: AtomicU64 = AtomicU64::new(0);

/// Lets every allocator give all that it keeps back to the system, the next time that a large block is freed, and forget its peak: after a
/// beginning that needs more than what follows.
pub fn trim() {
    N_TRIMS.fetch_add(1, Ordering::Relaxed);
}

/// The allocator; see the module.
pub struct BlockAllocator {
    state: Mutex<State>,
}

struct State {
    /// Freed blocks as (size, address), oldest first; at most [`MAX_FREE`], so that its own memory is small and comes from
    /// the system: a list that grew through this allocator would wait for its own lock.
    free: Vec<(usize, usize)>,
    n_free_bytes: usize,
    n_lent_bytes: usize,
    n_peak_bytes: usize,
    /// Calls of [`trim`] that were followed; `None` before the first look.
    n_trims: Option<u64>,
}

impl State {
    fn lend(&mut self, n_bytes: usize) {
        self.n_lent_bytes += n_bytes;
        self.n_peak_bytes = self.n_peak_bytes.max(self.n_lent_bytes);
    }
}

/// Size of the block that serves a request: at most an eighth more.
fn block_size(n: usize) -> usize {
    let grain = (n.next_power_of_two() / 16).max(1 << 17);
    n.div_ceil(grain) * grain
}

/// True for requests that are kept.
fn is_large(layout: &Layout) -> bool {
    layout.size() >= MIN_BLOCK
        && layout.size() <= isize::MAX as usize / 2
        && layout.align() <= ALIGN
}

/// Layout of a kept block.
fn block_layout(n_bytes: usize) -> Option<Layout> {
    Layout::from_size_align(n_bytes, ALIGN).ok()
}

impl BlockAllocator {
    /// An allocator that keeps nothing yet.
    pub const fn new() -> Self {
        let state = State {
            free: Vec::new(),
            n_free_bytes: 0,
            n_lent_bytes: 0,
            n_peak_bytes: 0,
            n_trims: None,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, n_bytes: usize) -> Option<*mut u8> {
        let mut state = self.state();
        let at = state.free.iter().rposition(|block| block.0 == n_bytes)?;
        let (_, address) = state.free.remove(at);
        state.n_free_bytes -= n_bytes;
        state.lend(n_bytes);
        Some(address as *mut u8)
    }

    fn large(&self, layout: Layout) -> *mut u8 {
        let n_bytes = block_size(layout.size());
        if let Some(block) = self.take(n_bytes) {
            return block;
        }
        let Some(layout) = block_layout(n_bytes) else {
            return std::ptr::null_mut();
        };
        // SAFETY: the size is at least MIN_BLOCK, so not zero.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            self.state().lend(n_bytes);
            advise_huge_pages(block, n_bytes);
        }
        block
    }

    /// Puts a block on the list of freed ones; returns one to give back to the system if too much is kept.
    fn keep(&self, block: *mut u8, n_bytes: usize) {
        let mut state = self.state();
        state.n_lent_bytes -= n_bytes;
        state.n_free_bytes += n_bytes;
        state.free.push((n_bytes, block as usize));
        let n_trims = N_TRIMS.load(Ordering::Relaxed);
        let is_due = state.n_trims.replace(n_trims).is_some_and(|n| n != n_trims);
        if is_due {
            state.n_peak_bytes = state.n_lent_bytes;
        }
        let limit = match is_due {
            true => 0,
            false => state.n_peak_bytes + state.n_peak_bytes / 4 + SLACK,
        };
        Self::shrink(&mut state, limit);
    }

    /// Gives back what was freed longest ago, until no more than `limit` is kept and lent together.
    fn shrink(state: &mut State, limit: usize) {
        while (state.n_free_bytes + state.n_lent_bytes > limit || state.free.len() > MAX_FREE)
            && !state.free.is_empty()
        {
            let (n_bytes, address) = state.free.remove(0);
            state.n_free_bytes -= n_bytes;
            if let Some(layout) = block_layout(n_bytes) {
                // SAFETY: the block came from `System.alloc` with this layout and is on no list any more.
                unsafe { System.dealloc(address as *mut u8, layout) };
            }
        }
    }
}

impl Default for BlockAllocator {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_os = "linux")]
fn advise_huge_pages(block: *mut u8, n_bytes: usize) {
    unsafe extern "C" {
        fn madvise(address: *mut u8, length: usize, advice: i32) -> i32;
    }
    const MADV_HUGEPAGE: i32 = 14;
    // SAFETY: the range is one live block of ours; the advice changes no contents, and its failure does no harm.
    unsafe { madvise(block, n_bytes, MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_block: *mut u8, _n_bytes: usize) {}

// SAFETY: blocks come from `System` with a size and an alignment at least those asked for; whether a block is one of ours follows from
// its layout alone, which the caller gives back unchanged; a block is either lent or on the list of freed ones, never both.
unsafe impl GlobalAlloc for BlockAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(&layout) {
            return self.large(layout);
        }
        // SAFETY: passed on as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_large(&layout) {
            return self.keep(block, block_size(layout.size()));
        }
        // SAFETY: passed on as promised by the caller; a small block came from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(&layout) {
            let block = self.large(layout);
            if !block.is_null() {
                // SAFETY: the block has at least this size.
                unsafe { block.write_bytes(0, layout.size()) };
            }
            return block;
        }
        // SAFETY: passed on as promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, n_new: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size is not zero and does not overflow.
        let new = unsafe { Layout::from_size_align_unchecked(n_new, layout.align()) };
        match (is_large(&layout), is_large(&new)) {
            // SAFETY: passed on as promised by the caller; both sizes are the system's.
            (false, false) => return unsafe { System.realloc(block, layout, n_new) },
            (true, true) if block_size(layout.size()) == block_size(n_new) => return block,
            _ => {}
        }
        // SAFETY: as promised by the caller; the two blocks are distinct and hold the smaller size.
        unsafe {
            let to = self.alloc(new);
            if !to.is_null() {
                to.copy_from_nonoverlapping(block, layout.size().min(n_new));
                self.dealloc(block, layout);
            }
            to
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(n_bytes: usize) -> Layout {
        Layout::from_size_align(n_bytes, 64).unwrap()
    }

    #[test]
    fn a_freed_large_block_serves_the_next_request_of_its_size() {
        let allocator = BlockAllocator::new();
        // SAFETY: every block is written within its size and freed with its layout.
        unsafe {
            let first = allocator.alloc(layout(3 << 20));
            first.write_bytes(7, 3 << 20);
            allocator.dealloc(first, layout(3 << 20));
            let second = allocator.alloc_zeroed(layout((3 << 20) - 5));
            assert_eq!(first, second);
            assert_eq!((*second, *second.add((3 << 20) - 6)), (0, 0));
            allocator.dealloc(second, layout((3 << 20) - 5));
        }
    }

    #[test]
    fn growing_keeps_the_contents_across_small_and_large() {
        let allocator = BlockAllocator::new();
        // SAFETY: every block is accessed within its size and freed with its layout.
        unsafe {
            let mut block = allocator.alloc(layout(1000));
            block.write_bytes(5, 1000);
            let mut size = 1000;
            for next in [1 << 20, (1 << 20) + 1, 9 << 20, 2000] {
                block = allocator.realloc(block, layout(size), next);
                size = next;
                assert_eq!((*block, *block.add(999)), (5, 5));
            }
            allocator.dealloc(block, layout(size));
        }
    }

    #[test]
    fn what_is_kept_stays_within_a_share_of_the_peak() {
        let allocator = BlockAllocator::new();
        for n in 1..200 {
            let size = layout((1 << 20) + n * (300 << 10));
            // SAFETY: freed at once with its layout.
            unsafe { allocator.dealloc(allocator.alloc(size), size) };
        }
        let state = allocator.state();
        assert_eq!(state.n_lent_bytes, 0);
        assert!(state.n_free_bytes <= state.n_peak_bytes * 5 / 4 + SLACK);
    }

    #[test]
    fn nothing_is_kept_after_a_trim() {
        let allocator = BlockAllocator::new();
        let free = |n: usize| {
            // SAFETY: freed at once with its layout.
            unsafe { allocator.dealloc(allocator.alloc(layout(n)), layout(n)) };
        };
        (2..40).for_each(|n| free(n << 20));
        assert!(allocator.state().n_free_bytes > 20 << 20);
        // As `trim` does, for this allocator alone: tests run beside each other.
        allocator.state().n_trims = Some(u64::MAX);
        free(3 << 20);
        assert_eq!(allocator.state().n_free_bytes, 0);
        free(3 << 20);
        let state = allocator.state();
        assert_eq!((state.n_free_bytes, state.n_peak_bytes), (3 << 20, 3 << 20));
    }

    #[test]
    fn rounding_costs_at_most_an_eighth() {
        for n in (MIN_BLOCK..(40 << 20)).step_by(77_777) {
            assert!(block_size(n) >= n && block_size(n) <= n + n / 8 + (1 << 17));
        }
    }
}
