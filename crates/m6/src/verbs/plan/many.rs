//! A job on many devices, as the flags and the configuration describe it.

use super::PlanArgs;
use crate::config::{RunConfig, nearest};
use crate::error::{Failure, Result};
use m6_model::plan::{Found, GPU_NAMES, Hardware, Job, Layout, Mesh, Moments, Plan, Planner};
use m6_train::OptimizerKind;
use serde_json::{Map, Value, json};

/// Layouts that a search shows.
const N_SHOWN: usize = 10;

/// What is to be said of a job.
pub struct Many {
    /// The job and what it is planned with.
    pub planner: Planner,
    /// Devices.
    pub gpus: usize,
    /// The layout that was asked for or found.
    pub plan: Plan,
    /// The nearest layout that fits, when that one does not.
    pub nearest: Option<Found>,
    /// The fastest layouts, when they were searched for.
    pub best: Vec<Plan>,
    /// A measured throughput with the efficiency it means.
    pub measured: Option<(f64, Option<f64>)>,
}

/// Plans what `args` and `config` say for `gpus` devices.
pub fn plan(args: &PlanArgs, config: &RunConfig, gpus: usize) -> Result<Many> {
    let planner = Planner::new(job(args, config)?);
    let mesh = Mesh::parse(&asked_mesh(args, config), gpus, &config.model).map_err(refused)?;
    let asked = Layout {
        mesh,
        micro_batch: micro_batch(args, config, &mesh),
        checkpointing: config.train.activation_checkpointing,
    };
    let mut best = Vec::new();
    if args.search {
        best = planner.search(gpus);
        best.truncate(N_SHOWN);
    }
    let plan = match best.first() {
        Some(plan) => plan.clone(),
        None => planner.plan(&asked),
    };
    let nearest = match plan.fits {
        true => None,
        false => planner.nearest(&asked),
    };
    let efficiency = |rate| planner.efficiency_of(&plan.layout, rate);
    let measured = args.measured.map(|rate| (rate, efficiency(rate)));
    Ok(Many {
        measured,
        planner,
        gpus,
        plan,
        nearest,
        best,
    })
}

fn refused(problems: Vec<String>) -> Failure {
    Failure::usage(format!(
        "{} problem(s) in the plan:\n  - {}",
        problems.len(),
        problems.join("\n  - ")
    ))
    .hint("`--mesh data=16,expert=16,tensor=8,zero=1` names every axis; `--search` finds the best")
}

fn job(args: &PlanArgs, config: &RunConfig) -> Result<Job> {
    let Some(mut hardware) = Hardware::named(&args.gpu) else {
        let names = GPU_NAMES.map(str::to_string);
        return Err(Failure::usage(format!(
            "--gpu {}: no device of this name{}",
            args.gpu,
            nearest(&args.gpu, names.iter())
        ))
        .hint(format!(
            "known are {}; --gpu-memory-gb, --peak-tflops, --inner-gb-s, --outer-gb-s describe others",
            GPU_NAMES.join(", ")
        )));
    };
    for (given, field) in [
        (args.gpu_memory_gb, &mut hardware.memory_gb),
        (args.peak_tflops, &mut hardware.peak_tflops),
        (args.inner_gb_s, &mut hardware.inner_gb_s),
        (args.outer_gb_s, &mut hardware.outer_gb_s),
    ] {
        *field = given.unwrap_or(*field);
    }
    hardware.per_node = args.gpus_per_node.unwrap_or(hardware.per_node);
    let own = moments(config.train.optimizer);
    let tokens = config.train.rows_per_batch * config.data.row_len;
    let job = Job {
        model: config.model.clone(),
        precision: args.precision.map_or(hardware.precisions[0], Into::into),
        hardware,
        half_gradients: args.half_gradients,
        moments: args.optimizer.map_or(own, Into::into),
        blockwise: config.train.blockwise,
        ema: config.train.ema > 0.0,
        positions: args.seq,
        targets: None,
        samples_per_step: (tokens / args.seq.max(1)).max(1),
        efficiency: args.efficiency,
    };
    let mut problems = job.problems();
    if args
        .measured
        .is_some_and(|rate| !(rate.is_finite() && rate > 0.0))
    {
        problems.push("--measured must be a number of samples a second above 0".into());
    }
    match problems.is_empty() {
        true => Ok(job),
        false => Err(refused(problems)),
    }
}

