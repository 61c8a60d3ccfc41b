//! Finer codes: what is cached, batched, given and guided, and that both grids line up.

mod common;

use common::codes::{self, GRID, K, WORDS, config, drawn, sampled};
use m6_model::{
    DrawMethod, DrawOptions, DrawPrompt, ForwardOptions, Model, ModelInput, SEGMENT_CODE_READ,
    SEGMENT_FINE_READ, SEGMENT_FINE_WRITTEN, SEGMENT_SOURCE, count, draw,
};
use m6_nn::tolerance::{LOGITS_F32, assert_close};

const FINE: usize = 2;
/// Finer codes of a picture.
const N: usize = GRID * GRID * FINE * FINE;
/// Codes of a picture.
const COARSE: [u32; GRID * GRID] = [3, 1, 4, 1, 5, 9, 2, 6, 19];

fn model(joint: bool) -> Model {
    codes::model(joint, FINE)
}

fn prompt(text: &[u32], coarse: &[u32]) -> DrawPrompt {
    DrawPrompt {
        text: text.to_vec(),
        coarse: coarse.to_vec(),
        ..DrawPrompt::default()
    }
}

/// Logits of the whole sequence at once, by the kernels of training, at the finer codes that are written.
fn uncached(model: &Model, text: &[u32], codes: &[u32]) -> Vec<Vec<f32>> {
    let written: Vec<u32> = [K as u32].iter().chain(&codes[..N - 1]).copied().collect();
    let tokens = [&COARSE[..], text, &written].concat();
    let positions: Vec<u32> = (0..COARSE.len())
        .chain(0..text.len())
        .chain(0..N)
        .map(|p| p as u32)
        .collect();
    let segments = [
        vec![SEGMENT_CODE_READ; COARSE.len()],
        vec![SEGMENT_SOURCE; text.len()],
        vec![SEGMENT_FINE_WRITTEN; N],
    ]
    .concat();
    let n_prefix = COARSE.len() + text.len();
    let input = ModelInput {
        tokens: &tokens,
        positions: &positions,
        segments: &segments,
        prefixes: &[[0, n_prefix as u32]],
        targets: &[[0, n_prefix as u32, tokens.len() as u32]],
        ..ModelInput::default()
    };
    let states = model
        .hidden(&input, &ForwardOptions::default())
        .expect("fits");
    let table = |name: &str| model.params().get(name).expect("there").tensor();
    let head = match model.config().codes.joint {
        false => table("code_head.weight"),
        true => table("embed.tokens")
            .narrow(0, WORDS, K)
            .expect("behind the words"),
    };
    let logits = states
        .matmul(&head.t().expect("two dimensions"))
        .expect("fits");
    let rows = logits.to_vec2::<f32>().expect("two dimensions");
    rows[n_prefix..].to_vec()
}

#[test]
fn the_cache_says_what_the_whole_sequence_says() {
    for joint in [false, true] {
        let model = model(joint);
        let text = [5, 6, 7];
        let options = DrawOptions::default();
        let (codes, logprob) = drawn(&model, &[prompt(&text, &COARSE)], &options).remove(0);
        let rows = uncached(&model, &text, &codes);
        assert_eq!((codes.len(), rows.len()), (N, N));
        let mut sum = 0.0;
        for (place, row) in rows.iter().enumerate() {
            let wide: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
            let best = (0..K)
                .max_by(|a, b| wide[*a].total_cmp(&wide[*b]))
                .expect("codes");
            assert_eq!(best as u32, codes[place], "place {place}");
            sum += wide[best] - wide.iter().map(|v| v.exp()).sum::<f64>().ln();
        }
        assert_close("logprob", &[logprob], &[sum], LOGITS_F32);
    }
}

#[test]
fn a_picture_gives_in_company_what_it_gives_alone() {
    for joint in [false, true] {
        let model = model(joint);
        let other = COARSE.map(|code| (code + 7) % 18);
        let prompts = [
            prompt(&[5, 6, 7], &COARSE),
            prompt(&[], &COARSE),
            prompt(&[5, 6, 7], &other),
        ];
        for method in [DrawMethod::Ar, DrawMethod::Parallel] {
            let options = sampled(method);
            let together = drawn(&model, &prompts, &options);
            for (i, p) in prompts.iter().enumerate() {
                let alone = drawn(&model, std::slice::from_ref(p), &options);
                assert_eq!(alone[0], together[i]);
            }
            assert_ne!(together[0].0, together[1].0, "the text is read");
            assert_ne!(together[0].0, together[2].0, "the codes are read");
            let seed = DrawOptions { seed: 4, ..options };
            assert_ne!(drawn(&model, &prompts, &seed)[0].0, together[0].0);
        }
    }
}

