//! The world itself: one key per item, from which everything about the item is drawn.

use m6_image::Rgb8;
use m6_store::rng::{Key, Stream};
use serde::{Deserialize, Serialize};

use crate::article::{self, Article};
use crate::caption;
use crate::compose;
use crate::draw;
use crate::forum::{self, Thread};
use crate::product::{self, Product};
use crate::qa::{self, Qa};
use crate::scene::Scene;
use crate::verse;

/// Smallest and largest side of a picture in pixels; a side outside is moved to the nearer bound.
const SIDES: (usize, usize) = (16, 1024);

/// Which pictures: those for training, or those with combinations that training never shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Never shows a reserved combination ([`crate::is_held_out`] is false).
    Train,
    /// Always shows at least one ([`crate::is_held_out`] is true).
    HeldOut,
}

impl Split {
    /// The name it serialises to: `train` or `held_out`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::HeldOut => "held_out",
        }
    }
}

/// A picture with all that is said and true of it.
#[derive(Clone, Debug)]
pub struct PictureItem {
    /// `world-<seed>-<split>-<index>`, unique over seeds, splits and indices.
    pub id: String,
    /// The ground truth.
    pub scene: Scene,
    /// The picture, `side` by `side`.
    pub image: Rgb8,
    /// [`crate::N_CAPTIONS`] captions of different wording; the first says count, colour, shape and position.
    pub captions: Vec<String>,
    /// Six to nine questions, at least one of each kind.
    pub qa: Vec<Qa>,
    /// A shop's text, for pictures of one group.
    pub product: Option<Product>,
}

/// A seeded world; cheap to make and to copy, safe to share between threads.
#[derive(Clone, Copy, Debug)]
pub struct World {
    seed: u64,
    key: Key,
    side: usize,
}

impl World {
    /// The world of a seed, with pictures of `side` by `side` pixels (16 to 1024; made for 64 and up).
    pub fn new(seed: u64, side: usize) -> Self {
        World {
            seed,
            key: Key::new(seed).child("world"),
            side: side.clamp(SIDES.0, SIDES.1),
        }
    }

    /// The side of its pictures in pixels.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Picture number `index` of the split, with its texts and truth; a pure function of seed, side, split and index.
    pub fn picture(&self, split: Split, index: u64) -> PictureItem {
        let key = self.picture_key(split, index);
        let scene = compose::compose(&mut stream(key, "scene"), split);
        PictureItem {
            id: format!("world-{}-{}-{index:08}", self.seed, split.name()),
            image: draw::draw(&scene, self.side),
            captions: caption::captions(&mut stream(key, "captions"), &scene),
            qa: qa::questions(&mut stream(key, "qa"), &scene),
            product: sell(key, &scene),
            scene,
        }
    }

    /// The truth of [`World::picture`] alone, without drawing it.
    pub fn scene(&self, split: Split, index: u64) -> Scene {
        let key = self.picture_key(split, index);
        compose::compose(&mut stream(key, "scene"), split)
    }

    /// The captions of [`World::picture`] alone.
    pub fn captions(&self, split: Split, index: u64) -> Vec<String> {
        let key = self.picture_key(split, index);
        caption::captions(&mut stream(key, "captions"), &self.scene(split, index))
    }

    /// The questions of [`World::picture`] alone.
    pub fn questions(&self, split: Split, index: u64) -> Vec<Qa> {
        let key = self.picture_key(split, index);
        qa::questions(&mut stream(key, "qa"), &self.scene(split, index))
    }

    /// The product of [`World::picture`] alone; none where the picture shows two groups.
    pub fn product_of(&self, split: Split, index: u64) -> Option<Product> {
        sell(self.picture_key(split, index), &self.scene(split, index))
    }

    /// Encyclopedia entry number `index`.
    pub fn article_page(&self, index: u64) -> Article {
        article::article(&mut self.text_stream("article", index))
    }

    /// The paragraph of [`World::article_page`].
    pub fn article(&self, index: u64) -> String {
        self.article_page(index).text()
    }

    /// Forum thread number `index`.
    pub fn forum_thread(&self, index: u64) -> Thread {
        forum::thread(&mut self.text_stream("forum", index))
    }

