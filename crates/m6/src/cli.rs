//! The command line as data. Flags that mean the same everywhere are declared once in [`Common`].

use crate::verbs::bench::BenchVerb;
use crate::verbs::compare::ReportVerb;
use crate::verbs::corpus::CorpusVerb;
use crate::verbs::eval_match::{EvalMatchArgs, MatchArgs};
use crate::verbs::eval_retrieval::EvalRetrievalArgs;
use crate::verbs::exams::ExamArgs;
use crate::verbs::finetune::FinetuneArgs;
use crate::verbs::plan::PlanArgs;
use crate::verbs::poem::PoemArgs;
use crate::verbs::score::ScoreVerb;
use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// m6: a Chinese multimodal pretrainer, from raw sources to captions and answers, in one binary.
#[derive(Parser, Debug)]
#[command(
    name = "m6",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Flags every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags every verb takes.
#[derive(Args, Debug, Clone)]
pub struct Common {
    /// Machine-readable output on stdout: one object, or one a line where a verb streams.
    #[arg(long, global = true)]
    pub json: bool,
    /// Seed of everything random.
    #[arg(long, global = true, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads to compute with; all cores by default. The result does not depend on it.
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Device to compute on. This build has: cpu.
    #[arg(long, global = true, default_value = "cpu", value_name = "DEVICE")]
    pub device: String,
    /// Overrides one configuration value; may be given several times.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Checks the configuration and the input, prints what would be done, and stops.
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// No talk on stderr but errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More talk on stderr; twice for every detail.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Plain lines instead of a progress bar.
    #[arg(long, global = true)]
    pub no_progress: bool,
}

/// Where a verb writes its folder.
#[derive(Args, Debug, Clone)]
pub struct OutDir {
    /// Folder to write. One that has something in it is refused unless told otherwise.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replaces what is in the folder.
    #[arg(long)]
    pub overwrite: bool,
}

/// The verbs, in the order data flows.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// The whole path, small, on the built-in sample world: draw, tokenize, pretrain, caption, answer, report.
    Demo(DemoArgs),
    /// Raw web, encyclopedia, forum and shop data to a clean corpus.
    #[command(subcommand)]
    Corpus(CorpusVerb),
    /// Vocabulary: train one, encode, decode, inspect.
    #[command(subcommand)]
    Tokenizer(TokenizerVerb),
    /// Pictures to codes and back: train, reconstruct, encode.
    #[command(subcommand)]
    Vqgan(VqganVerb),
    /// Lays records of the configured sources out once as token shards, pictures and row tables.
    Prepare(PrepareArgs),
    /// Pretrains a model on prepared data; stopped runs go on with --resume, to the last bit.
    Pretrain(PretrainArgs),
    /// Goes on from a pretrained model on one task; keeps the best checkpoint.
    Finetune(FinetuneArgs),
    /// Continues text, captions pictures, answers questions.
    #[command(subcommand)]
    Generate(GenerateVerb),
    /// Lets a model work on held-out tasks and scores what it made.
    #[command(subcommand)]
    Eval(EvalVerb),
    /// Scores candidates against references.
    #[command(subcommand)]
    Score(ScoreVerb),
    /// Parameters, bytes, FLOPs and time of a configuration, without allocating it.
    Plan(PlanArgs),
    /// Lists the presets, or prints one with every default filled in.
    #[command(subcommand)]
    Preset(PresetVerb),
    /// Shows what is in a run, a checkpoint, prepared data, or a safetensors file.
    Inspect(InspectArgs),
    /// What evaluations left behind: two of them side by side.
    #[command(subcommand)]
    Report(ReportVerb),
    /// Writes a model without its training state, in the layout of Hugging Face.
    Export(ExportArgs),
    /// Times the operators on fixed workloads.
    #[command(subcommand)]
    Bench(BenchVerb),
    /// Looks at this machine: cores, memory, disk, measured f32 peak.
    Doctor,
    /// Prints the completion script of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// `m6 demo`.
#[derive(Args, Debug, Clone)]
pub struct DemoArgs {
    /// Folder to write.
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    pub out: PathBuf,
    /// Keeps what an earlier demo left in the folder, and refuses to start over it.
    #[arg(long)]
    pub keep: bool,
    /// The shortest setting: every stage in about a minute, too short to learn much.
    #[arg(long)]
    pub short: bool,
}

