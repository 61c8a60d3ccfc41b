//! `m6 vqgan train|reconstruct|encode`.

use super::common as shared;
use super::pretrain::{Job, outcome_json};
use crate::cli::{Common, OutDir, PictureArgs, PretrainArgs, VqganVerb};
use crate::config;
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::{self, Progress, Terminal};
use m6_image::{Fit, Rgb8};
use m6_model::vqgan::Perceptual;
use m6_store::atomic::{AppendLog, DirCommit, write_file};
use m6_train::vqgan::{LoadedVqgan, VqganSpec};
use m6_train::{Observer, Outcome, StepReport};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Pictures in a row of a grid, and the gap between them in pixels.
const GRID: (usize, usize) = (16, 2);

/// Runs the verb.
pub fn run(verb: &VqganVerb, common: &Common, terminal: &Terminal) -> Result<()> {
    match verb {
        VqganVerb::Train(args) => train(args, common, terminal),
        VqganVerb::Reconstruct {
            model,
            pictures,
            out,
        } => reconstruct(model, pictures, out, common, terminal),
        VqganVerb::Encode { model, pictures } => encode(model, pictures, terminal),
    }
}

fn train(args: &PretrainArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let mut loaded = config::load(&args.config, &common.set)?;
    if let Some(seed) = common.seed {
        loaded.config.train.seed = seed;
    }
    loaded.resolved = toml::to_string(&loaded.config).or_usage()?;
    let config = &loaded.config;
    if !args.data.join(m6_data::MANIFEST_FILE).is_file() {
        let text = format!("there is no prepared data in {}", args.data.display());
        return Err(Failure::usage(text).hint("m6 prepare CONFIG --out DIR makes it"));
    }
    if common.dry_run {
        shared::check_out(&args.out.out, args.resume || args.out.overwrite)?;
        let vqgan = &config.vqgan;
        terminal.say(&format!(
            "would train a VQGAN of {} x {} pixels in {} codes for {} steps",
            vqgan.image_side,
            vqgan.image_side,
            vqgan.n_codes(),
            config.train.steps
        ));
        return Ok(());
    }
    let job = Job {
        name: "vqgan",
        data: &args.data,
        out: &args.out.out,
        resume: args.resume,
        overwrite: args.out.overwrite,
        tasks: Default::default(),
        exam: None,
    };
    let outcome = train_in(&loaded, &job, &out::stop_flag(), terminal)?;
    if terminal.json() {
        terminal.object(&outcome_json(&outcome));
    }
    if outcome.interrupted {
        let text = format!("interrupted; {} is complete", outcome.checkpoint.display());
        return Err(Failure::new(Code::Interrupted, text)
            .hint("the same command with --resume goes on from there"));
    }
    terminal.say(&format!(
        "{} steps in {:.0} s, peak {:.0} MB; held-out pictures: {}; {}",
        outcome.steps,
        outcome.seconds,
        outcome.peak_rss_mb,
        figures(&outcome.eval),
        outcome.checkpoint.display()
    ));
    Ok(())
}

/// Trains; the run folder holds everything needed to go on.
pub fn train_in(
    loaded: &config::Loaded,
    job: &Job<'_>,
    stop: &AtomicBool,
    terminal: &Terminal,
) -> Result<Outcome> {
    let config = &loaded.config;
    let spec = VqganSpec {
        vqgan_cfg: &config.vqgan,
        adversary: &config.adversary,
        train_cfg: &config.train,
        data_dir: job.data,
        perceptual: perceptual(&config.adversary.perceptual, terminal)?,
        run_dir: job.out,
        resume: job.resume,
        overwrite: job.overwrite,
        stop,
        config_toml: &loaded.text,
        resolved_toml: &loaded.resolved,
    };
    let mut watcher = Watcher {
        terminal,
        bar: terminal.progress(config.train.steps, job.name),
        log: None,
        run: job.out.to_path_buf(),
    };
    let outcome = m6_train::vqgan::train_vqgan(spec, &mut watcher);
    watcher.bar.finish();
    outcome.map_err(failed)
}

fn failed(error: m6_train::Error) -> Failure {
    let code = shared::code_of(&error);
    Err::<(), _>(error).or_fail(code).expect_err("it is one")
}

fn figures(eval: &BTreeMap<String, f64>) -> String {
    let parts = eval
        .iter()
        .map(|(name, value)| format!("{name} {value:.3}"));
    parts.collect::<Vec<_>>().join(" ")
}