    /// The posted question and the best answer of [`World::forum_thread`].
    pub fn forum(&self, index: u64) -> (String, String) {
        let thread = self.forum_thread(index);
        let answer = thread.answers.into_iter().next().unwrap_or_default();
        (thread.question, answer)
    }

    /// Poem number `index`: two, four or eight lines, all of five or all of seven characters, without punctuation.
    pub fn verse(&self, index: u64) -> Vec<String> {
        verse::verse(&mut self.text_stream("verse", index))
    }

    /// Product number `index`, without a picture; never of a reserved colour and shape.
    pub fn product(&self, index: u64) -> Product {
        let mut stream = self.text_stream("product", index);
        let scene = compose::compose(&mut stream, Split::Train);
        product::product(&mut stream, &scene.groups[0])
    }

    /// The text of [`World::product`]: title, attributes and description, a line each.
    pub fn product_text(&self, index: u64) -> String {
        self.product(index).text()
    }

    fn picture_key(&self, split: Split, index: u64) -> Key {
        self.key.child(split.name()).at(index)
    }

    fn text_stream(&self, name: &str, index: u64) -> Stream {
        self.key.child(name).at(index).stream()
    }
}

fn stream(key: Key, name: &str) -> Stream {
    key.child(name).stream()
}

/// Shops sell one kind of thing at a time.
fn sell(key: Key, scene: &Scene) -> Option<Product> {
    match scene.groups.as_slice() {
        [group] => Some(product::product(&mut stream(key, "product"), group)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_depends_on_seed_split_and_index_alone() {
        let item = World::new(1, 64).picture(Split::Train, 5);
        let again = World::new(1, 64).picture(Split::Train, 5);
        assert!(item.image.data == again.image.data);
        assert_eq!(item.scene, again.scene);
        assert_eq!(
            (&item.captions, &item.qa, &item.product),
            (&again.captions, &again.qa, &again.product)
        );
        let others = [
            World::new(2, 64).picture(Split::Train, 5),
            World::new(1, 64).picture(Split::HeldOut, 5),
            World::new(1, 64).picture(Split::Train, 6),
        ];
        for other in others {
            assert_ne!(item.id, other.id);
            assert!(item.image.data != other.image.data);
        }
    }

    #[test]
    fn parts_made_alone_are_the_parts_of_the_picture() {
        let world = World::new(4, 64);
        for index in 0..50 {
            let item = world.picture(Split::HeldOut, index);
            assert_eq!(item.scene, world.scene(Split::HeldOut, index));
            assert_eq!(item.captions, world.captions(Split::HeldOut, index));
            assert_eq!(item.qa, world.questions(Split::HeldOut, index));
            assert_eq!(item.product, world.product_of(Split::HeldOut, index));
        }
    }

    #[test]
    fn truth_does_not_depend_on_the_side() {
        let small = World::new(9, 64).picture(Split::Train, 3);
        let large = World::new(9, 96).picture(Split::Train, 3);
        assert_eq!(small.scene, large.scene);
        assert_eq!(large.image.data.len(), 96 * 96 * 3);
    }

    #[test]
    fn pictures_differ() {
        let world = World::new(10, 64);
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..500 {
            assert!(seen.insert(world.picture(Split::Train, index).image.data));
        }
    }

    #[test]
    fn all_texts_use_a_few_hundred_characters() {
        let world = World::new(12, 64);
        let mut characters = std::collections::BTreeSet::new();
        for index in 0..1500 {
            for caption in world.captions(Split::Train, index) {
                characters.extend(caption.chars());
            }
            for qa in world.questions(Split::Train, index) {
                characters.extend(qa.question.chars());
                characters.extend(qa.answer.chars());
            }
        }
        let of_pictures = characters.len();
        for index in 0..1500 {
            characters.extend(world.article(index).chars());
            characters.extend(world.forum_thread(index).question.chars());
            characters.extend(world.forum_thread(index).answers.concat().chars());
            characters.extend(world.product_text(index).chars());
            characters.extend(world.verse(index).concat().chars());
        }
        assert!(of_pictures < 130, "{of_pictures}");
        assert!(characters.len() < 600, "{}", characters.len());
    }
}
