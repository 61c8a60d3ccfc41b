//! Parameters whose parts are with their owners: gathered after an update, or group by group while they are needed (ZeRO 3).

use super::{BUCKET, Bucket, Communicator, Pending, Shards, buckets};
use crate::error::Result;
use crate::param::Param;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parameters of which each rank updates its own part.
///
/// Either every rank keeps the values of all (`gather` makes them one after an update), or each keeps its own part and `fetch`es a group
/// when it is about to be used.
pub struct Weights {
    comm: Arc<dyn Communicator>,
    params: Vec<Param>,
    groups: Vec<Vec<Bucket>>,
    shards: Shards,
    parted: Option<Mutex<Parted>>,
}

struct Parted {
    /// The own part of each parameter.
    own: Vec<Vec<f32>>,
    /// Groups whose values are there.
    present: Vec<bool>,
    /// Groups on their way, one exchange a bucket.
    coming: Vec<Vec<Pending>>,
}

impl Weights {
    /// Parameters in `groups` of their indices, whose parts `shards` gives away. With `parted`, each rank keeps its own part from
    /// now on and the parameters are released.
    ///
    /// # Errors
    /// A parameter that is not `f32` on the CPU.
    pub fn new(
        comm: Arc<dyn Communicator>,
        params: Vec<Param>,
        groups: &[Vec<usize>],
        shards: Shards,
        parted: bool,
    ) -> Result<Self> {
        let groups = groups
            .iter()
            .map(|group| buckets(&shards, group, BUCKET))
            .collect();
        let mut weights = Self {
            comm,
            params,
            groups,
            shards,
            parted: None,
        };
        if parted {
            let n_groups = weights.groups.len();
            weights.parted = Some(Mutex::new(Parted {
                own: Vec::new(),
                present: vec![false; n_groups],
                coming: (0..n_groups).map(|_| Vec::new()).collect(),
            }));
            weights.part()?;
        }
        Ok(weights)
    }

    /// Number of groups.
    pub fn n_groups(&self) -> usize {
        self.groups.len()
    }

    /// Who owns which part.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// The parameters, in the order of their numbers.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Whether each rank keeps its own part alone.
    pub fn is_parted(&self) -> bool {
        self.parted.is_some()
    }

