//! Ranks that are threads of one process: the same semantics as MPI without starting anything, for tests.

use super::{Communicator, Pending, Transfer, check_counts, transport};
use crate::error::Result;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What each rank put down for each rank in one exchange.
type Table = Vec<Option<Vec<Vec<u8>>>>;

/// One board for the ranks of a group: an exchange is a page of it.
struct Board {
    size: usize,
    pages: Mutex<HashMap<u64, Page>>,
    changed: Condvar,
}

struct Page {
    table: Table,
    /// Ranks that have read it; the last one tears it out.
    n_read: usize,
}

impl Board {
    fn pages(&self) -> MutexGuard<'_, HashMap<u64, Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, page: u64, rank: usize, parts: Vec<Vec<u8>>) {
        let mut pages = self.pages();
        let page = pages.entry(page).or_insert_with(|| Page {
            table: vec![None; self.size],
            n_read: 0,
        });
        page.table[rank] = Some(parts);
        self.changed.notify_all();
    }

    fn is_full(&self, page: u64) -> bool {
        let pages = self.pages();
        pages
            .get(&page)
            .is_some_and(|page| page.table.iter().all(Option::is_some))
    }

    /// What every rank put down for this one, once all have.
    fn take(&self, number: u64, rank: usize) -> Vec<Vec<u8>> {
        let mut pages = self.pages();
        while pages
            .get(&number)
            .is_none_or(|page| page.table.iter().any(Option::is_none))
        {
            pages = self
                .changed
                .wait(pages)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut parts = Vec::with_capacity(self.size);
        if let Some(page) = pages.get_mut(&number) {
            for from in page.table.iter_mut().flatten() {
                parts.push(std::mem::take(&mut from[rank]));
            }
            page.n_read += 1;
            if page.n_read == self.size {
                pages.remove(&number);
            }
        }
        parts
    }
}

/// One rank of a [`group`].
pub struct ThreadRank {
    rank: usize,
    board: Arc<Board>,
    /// Exchanges begun; the same on every rank at the same exchange.
    n_begun: Mutex<u64>,
}

/// A group of `n` ranks, one for each thread.
///
/// The threads must not share a rayon pool: a rank that waits would keep its thread from the others.
pub fn group(n: usize) -> Vec<Arc<dyn Communicator>> {
    let board = Arc::new(Board {
        size: n,
        pages: Mutex::default(),
        changed: Condvar::new(),
    });
    (0..n)
        .map(|rank| member(rank, Arc::clone(&board)))
        .collect()
}

fn member(rank: usize, board: Arc<Board>) -> Arc<dyn Communicator> {
    Arc::new(ThreadRank {
        rank,
        board,
        n_begun: Mutex::new(0),
    })
}

impl ThreadRank {
    fn begin(&self, parts: Vec<Vec<u8>>) -> u64 {
        let mut n_begun = self.n_begun.lock().unwrap_or_else(PoisonError::into_inner);
        *n_begun += 1;
        self.board.put(*n_begun, self.rank, parts);
        *n_begun
    }

    fn start(&self, parts: Vec<Vec<u8>>) -> Pending {
        Pending::new(OnBoard {
            board: Arc::clone(&self.board),
            page: self.begin(parts),
            rank: self.rank,
        })
    }
}

struct OnBoard {
    board: Arc<Board>,
    page: u64,
    rank: usize,
}

impl Transfer for OnBoard {
    fn is_done(&mut self) -> Result<bool> {
        Ok(self.board.is_full(self.page))
    }

    fn finish(&mut self) -> Result<Vec<f32>> {
        let parts = self.board.take(self.page, self.rank).concat();
        let numbers = parts.chunks_exact(4);
        Ok(numbers
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|v| v.to_le_bytes()).collect()
}

impl Communicator for ThreadRank {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.board.size
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        let page = self.begin(vec![mine.to_vec(); self.size()]);
        Ok(self.board.take(page, self.rank))
    }

    fn start_all_to_all(
        &self,
        send: Vec<f32>,
        send_counts: &[usize],
        recv_counts: &[usize],
    ) -> Result<Pending> {
        check_counts(self, &send, send_counts, Some(recv_counts))?;
        let mut rest = send.as_slice();
        let mut parts = Vec::with_capacity(self.size());
        for &n in send_counts {
            let (part, more) = rest.split_at(n);
            parts.push(bytes(part));
            rest = more;
        }
        Ok(self.start(parts))
    }

    fn start_all_gather(&self, mine: Vec<f32>, counts: &[usize]) -> Result<Pending> {
        check_counts(self, &mine, counts, None)?;
        Ok(self.start(vec![bytes(&mine); self.size()]))
    }

