//! Retrieval: is a picture's own text ranked before other texts, and a text's own picture before other pictures?

use crate::error::{Error, Result};
use serde::Serialize;

/// Scores of pictures against texts, for all pairs or for some. Picture `i` was made for text `i`.
///
/// ```
/// use m6_eval::PairScores;
///
/// let scores = PairScores::new(vec![
///     vec![(0, -1.0), (1, -4.0)],
///     vec![(0, -2.0), (1, -3.0)],
/// ])?;
/// // Text 0 is likely whatever the picture shows; of that nothing is left in the pointwise scores.
/// assert_eq!(scores.image_to_text(0)?.r1, 0.5);
/// assert_eq!(scores.pointwise().image_to_text(0)?.r1, 1.0);
/// # Ok::<(), m6_eval::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PairScores {
    /// Per picture the texts that were scored, in order of number, and their scores.
    rows: Vec<Vec<(usize, f64)>>,
}

/// How often the own item is among the first, over queries of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RetrievalScores {
    /// Share of queries, 0 to 1, whose own item is the first.
    pub r1: f64,
    /// Share whose own item is among the first five.
    pub r5: f64,
    /// Share whose own item is among the first ten.
    pub r10: f64,
    /// Median of the ranks, from 1; the mean of the two middle ones of an even number.
    pub median_rank: f64,
}

/// One query: its own item's score, and those of the others.
struct Query {
    own: f64,
    others: Vec<f64>,
}

impl PairScores {
    /// Takes for every picture `(text, score)`; the higher, the better they fit.
    ///
    /// # Errors
    /// [`Error::Pairs`] for fewer than two pictures, a text outside or twice in a row, or a score that is not finite.
    pub fn new(mut rows: Vec<Vec<(usize, f64)>>) -> Result<Self> {
        let n = rows.len();
        if n < 2 {
            return Err(Error::Pairs(format!(
                "{n} picture(s) with a text of their own cannot be told apart; give at least two"
            )));
        }
        for (picture, row) in rows.iter_mut().enumerate() {
            row.sort_by_key(|(text, _)| *text);
            if let Some((text, score)) = row.iter().find(|(t, score)| *t >= n || !score.is_finite())
            {
                return Err(Error::Pairs(format!(
                    "picture {picture} has the score {score} with text {text}; expected a finite score and a text below {n}"
                )));
            }
            if let Some(twice) = row.windows(2).find(|w| w[0].0 == w[1].0) {
                return Err(Error::Pairs(format!(
                    "picture {picture} has two scores with text {}",
                    twice[0].0
                )));
            }
        }
        Ok(Self { rows })
    }

    /// The scores, taken as log p(text | picture), less the text's own likelihood as far as these pictures tell it:
    ///
    /// s(i, t) = log p(t | x_i) - log( 1/m sum_j p(t | x_j) ), j over the m pictures that t was scored with.
    ///
    /// An estimate of the pointwise mutual information (ours). What is common to all scores of a text, such as its length or
    /// how usual it is, drops out; the order of the pictures of one text stays.
    #[must_use]
    pub fn pointwise(&self) -> Self {
        let columns = self.columns();
        let common: Vec<_> = columns.iter().map(|column| log_mean_exp(column)).collect();
        let less = |(text, score): &(usize, f64)| {
            let (largest, mean) = common[*text];
            (*text, (score - largest) - mean)
        };
        let rows = self.rows.iter().map(|row| row.iter().map(less).collect());
        Self {
            rows: rows.collect(),
        }
    }

    /// Pictures look for their text. Picture `i` is taken for that of text `i + shift` (modulo the number of texts): 0 asks how
    /// well pictures are told apart, anything else is a control that has the same scores but the wrong pairs.
    ///
    /// A query without a score of its own, or without any other, is left out.
    ///
    /// # Errors
    /// [`Error::NoItems`] when no query is left.
    pub fn image_to_text(&self, shift: usize) -> Result<RetrievalScores> {
        RetrievalScores::of_ranks(ranks(&self.text_queries(shift)))
    }

    /// Texts look for their picture, that of text `i + shift` being picture `i`; else as [`PairScores::image_to_text`].
    ///
    /// # Errors
    /// [`Error::NoItems`] when no query is left.
    pub fn text_to_image(&self, shift: usize) -> Result<RetrievalScores> {
        RetrievalScores::of_ranks(ranks(&self.picture_queries(shift)))
    }

