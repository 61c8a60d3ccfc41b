//! Markdown to plain text with its pictures.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::doc::{Caption, CaptionRole, Picture, PictureData};

/// The text, one block a line, and the pictures, each with the line before which it stands.
///
/// Headings, list items and table rows (cells with tabs between) are lines; code keeps its lines; HTML is left out.
pub(super) fn plain(source: &str) -> (String, Vec<Picture>) {
    let mut out = Plain::default();
    for event in Parser::new_ext(source, Options::ENABLE_TABLES) {
        out.take(event);
    }
    out.end_line();
    (out.lines.join("\n"), out.pictures)
}

#[derive(Default)]
struct Plain {
    lines: Vec<String>,
    line: String,
    pictures: Vec<Picture>,
    /// Alternative text of the picture that is open, and its title.
    open: Option<(String, String, String)>,
}

impl Plain {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Text(text) | Event::Code(text) => self.text(&text),
            Event::SoftBreak | Event::HardBreak => self.line_break(),
            Event::Start(Tag::Image {
                dest_url, title, ..
            }) => {
                self.open = Some((dest_url.to_string(), String::new(), title.to_string()));
            }
            Event::End(TagEnd::Image) => self.picture(),
            Event::End(TagEnd::TableCell) => self.line.push('\t'),
            // Inside a paragraph these say nothing about lines.
            Event::Start(Tag::Emphasis | Tag::Strong | Tag::Link { .. } | Tag::Strikethrough) => {}
            Event::End(
                TagEnd::Emphasis | TagEnd::Strong | TagEnd::Link | TagEnd::Strikethrough,
            ) => {}
            Event::Start(Tag::TableCell) => {}
            Event::Start(_) | Event::End(_) | Event::Rule => self.end_line(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some((_, alt, _)) = &mut self.open {
            alt.push_str(text);
            return;
        }
        let mut parts = text.split('\n');
        self.line.push_str(parts.next().unwrap_or_default());
        for part in parts {
            self.end_line();
            self.line.push_str(part);
        }
    }

    /// A line end inside a paragraph is a blank between words and nothing between Chinese characters.
    fn line_break(&mut self) {
        if self.open.is_none()
            && self
                .line
                .chars()
                .last()
                .is_some_and(|last| last.is_ascii_graphic())
        {
            self.line.push(' ');
        }
    }

    fn picture(&mut self) {
        let Some((address, alt, title)) = self.open.take() else {
            return;
        };
        if address.is_empty() {
            return;
        }
        let captions = [
            Caption::new(CaptionRole::Title, &title),
            Caption::new(CaptionRole::Alt, &alt),
        ];
        // A picture inside a line stands before that line.
        self.pictures.push(Picture {
            data: PictureData::Address(address),
            captions: captions.into_iter().flatten().collect(),
            line: Some(self.lines.len()),
        });
    }

    fn end_line(&mut self) {
        let line = self.line.trim();
        if !line.is_empty() {
            self.lines.push(line.to_string());
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, text: &str, pictures: &[(&str, usize, &str)]) {
        let (got, got_pictures) = plain(source);
        assert_eq!(got, text, "{source}");
        let got_pictures: Vec<_> = got_pictures
            .iter()
            .map(|picture| {
                let PictureData::Address(address) = &picture.data else {
                    panic!("an address")
                };
                let caption = picture
                    .captions
                    .first()
                    .map(|c| c.text.as_str())
                    .unwrap_or_default();
                (address.as_str(), picture.line.unwrap(), caption)
            })
            .collect();
        assert_eq!(got_pictures, pictures, "{source}");
    }

    #[test]
    fn blocks_become_lines_and_pictures_keep_their_place() {
        check(
            "# 题\n\n一段\n文字 **粗** [链接](x)。\n\n- 甲\n- 乙\n",
            "题\n一段文字 粗 链接。\n甲\n乙",
            &[],
        );
        check(
            "# 题\n\n![成品](./a.jpg)\n\n正文。\n",
            "题\n正文。",
            &[("./a.jpg", 1, "成品")],
        );
        check(
            "前 ![](b.png \"题名\") 后",
            "前  后",
            &[("b.png", 0, "题名")],
        );
        check("| a | b |\n|---|---|\n| 1 | 2 |\n", "a\tb\n1\t2", &[]);
        check(
            "```\nlet a;\nlet b;\n```\n<b>x</b>\n",
            "let a;\nlet b;\nx",
            &[],
        );
        check("", "", &[]);
    }
}