/// The network that compares features, and the hash of its weights.
fn perceptual(path: &str, terminal: &Terminal) -> Result<Option<(Perceptual, Value)>> {
    if path.is_empty() {
        return Ok(None);
    }
    let loaded = shared::load_model(Path::new(path), terminal)?;
    let hash = m6_store::hash::hash_bytes(&loaded.model.params().to_safetensors().or_usage()?);
    terminal.say(&format!(
        "features are compared by the patch network of {}",
        loaded.path.display()
    ));
    let network = Perceptual::new(loaded.model).or_usage()?;
    Ok(Some((network, json!({"patch_network": hash}))))
}

/// Loads a VQGAN and says which damaged checkpoints were passed over.
pub fn load(path: &Path, terminal: &Terminal) -> Result<LoadedVqgan> {
    let loaded = m6_train::vqgan::load_vqgan(path).map_err(failed)?;
    for warning in &loaded.warnings {
        terminal.say(&format!("warning: {warning}"));
    }
    Ok(loaded)
}

/// What identifies a VQGAN: the hash of its weights.
pub fn identity(loaded: &LoadedVqgan) -> Result<String> {
    let weights = loaded.vqgan.params().to_safetensors().or_usage()?;
    Ok(m6_store::hash::hash_bytes(&weights))
}

/// Codes of pictures of `side` pixels, scaled to so many times the model's side first.
pub fn codes(
    loaded: Option<&LoadedVqgan>,
    pixels: &[u8],
    side: usize,
    times: usize,
) -> std::result::Result<Vec<u16>, String> {
    let Some(vqgan) = loaded.map(|loaded| &loaded.vqgan) else {
        return Err("there is no VQGAN".into());
    };
    let own = vqgan.config().image_side * times;
    let scaled: Vec<u8>;
    let pixels = if own == side {
        pixels
    } else {
        let pictures = pixels.par_chunks(3 * side * side);
        let scaled_each = pictures.map(|picture| {
            let picture = Rgb8::from_chw(side, side, picture).map_err(|e| e.to_string())?;
            Ok(m6_image::to_chw(&m6_image::resize(&picture, own, own)))
        });
        scaled = scaled_each
            .collect::<std::result::Result<Vec<_>, String>>()?
            .concat();
        &scaled
    };
    let codes = vqgan.encode_at(pixels, own).map_err(|e| e.to_string())?;
    // A codebook has at most 2^16 entries, checked when it is loaded.
    Ok(codes.into_iter().map(|code| code as u16).collect())
}

fn load_pictures(loaded: &LoadedVqgan, args: &PictureArgs) -> Result<shared::Pictures> {
    let pictures = shared::pictures(args, loaded.vqgan.config().image_side, Fit::Stretch)?;
    if pictures.found.is_empty() {
        return Err(Failure::usage("no picture that could be read")
            .hint("--image FILE, --images DIR or --tar FILE.tar"));
    }
    Ok(pictures)
}

fn encode(model: &Path, args: &PictureArgs, terminal: &Terminal) -> Result<()> {
    let loaded = load(model, terminal)?;
    let pictures = load_pictures(&loaded, args)?;
    let config = loaded.vqgan.config();
    for picture in &pictures.found {
        let codes = loaded.vqgan.encode(&picture.chw).or_usage()?;
        if terminal.json() {
            let row = json!({"id": picture.id, "grid": config.code_grid(), "codes": codes});
            terminal.object(&row);
            continue;
        }
        terminal.data(&format!("{}\n", picture.id));
        for row in codes.chunks(config.code_grid()) {
            let row: Vec<String> = row.iter().map(|code| format!("{code:5}")).collect();
            terminal.data(&format!("{}\n", row.join(" ")));
        }
    }
    pictures.verdict()
}

fn reconstruct(
    model: &Path,
    args: &PictureArgs,
    out: &OutDir,
    common: &Common,
    terminal: &Terminal,
) -> Result<()> {
    shared::check_out(&out.out, out.overwrite)?;
    let loaded = load(model, terminal)?;
    let pictures = load_pictures(&loaded, args)?;
    if common.dry_run {
        terminal.say(&format!("would rebuild {} pictures", pictures.found.len()));
        return Ok(());
    }
    let side = loaded.vqgan.config().image_side;
    let originals: Vec<&[u8]> = pictures.found.iter().map(|p| p.chw.as_slice()).collect();
    let (figures, rebuilt) = m6_train::vqgan::rebuild(&loaded.vqgan, &originals).map_err(failed)?;
    let commit = match out.overwrite {
        true => DirCommit::begin_replacing(&out.out),
        false => DirCommit::begin(&out.out),
    };
    let commit = commit.or_usage()?;
    let put = |name: &str, bytes: &[u8]| shared::put(&commit, name, bytes);
    put("grid.png", &grid(side, &originals, &rebuilt)?)?;
    let mut taken = BTreeMap::new();
    for (picture, bytes) in pictures.found.iter().zip(&rebuilt) {
        let image = Rgb8::from_chw(side, side, bytes).or_usage()?;
        let png = m6_image::encode_png(&image, &[("Source", &picture.id)]).or_usage()?;
        put(
            &format!("pictures/{}.png", free_name(&picture.id, &mut taken)),
            &png,
        )?;
    }
    put(
        "figures.json",
        &serde_json::to_vec_pretty(&figures).or_usage()?,
    )?;
    commit.commit().or_usage()?;
    if terminal.json() {
        terminal.object(&figures);
    } else {
        terminal.data(&format!(
            "{} pictures: PSNR {:.2} dB, SSIM {:.3}, {:.1} % of the codebook, perplexity {:.0}\n",
            figures.n,
            figures.psnr,
            figures.ssim,
            100.0 * figures.codebook_usage,
            figures.perplexity
        ));
    }
    pictures.verdict()
}

