//! The built-in sample world as a source.

use m6_world::{Split, World};

use crate::config::{SourceConfig, WorldSplit};
use crate::record::{BadRecord, Picture, Qa, Record, Source};

/// `n` drawn pictures; each record also carries a text about the world, in turn an
/// encyclopedia paragraph, a forum thread, a verse and a product text.
pub(super) struct WorldSource {
    name: String,
    seed: u64,
    world: World,
    split: Split,
    n: u64,
    drawn: u64,
}

impl WorldSource {
    pub(super) fn new(config: &SourceConfig, side: usize) -> Self {
        Self {
            name: config.name.clone(),
            seed: config.seed,
            world: World::new(config.seed, side),
            split: match config.split {
                WorldSplit::Train => Split::Train,
                WorldSplit::HeldOut => Split::HeldOut,
            },
            n: config.n,
            drawn: 0,
        }
    }

    fn text(&self, index: u64) -> String {
        match index % 4 {
            0 => self.world.article(index),
            1 => {
                let (question, answer) = self.world.forum(index);
                format!("{question}\n{answer}")
            }
            2 => self.world.verse(index).join("\n"),
            _ => self.world.product_text(index),
        }
    }
}

impl Source for WorldSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn next(&mut self) -> Option<std::result::Result<Record, BadRecord>> {
        if self.drawn == self.n {
            return None;
        }
        let index = self.drawn;
        self.drawn += 1;
        let questions = self.world.questions(self.split, index).into_iter();
        let qa = questions.map(|qa| Qa {
            kind: Some(qa.kind.name().to_string()),
            question: qa.question,
            answer: qa.answer,
            choices: Vec::new(),
        });
        let id = format!("world-{}-{}-{index}", self.seed, self.split.name());
        Some(Ok(Record {
            place: id.clone(),
            id,
            text: Some(self.text(index)),
            captions: self.world.captions(self.split, index),
            images: vec![Picture::Drawn(self.world, self.split, index)],
            qa: qa.collect(),
        }))
    }
}
