//! Answers to read or written questions: match and F1 as CMRC 2018 defines them, ROUGE-L and BLEU of characters, repetition, perplexity.

use crate::bleu::{self, Totals};
use crate::error::Result;
use crate::lines::{self, Line, Shape};
use crate::measured::{Measured, Reduce, share};
use crate::ngrams::{Counted, MAX_ORDER, Sentences, count_order};
use crate::rouge::rouge_l;
use crate::segment::{Segment, Segmenter};
use crate::words::words;
use serde_json::json;

const REFERENCES: Shape = Shape {
    side: "references",
    example: r#"{"id": "...", "answers": ["...", ...]}"#,
    fields: &["answer", "answers", "type"],
};
const CANDIDATES: Shape = Shape {
    side: "candidates",
    example: r#"{"id": "...", "text": "...", "logprob": -1.5, "n_tokens": 7}"#,
    fields: &["text", "type"],
};
/// What CMRC 2018's script takes for punctuation, character by character.
const PUNCTUATION: &str = "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』";

/// Figures: `em`, `f1`, `rouge_l`, `bleu_4`, `repetition` (share of 4-grams of characters that were there before in the same answer,
/// mean over answers) and, when every candidate has `logprob` and `n_tokens`, `perplexity` (NaN otherwise).
///
/// `em` and `f1` are those of CMRC 2018's script: the best over the answers; F1 by the longest common run of segments, ideographs one by
/// one and other runs as the words of NLTK's `word_tokenize`, whose model of where English sentences end is a few rules here.
///
/// # Errors
/// Lines of another form; ids twice or on one side only; no answer; a log probability on some lines only.
pub fn measure_qa(references: &[u8], candidates: &[u8]) -> Result<Measured> {
    let pairs = lines::pair(
        lines::read(references, REFERENCES)?,
        lines::read(candidates, CANDIDATES)?,
    )?;
    let with_logprob = pairs.iter().any(|(_, line)| line.get("logprob").is_some());
    let mut segmenter = Segmenter::new(Segment::Char, None)?;
    let (mut rows, mut per_item) = (Vec::new(), Vec::new());
    for (reference, candidate) in &pairs {
        let answers = reference.some_texts(&["answers", "answer"])?;
        let given = candidate.text("text")?;
        let sentences = Sentences {
            candidate: segmenter.tokens(given),
            references: answers.iter().map(|a| segmenter.tokens(a)).collect(),
        };
        let (em, f1) = match_and_f1(&answers, given);
        let rouge = rouge_l(&sentences);
        let (logprob, n_tokens) = match with_logprob {
            true => certainty(candidate)?,
            false => (0.0, 0.0),
        };
        let repetition = repetition(given);
        rows.extend([1.0, em, f1, rouge, repetition, logprob, n_tokens]);
        rows.extend(bleu::totals(&sentences, &Counted::of(&sentences)).row());
        per_item.push(json!({"id": reference.id, "em": em, "f1": f1, "rouge_l": rouge, "repetition": repetition}));
    }
    Ok(Measured {
        names: ["em", "f1", "rouge_l", "bleu_4", "repetition", "perplexity"]
            .map(str::to_owned)
            .to_vec(),
        fixed: Vec::new(),
        per_item,
        ids: pairs.into_iter().map(|(line, _)| line.id).collect(),
        width: 7 + Totals::WIDTH,
        rows,
        reduce: Reduce::Sums(Box::new(|s| {
            let mean = |k: usize| share(s[k], s[0]);
            let bleu_4 = Totals::score_of(&s[7..])[MAX_ORDER - 1];
            vec![
                mean(1),
                mean(2),
                mean(3),
                bleu_4,
                mean(4),
                (-s[5] / s[6]).exp(),
            ]
        })),
    })
}

fn certainty(line: &Line) -> Result<(f64, f64)> {
    let n_tokens = line.number("n_tokens")?;
    if n_tokens < 1.0 {
        return Err(line.fault("\"n_tokens\" is below 1"));
    }
    Ok((line.number("logprob")?, n_tokens))
}

/// Share of the 4-grams of characters that are repetitions; 0 of a text shorter than that.
fn repetition(text: &str) -> f64 {
    let chars: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(u32::from)
        .collect();
    let n_all = chars.len().saturating_sub(MAX_ORDER - 1);
    let n_distinct = count_order(&chars, MAX_ORDER).len();
    (n_all - n_distinct.min(n_all)) as f64 / n_all.max(1) as f64
}

