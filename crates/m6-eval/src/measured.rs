//! A metric's result as one row of statistics for every item and a way from rows to figures, so that sets of items can be drawn again
//! without looking at a text again; bootstrap intervals and paired tests by it.

use crate::error::{Error, Result};
use m6_store::rng::Key;
use rayon::prelude::*;
use serde_json::Value;

type OfSums = Box<dyn Fn(&[f64]) -> Vec<f64> + Send + Sync>;
type OfRows = Box<dyn Fn(&[(&[f64], u32)]) -> Vec<f64> + Send + Sync>;

/// From rows to figures.
pub(crate) enum Reduce {
    /// From the sums of every column over the items.
    Sums(OfSums),
    /// From all rows, each with the number of times it was drawn (never 0).
    Rows(OfRows),
}

/// What a metric found.
pub struct Measured {
    /// Names of the figures.
    pub names: Vec<String>,
    /// Figures without an interval (they are no function of a sample of items), by name.
    pub fixed: Vec<(String, f64)>,
    /// One object for every item, in the order of the references.
    pub per_item: Vec<Value>,
    /// Ids, in the same order.
    pub ids: Vec<String>,
    pub(crate) width: usize,
    /// `[n, width]`.
    pub(crate) rows: Vec<f64>,
    pub(crate) reduce: Reduce,
}

/// One figure of two systems, the first less the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// First system less second.
    pub difference: f64,
    /// 95 % percentile interval of it, by paired bootstrap.
    pub interval: [f64; 2],
    /// Chance of a difference at least as large when the systems are exchanged at random item by item; NaN where there is no difference
    /// to speak of, since a figure is not defined.
    pub p: f64,
}

impl Measured {
    /// Number of items.
    pub fn n(&self) -> usize {
        self.ids.len()
    }

    /// The figures, in the order of [`Measured::names`]; NaN where one is not defined.
    pub fn figures(&self) -> Vec<f64> {
        let all: Vec<(u32, usize)> = (0..self.n()).map(|i| (1, i)).collect();
        self.reduced(all.iter().map(|(n, i)| (self.row(*i), *n)))
    }

    /// 95 % percentile intervals of all figures from `n_resamples` draws of the items with replacement. The same key gives the same
    /// intervals for any number of threads.
    pub fn intervals(&self, n_resamples: usize, key: Key) -> Vec<[f64; 2]> {
        let draws: Vec<Vec<f64>> = (0..n_resamples)
            .into_par_iter()
            .map(|draw| self.weighted(&weights(self.n(), key.at(draw as u64))))
            .collect();
        (0..self.names.len())
            .map(|k| percentiles(draws.iter().map(|draw| draw[k])))
            .collect()
    }

    /// Compares with another system on the same references, figure by figure: paired bootstrap for the interval, approximate
    /// randomisation for the p value (Noreen 1989), `n_resamples` draws each.
    ///
    /// # Errors
    /// [`Error::Mismatched`] when the two were not measured on the same items.
    pub fn compare(&self, other: &Self, n_resamples: usize, key: Key) -> Result<Vec<Difference>> {
        if self.ids != other.ids || self.names != other.names || self.width != other.width {
            return Err(Error::Mismatched {
                n: self.n(),
                n_other: other.n(),
            });
        }
        let (draw_key, swap_key) = (key.child("bootstrap"), key.child("randomise"));
        let observed = minus(self.figures(), other.figures());
        let draws: Vec<(Vec<f64>, Vec<f64>)> = (0..n_resamples)
            .into_par_iter()
            .map(|draw| {
                let weights = weights(self.n(), draw_key.at(draw as u64));
                let resampled = minus(self.weighted(&weights), other.weighted(&weights));
                (resampled, self.exchanged(other, swap_key.at(draw as u64)))
            })
            .collect();
        let compared = observed.iter().enumerate().map(|(k, &difference)| {
            // Sums in another order may differ in the last bits.
            let least = difference.abs() * (1.0 - 1e-9) - 1e-12;
            let n_as_large = draws.iter().filter(|(_, d)| d[k].abs() >= least).count();
            Difference {
                difference,
                interval: percentiles(draws.iter().map(|(d, _)| d[k])),
                p: match difference.is_finite() {
                    true => (n_as_large + 1) as f64 / (n_resamples + 1) as f64,
                    false => f64::NAN,
                },
            }
        });
        Ok(compared.collect())
    }

