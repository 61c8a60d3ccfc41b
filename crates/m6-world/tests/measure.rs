//! The measurer against pictures of which the truth is known: right where they are right, at chance where they are not.
#![allow(clippy::print_stdout)]

mod support;

use m6_image::Rgb8;
use m6_world::{
    Accuracy, Color, Ground, Measured, Object, PictureItem, Scene, Shape, Split, Texture, World,
    draw, judge, judge_measured, measure, wanted,
};
use proptest::prelude::*;

/// Pictures of both splits, in turn.
fn items(seed: u64, side: usize, n: u64) -> Vec<PictureItem> {
    let world = World::new(seed, side);
    (0..n)
        .map(|i| world.picture([Split::Train, Split::HeldOut][i as usize % 2], i))
        .collect()
}

/// Every picture after a change against its own scene.
fn accuracy(
    name: &str,
    items: &[PictureItem],
    change: impl Fn(&PictureItem, u64) -> Rgb8,
) -> Accuracy {
    let mut accuracy = Accuracy::default();
    for (item, i) in items.iter().zip(0..) {
        accuracy.add(&judge(&change(item, i), &item.scene));
    }
    println!("{name:16} {accuracy}");
    accuracy
}

/// The least of the four shares of attributes.
fn worst(accuracy: &Accuracy) -> f64 {
    let shares = [accuracy.shape(), accuracy.color(), accuracy.count()];
    shares.into_iter().fold(accuracy.position(), f64::min)
}

#[test]
fn drawn_pictures_are_judged_right() {
    for side in [64, 96] {
        let items = items(81, side, 600);
        let got = accuracy(&format!("truth {side}"), &items, |item, _| {
            item.image.clone()
        });
        assert!(worst(&got) >= 0.99, "{got}");
        assert!(got.all() >= 0.97, "{got}");
    }
}

#[test]
fn soft_noisy_and_compressed_pictures_are_judged_right() {
    let items = items(82, 64, 300);
    let changes: [(&str, fn(&PictureItem, u64) -> Rgb8); 4] = [
        ("blurred", |item, _| support::blurred(&item.image)),
        ("noisy", |item, i| support::noisy(&item.image, 6.0, i)),
        ("blurred, noisy", |item, i| {
            support::noisy(&support::blurred(&item.image), 6.0, i)
        }),
        ("JPEG 60", |item, _| support::jpeg(&item.image, 60)),
    ];
    for (name, change) in changes {
        let got = accuracy(name, &items, change);
        assert!(worst(&got) >= 0.95, "{name}: {got}");
    }
}

/// What is right when the scene of another picture is wanted, for pictures measured without a fault: every picture against
/// the scenes of `n_others` after it.
fn chance(items: &[PictureItem], n_others: usize) -> Accuracy {
    let mut chance = Accuracy::default();
    for (i, item) in items.iter().enumerate() {
        let truth = Measured::of_scene(&item.scene);
        for other in items.iter().cycle().skip(i + 1).take(n_others) {
            chance.add(&judge_measured(&truth, &wanted(&other.scene)));
        }
    }
    chance
}

#[test]
fn shuffled_pictures_are_judged_at_chance() {
    let items = items(83, 64, 600);
    let mut got = Accuracy::default();
    for (item, next) in items.iter().zip(items.iter().cycle().skip(1)) {
        got.add(&judge(&item.image, &next.scene));
    }
    let chance = chance(&items, 200);
    println!("shuffled         {got}\nchance           {chance}");
    let pairs = [
        (got.shape(), chance.shape()),
        (got.color(), chance.color()),
        (got.count(), chance.count()),
        (got.position(), chance.position()),
    ];
    for (got, chance) in pairs {
        // Five standard errors of about 900 groups.
        let error = (chance * (1.0 - chance) / 900.0).sqrt();
        assert!((got - chance).abs() < 5.0 * error, "{got} for {chance}");
    }
    assert!(got.all() < 0.01 && chance.all() < 0.01);
    assert!(chance.shape() < 0.12 && chance.color() < 0.15, "{chance}");
}

#[test]
fn one_changed_attribute_is_the_one_that_is_wrong() {
    let mut got = [Accuracy::default(), Accuracy::default()];
    for item in items(84, 64, 200) {
        let mut other_color = item.scene.clone();
        let mut other_count = item.scene.clone();
        for group in &mut other_color.groups {
            let next = (group.color as usize + 1) % Color::ALL.len();
            group.color = Color::ALL[next];
        }
        for group in &mut other_count.groups {
            group.count += 1;
        }
        got[0].add(&judge(&item.image, &other_color));
        got[1].add(&judge(&item.image, &other_count));
    }
    let [color, count] = got;
    assert!(color.color() < 0.01 && color.shape() > 0.98 && color.count() > 0.98);
    assert!(count.count() < 0.01 && count.shape() > 0.98 && count.color() > 0.98);
}

#[test]
fn boxes_lie_where_the_objects_are() {
    for item in items(85, 64, 200) {
        let measured = measure(&item.image);
        for object in &item.scene.objects {
            let truth = object.bounds();
            let off = |found: [f64; 4]| {
                (found.iter().zip(truth))
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f64::max)
            };
            let nearest = (measured.objects.iter())
                .map(|o| off(o.bounds))
                .fold(1.0, f64::min);
            assert!(nearest < 0.06, "{nearest}: {object:?}");
        }
    }
}

