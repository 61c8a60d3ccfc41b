//! Split matrices on threads as ranks, against the same matrices whole.

use super::*;
use crate::dist::{Communicator, TensorRanks, threads};
use crate::gradcheck::normal_param;
use crate::ops::{Act, NONE, add, embed, head_ce, head_ce_split, linear};
use crate::{Params, Part, Tensor, backward};

const N: usize = 7;
const D: usize = 6;
const F: usize = 12;
const V: usize = 11;

/// A table, two pairs of matrices with their biases, by name.
fn params() -> Params {
    let shapes: [(&str, &[usize]); 5] = [
        ("table", &[V, D]),
        ("up", &[F, D]),
        ("up.bias", &[F]),
        ("down", &[D, F]),
        ("down.bias", &[D]),
    ];
    let mut params = Params::new();
    for (name, shape) in shapes {
        let param = normal_param(name, shape, 0.5).unwrap();
        let values = param.tensor().to_dtype(candle_core::DType::F32).unwrap();
        params
            .insert(Param::new(name, &values, true).unwrap())
            .unwrap();
    }
    params
}

/// The part of a parameter that rank `r` of `n` has; the table has rows that `n` need not divide.
fn part(name: &str, shape: &[usize], r: usize, n: usize) -> Part {
    let cut = |all: usize| all * r / n..all * (r + 1) / n;
    match name {
        "up" | "up.bias" => Part::rows(shape, 1, cut(F)),
        "down" => Part::columns([D, F], cut(F)),
        "table" => Part::rows(shape, 1, cut(V)),
        _ => Part::whole(shape),
    }
}

/// A loss through every operator, by whole weights or with the peers that have the others' parts.
fn loss(params: &Params, peers: Option<&Peers>, smoothing: f32) -> (f32, Vec<f32>) {
    let of = |name: &str| params.get(name).unwrap();
    let ids: Vec<u32> = (0..N as u32).map(|i| (i * 5 + 1) % V as u32).collect();
    let labels: Arc<[u32]> = (0..N as u32).map(|i| (i * 3 + 2) % V as u32).collect();
    let weights: Arc<[f32]> = (0..N).map(|i| 0.1 + i as f32 * 0.05).collect();
    let table = of("table");
    let here = table.held();
    let (first, n_rows) = ((here.first() / D) as u32, (here.n_elements() / D) as u32);
    let local = |&id: &u32| match (first..first + n_rows).contains(&id) {
        true => id - first,
        false => NONE,
    };
    let x = embed(&[(table, ids.iter().map(local).collect())]).unwrap();
    let (y, loss_of): (Tensor, _) = match peers {
        None => {
            let h = linear(&x, of("up"), Some(of("up.bias")), Act::Gelu).unwrap();
            let y = linear(&h, of("down"), Some(of("down.bias")), Act::None).unwrap();
            let y = add(&x, &y).unwrap();
            let out = head_ce(&y, table, None, labels, weights, smoothing).unwrap();
            (out.0, out.1)
        }
        Some(peers) => {
            let x = summed(&x, None, peers).unwrap();
            let h = copied(&x, peers).unwrap();
            let h = linear(&h, of("up"), Some(of("up.bias")), Act::Gelu).unwrap();
            let y = linear(&h, of("down"), None, Act::None).unwrap();
            let y = summed(&y, Some(of("down.bias")), peers).unwrap();
            let y = add(&x, &y).unwrap();
            let out = head_ce_split(&y, table, peers, labels, weights, smoothing).unwrap();
            (out.0, out.1)
        }
    };
    backward(&y, params).unwrap();
    (y.to_scalar().unwrap(), loss_of)
}

fn close(name: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{name}");
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= 2e-6 * (1.0 + y.abs()), "{name}: {x} {y}");
    }
}

fn check(n_ranks: usize, smoothing: f32) {
    let whole = params();
    let (expected, nll) = loss(&whole, None, smoothing);
    let (whole, nll) = (&whole, &nll);
    std::thread::scope(|scope| {
        for comm in threads::group(n_ranks) {
            scope.spawn(move || {
                let (rank, comm): (usize, Arc<dyn Communicator>) = (comm.rank(), comm);
                let ranks = Arc::new(TensorRanks::new(comm));
                let peers = Peers::new(ranks.clone());
                let own = params();
                for param in own.iter() {
                    let part = part(param.name(), param.shape(), rank, n_ranks);
                    param.hold(part).unwrap();
                }
                let (found, own_nll) = loss(&own, Some(&peers), smoothing);
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
                close("nll", &own_nll, nll);
                for (param, whole) in own.iter().zip(whole.iter()) {
                    let grad = param.grad_f32().unwrap();
                    let held = param.held();
                    close(param.name(), &grad, &held.take(&whole.grad_f32().unwrap()));
                    if !param.is_whole() {
                        let values = param.with_values(<[f32]>::to_vec).unwrap();
                        let of = |r: usize| part(param.name(), param.shape(), r, n_ranks);
                        let all = ranks.whole(param, &values, of).unwrap();
                        let expected = whole.with_values(<[f32]>::to_vec).unwrap();
                        assert!(all == expected, "{}", param.name());
                    }
                }
            });
        }
    });
}

#[test]
fn split_matrices_give_the_loss_and_the_gradients_of_the_whole() {
    for n_ranks in [1, 2, 3, 4] {
        check(n_ranks, 0.0);
        check(n_ranks, 0.1);
    }
}

#[test]
fn what_cannot_travel_is_refused() {
    let comm: Arc<dyn Communicator> = Arc::new(crate::dist::Solo);
    let peers = Peers::new(Arc::new(TensorRanks::new(comm)));
    let x = Tensor::new(&[[1.0_f64]], &crate::Device::Cpu).unwrap();
    let error = summed(&x, None, &peers).unwrap_err().to_string();
    assert!(error.contains("summed"), "{error}");
    assert!(copied(&x, &peers).is_err());
}
