//! Attention over packed rows: blockwise forward, recomputing backward.
