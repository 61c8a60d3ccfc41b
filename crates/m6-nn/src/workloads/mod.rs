//! The workloads that the benchmark times.
