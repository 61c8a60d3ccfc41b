//! What a page says, before it is laid out: from the sample world's articles, threads, products, verse and pictures.

use m6_store::rng::{Key, Stream};
use m6_world::{Split, World};

use super::junk;
use super::plan::{Layout, PageKind, Plan};

/// A part of the main text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// A heading inside the text.
    Heading(String),
    /// A paragraph.
    Paragraph(String),
    /// Lines that belong together: verse, attributes, answers.
    Lines(Vec<String>),
    /// A content picture.
    Picture {
        /// Number of the picture in the world.
        index: u64,
        /// What the page says about it.
        caption: String,
    },
}

/// The headline and the main text of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) title: String,
    pub(super) blocks: Vec<Block>,
}

impl Content {
    /// The main text, a paragraph a line.
    pub(super) fn text(&self) -> String {
        let mut lines: Vec<&str> = Vec::new();
        for block in &self.blocks {
            match block {
                Block::Heading(text) | Block::Paragraph(text) => lines.push(text),
                Block::Lines(all) => lines.extend(all.iter().map(String::as_str)),
                Block::Picture { .. } => {}
            }
        }
        lines.join("\n")
    }

    /// Every text through `change`, captions included.
    pub(super) fn map(&mut self, mut change: impl FnMut(&str) -> String) {
        self.title = change(&self.title);
        for block in &mut self.blocks {
            match block {
                Block::Heading(text) | Block::Paragraph(text) => *text = change(text),
                Block::Lines(lines) => lines.iter_mut().for_each(|line| *line = change(line)),
                Block::Picture { caption, .. } => *caption = change(caption),
            }
        }
    }
}

/// Items of the world that one page may use, so that no two pages share one.
const ITEMS_PER_PAGE: u64 = 16;

/// The content of a page: for duplicates that of the page they copy, edited or not.
pub(super) fn content(world: &World, key: Key, plan: &Plan) -> Content {
    let mut stream = key.child("content").at(plan.content_of).stream();
    let first = plan.content_of * ITEMS_PER_PAGE;
    let mut content = match plan.kind {
        PageKind::Spam => junk::spam(&mut stream),
        PageKind::Gambling => junk::gambling(&mut stream),
        PageKind::Keywords => junk::keywords(world, first, &mut stream),
        PageKind::Short => junk::short(&mut stream),
        PageKind::English => junk::english(&mut stream),
        PageKind::NotFound | PageKind::Redirect => junk::not_found(),
        _ => match plan.layout {
            Layout::Encyclopedia => encyclopedia(world, first, &mut stream),
            Layout::Forum => forum(world, first, &mut stream),
            Layout::Shop => shop(world, first, &mut stream),
            Layout::Blog => blog(world, first, &mut stream),
        },
    };
    if plan.kind == PageKind::NearDuplicate {
        edit(
            &mut content,
            &mut key.child("edit").at(plan.number).stream(),
        );
    }
    content
}

/// An entry with a picture, sections, and at times a second picture.
fn encyclopedia(world: &World, first: u64, stream: &mut Stream) -> Content {
    let entry = world.article_page(first);
    let mut blocks = vec![
        picture(world, first, stream),
        Block::Paragraph(entry.text()),
    ];
    let n_sections = 2 + stream.below(3);
    let mut names = vec!["特点", "用处", "相关知识", "比较", "更多"];
    stream.shuffle(&mut names);
    for (section, name) in (1..=n_sections).zip(names) {
        blocks.push(Block::Heading(name.to_string()));
        let about = world.article_page(first + section);
        blocks.push(Block::Paragraph(format!(
            "{}：{}",
            about.title,
            about.text()
        )));
    }
    if stream.bool(0.5) {
        blocks.insert(3, picture(world, first + 1, stream));
    }
    Content {
        title: format!("{}（世界百科）", entry.title),
        blocks,
    }
}

/// A question with its answers, and more questions that were asked below.
fn forum(world: &World, first: u64, stream: &mut Stream) -> Content {
    let thread = world.forum_thread(first);
    let mut blocks = vec![Block::Paragraph(thread.question.clone())];
    if stream.bool(0.6) {
        blocks.push(picture(world, first, stream));
    }
    blocks.extend(thread.answers.iter().cloned().map(Block::Paragraph));
    for more in 1..=2 + stream.below(3) {
        let (question, answer) = world.forum(first + more);
        blocks.push(Block::Lines(vec![question, answer]));
    }
    Content {
        title: thread.title,
        blocks,
    }
}

