//! Parameters to and from safetensors bytes.

use super::{Param, Params};
use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue;
use crate::real::Real;
use candle_core::{DType, Device, Tensor, WithDType};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeSet, HashSet};

/// What did not fit when weights were loaded; empty lists mean that everything did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Parameters that the file does not have.
    pub missing: Vec<String>,
    /// Tensors of the file that no parameter asks for.
    pub unexpected: Vec<String>,
    /// Tensors whose shape differs, each with both shapes.
    pub wrong_shape: Vec<String>,
    /// Tables of which only the rows that both have were taken; empty unless asked for.
    pub partly: Vec<String>,
}

impl LoadReport {
    /// True if every tensor found its parameter and every parameter its tensor.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.wrong_shape.is_empty()
    }
}

impl std::fmt::Display for LoadReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("wrong shape", &self.wrong_shape),
        ];
        let mut first = true;
        for (what, names) in parts.into_iter().filter(|(_, names)| !names.is_empty()) {
            let shown = names
                .iter()
                .take(5)
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ");
            let more = if names.len() > 5 { ", ..." } else { "" };
            let gap = if first { "" } else { "; " };
            write!(f, "{gap}{} {what}: {shown}{more}", names.len())?;
            first = false;
        }
        Ok(())
    }
}

/// Little-endian bytes of the numbers.
pub(crate) fn bytes_of<T: Real>(values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(std::mem::size_of_val(values));
    match T::DTYPE {
        DType::F64 => values
            .iter()
            .for_each(|v| bytes.extend_from_slice(&v.to_f64().to_le_bytes())),
        // An f32 survives the way through f64 unchanged (NaN payloads aside).
        _ => values
            .iter()
            .for_each(|v| bytes.extend_from_slice(&(v.to_f64() as f32).to_le_bytes())),
    }
    bytes
}

/// Opens safetensors bytes; the header is checked against the length of the bytes, so a lying one is an error.
pub(crate) fn parse(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    Ok(SafeTensors::deserialize(bytes)?)
}

/// A tensor of a safetensors file (`f16`, `bf16`, `f32` or `f64`) in the number type `dtype`; `name` is for the error.
///
/// # Errors
/// When it holds anything else.
pub fn read_tensor(view: &TensorView<'_>, dtype: DType, name: &str) -> Result<Tensor> {
    let stored = match view.dtype() {
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        other => {
            let problem = format!("tensor {name} holds {other:?}, expected a floating-point type");
            return Err(Error::Load {
                what: "weights",
                problem,
            });
        }
    };
    Ok(
        Tensor::from_raw_buffer(view.data(), stored, view.shape(), &Device::Cpu)?
            .to_dtype(dtype)?,
    )
}

/// Frozen weights of somebody else's network: tensors of a safetensors file by name.
pub struct TensorFile<'a>(SafeTensors<'a>);

impl<'a> TensorFile<'a> {
    /// Opens safetensors bytes.
    ///
    /// # Errors
    /// When the bytes are damaged or of another format.
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        Ok(Self(parse(bytes)?))
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    /// The tensor `name` as `f32`, which no gradient reaches.
    ///
    /// # Errors
    /// When there is none, its shape is not `shape`, or it does not hold floating-point numbers.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let missing = |_| Error::Load {
            what: "weights do not fit the network",
            problem: format!("there is no tensor {name}, expected one of shape {shape:?}"),
        };
        let view = self.0.tensor(name).map_err(missing)?;
        if view.shape() != shape {
            return Err(Error::Load {
                what: "weights do not fit the network",
                problem: format!("{name} has shape {:?}, expected {shape:?}", view.shape()),
            });
        }
        read_tensor(&view, DType::F32, name)
    }
}

