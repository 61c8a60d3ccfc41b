//! `m6 eval retrieval`: texts to pictures and back by the vectors of the contrastive head, then the first ones again by another judge.

use super::common as shared;
use super::eval_items::{self, Item, PairArgs};
use super::eval_match::{figures, write_both};
use super::eval_rerank::{self, Judge, Kind};
use crate::cli::Common;
use crate::error::{OrFail, Result};
use crate::out::Terminal;
use clap::Args;
use clap::builder::TypedValueParser;
use m6_train::LoadedModel;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Ids of a line of predictions, from the best on.
const N_WRITTEN: usize = 100;
/// Ranks of recall.
const CUTS: [usize; 3] = [1, 5, 10];

/// `m6 eval retrieval`.
#[derive(Args, Debug, Clone)]
pub struct EvalRetrievalArgs {
    /// Run, checkpoint or exported model with a contrastive head.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// What is read.
    #[command(flatten)]
    pub pairs: PairArgs,
    /// The first K of every ranking are ranked again by --captioner, or by the match head where the model or --matcher has one; 0 leaves
    /// them.
    #[arg(long, default_value_t = 10, value_name = "K")]
    pub rerank: usize,
    /// Another model whose match head ranks again; --model by default.
    #[arg(long, value_name = "DIR")]
    pub matcher: Option<PathBuf>,
    /// A model of captions that ranks again: by how much likelier a text is for the picture than for others.
    #[arg(long, value_name = "DIR", conflicts_with = "matcher")]
    pub captioner: Option<PathBuf>,
    /// Writes the first 100 of every ranking, a line each, as `m6 score retrieval` reads candidates; the truth goes to FILE with
    /// `.truth.jsonl` behind its name. Ids of texts are those of their records with `#` and a number.
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,
    /// Pictures, texts or pairs read in one pass.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096).map(|n| n as usize))]
    pub batch: usize,
}

/// What is ranked: pictures and texts with the record of each.
struct Pool<'a> {
    items: &'a [Item],
    /// Record and number of every text.
    texts: Vec<(usize, usize)>,
}

/// For each query the candidates from the best on.
type Rankings = Vec<Vec<usize>>;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    TextToImage,
    ImageToText,
}

impl Way {
    const ALL: [Way; 2] = [Way::TextToImage, Way::ImageToText];

    fn name(self) -> &'static str {
        match self {
            Way::TextToImage => "text_to_image",
            Way::ImageToText => "image_to_text",
        }
    }
}

/// Runs the verb.
pub fn run(args: &EvalRetrievalArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let loaded = shared::load_model(&args.model, terminal)?;
    loaded.model.embed_texts(&[], 0).or_usage()?;
    let captioner = eval_rerank::load(args.captioner.as_deref(), terminal)?;
    let matcher = eval_rerank::load(args.matcher.as_deref(), terminal)?;
    if let Some(matcher) = &matcher {
        matcher.model.match_scores(&[], 0).or_usage()?;
    }
    let items = eval_items::read(&args.pairs, common, &loaded, terminal)?;
    let pool = Pool::new(&items);
    if common.dry_run {
        terminal.say(&format!(
            "would rank {} pictures and {} texts",
            items.len(),
            pool.texts.len()
        ));
        return Ok(());
    }
    let similar = pool.similarities(&loaded, args.batch, terminal)?;
    let ranked = Way::ALL.map(|way| pool.ranked(way, &similar));
    let mut scores = both(&pool, &ranked, 0)?;
    let mut last = ranked;
    let own = loaded.model.config().heads.matching.then_some(&loaded);
    let judge = match (&captioner, matcher.as_ref().or(own)) {
        (Some(model), _) => Some((Kind::Likelihood, model)),
        (None, Some(model)) => Some((Kind::Match, model)),
        (None, None) => None,
    };
    if let (Some((kind, model)), true) = (judge, args.rerank > 0) {
        let judge = Judge::new(kind, model, &args.pairs, common, terminal)?;
        for (way, rankings) in Way::ALL.into_iter().zip(&mut last) {
            let pair = |query, candidate| pool.pair(way, query, candidate);
            judge.rerank(rankings, &pair, args.rerank, args.batch, terminal)?;
        }
        scores.insert("reranked".into(), Value::Object(both(&pool, &last, 0)?));
    }
    if let Some(path) = &args.predictions {
        write_both(path, pool.lines_of_both(&last))?;
    }
    let control = json!({
        "chance": pool.chance(),
        // The pictures of the next records in place of their own.
        "shuffled": both(&pool, &last, 1)?,
    });
    let row = json!({
        "task": "retrieval", "n": items.len(), "n_texts": pool.texts.len(),
        "scores": scores, "control": control,
    });
    report(&row, terminal);
    Ok(())
}

