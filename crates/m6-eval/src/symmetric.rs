//! Symmetric matrices `[n, n]`, row by row: a factor of a semi-definite one, and eigenvalues. Every row is worked on by one thread, so
//! that results do not depend on their number.

use m6_nn::real::dot;
use rayon::prelude::*;

/// Numbers a task works on at least, so that handing it out costs little beside the work.
const MIN_NUMBERS: usize = 1 << 14;
/// Steps an eigenvalue may take; three are usual.
const MAX_STEPS: usize = 64;

/// `L` `[n, r]` with `L L^T = a` for a semi-definite `a`, and its rank r: Cholesky with pivots, ended where what is left is rounding.
pub(crate) fn factor(a: &[f64], n: usize) -> (Vec<f64>, usize) {
    let mut left: Vec<f64> = a.iter().step_by(n + 1).copied().collect();
    let largest = left.iter().copied().fold(0.0, f64::max);
    let rounding = n as f64 * f64::EPSILON * largest;
    let mut l = vec![0.0; n * n];
    let mut used = vec![false; n];
    let mut rank = 0;
    while rank < n {
        let free = (0..n).filter(|i| !used[*i]);
        let Some(pivot) = free.max_by(|i, j| left[*i].total_cmp(&left[*j]).then(j.cmp(i))) else {
            break;
        };
        if left[pivot] <= rounding {
            break;
        }
        let root = left[pivot].sqrt();
        let known = l[pivot * n..][..rank].to_vec();
        used[pivot] = true;
        l.par_chunks_mut(n)
            .zip(&mut left)
            .zip(&used)
            .enumerate()
            .with_min_len(MIN_NUMBERS.div_ceil(rank + 1))
            .for_each(|(i, ((row, left), used))| {
                if i == pivot {
                    row[rank] = root;
                } else if !used {
                    let value = (a[i * n + pivot] - dot(&row[..rank], &known)) / root;
                    row[rank] = value;
                    *left -= value * value;
                }
            });
        rank += 1;
    }
    let rows = l.chunks_exact(n.max(1)).flat_map(|row| &row[..rank]);
    (rows.copied().collect(), rank)
}

/// All eigenvalues, in no order; `None` when they do not converge, which only numbers that are not finite bring about.
pub(crate) fn eigenvalues(a: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    let (mut diagonal, mut beside) = tridiagonal(a, n);
    implicit_ql(&mut diagonal, &mut beside)?;
    Some(diagonal)
}

/// A reflection `I - beta v v^T` that takes `x` to `(alpha, 0, ...)`.
struct Reflection {
    v: Vec<f64>,
    beta: f64,
    alpha: f64,
}

impl Reflection {
    fn of(x: &[f64]) -> Self {
        let length = dot(x, x).sqrt();
        let alpha = if x[0] > 0.0 { -length } else { length };
        let mut v = x.to_vec();
        v[0] -= alpha;
        let norm = dot(&v, &v);
        let beta = if norm > 0.0 { 2.0 / norm } else { 0.0 };
        Self { v, beta, alpha }
    }
}

/// `row -= f * x + g * y`.
fn subtract(row: &mut [f64], f: f64, x: &[f64], g: f64, y: &[f64]) {
    for ((r, x), y) in row.iter_mut().zip(x).zip(y) {
        *r -= f * x + g * y;
    }
}

/// Diagonal and what is beside it of a tridiagonal matrix with the eigenvalues of `a` (Householder).
///
/// The matrix is gone through once a step: a row takes the last step's change and is multiplied with this step's vector at once.
fn tridiagonal(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut diagonal, mut beside) = (Vec::with_capacity(n), Vec::with_capacity(n));
    // The last step's change of the rows and columns from `k` on: `v w^T + w v^T`.
    let (mut v, mut w) = (vec![0.0; n], vec![0.0; n]);
    for k in 0..n {
        let (top, below) = a.split_at_mut((k + 1) * n);
        let row = &mut top[k * n + k..];
        subtract(row, v[0], &w, w[0], &v);
        diagonal.push(row[0]);
        if k + 1 == n {
            break;
        }
        let turn = Reflection::of(&row[1..]);
        beside.push(turn.alpha);
        let (old_v, old_w) = (&v[1..], &w[1..]);
        let mut p: Vec<f64> = below
            .par_chunks_mut(n)
            .with_min_len(MIN_NUMBERS.div_ceil(n - k))
            .enumerate()
            .map(|(i, row)| {
                let row = &mut row[k + 1..];
                subtract(row, old_v[i], old_w, old_w[i], old_v);
                turn.beta * dot(row, &turn.v)
            })
            .collect();
        let half = 0.5 * turn.beta * dot(&p, &turn.v);
        p.iter_mut().zip(&turn.v).for_each(|(p, v)| *p -= half * v);
        (v, w) = (turn.v, p);
    }
    (diagonal, beside)
}

