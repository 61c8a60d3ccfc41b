//! Weights that no rank has whole, and moments that memory has no room for, written as the one file that a single rank with room would write.

use crate::error::{Error, Result};
use m6_nn::optimizer::Optimizer;
use m6_nn::{Param, Params};
use serde_json::{Map, json};
use std::io::Write;
use std::path::Path;

/// Writes `model.safetensors` tensor by tensor, to `out` where there is one: every rank asks for the same values in the same order, and one of
/// them writes. Byte for byte what [`Params::to_safetensors`] gives.
///
/// # Errors
/// Those of `values`, which gives a parameter whole; a write failed.
pub(crate) fn write<W: Write>(
    params: &Params,
    mut values: impl FnMut(&Param) -> Result<Vec<f32>>,
    mut out: Option<(&Path, &mut W)>,
) -> Result<()> {
    let mut sorted: Vec<&Param> = params.iter().collect();
    sorted.sort_by_key(|param| param.name());
    let mut failed = None;
    let mut put = |bytes: &[u8]| {
        // A rank whose disk is full goes on asking: the others wait for it in every exchange.
        if let (Some((path, out)), None) = (&mut out, &failed)
            && let Err(error) = out.write_all(bytes)
        {
            failed = Some(Error::io(path)(error));
        }
    };
    let tensors = sorted.iter();
    let tensors = tensors.map(|param| (param.name(), "F32", param.shape(), 4 * param.n_elements()));
    put(&header(tensors));
    for param in sorted {
        let values = values(param)?;
        for chunk in values.chunks(1 << 14) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|v| v.to_le_bytes()).collect();
            put(&bytes);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Writes the state of an optimizer tensor by tensor. Byte for byte what [`Optimizer::state`] gives.
///
/// # Errors
/// Offloaded moments cannot be read; a write failed.
pub(crate) fn write_state(
    optimizer: &Optimizer,
    (path, out): (&Path, &mut impl Write),
) -> Result<()> {
    let entries = optimizer.state_entries();
    let tensors = entries.iter();
    let tensors = tensors.map(|e| (e.name.as_str(), e.dtype(), &e.shape[..], e.n_bytes()));
    out.write_all(&header(tensors)).map_err(Error::io(path))?;
    for entry in &entries {
        out.write_all(&entry.bytes()?).map_err(Error::io(path))?;
    }
    Ok(())
}

/// Length and text of the header of tensors in their order (name, number type, shape, bytes), filled up to a multiple of eight bytes.
fn header<'a>(tensors: impl Iterator<Item = (&'a str, &'a str, &'a [usize], usize)>) -> Vec<u8> {
    let mut entries = Map::new();
    let mut at = 0;
    for (name, dtype, shape, n_bytes) in tensors {
        let end = at + n_bytes;
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [at, end]});
        entries.insert(name.to_string(), entry);
        at = end;
    }
    let mut text = serde_json::Value::Object(entries).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    [&(text.len() as u64).to_le_bytes(), text.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use m6_nn::{Device, Tensor};

    #[test]
    fn the_bytes_are_those_of_the_whole() {
        let mut params = Params::new();
        for (name, shape) in [("b.weight", (3, 7)), ("a", (1, 40_000)), ("b.bias", (1, 1))] {
            let n = shape.0 * shape.1;
            let values: Vec<f32> = (0..n).map(|i| (i as f32).sin()).collect();
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
            params
                .insert(Param::new(name, &tensor, true).unwrap())
                .unwrap();
        }
        let mut bytes = Vec::new();
        let values = |param: &Param| Ok(param.with_values(<[f32]>::to_vec)?);
        write(&params, values, Some((Path::new("x"), &mut bytes))).unwrap();
        assert!(bytes == params.to_safetensors().unwrap());
    }

    #[test]
    fn a_state_is_written_as_it_is_given_and_offloaded_moments_are_the_same() {
        use m6_nn::optimizer::{OptimizerConfig, Rule};
        let folder = tempfile::tempdir().unwrap();
        let scratch = m6_store::scratch::Scratch::create(folder.path()).unwrap();
        let scratch = std::sync::Arc::new(scratch);
        let make = |offloads_at: usize| {
            let mut params = Params::new();
            for (name, n) in [("a", 5_000), ("b", 3)] {
                let tensor = Tensor::from_vec(vec![0.5_f32; n], (1, n), &Device::Cpu).unwrap();
                params
                    .insert(Param::new(name, &tensor, true).unwrap())
                    .unwrap();
            }
            let rule = |_: &Param| Rule::AdamW8;
            let mut optimizer = Optimizer::with_rules(&params, OptimizerConfig::default(), rule);
            for step in 0..3 {
                if step == offloads_at {
                    optimizer.offload(scratch.clone()).unwrap();
                }
                for param in params.iter() {
                    let grad = (0..param.n_elements()).map(|i| (i + step) as f32);
                    let grad: Vec<f32> = grad.map(f32::sin).collect();
                    param.zero_grad();
                    param.add_grad(&grad).unwrap();
                }
                optimizer.step(&params, 1e-2, 1.0).unwrap();
            }
            let mut written = Vec::new();
            write_state(&optimizer, (Path::new("x"), &mut written)).unwrap();
            assert!(written == optimizer.state().unwrap());
            (written, params.to_safetensors().unwrap(), optimizer)
        };
        let (state, weights, _) = make(9);
        for offloads_at in [0, 1] {
            let (offloaded, same, mut optimizer) = make(offloads_at);
            assert!(offloaded == state && same == weights);
            optimizer.load_state(&state).unwrap();
            assert!(optimizer.state().unwrap() == state);
        }
    }
}
