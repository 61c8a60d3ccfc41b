//! Scores: BLEU, ROUGE-L, CIDEr, accuracy by type.
