//! Which experts a token goes to (paper section 2.5), decided once on the host: probabilities, choices, places, drops.
//!
//! Letters: n tokens, e experts, z prototypes, s choices of a token (`top_k` in each prototype), r rows that reach an expert.

use crate::glue::uninit;
use crate::real::{Real, exp_sum, max};
use m6_store::rng::mix64;
use rayon::prelude::*;
use std::ops::Range;

/// A choice that reaches no expert: there was no room, or the policy left it out.
pub const NO_ROW: u32 = u32::MAX;

/// Tokens per task.
const N_TASK_TOKENS: usize = 64;

/// What the gates of a token's choices inside one prototype are divided by, with two choices or more; a lone choice keeps its probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renormalize {
    /// Nothing: gates are probabilities.
    None,
    /// The sum over all choices, before any is dropped (lucidrains' mixture-of-experts).
    Chosen,
    /// The sum over the choices that reach their experts (DeepSpeed and FastNN).
    Kept,
}

/// Which choices after the first one are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SecondChoice {
    /// All.
    All,
    /// None: as top-1, but with gates among `top_k`.
    None,
    /// Those whose share among the token's choices is above this.
    Above(f64),
    /// With probability share / threshold, keyed; above the threshold always.
    Random {
        /// Share from which a choice is always made, above 0.
        threshold: f64,
        /// The same key draws the same.
        key: u64,
    },
}

/// How tokens are routed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RouteOptions {
    /// Experts that a token chooses inside each prototype, 1 or more.
    pub top_k: usize,
    /// Groups of neighbouring experts, each with a softmax and choices of its own (M6-T).
    pub prototypes: usize,
    /// Most tokens that an expert takes; `None` takes all.
    pub capacity: Option<usize>,
    /// What gates are divided by.
    pub renormalize: Renormalize,
    /// Which choices after the first are made.
    pub second: SecondChoice,
}

/// Where every token goes. Rows are sorted by expert; inside one, all first choices come before all second ones, each in the order of the
/// tokens, and what exceeds the capacity is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// Tokens.
    pub n_tokens: usize,
    /// Choices of a token, `prototypes * top_k`.
    pub n_choices: usize,
    /// Expert of each choice, `[n, s]`.
    pub expert_ns: Vec<u32>,
    /// Row of each choice, `[n, s]`; [`NO_ROW`] where it reaches no expert.
    pub row_ns: Vec<u32>,
    /// Where the rows of each expert begin, and the end: `e + 1` numbers.
    pub offsets: Vec<usize>,
    /// The flat place in `[n, s]` that each row is of.
    pub place_of_row: Vec<u32>,
    /// Choices of each expert, those without room included.
    pub load_e: Vec<u32>,
    /// First choices of each expert, those without room included.
    pub first_e: Vec<u32>,
}

impl Routing {
    /// Number of experts.
    pub fn n_experts(&self) -> usize {
        self.load_e.len()
    }

    /// Choices that reach an expert.
    pub fn n_rows(&self) -> usize {
        self.place_of_row.len()
    }

    /// Choices that found no room.
    pub fn n_dropped(&self) -> u64 {
        let wanted: u64 = self.load_e.iter().map(|&n| u64::from(n)).sum();
        wanted - self.n_rows() as u64
    }

    /// The rows of expert `e`.
    pub fn rows(&self, e: usize) -> Range<usize> {
        self.offsets[e]..self.offsets[e + 1]
    }

    /// The token that a row is of.
    pub fn token_of(&self, row: usize) -> usize {
        self.place_of_row[row] as usize / self.n_choices
    }
}

/// Probabilities of `n` tokens, `[n, e]`, each softmax over the experts of one prototype, and the logarithm of each softmax's divisor,
/// `[n, z]`.
pub fn probabilities<T: Real>(logits_ne: &[T], e: usize, prototypes: usize) -> (Vec<T>, Vec<T>) {
    let group = e / prototypes;
    let n = logits_ne.len() / e;
    let (mut p_ne, mut log_nz) = (uninit(n * e), uninit(n * prototypes));
    p_ne.par_chunks_mut(N_TASK_TOKENS * group)
        .zip(log_nz.par_chunks_mut(N_TASK_TOKENS))
        .zip(logits_ne.par_chunks(N_TASK_TOKENS * group))
        .for_each(|((p, log), logits)| {
            p.copy_from_slice(logits);
            for (p, log) in p.chunks_exact_mut(group).zip(log) {
                *log = softmax(p);
            }
        });
    (p_ne, log_nz)
}

/// Turns logits into probabilities; gives the logarithm of the sum of their exponentials.
fn softmax<T: Real>(x: &mut [T]) -> T {
    let highest = max(x);
    let total = exp_sum(x, highest);
    x.iter_mut().for_each(|p| *p /= total);
    highest + total.ln()
}

