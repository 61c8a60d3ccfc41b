//! Chinese text to token ids and back: WordPiece, its trainer, normalisation.
