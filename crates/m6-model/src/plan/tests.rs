//! Plans worked out by hand, and what must hold of all.

use super::*;
use crate::config::{ExpertsConfig, PatchKind};
use proptest::prelude::*;

fn near(got: f64, expected: f64) {
    assert!(
        (got / expected - 1.0).abs() < 1e-9,
        "{got:e}, not {expected:e}"
    );
}

fn job(model: ModelConfig, gpu: &str) -> Job {
    let hardware = Hardware::named(gpu).expect("in the table");
    Job {
        precision: hardware.precisions[0],
        hardware,
        model,
        half_gradients: false,
        blockwise: false,
        moments: Moments::AdamW,
        ema: false,
        positions: 272,
        targets: None,
        samples_per_step: 1024,
        efficiency: 0.4,
    }
}

fn layout(text: &str, gpus: usize, cfg: &ModelConfig) -> Layout {
    Layout {
        mesh: Mesh::parse(text, gpus, cfg).expect("a mesh"),
        micro_batch: 8,
        checkpointing: true,
    }
}

fn sparse(moe_every: usize) -> ModelConfig {
    let experts = ExpertsConfig {
        n_experts: 1024,
        moe_every,
        ..ExpertsConfig::default()
    };
    ModelConfig {
        experts,
        ..ModelConfig::default()
    }
}

#[test]
fn traffic_of_the_papers_setting_is_what_the_formulas_give() {
    let cfg = sparse(2);
    let planner = Planner::new(job(cfg.clone(), "a100"));
    let plan = planner.plan(&layout("expert=128", 128, &cfg));
    assert_eq!((plan.accum, plan.samples_per_step), (1, 1024));
    let comm = plan.comm_bytes();
    // 12 layers, there and back in three passes, 8 x 272 rows with a quarter of room to spare, 1,024 numbers of 2 bytes, 127 of 128 away.
    near(
        comm["all_to_all"],
        72.0 * 2176.0 * 1.25 * 2048.0 * 127.0 / 128.0,
    );
    let dense = planner.states.whole.trained + planner.states.split.trained;
    near(comm["gradients"], 2.0 * 127.0 / 128.0 * 4.0 * dense);
    assert_eq!(
        (comm["tensor"], comm["weights"], comm["expert_gradients"]),
        (0.0, 0.0, 0.0)
    );
    // 8 experts of a layer on a GPU, half precision.
    near(
        planner.states.sparse(&plan.layout.mesh).params,
        planner.states.experts.params / 128.0,
    );
    // An all-to-all over many nodes goes at a GPU's own 25 GB/s, a ring at that of eight of them.
    let rates: Vec<_> = plan
        .flows
        .iter()
        .map(|flow| (flow.kind, flow.rate / 1e9))
        .collect();
    assert_eq!(rates, [(Kind::Gradients, 200.0), (Kind::AllToAll, 25.0)]);
}

#[test]
fn both_readings_of_100b_differ_in_experts_alone() {
    let (second, every) = (sparse(2), sparse(1));
    let experts = |cfg: &ModelConfig| States::new(cfg, Moments::AdamW).experts.params;
    near(experts(&every), 2.0 * experts(&second));
}

#[test]
fn a_tensor_group_in_a_node_uses_its_inner_link() {
    let cfg = ModelConfig::default();
    let planner = Planner::new(job(cfg.clone(), "h100"));
    let plan = planner.plan(&layout("tensor=8", 16, &cfg));
    let tensor = plan
        .flows
        .iter()
        .find(|flow| flow.kind == Kind::Tensor)
        .expect("there");
    assert!(tensor.inside_node);
    // Two sums a block in three passes, 24 blocks, but for the rows of the last one that have no loss; words, and the gradient that the head makes:
    // of 64 micro-batches of 8 samples, of 256 words and 16 patches, on each of 2 data ranks.
    let rows = 64.0 * 8.0 * (140.0 * 272.0 + 6.0 * 256.0);
    let told = 64.0 * 8.0 * 256.0 * 4.0 * 7.0;
    near(tensor.bytes, 2.0 * 7.0 / 8.0 * rows * 2048.0 + 4.0 * told);
    let data = plan
        .flows
        .iter()
        .find(|flow| flow.kind == Kind::Gradients)
        .expect("there");
    // One member of the data group in each node has one link.
    assert_eq!((data.inside_node, data.rate), (false, 50e9));
    let wide = planner.plan(&layout("tensor=16", 16, &cfg));
    assert!(!wide.flows[0].inside_node);
}

#[test]
fn one_process_sends_nothing_and_waits_for_nobody() {
    let cfg = ModelConfig::default();
    let plan = Planner::new(job(cfg.clone(), "h100")).plan(&layout("", 1, &cfg));
    assert_eq!(plan.flows, []);
    let seconds = plan.seconds;
    near(plan.step_seconds, seconds.compute + seconds.update);
    assert_eq!(seconds.pipeline, 0.0);
    near(plan.samples_per_s, 1024.0 / plan.step_seconds);
    // Compute alone is what the operations take at 0.4 of the peak.
    near(
        seconds.compute,
        plan.flops_per_token * 272.0 * 1024.0 / (0.4 * 989.5e12),
    );
}

