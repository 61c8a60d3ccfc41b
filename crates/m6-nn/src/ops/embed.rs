//! Embedding tables, and rows picked from or added to a stream.

pub use crate::kernels::embed::NONE;

use super::composed;
use super::tape::anchor;
use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue::{self, is_fused, view};
use crate::kernels::embed as kernel;
use crate::param::Param;
use crate::real::Real;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use std::marker::PhantomData;
use std::sync::Arc;

/// Sum over tables `[v, d]` of the row that each position's id names: `[n, d]`. The id [`NONE`] adds nothing. Of a table held in part, `v` is the
/// number of its rows that are here.
///
/// Errors without tables, if row lengths, number types or the numbers of ids differ, or if an id is out of range.
pub fn embed(tables: &[(&Param, Arc<[u32]>)]) -> Result<Tensor> {
    let Some(((first, ids), _)) = tables.split_first() else {
        return Err(Error::Value {
            op: "embed",
            what: "no table given".into(),
        });
    };
    let (n, d) = (ids.len(), first.shape().get(1).copied().unwrap_or(0));
    for (table, ids) in tables {
        let held = table.held();
        let rows = held.shape().first().copied().unwrap_or(0);
        if held.shape() != [rows, d] {
            return Err(Error::Shape {
                op: "embed",
                what: table.name().into(),
                got: held.shape().to_vec(),
                expected: format!("[v, {d}]"),
            });
        }
        glue::expect_dtype(table.name(), table.var(), first.var())?;
        if ids.len() != n {
            let what = format!(
                "{} has {} ids, {} has {n}",
                table.name(),
                ids.len(),
                first.name()
            );
            return Err(Error::Value { op: "embed", what });
        }
        check_range("embed", ids, rows, true)?;
    }
    if !is_fused(first.var()) {
        return composed::embed(tables);
    }
    let params: Vec<&Param> = tables.iter().map(|(p, _)| *p).collect();
    let owned = tables
        .iter()
        .map(|(p, ids)| ((*p).clone(), ids.clone()))
        .collect();
    let anchor = anchor(&params);
    by_dtype!(first.var().dtype(), T => {
        Ok(anchor.apply_op1(Embed::<T> { tables: owned, n, d, kind: PhantomData })?)
    })
}

/// An error at the first index that is not below `n_rows`; with `allow_none`, [`NONE`] passes.
pub(super) fn check_range(
    op: &'static str,
    ids: &[u32],
    n_rows: usize,
    allow_none: bool,
) -> Result<()> {
    match ids
        .iter()
        .position(|&id| id as usize >= n_rows && !(allow_none && id == NONE))
    {
        Some(position) => Err(Error::Index {
            op,
            position,
            index: ids[position],
            n_rows,
        }),
        None => Ok(()),
    }
}

struct Embed<T> {
    tables: Vec<(Param, Arc<[u32]>)>,
    n: usize,
    d: usize,
    kind: PhantomData<T>,
}

impl<T: Real> Embed<T> {
    fn forward(&self) -> Result<Vec<T>> {
        let mut views = Vec::with_capacity(self.tables.len());
        for (table, _) in &self.tables {
            views.push(table.view::<T>()?);
        }
        let tables: Vec<(&[T], &[u32])> = views
            .iter()
            .zip(&self.tables)
            .map(|(v, (_, ids))| (&**v, &**ids))
            .collect();
        Ok(kernel::embed(&tables, self.n, self.d))
    }

    fn backward(&self, grad: &Tensor) -> Result<()> {
        let grad = grad.contiguous()?;
        let grad = view::<T>(&grad)?;
        for (table, ids) in self.tables.iter().filter(|(table, _)| table.is_trainable()) {
            table.accumulate(|sums: &mut [T], filled| {
                kernel::embed_grad(&grad, ids, self.d, sums, filled)
            })?;
        }
        Ok(())
    }
}

impl<T: Real> CustomOp1 for Embed<T> {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(glue::storage(self.forward()?, (self.n, self.d)))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        self.backward(grad)?;
        Ok(None)
    }
}

/// The rows of `x [n, d]` that `at` names, in its order: `[m, d]`. Errors if an index is out of range.
pub fn select_rows(x: &Tensor, at: Arc<[u32]>) -> Result<Tensor> {
    let (n, _) = x.dims2()?;
    check_range("select_rows", &at, n, false)?;
    if !is_fused(x) {
        return composed::select_rows(x, &at);
    }
    let x = x.contiguous()?;
    by_dtype!(x.dtype(), T => Ok(x.apply_op1(SelectRows::<T> { at, kind: PhantomData })?))
}

struct SelectRows<T> {
    at: Arc<[u32]>,
    kind: PhantomData<T>,
}

impl<T: Real> CustomOp1 for SelectRows<T> {
    fn name(&self) -> &'static str {
        "select_rows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, d) = layout.shape().dims2()?;
        let y = kernel::select_rows(glue::slice::<T>(x, layout)?, &self.at, d);
        Ok(glue::storage(y, (self.at.len(), d)))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (n, d) = x.dims2()?;
        let mut dx = glue::uninit(n * d);
        kernel::embed_grad(&view::<T>(&grad)?, &self.at, d, &mut dx, false);
        Ok(Some(glue::tensor(dx, (n, d))?))
    }
}

/// `x [n, d]` with the rows of `rows [m, d]` added at the flat positions `at`. Errors if shapes do not fit or a position is out of range.
pub fn scatter_rows(x: &Tensor, rows: &Tensor, at: Arc<[u32]>) -> Result<Tensor> {
    let (n, d) = x.dims2()?;
    glue::expect_shape("scatter_rows", "rows", rows, &[at.len(), d])?;
    glue::expect_dtype("rows", rows, x)?;
    check_range("scatter_rows", &at, n, false)?;
    if !is_fused(x) {
        return composed::scatter_rows(x, rows, &at);
    }
    let (x, rows) = (x.contiguous()?, rows.contiguous()?);
    by_dtype!(x.dtype(), T => Ok(x.apply_op2(&rows, ScatterRows::<T> { at, kind: PhantomData })?))
}

struct ScatterRows<T> {
    at: Arc<[u32]>,
    kind: PhantomData<T>,
}

impl<T: Real> CustomOp2 for ScatterRows<T> {
    fn name(&self) -> &'static str {
        "scatter_rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        rows: &CpuStorage,
        rows_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, d) = x_layout.shape().dims2()?;
        let (x, rows) = (
            glue::slice::<T>(x, x_layout)?,
            glue::slice::<T>(rows, rows_layout)?,
        );
        Ok(glue::storage(
            kernel::scatter_rows(x, rows, &self.at, d),
            x_layout.shape().clone(),
        ))
    }

    fn bwd(
        &self,
        x: &Tensor,
        rows: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let drows = if rows.track_op() {
            let (m, d) = rows.dims2()?;
            let drows = kernel::select_rows(&view::<T>(&grad)?, &self.at, d);
            Some(glue::tensor(drows, (m, d))?)
        } else {
            None
        };
        Ok((x.track_op().then_some(grad), drows))
    }
}
