//! Gradients summed over ranks, each part at its owner, while the backward pass still goes on.

use super::{BUCKET, Bucket, Communicator, Pending, Shards, buckets};
use crate::error::Result;
use crate::param::{Param, add_or_copy, squares};
use crate::real::add_into;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sums the gradients of all ranks, at the owner of each part, in the order of the ranks.
///
/// Parameters come in groups, in the order in which their gradients are complete. A round sends each group once, on every rank,
/// whether it has gradients or not; what a rank receives in a round is added to what it has. So with one micro-batch a round, the
/// `i`-th of rank `r` being number `i * ranks + r` of all, the sum is the one that a single rank makes of them in their order, bit for bit.
pub struct GradSum {
    comm: Arc<dyn Communicator>,
    params: Vec<Param>,
    groups: Vec<Vec<Bucket>>,
    shards: Shards,
    /// Whether gradients give back their memory when they are sent.
    frees: bool,
    state: Mutex<State>,
}

struct State {
    /// The own part of each gradient; empty until there is one.
    sums: Vec<Vec<f32>>,
    /// Whether any rank has had a gradient of a parameter.
    filled: Vec<bool>,
    /// The same for each piece of a message: a parameter may travel in several, of which some have arrived.
    arrived: Vec<Vec<Vec<bool>>>,
    /// Groups that the present round has sent.
    n_sent: usize,
    under_way: VecDeque<(usize, usize, Pending)>,
}

