//! The unified transformer, its patch networks and generation. No files, no clock.