    /// What guessing gives for the queries of [`PairScores::image_to_text`] with shift 0, exactly: the mean of k / m, and the
    /// median of (m + 1) / 2, for the m candidates of each query.
    ///
    /// # Errors
    /// [`Error::NoItems`] when there is no query.
    pub fn chance_image_to_text(&self) -> Result<RetrievalScores> {
        RetrievalScores::of_chance(&self.text_queries(0))
    }

    /// [`PairScores::chance_image_to_text`] of texts that look for their picture.
    ///
    /// # Errors
    /// [`Error::NoItems`] when there is no query.
    pub fn chance_text_to_image(&self) -> Result<RetrievalScores> {
        RetrievalScores::of_chance(&self.picture_queries(0))
    }

    fn text_queries(&self, shift: usize) -> Vec<Query> {
        let n = self.rows.len();
        let query = |(i, row): (usize, &Vec<(usize, f64)>)| Query::new(row, (i + shift % n) % n);
        self.rows.iter().enumerate().filter_map(query).collect()
    }

    fn picture_queries(&self, shift: usize) -> Vec<Query> {
        let n = self.rows.len();
        let columns = self.columns();
        let query = |(text, column): (usize, &Vec<(usize, f64)>)| {
            Query::new(column, (text + n - shift % n) % n)
        };
        columns.iter().enumerate().filter_map(query).collect()
    }

    /// Per text the pictures it was scored with, and the scores.
    fn columns(&self) -> Vec<Vec<(usize, f64)>> {
        let mut columns = vec![Vec::new(); self.rows.len()];
        for (picture, row) in self.rows.iter().enumerate() {
            for (text, score) in row {
                columns[*text].push((picture, *score));
            }
        }
        columns
    }
}

impl Query {
    /// `None` without the own item's score or any other.
    fn new(scores: &[(usize, f64)], own: usize) -> Option<Self> {
        let (_, score) = scores.iter().find(|(item, _)| *item == own)?;
        let others = scores.iter().filter(|(item, _)| *item != own);
        let others: Vec<f64> = others.map(|(_, score)| *score).collect();
        (!others.is_empty()).then_some(Self {
            own: *score,
            others,
        })
    }

    /// Rank of the own item, from 1; of several with one score it stands in the middle.
    fn rank(&self) -> f64 {
        let count = |f: &dyn Fn(f64) -> bool| self.others.iter().filter(|s| f(**s)).count() as f64;
        1.0 + count(&|s| s > self.own) + count(&|s| s == self.own) / 2.0
    }
}

impl RetrievalScores {
    /// The figures of ranks, from 1; a rank between two numbers is within k when it is at most k.
    ///
    /// # Errors
    /// [`Error::NoItems`] without a rank.
    pub fn of_ranks(ranks: Vec<f64>) -> Result<Self> {
        if ranks.is_empty() {
            return Err(Error::NoItems);
        }
        let n = ranks.len() as f64;
        let within = |k: f64| ranks.iter().filter(|rank| **rank <= k).count() as f64 / n;
        let [r1, r5, r10] = [1.0, 5.0, 10.0].map(within);
        Ok(Self {
            r1,
            r5,
            r10,
            median_rank: median(ranks),
        })
    }

    /// Mean of the three recalls.
    pub fn mean_recall(&self) -> f64 {
        (self.r1 + self.r5 + self.r10) / 3.0
    }

    fn of_chance(queries: &[Query]) -> Result<Self> {
        if queries.is_empty() {
            return Err(Error::NoItems);
        }
        let n_candidates = || queries.iter().map(|query| query.others.len() as f64 + 1.0);
        let share = |k: f64| n_candidates().map(|m| k.min(m) / m).sum::<f64>();
        let n = queries.len() as f64;
        Ok(Self {
            r1: share(1.0) / n,
            r5: share(5.0) / n,
            r10: share(10.0) / n,
            median_rank: median(n_candidates().map(|m| (m + 1.0) / 2.0).collect()),
        })
    }
}

fn ranks(queries: &[Query]) -> Vec<f64> {
    queries.iter().map(Query::rank).collect()
}

/// Of at least one number.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    f64::midpoint(values[(n - 1) / 2], values[n / 2])
}

