//! Scoring captions: match ids, cut sentences, compute every metric.

use crate::bleu::{self, Totals};
use crate::cider::{CiderScores, Rarity};
use crate::diversity::distinct_n;
use crate::error::{Error, Result};
use crate::measured::{Measured, Reduce};
use crate::ngrams::{Counted, Sentences};
use crate::rouge::rouge_l;
use crate::segment::{Segment, Segmenter};
use m6_text::Tokenizer;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;
use serde_json::json;

/// Scores of one item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemScores {
    /// The item.
    pub id: String,
    /// BLEU-1 to BLEU-4 of this item alone, 0 to 1.
    pub bleu: [f64; 4],
    /// ROUGE-L, 0 to 1.
    pub rouge_l: f64,
    /// CIDEr, 0 to 10.
    pub cider: f64,
}

/// Scores of a set of captions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaptionScores {
    /// Number of items.
    pub n: usize,
    /// Corpus BLEU-1 to BLEU-4, 0 to 1.
    pub bleu: [f64; 4],
    /// Mean ROUGE-L, 0 to 1.
    pub rouge_l: f64,
    /// Mean CIDEr, 0 to 10.
    pub cider: f64,
    /// Of each item, in the order of the references.
    pub per_item: Vec<ItemScores>,
}

/// Scores one candidate per id against the references of that id, as pycocoevalcap does on the
/// segmented sentences.
///
/// Candidates may come in any order. An empty candidate is allowed and scores about 0; of several
/// references some may be empty, not all.
///
/// # Errors
/// Ids that occur twice, are missing on one side or have only empty references, each by name;
/// [`Error::NoTokenizer`], [`Error::NoItems`].
pub fn score_captions(
    refs: &[(String, Vec<String>)],
    cands: &[(String, String)],
    segment: Segment,
    tokenizer: Option<&Tokenizer>,
) -> Result<CaptionScores> {
    let (items, _) = segmented(refs, cands, segment, tokenizer)?;
    Ok(score_items(refs, &items))
}

/// The same scores as rows, with more: figures `bleu_1` to `bleu_4`, `rouge_l`, `cider` (that is CIDEr-D, with the rarity of n-grams fixed
/// by all references), `mean_length` in characters that are no blanks; and without interval `distinct_1` and `distinct_2` of the candidates' tokens.
///
/// # Errors
/// Those of [`score_captions`].
pub fn measure_captions(
    refs: &[(String, Vec<String>)],
    cands: &[(String, String)],
    segment: Segment,
    tokenizer: Option<&Tokenizer>,
) -> Result<Measured> {
    let (mut items, texts) = segmented(refs, cands, segment, tokenizer)?;
    let found = of_items(&items);
    let mut rows = Vec::with_capacity(items.len() * CAPTION_WIDTH);
    let mut per_item = Vec::with_capacity(items.len());
    for (i, (totals, rouge_l, cider)) in found.into_iter().enumerate() {
        let n_chars = texts[i].chars().filter(|c| !c.is_whitespace()).count();
        let row = totals.row();
        rows.extend([1.0, rouge_l, cider, n_chars as f64]);
        rows.extend(row);
        per_item.push(json!({
            "id": refs[i].0, "bleu": Totals::score_of(&row), "rouge_l": rouge_l, "cider": cider,
        }));
    }
    let candidates: Vec<Vec<u32>> = (items.iter_mut())
        .map(|item| std::mem::take(&mut item.candidate))
        .collect();
    let distinct = |n: usize| Ok((format!("distinct_{n}"), distinct_n(&candidates, n)?));
    let names = [
        "bleu_1",
        "bleu_2",
        "bleu_3",
        "bleu_4",
        "rouge_l",
        "cider",
        "mean_length",
    ];
    Ok(Measured {
        names: names.map(str::to_owned).to_vec(),
        fixed: vec![distinct(1)?, distinct(2)?],
        per_item,
        ids: refs.iter().map(|(id, _)| id.clone()).collect(),
        width: CAPTION_WIDTH,
        rows,
        reduce: Reduce::Sums(Box::new(|sums| {
            let [b1, b2, b3, b4] = Totals::score_of(&sums[4..]);
            let n = sums[0];
            vec![b1, b2, b3, b4, sums[1] / n, sums[2] / n, sums[3] / n]
        })),
    })
}

/// Number of items, ROUGE-L, CIDEr, characters, and what BLEU needs.
const CAPTION_WIDTH: usize = 4 + Totals::WIDTH;

/// Items as token numbers, with the candidates' texts, in the order of the references.
fn segmented<'a>(
    refs: &[(String, Vec<String>)],
    cands: &'a [(String, String)],
    segment: Segment,
    tokenizer: Option<&Tokenizer>,
) -> Result<(Vec<Sentences>, Vec<&'a str>)> {
    let mut segmenter = Segmenter::new(segment, tokenizer)?;
    let matched = match_ids(refs, cands)?;
    let mut items = Vec::with_capacity(refs.len());
    for ((id, references), candidate) in refs.iter().zip(&matched) {
        let item = Sentences {
            candidate: segmenter.tokens(candidate),
            references: references.iter().map(|r| segmenter.tokens(r)).collect(),
        };
        if item.references.iter().all(Vec::is_empty) {
            return Err(Error::EmptyReferences { id: id.clone() });
        }
        items.push(item);
    }
    Ok((items, matched))
}

