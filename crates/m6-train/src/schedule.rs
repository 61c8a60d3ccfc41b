//! The learning rate as a pure function of the step.

use serde::{Deserialize, Serialize};

/// Form of the decay after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Half a cosine from `lr` to `lr * min_lr_ratio`.
    Cosine,
    /// A straight line from `lr` to `lr * min_lr_ratio`.
    Linear,
    /// No decay.
    Constant,
}

/// Warm-up followed by a decay; it has no state, so resuming needs only the step. Ours: the paper is silent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Form of the decay.
    pub kind: ScheduleKind,
    /// Highest learning rate.
    pub lr: f64,
    /// Learning rate of the last update as a share of `lr`, 0 to 1.
    pub min_lr_ratio: f64,
    /// Updates of the linear rise.
    pub warmup_steps: u64,
    /// Updates of the whole run.
    pub steps: u64,
}

impl Schedule {
    /// Learning rate of update `step`, counted from 1: the warm-up ends at `lr` on update `warmup_steps`, the decay
    /// ends at `lr * min_lr_ratio` on update `steps`.
    pub fn lr_at(&self, step: u64) -> f64 {
        if step <= self.warmup_steps {
            return self.lr * step as f64 / self.warmup_steps.max(1) as f64;
        }
        // The peak is the last update of the warm-up, or the first of all when there is none.
        let peak = self.warmup_steps.max(1);
        let span = self.steps.saturating_sub(peak).max(1);
        let progress = (step.saturating_sub(peak) as f64 / span as f64).min(1.0);
        let left = match self.kind {
            ScheduleKind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            ScheduleKind::Linear => 1.0 - progress,
            ScheduleKind::Constant => 1.0,
        };
        self.lr * (self.min_lr_ratio + (1.0 - self.min_lr_ratio) * left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ScheduleKind, warmup_steps: u64, expected: &[(u64, f64)]) {
        let schedule = Schedule {
            kind,
            lr: 2.0,
            min_lr_ratio: 0.1,
            warmup_steps,
            steps: 110,
        };
        for &(step, lr) in expected {
            let got = schedule.lr_at(step);
            assert!(
                (got - lr).abs() < 1e-12,
                "{kind:?} step {step}: expected {lr}, got {got}"
            );
        }
    }

    #[test]
    fn warm_up_rises_to_the_peak() {
        check(ScheduleKind::Cosine, 10, &[(1, 0.2), (5, 1.0), (10, 2.0)]);
    }

    #[test]
    fn cosine_passes_the_middle_and_ends_at_the_floor() {
        check(
            ScheduleKind::Cosine,
            10,
            &[(60, 1.1), (110, 0.2), (500, 0.2)],
        );
    }

    #[test]
    fn linear_is_straight() {
        check(
            ScheduleKind::Linear,
            10,
            &[(35, 1.55), (60, 1.1), (110, 0.2)],
        );
    }

    #[test]
    fn constant_stays() {
        check(
            ScheduleKind::Constant,
            10,
            &[(5, 1.0), (11, 2.0), (110, 2.0)],
        );
    }

    #[test]
    fn without_warm_up_the_first_update_is_the_peak() {
        check(ScheduleKind::Linear, 0, &[(1, 2.0), (110, 0.2)]);
    }

    #[test]
    fn a_run_of_one_step_has_a_rate() {
        let schedule = Schedule {
            kind: ScheduleKind::Cosine,
            lr: 1.0,
            min_lr_ratio: 0.0,
            warmup_steps: 0,
            steps: 1,
        };
        assert_eq!(schedule.lr_at(1), 1.0);
    }
}
