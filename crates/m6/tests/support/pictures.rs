//! A folder with a small VQGAN and what draws with it, shared by the tests of drawing.

use super::{last_json, run, sets, stdout_of};
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use std::sync::OnceLock;

/// 32 pixels as 8 x 8 codes.
pub const VQGAN: [&str; 9] = [
    "vqgan.image_side=32",
    "vqgan.ch=8",
    "vqgan.ch_mult=[1,1,2]",
    "vqgan.norm_groups=4",
    "vqgan.codebook_size=32",
    "train.steps=4",
    "train.rows_per_batch=4",
    "train.warmup_steps=1",
    "adversary.disc_ch=8",
];
/// Records of the sample world at 32 pixels.
pub const DATA: [&str; 5] = [
    "data.sources.world.n=60",
    "data.sources.world.held_out=0.2",
    "data.image_side=32",
    "data.grid=4",
    "data.sources.world.tasks={text_to_image=2.0, masked_image=1.0, codes_to_text=1.0}",
];
/// A model of one small layer.
pub const MODEL: [&str; 9] = [
    "model.patches.image_side=32",
    "model.patches.grid=4",
    "model.n_layers=1",
    "model.d_model=32",
    "model.patches.widths=[8,8,8]",
    "model.patches.blocks=[0,0,0]",
    "train.steps=4",
    "train.warmup_steps=1",
    "train.sample_every=0",
];

/// Folders under one root that goes when the tests end.
pub struct World {
    folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("UTF-8").to_string()
    }
}

/// Runs the binary with settings behind its words.
pub fn m6(args: &[&str], settings: &[&[&str]]) -> Output {
    let settings: Vec<&str> = settings.concat();
    let mut all = args.to_vec();
    all.extend(sets(&settings));
    run(&all)
}

/// A trained VQGAN and a model that draws with it; trained too little to draw anything, which these tests do not ask.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let world = World::new();
        let [pictures, vqgan, data, model] =
            ["pictures", "vqgan", "data", "model"].map(|n| world.path(n));
        stdout_of(&m6(
            &["prepare", "m6-nano", "--out", &pictures, "-q"],
            &[&DATA],
        ));
        let args = [
            "vqgan", "train", "vqgan-64", "--data", &pictures, "--out", &vqgan, "-q", "--json",
        ];
        let done = last_json(&m6(&args, &[&VQGAN]));
        assert!(
            done["eval"]["psnr"].as_f64().is_some_and(|v| v > 0.0),
            "{done}"
        );
        assert!(Path::new(&vqgan).join("samples").is_dir());
        let codes = format!("data.codes.vqgan={vqgan}");
        stdout_of(&m6(
            &["prepare", "m6-nano", "--out", &data, "-q"],
            &[&DATA, &[&codes]],
        ));
        let args = [
            "pretrain", "m6-nano", "--data", &data, "--out", &model, "-q", "--json",
        ];
        let done = last_json(&m6(&args, &[&DATA, &MODEL, &[&codes]]));
        for task in ["text_to_image", "masked_image", "codes_to_text"] {
            assert!(
                done["eval"][task].as_f64().is_some_and(f64::is_finite),
                "{done}"
            );
        }
        world
    })
}

/// Draws with the model of [`world`]; the lines that were printed.
pub fn draw(out: &str, more: &[&str]) -> Vec<Value> {
    let model = world().path("model");
    let mut args = vec![
        "generate", "image", "--model", &model, "--out", out, "--json",
    ];
    args.extend(more);
    let text = stdout_of(&run(&args));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}
