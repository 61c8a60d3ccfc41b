//! A text as buckets of hashed character n-grams.

use super::Shape;
use crate::rules::fold::fold;
use crate::rules::hash::extend;

/// Stands before and behind the text, so that how it begins and ends is a feature.
const EDGE: char = '\u{2}';

/// The n-grams of a text, each as a bucket, in the order of the text and with repeats.
pub(super) struct Features {
    pub(super) buckets: Vec<u32>,
    /// The weight of one n-gram: all weigh 1 together.
    pub(super) weight: f64,
}

impl Features {
    pub(super) fn of(text: &str, shape: &Shape) -> Self {
        let visible = text.chars().filter_map(fold).take(shape.max_chars as usize);
        let mut chars: Vec<u32> = vec![u32::from(EDGE)];
        chars.extend(visible.map(u32::from));
        let is_empty = chars.len() == 1;
        chars.push(u32::from(EDGE));
        let mut buckets = Vec::new();
        if !is_empty {
            buckets.reserve(chars.len() * (shape.max_n - shape.min_n + 1) as usize);
            for tail in (0..chars.len()).filter_map(|at| chars.get(at..)) {
                push(&mut buckets, tail, shape);
            }
        }
        let weight = if buckets.is_empty() {
            0.0
        } else {
            1.0 / buckets.len() as f64
        };
        Self { buckets, weight }
    }
}

/// Adds the n-grams that begin a tail of the text.
#[inline]
fn push(buckets: &mut Vec<u32>, tail: &[u32], shape: &Shape) {
    let mut hash = 0;
    for (n, c) in (1..=shape.max_n).zip(tail) {
        hash = extend(hash, *c);
        // An edge alone says nothing.
        if n >= shape.min_n && (n > 1 || *c != u32::from(EDGE)) {
            buckets.push((hash >> (64 - shape.bits)) as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, min_n: u32, max_n: u32) -> Features {
        Features::of(
            text,
            &Shape {
                min_n,
                max_n,
                ..Shape::default()
            },
        )
    }

    #[test]
    fn n_grams_are_counted_with_the_edges() {
        // 山, 水; ^山, 山水, 水$.
        assert_eq!(of("山水", 1, 2).buckets.len(), 5);
        assert_eq!(of("山水", 1, 1).buckets.len(), 2);
        assert_eq!(of("山 水\n", 1, 2).buckets, of("山水", 1, 2).buckets);
        assert!(of("山水", 1, 2).buckets != of("水山", 1, 2).buckets);
        assert_eq!(of("山水", 1, 1).weight, 0.5);
        let cut = Features::of(
            "山水画",
            &Shape {
                max_chars: 2,
                ..Shape::default()
            },
        );
        assert_eq!(cut.buckets, of("山水", 1, 3).buckets);
        for text in ["", " \n\0"] {
            let empty = of(text, 1, 3);
            assert_eq!((empty.buckets.len(), empty.weight), (0, 0.0));
        }
    }

    #[test]
    fn buckets_stay_inside_the_table() {
        for bits in [8, 18, 24] {
            let shape = Shape {
                bits,
                ..Shape::default()
            };
            let features = Features::of(&"山高月小水落石出".repeat(40), &shape);
            assert!(
                features
                    .buckets
                    .iter()
                    .all(|bucket| (*bucket as usize) < shape.n_buckets())
            );
        }
    }
}
