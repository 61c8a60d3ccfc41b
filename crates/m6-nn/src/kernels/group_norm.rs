//! Group normalisation followed by SiLU.
