//! Which part of each matrix a rank has, when several have the matrices among them (tensor parallelism; Megatron-LM, Shoeybi and others 2019).

use crate::config::ModelConfig;
use m6_nn::Part;
use std::ops::Range;

/// The part of a parameter that rank `place` of `n` has, when they share the matrices of `cfg`; `None` of one that each has whole: norms, biases
/// behind a split sum, experts, the small tables, patch network and the heads of codes, matching and contrast.
///
/// Attention is split by heads and a dense feed-forward part by its inner width, so that `n` has to divide both; the words of the vocabulary are
/// cut as evenly as they can be.
pub fn split_part(
    cfg: &ModelConfig,
    name: &str,
    shape: &[usize],
    place: usize,
    n: usize,
) -> Option<Part> {
    if n <= 1 {
        return None;
    }
    let cut = |all: usize| -> Range<usize> { all * place / n..all * (place + 1) / n };
    let in_block = name
        .strip_prefix("blocks.")
        .and_then(|rest| rest.split_once('.'));
    match (in_block.map(|(_, part)| part), shape) {
        (Some("attn.qkv.weight" | "attn.qkv.bias"), _) => {
            Some(Part::rows(shape, 3, cut(cfg.d_model)))
        }
        (Some("ffn.up.weight" | "ffn.up.bias"), _) => Some(Part::rows(shape, 1, cut(cfg.d_ff))),
        (Some("attn.out.weight" | "ffn.down.weight"), &[rows, columns]) => {
            Some(Part::columns([rows, columns], cut(columns)))
        }
        (None, &[words, _]) if name == "embed.tokens" || name == "head.weight" => {
            Some(Part::rows(shape, 1, cut(words)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::specs;

    #[test]
    fn parts_cover_every_split_parameter_once_and_most_of_a_block_is_split() {
        let cfg = ModelConfig {
            vocab_size: 101,
            d_model: 24,
            d_ff: 48,
            n_heads: 6,
            tie_embeddings: false,
            ..ModelConfig::default()
        };
        for n in [2, 3] {
            let (mut n_split, mut n_all) = (0, 0);
            for spec in specs(&cfg) {
                let part = |place| split_part(&cfg, &spec.name, &spec.shape, place, n);
                let elements = spec.n_elements() as usize;
                if spec.name.starts_with("blocks.") {
                    n_all += elements;
                }
                if part(0).is_none() {
                    continue;
                }
                let mut seen = vec![0; elements];
                for place in 0..n {
                    let part = part(place).unwrap();
                    part.pieces().flatten().for_each(|i| seen[i] += 1);
                }
                assert!(seen.iter().all(|&times| times == 1), "{}", spec.name);
                if spec.name.starts_with("blocks.") {
                    n_split += elements;
                }
            }
            assert!(n_split * 10 > n_all * 9, "{n_split} of {n_all}");
        }
        assert_eq!(split_part(&cfg, "embed.tokens", &[101, 24], 0, 1), None);
        assert_eq!(
            split_part(&cfg, "blocks.0.moe.up.weight", &[2, 3, 4], 0, 2),
            None
        );
    }
}
