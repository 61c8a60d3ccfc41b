//! Chinese text to token ids and back: the BERT WordPiece scheme, its trainer, its file formats.
//!
//! [`Tokenizer`] gives the same ids, tokens and offsets as Hugging Face `tokenizers` gives for a
//! BERT model, many times faster: every character is looked up once in a table that already holds
//! the id of single-character tokens, and only runs of letters and digits are matched piece by
//! piece. [`train::WordPieceTrainer`] learns a vocabulary from text.
//!
//! ```
//! use m6_text::Tokenizer;
//!
//! let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "红", "色", "t", "##恤"];
//! let tokenizer = Tokenizer::from_tokens(tokens.map(String::from).to_vec())?;
//! assert_eq!(tokenizer.encode("红色 T"), [5, 6, 7]);
//! assert_eq!(tokenizer.decode(&[2, 5, 6, 7, 3]), "红色t");
//! # Ok::<(), m6_text::Error>(())
//! ```

mod decode;
mod error;
mod json;
mod lines;
mod options;
pub mod rhyme;
mod scan;
mod sinks;
mod table;
mod tokenizer;
pub mod train;
mod trie;
pub mod verse;
mod vocab;

pub use error::{Error, Result};
pub use lines::LineForm;
pub use options::BertOptions;
pub use tokenizer::{Encoding, Special, Tokenizer};
