//! What ranks send in an update, counted, beside what the plan of the same run says.

use crate::fixture::{self, metrics};
use crate::ranks::{all_ok, train};
use m6_model::plan::{Hardware, Job, Layout, Mesh, Moments, Planner, Precision};
use m6_model::{ExpertsConfig, ModelConfig};
use m6_nn::Result;
use m6_nn::dist::{Communicator, Pending, threads};
use m6_train::{OptimizerKind, ParallelConfig, Silent, TrainConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes that leave a rank, whatever group they are for.
struct Counted {
    inner: Arc<dyn Communicator>,
    n_bytes: Arc<AtomicU64>,
}

impl Counted {
    fn count(&self, n_bytes: usize) {
        self.n_bytes.fetch_add(n_bytes as u64, Ordering::Relaxed);
    }
}

impl Communicator for Counted {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.count(mine.len() * (self.size() - 1));
        self.inner.all_gather(mine)
    }

    fn start_all_to_all(
        &self,
        send: Vec<f32>,
        send_counts: &[usize],
        recv_counts: &[usize],
    ) -> Result<Pending> {
        self.count(4 * (send.len() - send_counts[self.rank()]));
        self.inner.start_all_to_all(send, send_counts, recv_counts)
    }

    fn start_all_gather(&self, mine: Vec<f32>, counts: &[usize]) -> Result<Pending> {
        self.count(4 * mine.len() * (self.size() - 1));
        self.inner.start_all_gather(mine, counts)
    }

    fn split(&self, color: usize, key: usize) -> Result<Arc<dyn Communicator>> {
        Ok(Arc::new(Self {
            inner: self.inner.split(color, key)?,
            n_bytes: Arc::clone(&self.n_bytes),
        }))
    }

    fn abort(&self, code: i32) {
        self.inner.abort(code);
    }
}

/// Nothing is dropped, so that as many rows travel as there are tokens; no experts in the last block, which reads only the
/// rows that have a loss.
fn model() -> ModelConfig {
    ModelConfig {
        d_ff: 128,
        n_heads: 4,
        n_layers: 3,
        experts: ExpertsConfig {
            n_experts: 32,
            moe_every: 2,
            dropless: true,
            ..ExpertsConfig::default()
        },
        ..fixture::model_config(0.0)
    }
}

/// Bytes that a rank sends in an update, on average, and the tokens of an update: of the last twelve updates, since a run also says something
/// at its beginning and writes a checkpoint at its end.
fn counted(config: &TrainConfig, parallel: &ParallelConfig, n: usize) -> (f64, f64) {
    let run = |steps| {
        let config = TrainConfig {
            steps,
            ..config.clone()
        };
        all_of(&config, parallel, n)
    };
    let (short, long) = (run(4), run(16));
    ((long.0 - short.0) / 12.0, (long.1 - short.1) / 12.0)
}

/// Bytes that a rank sends in a run, on average, and the tokens of the run.
fn all_of(config: &TrainConfig, parallel: &ParallelConfig, n: usize) -> (f64, f64) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    let n_bytes = Arc::new(AtomicU64::new(0));
    let one = |inner: Arc<dyn Communicator>| {
        let comm: Arc<dyn Communicator> = Arc::new(Counted {
            inner,
            n_bytes: Arc::clone(&n_bytes),
        });
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        pool.unwrap().install(|| {
            let model = model();
            fixture::run_ranked(
                Some(&model),
                &dir,
                config,
                parallel,
                &comm,
                false,
                &mut Silent,
            )
        })
    };
    let outcomes = std::thread::scope(|scope| {
        let ranks: Vec<_> = threads::group(n)
            .into_iter()
            .map(|comm| scope.spawn(|| one(comm)))
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    all_ok(outcomes);
    let steps = metrics(&dir);
    let tokens = steps.last().unwrap()["tokens"].as_f64().unwrap();
    (n_bytes.load(Ordering::Relaxed) as f64 / n as f64, tokens)
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures of docs/scale.md")]
fn ranks_send_what_the_plan_says() {
    let config = TrainConfig {
        eval_every: 0,
        checkpoint_every: 0,
        optimizer: OptimizerKind::AdamW,
        ..train()
    };
    let meshes = [
        (2, 1, 1, 0, false),
        (4, 1, 1, 1, false),
        (2, 1, 1, 2, false),
        (4, 1, 1, 3, true),
        (2, 1, 2, 1, false),
        (4, 1, 2, 1, true),
        (4, 1, 2, 2, false),
        (4, 1, 2, 3, false),
        (4, 1, 4, 3, true),
        (2, 2, 1, 0, false),
        (4, 4, 1, 1, true),
        (4, 2, 1, 0, true),
        (4, 2, 2, 1, false),
        (4, 2, 2, 3, true),
    ];
    for (n, tensor, expert, zero, checkpointing) in meshes {
        let config = TrainConfig {
            activation_checkpointing: checkpointing,
            ..config.clone()
        };
        let parallel = ParallelConfig {
            tensor,
            expert,
            zero,
            ..ParallelConfig::default()
        };
        let (sent, tokens) = counted(&config, &parallel, n);
        let labels = fixture::labels(4 * config.rows_per_batch..16 * config.rows_per_batch) / 12.0;
        let planner = Planner::new(Job {
            model: model(),
            hardware: Hardware::named("cpu").unwrap(),
            precision: Precision::F32,
            half_gradients: false,
            moments: Moments::AdamW,
            blockwise: false,
            ema: false,
            positions: (tokens / config.accum as f64).round() as usize,
            targets: Some((labels / config.accum as f64).round() as usize),
            samples_per_step: config.accum,
            efficiency: 0.4,
        });
        let plan = planner.plan(&Layout {
            mesh: Mesh {
                data: n / tensor,
                expert,
                tensor,
                zero,
            },
            micro_batch: 1,
            checkpointing,
        });
        let planned: f64 = plan.comm_bytes().values().sum();
        let what = format!(
            "{n} ranks, tensor {tensor}, expert {expert}, ZeRO {zero}: {sent:.0} bytes of {planned:.0}"
        );
        eprintln!("{what}");
        assert!((sent / planned - 1.0).abs() < 0.05, "{what}");
    }
}
