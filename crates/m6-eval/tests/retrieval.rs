//! What holds for any scores of pictures against texts.

use m6_eval::{PairScores, RetrievalScores};
use proptest::prelude::*;

type Rows = Vec<Vec<(usize, f64)>>;

/// Scores of whole numbers, so that ties come and shifted ones stay exact; pairs off the diagonal may be missing.
fn rows(sparse: bool) -> impl Strategy<Value = Rows> {
    let cell = (-6i32..6, prop::bool::weighted(0.7));
    (2usize..14)
        .prop_flat_map(move |n| prop::collection::vec(prop::collection::vec(cell.clone(), n), n))
        .prop_map(move |cells| {
            let row = |(i, row): (usize, &Vec<(i32, bool)>)| {
                let scored = row.iter().enumerate();
                let scored = scored.filter(|(text, (_, kept))| !sparse || *kept || *text == i);
                scored.map(|(text, (s, _))| (text, f64::from(*s))).collect()
            };
            cells.iter().enumerate().map(row).collect()
        })
}

fn mapped(rows: &Rows, f: impl Fn(usize, f64) -> f64) -> PairScores {
    let row = |row: &Vec<(usize, f64)>| row.iter().map(|(t, s)| (*t, f(*t, *s))).collect();
    PairScores::new(rows.iter().map(row).collect()).expect("finite")
}

/// Pictures and texts change places.
fn turned(rows: &Rows) -> PairScores {
    let mut out = vec![Vec::new(); rows.len()];
    for (picture, row) in rows.iter().enumerate() {
        for (text, score) in row {
            out[*text].push((picture, *score));
        }
    }
    PairScores::new(out).expect("finite")
}

fn figures(scores: &RetrievalScores) -> [f64; 4] {
    [scores.r1, scores.r5, scores.r10, scores.median_rank]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn figures_stay_in_their_ranges(rows in rows(true), shift in 0usize..20) {
        let scores = PairScores::new(rows.clone()).unwrap();
        for found in [scores.image_to_text(shift), scores.text_to_image(shift), scores.chance_image_to_text()] {
            let Ok(found) = found else { continue };
            let [r1, r5, r10, rank] = figures(&found);
            prop_assert!(0.0 <= r1 && r1 <= r5 && r5 <= r10 && r10 <= 1.0);
            prop_assert!((1.0..=rows.len() as f64).contains(&rank));
            prop_assert!((r1..=r10).contains(&found.mean_recall()));
        }
    }

    #[test]
    fn what_every_score_of_a_text_has_in_common_does_not_move_a_picture_s_ranking(
        rows in rows(false), add in prop::collection::vec(-500i32..500, 14)
    ) {
        let plain = PairScores::new(rows.clone()).unwrap().pointwise();
        let moved = mapped(&rows, |text, s| s + f64::from(add[text])).pointwise();
        prop_assert_eq!(plain.image_to_text(0).unwrap(), moved.image_to_text(0).unwrap());
        prop_assert_eq!(plain.text_to_image(0).unwrap(), moved.text_to_image(0).unwrap());
    }

    #[test]
    fn a_text_ranks_pictures_the_same_with_and_without_its_own_likelihood(rows in rows(true)) {
        let raw = PairScores::new(rows).unwrap();
        let (a, b) = (raw.text_to_image(0), raw.pointwise().text_to_image(0));
        prop_assert_eq!(a.ok(), b.ok());
    }

    #[test]
    fn directions_change_places_with_pictures_and_texts(rows in rows(true)) {
        let (scores, turned) = (PairScores::new(rows.clone()).unwrap(), turned(&rows));
        prop_assert_eq!(scores.image_to_text(0).ok(), turned.text_to_image(0).ok());
        prop_assert_eq!(scores.text_to_image(0).ok(), turned.image_to_text(0).ok());
    }

    #[test]
    fn a_shift_is_every_query_with_another_s_item(rows in rows(false), shift in 0usize..30) {
        let n = rows.len();
        let scores = PairScores::new(rows.clone()).unwrap();
        // Texts renamed so that the shifted pairs stand on the diagonal.
        let row = |row: &Vec<(usize, f64)>| row.iter().map(|(t, s)| ((t + n - shift % n) % n, *s)).collect();
        let renamed = PairScores::new(rows.iter().map(row).collect()).unwrap();
        prop_assert_eq!(scores.image_to_text(shift).unwrap(), renamed.image_to_text(0).unwrap());
        let found = (scores.text_to_image(shift).unwrap(), renamed.text_to_image(0).unwrap());
        prop_assert_eq!(found.0, found.1);
    }

    #[test]
    fn own_pairs_far_above_all_others_are_all_found(rows in rows(false)) {
        let best = rows.iter().enumerate().map(|(i, row)| {
            row.iter().map(|(t, s)| (*t, if *t == i { 100.0 } else { *s })).collect()
        });
        let scores = PairScores::new(best.collect()).unwrap();
        for found in [scores.image_to_text(0).unwrap(), scores.text_to_image(0).unwrap()] {
            prop_assert_eq!(figures(&found), [1.0, 1.0, 1.0, 1.0]);
        }
    }
}
