//! The sample world: seeded pictures, captions, questions, articles and verse with their ground truth.
