//! What holds for every task, and what each one makes.

use proptest::prelude::*;

use super::*;

/// A layout of `row_len` positions and `side * side` patches.
pub(crate) fn layout(row_len: usize, side: usize) -> Layout {
    Layout {
        row_len,
        n_patches: side * side,
        max_images: 4,
        max_text: row_len / 2,
        special: Special {
            pad: 0,
            unk: 1,
            cls: 2,
            sep: 3,
            mask: 4,
        },
        windows: Key::new(1),
        codebook_size: 100,
        n_codes: 16,
        n_fine: 64,
    }
}

/// Numbered tokens, so that losing or doubling one shows.
fn ids(from: u16, n: usize) -> Vec<u16> {
    (0..n).map(|i| from + i as u16).collect()
}

/// Codes of every picture of the tests.
const CODES: [u16; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 99];

/// Finer codes of every picture of the tests.
const FINE: [u16; 64] = {
    let mut codes = [0; 64];
    let mut at = 0;
    while at < 64 {
        codes[at] = (at * 7 % 100) as u16;
        at += 1;
    }
    codes
};

#[derive(Debug)]
struct Owned {
    text: Option<Vec<u16>>,
    captions: Vec<Vec<u16>>,
    qa: Vec<(Vec<u16>, Vec<u16>)>,
    n_images: u64,
}

impl Owned {
    fn entry(&self) -> Entry<'_> {
        Entry {
            id: "record",
            text: self.text.as_deref(),
            captions: self.captions.iter().map(Vec::as_slice).collect(),
            qa: self
                .qa
                .iter()
                .map(|(q, a)| (q.as_slice(), a.as_slice()))
                .collect(),
            images: 0..self.n_images,
            codes: vec![&CODES[..]; self.n_images as usize],
            fine: vec![&FINE[..]; self.n_images as usize],
        }
    }
}

fn records() -> impl Strategy<Value = Owned> {
    let text = prop::option::of(1usize..400);
    let captions = prop::collection::vec(1usize..60, 0..8);
    let qa = prop::collection::vec((1usize..80, 1usize..80), 0..4);
    (text, captions, qa, 0u64..7).prop_map(|(text, captions, qa, n_images)| Owned {
        text: text.map(|n| ids(100, n)),
        captions: captions.into_iter().map(|n| ids(1000, n)).collect(),
        qa: qa
            .into_iter()
            .map(|(q, a)| (ids(2000, q), ids(3000, a)))
            .collect(),
        n_images,
    })
}

fn plan(task: usize, entry: &Entry, layout: &Layout) -> Plan {
    let mut plan = Plan::default();
    all()[task].items(entry, layout, &mut plan);
    plan
}

fn examples(task: usize, entry: &Entry, layout: &Layout, key: Key) -> Vec<Example> {
    let options = TaskOptions::default();
    let items = plan(task, entry, layout).items;
    let make = |item| all()[task].example(entry, item, layout, &options, key);
    items.iter().map(make).collect()
}

proptest! {
    #[test]
    fn no_example_outgrows_its_bound_and_no_bound_the_row(record in records(), seed: u64, row_len in 64usize..128) {
        let layout = layout(row_len, 4);
        let entry = record.entry();
        for task in 0..NAMES.len() {
            let items = plan(task, &entry, &layout).items;
            let made = examples(task, &entry, &layout, Key::new(seed));
            for (item, example) in items.iter().zip(made) {
                prop_assert!(example.n_positions(layout.n_patches) <= item.len as usize);
                prop_assert!(item.len as usize <= layout.row_len);
                let n_told = example.targets.len()
                    + example.drawn.len()
                    + example.refined.len()
                    + example.hidden.len();
                prop_assert!(n_told > 0 || example.ask != Ask::Write);
                prop_assert!(example.targets.iter().all(|target| !target.is_empty()));
            }
        }
    }

    #[test]
    fn windows_hold_every_token_of_a_text_once(n in 1usize..600, row_len in 20usize..90) {
        let record = Owned { text: Some(ids(100, n)), captions: vec![], qa: vec![], n_images: 0 };
        let layout = layout(row_len, 2);
        for task in [0, 1] {
            let made = examples(task, &record.entry(), &layout, Key::new(3));
            let whole: Vec<u32> = made.into_iter().flat_map(|e| e.targets).flatten().collect();
            prop_assert_eq!(whole, widen(&ids(100, n)));
        }
    }

    #[test]
    fn every_caption_is_a_target_once_however_many_there_are(record in records()) {
        let layout = Layout { max_text: 200, ..layout(128, 4) };
        let entry = record.entry();
        let made = examples(2, &entry, &layout, Key::new(1));
        let targets: Vec<Vec<u32>> = made.into_iter().flat_map(|e| e.targets).collect();
        if entry.n_images() > 0 && !entry.captions.is_empty() {
            let captions: Vec<Vec<u32>> = entry.captions.iter().map(|ids| widen(ids)).collect();
            prop_assert_eq!(targets, captions);
        }
    }
}