/// Figures of both ways and the mean of their recalls; `shift` records on counts as right.
fn both(pool: &Pool, ranked: &[Rankings; 2], shift: usize) -> Result<Map<String, Value>> {
    let mut out = Map::new();
    let mut mean = 0.0;
    for (way, rankings) in Way::ALL.into_iter().zip(ranked) {
        let [truth, said] = pool.lines(way, rankings, shift, usize::MAX);
        let measured = m6_eval::measure_retrieval(truth.as_bytes(), said.as_bytes()).or_data()?;
        let figures = figures(&measured);
        mean += figures["mean_recall"].as_f64().unwrap_or(f64::NAN) / 2.0;
        out.insert(way.name().into(), Value::Object(figures));
    }
    out.insert("mean_recall".into(), json!(mean));
    Ok(out)
}

impl<'a> Pool<'a> {
    fn new(items: &'a [Item]) -> Self {
        let texts = items.iter().enumerate();
        let texts = texts.flat_map(|(i, item)| (0..item.texts.len()).map(move |k| (i, k)));
        Self {
            items,
            texts: texts.collect(),
        }
    }

    /// Cosines `[n texts, n pictures]`.
    fn similarities(
        &self,
        loaded: &LoadedModel,
        batch: usize,
        terminal: &Terminal,
    ) -> Result<Vec<Vec<f32>>> {
        let begin = loaded.tokenizer.special().cls;
        let e = loaded.model.config().heads.contrastive;
        let n_all = (self.items.len() + self.texts.len()) as u64;
        let mut bar = terminal.progress(n_all, "embed");
        let (mut pictures, mut texts) = (Vec::new(), Vec::new());
        for chunk in self.items.chunks(batch) {
            let chunk: Vec<&[u8]> = chunk.iter().map(|item| item.picture.as_slice()).collect();
            pictures.extend(loaded.model.embed_pictures(&chunk, begin).or_usage()?);
            bar.at((pictures.len() / e) as u64, "");
        }
        for chunk in self.texts.chunks(batch) {
            let chunk: Vec<&[u32]> = chunk
                .iter()
                .map(|(i, k)| self.items[*i].texts[*k].as_slice())
                .collect();
            texts.extend(loaded.model.embed_texts(&chunk, begin).or_usage()?);
            bar.at((self.items.len() + texts.len() / e) as u64, "");
        }
        bar.finish();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let row = |text: &[f32]| pictures.chunks_exact(e).map(|p| dot(text, p)).collect();
        Ok(texts.chunks_exact(e).map(row).collect())
    }

    /// Queries and candidates of one way.
    fn sizes(&self, way: Way) -> (usize, usize) {
        match way {
            Way::TextToImage => (self.texts.len(), self.items.len()),
            Way::ImageToText => (self.items.len(), self.texts.len()),
        }
    }

    fn ranked(&self, way: Way, similar: &[Vec<f32>]) -> Rankings {
        let (n_queries, n_candidates) = self.sizes(way);
        let score = |query: usize, candidate: usize| match way {
            Way::TextToImage => similar[query][candidate],
            Way::ImageToText => similar[candidate][query],
        };
        let rank = |query| {
            let mut order: Vec<usize> = (0..n_candidates).collect();
            order.sort_by(|a, b| score(query, *b).total_cmp(&score(query, *a)));
            order
        };
        (0..n_queries).map(rank).collect()
    }

    /// Picture and text of a query and a candidate.
    fn pair(&self, way: Way, query: usize, candidate: usize) -> (usize, (usize, usize)) {
        match way {
            Way::TextToImage => (candidate, self.texts[query]),
            Way::ImageToText => (query, self.texts[candidate]),
        }
    }

    fn text_id(&self, text: usize) -> String {
        let (record, k) = self.texts[text];
        format!("{}#{k}", self.items[record].id)
    }

    /// Lines of truth and of rankings, at most `most` ids each; the record `shift` further on counts as the right one.
    fn lines(&self, way: Way, rankings: &[Vec<usize>], shift: usize, most: usize) -> [String; 2] {
        let n = self.items.len();
        let texts_of = |record: usize| -> Vec<String> {
            let texts = self.texts.iter().enumerate();
            let own = texts.filter(|(_, (of, _))| *of == record);
            own.map(|(text, _)| self.text_id(text)).collect()
        };
        let (mut truth, mut said) = (String::new(), String::new());
        for (query, ranking) in rankings.iter().enumerate() {
            let shown = ranking.iter().take(most);
            let (id, relevant, ranked): (String, Vec<String>, Vec<String>) = match way {
                Way::TextToImage => (
                    self.text_id(query),
                    vec![self.items[(self.texts[query].0 + shift) % n].id.clone()],
                    shown.map(|c| self.items[*c].id.clone()).collect(),
                ),
                Way::ImageToText => (
                    self.items[query].id.clone(),
                    texts_of((query + shift) % n),
                    shown.map(|c| self.text_id(*c)).collect(),
                ),
            };
            truth.push_str(&format!("{}\n", json!({"id": id, "relevant": relevant})));
            said.push_str(&format!("{}\n", json!({"id": id, "ranked": ranked})));
        }
        [truth, said]
    }

