//! MediaWiki markup to plain text (ours; the markup as MediaWiki's help pages describe it).

use super::{elements, infobox, inline, sections, spans};

/// Stands for a picture while the text is being made; removed from the source first.
pub(super) const MARK: char = '\u{fffc}';
/// Words that make a page a redirect, in small letters.
const REDIRECTS: [&str; 4] = ["#redirect", "#重定向", "#重新導向", "#重新导向"];

/// An article without its markup (ours).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plain {
    /// Headings, paragraphs and list items, a line each.
    pub text: String,
    /// In reading order.
    pub pictures: Vec<WikiPicture>,
}

/// A picture of an article (ours).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WikiPicture {
    /// Name of the file on the wiki, without its namespace.
    pub file: String,
    /// The caption, without markup.
    pub caption: Option<String>,
    /// The alternative text.
    pub alt: Option<String>,
    /// Index of the line of the text before which the picture stands.
    pub line: usize,
}

/// The text and the pictures of wikitext; any input gives a result.
///
/// Links become their labels. Templates, tables, references, formulas and the sections that only list sources are
/// dropped, but pictures of info boxes and galleries are kept. Of the variants in `-{...}-` the simplified one is taken.
pub fn plain(source: &str) -> Plain {
    let source: String = source
        .chars()
        .filter(|&character| character != MARK)
        .collect();
    let source = elements::cut(&source);
    let source = inline::variants(&source);
    let source = infobox::drop_templates(&source, 0);
    let source = spans::drop_tables(&source);
    let mut pictures = Vec::new();
    let source = inline::links(&source, &mut pictures, 0);
    sections::lines(&source, pictures)
}

/// True for a page that only points to another.
pub(super) fn is_redirect(source: &str) -> bool {
    let head: String = source
        .trim_start()
        .chars()
        .take(16)
        .collect::<String>()
        .to_lowercase();
    REDIRECTS.iter().any(|word| head.starts_with(word))
}
