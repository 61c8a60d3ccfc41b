//! Whole runs on a tiny prepared data set: exactness, guards, folders, loading.

#![allow(missing_docs)]

mod blockwise;
mod exact;
mod expert_ranks;
mod finetune;
mod fixture;
mod folder;
mod guard;
mod load;
mod offload;
mod optimizers;
mod ranks;
mod reword;
mod tensor_ranks;
mod traffic;
mod untie;
mod vqgan;