/// A product with its picture, attributes and description.
fn shop(world: &World, first: u64, stream: &mut Stream) -> Content {
    // Shops sell one kind of thing at a time; about half of the pictures show one.
    let shown =
        (first..first + ITEMS_PER_PAGE).find_map(|i| Some((i, world.product_of(Split::Train, i)?)));
    let (index, product) = match shown {
        Some((index, product)) => (Some(index), product),
        None => (None, world.product(first)),
    };
    let mut blocks = Vec::new();
    if let Some(index) = index {
        blocks.push(Block::Picture {
            index,
            caption: product.title.clone(),
        });
    }
    blocks.push(Block::Paragraph(product.description.clone()));
    let attributes = product
        .attributes
        .iter()
        .map(|(name, value)| format!("{name}：{value}"));
    blocks.push(Block::Lines(attributes.collect()));
    let story = world.article_page(first);
    blocks.push(Block::Heading("关于它".to_string()));
    blocks.push(Block::Paragraph(story.text()));
    if let Some(index) = index {
        blocks.push(Block::Paragraph(format!(
            "图里是什么？{}",
            said(world, index, stream)
        )));
    }
    Content {
        title: product.title,
        blocks,
    }
}

/// Paragraphs, a poem and pictures with a sentence each.
fn blog(world: &World, first: u64, stream: &mut Stream) -> Content {
    let article = world.article_page(first);
    let opening = *stream.choose(&[
        "今天想写一写",
        "朋友问我",
        "孩子喜欢",
        "在路上看见",
        "最近常常想到",
    ]);
    let mut blocks = vec![Block::Paragraph(format!(
        "{opening}{}。{}",
        article.title,
        article.text()
    ))];
    for part in 1..=1 + stream.below(2) {
        blocks.push(picture(world, first + part, stream));
        let more = world.article_page(first + part);
        blocks.push(Block::Paragraph(format!(
            "再说{}。{}",
            more.title,
            more.text()
        )));
    }
    if stream.bool(0.7) {
        let verse = world.verse(first);
        blocks.push(Block::Lines(
            verse
                .chunks(2)
                .map(|couplet| format!("{}。", couplet.join("，")))
                .collect(),
        ));
    }
    let closing = *stream.choose(&[
        "今天就写到这里。",
        "下次再写别的。",
        "你也来画一画吧。",
        "谢谢你看到这里。",
    ]);
    blocks.push(Block::Paragraph(closing.to_string()));
    Content {
        title: format!("{opening}{}", article.title),
        blocks,
    }
}

fn picture(world: &World, index: u64, stream: &mut Stream) -> Block {
    Block::Picture {
        index,
        caption: said(world, index, stream),
    }
}

/// One of the captions of a picture.
fn said(world: &World, index: u64, stream: &mut Stream) -> String {
    let captions = world.captions(Split::Train, index);
    captions
        .get(stream.below(captions.len() as u64) as usize)
        .cloned()
        .unwrap_or_default()
}

/// Characters of text for each edit of a near-duplicate: few enough that the texts stay more than 0.8 alike.
const CHARS_PER_EDIT: usize = 150;

/// Small edits, as copies have them: a mark changed, a word put in.
fn edit(content: &mut Content, stream: &mut Stream) {
    let n_edits = 1 + content.text().chars().count() / CHARS_PER_EDIT;
    let places: Vec<usize> = (0..content.blocks.len())
        .filter(|&i| matches!(&content.blocks[i], Block::Paragraph(text) if text.contains('。')))
        .collect();
    if places.is_empty() {
        content.blocks.push(Block::Paragraph("转载。".to_string()));
        return;
    }
    for _ in 0..n_edits {
        let place = *stream.choose(&places);
        if let Some(Block::Paragraph(text)) = content.blocks.get_mut(place) {
            *text = edited(text, stream);
        }
    }
}

fn edited(text: &str, stream: &mut Stream) -> String {
    let stops: Vec<usize> = text.match_indices('。').map(|(at, _)| at).collect();
    if stops.is_empty() {
        return format!("{text}！");
    }
    let at = *stream.choose(&stops);
    let (before, after) = text.split_at(at);
    let after = after.trim_start_matches('。');
    let put = *stream.choose(&["！", "。其实，", "，真的。", "。要知道"]);
    // A word that leads on needs something to lead to.
    let put = if after.is_empty() { "！" } else { put };
    format!("{before}{put}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_changes_a_little() {
        let mut stream = Key::new(1).stream();
        for _ in 0..50 {
            let text = "苹果是一种水果。它长在树上。";
            let new = edited(text, &mut stream);
            assert_ne!(new, text);
            assert!(
                new.contains("苹果是一种水果") && new.chars().count() <= text.chars().count() + 3,
                "{new}"
            );
        }
    }
}