#[test]
fn weights_and_moments_of_one_process_in_f32_are_sixteen_bytes_a_parameter() {
    let mut cfg = ModelConfig::default();
    cfg.patches.kind = PatchKind::Linear;
    let n = crate::count(&cfg).params_total as f64;
    let bytes = Planner::new(job(cfg.clone(), "cpu"))
        .plan(&layout("", 1, &cfg))
        .bytes;
    near(bytes.weights + bytes.gradients + bytes.moments, 16.0 * n);
    let mut average = job(cfg.clone(), "cpu");
    average.ema = true;
    let with = Planner::new(average).plan(&layout("", 1, &cfg)).bytes;
    near(with.moments - bytes.moments, 4.0 * n);
}

#[test]
fn the_efficiency_of_a_measured_rate_gives_that_rate() {
    let cfg = sparse(2);
    let planner = Planner::new(job(cfg.clone(), "a100"));
    let layout = layout("expert=128", 128, &cfg);
    let efficiency = planner.efficiency_of(&layout, 1440.0).expect("reachable");
    let mut job = planner.job().clone();
    job.efficiency = efficiency;
    near(Planner::new(job).plan(&layout).samples_per_s, 1440.0);
    assert_eq!(planner.efficiency_of(&layout, 1e9), None);
    assert_eq!(planner.efficiency_of(&layout, f64::NAN), None);
}

#[test]
fn what_does_not_fit_has_a_nearest_that_does() {
    let cfg = ModelConfig {
        n_layers: 50,
        d_model: 4096,
        n_heads: 128,
        d_ff: 16384,
        ..ModelConfig::default()
    };
    let planner = Planner::new(job(cfg.clone(), "a100"));
    let wanted = layout("", 64, &cfg);
    assert!(!planner.plan(&wanted).fits);
    let found = planner.nearest(&wanted).expect("there is one");
    assert!(found.plan.fits);
    assert_eq!(found.gpus, 64);
    assert_eq!(found.changes.len(), 1, "{:?}", found.changes);
    // On one GPU no setting helps.
    let found = planner.nearest(&layout("", 1, &cfg)).expect("there is one");
    assert!(found.gpus > 1 && found.plan.fits && found.changes[0].what == "gpus");
    let best = planner.search(64);
    assert!(
        best.len() > 1
            && best
                .iter()
                .all(|plan| plan.fits && plan.layout.mesh.ranks() == 64)
    );
    assert!(
        best.windows(2)
            .all(|pair| pair[0].samples_per_s >= pair[1].samples_per_s)
    );
}

#[test]
fn numbers_without_sense_are_named() {
    let mut bad = job(ModelConfig::default(), "v100");
    (bad.efficiency, bad.positions, bad.precision) = (0.0, 16, Precision::Bf16);
    let problems = bad.problems();
    for (problem, word) in problems
        .iter()
        .zip(["--efficiency", "--seq", "--precision bf16"])
    {
        assert!(problem.contains(word), "{problem}");
    }
    assert_eq!(problems.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lasting_bytes_fall_with_the_stage_and_with_replicas(
        data_log in 0u32..7, expert_log in 0u32..7, tensor_log in 0u32..4, moe in any::<bool>(), half in any::<bool>()
    ) {
        let cfg = if moe { sparse(2) } else { ModelConfig::default() };
        let expert_log = if moe { expert_log.min(data_log) } else { 0 };
        let mut job = job(cfg, "a100");
        job.half_gradients = half;
        let planner = Planner::new(job);
        let lasting = |data: usize, zero| {
            let mesh = Mesh { data, expert: 1 << expert_log, tensor: 1 << tensor_log, zero };
            let bytes = planner.plan(&Layout { mesh, micro_batch: 1, checkpointing: true }).bytes;
            bytes.weights + bytes.gradients + bytes.moments
        };
        let data = 1usize << data_log;
        for zero in 0..4u8 {
            prop_assert!(lasting(2 * data, zero) <= lasting(data, zero));
            if zero > 0 {
                prop_assert!(lasting(data, zero) <= lasting(data, zero - 1));
                prop_assert!(lasting(2 * data, zero) < lasting(2 * data, zero - 1));
                prop_assert!(lasting(2 * data, zero) < lasting(data, zero));
            }
        }
    }

    #[test]
    fn more_checkpointing_tensor_ranks_or_smaller_micro_batches_keep_less(
        micro in 1usize..9, tensor_log in 0u32..4, moe in any::<bool>()
    ) {
        let cfg = if moe { sparse(2) } else { ModelConfig::default() };
        let planner = Planner::new(job(cfg, "a100"));
        let kept = |micro_batch, tensor_log: u32, checkpointing| {
            let mesh = Mesh { data: 8, expert: 1, tensor: 1 << tensor_log, zero: 0 };
            planner.plan(&Layout { mesh, micro_batch, checkpointing }).bytes.activations
        };
        let here = kept(micro, tensor_log, false);
        prop_assert!(kept(micro, tensor_log, true) < here);
        prop_assert!(kept(micro, tensor_log + 1, false) < here);
        prop_assert!(kept(micro + 1, tensor_log, false) > here);
    }
}
