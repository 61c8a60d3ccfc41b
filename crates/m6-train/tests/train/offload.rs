//! Moments in a file between updates: nothing that is learned depends on it.

use crate::fixture::checkpoint;
use crate::ranks::{all_ok, bytes, numbers, run_model_on, train};
use m6_train::{OptimizerKind, ParallelConfig, TrainConfig};
use std::path::Path;

fn run(n: usize, dir: &Path, config: &TrainConfig, zero: u8, resume: bool) {
    let parallel = ParallelConfig {
        zero,
        exact: n > 1,
        ..ParallelConfig::default()
    };
    all_ok(run_model_on(None, n, dir, config, &parallel, resume));
}

#[test]
fn offloaded_moments_learn_and_save_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for optimizer in [
        OptimizerKind::AdamW,
        OptimizerKind::AdamW8,
        OptimizerKind::Muon,
        OptimizerKind::Adafactor,
    ] {
        let kept = TrainConfig {
            optimizer,
            ..train()
        };
        let offloaded = TrainConfig {
            offload_moments: true,
            ..kept.clone()
        };
        let [a, b] =
            ["kept", "offloaded"].map(|name| dir.path().join(format!("{name}-{optimizer:?}")));
        run(1, &a, &kept, 0, false);
        run(1, &b, &offloaded, 0, false);
        // On from the middle with the setting the other way round.
        std::fs::remove_dir_all(checkpoint(&b, 8)).unwrap();
        run(1, &b, &kept, 0, true);
        std::fs::remove_dir_all(checkpoint(&b, 8)).unwrap();
        run(1, &b, &offloaded, 0, true);
        assert_eq!(numbers(&a), numbers(&b), "{optimizer:?}");
        for file in ["model.safetensors", "optimizer.safetensors"] {
            assert!(
                bytes(&a, 8, file) == bytes(&b, 8, file),
                "{optimizer:?}: {file}"
            );
        }
        let names = std::fs::read_dir(&b)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names
            .filter(|name| name.to_string_lossy().contains("scratch"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn ranks_and_blocks_offload_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let offloaded = TrainConfig {
        offload_moments: true,
        ..train()
    };
    run(2, &path("kept"), &train(), 2, false);
    run(2, &path("offloaded"), &offloaded, 2, false);
    let same = |a: &str, b: &str| {
        assert_eq!(numbers(&path(a)), numbers(&path(b)));
        let file = "model.safetensors";
        assert!(bytes(&path(a), 8, file) == bytes(&path(b), 8, file));
    };
    same("kept", "offloaded");
    let blockwise = TrainConfig {
        blockwise: true,
        accum: 1,
        spike_factor: 0.0,
        optimizer: OptimizerKind::AdamW,
        ..train()
    };
    run(1, &path("blocks"), &blockwise, 0, false);
    let offloaded = TrainConfig {
        offload_moments: true,
        ..blockwise
    };
    run(1, &path("blocks offloaded"), &offloaded, 0, false);
    same("blocks", "blocks offloaded");
}
