//! One `<page>` element of a dump.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// What is taken from a page; with several revisions, the last one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: String,
    pub(super) namespace: i64,
    pub(super) id: String,
    pub(super) is_redirect: bool,
    pub(super) model: Option<String>,
    pub(super) timestamp: Option<String>,
    pub(super) text: String,
}

/// Deepest nesting of elements: `page/revision/contributor/username` is 4.
const MAX_DEPTH: usize = 16;

/// Parses the XML of a page.
pub(super) fn parse(xml: &[u8]) -> Result<Page, String> {
    let xml = std::str::from_utf8(xml).map_err(|error| format!("not UTF-8: {error}"))?;
    let mut reader = Reader::from_str(xml);
    let mut page = Page::default();
    let mut path: Vec<String> = Vec::new();
    let mut content = String::new();
    let mut has_title = false;
    loop {
        let event = reader
            .read_event()
            .map_err(|error| format!("not XML: {error}"))?;
        match event {
            Event::Start(start) => {
                if path.len() >= MAX_DEPTH {
                    return Err(format!("elements nested deeper than {MAX_DEPTH}"));
                }
                path.push(start.name().into_inner().to_string());
                content.clear();
            }
            Event::End(_) => {
                has_title |= path.len() == 2 && path.last().is_some_and(|name| name == "title");
                keep(&mut page, &path, &mut content)?;
                path.pop();
            }
            Event::Empty(empty) => page.is_redirect |= empty.name().into_inner() == "redirect",
            Event::Text(text) => content.push_str(&text.into_inner()),
            Event::CData(data) => content.push_str(&data.into_inner()),
            Event::GeneralRef(entity) => match entity.resolve_char_ref() {
                Ok(Some(character)) => content.push(character),
                _ => {
                    let name = entity.into_inner();
                    let known = resolve_predefined_entity(&name);
                    content.push_str(known.ok_or_else(|| format!("not XML: the entity &{name};"))?);
                }
            },
            Event::Eof => break,
            _ => {}
        }
    }
    match has_title && path.is_empty() {
        true => Ok(page),
        false => Err("a page without a title or an end".to_string()),
    }
}

/// Takes the content of the element that ends.
fn keep(page: &mut Page, path: &[String], content: &mut String) -> Result<(), String> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["page", "title"] => page.title = content.trim().to_string(),
        ["page", "ns"] => {
            let number = content.trim().parse();
            page.namespace = number.map_err(|_| format!("the namespace \"{}\"", content.trim()))?;
        }
        ["page", "id"] => page.id = content.trim().to_string(),
        ["page", "redirect"] => page.is_redirect = true,
        ["page", "revision", "model"] => page.model = Some(content.trim().to_string()),
        ["page", "revision", "timestamp"] => page.timestamp = Some(content.trim().to_string()),
        ["page", "revision", "text"] => page.text = std::mem::take(content),
        _ => {}
    }
    content.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_page_are_found() {
        let xml = "<page>\n <title>中国 &amp; 世界</title>\n <ns>0</ns>\n <id>7</id>\n <revision>\n  <id>99</id>\n\
            <timestamp>2020-01-02T03:04:05Z</timestamp><contributor><username>某人</username><id>3</id></contributor>\
            <model>wikitext</model><text bytes=\"9\">&lt;ref&gt;一&#x4E8C;&quot;</text></revision></page>";
        let page = parse(xml.as_bytes()).unwrap();
        assert_eq!(
            (page.title.as_str(), page.namespace, page.id.as_str()),
            ("中国 & 世界", 0, "7")
        );
        assert_eq!(page.text, "<ref>一二\"");
        assert_eq!(page.model.as_deref(), Some("wikitext"));
        assert_eq!(page.timestamp.as_deref(), Some("2020-01-02T03:04:05Z"));
        assert!(!page.is_redirect);
        let redirect = "<page><title>a</title><ns>1</ns><redirect title=\"b\" /></page>";
        let page = parse(redirect.as_bytes()).unwrap();
        assert!(page.is_redirect && page.namespace == 1);
    }

    #[test]
    fn damage_has_a_reason() {
        let check = |xml: &[u8], why: &str| {
            let reason = parse(xml).unwrap_err();
            assert!(reason.contains(why), "{reason}, not: {why}");
        };
        check(b"<page><title>a</page>", "not XML");
        check(b"<page><title>\xff</title></page>", "not UTF-8");
        check(b"<page><title>&unknown;</title></page>", "&unknown;");
        check(b"<page><title>a</title><ns>x</ns></page>", "namespace");
        check(b"<page></page>", "without a title");
        check("<a>".repeat(40).as_bytes(), "nested deeper");
    }
}
