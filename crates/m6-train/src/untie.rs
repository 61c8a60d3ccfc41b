//! From blocks that share weights to blocks with weights of their own: the switch of M6-10T's Pseudo-to-Real (paper section 5.2).

use m6_model::{Model, ModelConfig};
use safetensors::tensor::TensorView;
use safetensors::{SafeTensorError, SafeTensors};

/// The tensors of a model, or moments of its parameters, whose blocks share weights as `cfg` says, with a copy for every block: what is named
/// after block `k` is there for blocks `k`, `k + n`, ... of `n` distinct ones. Everything else stays as it is.
///
/// # Errors
/// Damaged bytes.
pub(crate) fn untied(bytes: &[u8], cfg: &ModelConfig) -> Result<Vec<u8>, SafeTensorError> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut views: Vec<(String, TensorView<'_>)> = Vec::new();
    for (name, view) in file.iter() {
        // Moments have the name of what they are before that of the parameter.
        let at = name
            .find("blocks.")
            .filter(|&at| at == 0 || name[..at].ends_with('.'));
        let block = at.and_then(|at| Some((at, Model::block_of(&name[at..])?)));
        let Some((at, block)) = block.filter(|(_, block)| *block < cfg.n_distinct()) else {
            views.push((name.to_string(), view));
            continue;
        };
        let rest = &name[at + "blocks.".len() + block.to_string().len()..];
        for layer in (block..cfg.n_layers).step_by(cfg.n_distinct()) {
            views.push((format!("{}blocks.{layer}{rest}", &name[..at]), view.clone()));
        }
    }
    safetensors::serialize(views, None)
}
