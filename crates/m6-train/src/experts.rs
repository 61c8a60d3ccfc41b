//! How evenly the tokens of an update went to experts, over its micro-batches.

use m6_model::ExpertLoad;
use serde::{Deserialize, Serialize};

/// What `metrics.jsonl` says of experts; the names there begin with `moe/`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpertReport {
    /// Share of the choices of all layers that found no room, 0 to 1.
    pub dropped: f64,
    /// Coefficient of variation of the experts' loads, mean over layers: 0 is even.
    pub load_cv: f64,
    /// Balance loss without its weight, mean over layers and, by labels, over micro-batches: 1 is even.
    pub aux_loss: f64,
    /// The router's z loss, likewise.
    pub z_loss: f64,
    /// Block (from 0) and choices of each of its experts, those without room included.
    pub load: Vec<(usize, Vec<u64>)>,
}

impl ExpertReport {
    /// Every number with its name in `metrics.jsonl` and TensorBoard, the loads apart.
    pub fn scalars(&self) -> [(String, f64); 4] {
        [
            ("moe/dropped", self.dropped),
            ("moe/load_cv", self.load_cv),
            ("moe/aux_loss", self.aux_loss),
            ("moe/z_loss", self.z_loss),
        ]
        .map(|(name, value)| (name.to_string(), value))
    }
}

/// Sums over the micro-batches of an update. Ranks tell each other theirs, the numbers with a fraction as bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExpertSums {
    layers: Vec<(usize, Vec<u64>)>,
    n_dropped: u64,
    #[serde(with = "bits")]
    balance: f64,
    #[serde(with = "bits")]
    z: f64,
}

impl ExpertSums {
    /// Adds one micro-batch, which has this share of the labels.
    pub fn add(&mut self, loads: &[ExpertLoad], share: f64) {
        for (i, load) in loads.iter().enumerate() {
            if i == self.layers.len() {
                self.layers.push((load.layer, vec![0; load.load.len()]));
            }
            for (sum, &n) in self.layers[i].1.iter_mut().zip(&load.load) {
                *sum += u64::from(n);
            }
            self.n_dropped += load.n_dropped;
            self.balance += share * load.balance;
            self.z += share * load.z;
        }
    }

    /// Adds what another rank summed up.
    pub fn merge(&mut self, other: &Self) {
        for (i, (layer, load)) in other.layers.iter().enumerate() {
            if i == self.layers.len() {
                self.layers.push((*layer, vec![0; load.len()]));
            }
            for (sum, n) in self.layers[i].1.iter_mut().zip(load) {
                *sum += n;
            }
        }
        self.n_dropped += other.n_dropped;
        self.balance += other.balance;
        self.z += other.z;
    }

    /// What was found; nothing for a model without experts.
    pub fn report(self) -> Option<ExpertReport> {
        if self.layers.is_empty() {
            return None;
        }
        let n = self.layers.len() as f64;
        let n_choices: u64 = self.layers.iter().flat_map(|(_, load)| load).sum();
        let cv: f64 = self.layers.iter().map(|(_, load)| variation(load)).sum();
        Some(ExpertReport {
            dropped: self.n_dropped as f64 / n_choices.max(1) as f64,
            load_cv: cv / n,
            aux_loss: self.balance / n,
            z_loss: self.z / n,
            load: self.layers,
        })
    }
}

/// A number as its bits: JSON may round.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

/// Standard deviation over mean; 0 of nothing.
fn variation(load: &[u64]) -> f64 {
    let n = load.len().max(1) as f64;
    let mean = load.iter().sum::<u64>() as f64 / n;
    if mean == 0.0 {
        return 0.0;
    }
    let square = |&n: &u64| (n as f64 - mean).powi(2);
    (load.iter().map(square).sum::<f64>() / n).sqrt() / mean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(layer: usize, load: &[u32], n_dropped: u64, balance: f64) -> ExpertLoad {
        ExpertLoad {
            layer,
            load: load.to_vec(),
            n_dropped,
            balance,
            z: 2.0 * balance,
        }
    }

    #[test]
    fn micro_batches_add_up_and_losses_are_means() {
        let mut sums = ExpertSums::default();
        sums.add(&[load(1, &[4, 0], 1, 2.0), load(3, &[2, 2], 0, 1.0)], 0.25);
        sums.add(&[load(1, &[4, 0], 1, 1.0), load(3, &[2, 2], 0, 1.0)], 0.75);
        let report = sums.report().expect("experts");
        assert_eq!(report.load, [(1, vec![8, 0]), (3, vec![4, 4])]);
        // Of 16 choices 2 were dropped; the loads vary by 1 and by 0.
        assert_eq!((report.dropped, report.load_cv), (0.125, 0.5));
        assert_eq!((report.aux_loss, report.z_loss), (1.125, 2.25));
        assert_eq!(ExpertSums::default().report(), None);
    }

    #[test]
    fn what_ranks_tell_each_other_adds_up_to_the_bit() {
        let parts = [
            (load(1, &[3, 1], 1, 0.1), 0.3),
            (load(1, &[0, 4], 2, 0.7), 0.7),
        ];
        let (mut whole, mut told) = (ExpertSums::default(), ExpertSums::default());
        for (load, share) in parts {
            whole.add(std::slice::from_ref(&load), share);
            let mut own = ExpertSums::default();
            own.add(&[load], share);
            let text = serde_json::to_string(&own).unwrap();
            told.merge(&serde_json::from_str(&text).unwrap());
        }
        assert_eq!(told, whole);
    }
}
