//! Attention of one new token over cached keys and values.
