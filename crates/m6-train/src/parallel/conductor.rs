//! What the ranks say to each other in the course of a pass through the model, in the same order on every rank.
//!
//! A rank that has no micro-batch in a round, or stops in the middle of one for a loss that is not finite, says the same things at the
//! end of the round: exchanges are matched by their order.

use m6_nn::dist::{GradSum, Weights};
use m6_nn::ops::BlockHooks;
use m6_nn::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One thing to do. Groups are numbered in the order in which their gradients are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// Ask for the weights of a group that is needed after the next.
    Ask(usize),
    /// Wait for the weights of a group.
    Fetch(usize),
    /// Give them back.
    Release(usize),
    /// Send the gradients of a group to their owners.
    Send(usize),
}

/// What is to be done in a round, and how much of it when the model is at a place.
#[derive(Default)]
struct Program {
    ops: Vec<Op>,
    n_done: usize,
    start: usize,
    enter: Vec<usize>,
    leave: Vec<usize>,
    done: Vec<usize>,
}

impl Program {
    /// A round over `n` blocks; block `i` is group `n - 1 - i`, everything else group `n`.
    fn new(n: usize, kind: Round) -> Self {
        let group = |block: usize| n - 1 - block;
        let (parted, sends) = (kind.parted, kind.sends);
        let mut program = Self::default();
        let ops = &mut program.ops;
        if parted {
            ops.push(Op::Fetch(n));
        }
        program.start = ops.len();
        for i in 0..n {
            // Behind the last block the way goes back, if at all.
            let turns = kind.backward && i + 1 == n;
            if parted {
                ops.push(Op::Fetch(group(i)));
                match turns {
                    false if i + 1 < n => ops.push(Op::Ask(group(i + 1))),
                    true if i > 0 => ops.push(Op::Ask(group(i - 1))),
                    _ => {}
                }
            }
            program.enter.push(ops.len());
            if parted && !turns {
                ops.push(Op::Release(group(i)));
            }
            program.leave.push(ops.len());
        }
        program.done = vec![ops.len(); n];
        if kind.backward {
            for i in (0..n).rev() {
                if sends {
                    ops.push(Op::Send(group(i)));
                }
                if parted {
                    ops.push(Op::Release(group(i)));
                }
                if parted && i > 0 {
                    ops.push(Op::Fetch(group(i - 1)));
                }
                if parted && i > 1 {
                    ops.push(Op::Ask(group(i - 2)));
                }
                program.done[i] = ops.len();
            }
            if sends {
                ops.push(Op::Send(n));
            }
        }
        if parted {
            ops.push(Op::Release(n));
        }
        program
    }
}

/// What a round does.
#[derive(Clone, Copy, Debug)]
struct Round {
    parted: bool,
    backward: bool,
    sends: bool,
}

/// Leads a rank through its rounds; the model tells it where it is.
pub(super) struct Conductor {
    n_blocks: usize,
    sum: Arc<GradSum>,
    weights: Arc<Weights>,
    program: Mutex<Option<Program>>,
    waited: Mutex<f64>,
}

impl Conductor {
    /// A conductor of a model of `n_blocks`, whose groups are those of `sum` and `weights`.
    pub fn new(n_blocks: usize, sum: Arc<GradSum>, weights: Arc<Weights>) -> Self {
        Self {
            n_blocks,
            sum,
            weights,
            program: Mutex::new(None),
            waited: Mutex::new(0.0),
        }
    }

    fn program(&self) -> MutexGuard<'_, Option<Program>> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a round; with `sends`, gradients leave in it. What is in no block is there when this returns.
    pub fn begin(&self, backward: bool, sends: bool) -> Result<()> {
        let round = Round {
            parted: self.weights.is_parted(),
            backward,
            sends,
        };
        if sends {
            self.sum.begin();
        }
        *self.program() = Some(Program::new(self.n_blocks, round));
        self.advance(|program| program.start)
    }

    /// Ends a round: does what the model has not come by for.
    pub fn end(&self) -> Result<()> {
        self.advance(|program| program.ops.len())?;
        let sent = self
            .program()
            .take()
            .is_some_and(|p| p.ops.contains(&Op::Send(0)));
        if !sent {
            return Ok(());
        }
        // A gradient that was made after its group had left would be lost to the sum.
        let params = self.weights.params();
        match params
            .iter()
            .find(|param| param.with_grad(|_| ()).is_some())
        {
            None => Ok(()),
            Some(param) => Err(Error::Value {
                op: "sum of gradients",
                what: format!(
                    "the gradient of {} came after its block was done",
                    param.name()
                ),
            }),
        }
    }

    /// Does what is due up to the place that `to` gives.
    fn advance(&self, to: impl FnOnce(&Program) -> usize) -> Result<()> {
        let mut guard = self.program();
        let Some(program) = guard.as_mut() else {
            return Ok(());
        };
        let end = to(program);
        let started = Instant::now();
        while program.n_done < end {
            let op = program.ops[program.n_done];
            program.n_done += 1;
            match op {
                Op::Ask(group) => self.weights.ask(group)?,
                Op::Fetch(group) => self.weights.fetch(group)?,
                Op::Release(group) => self.weights.release(group)?,
                Op::Send(group) => self.sum.send(group + 1)?,
            }
        }
        self.add_waited(started);
        Ok(())
    }

    /// Counts the seconds since `started` as spent on the other ranks.
    pub fn add_waited(&self, started: Instant) {
        *self.waited.lock().unwrap_or_else(PoisonError::into_inner) +=
            started.elapsed().as_secs_f64();
    }

    /// Seconds spent on the other ranks since the last call.
    pub fn take_waited(&self) -> f64 {
        std::mem::take(&mut *self.waited.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl BlockHooks for Conductor {
    fn enter(&self, i: usize) -> Result<()> {
        self.advance(|program| program.enter[i])
    }

    fn leave(&self, i: usize) -> Result<()> {
        self.advance(|program| program.leave[i])
    }

    fn done(&self, i: usize) -> Result<()> {
        self.advance(|program| program.done[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups with weights at the same time, at most, without what is on its way.
    fn most_present(program: &Program) -> usize {
        let mut present = std::collections::BTreeSet::new();
        let mut most = 0;
        for op in &program.ops {
            match *op {
                Op::Fetch(group) => assert!(present.insert(group), "{group} twice"),
                Op::Release(group) => assert!(present.remove(&group), "{group} not there"),
                Op::Send(group) => assert!(present.is_empty() || present.contains(&group)),
                Op::Ask(group) => assert!(!present.contains(&group)),
            }
            most = most.max(present.len());
        }
        assert!(present.is_empty());
        most
    }

    #[test]
    fn weights_are_there_for_one_block_at_a_time() {
        for n in 1..5 {
            for (backward, sends) in [(false, false), (true, false), (true, true)] {
                let round = Round {
                    parted: true,
                    backward,
                    sends,
                };
                assert_eq!(most_present(&Program::new(n, round)), 2, "{n} {round:?}");
            }
        }
    }

    #[test]
    fn gradients_leave_from_the_last_block_to_the_first() {
        let round = Round {
            parted: false,
            backward: true,
            sends: true,
        };
        let program = Program::new(3, round);
        assert_eq!(program.ops, [0, 1, 2, 3].map(Op::Send));
        assert_eq!((program.enter, program.done), (vec![0; 3], vec![3, 2, 1]));
    }
}