/// `m6 tokenizer ...`.
#[derive(Subcommand, Debug)]
pub enum TokenizerVerb {
    /// Trains a WordPiece vocabulary on text files or on the sources of a configuration.
    Train(TokenizerTrainArgs),
    /// Text to ids, a line at a time from stdin.
    Encode(TokenizerCodeArgs),
    /// Ids to text, a line at a time from stdin: `{"ids":[...]}`, `[...]`, or numbers with blanks between.
    Decode(TokenizerCodeArgs),
    /// Size, special entries and make-up of a vocabulary.
    Inspect {
        /// vocab.txt or tokenizer.json.
        #[arg(long, value_name = "FILE")]
        vocab: PathBuf,
    },
}

/// `m6 tokenizer train`.
#[derive(Args, Debug, Clone)]
pub struct TokenizerTrainArgs {
    /// Plain text files, one passage a line.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub text: Vec<PathBuf>,
    /// A configuration whose [[data.sources]] are read instead.
    #[arg(long, value_name = "CONFIG")]
    pub config: Option<String>,
    /// Entries of the vocabulary.
    #[arg(long, value_name = "N")]
    pub size: Option<usize>,
    /// File to write; HF tokenizer.json, or vocab.txt when it ends in .txt.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `m6 tokenizer encode|decode`.
#[derive(Args, Debug, Clone)]
pub struct TokenizerCodeArgs {
    /// vocab.txt or tokenizer.json.
    #[arg(long, value_name = "FILE")]
    pub vocab: PathBuf,
    /// Adds the marks CLS and SEP around each text.
    #[arg(long)]
    pub special: bool,
    /// Each input line is a JSON string, so that a text may hold line breaks.
    #[arg(long)]
    pub json_lines: bool,
}

/// `m6 vqgan ...`.
#[derive(Subcommand, Debug)]
pub enum VqganVerb {
    /// Trains a VQGAN on the pictures of prepared data; stopped runs go on with --resume, to the last bit.
    Train(PretrainArgs),
    /// Takes pictures to codes and back, and says how near they come: PSNR, SSIM, use of the codebook.
    Reconstruct {
        /// Run folder, checkpoint folder, or a converted model.
        #[arg(long, value_name = "DIR")]
        model: PathBuf,
        /// Pictures.
        #[command(flatten)]
        pictures: PictureArgs,
        /// Where to: `grid.png`, `figures.json`, and `pictures/` with one each.
        #[command(flatten)]
        out: OutDir,
    },
    /// Prints the codes of pictures, a line each: {"id","grid","codes"}.
    Encode {
        /// Run folder, checkpoint folder, or a converted model.
        #[arg(long, value_name = "DIR")]
        model: PathBuf,
        /// Pictures.
        #[command(flatten)]
        pictures: PictureArgs,
    },
}

/// `m6 prepare`.
#[derive(Args, Debug, Clone)]
pub struct PrepareArgs {
    /// Preset name or TOML file.
    pub config: String,
    /// Where to.
    #[command(flatten)]
    pub out: OutDir,
}

/// `m6 pretrain`.
#[derive(Args, Debug, Clone)]
pub struct PretrainArgs {
    /// Preset name or TOML file.
    pub config: String,
    /// Prepared data.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where to.
    #[command(flatten)]
    pub out: OutDir,
    /// Goes on from the newest valid checkpoint of the run folder.
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
}

/// `m6 generate ...`.
#[derive(Subcommand, Debug)]
pub enum GenerateVerb {
    /// Continues a text.
    Text {
        /// Beginning of the text; several are done as one batch.
        #[arg(long, required_unless_present = "prompts")]
        prompt: Vec<String>,
        /// File of beginnings, one a line.
        #[arg(long, value_name = "FILE")]
        prompts: Option<PathBuf>,
        /// How.
        #[command(flatten)]
        how: GenerateArgs,
    },
    /// Says what is in a picture.
    Caption {
        /// Pictures.
        #[command(flatten)]
        pictures: PictureArgs,
        /// How.
        #[command(flatten)]
        how: GenerateArgs,
    },
    /// Draws pictures from words.
    Image(DrawArgs),
    /// Says how likely it is that a text belongs to a picture, 0 to 1.
    Match(MatchArgs),
    /// Writes a poem of lines of five or of seven characters, on request rhymed and in regular tones.
    Poem(PoemArgs),
    /// Answers a question, about a picture if one is given.
    Answer {
        /// The question; several are asked about every picture, and ids then end in `#` and the number of the question.
        #[arg(long, required_unless_present = "questions")]
        question: Vec<String>,
        /// File of questions, one a line.
        #[arg(long, value_name = "FILE")]
        questions: Option<PathBuf>,
        /// Pictures; none asks the text alone.
        #[command(flatten)]
        pictures: PictureArgs,
        /// How.
        #[command(flatten)]
        how: GenerateArgs,
    },
}

/// `m6 generate image`.
#[derive(Args, Debug, Clone)]
pub struct DrawArgs {
    /// Run folder, checkpoint folder or exported model.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The VQGAN of the model's codes; the one kept in the run folder by default.
    #[arg(long, value_name = "DIR")]
    pub vqgan: Option<PathBuf>,
    /// What to draw; several are done as one batch.
    #[arg(long, value_name = "TEXT")]
    pub prompt: Vec<String>,
    /// File of prompts, one a line.
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Pictures of each prompt; with more than one the best by --rerank comes first.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096).map(|n| n as usize))]
    pub n: usize,
    /// How.
    #[command(flatten)]
    pub how: DrawHow,
    /// Picture of which a part is drawn anew.
    #[arg(long, value_name = "FILE", conflicts_with = "prime")]
    pub inpaint: Option<PathBuf>,
    /// Which part: a picture, white where to draw.
    #[arg(long, value_name = "FILE", requires = "inpaint")]
    pub mask: Option<PathBuf>,
    /// Picture whose upper rows of codes are given.
    #[arg(long, value_name = "FILE")]
    pub prime: Option<PathBuf>,
    /// How many rows of --prime.
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub rows: usize,
    /// Draws the finer codes of every picture as well (super-resolution), so that it has a multiple of the side. Takes a model that
    /// learned them: --model, or --fine-model.
    #[arg(long)]
    pub fine: bool,
    /// The model that draws the finer codes, of the same VQGAN.
    #[arg(long, value_name = "DIR", requires = "fine")]
    pub fine_model: Option<PathBuf>,
    /// Enlarges this picture, which must be as large as the VQGAN reads it: its codes are read, finer ones drawn. May be given several
    /// times; --prompt, once for all or once for each, says what they show, and may be left out.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["inpaint", "prime", "fine", "progress_images"])]
    pub enlarge: Vec<PathBuf>,
    /// How the finer codes are drawn.
    #[command(flatten)]
    pub fine_how: FineHow,
    /// Also writes the first picture as it grows, every N codes (or steps); 0 does not.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub progress_images: usize,
    /// Where to.
    #[command(flatten)]
    pub out: OutDir,
}

