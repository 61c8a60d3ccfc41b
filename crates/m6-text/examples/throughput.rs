//! Prints the speed of encoding and training in MB/s, and that of Hugging Face `tokenizers`, as JSON.
//!
//! `cargo run --release -p m6-text --example throughput -- vocab.txt text-file [rounds]`
#![allow(clippy::print_stdout)]

use m6_text::Tokenizer;
use m6_text::train::WordPieceTrainer;
use std::path::Path;
use std::time::Instant;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn best_mb_per_s(n_bytes: usize, n_rounds: usize, mut work: impl FnMut() -> usize) -> (f64, usize) {
    let mut best = f64::INFINITY;
    let mut n_tokens = 0;
    for _ in 0..n_rounds {
        let start = Instant::now();
        n_tokens = work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    (n_bytes as f64 / 1e6 / best, n_tokens)
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let [_, vocab, text, rest @ ..] = &args[..] else {
        return Err("expected: throughput VOCAB TEXT [ROUNDS]".into());
    };
    let n_rounds = rest.first().map_or(Ok(5), |n| n.parse())?;
    let text = std::fs::read_to_string(text)?;
    let lines: Vec<&str> = text.lines().collect();
    let n_bytes = lines.iter().map(|l| l.len()).sum();

    let start = Instant::now();
    let ours = Tokenizer::from_file(Path::new(vocab))?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let count = |batch: Vec<Vec<u32>>| batch.iter().map(Vec::len).sum();
    let (one, n_tokens) = best_mb_per_s(n_bytes, n_rounds, || {
        lines.iter().map(|l| ours.encode(l).len()).sum()
    });
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    let (two, _) = best_mb_per_s(n_bytes, n_rounds, || {
        pool.install(|| count(ours.encode_batch(&lines)))
    });
    let (full, _) = best_mb_per_s(n_bytes, n_rounds.min(2), || {
        lines
            .iter()
            .map(|l| ours.encode_full(l, false).ids.len())
            .sum()
    });

    let train = || {
        let mut trainer = WordPieceTrainer::new(21_128);
        trainer.feed(&text);
        trainer.train()
    };
    let learnt = train()?.to_json();
    let (training, _) = best_mb_per_s(n_bytes, 1, || usize::from(train().is_ok()));
    let same = train()?.to_json() == learnt;

    let theirs = tokenizers::Tokenizer::from_bytes(ours.to_json())?;
    let (hf, hf_tokens) = best_mb_per_s(n_bytes, n_rounds.min(2), || {
        let encode = |l: &&str| theirs.encode_fast(*l, false).map_or(0, |e| e.len());
        lines.iter().map(encode).sum()
    });
    println!(
        "{{\"n_bytes\": {n_bytes}, \"n_tokens\": {n_tokens}, \"hf_n_tokens\": {hf_tokens}, \
         \"load_ms\": {load_ms:.1}, \"mb_per_s_1_thread\": {one:.1}, \
         \"mb_per_s_2_threads\": {two:.1}, \"mb_per_s_with_offsets\": {full:.1}, \
         \"train_mb_per_s\": {training:.1}, \"train_repeats\": {same}, \
         \"hf_mb_per_s_1_thread\": {hf:.2}, \"ratio_1_thread\": {:.1}}}",
        one / hf
    );
    Ok(())
}
