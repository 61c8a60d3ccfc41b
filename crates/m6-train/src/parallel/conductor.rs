//! What the ranks say to each other in the course of a pass through the model, in the same order on every rank.
//!
//! A rank that has no micro-batch in a round, or stops in the middle of one for a loss that is not finite, says the same things at the
//! end of the round: exchanges are matched by their order.

use super::team::Section;
use m6_nn::dist::ExpertRanks;
use m6_nn::ops::{BlockHooks, ExpertPeers};
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
    /// Exchange the rows of a block's experts; with `save`, a backward pass follows.
    Rows { block: usize, save: bool },
    /// Exchange the gradients of those rows.
    RowGrads(usize),
}

/// What is to be done in a round, and how much of it when the model is at a place.
#[derive(Default)]
struct Program {
    ops: Vec<Op>,
    /// Whether gradients of every section leave in this round.
    last: bool,
    n_done: usize,
    start: usize,
    enter: Vec<usize>,
    leave: Vec<usize>,
    done: Vec<usize>,
}

impl Program {
    /// A round over `n` blocks; block `i` is group `n - 1 - i`, everything else group `n`.
    fn new(n: usize, kind: Round, experts: Experts<'_>) -> Self {
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
            if experts.blocks.contains(&i) {
                let save = kind.backward && !experts.again;
                ops.push(Op::Rows { block: i, save });
            }
            if parted && !turns {
                ops.push(Op::Release(group(i)));
            }
            program.leave.push(ops.len());
        }
        program.done = vec![ops.len(); n];
        if kind.backward {
            for i in (0..n).rev() {
                if experts.blocks.contains(&i) {
                    if experts.again {
                        ops.push(Op::Rows {
                            block: i,
                            save: true,
                        });
                    }
                    ops.push(Op::RowGrads(i));
                }
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

/// The blocks whose experts are spread.
#[derive(Clone, Copy, Debug)]
struct Experts<'a> {
    blocks: &'a [usize],
    /// Whether they are run again in the backward pass.
    again: bool,
}

/// Leads a rank through its rounds; the model tells it where it is.
pub(super) struct Conductor {
    n_blocks: usize,
    sections: Vec<Section>,
    rows: Option<Arc<ExpertRanks>>,
    expert_blocks: Vec<usize>,
    checkpointing: bool,
    program: Mutex<Option<Program>>,
    waited: Mutex<f64>,
}

impl Conductor {
    /// A conductor of a model of `n_blocks`, whose groups are those of each of the sections; `rows` are the experts that are spread, and with
    /// `checkpointing` blocks are run again in the backward pass.
    pub fn new(
        n_blocks: usize,
        sections: Vec<Section>,
        rows: Option<Arc<ExpertRanks>>,
        checkpointing: bool,
    ) -> Self {
        let expert_blocks = rows.iter().flat_map(|rows| rows.layers()).collect();
        Self {
            n_blocks,
            sections,
            rows,
            expert_blocks,
            checkpointing,
            program: Mutex::new(None),
            waited: Mutex::new(0.0),
        }
    }

    fn program(&self) -> MutexGuard<'_, Option<Program>> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a round; with `sends`, gradients leave in it, those of late sections in the `last` one. What is in no block is there when this
    /// returns.
    pub fn begin(&self, backward: bool, sends: bool, last: bool) -> Result<()> {
        let round = Round {
            parted: self.sections[0].weights.is_parted(),
            backward,
            sends,
        };
        if sends {
            let leaving = self.sections.iter().filter(|section| last || !section.late);
            leaving.for_each(|section| section.sum.begin());
        }
        let experts = Experts {
            blocks: &self.expert_blocks,
            again: self.checkpointing,
        };
        let mut program = Program::new(self.n_blocks, round, experts);
        program.last = last;
        *self.program() = Some(program);
        self.advance(|program| program.start)
    }

    /// Ends a round: does what the model has not come by for.
    pub fn end(&self) -> Result<()> {
        self.advance(|program| program.ops.len())?;
        let Some(program) = self.program().take() else {
            return Ok(());
        };
        if !program.ops.contains(&Op::Send(0)) {
            return Ok(());
        }
        // A gradient that was made after its group had left would be lost to the sum.
        let sections = self
            .sections
            .iter()
            .filter(|section| program.last || !section.late);
        let mut params = sections.flat_map(|section| section.weights.params());
        match params.find(|param| param.with_grad(|_| ()).is_some()) {
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
        while program.n_done < end {
            let op = program.ops[program.n_done];
            program.n_done += 1;
            self.run(op, program.last)?;
        }
        Ok(())
    }

    fn run(&self, op: Op, last: bool) -> Result<()> {
        if let (Op::Rows { .. } | Op::RowGrads(_), Some(rows)) = (op, &self.rows) {
            // The exchange counts its own seconds.
            return match op {
                Op::Rows { block, save } => rows.serve_forward(block, save),
                Op::RowGrads(block) => rows.serve_backward(block),
                _ => Ok(()),
            };
        }
        let started = Instant::now();
        for section in &self.sections {
            let Section { sum, weights, .. } = section;
            match op {
                Op::Ask(group) => weights.ask(group)?,
                Op::Fetch(group) => weights.fetch(group)?,
                Op::Release(group) => weights.release(group)?,
                Op::Send(group) if last || !section.late => sum.send(group + 1)?,
                Op::Send(_) | Op::Rows { .. } | Op::RowGrads(_) => {}
            }
        }
        self.add_waited(started);
        Ok(())
    }

    /// Notes that the model is about to make an exchange of rows itself, which has to be the one that is due.
    fn passes(&self, is_due: impl Fn(Op) -> bool) -> Result<(Arc<ExpertRanks>, Op)> {
        let mut guard = self.program();
        let due = guard.as_ref().and_then(|p| p.ops.get(p.n_done).copied());
        match (guard.as_mut(), due, &self.rows) {
            (Some(program), Some(op), Some(rows)) if is_due(op) => {
                program.n_done += 1;
                Ok((Arc::clone(rows), op))
            }
            _ => Err(Error::Value {
                op: "rows of experts",
                what: format!("the other ranks expect {due:?} now"),
            }),
        }
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

impl ExpertPeers for Conductor {
    fn forward(
        &self,
        layer: usize,
        x_rd: Vec<f32>,
        offsets: &[usize],
        _: bool,
    ) -> Result<Vec<f32>> {
        // Whether a backward pass follows is the same for all, also where this rank's own rows have none: behind what is frozen.
        let is_due = |op| matches!(op, Op::Rows { block, .. } if block == layer);
        let (rows, op) = self.passes(is_due)?;
        let save = matches!(op, Op::Rows { save: true, .. });
        rows.forward(layer, x_rd, offsets, save)
    }

    fn backward(&self, layer: usize, dy_rd: Vec<f32>) -> Result<Vec<f32>> {
        let (rows, _) = self.passes(|op| op == Op::RowGrads(layer))?;
        rows.backward(layer, dy_rd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups with weights at the same time, at most, without what is on its way.
    fn most_present(program: &Program, n: usize) -> usize {
        let mut present = std::collections::BTreeSet::new();
        let mut most = 0;
        for op in &program.ops {
            match *op {
                Op::Fetch(group) => assert!(present.insert(group), "{group} twice"),
                Op::Release(group) => assert!(present.remove(&group), "{group} not there"),
                Op::Send(group) => assert!(present.is_empty() || present.contains(&group)),
                Op::Ask(group) => assert!(!present.contains(&group)),
                // A block's experts are asked while its own weights are there.
                Op::Rows { block, .. } | Op::RowGrads(block) => {
                    assert!(present.is_empty() || present.contains(&(n - 1 - block)));
                }
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
                for again in [false, true] {
                    let blocks: Vec<usize> = (0..n).step_by(2).collect();
                    let blocks = &blocks;
                    let program = Program::new(n, round, Experts { blocks, again });
                    assert_eq!(most_present(&program, n), 2, "{n} {round:?}");
                    let rows = |op: &&Op| matches!(op, Op::Rows { .. });
                    let times = if backward && again { 2 } else { 1 };
                    let n_rows = program.ops.iter().filter(rows).count();
                    assert_eq!(n_rows, times * blocks.len());
                }
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
        let none = Experts {
            blocks: &[],
            again: false,
        };
        let program = Program::new(3, round, none);
        assert_eq!(program.ops, [0, 1, 2, 3].map(Op::Send));
        assert_eq!((program.enter, program.done), (vec![0; 3], vec![3, 2, 1]));
    }
}
