//! The sample world: seeded pictures with captions, questions, products, articles, forum threads and verse in simplified
//! Chinese, and the ground truth of each. It is a test bed and a demo: results on it are always called synthetic (ours).
//!
//! Everything is a pure function of a seed, a split and an index, so any item can be made again at any time:
//!
//! ```
//! use m6_world::{Split, World};
//!
//! let world = World::new(1, 64);
//! let item = world.picture(Split::Train, 7);
//! assert_eq!((item.image.width, item.image.height), (64, 64));
//! assert_eq!(item.captions, world.picture(Split::Train, 7).captions);
//! ```
//!
//! Nothing here fails: there is no input from outside, so the crate has no error type.

mod article;
mod caption;
mod compose;
mod draw;
mod facts;
mod forum;
mod glyphs;
mod measure;
mod place;
mod product;
mod qa;
mod reserve;
mod scene;
mod verse;
mod words;
mod world;

pub use article::Article;
pub use caption::N_CAPTIONS;
pub use draw::draw;
pub use forum::Thread;
pub use measure::{
    Accuracy, FoundGroup, FoundObject, GroupJudgement, Judgement, MIN_SCORE, Measured, Wanted,
    judge, judge_measured, measure, position_of, wanted,
};
pub use place::MIN_GAP;
pub use product::Product;
pub use qa::{Qa, QaKind};
pub use reserve::{
    held_out_pairs, held_out_placements, is_held_out, is_held_out_pair, is_held_out_placement,
};
pub use scene::{Ground, Group, Object, Scene};
pub use words::{Color, Position, Shape, Size, Texture, counting, numeral, squared_distance};
pub use world::{PictureItem, Split, World};
