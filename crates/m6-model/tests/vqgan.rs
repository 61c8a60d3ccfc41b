//! The VQGAN against PyTorch, and what its codebook does.

use m6_model::vqgan::{AdversaryWeights, CodebookUpdate, Discriminator, Vqgan, VqganConfig};
use m6_nn::tolerance::{BLOCK_F32, assert_close};
use m6_nn::{Device, Params, Tensor};
use m6_store::rng::Key;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;

fn fixture(name: &str) -> HashMap<String, Tensor> {
    let path = format!(
        "{}/tests/fixtures/{name}.safetensors",
        env!("CARGO_MANIFEST_DIR")
    );
    let bytes = std::fs::read(path).expect("the fixture is committed");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let tensor = |view: TensorView<'_>| {
        let words = view
            .data()
            .chunks_exact(4)
            .map(|b| [b[0], b[1], b[2], b[3]]);
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => words.map(f32::from_le_bytes).collect(),
            _ => words.map(|w| i32::from_le_bytes(w) as f32).collect(),
        };
        Tensor::from_vec(values, view.shape(), &Device::Cpu).expect("fits")
    };
    file.iter()
        .map(|(name, view)| (name.to_owned(), tensor(view)))
        .collect()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
    flat.expect("single precision")
        .into_iter()
        .map(f64::from)
        .collect()
}

fn config(l2_norm: bool) -> VqganConfig {
    VqganConfig {
        image_side: 16,
        ch: 4,
        ch_mult: vec![1, 2],
        n_res_blocks: 1,
        attn_sides: vec![8],
        z_channels: 6,
        norm_groups: 2,
        codebook_size: 16,
        code_dim: 4,
        l2_norm,
        codebook_update: CodebookUpdate::Loss,
        restart_after: 0,
        ..VqganConfig::default()
    }
}

/// Sets every parameter that the fixture has weights for; the names must all be there.
fn fill(params: &Params, tensors: &HashMap<String, Tensor>) {
    for param in params {
        if let Some(value) = tensors.get(&format!("w.{}", param.name())) {
            param.var().set(value).expect("same shape");
        } else {
            assert!(
                !param.is_trainable(),
                "{} is not in the fixture",
                param.name()
            );
        }
    }
}

fn check_gradients(params: &Params, tensors: &HashMap<String, Tensor>) {
    for param in params.iter().filter(|p| p.is_trainable()) {
        let want = numbers(&tensors[&format!("g.{}", param.name())]);
        let got = param
            .grad_f32()
            .unwrap_or_else(|| panic!("{} got no gradient", param.name()));
        let got: Vec<f64> = got.into_iter().map(f64::from).collect();
        if param.name().ends_with(".k.bias") {
            // A softmax does not change when all its scores move together, so this gradient is rounding and nothing else.
            assert!(
                got.iter().all(|g| g.abs() < 1e-6),
                "{}: {got:?}",
                param.name()
            );
            continue;
        }
        assert_close(param.name(), &got, &want, BLOCK_F32);
    }
}

#[test]
fn codes_pictures_losses_and_gradients_equal_pytorch() {
    for (name, l2_norm) in [("vqgan_distance", false), ("vqgan_direction", true)] {
        let tensors = fixture(name);
        let vqgan = Vqgan::new(&config(l2_norm), 1).expect("valid");
        let disc = Discriminator::new(8, 2, 1).expect("valid");
        fill(vqgan.params(), &tensors);
        fill(disc.params(), &tensors);
        let x = &tensors["x"];
        let (y, codes) = vqgan.reconstruct(x).expect("fits");
        let want: Vec<u32> = numbers(&tensors["codes"])
            .iter()
            .map(|c| *c as u32)
            .collect();
        assert_eq!(codes, want, "{name}");
        assert_close(name, &numbers(&y), &numbers(&tensors["y"]), BLOCK_F32);
        let weights = AdversaryWeights {
            perceptual: 0.0,
            adversary: 0.8,
        };
        let mut losses = vqgan
            .generator_backward(x, Some(&disc), None, weights)
            .expect("fits");
        check_gradients(vqgan.params(), &tensors);
        disc.params().zero_grads();
        let [hinge, _, _] = disc.backward(x, &mut losses).expect("fits");
        check_gradients(disc.params(), &tensors);
        for (key, got) in [
            ("l1", losses.l1),
            ("codebook", losses.codebook),
            ("adversary", losses.adversary),
            ("adaptive", losses.adaptive_weight),
            ("hinge", hinge),
        ] {
            assert_close(key, &[got], &numbers(&tensors[key]), BLOCK_F32);
        }
    }
}

