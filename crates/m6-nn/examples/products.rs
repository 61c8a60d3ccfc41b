//! The products of a training step, in turns: by the `gemm` crate with its own threads, and by [`m6_nn::gemm`].
//!
//! `cargo run --release -p m6-nn --example products` prints GFLOP/s, median and best of 15, with as many threads as there are cores.
#![allow(clippy::print_stdout)]

use m6_nn::gemm::{Mat, matmul};
use std::time::Instant;

// As in the binary: freed blocks are kept.
#[global_allocator]
static ALLOCATOR: m6_nn::alloc::BlockAllocator = m6_nn::alloc::BlockAllocator::new();

const N_TURNS: usize = 15;

/// Rows, columns, inner length; whether the left and the right operand are stored transposed.
const PRODUCTS: [(&str, [usize; 3], [bool; 2]); 8] = [
    ("qkv forward", [2048, 1536, 512], [false, true]),
    ("up forward", [2048, 2048, 512], [false, true]),
    ("down forward", [2048, 512, 2048], [false, true]),
    ("up, to x", [2048, 512, 2048], [false, false]),
    ("up, to w", [2048, 512, 2048], [true, false]),
    ("head forward", [512, 21128, 512], [false, true]),
    ("head, to h", [512, 512, 21128], [false, false]),
    ("head, to w", [21128, 512, 512], [true, false]),
];

fn main() {
    println!("{:14} {:>15} {:>15}", "", "gemm crate", "m6_nn::gemm");
    for (name, [m, n, k], [a_turned, b_turned]) in PRODUCTS {
        let (a, b, mut c) = (vec![0.5_f32; m * k], vec![0.25; k * n], vec![0.0; m * n]);
        let mut seconds = [Vec::new(), Vec::new()];
        for _ in 0..N_TURNS {
            seconds[0].push(timed(|| {
                peer(&mut c, [m, n, k], (&a, a_turned), (&b, b_turned))
            }));
            seconds[1].push(timed(|| {
                let a = if a_turned {
                    Mat::new(&a, k, m).t()
                } else {
                    Mat::new(&a, m, k)
                };
                let b = if b_turned {
                    Mat::new(&b, n, k).t()
                } else {
                    Mat::new(&b, k, n)
                };
                matmul(&mut c, false, a, b);
            }));
        }
        let gflop = 2.0 * (m * n * k) as f64 / 1e9;
        let [crate_, ours] = seconds.map(|mut s| {
            s.sort_by(f64::total_cmp);
            format!("{:.0} ({:.0})", gflop / s[N_TURNS / 2], gflop / s[0])
        });
        println!("{name:14} {crate_:>15} {ours:>15}");
    }
}

fn timed(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

fn peer(c: &mut [f32], [m, n, k]: [usize; 3], a: (&[f32], bool), b: (&[f32], bool)) {
    // Column and row stride of a matrix of `cols` columns and `rows` rows.
    let strides = |turned: bool, rows: usize, cols: usize| match turned {
        true => (rows as isize, 1),
        false => (1, cols as isize),
    };
    let (a_strides, b_strides) = (strides(a.1, m, k), strides(b.1, k, n));
    // SAFETY: the slices have m * n, m * k and k * n elements.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.0.as_ptr(),
            a_strides.0,
            a_strides.1,
            b.0.as_ptr(),
            b_strides.0,
            b_strides.1,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
}
