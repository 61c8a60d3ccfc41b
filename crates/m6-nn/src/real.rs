//! The two number types that kernels run on, their elementary functions, and reductions with a fixed order.
//!
//! The `f32` functions are short polynomials without branches, so that loops over slices vectorise; their relative error is about
//! 1e-7. The `f64` functions are exact to the last bits (`libm`) and serve gradient checks.

use candle_core::{CpuStorage, WithDType};
use rayon::prelude::*;
use std::ops::Neg;

/// Accumulators per reduction: fixed, so that a result does not depend on the machine's vector width.
pub const N_LANES: usize = 32;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// Numbers of one type, owned: gradients and optimizer moments.
#[derive(Debug, Clone)]
pub enum Buffer {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

/// `f32` (training) or `f64` (gradient checks).
pub trait Real:
    WithDType + Neg<Output = Self> + Default + std::fmt::Debug + sealed::Sealed
{
    /// Smallest finite value; the start of a maximum.
    const LOWEST: Self;

    /// The nearest number to `x`. candle's `from_f64` is a call into another crate, and a loop with a call in it does not vectorise.
    fn number(x: f64) -> Self;
    /// The nearest `f32`; as [`Real::number`], for loops that vectorise.
    fn single(self) -> f32;
    /// `self * a + b`, in one rounding where the build has the instruction.
    fn fma(self, a: Self, b: Self) -> Self;
    /// e to the power of `self`; for `f32` saturates at e^88 and is 0 below e^-87.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Error function.
    fn erf(self) -> Self;
    /// Wraps owned numbers.
    fn into_buffer(values: Vec<Self>) -> Buffer;
    /// The numbers of a buffer of this type, or `None` for the other type.
    fn of_buffer(buffer: &Buffer) -> Option<&Vec<Self>>;
    /// Like [`Real::of_buffer`], mutable.
    fn of_buffer_mut(buffer: &mut Buffer) -> Option<&mut Vec<Self>>;

    /// The numbers of a CPU storage of this type. Errors on another type.
    fn storage_slice_mut(storage: &mut CpuStorage) -> candle_core::Result<&mut [Self]>;

    /// Exact GELU, `x * Phi(x)`.
    #[inline(always)]
    fn gelu(self) -> Self {
        let half = Self::number(0.5);
        half * self * (Self::one() + (self * Self::number(std::f64::consts::FRAC_1_SQRT_2)).erf())
    }

    /// Derivative of [`Real::gelu`].
    #[inline(always)]
    fn dgelu(self) -> Self {
        let half = Self::number(0.5);
        let phi =
            half * (Self::one() + (self * Self::number(std::f64::consts::FRAC_1_SQRT_2)).erf());
        let density = Self::number(0.398_942_280_401_432_7) * (-half * self * self).exp();
        phi + self * density
    }

    /// Logistic function, `1 / (1 + e^-x)`.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::one() / (Self::one() + (-self).exp())
    }
}

impl Real for f32 {
    const LOWEST: Self = f32::MIN;

