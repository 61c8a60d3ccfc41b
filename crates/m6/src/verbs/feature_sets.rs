//! `m6 eval image --real`: how far drawn pictures lie from real ones, by the features of a network that is always named.

use super::common as shared;
use crate::cli::EvalImageArgs;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use m6_eval::{Features, Gaussian, frechet_distance, manifold_scores};
use m6_image::{Fit, Limits, Rgb8};
use m6_model::Model;
use m6_model::features::Inception;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Neighbours that a ball of the manifold reaches to (Kynkaanniemi and others 2019).
const NEAREST: usize = 3;

/// The sheet of all pictures that lies beside them in a folder of ours, and the files by which such a folder is known.
const SHEET: (&str, [&str; 2]) = ("grid.png", ["prompts.jsonl", "pictures.jsonl"]);

/// What gives the features, with the pictures to compare with.
pub struct Measure {
    network: Network,
    real: PathBuf,
}

enum Network {
    Inception(Box<Inception>),
    /// The patch network of a model, and the path it was given by.
    Patches(Box<Model>, PathBuf),
}

impl Measure {
    /// The network of `--features`, or else that of `--model`; `None` without `--real`.
    pub fn open(args: &EvalImageArgs, terminal: &Terminal) -> Result<Option<Self>> {
        let Some(real) = &args.real else {
            return Ok(None);
        };
        let Some(path) = args.features.as_ref().or(args.model.as_ref()) else {
            return Err(
                Failure::usage("--real needs a network that gives features").hint(
                    "--features RUN for its patch network, or --features inception.safetensors",
                ),
            );
        };
        let network = if path.is_file() {
            let bytes = std::fs::read(path)
                .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?;
            let inception = Inception::load(&bytes)
                .map_err(|e| Failure::data(format!("{}: {e}", path.display())))?;
            Network::Inception(Box::new(inception))
        } else {
            let model = shared::load_model(path, terminal)?.model;
            Network::Patches(Box::new(model), path.clone())
        };
        Ok(Some(Self {
            network,
            real: real.clone(),
        }))
    }

    /// The figures of pictures, as `--json` has them.
    pub fn of_pictures(&self, drawn: &[Rgb8], terminal: &Terminal) -> Result<Map<String, Value>> {
        let mut bar = terminal.progress(drawn.len() as u64, "drawn");
        let mut found = Vec::new();
        for (i, picture) in drawn.iter().enumerate() {
            found.extend(self.network.features(picture)?);
            bar.at(i as u64 + 1, "");
        }
        bar.finish();
        self.compare(&found, drawn.len(), terminal)
    }

    /// The figures of the pictures of a folder.
    pub fn of_folder(&self, drawn: &Path, terminal: &Terminal) -> Result<Map<String, Value>> {
        let (found, n) = self.network.of_folder(drawn, "drawn", terminal)?;
        self.compare(&found, n, terminal)
    }

    fn compare(&self, drawn: &[f32], n: usize, terminal: &Terminal) -> Result<Map<String, Value>> {
        let (real, n_real) = self.network.of_folder(&self.real, "real", terminal)?;
        let features = |values: &[f32], n: usize| {
            let d = values.len().checked_div(n).unwrap_or(0);
            Features::new(values, d).or_data()
        };
        let (real, drawn) = (features(&real, n_real)?, features(drawn, n)?);
        if n.min(n_real) <= real.d() {
            terminal.say(&format!(
                "note: {n} and {n_real} pictures for features of {} dimensions; the Frechet distance of so few is far above that of many, \
                 and only sets of one size compare",
                real.d()
            ));
        }
        let gaussian = |features| Gaussian::new(features).or_usage();
        let distance = frechet_distance(&gaussian(&real)?, &gaussian(&drawn)?).or_usage()?;
        let scores = manifold_scores(&real, &drawn, NEAREST).or_usage()?;
        let (key, name) = self.network.names();
        let figure = json!({"features": name, "value": distance, "n": n, "n_real": n_real});
        Ok(Map::from_iter([
            (key.to_owned(), figure),
            ("precision".to_owned(), json!(scores.precision)),
            ("recall".to_owned(), json!(scores.recall)),
            ("density".to_owned(), json!(scores.density)),
            ("coverage".to_owned(), json!(scores.coverage)),
        ]))
    }
}

impl Network {
    /// Key of the distance in `--json`, and what gave the features: only Inception's is a FID.
    fn names(&self) -> (&'static str, String) {
        match self {
            Self::Inception(_) => ("fid", "inception".into()),
            Self::Patches(_, path) => (
                "frechet_distance",
                format!("patch network of {} (not Inception)", path.display()),
            ),
        }
    }

    fn features(&self, picture: &Rgb8) -> Result<Vec<f32>> {
        let found = match self {
            Self::Inception(network) => {
                let chw = m6_image::to_chw(picture);
                network.features(picture.height, picture.width, &chw)
            }
            Self::Patches(model, _) => {
                let side = model.config().patches.image_side;
                let scaled = m6_image::resize_square(picture, side, Fit::Stretch);
                model.picture_features(&m6_image::to_chw(&scaled))
            }
        };
        found.or_usage()
    }

    /// Features of every picture of a folder in order of name, and how many there are.
    fn of_folder(
        &self,
        dir: &Path,
        what: &'static str,
        terminal: &Terminal,
    ) -> Result<(Vec<f32>, usize)> {
        let mut paths = shared::picture_files(dir)?;
        let (sheet, ours) = SHEET;
        if ours.iter().any(|name| dir.join(name).is_file()) {
            paths.retain(|path| path.file_name().is_none_or(|name| name != sheet));
        }
        if paths.is_empty() {
            return Err(Failure::usage(format!("no picture in {}", dir.display())));
        }
        let mut bar = terminal.progress(paths.len() as u64, what);
        let mut found = Vec::new();
        for (i, path) in paths.iter().enumerate() {
            let bytes = std::fs::read(path)
                .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?;
            let picture = m6_image::decode(&bytes, &Limits::default())
                .map_err(|e| Failure::data(format!("{}: {e}", path.display())))?;
            found.extend(self.features(&picture)?);
            bar.at(i as u64 + 1, "");
        }
        bar.finish();
        Ok((found, paths.len()))
    }
}

/// The figures as text, one a line.
pub fn lines(figures: &Map<String, Value>) -> String {
    let mut out = String::new();
    for (name, figure) in figures {
        let line = match figure.get("features").and_then(Value::as_str) {
            Some(features) => format!(
                "{name} {:.4}, features: {features}, {} drawn and {} real pictures\n",
                figure["value"].as_f64().unwrap_or(f64::NAN),
                figure["n"],
                figure["n_real"]
            ),
            None => format!("{name:10} {:.4}\n", figure.as_f64().unwrap_or(f64::NAN)),
        };
        out.push_str(&line);
    }
    out
}
