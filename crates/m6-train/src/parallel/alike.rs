//! Ranks that share matrices have everything else alike, and so they stay: each makes the same sums in the same order.

use super::{Team, exchange};
use crate::error::{Error, Result};
use m6_store::rng::mix64;

impl Team {
    /// Makes sure that ranks that share matrices have come to the same values of everything else, to the bit.
    ///
    /// # Errors
    /// They have not, which is a fault of this program; a rank failed.
    pub fn check_alike(&self) -> Result<()> {
        let n = self.n_tensor();
        if n == 1 {
            return Ok(());
        }
        let mut sums = vec![0; self.params.len()];
        for section in &self.sections {
            for (i, &number) in section.numbers.iter().enumerate() {
                if !self.is_split(&self.params[number]) {
                    let start = self.owned.of(number)[self.data.rank()].start;
                    sums[number] = section.weights.edit(i, |own| sum_of_bits(start, own))?;
                }
            }
        }
        let all = exchange(self.comm(), Ok(sums))?;
        // Who owns what may differ from place to place, not what all own together.
        let of_place = |place: usize, i: usize| {
            let ranks = all.iter().skip(place).step_by(n);
            ranks.fold(0_u64, |sum, own| sum.wrapping_add(own[i]))
        };
        for place in 1..n {
            let differs = |&i: &usize| of_place(place, i) != of_place(0, i);
            if let Some(i) = (0..self.params.len()).find(differs) {
                let name = self.params[i].name();
                let reason = format!(
                    "{name} is not what it is on rank 0, and the two share matrices: start the ranks of a group on machines of one kind, \
                     or this is a fault of the program"
                );
                return Err(Error::Peer {
                    rank: place,
                    reason,
                });
            }
        }
        Ok(())
    }
}

/// A number that differs where a value does, and adds up over the parts of a parameter; `start` is where these values begin.
fn sum_of_bits(start: usize, values: &[f32]) -> u64 {
    let each = (start as u64..).zip(values);
    each.fold(0, |sum, (i, v)| {
        sum.wrapping_add(mix64(i, u64::from(v.to_bits())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_add_up_however_they_are_shared_out_and_differ_where_values_do() {
        let values: Vec<f32> = (0..100).map(|i| (i as f32).sin()).collect();
        let whole = sum_of_bits(0, &values);
        for cut in [0, 1, 37, 100] {
            let (a, b) = values.split_at(cut);
            assert_eq!(sum_of_bits(0, a).wrapping_add(sum_of_bits(cut, b)), whole);
        }
        let mut other = values.clone();
        other.swap(3, 4);
        assert_ne!(sum_of_bits(0, &other), whole);
        other = values;
        other[99] = f32::from_bits(other[99].to_bits() ^ 1);
        assert_ne!(sum_of_bits(0, &other), whole);
    }
}
