//! Bytes that survive: atomic commits, manifests, shards, hashes and keyed random streams.
