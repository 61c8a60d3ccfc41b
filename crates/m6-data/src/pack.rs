//! Rows from examples: first fit over a bounded window of open rows.

use m6_store::permute::Permutation;
use m6_store::rng::Key;

/// Open rows that a new example may go to.
const OPEN_ROWS: usize = 64;

/// Rows as lists of example numbers; `lengths[i]` is what example `i` takes, at most `row_len`.
///
/// Examples come in the keyed order, each goes to the first open row with room; when no row has room and all
/// are open, the fullest row is closed. Every example is in exactly one row. Deterministic; time is linear.
pub fn pack(lengths: &[u32], row_len: usize, key: Key) -> Vec<Vec<u32>> {
    let order = Permutation::new(key, lengths.len() as u64);
    let mut open: Vec<(usize, Vec<u32>)> = Vec::new();
    let mut closed = Vec::new();
    for i in 0..lengths.len() as u64 {
        let example = order.at(i) as u32;
        let length = lengths[example as usize] as usize;
        let fitting = open.iter_mut().find(|(used, _)| used + length <= row_len);
        if let Some((used, row)) = fitting {
            *used += length;
            row.push(example);
            continue;
        }
        if open.len() == OPEN_ROWS {
            let fullest = (0..open.len()).max_by_key(|&at| (open[at].0, OPEN_ROWS - at));
            if let Some(at) = fullest {
                closed.push(open.remove(at).1);
            }
        }
        open.push((length, vec![example]));
    }
    closed.extend(open.into_iter().map(|(_, row)| row));
    closed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_example_is_in_one_row_and_no_row_is_too_long(
            lengths in prop::collection::vec(1u32..=100, 0..500), seed: u64,
        ) {
            let rows = pack(&lengths, 100, Key::new(seed));
            let mut seen: Vec<u32> = rows.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len() as u32).collect::<Vec<_>>());
            for row in &rows {
                prop_assert!(!row.is_empty());
                prop_assert!(row.iter().map(|&i| lengths[i as usize]).sum::<u32>() <= 100);
            }
        }
    }

    #[test]
    fn short_examples_fill_rows_well() {
        let mut stream = Key::new(5).stream();
        let lengths: Vec<u32> = (0..5000).map(|_| 20 + stream.below(60) as u32).collect();
        let rows = pack(&lengths, 512, Key::new(1));
        let fill = lengths.iter().sum::<u32>() as f64 / (rows.len() * 512) as f64;
        assert!(fill > 0.97, "{fill}");
    }
}
