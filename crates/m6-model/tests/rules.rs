//! Rules of what may be written: kept in every mode, alone and among others, cached and uncached.

mod common;

use common::{model, numbers, pack, picture, tiny};
use m6_model::rules::{Choices, Every, Length, NoRepeat, Part, Rule, Skeleton, Text, VerseRule};
use m6_model::rules::{Next, char_widths};
use m6_model::{
    ForwardOptions, GenerateOptions, Generated, Model, ModelConfig, Prompt, generate,
    generate_with, score_target,
};
use m6_text::Tokenizer;
use m6_text::verse::{Shape, Verse};
use proptest::prelude::*;

const BOS: u32 = 2;
const EOS: u32 = 3;

/// A model whose words are not all alike.
fn lively(cfg: &ModelConfig) -> Model {
    let model = model(cfg);
    for param in model.params() {
        if param.shape().len() == 2 {
            let scaled = (param.tensor().detach() * 8.0).expect("scales");
            param.var().set(&scaled).expect("same shape");
        }
    }
    model
}

/// Greedy, sampled and by beams.
fn modes(max_tokens: usize) -> [GenerateOptions; 3] {
    let greedy = GenerateOptions {
        max_tokens,
        ..GenerateOptions::default()
    };
    [
        greedy.clone(),
        GenerateOptions {
            temperature: 1.2,
            seed: 5,
            ..greedy.clone()
        },
        GenerateOptions { beams: 3, ..greedy },
    ]
}

fn run(
    model: &Model,
    prompts: &[Prompt],
    rules: &[&dyn Rule],
    options: &GenerateOptions,
) -> Vec<Generated> {
    generate_with(model, prompts, rules, options, &mut |_, _| true).expect("runs")
}

fn prompts(cfg: &ModelConfig) -> Vec<Prompt> {
    vec![
        Prompt {
            pictures: picture(cfg, 0),
            ..Prompt::default()
        },
        Prompt {
            source: vec![5, 6, 7],
            target: vec![8],
            ..Prompt::default()
        },
        Prompt::default(),
    ]
}

/// Whether every word of `written` was let pass by `rule` when it was written.
fn is_kept(rule: &dyn Rule, given: &[u32], written: &Generated) -> bool {
    let mut words = written.ids.clone();
    words.extend(written.finished.then_some(EOS));
    (0..words.len()).all(|n| {
        let ids = [given, &words[..n]].concat();
        let next = rule.next(Text {
            ids: &ids,
            n_given: given.len(),
        });
        match next {
            Next::Any => true,
            Next::But(but) => !but.contains(&words[n]),
            Next::Only(only) => only.contains(&words[n]),
        }
    })
}

fn rules() -> Vec<Box<dyn Rule>> {
    let skeleton = vec![
        Part::Words(vec![9, 10]),
        Part::Field(3),
        Part::Words(vec![11]),
    ];
    vec![
        Box::new(Choices::new(&[vec![9, 10], vec![9, 12, 13], vec![20]], EOS).expect("choices")),
        Box::new(Skeleton::new(skeleton, EOS).expect("a skeleton")),
        Box::new(Length::words(4..=6, EOS)),
        Box::new(Every(vec![
            Box::new(NoRepeat(1)),
            Box::new(Length::words(9..=12, EOS)),
        ])),
    ]
}

#[test]
fn no_forbidden_word_is_ever_written_and_neighbours_change_nothing() {
    let cfg = tiny();
    let model = lively(&cfg);
    for rule in rules() {
        for options in modes(14) {
            let prompts = prompts(&cfg);
            let each = vec![rule.as_ref(); prompts.len()];
            let together = run(&model, &prompts, &each, &options);
            for (prompt, got) in prompts.iter().zip(&together) {
                assert!(is_kept(rule.as_ref(), &prompt.target, got), "{got:?}");
                assert!(got.finished, "{got:?}");
                let alone = run(&model, std::slice::from_ref(prompt), &each[..1], &options);
                assert_eq!(alone[0].ids, got.ids);
                assert_eq!(alone[0].logprob.to_bits(), got.logprob.to_bits());
            }
        }
    }
}

