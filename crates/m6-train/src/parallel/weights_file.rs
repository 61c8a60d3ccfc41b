//! Weights that no rank has whole, written as the one file that a single rank would write.

use crate::error::{Error, Result};
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
    put(&header(&sorted));
    for param in sorted {
        let values = values(param)?;
        for chunk in values.chunks(1 << 14) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|v| v.to_le_bytes()).collect();
            put(&bytes);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Length and text of the header, filled up to a multiple of eight bytes.
fn header(sorted: &[&Param]) -> Vec<u8> {
    let mut entries = Map::new();
    let mut at = 0;
    for param in sorted {
        let end = at + 4 * param.n_elements();
        let entry = json!({"dtype": "F32", "shape": param.shape(), "data_offsets": [at, end]});
        entries.insert(param.name().to_string(), entry);
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
}