/// How to draw finer codes; steps, --top-k, --top-p and --batch are those of all codes.
#[derive(Args, Debug, Clone)]
pub struct FineHow {
    /// One finer code after the other, or all in a few steps; by default the former where the model learned it (super_resolution).
    #[arg(long, value_name = "METHOD", value_parser = draw_method)]
    pub fine_decode: Option<m6_model::DrawMethod>,
    /// Guidance of the finer codes.
    #[arg(long, default_value_t = 1.0, value_name = "G")]
    pub fine_guidance: f64,
    /// 0 takes the likeliest finer code.
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    pub fine_temperature: f64,
}

/// How to draw.
#[derive(Args, Debug, Clone)]
pub struct DrawHow {
    /// Guidance: how far to move from what would be drawn without the text; 1 is not at all.
    #[arg(long, default_value_t = 3.0, value_name = "G")]
    pub guidance: f64,
    /// Share of the codes drawn with guidance, from the first on.
    #[arg(long, default_value_t = 1.0, value_name = "SHARE")]
    pub guidance_until: f64,
    /// 0 takes the likeliest code.
    #[arg(long, default_value_t = 1.0, value_name = "T")]
    pub temperature: f64,
    /// Draws among the K likeliest codes; 0 among all.
    #[arg(long, default_value_t = 0, value_name = "K")]
    pub top_k: usize,
    /// Draws among the likeliest codes that together have this probability.
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    pub top_p: f64,
    /// One code after the other, or all in a few steps.
    #[arg(long, default_value = "ar", value_name = "METHOD", value_parser = draw_method)]
    pub decode: m6_model::DrawMethod,
    /// Steps of --decode parallel.
    #[arg(long, default_value_t = 12, value_name = "N")]
    pub steps: usize,
    /// What candidates are ranked by: the likelihood of the prompt given their codes or their pixels, or a Chinese-CLIP.
    #[arg(long, default_value = "auto", value_parser = ["auto", "codes", "pixels", "clip", "none"])]
    pub rerank: String,
    /// Folder of the Chinese-CLIP of --rerank clip, as transformers saves it: config.json, vocab.txt, model.safetensors.
    #[arg(long, value_name = "DIR")]
    pub clip: Option<PathBuf>,
    /// Pictures drawn together.
    #[arg(long, default_value_t = 16, value_name = "N")]
    pub batch: usize,
}