#[test]
fn guidance_moves_away_from_the_same_codes_without_text() {
    let model = model(false);
    let silent = DrawOptions {
        guidance: 0.0,
        ..DrawOptions::default()
    };
    let told = drawn(&model, &[prompt(&[5, 6], &COARSE)], &silent);
    let free = drawn(&model, &[prompt(&[], &COARSE)], &DrawOptions::default());
    assert_eq!(told[0].0, free[0].0, "guidance 0 ignores the text alone");
}

#[test]
fn given_finer_codes_stay_and_the_others_are_drawn() {
    let model = model(false);
    let mut wanted = prompt(&[5], &COARSE);
    wanted.given = (0..N)
        .map(|p| (p % 3 != 1).then_some((p % K) as u32))
        .collect();
    for method in [DrawMethod::Ar, DrawMethod::Parallel] {
        let (codes, logprob) = drawn(&model, &[wanted.clone()], &sampled(method)).remove(0);
        assert!(codes.len() == N && logprob < 0.0);
        for (code, given) in codes.iter().zip(&wanted.given) {
            assert!((*code as usize) < K && given.is_none_or(|given| given == *code));
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let refused = |model: &Model, prompts: &[DrawPrompt]| {
        draw(model, prompts, &DrawOptions::default(), &mut |_, _| {})
            .expect_err("refused")
            .to_string()
    };
    let model = model(false);
    let few = refused(&model, &[prompt(&[1], &COARSE[..4])]);
    assert!(few.contains("4 codes") && few.contains("the 9"), "{few}");
    let beyond = refused(&model, &[prompt(&[1], &[K as u32; 9])]);
    assert!(beyond.contains("below 20"), "{beyond}");
    let mixed = refused(&model, &[prompt(&[1], &COARSE), prompt(&[1], &[])]);
    assert!(mixed.contains("prompt 1 has 0 codes"), "{mixed}");
    let given = DrawPrompt {
        given: vec![None; 9],
        ..prompt(&[1], &COARSE)
    };
    assert!(refused(&model, &[given]).contains("picture of 36"));
    let plain = Model::new(&config(false, 0), 1).expect("valid");
    let without = refused(&plain, &[prompt(&[1], &COARSE)]);
    assert!(without.contains("no finer codes"), "{without}");
    let input = |model: &Model, position: u32| {
        let input = ModelInput {
            tokens: &[1, 2],
            positions: &[0, position],
            segments: &[SEGMENT_FINE_READ; 2],
            prefixes: &[[0, 2]],
            ..ModelInput::default()
        };
        let made = model.hidden(&input, &ForwardOptions::default());
        made.map(|_| ()).map_err(|error| error.to_string())
    };
    let text = input(&plain, 1).expect_err("refused");
    assert!(text.contains("codes.fine"), "{text}");
    let text = input(&model, N as u32).expect_err("refused");
    assert!(text.contains("must be below 36"), "{text}");
    input(&model, N as u32 - 1).expect("the last place");
}

#[test]
fn a_model_without_finer_codes_has_the_parameters_it_had() {
    let names = |fine: usize| -> Vec<(String, Vec<usize>)> {
        let all = m6_model::spec::specs(&config(false, fine));
        all.into_iter().map(|s| (s.name, s.shape)).collect()
    };
    assert_eq!(names(0), names(1));
    let (without, with) = (names(0), names(FINE));
    let new: Vec<_> = with.iter().filter(|s| !without.contains(s)).collect();
    let wanted = [
        ("embed.code_segments".to_string(), vec![4, 32]),
        ("embed.code_fine".to_string(), vec![4, 32]),
    ];
    assert_eq!(new, wanted.iter().collect::<Vec<_>>());
    let total = |fine| count(&config(false, fine)).params_total;
    assert_eq!(total(FINE) - total(0), (2 + 4) * 32);
}

/// States of codes at these places of a grid, seen whole, after all blocks.
fn states(model: &Model, segment: u32, places: &[u32]) -> Vec<Vec<f32>> {
    let input = ModelInput {
        tokens: &[3, 17, 21],
        positions: places,
        segments: &[segment; 3],
        prefixes: &[[0, 3]],
        ..ModelInput::default()
    };
    let states = model.hidden(&input, &ForwardOptions::default());
    states.expect("fits").to_vec2::<f32>().expect("two")
}

#[test]
fn a_finer_code_stands_where_its_coarse_one_stands_but_for_its_part() {
    let model = model(false);
    // Rows of 3 against rows of 6: (0, 1), (1, 0), (2, 2) and finer places inside them.
    let (coarse, fine) = ([1, 3, 8], [9, 12, 28]);
    let apart = states(&model, SEGMENT_FINE_READ, &fine);
    assert_ne!(apart, states(&model, SEGMENT_CODE_READ, &coarse));
    let set = |name: &str, change: &dyn Fn(Vec<Vec<f32>>) -> Vec<Vec<f32>>| {
        let param = model.params().get(name).expect("there");
        let rows = change(param.tensor().to_vec2::<f32>().expect("two"));
        let rows = m6_nn::Tensor::new(rows, &m6_nn::Device::Cpu).expect("rows");
        param.var().set(&rows).expect("same shape");
    };
    set("embed.code_segments", &|rows| {
        [&rows[..2], &rows[..2]].concat()
    });
    set("embed.code_fine", &|rows| vec![vec![0.0; 32]; rows.len()]);
    assert_eq!(
        states(&model, SEGMENT_FINE_READ, &fine),
        states(&model, SEGMENT_CODE_READ, &coarse)
    );
    assert_ne!(
        states(&model, SEGMENT_FINE_READ, &[9, 12, 13]),
        states(&model, SEGMENT_CODE_READ, &coarse)
    );
}

#[test]
fn the_table_of_parts_gets_the_gradient_of_its_places() {
    let model = model(false);
    let positions: Vec<u32> = (0..N as u32).collect();
    let tokens: Vec<u32> = positions.iter().map(|p| p * 7 % K as u32).collect();
    let loss_at: Vec<u32> = positions.clone();
    let input = ModelInput {
        tokens: &tokens,
        positions: &positions,
        segments: &[SEGMENT_FINE_WRITTEN; N],
        prefixes: &[[0, 0]],
        targets: &[[0, 0, N as u32]],
        loss_at: &loss_at,
        labels: &tokens,
        ..ModelInput::default()
    };
    let output = model.forward(&input, &ForwardOptions::default());
    m6_nn::backward(&output.expect("fits").loss, model.params()).expect("runs");
    let gradient = |name: &str| -> Vec<Vec<f64>> {
        let param = model.params().get(name).expect("there");
        let all = param.grad_f32().expect("a gradient");
        let rows = all.chunks_exact(32);
        rows.map(|row| row.iter().map(|v| f64::from(*v)).collect())
            .collect()
    };
    // Every place has a row, a column and a part: the three tables share out the same sum of gradients.
    let sum = |name: &str| -> Vec<f64> {
        let rows = gradient(name);
        (0..32)
            .map(|d| rows.iter().map(|row| row[d]).sum())
            .collect()
    };
    let (parts, rows) = (sum("embed.code_fine"), sum("embed.code_rows"));
    assert!(parts.iter().any(|v| v.abs() > 1e-3));
    assert_close("by row", &parts, &rows, LOGITS_F32);
    assert_close("by column", &parts, &sum("embed.code_columns"), LOGITS_F32);
    let segments = gradient("embed.code_segments");
    assert_close("by segment", &parts, &segments[3], LOGITS_F32);
    assert!(segments[..3].iter().flatten().all(|v| *v == 0.0));
    let table = gradient("embed.code_fine");
    assert!(table.windows(2).all(|pair| pair[0] != pair[1]));
    // Along its own gradient the loss changes by the square of its length.
    let flat = table.concat();
    let length = flat.iter().map(|g| g * g).sum::<f64>().sqrt();
    let param = model.params().get("embed.code_fine").expect("there");
    let start = param.tensor().detach().copy().expect("numbers");
    let loss_at = |step: f64| -> f64 {
        let moved = flat.iter().map(|g| (g / length * step) as f32).collect();
        let moved = m6_nn::Tensor::from_vec(moved, start.shape(), &m6_nn::Device::Cpu);
        let moved = (&start + moved.expect("numbers")).expect("same shape");
        param.var().set(&moved.detach()).expect("same shape");
        let output = model.forward(&input, &ForwardOptions::default());
        let nll = output.expect("fits").nll;
        nll.iter().map(|v| f64::from(*v)).sum::<f64>() / N as f64
    };
    let slope = (loss_at(2e-3) - loss_at(-2e-3)) / 4e-3;
    assert!(
        (slope / length - 1.0).abs() < 1e-2,
        "{slope} along a gradient of length {length}"
    );
}
