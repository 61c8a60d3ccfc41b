//! Arguments of `m6 score`. What stands in the files is part of the help of each metric.

use clap::builder::TypedValueParser;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `m6 score ...`.
#[derive(Subcommand, Debug)]
pub enum ScoreVerb {
    /// BLEU-1..4, ROUGE-L and CIDEr of captions.
    #[command(after_help = CAPTION)]
    Caption(CaptionArgs),
    /// Short answers about pictures: exact and soft match, in all and by type of question.
    #[command(after_help = VQA)]
    Vqa(PairArgs),
    /// Answers to read or written questions: EM and F1 (CMRC 2018), ROUGE-L, BLEU-4, repetition, perplexity.
    #[command(after_help = QA)]
    Qa(PairArgs),
    /// Do picture and text belong together? Accuracy at a threshold, area under the curve.
    #[command(after_help = MATCH)]
    Match(MatchArgs),
    /// Rankings: R@1, R@5, R@10, their mean, median rank.
    #[command(after_help = RETRIEVAL)]
    Retrieval(PairArgs),
    /// Verse: is the form kept, does it rhyme, do the tones alternate, how much of it was in the training text?
    #[command(after_help = POEM)]
    Poem(PoemArgs),
    /// Classes: accuracy, macro F1, precision, recall and F1 of each.
    #[command(after_help = CLASSIFY)]
    Classify(PairArgs),
}

/// What every metric does with its items.
#[derive(Args, Debug, Clone)]
pub struct ItemArgs {
    /// One line per id instead of the totals.
    #[arg(long, conflicts_with_all = ["bootstrap", "against"])]
    pub per_item: bool,
    /// 95 % intervals by N draws of the items with replacement; --seed picks the draws.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000).map(|n| n as usize))]
    pub bootstrap: Option<usize>,
    /// Candidates of another system for the same items: differences (these less those), their 95 % intervals by paired bootstrap and p
    /// by approximate randomisation, --bootstrap draws each (1000 without it).
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
}

/// A file of references and one of candidates.
#[derive(Args, Debug, Clone)]
pub struct PairArgs {
    /// JSON lines of what is right; see below.
    #[arg(long, value_name = "FILE")]
    pub references: PathBuf,
    /// JSON lines of what a system gave; see below.
    #[arg(long, value_name = "FILE")]
    pub candidates: PathBuf,
    /// The rest.
    #[command(flatten)]
    pub items: ItemArgs,
}

/// `m6 score caption`.
#[derive(Args, Debug, Clone)]
pub struct CaptionArgs {
    /// The files.
    #[command(flatten)]
    pub pair: PairArgs,
    /// How texts become tokens: none splits at blanks.
    #[arg(long, default_value = "char", value_parser = ["none", "char", "wordpiece"])]
    pub segment: String,
    /// Vocabulary of --segment wordpiece.
    #[arg(long, value_name = "FILE")]
    pub vocab: Option<PathBuf>,
    /// Scores the candidates moved on by one picture instead: the control that knows no picture.
    #[arg(long)]
    pub shuffled: bool,
    /// With --json, also all figures as `scores`: mean length and distinct-n are there too.
    #[arg(long)]
    pub detail: bool,
}

/// `m6 score match`.
#[derive(Args, Debug, Clone)]
pub struct MatchArgs {
    /// The files.
    #[command(flatten)]
    pub pair: PairArgs,
    /// A score of at least this says that they match.
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.5,
        allow_negative_numbers = true
    )]
    pub threshold: f64,
}

/// `m6 score poem`.
#[derive(Args, Debug, Clone)]
pub struct PoemArgs {
    /// JSON lines of poems; see below. Verse needs no references.
    #[arg(long, value_name = "FILE")]
    pub candidates: PathBuf,
    /// JSON lines of the text a model was trained on: what was copied from it is counted.
    #[arg(long, value_name = "FILE")]
    pub training: Option<PathBuf>,
    /// The rest.
    #[command(flatten)]
    pub items: ItemArgs,
}