#[test]
fn sixty_four_patches_and_five_captions_are_one_example() {
    let record = Owned {
        text: None,
        captions: vec![ids(10, 20); 5],
        qa: vec![],
        n_images: 1,
    };
    let layout = layout(512, 8);
    let made = examples(2, &record.entry(), &layout, Key::new(1));
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].targets.len(), 5);
    assert_eq!(made[0].n_positions(64), 64 + 5 * 21);
}

#[test]
fn what_is_cut_is_counted() {
    let record = Owned {
        text: None,
        captions: vec![ids(10, 300), ids(10, 5)],
        qa: vec![(ids(10, 100), ids(10, 100))],
        n_images: 9,
    };
    let layout = layout(64, 4);
    let cuts = plan(2, &record.entry(), &layout).cuts;
    assert_eq!(cuts["caption_cut"], 1);
    assert_eq!(cuts["picture_beyond_row"], 7);
    let cuts = plan(4, &record.entry(), &layout).cuts;
    assert_eq!((cuts["question_cut"], cuts["answer_cut"]), (1, 1));
}

#[test]
fn multimodal_noises_the_caption_it_asks_for_and_draws_another_by_another_key() {
    let record = Owned {
        text: None,
        captions: vec![ids(100, 20), ids(200, 20), ids(300, 20)],
        qa: vec![],
        n_images: 1,
    };
    let layout = layout(128, 4);
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let example = &examples(3, &record.entry(), &layout, Key::new(seed))[0];
        let target = &example.targets[0];
        firsts.insert(target[0]);
        let kept: Vec<u32> = example
            .source
            .iter()
            .copied()
            .filter(|id| *id != 4)
            .collect();
        assert_eq!(kept.len(), 17);
        assert!(kept.iter().all(|id| target.contains(id)));
        assert_eq!(example.images, [0]);
    }
    assert_eq!(firsts.len(), 3);
}

#[test]
fn answers_are_blind_at_the_configured_share() {
    let record = Owned {
        text: None,
        captions: vec![],
        qa: vec![(ids(10, 5), ids(30, 1))],
        n_images: 1,
    };
    let layout = layout(64, 4);
    let blind = (0..2000)
        .filter(|&seed| {
            examples(4, &record.entry(), &layout, Key::new(seed))[0]
                .images
                .is_empty()
        })
        .count();
    assert!((150..250).contains(&blind), "{blind}");
}

#[test]
fn a_passage_too_long_for_the_row_is_cut_around_the_answer() {
    let record = Owned {
        text: Some(ids(1000, 400)),
        captions: vec![],
        qa: vec![(ids(10, 6), ids(1300, 3))],
        n_images: 0,
    };
    let layout = layout(64, 4);
    let example = &examples(4, &record.entry(), &layout, Key::new(1))[0];
    assert_eq!(example.source[6], layout.special.sep);
    let context = &example.source[7..];
    assert!(
        context.windows(3).any(|part| part == [1300, 1301, 1302]),
        "{context:?}"
    );
    assert_eq!(example.source.len(), layout.max_text);
}

fn pictured() -> Owned {
    Owned {
        text: None,
        captions: vec![ids(100, 8), ids(200, 8)],
        qa: vec![],
        n_images: 1,
    }
}

#[test]
fn drawing_reads_the_text_and_writes_every_code_once() {
    let layout = layout(64, 4);
    let record = pictured();
    let mut silent = 0;
    for seed in 0..400 {
        let made = examples(5, &record.entry(), &layout, Key::new(seed));
        assert_eq!(made.len(), 2);
        for (example, text) in made.iter().zip(&record.captions) {
            assert_eq!(example.drawn, widen(&CODES));
            silent += usize::from(example.source.is_empty());
            assert!(example.source.is_empty() || example.source == widen(text));
        }
    }
    assert!((50..120).contains(&silent), "{silent}");
    let mut batch = crate::batch::Batch::default();
    let example = &examples(5, &record.entry(), &layout, Key::new(1))[0];
    batch.push(example, [], &layout, 5, 0);
    let from = example.source.len();
    assert_eq!(batch.tokens[from], layout.begin_code());
    assert_eq!(batch.tokens[from + 1..], widen(&CODES[..15]));
    assert_eq!(batch.labels, widen(&CODES));
    assert_eq!(batch.targets, [[0, from as u32, from as u32 + 16]]);
    assert_eq!(batch.positions[from..], (0..16).collect::<Vec<u32>>());
    assert!(batch.segments[from..].iter().all(|s| *s == 4));
}