/// Logarithm of the mean of the exponentials of scores, as the largest score and what is to be added: the second number stays, to
/// the bit, when all scores move together.
fn log_mean_exp(scores: &[(usize, f64)]) -> (f64, f64) {
    let each = || scores.iter().map(|(_, score)| *score);
    let largest = each().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = each().map(|score| (score - largest).exp()).sum();
    (largest, (sum / scores.len() as f64).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(values: &[&[f64]]) -> PairScores {
        let row = |row: &&[f64]| row.iter().copied().enumerate().collect();
        PairScores::new(values.iter().map(row).collect()).unwrap()
    }

    #[test]
    fn ranks_of_a_small_matrix_are_those_counted_by_hand() {
        let scores = full(&[&[3.0, 2.0, 1.0], &[5.0, 4.0, 6.0], &[0.0, 1.0, 1.0]]);
        // Ranks of the own text: 1, 3, and 1.5 of the two that share the first place.
        let own = scores.image_to_text(0).unwrap();
        assert_eq!((own.r1, own.r5, own.median_rank), (1.0 / 3.0, 1.0, 1.5));
        // Ranks of the own picture: 2, 1, and 2.5 of the two that share the second place.
        let own = scores.text_to_image(0).unwrap();
        assert_eq!((own.r1, own.median_rank), (1.0 / 3.0, 2.0));
        // Picture 0 for text 1, 1 for 2, 2 for 0: ranks 2, 1, 3.
        let other = scores.image_to_text(1).unwrap();
        assert_eq!((other.r1, other.median_rank), (1.0 / 3.0, 2.0));
        assert_eq!(scores.image_to_text(4).unwrap(), other);
        // Text 0 for picture 2, 1 for 0, 2 for 1: ranks 3, 2, 1.
        assert_eq!(scores.text_to_image(1).unwrap(), other);
        assert!((own.mean_recall() - (1.0 / 3.0 + 2.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn chance_is_k_of_the_candidates() {
        let rows = (0..12).map(|_| (0..12).map(|t| (t, 0.0)).collect());
        let scores = PairScores::new(rows.collect()).unwrap();
        let chance = scores.chance_image_to_text().unwrap();
        assert_eq!(
            (chance.r1, chance.r5, chance.r10, chance.median_rank),
            (1.0 / 12.0, 5.0 / 12.0, 10.0 / 12.0, 6.5)
        );
        assert_eq!(chance, scores.chance_text_to_image().unwrap());
        // All alike: the middle of twelve places, and nothing is found.
        let own = scores.image_to_text(0).unwrap();
        assert_eq!(
            (own.r1, own.r5, own.r10, own.median_rank),
            (0.0, 0.0, 1.0, 6.5)
        );
    }

    #[test]
    fn queries_without_a_pair_or_a_rival_are_left_out() {
        let rows = vec![
            vec![(0, 1.0), (1, 0.0)],
            vec![(1, 1.0)],
            vec![(0, 9.0), (1, 0.0)],
        ];
        let scores = PairScores::new(rows).unwrap();
        // Only picture 0 has its own text and another one.
        assert_eq!(scores.image_to_text(0).unwrap().r1, 1.0);
        assert_eq!(scores.chance_image_to_text().unwrap().r1, 0.5);
        let alone = PairScores::new(vec![vec![(0, 1.0)], vec![(1, 1.0)]]).unwrap();
        assert!(matches!(alone.image_to_text(0), Err(Error::NoItems)));
        assert!(matches!(alone.chance_text_to_image(), Err(Error::NoItems)));
    }

    #[test]
    fn what_cannot_be_ranked_is_refused_by_name() {
        let refused = |rows: Vec<Vec<(usize, f64)>>, part: &str| {
            let error = PairScores::new(rows).unwrap_err().to_string();
            assert!(error.contains(part), "{part} is not in {error}");
        };
        refused(vec![], "at least two");
        refused(vec![vec![(0, 1.0)]], "at least two");
        refused(vec![vec![], vec![(2, 1.0)]], "text below 2");
        refused(vec![vec![], vec![(1, f64::NAN)]], "picture 1");
        refused(vec![vec![], vec![(1, f64::NEG_INFINITY)]], "finite");
        refused(
            vec![vec![(1, 0.0), (0, 0.0), (1, 1.0)], vec![]],
            "two scores with text 1",
        );
    }
}
