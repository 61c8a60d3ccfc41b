//! Attention, convolution and the operators on feature maps: against PyTorch, against their compositions of stock operators, against
//! finite differences, and against themselves on another number of threads.

use candle_core::{DType, Device, Tensor};
use m6_nn::gradcheck::{check, normal_param, probe};
use m6_nn::ops::{self, composed2d};
use m6_nn::tolerance::{COMPOSED_F64, OP_F32, assert_close};
use m6_nn::{Param, Params, Result, Spans, backward};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

type Op = Box<dyn Fn(&Tensor, &Params) -> Result<Tensor> + Sync>;

fn fixture(name: &str) -> HashMap<String, Tensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(format!("{name}.safetensors"));
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

fn integers(tensor: &Tensor) -> Vec<usize> {
    tensor
        .flatten_all()
        .unwrap()
        .to_vec1::<i64>()
        .unwrap()
        .iter()
        .map(|v| *v as usize)
        .collect()
}

/// Parameters of the given tensors under their names.
fn params_of(named: &[(&str, &Tensor)]) -> Params {
    let mut params = Params::new();
    for (name, tensor) in named {
        params
            .insert(Param::new(*name, tensor, true).unwrap())
            .unwrap();
    }
    params
}

/// The gradient of a parameter in whichever number type it has.
fn grad(params: &Params, name: &str) -> Vec<f64> {
    let param = params.get(name).unwrap();
    let single = param
        .grad_f32()
        .map(|g| g.into_iter().map(f64::from).collect());
    single
        .or_else(|| param.grad_f64())
        .unwrap_or_else(|| panic!("{name} got no gradient"))
}

/// Runs `op` on the fixture's input and parameters and compares the result and every gradient.
fn against_pytorch(name: &str, input: &str, op: Op) {
    let tensors = fixture(name);
    let leaves: Vec<(&str, &Tensor)> = [input, "w", "b"]
        .into_iter()
        .filter_map(|n| Some((n, tensors.get(n)?)))
        .collect();
    let params = params_of(&leaves);
    let y = op(&params.get(input).unwrap().tensor(), &params).unwrap();
    assert_eq!(y.dims(), tensors["y"].dims(), "{name}: shape");
    assert_close(
        &format!("{name}: y"),
        &numbers(&y),
        &numbers(&tensors["y"]),
        OP_F32,
    );
    backward(&(y * &tensors["dy"]).unwrap().sum_all().unwrap(), &params).unwrap();
    for (leaf, _) in leaves {
        let want = numbers(&tensors[&format!("d{leaf}")]);
        assert_close(
            &format!("{name}: d{leaf}"),
            &grad(&params, leaf),
            &want,
            OP_F32,
        );
    }
}

fn spans_of(tensors: &HashMap<String, Tensor>, n_tokens: usize) -> Arc<Spans> {
    let rows = |name: &str| integers(&tensors[name]);
    let prefixes = rows("prefixes")
        .chunks(2)
        .map(|p| [p[0] as u32, p[1] as u32])
        .collect();
    let targets = rows("targets")
        .chunks(3)
        .map(|t| [t[0] as u32, t[1] as u32, t[2] as u32])
        .collect();
    Arc::new(Spans::new(n_tokens, prefixes, targets).unwrap())
}

#[test]
fn attention_equals_pytorch_under_packed_and_causal_masks() {
    for name in ["attention_packed", "attention_causal"] {
        let tensors = fixture(name);
        let spans = spans_of(&tensors, tensors["qkv"].dims()[0]);
        let n_heads = integers(&tensors["n_heads"])[0];
        let fused = spans.clone();
        against_pytorch(
            name,
            "qkv",
            Box::new(move |x, _| ops::attention(x, n_heads, &fused)),
        );
        against_pytorch(
            name,
            "qkv",
            Box::new(move |x, _| composed2d::attention(x, n_heads, &spans)),
        );
    }
}

