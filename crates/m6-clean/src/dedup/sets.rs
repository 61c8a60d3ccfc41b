//! Disjoint sets of documents (union-find).

/// Documents joined into sets; the least index of a set is its root, whatever the order of the joins.
#[derive(Clone, Debug)]
pub struct Sets(Vec<u32>);

impl Sets {
    /// `n` documents, each alone.
    pub fn new(n: u32) -> Self {
        Self((0..n).collect())
    }

    /// The least index of the set of `i`; `i` must be below the number of documents.
    pub fn root(&mut self, mut i: u32) -> u32 {
        loop {
            let parent = self.0[i as usize];
            if parent == i {
                return i;
            }
            // Every second step is cut short, which keeps all paths short.
            let above = self.0[parent as usize];
            self.0[i as usize] = above;
            i = above;
        }
    }

    /// Makes one set of two; returns whether they were two.
    pub fn join(&mut self, a: u32, b: u32) -> bool {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b) as usize] = a.min(b);
        a != b
    }

    /// The root of every document, in order of documents.
    pub fn into_roots(mut self) -> Vec<u32> {
        for i in 0..self.0.len() {
            // Parents are never larger, so those below are final already.
            self.0[i] = self.0[self.0[i] as usize];
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_repeated_relabelling(joins in prop::collection::vec((0u32..30, 0u32..30), 0..60)) {
            let mut sets = Sets::new(30);
            let mut labels: Vec<u32> = (0..30).collect();
            for (a, b) in joins {
                let (la, lb) = (labels[a as usize], labels[b as usize]);
                prop_assert_eq!(sets.join(a, b), la != lb);
                for label in &mut labels {
                    if *label == la.max(lb) {
                        *label = la.min(lb);
                    }
                }
            }
            prop_assert!((0..30).all(|i| sets.root(i) == labels[i as usize]));
            prop_assert_eq!(sets.into_roots(), labels);
        }
    }
}