const CAPTION: &str = "\
Files are JSON lines, an \"id\" (text or whole number) in each; both have the same ids in any order.
  references  {\"id\": \"1\", \"captions\": [\"草地上的狗\", ...]}   also \"references\", \"caption\", \"reference\"; one text or several
  candidates  {\"id\": \"1\", \"text\": \"一只狗\"}               also \"caption\", \"candidate\", \"hypothesis\"; \"\" is allowed
Figures are those of pycocoevalcap on the segmented sentences; BLEU and ROUGE-L go from 0 to 1, CIDEr (CIDEr-D) from 0 to 10.
--json: {\"bleu\": [4], \"rouge_l\", \"cider\", \"n\"}; with --bootstrap, --against or --detail also what the other metrics print.";

const VQA: &str = "\
Files are JSON lines, an \"id\" (text or whole number) in each; both have the same ids in any order.
  references  {\"id\": \"1\", \"answers\": [\"红色\", ...], \"type\": \"color\"}   also \"answer\"; \"type\" may be missing (\"other\")
  candidates  {\"id\": \"1\", \"text\": \"红色\"}
Figures: exact (equal to any answer, punctuation and width of letters aside), soft (min(n / 3, 1) for n equal answers), and both by type.
--json: {\"metric\", \"n\", \"scores\": {\"exact\", \"soft\", \"exact/TYPE\", \"soft/TYPE\", \"n/TYPE\"}}";

const QA: &str = "\
Files are JSON lines, an \"id\" (text or whole number) in each; both have the same ids in any order.
  references  {\"id\": \"1\", \"answers\": [\"北京大学\", ...]}   also \"answer\"
  candidates  {\"id\": \"1\", \"text\": \"北京\", \"logprob\": -1.5, \"n_tokens\": 7}   the last two may be missing from all lines
Figures: em and f1 as CMRC 2018 defines them, rouge_l and bleu_4 of characters, repetition (share of 4-grams of characters that were there
before in the same answer), perplexity (null without \"logprob\").
--json: {\"metric\", \"n\", \"scores\": {\"em\", \"f1\", \"rouge_l\", \"bleu_4\", \"repetition\", \"perplexity\"}}";

const MATCH: &str = "\
Files are JSON lines, an \"id\" (text or whole number) in each; both have the same ids in any order.
  references  {\"id\": \"1\", \"label\": 1}     0, 1, true or false
  candidates  {\"id\": \"1\", \"score\": 0.7}
Figures: accuracy at --threshold, auc (null with one class only), best_threshold_accuracy (of the threshold that is best for these very
items: an upper bound and no result).
--json: {\"metric\", \"n\", \"scores\": {\"accuracy\", \"auc\", \"best_threshold_accuracy\"}}";

const RETRIEVAL: &str = "\
Files are JSON lines, an \"id\" (text or whole number) in each; both have the same ids in any order.
  references  {\"id\": \"1\", \"relevant\": [\"a\", ...]}
  candidates  {\"id\": \"1\", \"ranked\": [\"b\", \"a\", ...]}   or   {\"id\": \"1\", \"scores\": {\"a\": 0.7, \"b\": 0.9}}
The first relevant id counts; of equal scores the irrelevant one stands first.
--json: {\"metric\", \"n\", \"scores\": {\"r@1\", \"r@5\", \"r@10\", \"mean_recall\", \"median_rank\"}}";

const POEM: &str = "\
Files are JSON lines; candidates have an \"id\" (text or whole number).
  candidates  {\"id\": \"1\", \"lines\": [\"床前明月光\", ...]}
  training    {\"text\": \"...\"} and/or {\"lines\": [...]} and/or {\"text_s\": \"...\"}
Figures: constraint (4 to 16 lines, an even number, all of 5 or all of 7 characters), rhyme (even lines, modern readings), tones (share of
the rules kept); with --training copied_lines, shared_span (mean longest run of characters that is there) and longest_shared_span.
--json: {\"metric\", \"n\", \"scores\": {\"constraint\", \"rhyme\", \"tones\", ...}}";

const CLASSIFY: &str = "\
Files are JSON lines, an \"id\" (text or whole number) in each; both have the same ids in any order.
  references  {\"id\": \"1\", \"label\": \"体育\"}
  candidates  {\"id\": \"1\", \"label\": \"财经\"}   a label that no reference has is refused
--json: {\"metric\", \"n\", \"scores\": {\"accuracy\", \"macro_f1\", \"precision/CLASS\", \"recall/CLASS\", \"f1/CLASS\", \"n/CLASS\"}}";
