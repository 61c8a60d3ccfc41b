//! Scoring captions: match ids, cut sentences, compute every metric.

use crate::bleu::bleu;
use crate::cider::cider;
use crate::error::{Error, Result};
use crate::ngrams::Sentences;
use crate::rouge::rouge_l;
use crate::segment::{Segment, Segmenter};
use m6_text::Tokenizer;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

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
    let mut segmenter = Segmenter::new(segment, tokenizer)?;
    let matched = match_ids(refs, cands)?;
    let mut items = Vec::with_capacity(refs.len());
    for ((id, references), candidate) in refs.iter().zip(matched) {
        let item = Sentences {
            candidate: segmenter.tokens(candidate),
            references: references.iter().map(|r| segmenter.tokens(r)).collect(),
        };
        if item.references.iter().all(Vec::is_empty) {
            return Err(Error::EmptyReferences { id: id.clone() });
        }
        items.push(item);
    }
    Ok(score_items(refs, &items))
}

fn score_items(refs: &[(String, Vec<String>)], items: &[Sentences]) -> CaptionScores {
    let bleu = bleu(items);
    let cider = cider(items);
    let rouge: Vec<f64> = items.par_iter().map(rouge_l).collect();
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