    #[inline(always)]
    fn number(x: f64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn single(self) -> f32 {
        self
    }

    #[inline(always)]
    fn fma(self, a: Self, b: Self) -> Self {
        // Without the instruction `mul_add` is a library call, a hundred times slower.
        if cfg!(target_feature = "fma") {
            f32::mul_add(self, a, b)
        } else {
            self * a + b
        }
    }

    /// Cephes' range reduction and polynomial; the power of two is made by adding to the exponent bits.
    #[inline(always)]
    #[allow(clippy::excessive_precision)]
    fn exp(self) -> Self {
        // 1.5 * 2^23: adding it leaves the rounded integer in the low mantissa bits.
        const MAGIC: f32 = 12_582_912.0;
        let x = f32::clamp(self, -87.0, 88.0);
        let shifted = x.fma(std::f32::consts::LOG2_E, MAGIC);
        let n = shifted - MAGIC;
        let r = n.fma(2.121_944_40e-4, n.fma(-0.693_359_375, x));
        let mut p = 1.987_569_15e-4_f32;
        for c in [
            1.398_199_95e-3,
            8.333_451_9e-3,
            4.166_579_6e-2,
            1.666_666_55e-1,
            5.000_000_1e-1,
        ] {
            p = p.fma(r, c);
        }
        let mantissa = p.fma(r * r, r) + 1.0;
        let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
        let y = mantissa * power;
        if self < -87.0 { 0.0 } else { y }
    }

    #[inline(always)]
    fn ln(self) -> Self {
        f32::ln(self)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }

    /// Two minimax polynomials (Juffa), one near zero and one in the exponent further out; both are evaluated, one is chosen.
    #[inline(always)]
    #[allow(clippy::excessive_precision)]
    fn erf(self) -> Self {
        let t = f32::abs(self);
        let s = self * self;
        let high = (-1.728_534_70e-5_f32).fma(t, 3.831_971_26e-4);
        let low = (-3.883_964_38e-3_f32).fma(t, 2.425_462_19e-2);
        let mut far = high.fma(s, low);
        for c in [-1.067_778_77e-1, -6.348_468_67e-1, -1.287_175_12e-1] {
            far = far.fma(t, c);
        }
        let far = 1.0 - Real::exp(far.fma(t, -t));
        let far = f32::copysign(far, self);
        let mut near = -5.967_617_03e-4_f32;
        for c in [
            4.991_194_23e-3,
            -2.676_813_49e-2,
            1.128_199_25e-1,
            -3.761_253_36e-1,
            1.283_791_66e-1,
        ] {
            near = near.fma(s, c);
        }
        let near = near.fma(self, self);
        if t > 0.927_734_375 { far } else { near }
    }

    fn storage_slice_mut(storage: &mut CpuStorage) -> candle_core::Result<&mut [Self]> {
        match storage {
            CpuStorage::F32(values) => Ok(values),
            _ => candle_core::bail!("the storage does not hold f32"),
        }
    }

    fn into_buffer(values: Vec<Self>) -> Buffer {
        Buffer::F32(values)
    }

    fn of_buffer(buffer: &Buffer) -> Option<&Vec<Self>> {
        match buffer {
            Buffer::F32(values) => Some(values),
            Buffer::F64(_) => None,
        }
    }

    fn of_buffer_mut(buffer: &mut Buffer) -> Option<&mut Vec<Self>> {
        match buffer {
            Buffer::F32(values) => Some(values),
            Buffer::F64(_) => None,
        }
    }
}

impl Real for f64 {
    const LOWEST: Self = f64::MIN;

