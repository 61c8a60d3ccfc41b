//! A buffer that parallel tasks write at disjoint places.

use std::marker::PhantomData;

/// Write access to one slice for several tasks at once; each promises to touch only its own elements.
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: the slice is borrowed uniquely for 'a, and the unsafe methods make every caller promise disjoint access.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Takes the slice for as long as tasks write to it.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            owner: PhantomData,
        }
    }

    /// Pointer to element `at`. Panics when `at` is outside the slice.
    pub fn at(&self, at: usize) -> *mut T {
        assert!(at < self.len, "element {at} of {}", self.len);
        // SAFETY: `at` is inside the slice.
        unsafe { self.start.add(at) }
    }

    /// Elements `at..at + len`. Panics when they are not all inside the slice.
    ///
    /// # Safety
    /// No other task may touch these elements while the result lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, at: usize, len: usize) -> &mut [T] {
        assert!(
            at <= self.len && len <= self.len - at,
            "elements {at}..{at}+{len} of {}",
            self.len
        );
        // SAFETY: inside the slice as just checked; disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}
