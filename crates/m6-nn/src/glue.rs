//! Between the backend's tensors and plain slices.

use crate::error::{Error, Result};
use crate::real::Real;
use candle_core::{CpuStorage, DType, Device, Layout, Shape, Storage, StorageRef, Tensor, Var};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::{Deref, Range};

/// Elements per task in loops over long slices; fixed, so that nothing depends on the number of threads.
pub const CHUNK: usize = 1 << 16;

/// Read access to the numbers of a contiguous CPU tensor, for as long as it is held.
pub struct View<'a, T> {
    storage: StorageRef<'a>,
    range: Range<usize>,
    kind: PhantomData<T>,
}

impl<T: Real> Deref for View<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &*self.storage {
            Storage::Cpu(cpu) => {
                &T::cpu_storage_as_slice(cpu).expect("type checked in view()")[self.range.clone()]
            }
            _ => unreachable!("device checked in view()"),
        }
    }
}

/// The numbers of a contiguous CPU tensor. Errors on another device, number type, or on gaps between elements.
pub fn view<T: Real>(tensor: &Tensor) -> Result<View<'_, T>> {
    if tensor.dtype() != T::DTYPE {
        return Err(Error::DType {
            what: "operand".into(),
            got: tensor.dtype(),
            expected: T::DTYPE,
        });
    }
    let (storage, layout) = tensor.storage_and_layout();
    if !matches!(&*storage, Storage::Cpu(_)) {
        return Err(Error::Value {
            op: "view",
            what: "the operand is not on the CPU".into(),
        });
    }
    let range = contiguous(layout)?;
    within::<T>(storage, range)
}

/// The first `n` numbers behind a variable of which a part is held, whatever its shape says; borrowed.
///
/// # Errors
/// As [`view`].
pub(crate) fn view_held<T: Real>(variable: &Var, n: usize) -> Result<View<'_, T>> {
    let (storage, _) = variable.storage_and_layout();
    within::<T>(storage, 0..n)
}

fn within<'a, T: Real>(storage: StorageRef<'a>, range: Range<usize>) -> Result<View<'a, T>> {
    if let Storage::Cpu(cpu) = &*storage
        && T::cpu_storage_as_slice(cpu)?.len() < range.end
    {
        return Err(Error::Value {
            op: "view",
            what: "the operand is released: its values are with other ranks".into(),
        });
    }
    Ok(View {
        storage,
        range,
        kind: PhantomData,
    })
}

fn contiguous(layout: &Layout) -> Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(from..to),
        None => Err(Error::Value {
            op: "view",
            what: "the operand is not contiguous; call contiguous() first".into(),
        }),
    }
}

/// The numbers of a storage under a contiguous layout, as an operator's forward sees them.
pub fn slice<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    Ok(&T::cpu_storage_as_slice(storage)?[contiguous(layout)?])
}

/// Result of an operator's forward.
pub fn storage<T: Real>(values: Vec<T>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (T::to_cpu_storage_owned(values), shape.into())
}

/// A CPU tensor of owned numbers, without a copy.
pub fn tensor<T: Real>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, shape.into(), &Device::Cpu)?)
}

/// True where the fused bodies run: CPU, `f32` or `f64`.
pub fn is_fused(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && matches!(tensor.dtype(), DType::F32 | DType::F64)
}

/// A vector whose elements the caller writes before reading any: spares the pass that would zero it.
#[allow(clippy::uninit_vec)]
pub fn uninit<T: Real>(n: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(n);
    // SAFETY: the capacity is `n`; `T` is f32 or f64 (sealed), for which every bit pattern is a value, and callers overwrite all of them.
    unsafe { values.set_len(n) };
    values
}

/// Zeros, written in parallel (the first touch of fresh pages is what costs).
pub fn zeros<T: Real>(n: usize) -> Vec<T> {
    let mut values = uninit(n);
    fill_zero(&mut values);
    values
}

/// Sets every element to zero, in parallel.
pub fn fill_zero<T: Real>(values: &mut [T]) {
    values
        .par_chunks_mut(CHUNK)
        .for_each(|chunk| chunk.fill(T::zero()));
}

/// Rows and length of a row of a tensor with at least one dimension: the last one is the row.
pub fn rows_of(op: &'static str, what: &str, tensor: &Tensor) -> Result<(usize, usize)> {
    match tensor.dims().split_last() {
        Some((&last, rest)) => Ok((rest.iter().product(), last)),
        None => Err(Error::Shape {
            op,
            what: what.into(),
            got: Vec::new(),
            expected: "at least one dimension".into(),
        }),
    }
}

/// An error unless the tensor has exactly this shape.
pub fn expect_shape(op: &'static str, what: &str, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    if tensor.dims() == shape {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        what: what.into(),
        got: tensor.dims().to_vec(),
        expected: format!("{shape:?}"),
    })
}

/// An error unless the tensor holds the same number type as `like`.
pub fn expect_dtype(what: &str, tensor: &Tensor, like: &Tensor) -> Result<()> {
    if tensor.dtype() == like.dtype() {
        return Ok(());
    }
    Err(Error::DType {
        what: what.into(),
        got: tensor.dtype(),
        expected: like.dtype(),
    })
}

/// Runs an expression with a type name bound to the number type of a fused operand.
#[macro_export]
macro_rules! by_dtype {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F64 => {
                type $t = f64;
                $body
            }
            _ => {
                type $t = f32;
                $body
            }
        }
    };
}