impl Params {
    /// All values as safetensors bytes, names sorted; the same values give the same bytes.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let mut owned = Vec::with_capacity(self.len());
        for param in self {
            let host = param.tensor().detach().to_device(&Device::Cpu)?;
            let (dtype, bytes) =
                by_dtype!(host.dtype(), T => (T::DTYPE, bytes_of(&glue::view::<T>(&host)?)));
            let dtype = if dtype == DType::F64 {
                Dtype::F64
            } else {
                Dtype::F32
            };
            owned.push((param.name(), dtype, param.shape().to_vec(), bytes));
        }
        let mut views = Vec::with_capacity(owned.len());
        for (name, dtype, shape, bytes) in &owned {
            views.push((*name, TensorView::new(*dtype, shape.clone(), bytes)?));
        }
        Ok(safetensors::serialize(views, None)?)
    }

    /// Takes over the values of safetensors bytes (`f16`, `bf16`, `f32` or `f64`).
    ///
    /// With `strict`, anything that does not fit is an error and no parameter changes; otherwise what fits is loaded and the report
    /// names the rest. Damaged bytes are an error either way.
    pub fn load_safetensors(&self, bytes: &[u8], strict: bool) -> Result<LoadReport> {
        self.load(bytes, strict, false)
    }

    /// As [`Params::load_safetensors`] without `strict`, for a model that goes on from another one: a table (two dimensions) with
    /// more or fewer rows takes those that both have.
    pub fn start_from_safetensors(&self, bytes: &[u8]) -> Result<LoadReport> {
        self.load(bytes, false, true)
    }

    fn load(&self, bytes: &[u8], strict: bool, partly: bool) -> Result<LoadReport> {
        let file = parse(bytes)?;
        let mut report = LoadReport::default();
        let mut loads: Vec<(&Param, Tensor)> = Vec::new();
        let names: BTreeSet<&str> = file.names().into_iter().collect();
        for param in self {
            if !names.contains(param.name()) {
                report.missing.push(param.name().to_owned());
                continue;
            }
            let view = file.tensor(param.name())?;
            if partly && let Some(table) = shared_rows(&view, param)? {
                report.partly.push(param.name().to_owned());
                loads.push((param, table));
                continue;
            }
            if view.shape() != param.shape() {
                let text = format!(
                    "{} (file {:?}, model {:?})",
                    param.name(),
                    view.shape(),
                    param.shape()
                );
                report.wrong_shape.push(text);
                continue;
            }
            loads.push((
                param,
                read_tensor(&view, param.var().dtype(), param.name())?,
            ));
        }
        let known: HashSet<&str> = self.iter().map(Param::name).collect();
        report.unexpected = names
            .iter()
            .filter(|n| !known.contains(**n))
            .map(|n| (*n).to_owned())
            .collect();
        if strict && !report.is_clean() {
            return Err(Error::Load {
                what: "weights do not fit the model",
                problem: report.to_string(),
            });
        }
        for (param, tensor) in loads {
            param.var().set(&tensor.to_device(param.var().device())?)?;
        }
        Ok(report)
    }
}

