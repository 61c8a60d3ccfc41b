//! Sources to shards to batches; a task is data. Plain arrays, never a tensor.