#[test]
fn log_probabilities_are_those_of_the_model_without_the_rule() {
    let cfg = tiny();
    let model = lively(&cfg);
    let rule = rules().remove(1);
    for options in modes(12) {
        let got = run(&model, &prompts(&cfg)[..1], &[rule.as_ref()], &options).remove(0);
        let words = [got.ids.as_slice(), &[EOS]].concat();
        let score = score_target(&model, &prompts(&cfg)[0], BOS, &words).expect("scores");
        assert!(
            (score - got.logprob).abs() < 1e-9,
            "{score} {}",
            got.logprob
        );
    }
}

#[test]
fn the_cached_path_chooses_what_the_training_path_would_under_the_rule() {
    let cfg = tiny();
    let model = lively(&cfg);
    let prompt = prompts(&cfg).remove(0);
    for rule in rules() {
        let got = run(
            &model,
            std::slice::from_ref(&prompt),
            &[rule.as_ref()],
            &modes(12)[0],
        );
        let (mut ids, mut finished) = (Vec::new(), false);
        while !finished {
            let sample = common::Sample {
                n_pictures: 1,
                source: vec![],
                targets: vec![[&[BOS], ids.as_slice()].concat()],
            };
            let mut arrays = pack(&cfg, &[sample], 0);
            arrays.pictures.clone_from(&prompt.pictures);
            let logits = model.logits(&arrays.input(), &ForwardOptions::default());
            let all = numbers(&logits.expect("runs"));
            let logits = &all[all.len() - cfg.vocab_size..];
            let text = Text {
                ids: &ids,
                n_given: 0,
            };
            let next = rule.next(text);
            let open = |id: &u32| match &next {
                Next::Any => true,
                Next::But(but) => !but.contains(id),
                Next::Only(only) => only.contains(id),
            };
            let best = (0..cfg.vocab_size as u32).filter(open).max_by(|a, b| {
                let (a, b) = (logits[*a as usize], logits[*b as usize]);
                a.total_cmp(&b)
            });
            let best = best.expect("a word");
            finished = best == EOS;
            if !finished {
                ids.push(best);
            }
        }
        assert_eq!(got[0].ids, ids);
    }
}

#[test]
fn wide_beams_choose_the_likeliest_choice_of_all() {
    let cfg = tiny();
    let model = lively(&cfg);
    let texts = vec![vec![9, 10], vec![9, 12, 13], vec![20], vec![5, 6, 7, 8]];
    let rule = Choices::new(&texts, EOS).expect("choices");
    let options = GenerateOptions {
        beams: 8,
        length_penalty: 0.0,
        ..modes(12)[0].clone()
    };
    for prompt in prompts(&cfg) {
        let got = run(&model, std::slice::from_ref(&prompt), &[&rule], &options).remove(0);
        let score = |text: &Vec<u32>| {
            let words = [text.as_slice(), &[EOS]].concat();
            score_target(&model, &prompt, BOS, &words).expect("scores")
        };
        let best = texts.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        assert_eq!(Some(&got.ids), best);
    }
}

#[test]
fn an_open_rule_changes_nothing_and_a_missing_one_is_named() {
    let cfg = tiny();
    let model = lively(&cfg);
    let open = Every::default();
    for options in modes(9) {
        let free = generate(&model, &prompts(&cfg), &options, &mut |_, _| true).expect("runs");
        let each: Vec<&dyn Rule> = vec![&open; 3];
        assert_eq!(run(&model, &prompts(&cfg), &each, &options), free);
    }
    let two: Vec<&dyn Rule> = vec![&open; 2];
    let refused = generate_with(&model, &prompts(&cfg), &two, &modes(9)[0], &mut |_, _| true);
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("2 rules for 3 prompts")
    );
}

#[test]
fn least_lengths_hold_in_words() {
    let cfg = tiny();
    let model = lively(&cfg);
    for options in modes(12) {
        let options = GenerateOptions {
            min_tokens: 7,
            ..options
        };
        for got in generate(&model, &prompts(&cfg), &options, &mut |_, _| true).expect("runs") {
            assert!(got.ids.len() >= 7 && !got.ids.contains(&EOS), "{got:?}");
        }
    }
    let wrong = GenerateOptions {
        min_tokens: 13,
        ..modes(12)[0].clone()
    };
    let refused = generate(&model, &prompts(&cfg), &wrong, &mut |_, _| true);
    assert!(refused.unwrap_err().to_string().contains("min_tokens"));
}