#[test]
fn convolution_equals_pytorch_for_every_kernel_stride_and_padding() {
    for name in [
        "conv_3x3",
        "conv_3x3_wide",
        "conv_3x3_stride2",
        "conv_7x7_stride2",
        "conv_1x1",
        "conv_1x1_stride2",
        "conv_2x2_stride2",
        "conv_4x4_stride2",
        "conv_1x7",
        "conv_7x1",
        "conv_3x5_stride2",
    ] {
        let geometry = integers(&fixture(name)["geometry"]);
        let stride = geometry[0];
        // One padding for both axes, or one for each.
        let pad = [geometry[1], geometry[geometry.len() - 1]];
        if geometry.len() == 2 {
            let fused = move |x: &Tensor, p: &Params| {
                ops::conv2d(x, p.get("w").unwrap(), p.get("b"), stride, pad[0])
            };
            against_pytorch(name, "x", Box::new(fused));
        }
        // The weight on the tape, as folded batch normalisation has it.
        let taped = move |x: &Tensor, p: &Params| {
            let bias = p.get("b").map(Param::tensor);
            ops::conv2d_t(x, &p.get("w").unwrap().tensor(), bias.as_ref(), stride, pad)
        };
        against_pytorch(name, "x", Box::new(taped));
        let composed = move |x: &Tensor, p: &Params| {
            let bias = p.get("b").map(Param::tensor);
            composed2d::conv2d(x, &p.get("w").unwrap().tensor(), bias.as_ref(), stride, pad)
        };
        against_pytorch(name, "x", Box::new(composed));
    }
}

#[test]
fn group_norm_silu_equals_pytorch() {
    let fused = |x: &Tensor, p: &Params| {
        ops::group_norm_silu(x, p.get("w").unwrap(), p.get("b").unwrap(), 4, 1e-5)
    };
    against_pytorch("group_norm_silu", "x", Box::new(fused));
    let composed = |x: &Tensor, p: &Params| {
        let (w, b) = (p.get("w").unwrap().tensor(), p.get("b").unwrap().tensor());
        composed2d::group_norm(x, &w, &b, 4, 1e-5, true)
    };
    against_pytorch("group_norm_silu", "x", Box::new(composed));
    let plain = |x: &Tensor, p: &Params| {
        ops::group_norm(x, p.get("w").unwrap(), p.get("b").unwrap(), 4, 1e-5)
    };
    against_pytorch("group_norm", "x", Box::new(plain));
}

#[test]
fn pooling_and_rearrangement_equal_pytorch() {
    against_pytorch(
        "max_pool2d",
        "x",
        Box::new(|x, _| ops::max_pool2d(x, 3, 2, 1)),
    );
    against_pytorch(
        "max_pool2d",
        "x",
        Box::new(|x, _| composed2d::max_pool2d(x, 3, 2, 1)),
    );
    against_pytorch(
        "global_avg_pool",
        "x",
        Box::new(|x, _| ops::global_avg_pool(x)),
    );
    against_pytorch(
        "global_avg_pool",
        "x",
        Box::new(|x, _| composed2d::global_avg_pool(x)),
    );
    against_pytorch("up2", "x", Box::new(|x, _| ops::up2(x)));
    against_pytorch("up2", "x", Box::new(|x, _| composed2d::up2(x)));
    against_pytorch("relu", "x", Box::new(|x, _| ops::relu(x)));
    against_pytorch("relu", "x", Box::new(|x, _| composed2d::relu(x)));
    against_pytorch("nchw_to_rows", "x", Box::new(|x, _| ops::nchw_to_rows(x)));
    against_pytorch(
        "nchw_to_rows",
        "x",
        Box::new(|x, _| composed2d::nchw_to_rows(x)),
    );
    against_pytorch(
        "avg_pool2d",
        "x",
        Box::new(|x, _| composed2d::avg_pool2d(x, 3)),
    );
}

