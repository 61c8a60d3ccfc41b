//! Experts that are spread against the same experts in one process.

use super::*;
use crate::dist::BUCKET;
use crate::dist::threads;
use crate::gradcheck::normal_param;
use crate::ops::{self, Peered, RouteOptions, Routing, SecondChoice};
use crate::{DType, Param, Params, Tensor, backward};

const D: usize = 6;
const F: usize = 9;
const E: usize = 8;
const LAYER: usize = 3;

fn draw(what: &str, shape: &[usize]) -> Tensor {
    let param = normal_param(what, shape, 1.0).unwrap();
    param.tensor().detach().to_dtype(DType::F32).unwrap()
}

fn weights() -> ExpertWeights {
    let make = |name: &str, shape: &[usize]| {
        let values = draw(name, shape).affine(0.5, 0.0).unwrap();
        Param::new(name, &values, true).unwrap()
    };
    ExpertWeights {
        up_efd: make("up", &[E, F, D]),
        up_bias_ef: make("up_bias", &[E, F]),
        down_edf: make("down", &[E, D, F]),
        down_bias_ed: make("down_bias", &[E, D]),
    }
}

/// What rank `rank` reads, how it is routed, and what the gradient of the result is.
struct Input {
    x_nd: Tensor,
    gates_ns: Tensor,
    routing: Arc<Routing>,
    grad_nd: Tensor,
}

fn input(rank: usize) -> Input {
    let n = 5 + 7 * rank;
    let draw = |what: &str, shape: &[usize]| draw(&format!("{what}{rank}"), shape);
    let options = RouteOptions {
        top_k: 2,
        prototypes: 1,
        capacity: Some(n),
        renormalize: ops::Renormalize::Kept,
        second: SecondChoice::All,
    };
    let routed = ops::route(&draw("logits", &[n, E]), &options).unwrap();
    Input {
        x_nd: draw("x", &[n, D]),
        gates_ns: routed.gates_ns.detach(),
        routing: routed.routing,
        grad_nd: draw("grad", &[n, D]),
    }
}

/// Result, and gradients of what was read and of the gates; those of the weights are added to them.
fn pass(input: &Input, weights: &ExpertWeights, peers: Option<&Peered>) -> [Vec<f32>; 3] {
    let mut params = Params::new();
    for (name, tensor) in [("x", &input.x_nd), ("gates", &input.gates_ns)] {
        params
            .insert(Param::new(name, tensor, true).unwrap())
            .unwrap();
    }
    let [x, gates] = [0, 1].map(|i| params.iter().nth(i).unwrap().clone());
    let y = ops::experts(&x.tensor(), &gates.tensor(), &input.routing, weights, peers).unwrap();
    backward(&(&y * &input.grad_nd).unwrap().sum_all().unwrap(), &params).unwrap();
    let y = y.flatten_all().unwrap().to_vec1().unwrap();
    [y, x.grad_f32().unwrap(), gates.grad_f32().unwrap()]
}

fn all(weights: &ExpertWeights) -> [&Param; 4] {
    [
        &weights.up_efd,
        &weights.up_bias_ef,
        &weights.down_edf,
        &weights.down_bias_ed,
    ]
}

fn grads(weights: &ExpertWeights) -> Vec<Vec<f32>> {
    let grads = all(weights).into_iter().map(|param| param.grad_f32());
    grads.map(Option::unwrap).collect()
}

/// What one process finds of the rows of all ranks, one rank's after the other; ranks in `idle` have none.
fn alone(n: usize, idle: &[usize]) -> (Vec<[Vec<f32>; 3]>, Vec<Vec<f32>>) {
    let weights = weights();
    let mut found = Vec::new();
    let mut sums: Option<Vec<Vec<f32>>> = None;
    for rank in (0..n).filter(|rank| !idle.contains(rank)) {
        all(&weights).iter().for_each(|param| param.zero_grad());
        found.push(pass(&input(rank), &weights, None));
        match &mut sums {
            None => sums = Some(grads(&weights)),
            Some(sums) => {
                let pairs = sums.iter_mut().zip(grads(&weights));
                pairs.for_each(|(sum, grad)| add_into(sum, &grad));
            }
        }
    }
    (found, sums.unwrap())
}

