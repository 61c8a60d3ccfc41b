//! Tensors by the names of `transformers`, each checked before it is read.

use super::layers::{Linear, Norm};
use crate::error::{Error, Result};
use m6_nn::{DType, Param, param};
use safetensors::SafeTensors;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Name of the file.
pub(super) const FILE: &str = "model.safetensors";
/// Tensors that old versions saved although nothing reads them.
const UNREAD: [&str; 4] = [
    "text_model.embeddings.position_ids",
    "text_model.pooler.dense.bias",
    "text_model.pooler.dense.weight",
    "vision_model.embeddings.position_ids",
];

/// An open file, and which of its tensors were taken.
pub(super) struct Weights<'a> {
    file: SafeTensors<'a>,
    taken: RefCell<BTreeSet<String>>,
}

impl<'a> Weights<'a> {
    /// Reads the header, which is held against the length of the bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| Error::clip(FILE, error))?;
        Ok(Self {
            file,
            taken: RefCell::default(),
        })
    }

    /// The tensor of this name; nothing is allocated for one of another shape.
    pub fn take(&self, name: &str, shape: &[usize]) -> Result<Param> {
        let view = self.file.tensor(name).map_err(|_| {
            let problem =
                format!("there is no tensor {name}; config.json asks for one of {shape:?}");
            Error::clip(FILE, problem)
        })?;
        if view.shape() != shape {
            let problem = format!(
                "the tensor {name} has the shape {:?}, config.json asks for {shape:?}",
                view.shape()
            );
            return Err(Error::clip(FILE, problem));
        }
        self.taken.borrow_mut().insert(name.to_owned());
        let tensor = param::read_tensor(&view, DType::F32, name)?;
        let param = Param::new(name, &tensor, false)?;
        param.set_trainable(false);
        Ok(param)
    }

    /// Weight `[n_out, n_in]` and bias of one layer.
    pub fn linear(&self, prefix: &str, n_out: usize, n_in: usize) -> Result<Linear> {
        Ok(Linear {
            weight: self.take(&format!("{prefix}.weight"), &[n_out, n_in])?,
            bias: Some(self.take(&format!("{prefix}.bias"), &[n_out])?),
        })
    }

    /// A layer without bias.
    pub fn projection(&self, prefix: &str, n_out: usize, n_in: usize) -> Result<Linear> {
        Ok(Linear {
            weight: self.take(&format!("{prefix}.weight"), &[n_out, n_in])?,
            bias: None,
        })
    }

    /// A layer norm over `n` numbers.
    pub fn norm(&self, prefix: &str, n: usize, eps: f64) -> Result<Norm> {
        Ok(Norm {
            weight: self.take(&format!("{prefix}.weight"), &[n])?,
            bias: self.take(&format!("{prefix}.bias"), &[n])?,
            eps,
        })
    }

    /// An error when a tensor is left that belongs to no part of the model.
    pub fn finish(&self) -> Result<()> {
        let taken = self.taken.borrow();
        let mut names: Vec<&str> = self.file.names().into_iter().collect();
        names.sort_unstable();
        names.retain(|name| !taken.contains(*name) && !UNREAD.contains(name));
        let Some(first) = names.first() else {
            return Ok(());
        };
        let shape = self.file.tensor(first).map(|view| view.shape().to_vec());
        let problem = format!(
            "{} tensors belong to no part of the model that config.json describes, {first} {:?} among them",
            names.len(),
            shape.unwrap_or_default()
        );
        Err(Error::clip(FILE, problem))
    }
}