    #[inline(always)]
    fn number(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn single(self) -> f32 {
        self as f32
    }

    #[inline(always)]
    fn fma(self, a: Self, b: Self) -> Self {
        if cfg!(target_feature = "fma") {
            f64::mul_add(self, a, b)
        } else {
            self * a + b
        }
    }

    #[inline(always)]
    fn exp(self) -> Self {
        libm::exp(self)
    }

    #[inline(always)]
    fn ln(self) -> Self {
        libm::log(self)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }

    #[inline(always)]
    fn erf(self) -> Self {
        libm::erf(self)
    }

    fn storage_slice_mut(storage: &mut CpuStorage) -> candle_core::Result<&mut [Self]> {
        match storage {
            CpuStorage::F64(values) => Ok(values),
            _ => candle_core::bail!("the storage does not hold f64"),
        }
    }

    fn into_buffer(values: Vec<Self>) -> Buffer {
        Buffer::F64(values)
    }

    fn of_buffer(buffer: &Buffer) -> Option<&Vec<Self>> {
        match buffer {
            Buffer::F64(values) => Some(values),
            Buffer::F32(_) => None,
        }
    }

    fn of_buffer_mut(buffer: &mut Buffer) -> Option<&mut Vec<Self>> {
        match buffer {
            Buffer::F64(values) => Some(values),
            Buffer::F32(_) => None,
        }
    }
}

/// Folds `step` over `x` in [`N_LANES`] interleaved accumulators that start at `init`, joins them in order, then takes the rest.
#[inline(always)]
fn reduce<T: Real>(x: &[T], init: T, step: impl Fn(T, T) -> T, join: impl Fn(T, T) -> T) -> T {
    let mut lanes = [init; N_LANES];
    let mut chunks = x.chunks_exact(N_LANES);
    for chunk in &mut chunks {
        for j in 0..N_LANES {
            lanes[j] = step(lanes[j], chunk[j]);
        }
    }
    let mut total = lanes[0];
    for &lane in &lanes[1..] {
        total = join(total, lane);
    }
    for &v in chunks.remainder() {
        total = step(total, v);
    }
    total
}

/// Folds `step` over pairs of elements into `K` sums, in the order of [`sum`]; `x` and `y` have one length.
#[inline(always)]
pub fn pair_sums<T: Real, const K: usize>(
    x: &[T],
    y: &[T],
    term: impl Fn(T, T) -> [T; K],
) -> [T; K] {
    assert_eq!(x.len(), y.len());
    let mut lanes = [[T::zero(); N_LANES]; K];
    let (mut xs, mut ys) = (x.chunks_exact(N_LANES), y.chunks_exact(N_LANES));
    for (a, b) in (&mut xs).zip(&mut ys) {
        for j in 0..N_LANES {
            let terms = term(a[j], b[j]);
            for k in 0..K {
                lanes[k][j] += terms[k];
            }
        }
    }
    let mut totals = lanes.map(|lane| lane.into_iter().fold(T::zero(), |a, b| a + b));
    for (&a, &b) in xs.remainder().iter().zip(ys.remainder()) {
        let terms = term(a, b);
        for k in 0..K {
            totals[k] += terms[k];
        }
    }
    totals
}

/// Sum in a fixed order.
#[inline]
pub fn sum<T: Real>(x: &[T]) -> T {
    reduce(x, T::zero(), |a, b| a + b, |a, b| a + b)
}

/// Largest element; [`Real::LOWEST`] of an empty slice.
#[inline]
pub fn max<T: Real>(x: &[T]) -> T {
    let larger = |a: T, b: T| if a > b { a } else { b };
    reduce(x, T::LOWEST, larger, larger)
}

/// Inner product in a fixed order.
#[inline]
pub fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    pair_sums(x, y, |a, b| [a * b])[0]
}

/// Replaces every `x` by `exp(x - shift)` and returns their sum.
#[inline]
pub fn exp_sum<T: Real>(x: &mut [T], shift: T) -> T {
    for v in x.iter_mut() {
        *v = Real::exp(*v - shift);
    }
    sum(x)
}

/// `y += x`, element by element.
#[inline]
pub fn add_into<T: Real>(y: &mut [T], x: &[T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// Sums parts of one length in their order; `None` of no parts.
pub fn add_parts<T: Real>(mut parts: Vec<Vec<T>>) -> Option<Vec<T>> {
    /// Elements a task adds up; every element keeps the order of its parts, whoever adds it.
    const CHUNK: usize = 1 << 15;
    let (total, rest) = parts.split_first_mut()?;
    assert!(rest.iter().all(|part| part.len() == total.len()));
    total
        .par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(c, total)| {
            for part in rest.iter() {
                add_into(total, &part[c * CHUNK..][..total.len()]);
            }
        });
    Some(parts.swap_remove(0))
}

/// Asks for the cache line of element `at`, which may be behind the end.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; no memory is accessed, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst_relative(
        from: f64,
        to: f64,
        f: impl Fn(f32) -> f32,
        exact: impl Fn(f64) -> f64,
    ) -> f64 {
        let n = 200_000;
        (0..=n)
            .map(|i| (from + (to - from) * f64::from(i) / f64::from(n)) as f32)
            .map(|x| {
                let want = exact(f64::from(x));
                (f64::from(f(x)) - want).abs() / want.abs().max(1e-30)
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn single_precision_exp_is_accurate_to_its_last_bits() {
        assert!(worst_relative(-86.9, 87.9, Real::exp, libm::exp) < 2e-7);
        assert_eq!(Real::exp(0.0_f32), 1.0);
        assert_eq!(Real::exp(f32::NEG_INFINITY), 0.0);
        assert!(Real::exp(f32::NAN).is_nan());
        assert!(Real::exp(1e9_f32).is_finite());
    }

    #[test]
    fn single_precision_erf_is_accurate_to_its_last_bits() {
        assert!(worst_relative(-6.0, 6.0, Real::erf, libm::erf) < 2.5e-7);
        assert!(worst_relative(-1e-3, 1e-3, Real::erf, libm::erf) < 2.5e-7);
        assert_eq!(Real::erf(30.0_f32), 1.0);
        assert_eq!(Real::erf(-30.0_f32), -1.0);
    }

    #[test]
    fn gelu_and_its_slope_follow_double_precision() {
        for i in -800..=800 {
            let x = f64::from(i) / 100.0;
            assert!(
                (f64::from((x as f32).gelu()) - Real::gelu(f64::from(x as f32))).abs() < 1e-6,
                "gelu({x})"
            );
            assert!(
                (f64::from((x as f32).dgelu()) - Real::dgelu(f64::from(x as f32))).abs() < 1e-6,
                "dgelu({x})"
            );
        }
    }

    #[test]
    fn reductions_take_every_element_once() {
        for n in [0, 1, 31, 32, 33, 100] {
            let x: Vec<f64> = (0..n).map(|i| f64::from(i) + 1.0).collect();
            let n = f64::from(n);
            assert_eq!(sum(&x), n * (n + 1.0) / 2.0);
            assert_eq!(dot(&x, &x), n * (n + 1.0) * (2.0 * n + 1.0) / 6.0);
            assert_eq!(max(&x), if n == 0.0 { f64::MIN } else { n });
        }
    }
}