    fn split(&self, color: usize, key: usize) -> Result<Arc<dyn Communicator>> {
        // The first rank of each colour makes the board and hands it on by its address, which the others know by then.
        let mine = [color.to_le_bytes(), key.to_le_bytes()].concat();
        let mut same = Vec::new();
        for (rank, theirs) in self.all_gather(&mine)?.iter().enumerate() {
            let word = |at: usize| -> Option<usize> {
                Some(usize::from_le_bytes(
                    theirs.get(at..at + 8)?.try_into().ok()?,
                ))
            };
            if word(0) == Some(color) {
                same.push((word(8).unwrap_or_default(), rank));
            }
        }
        same.sort_unstable();
        let leader = same.first().map_or(self.rank, |(_, rank)| *rank);
        let place = same.iter().position(|(_, rank)| *rank == self.rank);
        let place = place.ok_or_else(|| transport("this rank is not of its colour".into()))?;
        let boards = SPLITS.get_or_init(Mutex::default);
        let fresh = (leader == self.rank).then(|| {
            let board = Arc::new(Board {
                size: same.len(),
                pages: Mutex::default(),
                changed: Condvar::new(),
            });
            let mut boards = boards.lock().unwrap_or_else(PoisonError::into_inner);
            boards.push(Some(Arc::clone(&board)));
            boards.len() - 1
        });
        let told = self.all_gather(&fresh.unwrap_or(usize::MAX).to_le_bytes())?;
        let number = told[leader].as_slice().try_into().map(usize::from_le_bytes);
        let board = number.ok().and_then(|number| {
            let boards = boards.lock().unwrap_or_else(PoisonError::into_inner);
            boards.get(number).cloned().flatten()
        });
        self.barrier()?;
        if let Some(number) = fresh {
            boards.lock().unwrap_or_else(PoisonError::into_inner)[number] = None;
        }
        let board = board.ok_or_else(|| transport("the new group was not made".into()))?;
        Ok(member(place, board))
    }

    fn abort(&self, code: i32) {
        std::process::exit(code);
    }
}

/// Boards of groups in the making, by number.
static SPLITS: std::sync::OnceLock<Mutex<Vec<Option<Arc<Board>>>>> = std::sync::OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    /// What `f` gives on each rank of `n`.
    fn on_ranks<R: Send>(n: usize, f: impl Fn(&dyn Communicator) -> R + Sync) -> Vec<R> {
        let ranks = group(n);
        std::thread::scope(|scope| {
            let threads: Vec<_> = ranks
                .iter()
                .map(|comm| scope.spawn(|| f(comm.as_ref())))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        })
    }

    #[test]
    fn numbers_arrive_in_the_order_of_the_ranks() {
        let got = on_ranks(3, |comm| {
            let r = comm.rank() as f32;
            // Rank r sends r + 1 numbers to everybody.
            let n = comm.rank() + 1;
            let send: Vec<f32> = (0..3)
                .flat_map(|to| vec![10.0 * r + to as f32; n])
                .collect();
            comm.start_all_to_all(send, &[n; 3], &[1, 2, 3])
                .and_then(Pending::wait)
                .unwrap()
        });
        assert_eq!(got[0], [0.0, 10.0, 10.0, 20.0, 20.0, 20.0]);
        assert_eq!(got[2], [2.0, 12.0, 12.0, 22.0, 22.0, 22.0]);
    }

    #[test]
    fn exchanges_under_way_do_not_mix() {
        let got = on_ranks(2, |comm| {
            let r = comm.rank() as f32;
            let first = comm.start_all_gather(vec![r], &[1, 1]).unwrap();
            let second = comm.start_all_gather(vec![r + 10.0], &[1, 1]).unwrap();
            let told = comm.broadcast(1, &[comm.rank() as u8]).unwrap();
            (second.wait().unwrap(), first.wait().unwrap(), told)
        });
        for (second, first, told) in got {
            assert_eq!((second, first), (vec![10.0, 11.0], vec![0.0, 1.0]));
            assert_eq!(told, [1]);
        }
    }

    #[test]
    fn a_split_group_speaks_among_itself() {
        let got = on_ranks(4, |comm| {
            // Even and odd ranks, in reverse order.
            let half = comm.split(comm.rank() % 2, 9 - comm.rank()).unwrap();
            let all = half.all_gather(&[comm.rank() as u8]).unwrap().concat();
            (half.rank(), half.size(), all)
        });
        assert_eq!(got[0], (1, 2, vec![2, 0]));
        assert_eq!(got[3], (0, 2, vec![3, 1]));
    }
}