/// What BLEU needs, ROUGE-L and CIDEr of every item; its n-grams are counted once for all and not kept.
fn of_items(items: &[Sentences]) -> Vec<(Totals, f64, f64)> {
    let rarity = Rarity::of(items);
    let of = |item: &Sentences| {
        let counted = Counted::of(item);
        let totals = bleu::totals(item, &counted);
        (totals, rouge_l(item), rarity.score(&counted))
    };
    items.par_iter().map(of).collect()
}

fn score_items(refs: &[(String, Vec<String>)], items: &[Sentences]) -> CaptionScores {
    let found = of_items(items);
    let totals: Vec<Totals> = found.iter().map(|(totals, ..)| *totals).collect();
    let bleu = bleu::of_totals(&totals);
    let rouge: Vec<f64> = found.iter().map(|(_, rouge, _)| *rouge).collect();
    let cider = CiderScores::of(found.iter().map(|(.., cider)| *cider).collect());
    let per_item = refs
        .iter()
        .enumerate()
        .map(|(i, (id, _))| ItemScores {
            id: id.clone(),
            bleu: bleu.per_item[i],
            rouge_l: rouge[i],
            cider: cider.per_item[i],
        })
        .collect();
    CaptionScores {
        n: items.len(),
        bleu: bleu.corpus,
        rouge_l: rouge.iter().sum::<f64>() / items.len().max(1) as f64,
        cider: cider.mean,
        per_item,
    }
}

/// The candidate of every id that has references, in their order.
fn match_ids<'a>(
    refs: &[(String, Vec<String>)],
    cands: &'a [(String, String)],
) -> Result<Vec<&'a str>> {
    if refs.is_empty() {
        return Err(Error::NoItems);
    }
    let duplicate = |what, id: &str| Error::DuplicateId {
        what,
        id: id.to_owned(),
    };
    let mut known = FxHashSet::default();
    for (id, _) in refs {
        if !known.insert(id.as_str()) {
            return Err(duplicate("references", id));
        }
    }
    let mut by_id: FxHashMap<&str, &str> = FxHashMap::default();
    for (id, sentence) in cands {
        if !known.contains(id.as_str()) {
            return Err(Error::UnknownCandidate { id: id.clone() });
        }
        if by_id.insert(id, sentence).is_some() {
            return Err(duplicate("candidates", id));
        }
    }
    let mut missing = refs
        .iter()
        .filter(|(id, _)| !by_id.contains_key(id.as_str()));
    if let Some((id, _)) = missing.next() {
        return Err(Error::MissingCandidate {
            id: id.clone(),
            n_missing: 1 + missing.count(),
            n_items: refs.len(),
        });
    }
    let found = refs.iter().filter_map(|(id, _)| by_id.get(id.as_str()));
    Ok(found.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(list: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let owned = |x: &[&str]| x.iter().map(|s| (*s).to_owned()).collect();
        list.iter()
            .map(|(id, r)| ((*id).to_owned(), owned(r)))
            .collect()
    }

    fn cands(list: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        list.iter().map(owned).collect()
    }

    fn fault(r: &[(&str, &[&str])], c: &[(&str, &str)]) -> String {
        let result = score_captions(&refs(r), &cands(c), Segment::Char, None);
        result.expect_err("should be refused").to_string()
    }

    #[test]
    fn faults_name_the_id() {
        assert!(fault(&[("a", &["狗"]), ("b", &["猫"])], &[("a", "狗")]).contains("\"b\""));
        assert!(fault(&[("a", &["狗"]), ("a", &["猫"])], &[("a", "狗")]).contains("\"a\""));
        assert!(fault(&[("a", &["狗"])], &[("a", "狗"), ("a", "猫")]).contains("candidates"));
        assert!(fault(&[("a", &["狗"])], &[("a", "狗"), ("c", "猫")]).contains("\"c\""));
        assert!(fault(&[("a", &[])], &[("a", "狗")]).contains("\"a\""));
        assert!(fault(&[("a", &["！", ""])], &[("a", "狗")]).contains("\"a\""));
        assert!(fault(&[], &[]).contains("no item"));
    }

    #[test]
    fn rows_give_the_same_scores_and_how_varied_the_words_are() {
        let refs = refs(&[("b", &["红色的花", "一朵花"]), ("a", &["两只小狗"])]);
        let cands = cands(&[("a", "两只 狗狗"), ("b", "红花")]);
        let scores = score_captions(&refs, &cands, Segment::Char, None).unwrap();
        let measured = measure_captions(&refs, &cands, Segment::Char, None).unwrap();
        let figures = measured.figures();
        assert_eq!(figures[..4], scores.bleu);
        assert_eq!(figures[4..], [scores.rouge_l, scores.cider, 3.0]);
        assert_eq!(measured.fixed[0], ("distinct_1".to_owned(), 5.0 / 6.0));
        for (row, item) in measured.per_item.iter().zip(&scores.per_item) {
            assert_eq!(*row, serde_json::to_value(item).unwrap());
        }
    }

    #[test]
    fn candidates_are_found_by_id_and_order_is_kept() {
        let refs = refs(&[("b", &["红色的花"]), ("a", &["两只小狗"])]);
        let one = score_captions(
            &refs,
            &cands(&[("a", "两只小狗"), ("b", "草")]),
            Segment::Char,
            None,
        );
        let two = score_captions(
            &refs,
            &cands(&[("b", "草"), ("a", "两只小狗。")]),
            Segment::Char,
            None,
        );
        let one = one.unwrap();
        assert_eq!(one.per_item[0].id, "b");
        assert!(one.per_item[1].cider > 9.99);
        assert_eq!(one, two.unwrap());
    }
}