/// Decides where the tokens with these probabilities `[n, e]` go. Among equals the lower expert is chosen, and the earlier token gets the
/// place; nothing depends on the number of threads.
pub fn route<T: Real>(p_ne: &[T], e: usize, options: &RouteOptions) -> Routing {
    let (n, s) = (p_ne.len() / e, options.prototypes * options.top_k);
    let mut expert_ns = vec![0; n * s];
    let mut wanted_ns = vec![true; n * s];
    expert_ns
        .par_chunks_mut(s * N_TASK_TOKENS)
        .zip(wanted_ns.par_chunks_mut(s * N_TASK_TOKENS))
        .zip(p_ne.par_chunks(e * N_TASK_TOKENS))
        .enumerate()
        .for_each(|(task, ((experts, wanted), p))| {
            let tokens = experts.chunks_exact_mut(s).zip(wanted.chunks_exact_mut(s));
            for (i, ((experts, wanted), p)) in tokens.zip(p.chunks_exact(e)).enumerate() {
                choose(p, task * N_TASK_TOKENS + i, options, experts, wanted);
            }
        });
    place(expert_ns, &wanted_ns, e, options)
}

/// The choices of one token by its probabilities `[e]`, in the order of prototypes and then of preference.
pub fn choose<T: Real>(
    p_e: &[T],
    token: usize,
    options: &RouteOptions,
    experts: &mut [u32],
    wanted: &mut [bool],
) {
    let k = options.top_k;
    let group = p_e.len() / options.prototypes;
    for (z, p) in p_e.chunks_exact(group).enumerate() {
        let mut total = T::zero();
        for j in 0..k {
            let (earlier, rest) = experts[z * k..(z + 1) * k].split_at_mut(j);
            let taken = |i: usize| earlier.contains(&((z * group + i) as u32));
            let mut best: Option<usize> = None;
            for i in (0..group).filter(|&i| j == 0 || !taken(i)) {
                if best.is_none_or(|best| p[i] > p[best]) {
                    best = Some(i);
                }
            }
            let best = best.unwrap_or(0);
            rest[0] = (z * group + best) as u32;
            total += p[best];
        }
        for j in 1..k {
            let place = z * k + j;
            let share = (p_e[experts[place] as usize] / total).to_f64();
            wanted[place] = match options.second {
                SecondChoice::All => true,
                SecondChoice::None => false,
                SecondChoice::Above(threshold) => share > threshold,
                SecondChoice::Random { threshold, key } => {
                    let at = token as u64 * experts.len() as u64 + place as u64;
                    uniform(key, at) < share / threshold
                }
            };
        }
    }
}

/// A number from 0 to below 1.
fn uniform(key: u64, at: u64) -> f64 {
    (mix64(key, at) >> 11) as f64 / (1u64 << 53) as f64
}

/// Gives the choices their rows.
fn place(expert_ns: Vec<u32>, wanted_ns: &[bool], e: usize, options: &RouteOptions) -> Routing {
    let k = options.top_k;
    let s = options.prototypes * k;
    let n = expert_ns.len() / s;
    let room = options.capacity.unwrap_or(usize::MAX);
    let (mut load_e, mut first_e) = (vec![0u32; e], vec![0u32; e]);
    let mut position_ns = vec![NO_ROW; n * s];
    for rank in 0..k {
        for at in (0..n).flat_map(|t| (0..options.prototypes).map(move |z| t * s + z * k + rank)) {
            let expert = expert_ns[at] as usize;
            first_e[expert] += u32::from(rank == 0);
            if wanted_ns[at] {
                if (load_e[expert] as usize) < room {
                    position_ns[at] = load_e[expert];
                }
                load_e[expert] += 1;
            }
        }
    }
    let mut offsets = vec![0; e + 1];
    for i in 0..e {
        offsets[i + 1] = offsets[i] + room.min(load_e[i] as usize);
    }
    let mut place_of_row = vec![0; offsets[e]];
    let mut row_ns = position_ns;
    for (at, row) in row_ns
        .iter_mut()
        .enumerate()
        .filter(|(_, row)| **row != NO_ROW)
    {
        *row += offsets[expert_ns[at] as usize] as u32;
        place_of_row[*row as usize] = at as u32;
    }
    Routing {
        n_tokens: n,
        n_choices: s,
        expert_ns,
        row_ns,
        offsets,
        place_of_row,
        load_e,
        first_e,
    }
}

/// Factors `[n]` between `1 - width` and `1 + width` on what the router reads, a function of key and place alone.
pub fn jitter_factors(n: usize, width: f64, key: u64) -> Vec<f64> {
    let factor = |i: usize| 1.0 + width * (2.0 * uniform(key, i as u64) - 1.0);
    (0..n).into_par_iter().map(factor).collect()
}

