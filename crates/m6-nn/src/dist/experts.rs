//! Experts that are spread over ranks: rows travel to the rank that has their expert, and results travel back (paper section 3.2; GShard).

use super::{Communicator, gather_in_pieces, transport};
use crate::error::Result;
use crate::ops::{ExpertPeers, ExpertWeights, Hidden};
use crate::param::{Param, Part};
use crate::real::add_into;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How rows are exchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowExchange {
    /// The rows of each rank are multiplied by themselves, in the order of the ranks: the sums of weight gradients are then those of a single rank
    /// that works on the same rows one rank's after the other, to the bit. Without it the rows of an expert are one product.
    pub apart: bool,
    /// Rows travel rounded to bfloat16.
    pub half: bool,
}

/// The layers of experts that the ranks of a group have among them: rank `p` of `n` the `p`-th of `n` equal parts of each layer.
pub struct ExpertRanks {
    comm: Arc<dyn Communicator>,
    rows: RowExchange,
    layers: BTreeMap<usize, ExpertWeights>,
    /// What a backward pass needs of each layer's last forward pass.
    kept: Mutex<BTreeMap<usize, Kept>>,
    waited: Mutex<f64>,
}

/// Rows of this rank's experts in an exchange, and rows that it sent itself.
struct Kept {
    /// Rows sent to each rank.
    sent: Vec<usize>,
    plan: Plan,
    parts: Vec<Product>,
}

/// Rows that are one grouped product.
struct Product {
    x_rd: Vec<f32>,
    offsets: Vec<usize>,
    hidden: Hidden<f32>,
}

/// Where the received rows are: one piece a rank and expert, as they come.
struct Plan {
    /// Rows that each rank has sent.
    received: Vec<usize>,
    /// Rows of each product, as pieces of what was received, and where its experts begin.
    products: Vec<(Vec<Range<usize>>, Vec<usize>)>,
}

impl Plan {
    /// `counts[rank][expert]` rows were received of each rank.
    fn new(counts: &[Vec<usize>], apart: bool) -> Self {
        let n_experts = counts.first().map_or(0, Vec::len);
        let mut at = 0;
        let pieces: Vec<Vec<Range<usize>>> = counts
            .iter()
            .map(|of| {
                let piece = |n: &usize| {
                    at += n;
                    at - n..at
                };
                of.iter().map(piece).collect()
            })
            .collect();
        let product = |ranks: &[Vec<Range<usize>>]| {
            let mut rows = Vec::new();
            let mut offsets = vec![0];
            let mut n = 0;
            for e in 0..n_experts {
                for of in ranks {
                    n += of[e].len();
                    rows.push(of[e].clone());
                }
                offsets.push(n);
            }
            (rows, offsets)
        };
        Self {
            received: counts.iter().map(|of| of.iter().sum()).collect(),
            products: match apart {
                true => pieces.chunks(1).map(product).collect(),
                false => vec![product(&pieces)],
            },
        }
    }

    /// The rows of each product.
    fn gather(&self, all: &[f32], d: usize) -> Vec<Vec<f32>> {
        let of = |(rows, _): &(Vec<Range<usize>>, _)| {
            let parts = rows.iter().map(|row| &all[row.start * d..row.end * d]);
            parts.flatten().copied().collect()
        };
        self.products.iter().map(of).collect()
    }

    /// The way back of [`Plan::gather`].
    fn scatter(&self, products: &[Vec<f32>], d: usize) -> Vec<f32> {
        let n: usize = self.received.iter().sum();
        let mut all = vec![0.0; n * d];
        for ((rows, _), values) in self.products.iter().zip(products) {
            let mut rest = values.as_slice();
            for row in rows {
                let (part, more) = rest.split_at(row.len() * d);
                all[row.start * d..row.end * d].copy_from_slice(part);
                rest = more;
            }
        }
        all
    }
}

impl ExpertRanks {
    /// The experts of `layers`, by number, spread over `comm`: this rank keeps its part of the matrices of each from now on, and of the biases
    /// for which `spreads` is true; the gradients of other biases are, on this rank, those of its experts.
    ///
    /// # Errors
    /// A number of experts that the ranks do not divide; weights that are not `f32` on the CPU.
    pub fn new(
        comm: Arc<dyn Communicator>,
        rows: RowExchange,
        layers: BTreeMap<usize, ExpertWeights>,
        spreads: impl Fn(&Param) -> bool,
    ) -> Result<Self> {
        for weights in layers.values() {
            let is_matrix = |param: &&Param| param.shape().len() == 3;
            let all = weights.list().into_iter();
            for param in all.filter(|param| is_matrix(param) || spreads(param)) {
                let part = expert_part(param.shape(), comm.rank(), comm.size())?;
                // Layers may share their weights.
                if param.held() != part {
                    param.hold(part)?;
                }
            }
        }
        Ok(Self {
            comm,
            rows,
            layers,
            kept: Mutex::default(),
            waited: Mutex::default(),
        })
    }

