//! Drawing: what is cached, batched, given and guided.

mod common;

use common::codes::{self, GRID, K, drawn, sampled};
use m6_model::{
    CodesConfig, DrawMethod, DrawOptions, DrawPrompt, ForwardOptions, Model, ModelConfig,
    ModelInput, SEGMENT_CODE_READ, SEGMENT_CODE_WRITTEN, SEGMENT_SOURCE, draw,
};
use m6_nn::tolerance::{LOGITS_F32, assert_close};

const N: usize = GRID * GRID;
fn model() -> Model {
    model_of(false)
}

fn model_of(joint: bool) -> Model {
    codes::model(joint, 0)
}

fn prompt(text: &[u32]) -> DrawPrompt {
    DrawPrompt {
        text: text.to_vec(),
        ..DrawPrompt::default()
    }
}

/// Logits of the whole sequence at once, by the kernels of training, at the written codes.
fn uncached(model: &Model, text: &[u32], codes: &[u32]) -> Vec<Vec<f32>> {
    let begin = K as u32;
    let written: Vec<u32> = [begin].iter().chain(&codes[..N - 1]).copied().collect();
    let tokens: Vec<u32> = text.iter().chain(&written).copied().collect();
    let positions: Vec<u32> = (0..text.len() as u32).chain(0..N as u32).collect();
    let n_text = text.len();
    let segments: Vec<u32> = (0..tokens.len())
        .map(|i| {
            if i < n_text {
                SEGMENT_SOURCE
            } else {
                SEGMENT_CODE_WRITTEN
            }
        })
        .collect();
    let input = ModelInput {
        tokens: &tokens,
        positions: &positions,
        segments: &segments,
        prefixes: &[[0, n_text as u32]],
        targets: &[[0, n_text as u32, tokens.len() as u32]],
        ..ModelInput::default()
    };
    let states = model
        .hidden(&input, &ForwardOptions::default())
        .expect("fits");
    let head = match model.config().codes.joint {
        false => model.params().get("code_head.weight").expect("there"),
        true => model.params().get("embed.tokens").expect("there"),
    };
    let head = match model.config().codes.joint {
        false => head.tensor(),
        true => head.tensor().narrow(0, 30, K).expect("behind the words"),
    };
    let logits = states
        .matmul(&head.t().expect("two dimensions"))
        .expect("fits");
    logits
        .to_vec2::<f32>()
        .expect("two dimensions")
        .split_off(n_text)
}

#[test]
fn the_cache_says_what_the_whole_sequence_says() {
    for joint in [false, true] {
        cache_and_sequence(&model_of(joint));
    }
}