/// An operator, its composition, and the shapes of input and parameters.
struct Case {
    name: &'static str,
    shapes: Vec<(&'static str, Vec<usize>)>,
    fused: Op,
    composed: Op,
}

fn cases() -> Vec<Case> {
    let spans = Arc::new(
        Spans::new(
            90,
            vec![[0, 5], [12, 12]],
            vec![[0, 5, 9], [0, 85, 90], [1, 9, 12], [0, 12, 85]],
        )
        .unwrap(),
    );
    // A prefix of several query blocks, with a target before it and one behind it.
    let long = Arc::new(Spans::new(230, vec![[10, 150]], vec![[0, 0, 10], [0, 150, 230]]).unwrap());
    let conv = |name,
                c_in: usize,
                c_out: usize,
                n: usize,
                side: [usize; 2],
                k: usize,
                stride: usize,
                pad: usize| Case {
        name,
        shapes: vec![
            ("x", vec![n, c_in, side[0], side[1]]),
            ("w", vec![c_out, c_in, k, k]),
            ("b", vec![c_out]),
        ],
        fused: Box::new(move |x, p| ops::conv2d(x, p.get("w").unwrap(), p.get("b"), stride, pad)),
        composed: Box::new(move |x, p| {
            let (w, b) = (p.get("w").unwrap().tensor(), p.get("b").unwrap().tensor());
            composed2d::conv2d(x, &w, Some(&b), stride, [pad, pad])
        }),
    };
    vec![
        Case {
            name: "attention",
            shapes: vec![("x", vec![90, 24])],
            fused: Box::new({
                let spans = spans.clone();
                move |x, _| ops::attention(x, 2, &spans)
            }),
            composed: Box::new(move |x, _| composed2d::attention(x, 2, &spans)),
        },
        Case {
            name: "attention over a long prefix",
            shapes: vec![("x", vec![230, 24])],
            fused: Box::new({
                let long = long.clone();
                move |x, _| ops::attention(x, 2, &long)
            }),
            composed: Box::new(move |x, _| composed2d::attention(x, 2, &long)),
        },
        conv("conv 3x3", 3, 4, 2, [7, 6], 3, 1, 1),
        conv("conv 3x3 wide", 16, 18, 3, [7, 8], 3, 1, 1),
        conv("conv 3x3 stride 2", 3, 4, 2, [7, 6], 3, 2, 1),
        conv("conv 7x7 stride 2", 3, 2, 3, [9, 8], 7, 2, 3),
        conv("conv 1x1 on many tiny pictures", 5, 4, 70, [2, 1], 1, 1, 0),
        conv("conv 3x3 without padding", 2, 3, 2, [5, 5], 3, 1, 0),
        norm("group_norm_silu", 3, true),
        norm("group_norm", 2, false),
        map("relu", ops::relu, composed2d::relu),
        map(
            "max_pool2d",
            |x| ops::max_pool2d(x, 3, 2, 1),
            |x| composed2d::max_pool2d(x, 3, 2, 1),
        ),
        map(
            "global_avg_pool",
            ops::global_avg_pool,
            composed2d::global_avg_pool,
        ),
        map("nchw_to_rows", ops::nchw_to_rows, composed2d::nchw_to_rows),
        map("up2", ops::up2, composed2d::up2),
    ]
}

/// Group normalisation of six channels.
fn norm(name: &'static str, n_groups: usize, silu: bool) -> Case {
    let fused = match silu {
        true => ops::group_norm_silu,
        false => ops::group_norm,
    };
    Case {
        name,
        shapes: vec![("x", vec![2, 6, 5, 9]), ("w", vec![6]), ("b", vec![6])],
        fused: Box::new(move |x, p| {
            fused(x, p.get("w").unwrap(), p.get("b").unwrap(), n_groups, 1e-5)
        }),
        composed: Box::new(move |x, p| {
            let (w, b) = (p.get("w").unwrap().tensor(), p.get("b").unwrap().tensor());
            composed2d::group_norm(x, &w, &b, n_groups, 1e-5, silu)
        }),
    }
}

fn map(
    name: &'static str,
    fused: fn(&Tensor) -> Result<Tensor>,
    composed: fn(&Tensor) -> Result<Tensor>,
) -> Case {
    let shapes = vec![("x", vec![2, 3, 7, 6])];
    Case {
        name,
        shapes,
        fused: Box::new(move |x, _| fused(x)),
        composed: Box::new(move |x, _| composed(x)),
    }
}

fn random_params(case: &Case, dtype: DType) -> Params {
    let mut params = Params::new();
    for (name, shape) in &case.shapes {
        let values = normal_param(name, shape, 1.0)
            .unwrap()
            .tensor()
            .detach()
            .to_dtype(dtype)
            .unwrap();
        params
            .insert(Param::new(*name, &values, true).unwrap())
            .unwrap();
    }
    params
}

/// Result and gradients of `op` from the same upstream gradient every time.
fn run(case: &Case, op: &Op, dtype: DType) -> Vec<(String, Vec<f64>)> {
    let params = random_params(case, dtype);
    let y = op(&params.get("x").unwrap().tensor(), &params).unwrap();
    backward(&probe(&y).unwrap(), &params).unwrap();
    let grads = case
        .shapes
        .iter()
        .map(|(name, _)| (format!("{}: d{name}", case.name), grad(&params, name)));
    std::iter::once((format!("{}: y", case.name), numbers(&y)))
        .chain(grads)
        .collect()
}

#[test]
fn fused_equals_composed_in_double_precision() {
    for case in cases() {
        let (fused, composed) = (
            run(&case, &case.fused, DType::F64),
            run(&case, &case.composed, DType::F64),
        );
        for ((name, got), (_, want)) in fused.iter().zip(&composed) {
            assert_close(name, got, want, COMPOSED_F64);
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    for case in cases() {
        let params = random_params(&case, DType::F64);
        let result = check(&params, || {
            (case.fused)(&params.get("x").unwrap().tensor(), &params)
        });
        result.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    }
}

#[test]
fn results_are_bit_equal_for_any_number_of_threads() {
    for case in cases() {
        let on = |n_threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_threads)
                .build()
                .unwrap();
            pool.install(|| run(&case, &case.fused, DType::F32))
        };
        assert!(
            on(1) == on(2),
            "{} depends on the number of threads",
            case.name
        );
    }
}

#[test]
fn frozen_parameters_get_no_gradient_and_a_detached_input_still_trains_the_weights() {
    let cases = cases();
    let case = cases.iter().find(|case| case.name == "conv 3x3").unwrap();
    let params = random_params(case, DType::F32);
    params.get("b").unwrap().set_trainable(false);
    let x = params.get("x").unwrap().tensor().detach();
    let y = (case.fused)(&x, &params).unwrap();
    backward(&probe(&y).unwrap(), &params).unwrap();
    assert!(params.get("w").unwrap().grad_f32().is_some());
    assert!(params.get("b").unwrap().grad_f32().is_none());
    assert!(params.get("x").unwrap().grad_f32().is_none());
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let x = Tensor::zeros((1, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let w = Tensor::zeros((2, 4, 3, 3), DType::F32, &Device::Cpu).unwrap();
    let message = ops::conv2d_t(&x, &w, None, 1, [1, 1])
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("[1, 3, 4, 4]") && message.contains("[2, 4, 3, 3]"),
        "{message}"
    );
    let message = ops::conv2d_t(&x, &w.to_dtype(DType::F64).unwrap(), None, 1, [1, 1])
        .unwrap_err()
        .to_string();
    assert!(message.contains("F64"), "{message}");
    assert!(ops::max_pool2d(&x, 3, 2, 2).is_err());
    assert!(ops::up2(&w.flatten_all().unwrap()).is_err());
    let spans = Arc::new(Spans::causal(1, 4));
    let qkv = Tensor::zeros((4, 24), DType::F32, &Device::Cpu).unwrap();
    assert!(ops::attention(&qkv, 3, &spans).is_err());
    assert!(ops::attention(&qkv.narrow(0, 0, 3).unwrap(), 2, &spans).is_err());
    assert_eq!(ops::attention(&qkv, 2, &spans).unwrap().dims(), [4, 8]);
}