/// The same of `n` ranks: each one's own, and the gradients of the weights put together.
fn spread(n: usize, idle: &[usize], exchange: RowExchange) -> (Vec<[Vec<f32>; 3]>, Vec<Vec<f32>>) {
    let one = |comm: Arc<dyn Communicator>| {
        let (rank, weights) = (comm.rank(), weights());
        let layers = BTreeMap::from([(LAYER, weights.clone())]);
        let biases = |_: &Param| !exchange.apart;
        let peers = Arc::new(ExpertRanks::new(comm, exchange, layers, biases).unwrap());
        let found = match idle.contains(&rank) {
            true => {
                peers.serve_forward(LAYER, true).unwrap();
                peers.serve_backward(LAYER).unwrap();
                None
            }
            false => {
                let peered = Peered {
                    layer: LAYER,
                    peers: peers.clone(),
                };
                Some(pass(&input(rank), &weights, Some(&peered)))
            }
        };
        assert!(peers.kept().is_empty());
        (found, grads(&weights))
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let ranks: Vec<_> = threads::group(n)
            .into_iter()
            .map(|comm| scope.spawn(|| one(comm)))
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    // Matrices are in parts, and so are biases unless ranks are apart: those are whole everywhere and have a gradient where their expert is.
    let mut joined = vec![Vec::new(); 4];
    for (rank, (_, grads)) in all.iter().enumerate() {
        for (i, (joined, grad)) in joined.iter_mut().zip(grads).enumerate() {
            let each = grad.len() / n;
            match i % 2 == 0 || !exchange.apart {
                true => joined.extend_from_slice(grad),
                false => {
                    let own = rank * each..(rank + 1) * each;
                    assert!(
                        grad.iter()
                            .enumerate()
                            .all(|(k, &v)| v == 0.0 || own.contains(&k))
                    );
                    joined.extend_from_slice(&grad[own]);
                }
            }
        }
    }
    (
        all.into_iter().filter_map(|(found, _)| found).collect(),
        joined,
    )
}

fn exchange(apart: bool, half: bool) -> RowExchange {
    RowExchange { apart, half }
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let off = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    off.fold(0.0, f32::max) / scale
}

#[test]
fn ranks_find_what_one_process_finds_to_the_bit() {
    for n in [1, 2, 4, 8] {
        let (found, grads) = spread(n, &[], exchange(true, false));
        let (want, want_grads) = alone(n, &[]);
        assert!(found == want, "{n} ranks: results");
        for (i, (grad, want)) in grads.iter().zip(&want_grads).enumerate() {
            assert!(
                grad == want,
                "{n} ranks: gradient {i}, {}",
                worst(grad, want)
            );
        }
    }
}

#[test]
fn a_rank_without_rows_works_for_the_others() {
    assert_eq!(spread(4, &[0, 2], exchange(true, false)), alone(4, &[0, 2]));
}

#[test]
fn one_product_of_the_rows_of_all_differs_in_rounding_alone() {
    let (found, grads) = spread(4, &[1], exchange(false, false));
    let (want, want_grads) = alone(4, &[1]);
    for (a, b) in found.iter().flatten().zip(want.iter().flatten()) {
        assert!(worst(a, b) < 1e-6, "{}", worst(a, b));
    }
    for (a, b) in grads.iter().zip(&want_grads) {
        assert!(worst(a, b) < 1e-6, "{}", worst(a, b));
    }
}

#[test]
fn rows_in_half_precision_lose_their_last_digits() {
    let (found, _) = spread(2, &[], exchange(true, true));
    let (want, _) = alone(2, &[]);
    for (a, b) in found.iter().flatten().zip(want.iter().flatten()) {
        let off = worst(a, b);
        assert!(0.0 < off && off < 2e-2, "{off}");
    }
}

#[test]
fn bfloat16_is_rounded_to_the_nearest_and_to_even() {
    let row = [1.0, -3.5, 1.003_906_3, 1.003_907, f32::INFINITY, 0.0, -0.0];
    let back: Vec<f32> = unpack(&pack(&row).collect::<Vec<_>>(), row.len()).collect();
    assert_eq!(back, [1.0, -3.5, 1.0, 1.007_812_5, f32::INFINITY, 0.0, 0.0]);
    let packed: Vec<f32> = pack(&[f32::NAN]).collect();
    assert!(unpack(&packed, 1).all(f32::is_nan));
}

#[test]
fn parts_longer_than_a_message_are_put_together_in_pieces() {
    let n = BUCKET / 2 + 12_345;
    std::thread::scope(|scope| {
        for comm in threads::group(2) {
            scope.spawn(move || {
                let first = (comm.rank() * n) as u32;
                let part: Vec<f32> = (first..first + n as u32).map(|i| i as f32).collect();
                let rows = exchange(false, false);
                let ranks = ExpertRanks::new(comm, rows, BTreeMap::new(), |_| true).unwrap();
                let whole = ranks.whole(&part).unwrap();
                assert_eq!(whole.len(), 2 * n);
                assert!(whole.iter().enumerate().all(|(i, &v)| v == i as f32));
            });
        }
    });
}

#[test]
fn experts_that_the_ranks_do_not_divide_are_refused() {
    for comm in threads::group(3) {
        let layers = BTreeMap::from([(LAYER, weights())]);
        let error = ExpertRanks::new(comm, exchange(false, false), layers, |_| true)
            .err()
            .unwrap();
        assert!(
            error.to_string().contains("8 experts on 3 ranks"),
            "{error}"
        );
    }
    let solo = Arc::new(crate::dist::Solo);
    let peers = ExpertRanks::new(solo, exchange(false, false), BTreeMap::new(), |_| true).unwrap();
    assert!(peers.serve_forward(LAYER, false).is_err());
}