fn cache_and_sequence(model: &Model) {
    let text = [5, 6, 7];
    let (codes, logprob) = drawn(model, &[prompt(&text)], &DrawOptions::default()).remove(0);
    let rows = uncached(model, &text, &codes);
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

#[test]
fn a_prompt_gives_in_company_what_it_gives_alone() {
    for joint in [false, true] {
        company(&model_of(joint));
    }
}

fn company(model: &Model) {
    let prompts = [prompt(&[5, 6, 7]), prompt(&[9]), prompt(&[])];
    for method in [DrawMethod::Ar, DrawMethod::Parallel] {
        let options = sampled(method);
        let together = drawn(model, &prompts, &options);
        for (i, p) in prompts.iter().enumerate() {
            assert_eq!(
                drawn(model, std::slice::from_ref(p), &options)[0],
                together[i]
            );
        }
        assert_ne!(together[0].0, together[1].0);
        let other = DrawOptions { seed: 4, ..options };
        assert_ne!(drawn(model, &prompts, &other)[0].0, together[0].0);
    }
}

#[test]
fn guidance_of_one_is_none_and_more_moves_away_from_silence() {
    let model = model();
    let text = [prompt(&[5, 6, 7])];
    let plain = drawn(&model, &text, &DrawOptions::default());
    let none = DrawOptions {
        guidance: 4.0,
        guidance_until: 0.0,
        ..DrawOptions::default()
    };
    assert_eq!(drawn(&model, &text, &none), plain);
    let silent = DrawOptions {
        guidance: 0.0,
        ..DrawOptions::default()
    };
    let free = drawn(&model, &[prompt(&[])], &DrawOptions::default());
    assert_eq!(
        drawn(&model, &text, &silent)[0].0,
        free[0].0,
        "guidance 0 ignores the text"
    );
    let strong = DrawOptions {
        guidance: 8.0,
        ..DrawOptions::default()
    };
    assert_ne!(drawn(&model, &text, &strong)[0].0, plain[0].0);
}

#[test]
fn given_codes_stay_and_the_others_are_drawn() {
    let model = model();
    let mut wanted = prompt(&[5, 6]);
    wanted.given = (0..N)
        .map(|p| (p % 3 != 1).then_some((p + 2) as u32))
        .collect();
    for method in [DrawMethod::Ar, DrawMethod::Parallel] {
        let (codes, logprob) = drawn(&model, &[wanted.clone()], &sampled(method)).remove(0);
        for (place, code) in codes.iter().enumerate() {
            assert!((*code as usize) < K);
            assert!(
                wanted.given[place].is_none_or(|given| given == *code),
                "place {place}"
            );
        }
        assert!(logprob < 0.0);
        let all = DrawPrompt {
            given: codes.iter().map(|c| Some(*c)).collect(),
            ..wanted.clone()
        };
        assert_eq!(drawn(&model, &[all], &sampled(method))[0], (codes, 0.0));
    }
}

#[test]
fn parallel_decoding_takes_its_steps_and_no_more() {
    let model = model();
    for steps in [1, 3, 4, 50] {
        let options = DrawOptions {
            steps,
            ..sampled(DrawMethod::Parallel)
        };
        let mut hidden = Vec::new();
        let mask = K as u32 + 1;
        draw(&model, &[prompt(&[5])], &options, &mut |_, codes| {
            hidden.push(codes.iter().filter(|c| **c == mask).count());
        })
        .expect("draws");
        assert!(
            hidden.len() <= steps && hidden.last() == Some(&0),
            "{hidden:?}"
        );
        assert!(hidden.windows(2).all(|w| w[1] < w[0]), "{hidden:?}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let model = model();
    let refused = |prompt: DrawPrompt, options: DrawOptions| {
        draw(&model, &[prompt], &options, &mut |_, _| {})
            .expect_err("refused")
            .to_string()
    };
    let plain = DrawOptions::default;
    assert!(refused(prompt(&[1; 13]), plain()).contains("max_len is 12"));
    assert!(refused(prompt(&[30]), plain()).contains("30"));
    let few = DrawPrompt {
        given: vec![None; 4],
        ..prompt(&[1])
    };
    assert!(refused(few, plain()).contains("gives 4 codes"));
    let beyond = DrawPrompt {
        given: vec![Some(K as u32); N],
        ..prompt(&[1])
    };
    assert!(refused(beyond, plain()).contains("codebook of 20"));
    let nan = DrawOptions {
        guidance: f64::NAN,
        top_p: 0.0,
        steps: 0,
        ..plain()
    };
    let text = refused(prompt(&[1]), nan);
    assert!(
        ["guidance", "top_p", "steps"]
            .iter()
            .all(|word| text.contains(word)),
        "{text}"
    );
    let wordless = Model::new(
        &ModelConfig {
            codes: CodesConfig::default(),
            ..model.config().clone()
        },
        1,
    )
    .expect("valid");
    assert!(draw(&wordless, &[prompt(&[1])], &plain(), &mut |_, _| {}).is_err());
}

#[test]
fn words_and_codes_of_one_batch_have_the_losses_they_have_alone() {
    let model = model();
    let (text, codes) = ([5u32, 6, 7], [3u32, 4, 21, 6, 7, 8, 9, 10, 11]);
    let both: Vec<u32> = codes.iter().chain(&text).copied().collect();
    let positions: Vec<u32> = (0..9).chain(0..3).collect();
    let segments: Vec<u32> = [SEGMENT_CODE_READ; 9].into_iter().chain([2; 3]).collect();
    let loss = |at: &[u32], labels: &[u32]| {
        let input = ModelInput {
            tokens: &both,
            positions: &positions,
            segments: &segments,
            prefixes: &[[0, 9]],
            targets: &[[0, 9, 12]],
            loss_at: at,
            labels,
            ..ModelInput::default()
        };
        model
            .forward(&input, &ForwardOptions::default())
            .expect("fits")
            .nll
    };
    let mixed = loss(&[2, 9, 10, 11], &[19, 6, 7, 1]);
    assert_eq!(mixed[..1], loss(&[2], &[19]));
    assert_eq!(mixed[1..], loss(&[9, 10, 11], &[6, 7, 1]));
}

/// Negative log likelihood of words and codes in one batch.
fn mixed_nll(model: &Model) -> Vec<f32> {
    let (text, codes) = ([5u32, 6, 7], [3u32, 4, 21, 6, 7, 8, 9, 10, 11]);
    let both: Vec<u32> = codes.iter().chain(&text).copied().collect();
    let positions: Vec<u32> = (0..9).chain(0..3).collect();
    let segments: Vec<u32> = [SEGMENT_CODE_READ; 9].into_iter().chain([2; 3]).collect();
    let input = ModelInput {
        tokens: &both,
        positions: &positions,
        segments: &segments,
        prefixes: &[[0, 9]],
        targets: &[[0, 9, 12]],
        loss_at: &[2, 9, 10, 11],
        labels: &[19, 6, 7, 1],
        ..ModelInput::default()
    };
    let made = model.forward(&input, &ForwardOptions::default());
    let nll = made.expect("fits").nll;
    let states = model
        .hidden(&input, &ForwardOptions::default())
        .expect("fits");
    let logits = model.params().get("embed.tokens").expect("there").tensor();
    let logits = states.matmul(&logits.t().expect("two")).expect("fits");
    let logits = logits.to_vec2::<f32>().expect("two dimensions");
    // One softmax over words, codes and marks; codes come behind the 30 words.
    for (i, (at, label)) in [(2, 30 + 19), (9, 6), (10, 7), (11, 1)]
        .into_iter()
        .enumerate()
    {
        let row: Vec<f64> = logits[at].iter().map(|v| f64::from(*v)).collect();
        assert_eq!(row.len(), 30 + K + 2);
        let expected = row.iter().map(|v| v.exp()).sum::<f64>().ln() - row[label];
        assert_close("nll", &[f64::from(nll[i])], &[expected], LOGITS_F32);
    }
    nll
}

#[test]
fn a_joint_vocabulary_is_one_softmax_and_one_table() {
    let model = model_of(true);
    assert!(model.params().get("embed.codes").is_none());
    assert!(model.params().get("code_head.weight").is_none());
    assert_eq!(
        model.params().get("embed.tokens").expect("there").shape(),
        [30 + K + 2, 32]
    );
    mixed_nll(&model);
}

#[test]
fn joint_codes_are_embedded_as_separate_ones_with_the_same_vectors() {
    let (apart, joint) = (model_of(false), model_of(true));
    let table = |model: &Model, name: &str| {
        let param = model.params().get(name).expect("there");
        param.tensor().to_vec2::<f32>().expect("two dimensions")
    };
    let mut rows = table(&apart, "embed.tokens");
    rows.extend(table(&apart, "embed.codes"));
    let rows = m6_nn::Tensor::new(rows, &m6_nn::Device::Cpu).expect("rows");
    let tokens = joint.params().get("embed.tokens").expect("there");
    tokens.var().set(&rows).expect("same shape");
    for param in apart.params() {
        let theirs = joint.params().get(param.name());
        if let Some(theirs) = theirs.filter(|_| param.name() != "embed.tokens") {
            theirs.var().set(param.var()).expect("same shape");
        }
    }
    let states = |model: &Model| {
        let input = ModelInput {
            tokens: &[3, 20, 21, 4, 5],
            positions: &[0, 1, 2, 0, 1],
            segments: &[
                SEGMENT_CODE_READ,
                SEGMENT_CODE_READ,
                SEGMENT_CODE_READ,
                2,
                2,
            ],
            prefixes: &[[0, 3]],
            targets: &[[0, 3, 5]],
            ..ModelInput::default()
        };
        let states = model.hidden(&input, &ForwardOptions::default());
        states.expect("fits").to_vec2::<f32>().expect("two")
    };
    assert_eq!(states(&apart), states(&joint));
}

#[test]
fn words_are_written_without_codes_in_a_joint_vocabulary() {
    use m6_model::{GenerateOptions, Prompt, generate, score_target};
    let model = model_of(true);
    let prompt = Prompt {
        codes: vec![3, 4, 5, 6, 7, 8, 9, 10, 11],
        ..Prompt::default()
    };
    let options = GenerateOptions {
        max_tokens: 10,
        ..GenerateOptions::default()
    };
    // Alone by the search of the head, in company by the whole head: the same words.
    let alone = generate(
        &model,
        std::slice::from_ref(&prompt),
        &options,
        &mut |_, _| true,
    );
    let pair = [prompt.clone(), prompt.clone()];
    let company = generate(&model, &pair, &options, &mut |_, _| true).expect("writes");
    let alone = alone.expect("writes").remove(0);
    assert_eq!(alone, company[0]);
    assert!(alone.ids.iter().all(|id| *id < 30));
    let again = score_target(&model, &prompt, options.bos, &alone.ids).expect("fits");
    assert!(again.is_finite() && again < 0.0);
}
