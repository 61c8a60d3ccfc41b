//! Public data sets whose files are known: what `format` fills in of a source.

use super::{Fields, Kind, SourceConfig};

/// Formats by name. The forms are those in which the sets are published; docs/importers.md shows each.
const FORMATS: [(&str, fn() -> SourceConfig); 16] = [
    ("muge-caption", muge_caption),
    ("muge-t2i", muge_t2i),
    ("muge-retrieval", muge_retrieval),
    ("chinese-clip", chinese_clip),
    ("ofa-caption", ofa_caption),
    ("coco-cn", captioned_folder),
    ("flickr8k-cn", captioned_folder),
    ("flickr30k-cn", captioned_folder),
    ("ai-challenger", ai_challenger),
    ("fm-iqa", fm_iqa),
    ("cmrc2018", squad),
    ("cmrc2018-original", cmrc_original),
    ("drcd", squad),
    ("dureader-robust", squad),
    ("dureader", dureader),
    ("chinese-poetry", chinese_poetry),
];

/// The names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|(name, _)| *name)
}

impl SourceConfig {
    /// This source with what its `format` says, where it does not say it itself. Without a format, or with one that there is not, it
    /// stays as it is; [`DataConfig::validate`](super::DataConfig::validate) names the latter.
    pub fn resolved(&self) -> Self {
        let mut out = self.clone();
        let named = self.format.as_deref();
        let Some((_, format)) = FORMATS.iter().find(|(name, _)| named == Some(*name)) else {
            return out;
        };
        let format = format();
        if out.kind == Kind::World {
            out.kind = format.kind;
        }
        for (own, given) in [
            (&mut out.id, format.id),
            (&mut out.each, format.each),
            (&mut out.question, format.question),
            (&mut out.answer, format.answer),
            (&mut out.image_name, format.image_name),
        ] {
            *own = own.take().or(given);
        }
        for (own, given) in [
            (&mut out.text, format.text),
            (&mut out.captions, format.captions),
            (&mut out.image, format.image),
            (&mut out.columns, format.columns),
        ] {
            if own.is_empty() {
                *own = given;
            }
        }
        out
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_string())
}

/// ECommerce-IC: `{"image_id", "text"}` lines; pictures in a table.
fn muge_caption() -> SourceConfig {
    SourceConfig {
        kind: Kind::Jsonl,
        id: some("image_id"),
        captions: Fields::from(["text"]),
        image: Fields::from(["image_id"]),
        ..SourceConfig::default()
    }
}

/// ECommerce-T2I: a table of `image_id`, `text`; pictures in a second one.
fn muge_t2i() -> SourceConfig {
    SourceConfig {
        kind: Kind::Tsv,
        columns: Fields::from(["image_id", "text"]),
        ..muge_caption()
    }
}

/// Multimodal Retrieval: `{"query_id", "query_text", "item_ids"}` lines, one record for each picture of a query.
fn muge_retrieval() -> SourceConfig {
    SourceConfig {
        kind: Kind::Jsonl,
        each: some("item_ids"),
        // The picture decides which records are held out: no picture is on both sides.
        id: some("item_ids"),
        captions: Fields::from(["query_text"]),
        image: Fields::from(["item_ids"]),
        ..SourceConfig::default()
    }
}

/// `{"text_id", "text", "image_ids"}` lines, the form in which Chinese-CLIP hands out MUGE, Flickr30k-CN and COCO-CN.
fn chinese_clip() -> SourceConfig {
    SourceConfig {
        each: some("image_ids"),
        id: some("image_ids"),
        captions: Fields::from(["text"]),
        image: Fields::from(["image_ids"]),
        ..muge_retrieval()
    }
}

/// A table with the picture in each line.
fn ofa_caption() -> SourceConfig {
    SourceConfig {
        kind: Kind::Tsv,
        columns: Fields::from(["uniq_id", "image_id", "caption", "labels", "image"]),
        id: some("image_id"),
        captions: Fields::from(["caption"]),
        image: Fields::from(["image:base64"]),
        ..SourceConfig::default()
    }
}

/// A folder of pictures, and a `side` file of `name#n<TAB or blank>caption`.
fn captioned_folder() -> SourceConfig {
    SourceConfig {
        kind: Kind::Folder,
        ..SourceConfig::default()
    }
}

/// A list of `{"image_id", "caption": [5]}`.
fn ai_challenger() -> SourceConfig {
    SourceConfig {
        kind: Kind::Json,
        id: some("image_id"),
        captions: Fields::from(["caption"]),
        image: Fields::from(["image_id"]),
        ..SourceConfig::default()
    }
}

/// `{"train": [{"image_id", "Question", "Answer"}], "val": [...]}` about the pictures of COCO 2014.
fn fm_iqa() -> SourceConfig {
    SourceConfig {
        kind: Kind::Json,
        each: some("train"),
        id: some("image_id"),
        image: Fields::from(["image_id"]),
        image_name: some("COCO_train2014_{:012}.jpg"),
        question: some("Question"),
        answer: some("Answer"),
        ..SourceConfig::default()
    }
}

/// SQuAD's nesting: `data[].paragraphs[].qas[].answers[].text`.
fn squad() -> SourceConfig {
    SourceConfig {
        kind: Kind::Json,
        each: some("data.paragraphs"),
        text: Fields::from(["context"]),
        question: some("qas.question"),
        answer: some("qas.answers.text"),
        ..SourceConfig::default()
    }
}

/// CMRC 2018 as it first came: a list of `{"context_id", "context_text", "qas"}`.
fn cmrc_original() -> SourceConfig {
    SourceConfig {
        kind: Kind::Json,
        id: some("context_id"),
        text: Fields::from(["context_text"]),
        question: some("qas.query_text"),
        answer: some("qas.answers"),
        ..SourceConfig::default()
    }
}

/// DuReader 2.0, raw or preprocessed: a question a line, its answers, and the pages they were written from.
fn dureader() -> SourceConfig {
    SourceConfig {
        kind: Kind::Jsonl,
        id: some("question_id"),
        text: Fields::from(["documents[is_selected].paragraphs"]),
        question: some("question"),
        answer: some("answers"),
        ..SourceConfig::default()
    }
}

/// Lists of poems; each collection names its title and its lines in its own way.
fn chinese_poetry() -> SourceConfig {
    SourceConfig {
        kind: Kind::Json,
        text: Fields::from(["title", "rhythmic", "paragraphs", "content", "para"]),
        ..SourceConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_fills_in_what_a_source_does_not_say() {
        let source = SourceConfig {
            name: "iqa".to_string(),
            format: some("fm-iqa"),
            each: some("val"),
            ..SourceConfig::default()
        };
        let resolved = source.resolved();
        assert_eq!(
            (resolved.kind, resolved.each.as_deref()),
            (Kind::Json, Some("val"))
        );
        assert_eq!(resolved.question.as_deref(), Some("Question"));
        assert_eq!(resolved.resolved(), resolved, "twice is as once");
        let unknown = SourceConfig {
            format: some("fmiqa"),
            ..SourceConfig::default()
        };
        assert_eq!(unknown.resolved(), unknown);
    }
}