    /// The difference after exchanging the systems on a random half of the items.
    fn exchanged(&self, other: &Self, key: Key) -> Vec<f64> {
        let mut stream = key.stream();
        let swap: Vec<bool> = (0..self.n()).map(|_| stream.next_u32() & 1 == 1).collect();
        let side = |flip: bool| {
            let rows = swap.iter().enumerate();
            self.reduced(rows.map(move |(i, &swapped)| {
                let source = if swapped == flip { self } else { other };
                (source.row(i), 1)
            }))
        };
        minus(side(false), side(true))
    }

    fn weighted(&self, weights: &[u32]) -> Vec<f64> {
        let drawn = weights.iter().enumerate().filter(|(_, n)| **n > 0);
        self.reduced(drawn.map(|(i, n)| (self.row(i), *n)))
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.width..(i + 1) * self.width]
    }

    fn reduced<'a>(&self, rows: impl Iterator<Item = (&'a [f64], u32)>) -> Vec<f64> {
        match &self.reduce {
            Reduce::Sums(figures) => {
                let mut sums = vec![0.0; self.width];
                for (row, n) in rows {
                    for (sum, x) in sums.iter_mut().zip(row) {
                        *sum += f64::from(n) * x;
                    }
                }
                figures(&sums)
            }
            Reduce::Rows(figures) => figures(&rows.collect::<Vec<_>>()),
        }
    }
}

/// How often each of `n` items is drawn in `n` draws.
fn weights(n: usize, key: Key) -> Vec<u32> {
    let mut stream = key.stream();
    let mut weights = vec![0; n];
    for _ in 0..n {
        weights[stream.below(n as u64) as usize] += 1;
    }
    weights
}

fn minus(a: Vec<f64>, b: Vec<f64>) -> Vec<f64> {
    a.iter().zip(&b).map(|(a, b)| a - b).collect()
}

/// The 2.5 and 97.5 % percentiles of what is finite; NaN when nothing is.
fn percentiles(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let mut values: Vec<f64> = values.filter(|x| x.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        return [f64::NAN; 2];
    };
    [0.025, 0.975].map(|q| values[(q * last as f64).round() as usize])
}

/// A share, NaN of nothing.
pub(crate) fn share(part: f64, whole: f64) -> f64 {
    part / whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(values: &[f64]) -> Measured {
        Measured {
            names: vec!["mean".to_owned()],
            fixed: Vec::new(),
            per_item: Vec::new(),
            ids: (0..values.len()).map(|i| i.to_string()).collect(),
            width: 2,
            rows: values.iter().flat_map(|v| [1.0, *v]).collect(),
            reduce: Reduce::Sums(Box::new(|sums| vec![sums[1] / sums[0]])),
        }
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_its_standard_error() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 2)).collect();
        let measured = mean_of(&values);
        assert_eq!(measured.figures(), [0.5]);
        let [low, high] = measured.intervals(2000, Key::new(1))[0];
        let half = 1.96 * (0.25f64 / 1000.0).sqrt();
        assert!((low - (0.5 - half)).abs() < 0.004, "{low}");
        assert!((high - (0.5 + half)).abs() < 0.004, "{high}");
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
        let measured = mean_of(&[0.1, 0.7, 0.4, 0.9, 0.3]);
        let one = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let alone = one.install(|| measured.intervals(50, Key::new(7)));
        assert_eq!(measured.intervals(50, Key::new(7)), alone);
        let draws = |seed| weights(100, Key::new(seed));
        assert_ne!(draws(7), draws(8));
    }

    #[test]
    fn a_clear_difference_is_significant_and_none_is_not() {
        let low: Vec<f64> = (0..50).map(|i| f64::from(i % 5)).collect();
        let high: Vec<f64> = low.iter().map(|x| x + 1.0).collect();
        let (low, high) = (mean_of(&low), mean_of(&high));
        let found = high.compare(&low, 999, Key::new(3)).unwrap()[0];
        assert!((found.difference - 1.0).abs() < 1e-12);
        assert!(
            (found.interval[0] - 1.0).abs() < 1e-9,
            "every pair differs by 1"
        );
        assert!(found.p <= 0.001 + 1e-12, "{}", found.p);
        assert_eq!(low.compare(&low, 99, Key::new(3)).unwrap()[0].p, 1.0);
        let undefined = mean_of(&[f64::NAN; 50]);
        let none = undefined.compare(&low, 99, Key::new(3)).unwrap()[0];
        assert!(none.p.is_nan() && none.interval[0].is_nan());
        let other = mean_of(&[1.0]);
        assert!(matches!(
            low.compare(&other, 9, Key::new(3)),
            Err(Error::Mismatched { .. })
        ));
    }
}
