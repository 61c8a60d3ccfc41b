//! How ranks are arranged, and who owns which part of each parameter.

use m6_model::spec::is_expert_matrix;
use m6_nn::dist::Shards;
use std::ops::Range;

/// Ranks that have micro-batches of their own (of groups that share matrices, those at one place); `expert` neighbours share the experts of a layer, each having a part of its own, and every such group has
/// all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mesh {
    /// How many.
    pub n_ranks: usize,
    /// Ranks of a group, which divide them all.
    pub expert: usize,
}

/// Who has a parameter, and where its gradient is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Every rank has it, and a gradient of its own micro-batches.
    Shared,
    /// Every rank has it, and the gradient of its part of it is where the experts of that part are: biases of experts that cannot be spread.
    Beside,
    /// A rank has a part of it, whose gradient is made there: experts.
    Spread,
}

/// A parameter as far as who owns it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tensor {
    pub n_elements: usize,
    /// Whether the optimizer updates it as a whole.
    pub whole: bool,
    pub place: Place,
}

/// The parts of all parameters.
pub(crate) struct Deal {
    /// The elements of each parameter that each rank updates.
    pub owned: Shards,
    /// The parameters of each place, and their parts: among all ranks, or, of what a rank has of a spread one, among those that have the same.
    pub sections: Vec<(Place, Vec<usize>, Shards)>,
}

impl Mesh {
    /// Which part of a group's experts a rank has.
    pub fn place(self, rank: usize) -> usize {
        rank % self.expert
    }

    /// The group of a rank, and its number among the ranks that have the same experts.
    pub fn group(self, rank: usize) -> usize {
        rank / self.expert
    }

    /// Deals the parts of the parameters out.
    pub fn deal(self, tensors: &[Tensor]) -> Deal {
        let mut ranges: Vec<Vec<Range<usize>>> = vec![Vec::new(); tensors.len()];
        let mut sections = Vec::new();
        for place in [Place::Shared, Place::Beside, Place::Spread] {
            let (parts, n_ranks) = match place {
                Place::Spread => (self.expert, self.n_ranks / self.expert),
                Place::Shared | Place::Beside => (1, self.n_ranks),
            };
            let numbers = (0..tensors.len()).filter(|&i| tensors[i].place == place);
            let numbers: Vec<usize> = numbers.collect();
            let size = |&i: &usize| (tensors[i].n_elements / parts, tensors[i].whole);
            let shards = Shards::plan(&numbers.iter().map(size).collect::<Vec<_>>(), n_ranks);
            for (k, &i) in numbers.iter().enumerate() {
                let own = |rank: usize| match place {
                    Place::Spread => {
                        let base = self.place(rank) * (tensors[i].n_elements / parts);
                        let own = &shards.of(k)[self.group(rank)];
                        base + own.start..base + own.end
                    }
                    Place::Shared | Place::Beside => shards.of(k)[rank].clone(),
                };
                ranges[i] = (0..self.n_ranks).map(own).collect();
            }
            sections.push((place, numbers, shards));
        }
        Deal {
            owned: Shards::from_ranges(ranges, self.n_ranks),
            sections,
        }
    }
}

/// Where a parameter of this name is, when experts are spread. Biases are beside where the optimizer updates them `whole` (Adafactor has means over
/// all experts), and with `exact`, since the chunks by which norms are summed would be cut.
pub(crate) fn place_of(name: &str, whole: bool, exact: bool) -> Place {
    let is_bias = name.contains(".moe.") && name.ends_with(".bias");
    match (is_expert_matrix(name), is_bias) {
        (true, _) => Place::Spread,
        (false, true) if whole || exact => Place::Beside,
        (false, true) => Place::Spread,
        (false, false) => Place::Shared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_of_experts_are_spread_and_their_biases_where_they_can_be() {
        let place = |name: &str| place_of(&format!("blocks.3.{name}"), false, true);
        assert_eq!(place("moe.up.weight"), Place::Spread);
        assert_eq!(place("moe.down.bias"), Place::Beside);
        assert_eq!(place("moe.router.weight"), Place::Shared);
        assert_eq!(place("ffn.up.bias"), Place::Shared);
        let bias = |whole, exact| place_of("blocks.3.moe.up.bias", whole, exact);
        assert_eq!(bias(false, false), Place::Spread);
        assert_eq!(bias(true, false), Place::Beside);
    }

    #[test]
    fn every_element_has_one_owner_which_has_it() {
        let tensor = |n_elements, whole, spread| Tensor {
            n_elements,
            whole,
            place: match spread {
                true => Place::Spread,
                false => Place::Shared,
            },
        };
        let tensors = [
            tensor(300_000, false, false),
            tensor(7, true, false),
            tensor(8 * 70_000, false, true),
            tensor(8 * 6, true, true),
        ];
        for (n_ranks, expert) in [(1, 1), (4, 1), (4, 2), (4, 4), (8, 2), (6, 2)] {
            let mesh = Mesh { n_ranks, expert };
            let deal = mesh.deal(&tensors);
            for (i, tensor) in tensors.iter().enumerate() {
                let mut seen = vec![0; tensor.n_elements];
                for (rank, range) in deal.owned.of(i).iter().enumerate() {
                    let part = tensor.n_elements / expert;
                    let base = mesh.place(rank) * part;
                    let has = base..base + part;
                    let within = has.start <= range.start && range.end <= has.end;
                    assert!(
                        tensor.place != Place::Spread || within,
                        "{rank} of {mesh:?}: {range:?}"
                    );
                    seen[range.clone()].iter_mut().for_each(|n| *n += 1);
                }
                assert!(seen.iter().all(|&n| n == 1), "{i} of {mesh:?}");
            }
            assert_eq!(deal.sections[0].1, [0, 1]);
        }
    }
}