/// Leaves the eigenvalues in `d` (QL with implicit shifts, as EISPACK's imtql1); `e` `[n - 1]` is what stands beside the diagonal.
fn implicit_ql(d: &mut [f64], e: &mut Vec<f64>) -> Option<()> {
    let n = d.len();
    e.resize(n, 0.0);
    for l in 0..n {
        for step in 0.. {
            let small = |m: &usize| e[*m].abs() <= f64::EPSILON * (d[*m].abs() + d[m + 1].abs());
            let m = (l..n - 1).find(small).unwrap_or(n - 1);
            if m == l {
                break;
            }
            if step == MAX_STEPS {
                return None;
            }
            ql_step(d, e, l, m);
        }
    }
    Some(())
}

/// One sweep over the block from `l` to `m`.
fn ql_step(d: &mut [f64], e: &mut [f64], l: usize, m: usize) {
    let ahead = (d[l + 1] - d[l]) / (2.0 * e[l]);
    let mut g = d[m] - d[l] + e[l] / (ahead + ahead.hypot(1.0).copysign(ahead));
    let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
    for i in (l..m).rev() {
        let (f, b) = (s * e[i], c * e[i]);
        let r = f.hypot(g);
        e[i + 1] = r;
        if r == 0.0 {
            d[i + 1] -= p;
            e[m] = 0.0;
            return;
        }
        (s, c) = (f / r, g / r);
        g = d[i + 1] - p;
        let turned = (d[i] - g) * s + 2.0 * c * b;
        p = s * turned;
        d[i + 1] = g + p;
        g = c * turned - b;
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0.0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(mut values: Vec<f64>) -> Vec<f64> {
        values.sort_by(f64::total_cmp);
        values
    }

    #[test]
    fn the_chain_of_springs_has_its_known_eigenvalues() {
        let n = 40;
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            a[i * n + i] = 2.0;
            if i > 0 {
                a[i * n + i - 1] = -1.0;
                a[(i - 1) * n + i] = -1.0;
            }
        }
        let angle = |k: usize| std::f64::consts::PI * k as f64 / (n + 1) as f64;
        for (k, value) in sorted(eigenvalues(a, n).unwrap()).into_iter().enumerate() {
            assert!((value - (2.0 - 2.0 * angle(k + 1).cos())).abs() < 1e-13);
        }
    }

    #[test]
    fn zeros_and_numbers_that_are_none_end() {
        assert_eq!(eigenvalues(vec![0.0; 9], 3).unwrap(), [0.0; 3]);
        assert_eq!(eigenvalues(Vec::new(), 0).unwrap(), [0.0; 0]);
        assert!(eigenvalues(vec![f64::NAN; 16], 4).is_none());
        assert_eq!(factor(&[0.0; 9], 3).1, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// `x x^T` of `x` `[n, r]` has rank r, its factor gives it back, and trace and square sum are those of the eigenvalues.
        #[test]
        fn products_are_factored_and_keep_their_invariants(
            (n, r, x) in (1usize..12, 1usize..6).prop_flat_map(|(n, r)| {
                (Just(n), Just(r), prop::collection::vec(-3.0f64..3.0, n * r))
            })
        ) {
            let product = |x: &[f64], r: usize| -> Vec<f64> {
                (0..n * n).map(|e| dot(&x[e / n * r..][..r], &x[e % n * r..][..r])).collect()
            };
            let a = product(&x, r);
            let (l, rank) = factor(&a, n);
            prop_assert!(rank <= r.min(n));
            let scale = a.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            for (got, want) in product(&l, rank).iter().zip(&a) {
                prop_assert!((got - want).abs() < 1e-12 * scale);
            }
            let values = eigenvalues(a.clone(), n).unwrap();
            let trace: f64 = a.iter().step_by(n + 1).sum();
            prop_assert!((values.iter().sum::<f64>() - trace).abs() < 1e-12 * scale * n as f64);
            prop_assert!((dot(&values, &values) - dot(&a, &a)).abs() < 1e-11 * scale * scale * n as f64);
        }
    }
}