/// `m6 eval ...`.
#[derive(Subcommand, Debug)]
pub enum EvalVerb {
    /// Reads drawn pictures by their pixels: are colour, shape, count and position what the prompt says? Or does a matcher find the
    /// prompt (--retrieval), and how far are they from real ones (--real)? And how near do finer codes come to the true picture
    /// (--enlarge)?
    Image(Box<EvalImageArgs>),
    /// Does the match head tell the texts of pictures from swapped ones? Accuracy and area under the curve, beside shuffled pictures.
    Match(EvalMatchArgs),
    /// Ranks pictures by texts and texts by pictures: R@1, R@5, R@10, then the first ones again by the match head.
    Retrieval(EvalRetrievalArgs),
    /// Describes pictures: BLEU, ROUGE-L, CIDEr, distinct-n and length, beside shuffled pictures.
    Caption(ExamArgs),
    /// Answers questions about pictures, open or by choice: exact and soft match by type, beside shuffled and no pictures.
    Vqa(ExamArgs),
    /// Answers written questions: match, F1, ROUGE-L, BLEU, repetition, perplexity.
    Qa(ExamArgs),
    /// Writes poems to titles: form, rhyme, tones, what was copied from the training text, perplexity of the true poems.
    Poem(ExamArgs),
    /// Puts texts or pictures into classes by likelihood: accuracy, macro F1, a table by class.
    Classify(ExamArgs),
}

