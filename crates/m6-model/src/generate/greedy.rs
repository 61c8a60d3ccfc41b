//! One prompt written greedily: the likeliest word is searched for, and log probabilities are computed many at once.
//!
//! Words and log probabilities are those of the common path, bit for bit; what is spared is reading the whole head for every word. With
//! several prompts the common path shares that reading between them.

use super::decoder::{Decoder, Lane};
use super::pick::{Picker, log_sum_exp};
use super::rules::Rule;
use super::{GenerateOptions, Generated, Run};
use crate::error::Result;

/// Fewest words for which the copy that is searched is worth making.
const MIN_WORDS: usize = 8;
/// Words whose log probabilities are computed together.
const N_BLOCK: usize = 16;

/// Words whose log probabilities are not known yet: their final rows and ids.
#[derive(Default)]
struct Pending {
    rows: Vec<f32>,
    ids: Vec<u32>,
}

/// Whether a lone prompt that may get `limit` words is written here.
pub(super) fn serves(options: &GenerateOptions, limit: usize) -> bool {
    options.temperature == 0.0 && limit >= MIN_WORDS
}

/// Continues `run`, whose logits are those after its prompt.
pub(super) fn write(
    decoder: &Decoder<'_>,
    picker: &Picker,
    options: &GenerateOptions,
    mut run: Run,
    rule: Option<&dyn Rule>,
    on_token: &mut dyn FnMut(u32) -> bool,
) -> Result<Generated> {
    run.extend(picker, rule, options, on_token);
    if !run.open {
        return Ok(run.out);
    }
    let head = decoder.head_search()?;
    let mut pending = Pending::default();
    while run.open {
        let Some(&last) = run.text.last() else { break };
        let mut lane: [&mut Lane; 1] = [&mut run.lane];
        let row = decoder.step_rows(&mut lane, &[last])?;
        let allowed = picker.allowed(run.text(), rule);
        let found = match allowed.forced() {
            Some(id) => Some(id),
            None => decoder.find_likeliest(&head, &row, |id| allowed.has(id))?,
        };
        let Some(id) = found else { break };
        pending.rows.extend_from_slice(&row);
        pending.ids.push(id);
        run.take(id, options, on_token);
        if pending.ids.len() == N_BLOCK {
            pending.settle(decoder, &mut run.out)?;
        }
    }
    pending.settle(decoder, &mut run.out)?;
    Ok(run.out)
}

impl Pending {
    fn settle(&mut self, decoder: &Decoder<'_>, out: &mut Generated) -> Result<()> {
        let logits = decoder.head_rows(&self.rows)?;
        for (logits, &id) in logits.chunks_exact(decoder.vocab_size()).zip(&self.ids) {
            out.logprob += f64::from(logits[id as usize]) - log_sum_exp(logits);
        }
        self.rows.clear();
        self.ids.clear();
        Ok(())
    }
}
