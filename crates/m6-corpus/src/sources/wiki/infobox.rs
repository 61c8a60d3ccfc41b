//! Templates: dropped, but for those that only wrap text and for the pictures of info boxes.

use super::inline::is_picture_file;
use super::spans;

/// Deepest nesting of templates whose text is kept.
const MAX_DEPTH: usize = 4;

/// Templates that show one of their arguments, with its number from 1; the first is shown where that one is missing.
const WRAPPERS: [(&str, usize); 14] = [
    ("lang", 2),
    ("le", 1),
    ("illm", 2),
    ("tsl", 3),
    ("nowrap", 1),
    ("nobr", 1),
    ("big", 1),
    ("small", 1),
    ("abbr", 1),
    ("ruby", 1),
    ("zy", 1),
    ("kbd", 1),
    ("僻字", 1),
    ("transl", 2),
];
/// Beginnings of the names of templates that show their first argument.
const WRAPPER_PREFIXES: [&str; 2] = ["lang-", "link-"];
/// Templates that show a number and its unit.
const MEASURES: [&str; 2] = ["convert", "cvt"];
/// The function that groups the digits of what follows.
const NUMBER: &str = "formatnum:";

/// Parameters of info boxes that name a picture.
const PICTURE_KEYS: [&str; 9] = [
    "image", "图片", "圖片", "图像", "圖像", "logo", "photo", "封面", "cover",
];
/// Parameters of info boxes that describe it.
const CAPTION_KEYS: [&str; 9] = [
    "caption",
    "image_caption",
    "imagecaption",
    "图片说明",
    "圖片說明",
    "图像说明",
    "圖像說明",
    "说明",
    "說明",
];

/// Replaces every template by what it shows.
pub(super) fn drop_templates(source: &str, depth: usize) -> String {
    let spans = spans::matched(source, "{{", "}}");
    let kept = spans::replace(source, &spans, |inner| show(inner, depth));
    // Brackets without a partner.
    kept.replace("{{", "").replace("}}", "")
}

fn show(inner: &str, depth: usize) -> String {
    if depth >= MAX_DEPTH {
        return String::new();
    }
    let parts = spans::parts(inner);
    let name = parts
        .first()
        .copied()
        .unwrap_or_default()
        .trim()
        .to_lowercase();
    if let Some(number) = name.strip_prefix(NUMBER) {
        return drop_templates(number.trim(), depth + 1);
    }
    match wrapped(&name, &parts) {
        Some(shown) => drop_templates(&shown, depth + 1),
        None => picture(&parts, depth),
    }
}

/// What a template shows that only wraps its arguments.
fn wrapped(name: &str, parts: &[&str]) -> Option<String> {
    let is_measure = MEASURES.contains(&name);
    let is_prefixed = WRAPPER_PREFIXES.iter().any(|start| name.starts_with(start));
    let known = WRAPPERS.iter().find(|(wrapper, _)| *wrapper == name);
    let number = match known {
        Some((_, number)) => *number,
        None if is_measure || is_prefixed => 1,
        None => return None,
    };
    let arguments: Vec<&str> = parts
        .iter()
        .skip(1)
        .copied()
        .filter(|part| !is_named(part))
        .collect();
    if is_measure {
        return Some(arguments.iter().take(2).map(|text| text.trim()).collect());
    }
    let shown = arguments.get(number - 1).or(arguments.first());
    Some(shown.copied().unwrap_or_default().to_string())
}

/// True for `name=value`, but not for text with an equals sign in a link or an address.
fn is_named(part: &str) -> bool {
    let name = part.split_once('=').map(|(name, _)| name.trim());
    name.is_some_and(|name| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || "_- ".contains(c))
    })
}

/// The picture of an info box, as a file link.
fn picture(parts: &[&str], depth: usize) -> String {
    let named = |keys: &[&str]| {
        let mut entries = parts.iter().skip(1).filter_map(|part| part.split_once('='));
        entries.find(|(key, value)| {
            keys.contains(&key.trim().to_lowercase().as_str()) && !value.trim().is_empty()
        })
    };
    let Some((_, value)) = named(&PICTURE_KEYS) else {
        return String::new();
    };
    let caption = named(&CAPTION_KEYS)
        .map(|(_, value)| drop_templates(value.trim(), depth + 1))
        .unwrap_or_default();
    let value = drop_templates(value.trim(), depth + 1);
    // Either a bare file name, with or without its namespace, or a whole file link.
    if value.starts_with("[[") {
        return format!("{value}\n");
    }
    let file = value
        .rsplit_once(':')
        .map_or(value.as_str(), |(_, file)| file)
        .trim();
    match is_picture_file(file) && !file.contains(['[', ']', '|', '\n']) {
        true => format!("[[File:{file}|thumb|{}]]\n", caption.replace('\n', " ")),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        assert_eq!(drop_templates(source, 0), expected, "{source}");
    }

    #[test]
    fn templates_go_and_wrapped_text_stays() {
        check("a{{cite web|url=x}}b", "ab");
        check(
            "{{lang|ja|東京}}和{{tsl|en|Tokyo|东京}}、{{le|甲|A}}",
            "東京和东京、甲",
        );
        check("{{nowrap|{{lang|en|x}} y}}", "x y");
        check("{{lang|de}}", "de");
        check(
            "{{lang-en|Beijing}}、{{link-en|甲|A}}、{{Link-ja|乙|B}}",
            "Beijing、甲、乙",
        );
        check(
            "长{{convert|6.3|公里|mi|abbr=on}}，{{formatnum:12345}}人",
            "长6.3公里，12345人",
        );
        check("a {{ b", "a  b");
    }

    #[test]
    fn the_picture_of_an_info_box_becomes_a_file_link() {
        check(
            "{{Infobox\n| name = 甲\n| image = a.jpg\n| caption = [[甲]]的图\n}}文",
            "[[File:a.jpg|thumb|[[甲]]的图]]\n文",
        );
        check("{{Infobox|image=File:b.PNG}}", "[[File:b.PNG|thumb|]]\n");
        check(
            "{{Infobox|图片=[[File:c.jpg|200px]]}}",
            "[[File:c.jpg|200px]]\n",
        );
        check("{{Infobox|image=|logo=none}}", "");
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_takes_long() {
        let deep = format!("{}x{}", "{{lang|a|".repeat(20_000), "}}".repeat(20_000));
        assert!(drop_templates(&deep, 0).len() < 10);
        assert_eq!(drop_templates(&"{{".repeat(50_000), 0), "");
    }
}
