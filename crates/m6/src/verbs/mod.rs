//! One file per verb: arguments in, library calls, output. Helpers that several verbs share are in `common`.

pub mod bench;
pub mod common;
pub mod corpus;
pub mod demo;
pub mod doctor;
pub mod draw;
pub mod eval;
pub mod eval_items;
pub mod eval_match;
pub mod eval_retrieval;
pub mod export;
pub mod feature_sets;
pub mod finetune;
pub mod generate;
pub mod inspect;
pub mod plan;
pub mod prepare;
pub mod preset;
pub mod pretrain;
pub mod rerank;
pub mod retrieval;
pub mod score;
pub mod tokenizer;
pub mod vqgan;
pub mod watch;
