//! Writes a sheet of 24 pictures (12 of training, 12 held out) to the PNG file named as the argument and says their
//! captions, questions and truth on stdout, then a sample of every other kind of text.
//!
//! `cargo run --release -p m6-world --example contact_sheet -- /tmp/sheet.png`
#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use m6_world::{PictureItem, Split, World};

const SIDE: usize = 64;
const N_EACH: u64 = 12;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("give the PNG file to write")?;
    let world = World::new(1, SIDE);
    let mut items: Vec<PictureItem> = Vec::new();
    for split in [Split::Train, Split::HeldOut] {
        items.extend((0..N_EACH).map(|index| world.picture(split, index)));
    }
    for item in &items {
        describe(item);
    }
    texts(&world);
    let larger: Vec<m6_image::Rgb8> = items.iter().map(|item| magnify(&item.image, 3)).collect();
    let sheet = m6_image::grid(&larger, 6, 6);
    let png = m6_image::encode_png(&sheet, &[("Title", "m6 sample world")])?;
    m6_store::atomic::write_file(&path, &png)?;
    Ok(())
}

/// Every pixel as a square of `times` by `times`, so that what is seen is what is drawn.
fn magnify(image: &m6_image::Rgb8, times: usize) -> m6_image::Rgb8 {
    let (width, height) = (image.width * times, image.height * times);
    let mut data = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let at = (y / times * image.width + x / times) * 3;
            data.extend_from_slice(&image.data[at..at + 3]);
        }
    }
    m6_image::Rgb8 {
        width,
        height,
        data,
    }
}

fn describe(item: &PictureItem) {
    println!("{}", item.id);
    for caption in &item.captions {
        println!("  {caption}");
    }
    for qa in &item.qa {
        println!("  [{}] {} {}", qa.kind.name(), qa.question, qa.answer);
    }
    if let Some(product) = &item.product {
        println!("  {}", product.text().replace('\n', " / "));
    }
}

fn texts(world: &World) {
    for index in 0..12 {
        println!("{}", world.article(index));
    }
    for index in 0..12 {
        let (question, answer) = world.forum(index);
        println!("问：{question} 答：{answer}");
    }
    for index in 0..8 {
        println!("{}", world.verse(index).join("，"));
    }
}
