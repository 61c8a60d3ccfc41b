//! What the makers say of their accelerators.

use serde::Serialize;

/// One kind of device and how its nodes are wired. GB are 10^9 bytes; rates are per device and direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hardware {
    /// Name in the table.
    pub name: String,
    /// Memory of a device.
    pub memory_gb: f64,
    /// Dense peak in the number type of `precision`, in 10^12 operations a second.
    pub peak_tflops: f64,
    /// Devices of a node, joined by the inner link.
    pub per_node: usize,
    /// Link inside a node, GB/s.
    pub inner_gb_s: f64,
    /// A device's share of the links between nodes, GB/s.
    pub outer_gb_s: f64,
    /// Rate of the device's own memory, GB/s.
    pub memory_gb_s: f64,
    /// Number types its peak is for, the usual one first.
    pub precisions: Vec<Precision>,
}

/// Number type of weights in use and of activations. Gradients are summed and moments kept in f32 in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 4 bytes.
    F32,
    /// 2 bytes, the range of f32.
    Bf16,
    /// 2 bytes, with a loss scale.
    F16,
}

impl Precision {
    /// Bytes of a number.
    pub fn bytes(self) -> f64 {
        match self {
            Self::F32 => 4.0,
            Self::Bf16 | Self::F16 => 2.0,
        }
    }

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

/// Names that [`Hardware::named`] knows.
pub const GPU_NAMES: [&str; 6] = ["v100", "a100", "a100-40", "h100", "h200", "cpu"];

impl Hardware {
    /// The device of this name.
    pub fn named(name: &str) -> Option<Self> {
        use Precision::{Bf16, F16, F32};
        // memory GB, peak TFLOP/s, per node, inner GB/s, outer GB/s, memory GB/s. NVLink is quoted for both directions together; half of it here.
        let (row, precisions): ([f64; 6], &[Precision]) = match name {
            // NVIDIA V100 datasheet, SXM2 32 GB: 125 TFLOPS tensor, NVLink 300 GB/s, HBM2 900 GB/s. DGX-1: 8 GPUs, 4 x 100 Gb/s.
            "v100" => ([32.0, 125.0, 8.0, 150.0, 6.25, 900.0], &[F16]),
            // NVIDIA A100 datasheet, SXM: 312 TFLOPS, NVLink 600 GB/s, 80 GB at 2,039 GB/s. DGX A100: 8 GPUs, 8 x 200 Gb/s.
            "a100" => ([80.0, 312.0, 8.0, 300.0, 25.0, 2039.0], &[Bf16, F16]),
            // The same, 40 GB at 1,555 GB/s.
            "a100-40" => ([40.0, 312.0, 8.0, 300.0, 25.0, 1555.0], &[Bf16, F16]),
            // NVIDIA H100 datasheet, SXM: 1,979 TFLOPS with sparsity, half without, NVLink 900 GB/s, 80 GB at 3.35 TB/s. DGX H100: 8 x 400 Gb/s.
            "h100" => ([80.0, 989.5, 8.0, 450.0, 50.0, 3350.0], &[Bf16, F16]),
            // NVIDIA H200 datasheet, SXM: as H100, 141 GB at 4.8 TB/s. DGX H200: 8 x 400 Gb/s.
            "h200" => ([141.0, 989.5, 8.0, 450.0, 50.0, 4800.0], &[Bf16, F16]),
            // No maker's figure: two cores with 512-bit vectors on shared memory, one process a machine, 10 Gb/s. `m6 doctor` measures yours.
            "cpu" => ([16.0, 0.2, 1.0, 20.0, 1.25, 20.0], &[F32]),
            _ => return None,
        };
        let [
            memory_gb,
            peak_tflops,
            per_node,
            inner_gb_s,
            outer_gb_s,
            memory_gb_s,
        ] = row;
        Some(Self {
            name: name.into(),
            memory_gb,
            peak_tflops,
            per_node: per_node as usize,
            inner_gb_s,
            outer_gb_s,
            memory_gb_s,
            precisions: precisions.to_vec(),
        })
    }

    /// Every number that is none, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let numbers = [
            ("gpu-memory-gb", self.memory_gb),
            ("peak-tflops", self.peak_tflops),
            ("gpus-per-node", self.per_node as f64),
            ("inner-gb-s", self.inner_gb_s),
            ("outer-gb-s", self.outer_gb_s),
        ];
        let bad = |x: f64| !(x.is_finite() && x > 0.0);
        let bad = numbers.into_iter().filter(|(_, x)| bad(*x));
        bad.map(|(name, x)| format!("--{name} {x} must be a number above 0"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_and_sound() {
        for name in GPU_NAMES {
            let gpu = Hardware::named(name).expect("in the table");
            assert_eq!(gpu.problems(), Vec::<String>::new());
            assert!(!gpu.precisions.is_empty());
        }
        assert_eq!(Hardware::named("h1000"), None);
    }

    #[test]
    fn numbers_that_are_none_are_named() {
        let mut gpu = Hardware::named("a100").expect("in the table");
        (gpu.memory_gb, gpu.outer_gb_s) = (0.0, f64::NAN);
        let problems = gpu.problems();
        assert!(problems[0].contains("gpu-memory-gb") && problems[1].contains("outer-gb-s"));
        assert_eq!(problems.len(), 2);
    }
}