/// Most tokens that an expert takes: `ceil(n * choices * factor / e)`, at least `least`, rounded up to a multiple of `multiple`, where
/// `choices` are all those of a token. The paper's `C = N c / m` with one choice (section 2.5).
pub fn capacity(
    n: usize,
    e: usize,
    choices: usize,
    factor: f64,
    least: usize,
    multiple: usize,
) -> usize {
    let share = n as f64 * choices as f64 * factor / e.max(1) as f64;
    // Beyond the number of tokens there is nothing to take; the cast of a share too large for it saturates.
    let wanted = (share.ceil() as usize).max(least);
    wanted.saturating_add(multiple.max(1) - 1) / multiple.max(1) * multiple.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(top_k: usize, prototypes: usize, capacity: Option<usize>) -> RouteOptions {
        RouteOptions {
            top_k,
            prototypes,
            capacity,
            renormalize: Renormalize::Kept,
            second: SecondChoice::All,
        }
    }

    /// Probabilities of 97 tokens.
    fn drawn(e: usize, prototypes: usize) -> Vec<f64> {
        let logits: Vec<f64> = (0..97 * e)
            .map(|i| ((i * 7919 + 13) % 1009) as f64 / 300.0)
            .collect();
        probabilities(&logits, e, prototypes).0
    }

    #[test]
    fn a_capacity_is_the_share_rounded_up_and_never_below_the_least() {
        // (n, e, choices, factor, least, multiple), C.
        for ((n, e, choices, factor, least, multiple), want) in [
            ((2048, 8, 1, 1.25, 4, 1), 320),
            ((100, 8, 1, 1.0, 4, 1), 13),
            ((100, 8, 2, 1.0, 4, 1), 25),
            ((8, 8, 1, 1.0, 4, 1), 4),
            ((100, 8, 1, 1.0, 4, 4), 16),
            ((0, 8, 1, 1.0, 0, 1), 0),
        ] {
            assert_eq!(capacity(n, e, choices, factor, least, multiple), want);
        }
    }

    #[test]
    fn ties_go_to_the_lower_expert_and_first_choices_before_second_ones() {
        let p = [0.25f64; 12];
        let routing = route(&p, 4, &options(2, 1, Some(2)));
        assert_eq!(routing.expert_ns, [0, 1, 0, 1, 0, 1]);
        // Both have room for the first two tokens.
        assert_eq!(routing.row_ns, [0, 2, 1, 3, NO_ROW, NO_ROW]);
        assert_eq!(
            (routing.n_dropped(), &routing.load_e[..]),
            (2, &[3, 3, 0, 0][..])
        );
        // Here the second choice of token 0 waits for the first one of token 1.
        let p = [0.6, 0.4, 0.1, 0.9];
        let routing = route(&p, 2, &options(2, 1, Some(1)));
        assert_eq!(routing.row_ns, [0, NO_ROW, 1, NO_ROW]);
    }

    #[test]
    fn rows_and_places_are_each_others_inverse_and_no_expert_is_over_its_room() {
        for (top_k, prototypes, capacity) in [
            (1, 1, Some(9)),
            (2, 1, Some(20)),
            (1, 4, Some(15)),
            (2, 2, None),
        ] {
            let routing = route(
                &drawn(12, prototypes),
                12,
                &options(top_k, prototypes, capacity),
            );
            let kept = routing.row_ns.iter().filter(|&&row| row != NO_ROW).count();
            assert_eq!(kept, routing.n_rows());
            for e in 0..12 {
                assert!(routing.rows(e).len() <= capacity.unwrap_or(usize::MAX));
                for row in routing.rows(e) {
                    let at = routing.place_of_row[row] as usize;
                    assert_eq!(
                        (routing.row_ns[at], routing.expert_ns[at]),
                        (row as u32, e as u32)
                    );
                }
            }
            let wanted: u32 = routing.load_e.iter().sum();
            assert_eq!(wanted as usize, 97 * top_k * prototypes);
            assert_eq!(
                routing.n_dropped() == 0,
                capacity.is_none() || kept == 97 * top_k * prototypes
            );
            // Each prototype chooses among its own experts.
            for (at, &expert) in routing.expert_ns.iter().enumerate() {
                let z = at % routing.n_choices / top_k;
                assert_eq!(expert as usize / (12 / prototypes), z);
            }
        }
    }

    #[test]
    fn second_choices_follow_their_policy() {
        let logits: Vec<f64> = (0..97 * 6).map(|i| 3.0 * uniform(5, i)).collect();
        let (p, _) = probabilities(&logits, 6, 1);
        let made = |second| {
            let routing = route(
                &p,
                6,
                &RouteOptions {
                    second,
                    ..options(2, 1, None)
                },
            );
            routing
                .row_ns
                .iter()
                .skip(1)
                .step_by(2)
                .filter(|&&row| row != NO_ROW)
                .count()
        };
        let share = |t: usize| {
            let mut p: Vec<f64> = p[t * 6..][..6].to_vec();
            p.sort_by(|a, b| b.total_cmp(a));
            p[1] / (p[0] + p[1])
        };
        let above = (0..97).filter(|&t| share(t) > 0.45).count();
        assert!(0 < above && above < 97);
        assert_eq!(made(SecondChoice::All), 97);
        assert_eq!(made(SecondChoice::None), 0);
        assert_eq!(made(SecondChoice::Above(0.45)), above);
        // A share is at most a half, so that this draws each with twice its share or less.
        let random = made(SecondChoice::Random {
            threshold: 1.0,
            key: 3,
        });
        let expected: f64 = (0..97).map(share).sum();
        assert!(
            (random as f64 - expected).abs() < 20.0,
            "{random} {expected}"
        );
        assert_eq!(
            made(SecondChoice::Random {
                threshold: 1e-9,
                key: 3
            }),
            97
        );
    }
}