#[test]
fn hidden_codes_are_told_at_their_own_places_and_the_others_are_shown() {
    let layout = layout(64, 4);
    let record = pictured();
    let mut shares = std::collections::BTreeSet::new();
    for seed in 0..400 {
        let example = &examples(6, &record.entry(), &layout, Key::new(seed))[0];
        assert!(!example.hidden.is_empty());
        shares.insert(example.hidden.len());
        for (place, code) in CODES.iter().enumerate() {
            let told = example.hidden.iter().find(|(p, _)| *p as usize == place);
            match told {
                Some((_, told)) => assert_eq!(*told, u32::from(*code)),
                None => assert_eq!(example.codes[place], u32::from(*code)),
            }
            assert_eq!(told.is_some(), example.codes[place] == layout.mask_code());
        }
        let mut batch = crate::batch::Batch::default();
        batch.push(example, [], &layout, 6, 0);
        for (at, label) in batch.loss_at.iter().zip(&batch.labels) {
            assert_eq!(batch.tokens[*at as usize], layout.mask_code());
            assert_eq!(u32::from(CODES[*at as usize]), *label);
        }
    }
    assert!(shares.len() > 10, "{shares:?}");
}

#[test]
fn data_without_codes_makes_no_example_of_them() {
    let layout = layout(64, 4);
    let record = pictured();
    let entry = Entry {
        codes: Vec::new(),
        fine: Vec::new(),
        ..record.entry()
    };
    for task in 5..10 {
        assert!(plan(task, &entry, &layout).items.is_empty());
    }
}

#[test]
fn super_resolution_reads_text_and_codes_and_writes_every_finer_code_once() {
    let layout = layout(96, 4);
    let record = pictured();
    let mut silent = 0;
    for seed in 0..400 {
        let made = examples(8, &record.entry(), &layout, Key::new(seed));
        assert_eq!(made.len(), 2);
        for (example, text) in made.iter().zip(&record.captions) {
            assert_eq!(example.codes, widen(&CODES));
            assert_eq!(example.refined, widen(&FINE));
            silent += usize::from(example.source.is_empty());
            assert!(example.source.is_empty() || example.source == widen(text));
        }
    }
    assert!((50..120).contains(&silent), "{silent}");
    let mut batch = crate::batch::Batch::default();
    let example = &examples(8, &record.entry(), &layout, Key::new(1))[0];
    batch.push(example, [], &layout, 8, 0);
    let from = 16 + example.source.len();
    assert_eq!(batch.tokens[..16], widen(&CODES));
    assert!(batch.segments[..16].iter().all(|s| *s == 3));
    assert_eq!(batch.tokens[from], layout.begin_code());
    assert_eq!(batch.tokens[from + 1..], widen(&FINE[..63]));
    assert_eq!(batch.labels, widen(&FINE));
    assert_eq!(batch.targets, [[0, from as u32, from as u32 + 64]]);
    assert_eq!(batch.positions[from..], (0..64).collect::<Vec<u32>>());
    assert!(batch.segments[from..].iter().all(|s| *s == 6));
}

#[test]
fn hidden_finer_codes_are_told_at_their_own_places_beside_all_codes() {
    let layout = layout(96, 4);
    let record = pictured();
    for seed in 0..200 {
        let example = &examples(9, &record.entry(), &layout, Key::new(seed))[0];
        assert_eq!(example.codes, widen(&CODES));
        assert!(!example.hidden.is_empty());
        let mut batch = crate::batch::Batch::default();
        batch.push(example, [], &layout, 9, 0);
        assert!(batch.targets.is_empty());
        assert!(batch.segments[16..80].iter().all(|s| *s == 5));
        assert_eq!(batch.positions[16..80], (0..64).collect::<Vec<u32>>());
        for (at, label) in batch.loss_at.iter().zip(&batch.labels) {
            assert_eq!(batch.tokens[*at as usize], layout.mask_code());
            assert_eq!(u32::from(FINE[*at as usize - 16]), *label);
        }
        let hidden = batch.tokens[16..80].iter();
        let n_hidden = hidden.filter(|code| **code == layout.mask_code()).count();
        assert_eq!(n_hidden, batch.labels.len());
    }
}

