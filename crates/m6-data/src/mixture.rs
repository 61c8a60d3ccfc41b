//! Which source and which task comes next: always the one furthest behind its share.

/// Draws of a task schedule before it repeats.
const PERIOD: usize = 1000;

/// The index with the largest deficit `w * (n + 1) - drawn`, the first one where two are equal; `weights` need not
/// sum to 1. `None` when no weight is above zero.
pub fn furthest_behind(weights: &[f64], drawn: &[u64]) -> Option<usize> {
    let total: f64 = weights.iter().sum();
    let n = drawn.iter().sum::<u64>() as f64 + 1.0;
    let mut best: Option<(usize, f64)> = None;
    for (at, (weight, drawn)) in weights.iter().zip(drawn).enumerate() {
        if *weight <= 0.0 {
            continue;
        }
        let deficit = weight / total * n - *drawn as f64;
        if best.is_none_or(|(_, most)| deficit > most) {
            best = Some((at, deficit));
        }
    }
    best.map(|(at, _)| at)
}

/// Tasks of one source in a period of 1000 draws, by the same rule. Because it repeats, the task of any draw, and how often
/// that task came before, are known without counting from the start.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Task of each draw of the period, and how often it came before in it.
    draws: Vec<(usize, u64)>,
    /// How often each task comes in a period.
    totals: Vec<u64>,
}

impl Schedule {
    /// The schedule of these weights; `None` when no weight is above zero.
    pub fn new(weights: &[f64]) -> Option<Self> {
        let mut totals = vec![0; weights.len()];
        let mut draws = Vec::with_capacity(PERIOD);
        for _ in 0..PERIOD {
            let task = furthest_behind(weights, &totals)?;
            draws.push((task, totals[task]));
            totals[task] += 1;
        }
        Some(Self { draws, totals })
    }

    /// The task of draw `k`, and how often the same task came before it.
    pub fn at(&self, k: u64) -> (usize, u64) {
        let period = PERIOD as u64;
        let (task, before) = self.draws[(k % period) as usize];
        (task, k / period * self.totals[task] + before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_never_leave_their_share_by_more_than_one_for_two_sources() {
        let weights = [0.7, 0.3];
        let mut drawn = [0u64; 2];
        for n in 1..=5000u64 {
            drawn[furthest_behind(&weights, &drawn).expect("one")] += 1;
            for (weight, drawn) in weights.iter().zip(drawn) {
                assert!((weight * n as f64 - drawn as f64).abs() <= 1.0);
            }
        }
    }

    #[test]
    fn a_schedule_counts_each_task_without_gaps_at_any_draw() {
        let schedule = Schedule::new(&[1.0, 0.0, 2.5, 0.25]).expect("weights");
        let mut counts = [0u64; 4];
        for k in 0..4321 {
            let (task, before) = schedule.at(k);
            assert_eq!(before, counts[task]);
            counts[task] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((counts[2] as f64 / 4321.0 - 2.5 / 3.75).abs() < 0.002);
    }

    #[test]
    fn nothing_is_drawn_where_every_weight_is_zero() {
        assert_eq!(furthest_behind(&[0.0, 0.0], &[0, 0]), None);
        assert!(Schedule::new(&[0.0]).is_none());
    }
}