    /// The weights that are spread, each once.
    pub fn spread(&self) -> Vec<Param> {
        let mut all: Vec<Param> = Vec::new();
        for param in self.layers.values().flat_map(ExpertWeights::list) {
            if !param.is_whole() && all.iter().all(|known| known.name() != param.name()) {
                all.push(param.clone());
            }
        }
        all
    }

    /// The layers that have experts.
    pub fn layers(&self) -> impl Iterator<Item = usize> {
        self.layers.keys().copied()
    }

    /// Weights of which `part` is here, put together on every rank.
    ///
    /// # Errors
    /// The transport failed.
    pub fn whole(&self, part: &[f32]) -> Result<Vec<f32>> {
        let n_ranks = self.comm.size();
        let mut out = vec![0.0; part.len() * n_ranks];
        let put = |rank: usize, at: usize, theirs: &[f32]| {
            out[rank * part.len() + at..][..theirs.len()].copy_from_slice(theirs);
        };
        gather_in_pieces(self.comm.as_ref(), part, &vec![part.len(); n_ranks], put)?;
        Ok(out)
    }

    /// Seconds spent on exchanges since the last call.
    pub fn take_waited(&self) -> f64 {
        std::mem::take(&mut *self.waited.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Exchanges numbers and waits for them.
    fn exchange(&self, send: Vec<f32>, counts: &[usize], receive: &[usize]) -> Result<Vec<f32>> {
        let started = Instant::now();
        let received = self.comm.start_all_to_all(send, counts, receive)?.wait();
        *self.waited.lock().unwrap_or_else(PoisonError::into_inner) +=
            started.elapsed().as_secs_f64();
        received
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<usize, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn weights(&self, layer: usize) -> Result<&ExpertWeights> {
        let weights = self.layers.get(&layer);
        weights.ok_or_else(|| transport(format!("layer {layer} has no experts")))
    }

    /// As [`ExpertPeers::forward`] of a rank that has no rows.
    ///
    /// # Errors
    /// As there.
    pub fn serve_forward(&self, layer: usize, save: bool) -> Result<()> {
        let n_experts = self.weights(layer)?.up_bias_ef.shape()[0];
        let offsets = vec![0; n_experts + 1];
        self.forward(layer, Vec::new(), &offsets, save).map(drop)
    }

    /// As [`ExpertPeers::backward`] of a rank that has no rows, or has given its own up.
    ///
    /// # Errors
    /// As there.
    pub fn serve_backward(&self, layer: usize) -> Result<()> {
        let d = self.weights(layer)?.held()?.d;
        let sent = self.kept().get(&layer).map(|kept| kept.sent.iter().sum());
        let n: usize = sent.unwrap_or(0);
        self.backward(layer, vec![0.0; n * d]).map(drop)
    }

    /// Sends rows of `d` numbers, `send[r]` to each rank, and receives `receive[r]`.
    fn swap(
        &self,
        rows: Vec<f32>,
        send: &[usize],
        receive: &[usize],
        d: usize,
    ) -> Result<Vec<f32>> {
        let times =
            |n: &[usize], each: usize| -> Vec<usize> { n.iter().map(|n| n * each).collect() };
        if !self.rows.half {
            let (send, receive) = (times(send, d), times(receive, d));
            return self.exchange(rows, &send, &receive);
        }
        let words = d.div_ceil(2);
        let packed = rows.chunks(d).flat_map(pack).collect();
        let (send, receive) = (times(send, words), times(receive, words));
        let packed = self.exchange(packed, &send, &receive)?;
        let rows = packed.chunks(words.max(1)).flat_map(|row| unpack(row, d));
        Ok(rows.collect())
    }

    /// Runs `f`, which adds gradients to the weights; where ranks are apart, as one sum that is then added, the way whole gradients are.
    fn apart<R>(&self, weights: &ExpertWeights, f: impl FnOnce() -> Result<R>) -> Result<R> {
        if !self.rows.apart {
            return f();
        }
        let all = weights.list();
        let earlier = all.map(Param::take_grad);
        let out = f()?;
        for (param, earlier) in all.into_iter().zip(earlier) {
            if let Some(mut sum) = earlier {
                if let Some(new) = param.take_grad() {
                    add_into(&mut sum, &new);
                }
                param.give_grad(sum, 1.0)?;
            }
        }
        Ok(out)
    }

    /// Tells every rank how many rows come for each of its experts, and learns the same.
    fn counts(&self, offsets: &[usize]) -> Result<Vec<Vec<usize>>> {
        let (n_ranks, n_experts) = (self.comm.size(), offsets.len().saturating_sub(1));
        let each = n_experts / n_ranks;
        // Exact in single precision: no micro-batch has 16 million rows for an expert.
        let counts = offsets.windows(2).map(|ends| (ends[1] - ends[0]) as f32);
        let same = vec![each; n_ranks];
        let told = self.exchange(counts.collect(), &same, &same)?;
        let of = |counts: &[f32]| counts.iter().map(|&n| n as usize).collect();
        Ok(told.chunks(each.max(1)).map(of).collect())
    }
}

/// The part of a stack of experts `[e, ...]` that rank `rank` of `n_ranks` has.
///
/// # Errors
/// The ranks do not divide the experts.
fn expert_part(shape: &[usize], rank: usize, n_ranks: usize) -> Result<Part> {
    let e = shape.first().copied().unwrap_or(0);
    if n_ranks == 0 || !e.is_multiple_of(n_ranks) {
        return Err(transport(format!(
            "{e} experts on {n_ranks} ranks, expected a multiple"
        )));
    }
    let each = e / n_ranks;
    Ok(Part::rows(shape, 1, rank * each..(rank + 1) * each))
}

impl ExpertPeers for ExpertRanks {
    fn forward(
        &self,
        layer: usize,
        x_rd: Vec<f32>,
        offsets: &[usize],
        save: bool,
    ) -> Result<Vec<f32>> {
        let weights = self.weights(layer)?;
        let d = weights.held()?.d;
        let counts = self.counts(offsets)?;
        let plan = Plan::new(&counts, self.rows.apart);
        let each = offsets.len().saturating_sub(1) / self.comm.size();
        let ends = |rank: usize| offsets[(rank + 1) * each] - offsets[rank * each];
        let sent: Vec<usize> = (0..self.comm.size()).map(ends).collect();
        let received = self.swap(x_rd, &sent, &plan.received, d)?;
        let mut results = Vec::with_capacity(plan.products.len());
        let mut parts = Vec::with_capacity(plan.products.len());
        for (x_rd, (_, offsets)) in plan.gather(&received, d).into_iter().zip(&plan.products) {
            let (y_rd, hidden) = weights.rows_forward(&x_rd, offsets, save)?;
            results.push(y_rd);
            parts.extend(hidden.map(|hidden| Product {
                x_rd,
                offsets: offsets.clone(),
                hidden,
            }));
        }
        let results = plan.scatter(&results, d);
        let own = self.swap(results, &plan.received, &sent, d)?;
        if save {
            self.kept().insert(layer, Kept { sent, plan, parts });
        }
        Ok(own)
    }

    fn backward(&self, layer: usize, dy_rd: Vec<f32>) -> Result<Vec<f32>> {
        let weights = self.weights(layer)?;
        let d = weights.held()?.d;
        let kept = self.kept().remove(&layer);
        let Kept { sent, plan, parts } = kept.ok_or_else(|| {
            transport(format!("layer {layer} has no forward pass to go back from"))
        })?;
        let received = self.swap(dy_rd, &sent, &plan.received, d)?;
        let mut results = Vec::with_capacity(parts.len());
        for (dy_rd, part) in plan.gather(&received, d).into_iter().zip(parts) {
            let Product {
                x_rd,
                offsets,
                hidden,
            } = part;
            let dx = self.apart(weights, || {
                weights.rows_backward(hidden, dy_rd, || Ok(x_rd), &offsets, true)
            })?;
            results.extend(dx);
        }
        self.swap(plan.scatter(&results, d), &plan.received, &sent, d)
    }
}

/// A row as bfloat16, two numbers a word, rounded to the nearest and to even.
fn pack(row: &[f32]) -> impl Iterator<Item = f32> {
    row.chunks(2).map(|pair| {
        let half = |i: usize| pair.get(i).map_or(0, |&v| u32::from(bfloat16(v)));
        f32::from_bits(half(0) | half(1) << 16)
    })
}

/// The way back of [`pack`], for a row of `d` numbers.
fn unpack(row: &[f32], d: usize) -> impl Iterator<Item = f32> {
    let pair = |word: &f32| [word.to_bits() << 16, word.to_bits() & 0xffff_0000];
    let numbers = row.iter().flat_map(pair);
    numbers.take(d).map(f32::from_bits)
}

fn bfloat16(v: f32) -> u16 {
    let bits = v.to_bits();
    if v.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    (rounded >> 16) as u16
}

#[cfg(test)]
mod tests;