    fn parted(&self) -> Option<MutexGuard<'_, Parted>> {
        let parted = self.parted.as_ref()?;
        Some(parted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the own parts out of the values, which every rank has whole, and releases those.
    ///
    /// # Errors
    /// A parameter that is not `f32` on the CPU.
    pub fn part(&self) -> Result<()> {
        let Some(mut parted) = self.parted() else {
            return Ok(());
        };
        let rank = self.comm.rank();
        let own = |(i, param): (usize, &Param)| {
            param.with_values(|values| values[self.shards.of(i)[rank].clone()].to_vec())
        };
        let own: Result<_> = self.params.iter().enumerate().map(own).collect();
        parted.own = own?;
        parted.present.fill(false);
        self.params.iter().try_for_each(Param::release)
    }

    /// Lets `f` change the own part of parameter `i`.
    ///
    /// # Errors
    /// A parameter that is not `f32` on the CPU.
    pub fn edit<R: Send>(&self, i: usize, f: impl FnOnce(&mut [f32]) -> R + Send) -> Result<R> {
        if let Some(mut parted) = self.parted() {
            return Ok(f(&mut parted.own[i]));
        }
        let range = self.shards.of(i)[self.comm.rank()].clone();
        self.params[i].edit_values(|values| f(&mut values[range]))
    }

    /// The own part of parameter `i` on each rank put together, on every rank: all that these ranks hold of it.
    ///
    /// # Errors
    /// The transport failed.
    pub fn whole(&self, i: usize) -> Result<Vec<f32>> {
        let rank = self.comm.rank();
        let mut out = vec![0.0; self.params[i].n_held()];
        for bucket in buckets(&self.shards, &[i], BUCKET) {
            let mine = self.edit(i, |own| {
                let base = self.shards.of(i)[rank].start;
                let parts = bucket.pieces.iter().flat_map(|piece| {
                    let part = &piece.ranges[rank];
                    own[part.start - base..part.end - base].iter().copied()
                });
                parts.collect::<Vec<f32>>()
            })?;
            let lengths = bucket.lengths(self.comm.size());
            let all = self.comm.start_all_gather(mine, &lengths)?.wait()?;
            self.spread(&bucket, &all, |_, range, part| {
                out[range].copy_from_slice(part);
                Ok(())
            })?;
        }
        Ok(out)
    }

    /// Makes the values of all ranks those of the owners, after an update; nothing where each keeps its own part.
    ///
    /// # Errors
    /// The transport failed.
    pub fn gather(&self) -> Result<()> {
        if self.parted.is_some() || self.comm.size() == 1 {
            return Ok(());
        }
        for bucket in self.groups.iter().flatten() {
            let all = self.start(bucket, None)?.wait()?;
            self.spread(bucket, &all, |i, range, part| {
                self.params[i].edit_values(|values| values[range].copy_from_slice(part))
            })?;
        }
        Ok(())
    }

    /// Asks for the values of a group, which travel while the caller goes on.
    ///
    /// # Errors
    /// The transport failed.
    pub fn ask(&self, group: usize) -> Result<()> {
        let Some(mut parted) = self.parted() else {
            return Ok(());
        };
        if parted.present[group] || !parted.coming[group].is_empty() {
            return Ok(());
        }
        let asked: Result<Vec<Pending>> = self.groups[group]
            .iter()
            .map(|bucket| self.start(bucket, Some(&parted.own)))
            .collect();
        parted.coming[group] = asked?;
        Ok(())
    }

    /// Waits for the values of a group.
    ///
    /// # Errors
    /// The transport failed.
    pub fn fetch(&self, group: usize) -> Result<()> {
        self.ask(group)?;
        let Some(mut parted) = self.parted() else {
            return Ok(());
        };
        if std::mem::replace(&mut parted.present[group], true) {
            return Ok(());
        }
        let coming = std::mem::take(&mut parted.coming[group]);
        let mut values: std::collections::BTreeMap<usize, Vec<f32>> = self.groups[group]
            .iter()
            .flat_map(|bucket| &bucket.pieces)
            .map(|piece| piece.tensor)
            .map(|i| (i, vec![0.0; self.params[i].n_held()]))
            .collect();
        for (bucket, pending) in self.groups[group].iter().zip(coming) {
            self.spread(bucket, &pending.wait()?, |i, range, part| {
                if let Some(values) = values.get_mut(&i) {
                    values[range].copy_from_slice(part);
                }
                Ok(())
            })?;
        }
        for (i, values) in values {
            self.params[i].restore(values)?;
        }
        Ok(())
    }

    /// Gives the values of a group back, changes to them included; the own part stays.
    ///
    /// # Errors
    /// A parameter that is not `f32` on the CPU.
    pub fn release(&self, group: usize) -> Result<()> {
        let Some(mut parted) = self.parted() else {
            return Ok(());
        };
        if std::mem::replace(&mut parted.present[group], false) {
            for piece in self.groups[group].iter().flat_map(|bucket| &bucket.pieces) {
                self.params[piece.tensor].release()?;
            }
        }
        Ok(())
    }

    /// Fetches every group.
    ///
    /// # Errors
    /// The transport failed.
    pub fn fetch_all(&self) -> Result<()> {
        (0..self.groups.len()).try_for_each(|group| self.fetch(group))
    }

    /// Releases every group.
    ///
    /// # Errors
    /// A parameter that is not `f32` on the CPU.
    pub fn release_all(&self) -> Result<()> {
        (0..self.groups.len()).try_for_each(|group| self.release(group))
    }

    /// Sends the own parts of a bucket to everybody: from `own`, or from the values themselves.
    fn start(&self, bucket: &Bucket, own: Option<&[Vec<f32>]>) -> Result<Pending> {
        let rank = self.comm.rank();
        let mut mine = Vec::with_capacity(bucket.len_of(rank));
        for piece in &bucket.pieces {
            let (i, part) = (piece.tensor, piece.ranges[rank].clone());
            let base = self.shards.of(i)[rank].start;
            match own {
                Some(own) => mine.extend_from_slice(&own[i][part.start - base..part.end - base]),
                None => {
                    self.params[i].with_values(|values| mine.extend_from_slice(&values[part]))?;
                }
            }
        }
        let lengths = bucket.lengths(self.comm.size());
        self.comm.start_all_gather(mine, &lengths)
    }

    /// Calls `f` with the parameter, the range and the numbers of each part in `all`, which a gather of `bucket` gave.
    fn spread(
        &self,
        bucket: &Bucket,
        all: &[f32],
        mut f: impl FnMut(usize, std::ops::Range<usize>, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut rest = all;
        for rank in 0..self.comm.size() {
            for piece in &bucket.pieces {
                let range = piece.ranges[rank].clone();
                let (part, more) = rest.split_at(range.len());
                rest = more;
                f(piece.tensor, range, part)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::threads;
    use crate::{Device, Tensor};

    const SIZES: [usize; 3] = [5, 150_000, 65_536];

    fn weights(comm: Arc<dyn Communicator>, parted: bool) -> Weights {
        let params: Vec<Param> = SIZES
            .into_iter()
            .enumerate()
            .map(|(i, n)| {
                let values: Vec<f32> = (0..n).map(|k| (i * 1_000_000 + k) as f32).collect();
                Param::new(
                    format!("p{i}"),
                    &Tensor::new(values, &Device::Cpu).unwrap(),
                    true,
                )
                .unwrap()
            })
            .collect();
        let tensors: Vec<_> = SIZES.into_iter().map(|n| (n, false)).collect();
        let shards = Shards::plan(&tensors, comm.size());
        Weights::new(comm, params, &[vec![0, 1], vec![2]], shards, parted).unwrap()
    }

    fn on_ranks(n: usize, f: impl Fn(Arc<dyn Communicator>) + Sync) {
        let f = &f;
        std::thread::scope(|scope| {
            for comm in threads::group(n) {
                scope.spawn(move || f(comm));
            }
        });
    }

    /// Every rank adds its number + 1 to its own part; all must see all of it.
    fn check(w: &Weights, rank: usize) {
        for i in 0..SIZES.len() {
            w.edit(i, |own| {
                own.iter_mut().for_each(|v| *v += (rank + 1) as f32)
            })
            .unwrap();
        }
        let expected = |i: usize, k: usize| {
            let owner = w
                .shards()
                .of(i)
                .iter()
                .position(|r| r.contains(&k))
                .unwrap();
            (i * 1_000_000 + k + owner + 1) as f32
        };
        w.gather().unwrap();
        let whole = w.whole(1).unwrap();
        w.fetch_all().unwrap();
        for (i, param) in w.params().iter().enumerate() {
            param
                .with_values(|values| {
                    for (k, &v) in values.iter().enumerate() {
                        assert_eq!(v, expected(i, k), "p{i}[{k}]");
                    }
                    assert!(i != 1 || values == whole);
                })
                .unwrap();
        }
    }

    #[test]
    fn an_update_of_the_owners_reaches_everybody() {
        on_ranks(3, |comm| {
            let rank = comm.rank();
            check(&weights(comm, false), rank);
        });
    }

    #[test]
    fn parted_weights_are_there_between_fetch_and_release() {
        on_ranks(2, |comm| {
            let rank = comm.rank();
            let w = weights(comm, true);
            assert!(w.params()[1].with_values(|_| ()).is_err());
            w.ask(1).unwrap();
            w.fetch(0).unwrap();
            w.fetch(1).unwrap();
            w.params()[2]
                .with_values(|v| assert_eq!(v[7], 2_000_007.0))
                .unwrap();
            w.release(1).unwrap();
            assert!(w.params()[2].with_values(|_| ()).is_err());
            w.params()[0]
                .with_values(|v| assert_eq!(v[4], 4.0))
                .unwrap();
            w.release_all().unwrap();
            check(&w, rank);
        });
    }
}