#[test]
fn decoding_the_codes_of_pictures_is_their_reconstruction() {
    let vqgan = Vqgan::new(&config(true), 3).expect("valid");
    let mut stream = Key::new(4).stream();
    let pictures: Vec<u8> = (0..3 * 768).map(|_| stream.below(256) as u8).collect();
    let codes = vqgan.encode(&pictures).expect("fits");
    assert_eq!(codes.len(), 3 * 64);
    let one = vqgan.encode(&pictures[768..1536]).expect("fits");
    assert_eq!(one, codes[64..128], "a picture has the codes it has alone");
    let decoded = vqgan.decode(&codes).expect("fits");
    assert_eq!(decoded[768..1536], vqgan.decode(&one).expect("fits"));
    let x = m6_model::vqgan::to_tensor(&pictures, 16).expect("fits");
    let (y, _) = vqgan.reconstruct(&x).expect("fits");
    let bytes: Vec<u8> = numbers(&y)
        .iter()
        .map(|v| ((v + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8)
        .collect();
    let apart = bytes
        .iter()
        .zip(&decoded)
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    assert!(apart <= Some(1), "{apart:?}");
}

#[test]
fn wrong_bytes_codes_and_sizes_are_errors() {
    let vqgan = Vqgan::new(&config(true), 1).expect("valid");
    assert!(vqgan.encode(&[0; 100]).is_err());
    assert!(vqgan.encode(&[]).is_err());
    assert!(vqgan.decode(&[0; 63]).is_err());
    let error = vqgan.decode(&[16; 64]).expect_err("beyond").to_string();
    assert!(
        error.contains("code 16 is beyond the codebook of 16"),
        "{error}"
    );
    assert!(vqgan.load(b"not safetensors").is_err());
    let other = VqganConfig {
        ch: 8,
        ..config(true)
    };
    let bytes = Vqgan::new(&other, 1)
        .expect("valid")
        .params()
        .to_safetensors()
        .expect("plain");
    let error = vqgan.load(&bytes).expect_err("another shape").to_string();
    assert!(error.contains("another shape"), "{error}");
    assert!(
        Vqgan::new(
            &VqganConfig {
                image_side: 17,
                ..config(true)
            },
            1
        )
        .is_err()
    );
    assert!(Discriminator::new(7, 2, 1).is_err());
}

/// A batch in which every code but a few is left out.
#[test]
fn the_running_average_follows_the_vectors_and_dead_codes_come_back() {
    let cfg = VqganConfig {
        codebook_update: CodebookUpdate::Ema,
        restart_after: 3,
        ..config(true)
    };
    let vqgan = Vqgan::new(&cfg, 5).expect("valid");
    let mut stream = Key::new(6).stream();
    let pictures: Vec<u8> = (0..2 * 768).map(|_| stream.below(256) as u8).collect();
    let x = m6_model::vqgan::to_tensor(&pictures, 16).expect("fits");
    let weights = AdversaryWeights {
        perceptual: 0.0,
        adversary: 0.0,
    };
    let table = |vqgan: &Vqgan| {
        numbers(
            vqgan
                .params()
                .get("quantize.embedding.weight")
                .expect("there")
                .var(),
        )
    };
    let (mut restarted, before) = (0, table(&vqgan));
    let mut commitment = Vec::new();
    for step in 0..6 {
        vqgan.params().zero_grads();
        let losses = vqgan
            .generator_backward(&x, None, None, weights)
            .expect("fits");
        commitment.push(losses.codebook);
        restarted += vqgan.follow(&losses, Key::new(7).at(step)).expect("fits");
    }
    assert!(table(&vqgan) != before);
    assert!(
        restarted > 0,
        "16 codes, two smooth pictures, and none was ever unused"
    );
    assert!(commitment[5] < 0.5 * commitment[0], "{commitment:?}");
}

/// Pixels of `n` pictures, each of its own.
fn pixels(n: usize, side: usize) -> Vec<u8> {
    let value = |i: usize| ((i * i / 7 + i * 31 + i / (3 * side * side) * 97) % 251) as u8;
    (0..n * 3 * side * side).map(value).collect()
}

#[test]
fn pictures_of_other_sides_have_codes_of_the_same_codebook() {
    let vqgan = Vqgan::new(&config(true), 3).expect("valid");
    let own = pixels(3, 16);
    let codes = vqgan.encode(&own).expect("fits");
    assert_eq!(vqgan.encode_at(&own, 16).expect("fits"), codes);
    assert_eq!(
        vqgan.decode_at(&codes, 8).expect("fits"),
        vqgan.decode(&codes).expect("fits")
    );
    for side in [2, 8, 32, 48] {
        let (n, bytes, n_codes) = (5, 3 * side * side, side * side / 4);
        let many = pixels(n, side);
        let codes = vqgan.encode_at(&many, side).expect("fits");
        let back = vqgan.decode_at(&codes, side / 2).expect("fits");
        assert_eq!((codes.len(), back.len()), (n * n_codes, many.len()));
        let distinct: std::collections::BTreeSet<u32> = codes.iter().copied().collect();
        assert!(side == 2 || distinct.len() > 1, "side {side}: {distinct:?}");
        for i in 0..n {
            let one = &many[i * bytes..(i + 1) * bytes];
            let alone = vqgan.encode_at(one, side).expect("fits");
            assert_eq!(alone, codes[i * n_codes..(i + 1) * n_codes], "side {side}");
            let drawn = vqgan.decode_at(&alone, side / 2).expect("fits");
            assert_eq!(drawn, back[i * bytes..(i + 1) * bytes], "side {side}");
        }
    }
}

#[test]
fn sides_that_do_not_fit_are_errors() {
    let vqgan = Vqgan::new(&config(true), 3).expect("valid");
    let encoded = |bytes: &[u8], side| {
        let made = vqgan.encode_at(bytes, side);
        made.expect_err("refused").to_string()
    };
    assert!(encoded(&pixels(1, 15), 15).contains("multiple"));
    assert!(encoded(&[], 0).contains("multiple"));
    assert!(encoded(&[], 8192).contains("at most 4096"));
    assert!(encoded(&pixels(1, 16), 32).contains("no whole number"));
    let decoded = |codes: &[u32], grid| {
        let made = vqgan.decode_at(codes, grid);
        made.expect_err("refused").to_string()
    };
    assert!(decoded(&[0; 9], 0).contains("at least one"));
    assert!(decoded(&[0; 9], 4096).contains("at most 4096"));
    assert!(decoded(&[0; 9], 2).contains("no whole number"));
    assert!(decoded(&[99; 9], 3).contains("beyond the codebook of 16"));
}