impl GradSum {
    /// Sums of `params`, whose parts `shards` gives away, sent in `groups` of their indices. With `frees`, no gradient outlives its sending.
    pub fn new(
        comm: Arc<dyn Communicator>,
        params: Vec<Param>,
        groups: &[Vec<usize>],
        shards: Shards,
        frees: bool,
    ) -> Self {
        let groups: Vec<Vec<Bucket>> = groups
            .iter()
            .map(|group| buckets(&shards, group, BUCKET))
            .collect();
        let none = |group: &Vec<Bucket>| {
            let of = |bucket: &Bucket| vec![false; bucket.pieces.len()];
            group.iter().map(of).collect()
        };
        let state = State {
            sums: vec![Vec::new(); params.len()],
            filled: vec![false; params.len()],
            arrived: groups.iter().map(none).collect(),
            n_sent: 0,
            under_way: VecDeque::new(),
        };
        Self {
            comm,
            params,
            groups,
            shards,
            frees,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of groups.
    pub fn n_groups(&self) -> usize {
        self.groups.len()
    }

    /// Forgets the sums; their memory is kept.
    pub fn clear(&self) {
        let mut state = self.state();
        state.filled.fill(false);
        for bucket in state.arrived.iter_mut().flatten() {
            bucket.fill(false);
        }
    }

    /// Begins a round.
    pub fn begin(&self) {
        self.state().n_sent = 0;
    }

    /// Sends the gradients of the groups below `end` that this round has not sent, and empties them; they travel while the caller goes on.
    ///
    /// # Errors
    /// The transport failed.
    pub fn send(&self, end: usize) -> Result<()> {
        let mut state = self.state();
        while state.n_sent < end.min(self.groups.len()) {
            let group = state.n_sent;
            if self.comm.size() == 1 {
                self.keep(&mut state, group);
                state.n_sent += 1;
                continue;
            }
            for number in 0..self.groups[group].len() {
                let pending = self.start(&self.groups[group][number])?;
                state.under_way.push_back((group, number, pending));
                self.take_arrived(&mut state, 2)?;
            }
            for piece in self.groups[group].iter().flat_map(|b| &b.pieces) {
                match self.frees {
                    true => drop(self.params[piece.tensor].take_grad()),
                    false => self.params[piece.tensor].zero_grad(),
                }
            }
            state.n_sent += 1;
        }
        Ok(())
    }

    /// Sends what this round has not sent, and waits for everything under way.
    ///
    /// # Errors
    /// The transport failed.
    pub fn finish(&self) -> Result<()> {
        self.send(self.groups.len())?;
        self.take_arrived(&mut self.state(), 0)
    }

    /// The sum of the only rank there is: its own gradients, which move.
    fn keep(&self, state: &mut State, group: usize) {
        for piece in self.groups[group].iter().flat_map(|bucket| &bucket.pieces) {
            // A parameter of several pieces goes with the first.
            let Some(grad) = self.params[piece.tensor].take_grad() else {
                continue;
            };
            match std::mem::replace(&mut state.filled[piece.tensor], true) {
                true => add_into(&mut state.sums[piece.tensor], &grad),
                false => state.sums[piece.tensor] = grad,
            }
        }
    }

    fn start(&self, bucket: &Bucket) -> Result<Pending> {
        let (n_ranks, n_pieces) = (self.comm.size(), bucket.pieces.len());
        let counts: Vec<usize> = (0..n_ranks).map(|r| n_pieces + bucket.len_of(r)).collect();
        let mut send = Vec::with_capacity(counts.iter().sum());
        for rank in 0..n_ranks {
            for piece in &bucket.pieces {
                let range = piece.ranges[rank].clone();
                // Before each part stands whether there is a gradient: none is not the same as one of zeros.
                let put = self.params[piece.tensor].with_grad(|grad| {
                    send.push(1.0);
                    send.extend_from_slice(&grad[range.clone()]);
                });
                if put.is_none() {
                    send.resize(send.len() + 1 + range.len(), 0.0);
                }
            }
        }
        let own = n_pieces + bucket.len_of(self.comm.rank());
        self.comm
            .start_all_to_all(send, &counts, &vec![own; n_ranks])
    }

    /// Adds what has arrived, oldest first; waits while more than `n_left` exchanges are under way.
    fn take_arrived(&self, state: &mut State, n_left: usize) -> Result<()> {
        while let Some((_, _, pending)) = state.under_way.front_mut() {
            if !pending.is_done()? && state.under_way.len() <= n_left {
                break;
            }
            let Some((group, number, pending)) = state.under_way.pop_front() else {
                break;
            };
            self.add(state, (group, number), &pending.wait()?);
        }
        Ok(())
    }

    fn add(&self, state: &mut State, (group, number): (usize, usize), received: &[f32]) {
        let rank = self.comm.rank();
        let bucket = &self.groups[group][number];
        let share = bucket.pieces.len() + bucket.len_of(rank);
        let mut offset = 0;
        for (i, piece) in bucket.pieces.iter().enumerate() {
            let (own, part) = (&self.shards.of(piece.tensor)[rank], &piece.ranges[rank]);
            let sum = &mut state.sums[piece.tensor];
            if sum.len() != own.len() {
                *sum = vec![0.0; own.len()];
            }
            let place = part.start - own.start..part.end - own.start;
            let filled = &mut state.arrived[group][number][i];
            for from in received.chunks_exact(share) {
                if from[offset] != 0.0 {
                    let values = &from[offset + 1..offset + 1 + part.len()];
                    add_or_copy(&mut sum[place.clone()], values, *filled);
                    *filled = true;
                }
            }
            state.filled[piece.tensor] |= *filled;
            offset += 1 + part.len();
        }
    }

    /// Lets `f` read the own part of every sum that has a gradient: the number of the parameter, the part.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn each<E>(
        &self,
        mut f: impl FnMut(usize, &[f32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let state = self.state();
        for (i, sum) in state.sums.iter().enumerate() {
            if state.filled[i] {
                f(i, sum)?;
            }
        }
        Ok(())
    }

    /// Sums of squares of the chunks of the own part of each parameter, empty without gradient; [`Shards::norm`] reads those of all ranks.
    pub fn squares(&self) -> Vec<Vec<f64>> {
        let mut all = vec![Vec::new(); self.params.len()];
        let collected: std::result::Result<(), std::convert::Infallible> = self.each(|i, part| {
            all[i] = squares(part);
            Ok(())
        });
        collected.unwrap_or_else(|never| match never {});
        all
    }

    /// Gives every rank the whole of every sum, as the gradient of its parameter.
    ///
    /// # Errors
    /// The transport failed.
    pub fn share(&self) -> Result<()> {
        let mut state = self.state();
        let rank = self.comm.rank();
        for bucket in self.groups.iter().flatten() {
            let mut mine = Vec::with_capacity(bucket.len_of(rank));
            for piece in &bucket.pieces {
                let (own, part) = (&self.shards.of(piece.tensor)[rank], &piece.ranges[rank]);
                let sum = &mut state.sums[piece.tensor];
                // A sum that nothing has arrived for.
                sum.resize(own.len(), 0.0);
                mine.extend_from_slice(&sum[part.start - own.start..part.end - own.start]);
            }
            let lengths = bucket.lengths(self.comm.size());
            let all = self.comm.start_all_gather(mine, &lengths)?.wait()?;
            let mut rest = all.as_slice();
            for from in 0..self.comm.size() {
                for piece in &bucket.pieces {
                    let range = piece.ranges[from].clone();
                    let (part, more) = rest.split_at(range.len());
                    rest = more;
                    if state.filled[piece.tensor] {
                        // Every element of every piece is written before anything reads the gradient.
                        self.params[piece.tensor].accumulate(|grad: &mut [f32], _| {
                            grad[range].copy_from_slice(part);
                        })?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::threads;
    use crate::{Device, Params, Tensor};

    const SIZES: [usize; 4] = [3, 200_001, 70_000, 1];

    fn params() -> Vec<Param> {
        let make = |(i, n): (usize, usize)| {
            let tensor = Tensor::zeros(n, crate::DType::F32, &Device::Cpu).unwrap();
            Param::new(format!("p{i}"), &tensor, true).unwrap()
        };
        SIZES.into_iter().enumerate().map(make).collect()
    }

    /// A gradient whose sum depends on the order of its terms.
    fn gradient(micro_batch: usize, n: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 7919 + micro_batch * 104_729) % 1009) as f32 * 1e-3 - 0.5;
        (0..n)
            .map(|i| value(i) * 10f32.powi(micro_batch as i32 % 3))
            .collect()
    }

    /// Whether a micro-batch has a gradient of a parameter: the second has none of the third.
    fn has(micro_batch: usize, param: usize) -> bool {
        param != 3 && (micro_batch, param) != (1, 2)
    }

    fn plan(n_ranks: usize) -> Shards {
        let tensors: Vec<_> = SIZES.into_iter().map(|n| (n, n == 70_000)).collect();
        Shards::plan(&tensors, n_ranks)
    }

    /// The sums over `n_micro` micro-batches on `n_ranks` ranks, by rank: gradients after sharing, norm.
    fn summed(n_ranks: usize, n_micro: usize, frees: bool) -> Vec<(Vec<Option<Vec<f32>>>, f64)> {
        let ranks = threads::group(n_ranks);
        std::thread::scope(|scope| {
            let run = |comm: Arc<dyn Communicator>| {
                let (params, rank) = (params(), comm.rank());
                let groups = [vec![2, 3], vec![0, 1]];
                let shards = plan(n_ranks);
                let gather = Arc::clone(&comm);
                let sum = GradSum::new(comm, params.clone(), &groups, shards.clone(), frees);
                for round in 0..n_micro.div_ceil(n_ranks) {
                    sum.begin();
                    let micro_batch = round * n_ranks + rank;
                    for (i, param) in params.iter().enumerate() {
                        if micro_batch < n_micro && has(micro_batch, i) {
                            param.add_grad(&gradient(micro_batch, SIZES[i])).unwrap();
                        }
                        // The first group leaves as soon as its gradients are there.
                        if i == 3 {
                            sum.send(1).unwrap();
                        }
                    }
                    sum.send(2).unwrap();
                    assert!(params.iter().all(|p| p.grad_f32().is_none()));
                }
                sum.finish().unwrap();
                let squares = sum.squares();
                let text: Vec<u8> = squares
                    .iter()
                    .flat_map(|of| {
                        let n = (of.len() as u64).to_le_bytes();
                        n.into_iter().chain(of.iter().flat_map(|v| v.to_le_bytes()))
                    })
                    .collect();
                let all: Vec<_> = gather.all_gather(&text).unwrap();
                let all: Vec<Vec<Vec<f64>>> = all.iter().map(|bytes| parse(bytes)).collect();
                sum.share().unwrap();
                let (norm, bad) = shards.norm(&all);
                assert_eq!(bad, None);
                (params.iter().map(Param::grad_f32).collect(), norm)
            };
            let threads: Vec<_> = ranks
                .into_iter()
                .map(|comm| scope.spawn(move || run(comm)))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        })
    }

    fn parse(bytes: &[u8]) -> Vec<Vec<f64>> {
        let mut words = bytes
            .chunks_exact(8)
            .map(|b| <[u8; 8]>::try_from(b).unwrap());
        let mut out = Vec::new();
        while let Some(n) = words.next().map(u64::from_le_bytes) {
            let values = words.by_ref().take(n as usize).map(f64::from_le_bytes);
            out.push(values.collect());
        }
        out
    }

    #[test]
    fn any_number_of_ranks_gives_the_sum_in_the_order_of_micro_batches() {
        let own = params();
        let mut set = Params::new();
        for (i, param) in own.iter().enumerate() {
            for micro_batch in (0..5).filter(|&m| has(m, i)) {
                param.add_grad(&gradient(micro_batch, SIZES[i])).unwrap();
            }
            set.insert(param.clone()).unwrap();
        }
        let expected: Vec<_> = own.iter().map(Param::grad_f32).collect();
        assert!(expected[3].is_none() && expected[2].is_some());
        for (n_ranks, frees) in [(1, false), (2, true), (3, false), (4, true), (5, false)] {
            for (grads, norm) in summed(n_ranks, 5, frees) {
                assert!(grads == expected, "{n_ranks} ranks");
                assert_eq!(norm.to_bits(), set.grad_norm().to_bits(), "{n_ranks} ranks");
            }
        }
    }
}
