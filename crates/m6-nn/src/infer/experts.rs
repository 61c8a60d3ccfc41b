//! Feed-forward experts whose rows do not depend on their neighbours, bit for bit: every choice is made and no token is dropped.

use crate::infer::linear::linear_rows;
use crate::kernels::gates::gates_of_token;
use crate::kernels::linear::Act;
use crate::kernels::route::{NO_ROW, RouteOptions, choose, probabilities};

/// Weights of an expert layer: letters as in [`crate::kernels::route`], d model, f feed-forward.
#[derive(Clone, Copy)]
pub struct ExpertRows<'a> {
    /// Router, `[e, d]`.
    pub router_ed: &'a [f32],
    /// First layer, `[e, f, d]`.
    pub up_efd: &'a [f32],
    /// Its biases, `[e, f]`.
    pub up_bias_ef: &'a [f32],
    /// Second layer, `[e, d, f]`.
    pub down_edf: &'a [f32],
    /// Its biases, `[e, d]`.
    pub down_bias_ed: &'a [f32],
}

/// Where one choice of one row goes, with its weight.
struct Place {
    expert: u32,
    row: usize,
    gate: f32,
}

/// `out [n, d] = sum_s gate_s E_s(x)` of rows `x [n, d]`; row `i` of `out` depends on row `i` of `x` alone. The capacity of `options` is
/// not looked at. Of the experts' weights only those are read that a row chose.
///
/// Panics if the slices do not have these lengths.
pub fn expert_rows(
    x_nd: &[f32],
    d: usize,
    weights: &ExpertRows<'_>,
    options: &RouteOptions,
    out_nd: &mut [f32],
) {
    assert_eq!(x_nd.len(), out_nd.len(), "x and out are not of one shape");
    out_nd.fill(0.0);
    let (n, e) = (x_nd.len() / d, weights.router_ed.len() / d);
    let f = weights.up_bias_ef.len() / e;
    let mut logits_ne = vec![0.0; n * e];
    linear_rows(
        x_nd,
        n,
        d,
        weights.router_ed,
        None,
        Act::None,
        &mut logits_ne,
    );
    let mut places = places(&logits_ne, e, options);
    // A row's own order of experts is the same whoever is beside it.
    places.sort_by_key(|place| (place.expert, place.row));
    for chunk in places.chunk_by(|a, b| a.expert == b.expert) {
        let (m, expert) = (chunk.len(), chunk[0].expert as usize);
        let x: Vec<f32> = chunk
            .iter()
            .flat_map(|place| &x_nd[place.row * d..][..d])
            .copied()
            .collect();
        let (mut h, mut y) = (vec![0.0; m * f], vec![0.0; m * d]);
        let up = &weights.up_efd[expert * f * d..][..f * d];
        let bias = &weights.up_bias_ef[expert * f..][..f];
        linear_rows(&x, m, d, up, Some(bias), Act::Gelu, &mut h);
        let down = &weights.down_edf[expert * d * f..][..d * f];
        let bias = &weights.down_bias_ed[expert * d..][..d];
        linear_rows(&h, m, f, down, Some(bias), Act::None, &mut y);
        for (place, y) in chunk.iter().zip(y.chunks_exact(d)) {
            for (out, &y) in out_nd[place.row * d..][..d].iter_mut().zip(y) {
                *out += place.gate * y;
            }
        }
    }
}

/// The choices that are made, each with the gate it has when no other row is there.
fn places(logits_ne: &[f32], e: usize, options: &RouteOptions) -> Vec<Place> {
    let s = options.prototypes * options.top_k;
    let (p_ne, _) = probabilities(logits_ne, e, options.prototypes);
    let (mut experts, mut wanted) = (vec![0; s], vec![true; s]);
    let mut gates = vec![0.0; s];
    let mut places = Vec::with_capacity(p_ne.len() / e * s);
    for (row, p_e) in p_ne.chunks_exact(e).enumerate() {
        wanted.fill(true);
        choose(p_e, row, options, &mut experts, &mut wanted);
        let rows: Vec<u32> = wanted
            .iter()
            .map(|&wanted| if wanted { 0 } else { NO_ROW })
            .collect();
        gates_of_token(p_e, &experts, &rows, options, &mut gates);
        let chosen = experts.iter().zip(&gates).zip(&wanted);
        places.extend(
            chosen
                .filter(|(_, wanted)| **wanted)
                .map(|((&expert, &gate), _)| Place { expert, row, gate }),
        );
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{self, ExpertWeights, Renormalize, SecondChoice};
    use crate::param::Param;
    use crate::tolerance::{OP_F32, assert_close};
    use candle_core::{Device, Tensor};

    const N: usize = 23;
    const D: usize = 16;
    const F: usize = 24;
    const E: usize = 6;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0)
            .collect()
    }

    fn options(top_k: usize, prototypes: usize, second: SecondChoice) -> RouteOptions {
        RouteOptions {
            top_k,
            prototypes,
            capacity: None,
            renormalize: Renormalize::Kept,
            second,
        }
    }

    #[test]
    fn rows_are_those_of_the_operator_and_do_not_depend_on_their_neighbours() {
        let (x, router) = (numbers(N * D, 1), numbers(E * D, 2));
        let (up, up_bias) = (numbers(E * F * D, 3), numbers(E * F, 4));
        let (down, down_bias) = (numbers(E * D * F, 5), numbers(E * D, 6));
        let weights = ExpertRows {
            router_ed: &router,
            up_efd: &up,
            up_bias_ef: &up_bias,
            down_edf: &down,
            down_bias_ed: &down_bias,
        };
        let tensor = |values: &[f32], shape: &[usize]| {
            Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
        };
        let param = |values: &[f32], shape: &[usize]| {
            Param::new("w", &tensor(values, shape), true).unwrap()
        };
        let stacked = ExpertWeights {
            up_efd: param(&up, &[E, F, D]),
            up_bias_ef: param(&up_bias, &[E, F]),
            down_edf: param(&down, &[E, D, F]),
            down_bias_ed: param(&down_bias, &[E, D]),
        };
        for options in [
            options(1, 1, SecondChoice::All),
            options(2, 1, SecondChoice::All),
            options(2, 1, SecondChoice::Above(0.4)),
            options(1, 3, SecondChoice::All),
        ] {
            let mut all = vec![9.0; N * D];
            expert_rows(&x, D, &weights, &options, &mut all);
            let x_nd = tensor(&x, &[N, D]);
            let logits = ops::linear(&x_nd, &param(&router, &[E, D]), None, Act::None).unwrap();
            let routed = ops::route(&logits, &options).unwrap();
            let want =
                ops::experts(&x_nd, &routed.gates_ns, &routed.routing, &stacked, None).unwrap();
            let want: Vec<f32> = want.flatten_all().unwrap().to_vec1().unwrap();
            let wide = |x: &[f32]| x.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            assert_close("rows", &wide(&all), &wide(&want), OP_F32);
            for row in 0..N {
                let mut one = vec![9.0; D];
                expert_rows(&x[row * D..][..D], D, &weights, &options, &mut one);
                assert!(one == all[row * D..][..D], "row {row} under {options:?}");
            }
        }
    }
}