/// A file name of an id that no picture before has: a second `a` becomes `a-2`.
fn free_name(id: &str, taken: &mut BTreeMap<String, usize>) -> String {
    let mut name = id.replace(['/', '\\'], "_");
    while let Some(n) = taken.get_mut(&name) {
        *n += 1;
        name = format!("{name}-{n}");
    }
    taken.insert(name.clone(), 1);
    name
}

/// Rows of pictures, each with its reconstructions below it, as PNG.
fn grid(side: usize, originals: &[&[u8]], rebuilt: &[Vec<u8>]) -> Result<Vec<u8>> {
    let columns = GRID.0.min(originals.len()).max(1);
    let picture = |bytes: &[u8]| Rgb8::from_chw(side, side, bytes).or_usage();
    let mut cells = Vec::new();
    for (above, below) in originals.chunks(columns).zip(rebuilt.chunks(columns)) {
        for bytes in above {
            cells.push(picture(bytes)?);
        }
        let blank = columns - above.len();
        cells.extend(vec![Rgb8::filled(side, side, [255; 3]); blank]);
        for bytes in below {
            cells.push(picture(bytes)?);
        }
        cells.extend(vec![Rgb8::filled(side, side, [255; 3]); blank]);
    }
    m6_image::encode_png(&m6_image::grid(&cells, columns, GRID.1), &[]).or_usage()
}

/// Draws progress, writes `samples/` and `log.txt`.
struct Watcher<'a> {
    terminal: &'a Terminal,
    bar: Progress,
    log: Option<AppendLog>,
    run: PathBuf,
}

impl Watcher<'_> {
    fn note(&mut self, text: &str) {
        if let Some(Err(error)) = self.log.as_mut().map(|log| log.line(text)) {
            self.bar.line(self.terminal, &format!("log.txt: {error}"));
            self.log = None;
        }
    }
}

impl Observer for Watcher<'_> {
    fn on_start(&mut self, step: u64, steps: u64) {
        self.bar.begin_at(step);
        self.log = AppendLog::open(&self.run.join("log.txt")).ok();
        let version = env!("CARGO_PKG_VERSION");
        self.note(&format!("m6 {version}, update {step} of {steps}"));
    }

    fn on_step(&mut self, report: &StepReport) {
        let part = |name: &str| report.losses.iter().find(|(n, _)| n == name);
        let part = |name: &str| part(name).map_or(String::new(), |(n, v)| format!(" {n} {v:.3}"));
        let text = format!(
            "loss {:.4}{}{}{} {:.0} codes/s",
            report.loss,
            part("l1"),
            part("adversary"),
            part("discriminator"),
            report.tokens_per_s
        );
        self.bar.at(report.step, &text);
    }

    fn on_eval(&mut self, step: u64, eval: &BTreeMap<String, f64>) {
        let line = format!("step {step} held-out {}", figures(eval));
        self.note(&line);
        self.bar.line(self.terminal, &line);
    }

    fn on_checkpoint(&mut self, step: u64, path: &Path) {
        self.note(&format!("step {step} committed {}", path.display()));
    }

    fn on_rebuilt(&mut self, step: u64, side: usize, pictures: &[&[u8]], rebuilt: &[Vec<u8>]) {
        let folder = self.run.join("samples");
        let path = folder.join(format!("step-{step:08}.png"));
        let written = grid(side, pictures, rebuilt).and_then(|png| {
            std::fs::create_dir_all(&folder).or_usage()?;
            write_file(&path, &png).or_usage()
        });
        if let Err(failure) = written {
            let text = format!("samples of step {step}: {}", failure.chain.join(": "));
            self.bar.line(self.terminal, &text);
        }
    }
}
