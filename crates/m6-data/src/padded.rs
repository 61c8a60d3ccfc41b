//! The batch a plain trainer makes of the same examples: one target a row with its own prefix, rows padded to the longest.
//! For measuring what packing saves; nothing trains on it.

use crate::batch::{Batch, SEGMENT_TARGET};

impl Batch {
    /// The same labels as a padded batch. `picture_bytes` is the size of one picture, `pad` the word that fills rows up.
    ///
    /// Every target gets its own copy of the prefix and its pictures. Padding stands behind the target as positions that are
    /// computed and never learned; since targets see only their past, the losses are those of the packed batch.
    pub fn padded(&self, picture_bytes: usize, pad: u32) -> Batch {
        let length = |&[prefix, from, to]: &[u32; 3]| {
            let [p_from, p_to] = self.prefixes[prefix as usize];
            p_to - p_from + to - from
        };
        let longest = self.targets.iter().map(length).max().unwrap_or(0);
        let mut out = Batch::default();
        for target @ [prefix, from, to] in &self.targets {
            let [p_from, p_to] = self.prefixes[*prefix as usize];
            let row = out.tokens.len() as u32;
            for (k, at) in self.picture_at.iter().enumerate() {
                if (p_from..p_to).contains(at) {
                    out.picture_at.push(row + at - p_from);
                    out.pictures
                        .extend_from_slice(&self.pictures[k * picture_bytes..][..picture_bytes]);
                }
            }
            out.copy_positions(self, p_from, p_to);
            let start = out.tokens.len() as u32;
            out.copy_positions(self, *from, *to);
            out.copy_labels(self, *from, *to, start);
            let n_pad = longest - length(target);
            for i in 0..n_pad {
                out.tokens.push(pad);
                out.positions.push(to - from + i);
                out.segments.push(SEGMENT_TARGET);
            }
            out.prefixes.push([row, start]);
            out.targets
                .push([out.n_rows as u32, start, out.tokens.len() as u32]);
            out.n_rows += 1;
        }
        out
    }

    fn copy_positions(&mut self, other: &Batch, from: u32, to: u32) {
        let range = from as usize..to as usize;
        self.tokens.extend_from_slice(&other.tokens[range.clone()]);
        self.positions
            .extend_from_slice(&other.positions[range.clone()]);
        self.segments.extend_from_slice(&other.segments[range]);
    }

    fn copy_labels(&mut self, other: &Batch, from: u32, to: u32, start: u32) {
        let range = other.loss_at.partition_point(|at| *at < from)
            ..other.loss_at.partition_point(|at| *at < to);
        for i in range {
            self.loss_at.push(other.loss_at[i] - from + start);
            self.labels.push(other.labels[i]);
            self.tasks.push(other.tasks[i]);
            self.sources.push(other.sources[i]);
            self.weights.extend(other.weights.get(i));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_batch_has_the_same_labels_behind_the_same_prefixes() {
        let packed = Batch {
            n_rows: 1,
            tokens: vec![u32::MAX, 7, 2, 20, 2, 30, 31],
            positions: vec![0, 0, 0, 1, 0, 1, 2],
            segments: vec![0, 1, 2, 2, 2, 2, 2],
            prefixes: vec![[0, 2]],
            targets: vec![[0, 2, 4], [0, 4, 7]],
            pictures: vec![5, 6, 7],
            picture_at: vec![0],
            loss_at: (2..7).collect(),
            labels: vec![20, 3, 30, 31, 3],
            tasks: vec![0; 5],
            sources: vec![0; 5],
            weights: vec![1.0, 2.0, 3.0, 4.0, 5.0],
        };
        let padded = packed.padded(3, 0);
        assert_eq!(padded.n_rows, 2);
        assert_eq!(
            padded.tokens,
            [u32::MAX, 7, 2, 20, 0, u32::MAX, 7, 2, 30, 31]
        );
        assert_eq!(padded.labels, packed.labels);
        assert_eq!(padded.weights, packed.weights);
        assert_eq!(padded.loss_at, [2, 3, 7, 8, 9]);
        assert_eq!(padded.prefixes, [[0, 2], [5, 7]]);
        assert_eq!(padded.targets, [[0, 2, 5], [1, 7, 10]]);
        assert_eq!(padded.pictures, [5, 6, 7, 5, 6, 7]);
    }
}
