//! distinct-n: how varied a set of sentences is.

use crate::error::{Error, Result};
use crate::ngrams::{MAX_ORDER, gram};
use rustc_hash::FxHashSet;

/// Distinct n-grams as a share of all n-grams of the sentences, 0 to 1; 0 when there is none.
///
/// # Errors
/// [`Error::Order`] unless `order` is 1 to 4.
pub fn distinct_n(sentences: &[Vec<u32>], order: usize) -> Result<f64> {
    if !(1..=MAX_ORDER).contains(&order) {
        return Err(Error::Order { got: order });
    }
    let mut distinct = FxHashSet::default();
    let mut n_all = 0usize;
    for tokens in sentences {
        for window in tokens.windows(order) {
            distinct.insert(gram(window));
            n_all += 1;
        }
    }
    Ok(distinct.len() as f64 / n_all.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_ngrams_lower_the_share() {
        let sentences = [vec![1, 2, 1, 2], vec![1, 2]];
        assert_eq!(distinct_n(&sentences, 1).unwrap(), 2.0 / 6.0);
        assert_eq!(distinct_n(&sentences, 2).unwrap(), 2.0 / 4.0);
        assert_eq!(distinct_n(&sentences, 4).unwrap(), 1.0);
        assert_eq!(distinct_n(&[], 1).unwrap(), 0.0);
        assert!(matches!(distinct_n(&[], 5), Err(Error::Order { got: 5 })));
    }
}
