//! One file per verb: arguments in, library calls, output. Helpers that several verbs share are in `common`.

pub mod bench;
pub mod common;
pub mod compare;
pub mod constrain;
pub mod corpus;
pub mod demo;
pub mod doctor;
pub mod draw;
pub mod eval;
pub mod exams;
pub mod export;
pub mod feature_sets;
pub mod generate;
pub mod inspect;
pub mod plan;
pub mod poem;
pub mod prepare;
pub mod preset;
pub mod pretrain;
pub mod rerank;
pub mod retrieval;
pub mod score;
pub mod tokenizer;
pub mod vqgan;
pub mod watch;