/// The parameter's table with the rows of the file's in place of its own, where only the number of rows differs.
fn shared_rows(view: &TensorView<'_>, param: &Param) -> Result<Option<Tensor>> {
    let (&[theirs, cols], &[ours, width]) = (view.shape(), param.shape()) else {
        return Ok(None);
    };
    if theirs == ours || cols != width {
        return Ok(None);
    }
    let own = param.var().as_detached_tensor();
    let found = read_tensor(view, own.dtype(), param.name())?.to_device(own.device())?;
    let table = match theirs < ours {
        true => Tensor::cat(&[&found, &own.narrow(0, theirs, ours - theirs)?], 0)?,
        false => found.narrow(0, 0, ours)?.contiguous()?,
    };
    Ok(Some(table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn params(entries: &[(&str, &[f32])]) -> Params {
        let mut params = Params::new();
        for (name, values) in entries {
            let tensor = Tensor::new(*values, &Device::Cpu).unwrap();
            params
                .insert(Param::new(*name, &tensor, true).unwrap())
                .unwrap();
        }
        params
    }

    fn values(params: &Params, name: &str) -> Vec<f32> {
        params.get(name).unwrap().var().to_vec1().unwrap()
    }

    #[test]
    fn saved_weights_come_back_bit_for_bit() {
        let saved = params(&[("b", &[1.5, -0.0, f32::MIN_POSITIVE]), ("a", &[2.0])]);
        let bytes = saved.to_safetensors().unwrap();
        let loaded = params(&[("a", &[0.0]), ("b", &[0.0, 0.0, 0.0])]);
        assert!(loaded.load_safetensors(&bytes, true).unwrap().is_clean());
        assert_eq!(loaded.to_safetensors().unwrap(), bytes);
        assert!(values(&loaded, "b")[1].is_sign_negative());
    }

    #[test]
    fn what_does_not_fit_is_named_and_strict_loading_changes_nothing() {
        let bytes = params(&[("same", &[1.0]), ("shape", &[1.0, 2.0]), ("extra", &[3.0])])
            .to_safetensors()
            .unwrap();
        let model = params(&[("same", &[0.0]), ("shape", &[0.0]), ("absent", &[0.0])]);
        let error = model
            .load_safetensors(&bytes, true)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("absent")
                && error.contains("extra")
                && error.contains("file [2], model [1]"),
            "{error}"
        );
        assert_eq!(values(&model, "same"), [0.0]);
        let report = model.load_safetensors(&bytes, false).unwrap();
        assert_eq!(
            (report.missing, report.unexpected),
            (vec!["absent".to_owned()], vec!["extra".to_owned()])
        );
        assert_eq!(values(&model, "same"), [1.0]);
    }

    #[test]
    fn a_table_with_other_rows_takes_those_that_both_have_when_asked() {
        let table = |rows: usize, value: f32| {
            let mut params = Params::new();
            let tensor = Tensor::full(value, (rows, 2), &Device::Cpu).unwrap();
            params
                .insert(Param::new("t", &tensor, true).unwrap())
                .unwrap();
            params
        };
        let rows = |params: &Params| params.get("t").unwrap().var().to_vec2::<f32>().unwrap();
        let two = table(2, 1.0).to_safetensors().unwrap();
        let longer = table(3, 0.0);
        assert_eq!(
            longer
                .load_safetensors(&two, false)
                .unwrap()
                .wrong_shape
                .len(),
            1
        );
        let report = longer.start_from_safetensors(&two).unwrap();
        assert_eq!(
            (report.partly, report.wrong_shape.len()),
            (vec!["t".to_owned()], 0)
        );
        assert_eq!(rows(&longer), [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]);
        let shorter = table(1, 0.0);
        shorter.start_from_safetensors(&two).unwrap();
        assert_eq!(rows(&shorter), [[1.0, 1.0]]);
        let wide = params(&[("t", &[0.0])]);
        assert_eq!(
            wide.start_from_safetensors(&two).unwrap().wrong_shape.len(),
            1
        );
    }

    #[test]
    fn a_tensor_is_found_by_name_and_shape_and_widened() {
        let bytes = params(&[("a", &[1.0, 2.0])]).to_safetensors().unwrap();
        let file = TensorFile::open(&bytes).unwrap();
        assert!(file.has("a") && !file.has("b"));
        assert_eq!(
            file.f32("a", &[2]).unwrap().to_vec1::<f32>().unwrap(),
            [1.0, 2.0]
        );
        let error = file.f32("a", &[2, 1]).unwrap_err().to_string();
        assert!(
            error.contains("a has shape [2], expected [2, 1]"),
            "{error}"
        );
        let error = file.f32("b", &[3]).unwrap_err().to_string();
        assert!(error.contains("there is no tensor b"), "{error}");
        assert!(TensorFile::open(&bytes[..9]).is_err());
    }

    #[test]
    fn a_header_that_claims_more_than_the_bytes_is_refused() {
        let model = params(&[("a", &[1.0, 2.0])]);
        let good = model.to_safetensors().unwrap();
        for cut in [0, 7, 8, 20, good.len() - 1] {
            assert!(
                model.load_safetensors(&good[..cut], false).is_err(),
                "cut at {cut}"
            );
        }
        let mut huge = u64::MAX.to_le_bytes().to_vec();
        huge.extend_from_slice(&good[8..]);
        assert!(model.load_safetensors(&huge, false).is_err());
        let header =
            br#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#;
        let mut lying = (header.len() as u64).to_le_bytes().to_vec();
        lying.extend_from_slice(header);
        lying.extend_from_slice(&[0; 8]);
        assert!(model.load_safetensors(&lying, false).is_err());
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(at in 0_usize..120, byte in any::<u8>()) {
            let model = params(&[("a", &[1.0, 2.0]), ("b", &[3.0])]);
            let mut bytes = model.to_safetensors().unwrap();
            let n = bytes.len();
            bytes[at % n] = byte;
            let _ = model.load_safetensors(&bytes, false);
        }
    }
}
