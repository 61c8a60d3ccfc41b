//! The layouts there are, the best of them, and the nearest to one that does not fit.

use super::mesh::{Mesh, divisors};
use super::{Layout, Plan, Planner};
use serde::Serialize;
use std::collections::HashMap;

/// How far GPUs are multiplied to find room, as a power of two.
const MOST_DOUBLINGS: u32 = 10;

/// Share by which the samples of an update may miss those aimed at.
const SLACK: f64 = 0.1;

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub what: &'static str,
    /// What it was.
    pub from: usize,
    /// What it is now.
    pub to: usize,
}

/// A layout that fits, in place of one that does not.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// What it takes.
    pub plan: Plan,
    /// Devices it is for.
    pub gpus: usize,
    /// What is different, in the order of importance.
    pub changes: Vec<Change>,
}

impl Planner {
    /// Every layout for `gpus` devices that makes about the samples aimed at. Micro-batches are powers of two and those of `also`.
    fn layouts(&self, gpus: usize, also: Option<usize>) -> Vec<Layout> {
        let job = self.job();
        let cfg = &job.model;
        let mut out = Vec::new();
        let fits = |t: &usize| cfg.n_heads.is_multiple_of(*t) && cfg.d_ff.is_multiple_of(*t);
        for tensor in divisors(gpus).into_iter().filter(fits) {
            let data = gpus / tensor;
            let most = (job.samples_per_step / data).max(1);
            let powers = (0..usize::BITS)
                .map(|i| 1usize << i)
                .take_while(|&n| n <= most);
            let mut micro_batches: Vec<usize> = powers.chain(also).collect();
            micro_batches.sort_unstable();
            micro_batches.dedup();
            let experts = divisors(data).into_iter();
            for expert in experts.filter(|n| cfg.experts.n_experts.is_multiple_of(*n)) {
                // Parts of matrices and of experts have their moments with them.
                let least = u8::from(tensor > 1 || expert > 1);
                for zero in least..if data == 1 { least + 1 } else { 4 } {
                    let mesh = Mesh {
                        data,
                        expert,
                        tensor,
                        zero,
                    };
                    for &micro_batch in &micro_batches {
                        for checkpointing in [false, true] {
                            out.push(Layout {
                                mesh,
                                micro_batch,
                                checkpointing,
                            });
                        }
                    }
                }
            }
        }
        out.retain(|layout| {
            let samples = job.accum(layout) * layout.micro_batch * layout.mesh.data;
            let off = samples as f64 / job.samples_per_step as f64 - 1.0;
            // One sample a rank is the least there is.
            off.abs() <= SLACK
                || (layout.micro_batch == 1 && layout.mesh.data > job.samples_per_step)
        });
        out
    }

    /// Layouts for `gpus` devices that fit, the fastest first; of equally fast ones the lower stage of ZeRO. Of layouts that differ in the
    /// micro-batch alone the largest that is as fast as any, within a hundredth, since small products fall short of the stated efficiency.
    pub fn search(&self, gpus: usize) -> Vec<Plan> {
        let plans = self
            .layouts(gpus, None)
            .into_iter()
            .map(|layout| self.plan(&layout));
        let mut by_mesh: HashMap<(Mesh, bool), Vec<Plan>> = HashMap::new();
        for plan in plans.filter(|plan| plan.fits) {
            let key = (plan.layout.mesh, plan.layout.checkpointing);
            by_mesh.entry(key).or_default().push(plan);
        }
        let mut out: Vec<Plan> = by_mesh
            .into_values()
            .filter_map(largest_of_the_fast)
            .collect();
        out.sort_by(|a, b| {
            let faster = b.samples_per_s.total_cmp(&a.samples_per_s);
            let key = |plan: &Plan| {
                let mesh = plan.layout.mesh;
                (
                    mesh.zero,
                    mesh.tensor,
                    mesh.expert,
                    plan.layout.checkpointing,
                )
            };
            faster.then_with(|| key(a).cmp(&key(b)))
        });
        out
    }

    /// The layout that fits with the fewest settings other than in `layout`, the fastest of several; on more devices, twice as many at a
    /// time, when these are too few. `None` when a thousand times as many are.
    pub fn nearest(&self, layout: &Layout) -> Option<Found> {
        (0..=MOST_DOUBLINGS).find_map(|doublings| {
            let gpus = layout.mesh.ranks() << doublings;
            let candidates = self.layouts(gpus, Some(layout.micro_batch));
            let plans = candidates.into_iter().map(|other| self.plan(&other));
            let found = plans.filter(|plan| plan.fits).map(|plan| Found {
                changes: changes(layout, &plan.layout),
                gpus,
                plan,
            });
            found.min_by(|a, b| {
                let fewer = a.changes.len().cmp(&b.changes.len());
                fewer.then(b.plan.samples_per_s.total_cmp(&a.plan.samples_per_s))
            })
        })
    }
}

fn largest_of_the_fast(plans: Vec<Plan>) -> Option<Plan> {
    let best = plans
        .iter()
        .map(|plan| plan.samples_per_s)
        .fold(0.0, f64::max);
    let fast = plans
        .into_iter()
        .filter(|plan| plan.samples_per_s >= 0.99 * best);
    fast.max_by_key(|plan| plan.layout.micro_batch)
}

/// Settings of `b` that are not those of `a`; `data` follows from the others and counts with more devices alone.
fn changes(a: &Layout, b: &Layout) -> Vec<Change> {
    let all = [
        ("gpus", a.mesh.ranks(), b.mesh.ranks()),
        ("zero", a.mesh.zero.into(), b.mesh.zero.into()),
        ("tensor", a.mesh.tensor, b.mesh.tensor),
        ("expert", a.mesh.expert, b.mesh.expert),
        ("micro_batch", a.micro_batch, b.micro_batch),
        (
            "activation_checkpointing",
            a.checkpointing.into(),
            b.checkpointing.into(),
        ),
    ];
    let differ = all.into_iter().filter(|(_, from, to)| from != to);
    differ
        .map(|(what, from, to)| Change { what, from, to })
        .collect()
}
