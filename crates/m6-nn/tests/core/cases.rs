//! The operators under test as functions of named `f64` or `f32` parameters.

use m6_nn::gradcheck::normal_param;
use m6_nn::ops::{self, Act, composed};
use m6_nn::{DType, Param, Params, Result, Tensor};
use std::sync::Arc;

/// An operator as a function of its parameters.
pub type Op = Box<dyn Fn(&Params) -> Result<Tensor> + Send + Sync>;

/// One operator: inputs are parameters too, so that their gradients are found the same way.
pub struct Case {
    pub name: &'static str,
    pub params: Params,
    pub fused: Op,
    pub composed: Op,
}

/// Parameters drawn by their names.
pub fn params(dtype: DType, list: &[(&str, &[usize])]) -> Params {
    let mut params = Params::new();
    for (name, shape) in list {
        let wide = normal_param(name, shape, 1.0).unwrap();
        let value = wide.var().to_dtype(dtype).unwrap();
        params
            .insert(Param::new(*name, &value, true).unwrap())
            .unwrap();
    }
    params
}

/// A parameter of the case.
pub fn p<'a>(params: &'a Params, name: &str) -> &'a Param {
    params.get(name).unwrap()
}

fn t(params: &Params, name: &str) -> Tensor {
    p(params, name).tensor()
}

fn ids(list: &[u32]) -> Arc<[u32]> {
    list.into()
}

fn linear(dtype: DType, name: &'static str, act: Act) -> Case {
    Case {
        name,
        params: params(dtype, &[("x", &[5, 7]), ("w", &[6, 7]), ("b", &[6])]),
        fused: Box::new(move |q| ops::linear(&t(q, "x"), p(q, "w"), Some(p(q, "b")), act)),
        composed: Box::new(move |q| composed::linear(&t(q, "x"), p(q, "w"), Some(p(q, "b")), act)),
    }
}

fn layer_norm(dtype: DType) -> Case {
    Case {
        name: "layer_norm",
        params: params(dtype, &[("x", &[4, 37]), ("w", &[37]), ("b", &[37])]),
        fused: Box::new(|q| ops::layer_norm(&t(q, "x"), p(q, "w"), p(q, "b"), 1e-5)),
        composed: Box::new(|q| composed::layer_norm(&t(q, "x"), p(q, "w"), p(q, "b"), 1e-5)),
    }
}

fn embed(dtype: DType) -> Case {
    let tokens = ids(&[3, 0, 3, 8, 1]);
    let kinds = ids(&[0, ops::NONE, 1, 1, ops::NONE]);
    let (tokens2, kinds2) = (tokens.clone(), kinds.clone());
    Case {
        name: "embed",
        params: params(dtype, &[("tokens", &[9, 4]), ("kinds", &[2, 4])]),
        fused: Box::new(move |q| {
            ops::embed(&[
                (p(q, "tokens"), tokens.clone()),
                (p(q, "kinds"), kinds.clone()),
            ])
        }),
        composed: Box::new(move |q| {
            composed::embed(&[
                (p(q, "tokens"), tokens2.clone()),
                (p(q, "kinds"), kinds2.clone()),
            ])
        }),
    }
}

fn rows(dtype: DType) -> [Case; 2] {
    let at = [4_u32, 0, 2];
    let select = Case {
        name: "select_rows",
        params: params(dtype, &[("x", &[5, 3])]),
        fused: Box::new(move |q| ops::select_rows(&t(q, "x"), ids(&at))),
        composed: Box::new(move |q| composed::select_rows(&t(q, "x"), &at)),
    };
    let scatter = Case {
        name: "scatter_rows",
        params: params(dtype, &[("x", &[5, 3]), ("rows", &[3, 3])]),
        fused: Box::new(move |q| ops::scatter_rows(&t(q, "x"), &t(q, "rows"), ids(&at))),
        composed: Box::new(move |q| composed::scatter_rows(&t(q, "x"), &t(q, "rows"), &at)),
    };
    [select, scatter]
}

fn gelu(dtype: DType) -> Case {
    Case {
        name: "gelu",
        params: params(dtype, &[("x", &[4, 9])]),
        fused: Box::new(|q| ops::gelu(&t(q, "x"))),
        composed: Box::new(|q| composed::gelu(&t(q, "x"))),
    }
}

fn scale_rows(dtype: DType) -> Case {
    let factors = [1.25_f32, 0.0, -2.0, 1.0, 0.5];
    Case {
        name: "scale_rows",
        params: params(dtype, &[("x", &[5, 3])]),
        fused: Box::new(move |q| ops::scale_rows(&t(q, "x"), factors.into())),
        composed: Box::new(move |q| composed::scale_rows(&t(q, "x"), &factors)),
    }
}

