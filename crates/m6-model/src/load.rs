//! Weights from elsewhere: torchvision's ResNet-50 into the patch network.

use crate::error::{Error, Result};
use crate::model::Model;
use crate::spec::{Part, specs};
use m6_nn::Params;
use safetensors::SafeTensors;

impl Model {
    /// Loads the patch network from safetensors bytes with torchvision's own names (`conv1.weight`, `layer1.0.bn1.bias`,
    /// ...), with or without the prefix `patches.`; gives the names that were not needed (`fc.*`, `num_batches_tracked`).
    ///
    /// # Errors
    /// [`Error::Weights`] when the network has no weights, or one of them is missing or of another shape; nothing is
    /// changed then.
    pub fn load_patch_network(&self, bytes: &[u8]) -> Result<Vec<String>> {
        let wanted = self.patch_params()?;
        if wanted.is_empty() {
            return Err(Error::Weights(
                "patches.kind = linear has no network to load".into(),
            ));
        }
        let file = SafeTensors::deserialize(bytes)
            .map_err(|e| Error::Weights(format!("not a readable safetensors file: {e}")))?;
        let (mut used, mut unused) = (Vec::new(), Vec::new());
        for (name, view) in file.iter() {
            let ours = match name.starts_with("patches.") {
                true => name.to_owned(),
                false => format!("patches.{name}"),
            };
            match wanted.get(&ours) {
                Some(_) => used.push((ours, view)),
                None => unused.push(name.to_owned()),
            }
        }
        let renamed = safetensors::serialize(used, None)
            .map_err(|e| Error::Weights(format!("cannot take over the patch network: {e}")))?;
        wanted.load_safetensors(&renamed, true)?;
        unused.sort();
        Ok(unused)
    }

    fn patch_params(&self) -> Result<Params> {
        let mut params = Params::new();
        for spec in specs(self.config()) {
            if !matches!(spec.part, Part::PatchNetwork | Part::PatchStatistics) {
                continue;
            }
            if let Some(param) = self.params().get(&spec.name) {
                params.insert(param.clone())?;
            }
        }
        Ok(params)
    }
}