const CHARS: &str =
    "天地人日月山水风花雪春夏秋冬光霜乡望头思床前明疑是上举低故国破河在城草木深感时溅泪恨别鸟惊心";

fn vocabulary() -> Tokenizer {
    let names = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "，", "。", "abc", "##d", "！",
    ];
    let names = names.into_iter().map(String::from);
    let chars = CHARS.chars().map(String::from);
    Tokenizer::from_tokens(names.chain(chars).collect()).expect("a vocabulary")
}

fn poet(tokenizer: &Tokenizer) -> Model {
    lively(&ModelConfig {
        vocab_size: tokenizer.vocab_size(),
        max_len: 136,
        n_layers: 1,
        ..tiny()
    })
}

#[test]
fn every_poem_keeps_its_form() {
    let tokenizer = vocabulary();
    let model = poet(&tokenizer);
    let marks = tokenizer.special();
    for (n_chars, n_lines, rhyme, tones) in [
        (5, 4, false, false),
        (7, 8, true, false),
        (5, 16, false, true),
        (7, 4, true, true),
    ] {
        let shape = Shape::new(n_chars, n_lines).expect("a form");
        let rule = VerseRule::new(shape, &tokenizer, rhyme, tones).expect("a rule");
        for options in modes(200) {
            let options = GenerateOptions {
                bos: marks.cls,
                eos: marks.sep,
                banned: vec![marks.pad, marks.unk, marks.cls, marks.mask],
                ..options
            };
            let got = run(&model, &[Prompt::default()], &[&rule], &options).remove(0);
            let text = tokenizer.decode(&got.ids);
            let verse = Verse::parse(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((verse.shape, verse.text()), (shape, text));
            assert!(got.finished && got.ids.len() == rule.n_words());
        }
    }
}

#[test]
fn a_given_line_begins_the_poem() {
    let tokenizer = vocabulary();
    let model = poet(&tokenizer);
    let shape = Shape::new(5, 4).expect("a form");
    let rule = VerseRule::new(shape, &tokenizer, false, false).expect("a rule");
    let prompt = Prompt {
        target: tokenizer.encode("床前明月光，"),
        ..Prompt::default()
    };
    let got = run(
        &model,
        std::slice::from_ref(&prompt),
        &[&rule],
        &modes(60)[0],
    )
    .remove(0);
    let text = format!("床前明月光，{}", tokenizer.decode(&got.ids));
    assert_eq!(Verse::parse(&text).map(|v| v.shape), Some(shape), "{text}");
}

#[test]
fn characters_are_limited_to_the_character() {
    let tokenizer = vocabulary();
    let model = poet(&tokenizer);
    let rule = Length::chars(10..=12, char_widths(&tokenizer), EOS);
    for options in modes(60) {
        let options = GenerateOptions {
            banned: vec![0, 1, 2, 4],
            ..options
        };
        let got = run(&model, &[Prompt::default()], &[&rule], &options).remove(0);
        let text = tokenizer.decode(&got.ids);
        let n = text.chars().filter(|c| !c.is_whitespace()).count();
        assert!((10..=12).contains(&n) && got.finished, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_poem_written_at_random_under_its_rule_is_one(
        seed: u64, seven: bool, half in 2usize..=8, rhyme: bool, tones: bool,
    ) {
        let tokenizer = vocabulary();
        let shape = Shape::new(if seven { 7 } else { 5 }, 2 * half).expect("a form");
        let rule = VerseRule::new(shape, &tokenizer, rhyme, tones).expect("a rule");
        let mut stream = m6_store::rng::Key::new(seed).stream();
        let mut ids = Vec::new();
        while ids.last() != Some(&EOS) {
            let Next::Only(words) = rule.next(Text { ids: &ids, n_given: 0 }) else {
                panic!("a poem is never free")
            };
            prop_assert!(!words.is_empty());
            ids.push(words[stream.below(words.len() as u64) as usize]);
        }
        let text = tokenizer.decode(&ids);
        prop_assert_eq!(Verse::parse(&text).map(|v| v.shape), Some(shape), "{}", text);
    }
}
