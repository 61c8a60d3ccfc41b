//! Scores: BLEU, ROUGE-L and CIDEr as pycocoevalcap computes them, answer accuracy by type,
//! distinct-n; recall at k of texts by pictures and of pictures by texts ([`PairScores`]); answers to read, matching, rankings, verse and
//! classes as [`Measured`] rows, of which intervals and tests are made; and of pictures by the feature vectors that some network gave
//! them, Frechet distance, precision, recall, density and coverage. An [`Exam`] lets a model speak and scores what it said;
//! [`SelfCritical`] lets it speak while it trains and weighs what it said by its reward.
//!
//! [`score_captions`] does the whole of caption scoring; [`bleu`], [`rouge_l`] and [`cider`] work
//! on sentences that are already rows of token numbers. [`score_answers`] scores short answers,
//! [`distinct_n`] measures variety.
//!
//! ```
//! use m6_eval::{Segment, score_captions};
//!
//! let references = [("1".to_owned(), vec!["草地上的狗".to_owned(), "一只狗".to_owned()])];
//! let candidates = [("1".to_owned(), "草地上的狗".to_owned())];
//! let scores = score_captions(&references, &candidates, Segment::Char, None)?;
//! assert!(scores.bleu[3] > 0.999 && scores.rouge_l > 0.999);
//! # Ok::<(), m6_eval::Error>(())
//! ```

mod answers;
mod bleu;
mod captions;
mod cider;
mod classify;
mod diversity;
mod error;
mod exam;
mod features;
mod files;
mod frechet;
#[cfg(test)]
#[path = "../tests/guide/length.rs"]
mod length;
mod lines;
mod manifold;
mod matching;
mod measured;
mod ngrams;
mod poem;
mod ranked;
mod reading;
mod retrieval;
mod rouge;
mod segment;
mod self_critical;
mod symmetric;
mod vqa;
mod words;

pub use answers::{AnswerItem, AnswerScores, KindScore, normalize_answer, score_answers};
pub use bleu::{BleuScores, bleu};
pub use captions::{CaptionScores, ItemScores, measure_captions, score_captions};
pub use cider::{CiderReward, CiderScores, cider};
pub use classify::measure_classify;
pub use diversity::distinct_n;
pub use error::{Error, Result};
pub use exam::{
    EXAM_TASKS, Exam, ExamError, ExamTask, Item, Items, Outcome, Settings, Which, measure,
};
pub use features::Features;
pub use files::{parse_answers, parse_candidates, parse_references};
pub use frechet::{Gaussian, frechet_distance};
pub use manifold::{ManifoldScores, manifold_scores};
pub use matching::measure_match;
pub use measured::{Difference, Measured};
pub use ngrams::Sentences;
pub use poem::{Training, measure_poem};
pub use ranked::measure_retrieval;
pub use reading::measure_qa;
pub use retrieval::{PairScores, RetrievalScores};
pub use rouge::rouge_l;
pub use segment::{Segment, Segmenter};
pub use self_critical::{SelfCritical, Told};
pub use vqa::measure_vqa;

#[cfg(test)]
mod guide {
    //! The code of docs/add-a-metric.md is code that compiles, and does what it says.

    use crate::length::measure_length;

    #[test]
    fn the_guide_shows_the_file_that_is_compiled() {
        let guide = include_str!("../../../docs/add-a-metric.md");
        let (_, rest) = guide.split_once("```rust\n").expect("a block of code");
        let (code, _) = rest.split_once("```").expect("its end");
        assert_eq!(code, include_str!("../tests/guide/length.rs"));
    }

    #[test]
    fn its_metric_measures_length() {
        let references = r#"{"id": 1, "text": "四个汉字"}
{"id": 2, "text": "两个"}"#;
        let candidates = r#"{"id": 2, "text": "二"}
{"id": 1, "text": "字字"}"#;
        let measured = measure_length(references.as_bytes(), candidates.as_bytes()).unwrap();
        assert_eq!(measured.figures(), [0.5]);
        assert_eq!(measured.per_item[1]["given"], 1.0);
    }
}