/// `m6 eval image`.
#[derive(Args, Debug, Clone)]
pub struct EvalImageArgs {
    /// Draws pictures with this model and measures them: of the sample world's unseen combinations (--world), or of --prompts
    /// (--retrieval).
    #[arg(long, value_name = "DIR", conflicts_with = "measure")]
    pub model: Option<PathBuf>,
    /// The VQGAN of the model's codes; the one kept in the run folder by default.
    #[arg(long, value_name = "DIR")]
    pub vqgan: Option<PathBuf>,
    /// Prompts of the sample world; without a model its own pictures are measured, which shows what the measure can do.
    #[arg(long)]
    pub world: bool,
    /// Measures pictures that are already drawn, in this folder, by --prompts, --real or both.
    #[arg(long, value_name = "DIR")]
    pub measure: Option<PathBuf>,
    /// What they should show: lines of {"file","wanted":[{"shape","color","count","position"}]}, as --out writes them. For
    /// --retrieval one prompt a line, or lines of {"prompt","file"}, file being its real picture inside --real.
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Draws every line of --prompts and asks a matcher which prompt each picture is of, and which picture each prompt:
    /// R@1, R@5, R@10 and median rank, beside real pictures, shuffled ones and chance.
    #[arg(long, conflicts_with_all = ["world", "measure"])]
    pub retrieval: bool,
    /// The model that tells how likely a text is for a picture (image_to_text or codes_to_text); --model by default, which
    /// flatters itself.
    #[arg(long, value_name = "DIR", requires = "retrieval")]
    pub matcher: Option<PathBuf>,
    /// Other prompts that each picture is matched with, and other pictures each prompt; by default all, at most 100.
    #[arg(long, value_name = "N", requires = "retrieval", value_parser = clap::value_parser!(u64).range(1..=100_000).map(|n| n as usize))]
    pub distractors: Option<usize>,
    /// Compares the pictures with those of this folder by the features of a network: Frechet distance, precision, recall, density
    /// and coverage. With --retrieval, the folder of the prompts' real pictures.
    #[arg(long, value_name = "DIR")]
    pub real: Option<PathBuf>,
    /// Gives the features: a run's patch network, or a safetensors file of FID's Inception; the network of --model by default.
    #[arg(long, value_name = "RUN|FILE", requires = "real")]
    pub features: Option<PathBuf>,
    /// Makes pictures small, draws their finer codes and compares the result with the true picture, beside a bicubic enlargement: of the
    /// sample world (--world), or of a folder (--real).
    #[arg(long, requires = "model", conflicts_with_all = ["measure", "prompts", "retrieval", "features"])]
    pub enlarge: bool,
    /// How the finer codes are drawn.
    #[command(flatten)]
    pub fine_how: FineHow,
    /// Prompts to draw, or pictures to enlarge.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000).map(|n| n as usize))]
    pub n: usize,
    /// Candidates of each prompt, of which the best by --rerank is measured.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256).map(|n| n as usize))]
    pub best_of: usize,
    /// How.
    #[command(flatten)]
    pub how: DrawHow,
    /// Also writes the pictures, a grid and prompts.jsonl to this new folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

fn draw_method(name: &str) -> Result<m6_model::DrawMethod, String> {
    match name {
        "ar" => Ok(m6_model::DrawMethod::Ar),
        "parallel" => Ok(m6_model::DrawMethod::Parallel),
        other => Err(format!("`{other}` is neither `ar` nor `parallel`")),
    }
}

/// Which pictures.
#[derive(Args, Debug, Clone)]
pub struct PictureArgs {
    /// One picture; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub image: Vec<PathBuf>,
    /// A folder of pictures.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// A tar of pictures (WebDataset).
    #[arg(long, value_name = "FILE")]
    pub tar: Option<PathBuf>,
}

/// How to generate.
#[derive(Args, Debug, Clone)]
pub struct GenerateArgs {
    /// Run folder, checkpoint folder or exported model.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Longest output in tokens.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub max_tokens: usize,
    /// 0 is greedy.
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    pub temperature: f64,
    /// Draws among the K likeliest; 0 among all.
    #[arg(long, default_value_t = 0, value_name = "K")]
    pub top_k: usize,
    /// Draws among the likeliest that together have this probability.
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    pub top_p: f64,
    /// Beam search with so many beams.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub beams: usize,
    /// Exponent of the length a beam's log-probability is divided by.
    #[arg(long, default_value_t = 0.6, value_name = "A")]
    pub length_penalty: f64,
    /// No run of N tokens twice; 0 allows it.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub no_repeat_ngram: usize,
    /// Shortest output in tokens.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub min_tokens: usize,
    /// Shortest output in characters.
    #[arg(long, value_name = "N")]
    pub min_chars: Option<usize>,
    /// Longest output in characters.
    #[arg(long, value_name = "N")]
    pub max_chars: Option<usize>,
    /// The output is one of these; may be given several times.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["min_chars", "max_chars", "template"])]
    pub choice: Vec<String>,
    /// The output has this form, every * filled in: {"颜色":"*","形状":"*"}
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["min_chars", "max_chars"])]
    pub template: Option<String>,
    /// Prompts decoded together.
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub batch: usize,
}

/// `m6 preset ...`.
#[derive(Subcommand, Debug)]
pub enum PresetVerb {
    /// Names and sizes.
    List,
    /// One preset, every default filled in.
    Show {
        /// Its name.
        name: String,
    },
}

/// `m6 export`.
#[derive(Args, Debug, Clone)]
pub struct ExportArgs {
    /// Run or checkpoint folder.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Folder to write; it may not exist yet.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Leaves adapters out instead of merging them: the model as it was before it had them.
    #[arg(long)]
    pub without_adapters: bool,
}

/// `m6 inspect`.
#[derive(Args, Debug, Clone)]
pub struct InspectArgs {
    /// Run, checkpoint or data folder, or a safetensors file.
    pub path: PathBuf,
}
