//! Core module.
