//! ROUGE-L as in pycocoevalcap: beta 1.2, best precision and best recall over the references.

use crate::ngrams::Sentences;

const BETA: f64 = 1.2;

/// ROUGE-L of one item. The best precision and the best recall may come from different
/// references, as in pycocoevalcap; an empty sentence counts as one empty word, as there.
pub fn rouge_l(item: &Sentences) -> f64 {
    let n_candidate = item.candidate.len().max(1) as f64;
    let mut precision: f64 = 0.0;
    let mut recall: f64 = 0.0;
    for reference in &item.references {
        let both_empty = item.candidate.is_empty() && reference.is_empty();
        let common = if both_empty {
            1
        } else {
            longest_common_subsequence(&item.candidate, reference)
        } as f64;
        precision = precision.max(common / n_candidate);
        recall = recall.max(common / reference.len().max(1) as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    let weight = BETA * BETA;
    (1.0 + weight) * precision * recall / (recall + weight * precision)
}

/// Length of the longest common subsequence, in one row of memory.
fn longest_common_subsequence(a: &[u32], b: &[u32]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y {
                diagonal + 1
            } else {
                above.max(row[j])
            };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_subsequences_are_found() {
        assert_eq!(
            longest_common_subsequence(&[1, 2, 3, 4, 1], &[3, 4, 1, 2, 1, 3]),
            3
        );
        assert_eq!(longest_common_subsequence(&[1, 2], &[2, 1]), 1);
        assert_eq!(longest_common_subsequence(&[], &[2, 1]), 0);
    }

    #[test]
    fn precision_and_recall_take_the_best_reference_each() {
        let item = Sentences {
            candidate: vec![1, 2, 3, 4],
            references: vec![vec![1], vec![1, 2, 3, 5, 6, 7]],
        };
        let (p, r) = (0.75, 1.0);
        let expected = 2.44 * p * r / (r + 1.44 * p);
        assert!((rouge_l(&item) - expected).abs() < 1e-12);
    }
}
