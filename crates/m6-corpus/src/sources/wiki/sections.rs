//! From text without links to lines: headings, lists, and the sections that are dropped.

use super::format::format_line;
use super::text::{MARK, Plain, WikiPicture};

/// Sections that only list sources, in small letters; simplified, traditional and English names.
const DROPPED: [&str; 31] = [
    "参考文献",
    "參考文獻",
    "参考资料",
    "參考資料",
    "参考来源",
    "參考來源",
    "参考",
    "參考",
    "注释",
    "注釋",
    "註釋",
    "註解",
    "脚注",
    "腳註",
    "备注",
    "備註",
    "外部链接",
    "外部連結",
    "外部鏈接",
    "参见",
    "參見",
    "相关条目",
    "相關條目",
    "延伸阅读",
    "延伸閱讀",
    "来源",
    "來源",
    "references",
    "external links",
    "see also",
    "further reading",
];
/// Deepest heading.
const MAX_LEVEL: usize = 6;

/// Makes the lines; every mark in `source` stands for the next picture.
pub(super) fn lines(source: &str, pictures: Vec<WikiPicture>) -> Plain {
    let mut out = Lines {
        pictures: pictures.into_iter(),
        ..Lines::default()
    };
    for line in source.lines() {
        out.take(line.trim());
    }
    Plain {
        text: out.lines.join("\n"),
        pictures: out.kept,
    }
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    /// Headings that have no content yet, with their levels: a heading without content is not shown.
    headings: Vec<(usize, String)>,
    /// Level of the dropped section that is open.
    dropped: Option<usize>,
    pictures: std::vec::IntoIter<WikiPicture>,
    kept: Vec<WikiPicture>,
}

impl Lines {
    fn take(&mut self, line: &str) {
        let n_pictures = line.matches(MARK).count();
        let here: Vec<WikiPicture> = self.pictures.by_ref().take(n_pictures).collect();
        if let Some((level, title)) = heading(line) {
            return self.heading(level, &title);
        }
        if self.dropped.is_some() {
            return;
        }
        // What is left of a damaged table or of a ruler.
        let is_debris =
            line.starts_with(['|', '!']) || line.starts_with("{|") || line.starts_with("----");
        let text = match is_debris {
            true => String::new(),
            false => format_line(
                line.replace(MARK, "")
                    .trim_start_matches(['*', '#', ':', ';', ' ']),
            ),
        };
        if text.is_empty() && here.is_empty() {
            return;
        }
        self.lines
            .extend(self.headings.drain(..).map(|(_, title)| title));
        let place = self.lines.len();
        self.kept
            .extend(here.into_iter().map(|picture| WikiPicture {
                line: place,
                ..picture
            }));
        if !text.is_empty() {
            self.lines.push(text);
        }
    }

    fn heading(&mut self, level: usize, title: &str) {
        if self.dropped.is_some_and(|dropped| level > dropped) {
            return;
        }
        self.dropped = DROPPED
            .contains(&title.to_lowercase().as_str())
            .then_some(level);
        // A section without content ends where one of its own or a higher level begins.
        self.headings.retain(|(waiting, _)| *waiting < level);
        if self.dropped.is_none() && !title.is_empty() {
            self.headings.push((level, title.to_string()));
        }
    }
}

/// Level and title of `== title ==`.
fn heading(line: &str) -> Option<(usize, String)> {
    let line = line.trim_end();
    let before = line.bytes().take_while(|&byte| byte == b'=').count();
    let after = line.bytes().rev().take_while(|&byte| byte == b'=').count();
    let level = before.min(after).min(MAX_LEVEL);
    if level == 0 || before == line.len() {
        return None;
    }
    let title = line.get(level..line.len() - level)?;
    Some((level, format_line(&title.replace(MARK, ""))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, text: &str, places: &[usize]) {
        let n_pictures = source.matches(MARK).count();
        let plain = lines(source, vec![WikiPicture::default(); n_pictures]);
        assert_eq!(plain.text, text, "{source}");
        let got: Vec<usize> = plain.pictures.iter().map(|picture| picture.line).collect();
        assert_eq!(got, places, "{source}");
    }

    #[test]
    fn headings_without_content_and_source_lists_are_dropped() {
        check(
            "开头\n== 历史 ==\n=== 古代 ===\n一\n== 空 ==\n== 参考文献 ==\n引\n=== 下级 ===\n引\n== 末 ==\n二",
            "开头\n历史\n古代\n一\n末\n二",
            &[],
        );
        check("== 甲 ==\n== 参见 ==\n* 乙", "", &[]);
        check("=\n==\na=b=", "=\n==\na=b=", &[]);
    }

    #[test]
    fn list_marks_and_debris_go() {
        check(
            "* 一\n** 二\n#三\n; 四\n: 五\n----\n| 六\n! 七\n|}",
            "一\n二\n三\n四\n五",
            &[],
        );
    }

    #[test]
    fn pictures_know_their_line() {
        check(
            "\u{fffc}\n一\n\u{fffc}二\u{fffc}\n\u{fffc}",
            "一\n二",
            &[0, 1, 1, 2],
        );
        check(
            "一\n== 参见 ==\n\u{fffc}\n== 后 ==\n\u{fffc}",
            "一\n后",
            &[2],
        );
    }
}