fn info_nce(dtype: DType) -> Case {
    // Two pairs are of one group; every row has a weight of its own.
    let groups = [3_u32, 1, 4, 1, 5];
    let weights: Vec<f32> = (0..10).map(|i| 0.05 + 0.02 * i as f32).collect();
    let weights2 = weights.clone();
    let shapes: &[(&str, &[usize])] = &[("p", &[5, 4]), ("t", &[5, 4]), ("log_scale", &[1])];
    Case {
        name: "info_nce",
        params: params(dtype, shapes),
        fused: Box::new(move |q| {
            let (p_ke, t_ke) = (t(q, "p"), t(q, "t"));
            Ok(ops::info_nce(&p_ke, &t_ke, p(q, "log_scale"), &groups, &weights)?.0)
        }),
        composed: Box::new(move |q| {
            let (p_ke, t_ke) = (t(q, "p"), t(q, "t"));
            Ok(composed::info_nce(&p_ke, &t_ke, p(q, "log_scale"), &groups, &weights2)?.0)
        }),
    }
}

fn sums(dtype: DType) -> [Case; 2] {
    use m6_nn::kernels::elementwise::Dropout;
    let shapes: &[(&str, &[usize])] = &[("x", &[6, 5]), ("y", &[6, 5])];
    let add = Case {
        name: "add",
        params: params(dtype, shapes),
        fused: Box::new(|q| ops::add(&t(q, "x"), &t(q, "y"))),
        composed: Box::new(|q| composed::add_dropout(&t(q, "x"), &t(q, "y"), None)),
    };
    let add_dropout = Case {
        name: "add_dropout",
        params: params(dtype, shapes),
        fused: Box::new(|q| ops::add_dropout(&t(q, "x"), &t(q, "y"), 0.3, 11)),
        composed: Box::new(|q| {
            composed::add_dropout(&t(q, "x"), &t(q, "y"), Some(Dropout::new(0.3, 11)))
        }),
    };
    [add, add_dropout]
}

fn head_ce(dtype: DType, name: &'static str, n_rows: usize, smoothing: f32, biased: bool) -> Case {
    let labels: Vec<u32> = (0..n_rows as u32).map(|i| i * 5 % 11).collect();
    let weights: Vec<f32> = (0..n_rows)
        .map(|i| (i % 4) as f32 / n_rows as f32)
        .collect();
    let (labels, weights): (Arc<[u32]>, Arc<[f32]>) = (labels.into(), weights.into());
    let (labels2, weights2) = (labels.clone(), weights.clone());
    let mut shapes: Vec<(&str, Vec<usize>)> = vec![("h", vec![n_rows, 6]), ("w", vec![11, 6])];
    if biased {
        shapes.push(("bias", vec![11]));
    }
    let shapes: Vec<(&str, &[usize])> = shapes.iter().map(|(n, s)| (*n, &s[..])).collect();
    Case {
        name,
        params: params(dtype, &shapes),
        fused: Box::new(move |q| {
            let (labels, weights) = (labels.clone(), weights.clone());
            Ok(ops::head_ce(
                &t(q, "h"),
                p(q, "w"),
                q.get("bias"),
                labels,
                weights,
                smoothing,
            )?
            .0)
        }),
        composed: Box::new(move |q| {
            Ok(composed::head_ce(
                &t(q, "h"),
                p(q, "w"),
                q.get("bias"),
                &labels2,
                &weights2,
                smoothing,
            )?
            .0)
        }),
    }
}

/// Every core operator.
pub fn all(dtype: DType) -> Vec<Case> {
    let mut cases = vec![
        linear(dtype, "linear", Act::None),
        linear(dtype, "linear_gelu", Act::Gelu),
        linear(dtype, "linear_relu", Act::Relu),
        layer_norm(dtype),
        embed(dtype),
        head_ce(dtype, "head_ce", 9, 0.0, false),
        head_ce(dtype, "head_ce_smooth", 9, 0.1, true),
        // More rows than one chunk of logits holds.
        head_ce(dtype, "head_ce_chunks", 1030, 0.05, true),
    ];
    cases.extend([gelu(dtype), scale_rows(dtype), info_nce(dtype)]);
    cases.extend(rows(dtype));
    cases.extend(sums(dtype));
    cases.extend(crate::expert_cases::all(dtype));
    cases
}

/// Numbers of a tensor as `f64`.
pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// Gradient of a parameter as `f64`; zeros if there is none.
pub fn grad(param: &Param) -> Vec<f64> {
    let wide = || {
        param
            .grad_f32()
            .map(|g| g.into_iter().map(f64::from).collect())
    };
    param
        .grad_f64()
        .or_else(wide)
        .unwrap_or_else(|| vec![0.0; param.n_elements()])
}

/// Runs `f` in a pool of `n` threads.
pub fn with_threads<R: Send>(n: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .num_threads(n)
        .build()
        .unwrap()
        .install(f)
}