/// What the optimizer of a configuration keeps.
pub fn moments(kind: OptimizerKind) -> Moments {
    match kind {
        OptimizerKind::AdamW => Moments::AdamW,
        OptimizerKind::Muon => Moments::Muon,
        OptimizerKind::AdamW8 => Moments::AdamW8,
        OptimizerKind::Adafactor => Moments::Adafactor,
    }
}

/// The mesh that is asked for: what `--mesh` says, or else what the section `[parallel]` of the configuration sets.
fn asked_mesh(args: &PlanArgs, config: &RunConfig) -> String {
    if !args.mesh.is_empty() {
        return args.mesh.clone();
    }
    let own = &config.parallel;
    if *own == m6_train::ParallelConfig::default() {
        return String::new();
    }
    // As a run has it; how many ranks there are, `--gpus` says.
    let zero = own.zero.max(u8::from(own.expert > 1 || own.tensor > 1));
    format!("expert={},tensor={},zero={zero}", own.expert, own.tensor)
}

/// The flag's; else the rows of a micro-batch in samples, but no more than a rank's share of the batch.
fn micro_batch(args: &PlanArgs, config: &RunConfig, mesh: &Mesh) -> usize {
    if let Some(n) = args.micro_batch {
        return n as usize;
    }
    let train = &config.train;
    let tokens = train.rows_per_batch * config.data.row_len;
    let own = tokens / train.accum.max(1) / args.seq;
    let share = tokens / args.seq / mesh.data;
    own.min(share).max(1)
}

impl Many {
    /// Keys beside those there are without `--gpus`.
    pub fn json(&self) -> Map<String, Value> {
        let (job, plan) = (self.planner.job(), &self.plan);
        let mut row = Map::new();
        row.insert("gpus".into(), json!(self.gpus));
        row.insert("gpu".into(), json!(job.hardware));
        row.insert("precision".into(), json!(job.precision));
        row.insert("efficiency".into(), json!(job.efficiency));
        row.insert("seq".into(), json!(job.positions));
        row.extend(plan_json(plan));
        let nearest = self.nearest.as_ref().map(|found| {
            let mut row = plan_json(&found.plan);
            row.insert("gpus".into(), json!(found.gpus));
            row.insert("changes".into(), json!(found.changes));
            row
        });
        row.insert("nearest".into(), json!(nearest));
        let best: Vec<_> = self.best.iter().map(plan_json).collect();
        row.insert("search".into(), json!(best));
        let measured = self.measured.map(|(rate, efficiency)| {
            json!({"samples_per_s": rate, "efficiency": efficiency, "share_of_plan": rate / plan.samples_per_s})
        });
        row.insert("measured".into(), json!(measured));
        row
    }
}

fn plan_json(plan: &Plan) -> Map<String, Value> {
    let row = json!({
        "mesh": plan.layout.mesh,
        "micro_batch": plan.layout.micro_batch,
        "activation_checkpointing": plan.layout.checkpointing,
        "accum": plan.accum,
        "samples_per_step": plan.samples_per_step,
        "bytes_per_rank": plan.bytes,
        "flops_per_token": plan.flops_per_token,
        "comm_bytes_per_step": plan.comm_bytes(),
        "links": plan.flows,
        "seconds": plan.seconds,
        "step_seconds": plan.step_seconds,
        "samples_per_s": plan.samples_per_s,
        "tokens_per_day": plan.tokens_per_day,
        "fits": plan.fits,
    });
    match row {
        Value::Object(row) => row,
        _ => unreachable!("written as an object above"),
    }
}
