//! A part of a parameter's elements: whole rows, or a piece of every row.

use std::ops::Range;

/// Pieces of equal length at equal distances in the row-major elements of a parameter, with the shape that they have together. A rank that has a
/// part of a matrix (experts, tensor parallelism) keeps it as the row-major numbers of that shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    first: usize,
    len: usize,
    stride: usize,
    n: usize,
    shape: Vec<usize>,
}

impl Part {
    /// Everything of a parameter of this shape.
    pub fn whole(shape: &[usize]) -> Self {
        let rows = shape.first().copied().unwrap_or(1);
        Self::rows(shape, 1, 0..rows)
    }

    /// The rows `rows`, along the first dimension, of each of `groups` equal groups of all rows: 3 of the queries, keys and values of a layer.
    pub fn rows(shape: &[usize], groups: usize, rows: Range<usize>) -> Self {
        let each: usize = shape.iter().skip(1).product();
        let n_rows = shape.first().copied().unwrap_or(1);
        let mut held = shape.to_vec();
        if let Some(first) = held.first_mut() {
            *first = groups * rows.len();
        }
        let per_group = n_rows / groups.max(1) * each;
        // One piece where they touch.
        let is_all = rows.len() * groups == n_rows;
        Self {
            first: rows.start * each,
            len: rows.len() * each * if is_all { groups } else { 1 },
            stride: per_group * if is_all { groups } else { 1 },
            n: if is_all { 1 } else { groups },
            shape: held,
        }
    }

    /// The columns `columns` of a matrix.
    pub fn columns(shape: [usize; 2], columns: Range<usize>) -> Self {
        let [rows, cols] = shape;
        if columns.len() == cols {
            return Self::whole(&shape);
        }
        Self {
            first: columns.start,
            len: columns.len(),
            stride: cols,
            n: rows,
            shape: vec![rows, columns.len()],
        }
    }

    /// Number of elements.
    pub fn n_elements(&self) -> usize {
        self.n * self.len
    }

    /// Lengths of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The first of the whole parameter's elements that is here.
    pub fn first(&self) -> usize {
        self.first
    }

    /// The elements of the whole parameter, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = Range<usize>> {
        let (first, len, stride) = (self.first, self.len, self.stride);
        (0..self.n).map(move |i| first + i * stride..first + i * stride + len)
    }

    /// Where the elements `own` of this part are in the whole parameter.
    pub fn within(&self, own: &Range<usize>) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut at = own.start;
        while at < own.end && self.len > 0 {
            let (piece, offset) = (at / self.len, at % self.len);
            let n = (self.len - offset).min(own.end - at);
            let start = self.first + piece * self.stride + offset;
            found.push(start..start + n);
            at += n;
        }
        found
    }

    /// The numbers of this part among all of a parameter's.
    pub fn take(&self, whole: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.n_elements());
        self.pieces()
            .for_each(|piece| out.extend_from_slice(&whole[piece]));
        out
    }

    /// Puts the numbers of this part among all of a parameter's.
    pub fn put(&self, part: &[f32], whole: &mut [f32]) {
        for (piece, numbers) in self.pieces().zip(part.chunks(self.len.max(1))) {
            whole[piece].copy_from_slice(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: &[usize], parts: &[Part], expected: &[(&[usize], &[usize])]) {
        let n: usize = shape.iter().product();
        let whole: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let mut back = vec![-1.0; n];
        for (part, (held, elements)) in parts.iter().zip(expected) {
            let taken = part.take(&whole);
            assert_eq!(part.shape(), *held);
            assert_eq!(part.n_elements(), held.iter().product::<usize>());
            assert_eq!(
                taken,
                elements.iter().map(|&i| i as f32).collect::<Vec<_>>()
            );
            part.put(&taken, &mut back);
            for start in 0..taken.len() {
                let own = start..taken.len().min(start + 3);
                let found: Vec<usize> = part.within(&own).into_iter().flatten().collect();
                assert_eq!(found, &elements[own]);
            }
        }
        assert_eq!(back, whole, "parts of all ranks are the whole");
    }

    #[test]
    fn parts_are_taken_out_and_put_back() {
        let half = |i: usize| Part::rows(&[4, 2], 1, 2 * i..2 * i + 2);
        let top: (&[usize], &[usize]) = (&[2, 2], &[0, 1, 2, 3]);
        check(
            &[4, 2],
            &[half(0), half(1)],
            &[top, (&[2, 2], &[4, 5, 6, 7])],
        );
        let heads = |i: usize| Part::rows(&[6, 2], 3, i..i + 1);
        let first: (&[usize], &[usize]) = (&[3, 2], &[0, 1, 4, 5, 8, 9]);
        let second: (&[usize], &[usize]) = (&[3, 2], &[2, 3, 6, 7, 10, 11]);
        check(&[6, 2], &[heads(0), heads(1)], &[first, second]);
        let bias = |i: usize| Part::rows(&[6], 3, i..i + 1);
        let expected: [(&[usize], &[usize]); 2] = [(&[3], &[0, 2, 4]), (&[3], &[1, 3, 5])];
        check(&[6], &[bias(0), bias(1)], &expected);
        let columns = |i: usize| Part::columns([2, 4], 2 * i..2 * i + 2);
        let left: (&[usize], &[usize]) = (&[2, 2], &[0, 1, 4, 5]);
        check(
            &[2, 4],
            &[columns(0), columns(1)],
            &[left, (&[2, 2], &[2, 3, 6, 7])],
        );
        assert_eq!(Part::rows(&[6, 2], 3, 0..2), Part::whole(&[6, 2]));
        assert_eq!(Part::columns([2, 4], 0..4), Part::whole(&[2, 4]));
        assert_eq!(Part::whole(&[]).n_elements(), 1);
    }
}
