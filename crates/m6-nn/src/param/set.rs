//! The parameters of a model as an ordered set.

use super::Param;
use crate::error::{Error, Result};
use candle_core::backprop::GradStore;
use std::collections::HashMap;

/// Parameters in the order of their insertion, found by name; clones share the parameters.
#[derive(Debug, Clone, Default)]
pub struct Params {
    list: Vec<Param>,
    index: HashMap<String, usize>,
}

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a parameter. Errors if its name is taken.
    pub fn insert(&mut self, param: Param) -> Result<()> {
        if self.index.contains_key(param.name()) {
            let what = format!("the name {} is taken", param.name());
            return Err(Error::Value {
                op: "insert parameter",
                what,
            });
        }
        self.index.insert(param.name().to_owned(), self.list.len());
        self.list.push(param);
        Ok(())
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.index.get(name).map(|&i| &self.list[i])
    }

    /// All parameters in the order of insertion.
    pub fn iter(&self) -> std::slice::Iter<'_, Param> {
        self.list.iter()
    }

    /// Number of parameters (tensors).
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True without parameters.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Number of elements of all parameters.
    pub fn n_elements(&self) -> usize {
        self.iter().map(Param::n_elements).sum()
    }

    /// Declares every gradient empty; the memory is kept.
    pub fn zero_grads(&self) {
        self.iter().for_each(Param::zero_grad);
    }

    /// Adds the gradients that came through the tape (composed operators) to the parameters' buffers.
    pub fn absorb(&self, store: &GradStore) -> Result<()> {
        for param in self.iter().filter(|p| p.is_trainable()) {
            if let Some(gradient) = store.get(param.var().as_tensor()) {
                param.add_tensor(gradient)?;
            }
        }
        Ok(())
    }

    /// Euclidean norm of all gradients together, in `f64` and in a fixed order.
    pub fn grad_norm(&self) -> f64 {
        self.iter().map(Param::grad_squares).sum::<f64>().sqrt()
    }

    /// The same of one parameter; 0 when it has no gradient or is not there.
    pub fn grad_norm_of(&self, name: &str) -> f64 {
        self.get(name).map_or(0.0, |p| p.grad_squares().sqrt())
    }

    /// Multiplies every gradient.
    pub fn scale_grads(&self, scale: f32) {
        self.iter().for_each(|p| p.scale_grad(scale));
    }
}

impl<'a> IntoIterator for &'a Params {
    type Item = &'a Param;
    type IntoIter = std::slice::Iter<'a, Param>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
