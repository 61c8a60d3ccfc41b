//! What holds for any captions.

use m6_eval::{Sentences, bleu, cider, rouge_l};
use proptest::prelude::*;

fn sentence(min: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0u32..8, min..12)
}

fn item() -> impl Strategy<Value = Sentences> {
    let references = prop::collection::vec(sentence(1), 1..5);
    (sentence(0), references).prop_map(|(candidate, references)| Sentences {
        candidate,
        references,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn scores_stay_in_their_ranges(items in prop::collection::vec(item(), 1..20)) {
        let (bleu, cider) = (bleu(&items), cider(&items));
        for scores in bleu.per_item.iter().chain([&bleu.corpus]) {
            prop_assert!(scores.iter().all(|s| (0.0..=1.0 + 1e-6).contains(s)));
        }
        prop_assert!(cider.per_item.iter().all(|s| (0.0..=10.0 + 1e-9).contains(s)));
        prop_assert!(items.iter().all(|i| (0.0..=1.0 + 1e-12).contains(&rouge_l(i))));
    }

    #[test]
    fn order_of_items_and_references_does_not_matter(items in prop::collection::vec(item(), 1..12)) {
        let mut turned = items.clone();
        turned.reverse();
        turned.iter_mut().for_each(|i| i.references.reverse());
        prop_assert_eq!(bleu(&items).corpus, bleu(&turned).corpus);
        prop_assert!((cider(&items).mean - cider(&turned).mean).abs() < 1e-9);
        for (a, b) in items.iter().zip(turned.iter().rev()) {
            prop_assert_eq!(rouge_l(a), rouge_l(b));
        }
    }

    #[test]
    fn a_reference_given_as_candidate_is_best(reference in sentence(4), others in prop::collection::vec(sentence(1), 0..4)) {
        let mut references = others;
        references.push(reference.clone());
        let item = Sentences { candidate: reference, references };
        prop_assert!(rouge_l(&item) > 1.0 - 1e-12);
        let scores = bleu(&[item]).corpus;
        prop_assert!(scores.iter().all(|s| *s > 1.0 - 1e-6));
    }

    #[test]
    fn threads_do_not_change_a_bit(items in prop::collection::vec(item(), 1..40)) {
        let run = |n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| (bleu(&items), cider(&items)))
        };
        prop_assert_eq!(run(1), run(2));
    }
}