#[test]
fn pictures_of_nothing_have_nothing_right() {
    let items = items(86, 64, 60);
    let mut pictures = vec![
        Rgb8::filled(64, 64, [255; 3]),
        Rgb8::filled(64, 64, [0; 3]),
        Rgb8::filled(64, 64, [214, 34, 40]),
    ];
    pictures.extend((0..40).map(|seed| support::random(64, 64, seed)));
    for picture in &pictures[..3] {
        assert_eq!(measure(picture), Measured::default());
    }
    for (picture, item) in pictures.iter().zip(items.iter().cycle()) {
        let measured = measure(picture);
        assert!(measured.objects.iter().all(|o| o.shape.is_none()));
        assert!(measured.objects.iter().all(|o| o.color.is_none()));
        let judgement = judge_measured(&measured, &wanted(&item.scene));
        assert!(judgement.groups.iter().all(|g| !g.shape && !g.color));
        assert!(!judgement.all);
    }
}

#[test]
fn bars_and_objects_of_two_colours_are_no_shapes_of_the_world() {
    use m6_image::canvas::{Canvas, Shape as Figure};
    let bar = |canvas: &mut Canvas, x: f64, width: f64, height: f64, color: Color| {
        let y = 32.0 - height / 2.0;
        let figure = Figure::Rect {
            x,
            y,
            width,
            height,
        };
        canvas.fill_solid(&figure, color.rgb());
    };
    for (width, height) in [(30.0, 9.0), (8.0, 28.0)] {
        let mut canvas = Canvas::new(64, 64, [252, 246, 228]);
        bar(&mut canvas, 15.0, width, height, Color::Blue);
        let objects = measure(canvas.image()).objects;
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0].shape, None, "{}", objects[0].score);
        assert_eq!(objects[0].color, Some(Color::Blue));
    }
    let mut canvas = Canvas::new(64, 64, [252, 246, 228]);
    bar(&mut canvas, 22.0, 11.0, 22.0, Color::Blue);
    bar(&mut canvas, 33.0, 11.0, 22.0, Color::Red);
    let objects = measure(canvas.image()).objects;
    assert!(objects.iter().all(|o| o.shape.is_none()), "{objects:?}");
}

/// A scene of one object on white.
fn one(shape: Shape, color: Color, size: f64) -> Scene {
    Scene {
        ground: Ground {
            top: [252; 3],
            bottom: [252; 3],
        },
        groups: Vec::new(),
        objects: vec![Object {
            shape,
            color,
            rgb: color.rgb(),
            texture: Texture::Solid,
            x: 0.5,
            y: 0.5,
            size,
            group: 0,
        }],
    }
}

#[test]
fn every_shape_in_every_colour_is_read() {
    for shape in Shape::ALL {
        for color in Color::ALL {
            for size in [0.2, 0.3, 0.44] {
                let measured = measure(&draw(&one(shape, color, size), 64));
                let found: Vec<_> = (measured.objects.iter())
                    .map(|o| (o.shape, o.color))
                    .collect();
                assert_eq!(found, [(Some(shape), Some(color))], "{size}");
            }
        }
    }
}

#[test]
fn a_picture_without_its_lower_half_is_right_only_where_nothing_was_there() {
    let (mut n_whole, mut n_right) = (0, 0);
    for item in items(87, 64, 200) {
        let mut image = item.image.clone();
        let ground: Vec<u8> = (0..64)
            .flat_map(|y| item.scene.ground.at(y, 64).repeat(64))
            .collect();
        image.data[3 * 64 * 32..].copy_from_slice(&ground[3 * 64 * 32..]);
        let is_right = judge(&image, &item.scene).all;
        if item.scene.objects.iter().all(|o| o.bounds()[3] < 0.5) {
            n_whole += 1;
            n_right += usize::from(is_right);
        } else if item.scene.objects.iter().any(|o| o.y > 0.5) {
            // At least half of an object is gone.
            assert!(!is_right, "{:?}", item.scene);
        }
    }
    assert!(n_whole > 5 && n_right == n_whole, "{n_right} of {n_whole}");
}

#[test]
fn larger_pictures_are_read_as_well() {
    let items = items(88, 256, 40);
    let got = accuracy("truth 256", &items, |item, _| item.image.clone());
    assert!(worst(&got) >= 0.97, "{got}");
}

#[test]
fn the_same_picture_gives_the_same_measurement() {
    for item in items(89, 64, 20) {
        assert_eq!(measure(&item.image), measure(&item.image));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_and_no_size_make_it_panic(
        width in 0usize..40,
        height in 0usize..40,
        seed in any::<u64>(),
        levels in 1u8..=255,
        cell in 1usize..12,
    ) {
        let noise = support::random(width, height, seed);
        // Blocks of one level make regions of all sizes.
        let data = (0..noise.data.len())
            .map(|at| {
                let (x, y) = (at / 3 % width / cell * cell, at / 3 / width / cell * cell);
                noise.data[3 * (y * width + x) + at % 3] / levels * levels
            })
            .collect();
        let measured = measure(&Rgb8 { width, height, data });
        for object in &measured.objects {
            prop_assert!(object.score.is_finite() && object.score <= 1.0);
            prop_assert!(object.bounds.iter().all(|b| (0.0..=1.0).contains(b)));
            prop_assert!(object.shape.is_none() || object.color.is_some());
        }
        let n: usize = measured.groups.iter().map(|g| g.count).sum();
        prop_assert_eq!(n, measured.objects.len());
    }
}

#[test]
fn extreme_sizes_are_no_trouble() {
    for (width, height) in [(1, 1), (1, 300), (300, 1), (2, 2), (3, 64), (700, 20)] {
        measure(&support::random(width, height, 5));
    }
}