#[test]
fn a_picture_too_small_for_finer_codes_makes_no_example_of_them_and_is_counted() {
    let layout = layout(96, 4);
    let record = pictured();
    let entry = Entry {
        fine: vec![&[]],
        ..record.entry()
    };
    for task in [8, 9] {
        let plan = plan(task, &entry, &layout);
        assert!(plan.items.is_empty());
        assert_eq!(plan.cuts["picture_too_small"], 1);
    }
    assert_eq!(plan(5, &entry, &layout).items.len(), 2);
}

/// Records of one source, every fifth one held out.
struct Source(Vec<Owned>);

impl Source {
    /// Captions of a few words that many share.
    fn new(n: u16) -> Self {
        let caption = |i: u16| vec![10, 20 + i % 3, 30 + i % 5, 40 + i % 7, 50 + i];
        let record = |i: u16| Owned {
            text: None,
            captions: vec![caption(i), ids(1000 + 10 * i, 4)],
            qa: Vec::new(),
            n_images: 1,
        };
        Self((0..n).map(record).collect())
    }

    fn entry<'a>(&'a self, i: usize, id: &'a str) -> Entry<'a> {
        Entry {
            id,
            ..self.0[i].entry()
        }
    }
}

impl Peers for Source {
    fn n_records(&self) -> u64 {
        self.0.len() as u64
    }

    fn visit(&self, record: u64, f: &mut dyn FnMut(&Entry)) {
        if !record.is_multiple_of(5) {
            let id = record.to_string();
            f(&self.entry(record as usize, &id));
        }
    }
}

/// The examples of record 1 under many keys.
fn verdicts(source: &Source, hard: f64, n: u64) -> Vec<Example> {
    let task = index("match").expect("a task");
    let layout = layout(64, 2);
    let entry = source.entry(1, "1");
    let item = plan(task, &entry, &layout).items[0];
    let options = TaskOptions {
        hard_negatives: hard,
        ..TaskOptions::default()
    };
    let made = |key| all()[task].example_among(&entry, source, &item, &layout, &options, key);
    (0..n).map(|i| made(Key::new(i))).collect()
}

#[test]
fn half_of_the_texts_are_swapped_with_those_of_the_same_split() {
    let source = Source::new(40);
    let own: Vec<Vec<u32>> = source.0[1].captions.iter().map(|ids| widen(ids)).collect();
    let of_others: Vec<Vec<u32>> = (0..40)
        .filter(|i| i % 5 != 0 && *i != 1)
        .flat_map(|i| source.0[i].captions.iter().map(|ids| widen(ids)))
        .collect();
    let made = verdicts(&source, 0.5, 600);
    for example in &made {
        match example.ask {
            Ask::Verdict(true) => assert!(own.contains(&example.source)),
            Ask::Verdict(false) => assert!(of_others.contains(&example.source)),
            other => panic!("{other:?}"),
        }
    }
    let n_own = made.iter().filter(|e| e.ask == Ask::Verdict(true)).count();
    assert!((240..360).contains(&n_own), "{n_own}");
    assert_eq!(made, verdicts(&source, 0.5, 600));
}

#[test]
fn hard_swaps_share_more_words_than_random_ones() {
    let source = Source::new(40);
    let shared = |hard: f64| {
        let made = verdicts(&source, hard, 600);
        let swapped = made.iter().filter(|e| e.ask == Ask::Verdict(false));
        let n = swapped.clone().count() as f64;
        let common = swapped.map(|e| e.source.iter().filter(|id| **id < 50).count());
        common.sum::<usize>() as f64 / n
    };
    let (random, hard) = (shared(0.0), shared(1.0));
    assert!(hard > random * 1.2, "{random} {hard}");
}

#[test]
fn a_source_of_one_record_has_nothing_to_swap() {
    let made = verdicts(&Source::new(2), 1.0, 20);
    assert!(made.iter().all(|e| e.ask == Ask::Verdict(true)));
}

#[test]
fn a_pair_has_the_group_of_its_record() {
    let source = Source::new(3);
    let task = index("retrieval").expect("a task");
    let layout = layout(64, 2);
    let ask = |id: &str, seed| {
        let entry = source.entry(1, id);
        examples(task, &entry, &layout, Key::new(seed))[0].ask
    };
    assert_eq!(ask("a", 1), ask("a", 2));
    assert_ne!(ask("a", 1), ask("b", 1));
    assert!(matches!(ask("a", 1), Ask::Pair(_)));
}
