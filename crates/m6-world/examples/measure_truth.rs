//! Measures pictures of which the truth is known and prints how much is right, as they are and degraded, and how long a
//! picture takes.
//!
//! `cargo run --release -p m6-world --example measure_truth -- 600 64`
#![allow(clippy::print_stdout)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use m6_image::Rgb8;
use m6_world::{
    Accuracy, Measured, PictureItem, Split, World, judge, judge_measured, measure, wanted,
};

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|n| n.parse().ok());
    let n = numbers.next().unwrap_or(600).max(1);
    let side = numbers.next().unwrap_or(64);
    let world = World::new(71, side);
    let items: Vec<PictureItem> = (0..n as u64)
        .map(|i| world.picture([Split::Train, Split::HeldOut][i as usize % 2], i))
        .collect();
    // Templates are built by the first call.
    measure(&items[0].image);
    table("truth", &items, |item, _| item.image.clone());
    table("blurred", &items, |item, _| support::blurred(&item.image));
    table("noisy", &items, |item, i| {
        support::noisy(&item.image, 6.0, i)
    });
    table("both", &items, |item, i| {
        support::noisy(&support::blurred(&item.image), 6.0, i)
    });
    if side.is_multiple_of(8) {
        table("JPEG 60", &items, |item, _| support::jpeg(&item.image, 60));
    }
    shuffled(&items);
}

/// One row: every picture after `change` against its own scene.
fn table(name: &str, items: &[PictureItem], change: impl Fn(&PictureItem, u64) -> Rgb8) {
    let mut accuracy = Accuracy::default();
    let (mut seconds, mut slowest, mut least) = (0.0, 0.0f64, 1.0f64);
    for (item, i) in items.iter().zip(0..) {
        let image = change(item, i);
        let start = Instant::now();
        let measured = measure(&image);
        let took = start.elapsed().as_secs_f64();
        seconds += took;
        slowest = slowest.max(took);
        least = (measured.objects.iter()).fold(least, |least, o| least.min(o.score));
        accuracy.add(&judge_measured(&measured, &wanted(&item.scene)));
    }
    println!(
        "{name:9} {accuracy}  {:.0} us a picture, {:.0} us the slowest; least score {least:.3}",
        1e6 * seconds / items.len().max(1) as f64,
        1e6 * slowest
    );
}

/// Every picture against the scene of the next, and what perfect measurement would give there.
fn shuffled(items: &[PictureItem]) {
    let (mut got, mut chance) = (Accuracy::default(), Accuracy::default());
    for (item, next) in items.iter().zip(items.iter().cycle().skip(1)) {
        got.add(&judge(&item.image, &next.scene));
    }
    for (i, item) in items.iter().enumerate() {
        let truth = Measured::of_scene(&item.scene);
        for next in items.iter().skip(i + 1).take(200) {
            chance.add(&judge_measured(&truth, &wanted(&next.scene)));
        }
    }
    println!("shuffled  {got}\nchance    {chance}");
}
