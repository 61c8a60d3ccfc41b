//! A plan for many devices as text.

use super::common::bytes;
use super::many::Many;
use crate::config::RunConfig;
use m6_model::plan::{Found, Plan, Seconds, USABLE};

impl Many {
    /// The whole page.
    pub fn text(&self, config: &RunConfig) -> String {
        let mut text = self.head();
        text.push_str(&self.memory());
        text.push_str(&self.traffic());
        text.push_str(&self.time(config));
        if let Some((rate, efficiency)) = self.measured {
            text.push_str(&self.measured_line(rate, efficiency));
        }
        if !self.plan.fits {
            text.push_str(&nearest(self.nearest.as_ref(), self.gpus));
        }
        if !self.best.is_empty() {
            text.push_str(&ranking(&self.best));
        }
        text
    }

    fn head(&self) -> String {
        let (job, plan) = (self.planner.job(), &self.plan);
        let hw = &job.hardware;
        format!(
            "devices     {} x {}: {:.0} GB, {} TFLOP/s in {}, {} a node, {} GB/s inside, {} GB/s between nodes\n\
             mesh        {}{}\n\
             batch       {} samples of {} positions a step: {} of {} on each of {} data ranks{}\n",
            self.gpus,
            hw.name,
            hw.memory_gb,
            hw.peak_tflops,
            job.precision.name(),
            hw.per_node,
            hw.inner_gb_s,
            hw.outer_gb_s,
            plan.layout.mesh,
            if self.best.is_empty() {
                ""
            } else {
                " (the fastest that fits)"
            },
            plan.samples_per_step,
            job.positions,
            counted(plan.accum, "micro-batch", "micro-batches"),
            plan.layout.micro_batch,
            plan.layout.mesh.data,
            match plan.layout.checkpointing {
                true => ", activation checkpointing",
                false => "",
            }
        )
    }

    fn memory(&self) -> String {
        let b = &self.plan.bytes;
        let limit = self.planner.job().hardware.memory_gb * 1e9;
        let mut text = String::from("memory of a rank\n");
        for (name, n) in [
            ("weights", b.weights),
            ("gradients", b.gradients),
            ("moments", b.moments),
            ("activations", b.activations),
            ("buffers", b.buffers),
        ] {
            text.push_str(&format!("  {name:24} {:>12}\n", bytes(n)));
        }
        text.push_str(&format!(
            "  {:24} {:>12}   {:.0} % of {}: {} (the limit is {:.0} %)\n",
            "total",
            bytes(b.total),
            100.0 * b.total / limit,
            bytes(limit),
            if self.plan.fits {
                "fits"
            } else {
                "does not fit"
            },
            100.0 * USABLE
        ));
        text
    }

    fn traffic(&self) -> String {
        if self.plan.flows.is_empty() {
            return "traffic     none: every rank is by itself\n".into();
        }
        let mut text = String::from("traffic of a rank and step\n");
        for flow in &self.plan.flows {
            text.push_str(&format!(
                "  {:24} {:>12}   {:13} at {:>5.1} GB/s {:>12}\n",
                flow.kind.name(),
                bytes(flow.bytes),
                if flow.inside_node {
                    "inside a node"
                } else {
                    "between nodes"
                },
                flow.rate / 1e9,
                duration(flow.seconds())
            ));
        }
        text
    }

    fn time(&self, config: &RunConfig) -> String {
        let (job, plan) = (self.planner.job(), &self.plan);
        let Seconds {
            compute,
            all_to_all,
            tensor,
            gradients,
            weights,
            update,
            pipeline,
        } = plan.seconds;
        let mut text = format!(
            "time of a step, computing at {} of the peak\n",
            job.efficiency
        );
        for (name, seconds, note) in [
            ("compute", compute, ""),
            ("all_to_all", all_to_all, ""),
            ("tensor", tensor, ""),
            (
                "gradients",
                gradients,
                "   what the backward pass does not hide",
            ),
            ("weights", weights, ""),
            ("update", update, ""),
            ("pipeline", pipeline, "   no pipeline stages, so no bubbles"),
        ] {
            text.push_str(&format!("  {name:24} {:>12}{note}\n", duration(seconds)));
        }
        let days = plan.step_seconds * config.train.steps as f64 / 86_400.0;
        text.push_str(&format!(
            "  {:24} {:>12}   {:.2} GFLOP a token\n\
             throughput  {} samples/s, {:.2} B tokens a day; {} steps take {days:.2} days\n",
            "step",
            duration(plan.step_seconds),
            plan.flops_per_token / 1e9,
            rate(plan.samples_per_s),
            plan.tokens_per_day / 1e9,
            config.train.steps
        ));
        text
    }

    fn measured_line(&self, measured: f64, efficiency: Option<f64>) -> String {
        let share = measured / self.plan.samples_per_s;
        let means = match efficiency {
            Some(x) => format!("computing at {x:.4} of the peak would give it"),
            None => "no efficiency gives it: traffic alone takes longer".into(),
        };
        format!(
            "measured    {} samples/s, {share:.3} of the plan; {means}\n",
            rate(measured)
        )
    }
}

fn nearest(found: Option<&Found>, gpus: usize) -> String {
    let Some(Found { plan, changes, .. }) = found else {
        return format!(
            "nearest     nothing fits, not on {} devices either\n",
            gpus << 10
        );
    };
    let changes: Vec<_> = changes
        .iter()
        .map(|change| match change.what {
            "activation_checkpointing" if change.to == 1 => "with activation checkpointing".into(),
            "activation_checkpointing" => "without activation checkpointing".into(),
            what => format!("{what} {} -> {}", change.from, change.to),
        })
        .collect();
    format!(
        "nearest     {}: {}, {} a rank, {} samples/s\n",
        changes.join(", "),
        plan.layout.mesh,
        bytes(plan.bytes.total),
        rate(plan.samples_per_s)
    )
}

fn ranking(best: &[Plan]) -> String {
    let mut text =
        String::from("fastest     samples/s      of a rank  micro-batch  checkpointing  mesh\n");
    for plan in best {
        text.push_str(&format!(
            "  {:>19} {:>14} {:>12}  {:13}  {}\n",
            rate(plan.samples_per_s),
            bytes(plan.bytes.total),
            plan.layout.micro_batch,
            if plan.layout.checkpointing {
                "yes"
            } else {
                "no"
            },
            plan.layout.mesh
        ));
    }
    text
}

fn counted(n: usize, one: &str, more: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { more })
}

/// Three figures below a thousand, whole numbers above.
fn rate(x: f64) -> String {
    match x {
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 1.0 => format!("{x:.2}"),
        x => format!("{x:.4}"),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        0.0 => "0".into(),
        s if s < 1e-3 => format!("{:.1} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