/// Exact match and F1, each the best over the answers.
fn match_and_f1(answers: &[String], given: &str) -> (f64, f64) {
    let (bare, given) = (without_punctuation(given), segments(given));
    let is_match = answers.iter().any(|a| without_punctuation(a) == bare);
    let f1 = answers.iter().map(|a| f1(&segments(a), &given));
    (f64::from(u8::from(is_match)), f1.fold(0.0, f64::max))
}

fn f1(answer: &[String], given: &[String]) -> f64 {
    let common = longest_common_run(answer, given) as f64;
    if common == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (common / given.len() as f64, common / answer.len() as f64);
    2.0 * precision * recall / (precision + recall)
}

/// Length of the longest run of segments that both have.
fn longest_common_run(a: &[String], b: &[String]) -> usize {
    let (mut best, mut row) = (0, vec![0; b.len() + 1]);
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let run = if x == y { diagonal + 1 } else { 0 };
            diagonal = std::mem::replace(&mut row[j + 1], run);
            best = best.max(run);
        }
    }
    best
}

fn without_punctuation(text: &str) -> String {
    let lower = text.trim().to_lowercase();
    lower
        .chars()
        .filter(|c| !PUNCTUATION.contains(*c))
        .collect()
}

/// The script's mixed segmentation without punctuation: ideographs one by one, the rest in words.
fn segments(text: &str) -> Vec<String> {
    let text = without_punctuation(text);
    let is_ideograph = |c: char| matches!(c, '\u{4e00}'..='\u{9fa5}');
    let (mut out, mut run) = (Vec::new(), String::new());
    for c in text.chars() {
        match is_ideograph(c) {
            true => {
                words(&std::mem::take(&mut run), &mut out);
                out.push(c.to_string());
            }
            false => run.push(c),
        }
    }
    words(&run, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answers: &[&str], given: &str, em: f64, f1: f64) {
        let answers: Vec<String> = answers.iter().map(|a| (*a).to_owned()).collect();
        let got = match_and_f1(&answers, given);
        assert!(
            got.0 == em && (got.1 - f1).abs() < 1e-12,
            "{given:?}: {got:?}"
        );
    }

    #[test]
    fn match_and_f1_are_those_of_the_script() {
        check(&["《红楼梦》"], "红楼梦。", 1.0, 1.0);
        check(
            &["北京大学"],
            "在北京",
            0.0,
            2.0 * (2.0 / 3.0) * 0.5 / (2.0 / 3.0 + 0.5),
        );
        check(&["上海", "北京"], "北京", 1.0, 1.0);
        // Segments in common that are not next to each other do not add up.
        check(&["甲乙丙丁"], "甲丙乙丁", 0.0, 0.25);
        check(&["Windows 10系统"], "windows", 0.0, 0.4);
        check(&["红色"], "", 0.0, 0.0);
    }

    #[test]
    fn other_runs_are_words() {
        assert_eq!(
            segments("iPhone 3.5寸，US$20"),
            ["iphone", "3.5", "寸", "us", "$", "20"]
        );
    }

    #[test]
    fn repetition_is_the_share_of_4_grams_seen_before() {
        assert_eq!(repetition("一二三四五六"), 0.0);
        assert_eq!(repetition("啊啊啊啊啊啊"), 2.0 / 3.0);
        assert_eq!(repetition("短"), 0.0);
    }

    #[test]
    fn perplexity_needs_certainty_on_every_line() {
        let references = b"{\"id\":1,\"answer\":\"a\"}\n{\"id\":2,\"answer\":\"b\"}";
        let both = b"{\"id\":1,\"text\":\"a\",\"logprob\":-2,\"n_tokens\":2}\n{\"id\":2,\"text\":\"b\",\"logprob\":-4,\"n_tokens\":1}";
        let measured = measure_qa(references, both).unwrap();
        assert!((measured.figures()[5] - 2f64.exp()).abs() < 1e-12);
        let one =
            b"{\"id\":1,\"text\":\"a\",\"logprob\":-2,\"n_tokens\":2}\n{\"id\":2,\"text\":\"b\"}";
        let message = measure_qa(references, one).err().unwrap().to_string();
        assert!(
            message.contains("line 2") && message.contains("n_tokens"),
            "{message}"
        );
        let none = measure_qa(
            references,
            b"{\"id\":1,\"text\":\"a\"}\n{\"id\":2,\"text\":\"b\"}",
        );
        let figures = none.unwrap().figures();
        assert!(figures[5].is_nan() && figures[..3] == [1.0, 1.0, 1.0]);
    }
}
