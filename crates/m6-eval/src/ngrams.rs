//! Counted n-grams of one to four tokens.

/// Longest n-gram counted.
pub(crate) const MAX_ORDER: usize = 4;
/// Fills the places of a shorter n-gram; no token has this number.
const FILL: u32 = u32::MAX;

/// An n-gram, filled up to four places.
pub(crate) type Gram = [u32; MAX_ORDER];

/// One item as rows of token numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentences {
    /// The sentence to score.
    pub candidate: Vec<u32>,
    /// What it is compared with.
    pub references: Vec<Vec<u32>>,
}

/// The distinct n-grams of a sentence with their counts, in order; entry `n - 1` is for order `n`.
pub(crate) type Counts = [Vec<(Gram, u32)>; MAX_ORDER];

/// Counted n-grams of an item.
pub(crate) struct Counted {
    pub(crate) candidate: Counts,
    pub(crate) references: Vec<Counts>,
}

impl Counted {
    /// Counts the n-grams of an item.
    pub(crate) fn of(item: &Sentences) -> Self {
        Self {
            candidate: count(&item.candidate),
            references: item.references.iter().map(|r| count(r)).collect(),
        }
    }
}

/// Counts the n-grams of a sentence.
pub(crate) fn count(tokens: &[u32]) -> Counts {
    std::array::from_fn(|i| count_order(tokens, i + 1))
}

/// Distinct n-grams of one order with their counts, in order.
pub(crate) fn count_order(tokens: &[u32], order: usize) -> Vec<(Gram, u32)> {
    let mut grams: Vec<Gram> = tokens.windows(order).map(gram).collect();
    grams.sort_unstable();
    let runs = grams.chunk_by(|a, b| a == b);
    runs.map(|run| (run[0], run.len() as u32)).collect()
}

/// An n-gram of at most four tokens.
pub(crate) fn gram(tokens: &[u32]) -> Gram {
    let mut gram = [FILL; MAX_ORDER];
    for (place, token) in gram.iter_mut().zip(tokens) {
        *place = *token;
    }
    gram
}

/// The count of an n-gram in a list that is in order, 0 when absent.
pub(crate) fn lookup(counts: &[(Gram, u32)], gram: &Gram) -> u32 {
    counts
        .binary_search_by(|(other, _)| other.cmp(gram))
        .map_or(0, |i| counts[i].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ngrams_of_every_order_are_counted() {
        let counts = count(&[7, 8, 7, 8]);
        assert_eq!(counts[0], [(gram(&[7]), 2), (gram(&[8]), 2)]);
        assert_eq!(counts[1], [(gram(&[7, 8]), 2), (gram(&[8, 7]), 1)]);
        assert_eq!(counts[3], [(gram(&[7, 8, 7, 8]), 1)]);
        assert_eq!(lookup(&counts[1], &gram(&[7, 8])), 2);
        assert_eq!(lookup(&counts[1], &gram(&[8, 8])), 0);
        assert!(count(&[])[0].is_empty());
    }
}