    fn lines_of_both(&self, ranked: &[Rankings; 2]) -> [String; 2] {
        let [a, b] = Way::ALL.map(|way| {
            let rankings = &ranked[usize::from(way == Way::ImageToText)];
            self.lines(way, rankings, 0, N_WRITTEN)
        });
        let ([a_truth, a_said], [b_truth, b_said]) = (a, b);
        [a_truth + &b_truth, a_said + &b_said]
    }

    /// Recall of a random order, by arithmetic: one right picture among all, some right texts among all.
    fn chance(&self) -> Value {
        let (n, m) = (self.items.len(), self.texts.len());
        let miss = |right: usize, cut: usize| -> f64 {
            let left = |i: usize| (m - right).saturating_sub(i) as f64 / (m - i) as f64;
            (0..cut.min(m)).map(left).product()
        };
        let to_text = |cut: usize| {
            let items = self.items.iter();
            let found = items.map(|item| 1.0 - miss(item.texts.len(), cut));
            found.sum::<f64>() / n as f64
        };
        let to_image = |cut: usize| cut.min(n) as f64 / n as f64;
        let row = |recall: &dyn Fn(usize) -> f64| {
            let [one, five, ten] = CUTS.map(recall);
            json!({"r@1": one, "r@5": five, "r@10": ten, "mean_recall": (one + five + ten) / 3.0})
        };
        json!({"text_to_image": row(&to_image), "image_to_text": row(&to_text)})
    }
}

fn report(row: &Value, terminal: &Terminal) {
    if terminal.json() {
        terminal.object(row);
        return;
    }
    terminal.data(&format!(
        "{} pictures, {} texts\n{:26} {:>7} {:>7} {:>7} {:>7}\n",
        row["n"], row["n_texts"], "", "R@1", "R@5", "R@10", "median"
    ));
    for (name, part) in [
        ("by vectors", &row["scores"]),
        ("reranked", &row["scores"]["reranked"]),
        ("shuffled", &row["control"]["shuffled"]),
        ("chance", &row["control"]["chance"]),
    ] {
        for (way, label) in [
            ("text_to_image", "text -> picture"),
            ("image_to_text", "picture -> text"),
        ] {
            let figures = &part[way];
            if figures.is_null() {
                continue;
            }
            let share = |key: &str| {
                let value = figures[key].as_f64();
                value.map_or(String::new(), |v| format!("{:.1}%", 100.0 * v))
            };
            let median = figures["median_rank"].as_f64();
            let median = median.map_or(String::new(), |v| format!("{v:.1}"));
            terminal.data(&format!(
                "{name:10} {label:15} {:>7} {:>7} {:>7} {median:>7}\n",
                share("r@1"),
                share("r@5"),
                share("r@10")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(texts: &[usize]) -> Vec<Item> {
        let item = |(i, n): (usize, &usize)| Item {
            id: i.to_string(),
            picture: Vec::new(),
            texts: (0..*n).map(|k| vec![k as u32]).collect(),
        };
        texts.iter().enumerate().map(item).collect()
    }

    #[test]
    fn both_ways_count_the_first_right_one_and_the_shift_is_a_control() {
        let items = items(&[2, 1, 1]);
        let pool = Pool::new(&items);
        // The second text of record 0 is nearer to the picture of record 1.
        let similar = [
            [0.9, 0.1, 0.0],
            [0.2, 0.5, 0.1],
            [0.1, 0.8, 0.2],
            [0.0, 0.3, 0.7],
        ];
        let similar: Vec<Vec<f32>> = similar.iter().map(|row| row.to_vec()).collect();
        let ranked = Way::ALL.map(|way| pool.ranked(way, &similar));
        let scores = both(&pool, &ranked, 0).expect("measured");
        assert_eq!(scores["text_to_image"]["r@1"], 0.75);
        assert_eq!(scores["text_to_image"]["r@5"], 1.0);
        assert_eq!(scores["image_to_text"]["r@1"], 1.0);
        let shuffled = both(&pool, &ranked, 1).expect("measured");
        assert_eq!(shuffled["text_to_image"]["r@1"], 0.25);
        let [truth, said] = pool.lines_of_both(&ranked);
        assert_eq!((truth.lines().count(), said.lines().count()), (7, 7));
        assert!(m6_eval::measure_retrieval(truth.as_bytes(), said.as_bytes()).is_ok());
    }

    #[test]
    fn chance_is_reckoned_by_hand() {
        let items = items(&[5; 20]);
        let chance = Pool::new(&items).chance();
        assert_eq!(chance["text_to_image"]["r@5"], 0.25);
        let one = chance["image_to_text"]["r@1"].as_f64().expect("a number");
        assert!((one - 0.05).abs() < 1e-12);
        let five = chance["image_to_text"]["r@5"].as_f64().expect("a number");
        let miss = 95.0 * 94.0 * 93.0 * 92.0 * 91.0 / (100.0 * 99.0 * 98.0 * 97.0 * 96.0);
        assert!((five - (1.0 - miss)).abs() < 1e-12);
    }
}
