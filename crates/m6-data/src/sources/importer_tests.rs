//! The formats of docs/importers.md, each with the block that stands there, on small files in the published form.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::json;

use crate::config::{DataConfig, Fields, Kind, SourceConfig};
use crate::open;
use crate::record::{BadRecord, Picture, Record};
use crate::testing::{folder, png, prepare, shared_data, source};

const GUIDE: &str = include_str!("../../../../docs/importers.md");

/// The block of this name in the guide.
fn block(name: &str) -> SourceConfig {
    #[derive(serde::Deserialize)]
    struct Whole {
        data: DataConfig,
    }
    let blocks = GUIDE.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split_once("```"));
    let mut sources = blocks.flat_map(|(text, _)| {
        let whole: Whole = toml::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(whole.data.validate(), Vec::<String>::new(), "{text}");
        whole.data.sources
    });
    let found = sources.find(|source| source.name == name);
    found.unwrap_or_else(|| panic!("no block {name} in the guide"))
}

fn read(config: &SourceConfig, root: &Path) -> (Vec<Record>, Vec<BadRecord>) {
    let mut reader = open(config, root).unwrap_or_else(|error| panic!("{error}"));
    let items = std::iter::from_fn(|| reader.next());
    let (records, bad): (Vec<_>, Vec<_>) = items.partition(std::result::Result::is_ok);
    (
        records
            .into_iter()
            .filter_map(std::result::Result::ok)
            .collect(),
        bad.into_iter()
            .filter_map(std::result::Result::err)
            .collect(),
    )
}

/// The records of a block on these files, none of which may be bad.
fn records(name: &str, files: &[(&str, &[u8])]) -> Vec<Record> {
    let dir = folder(files);
    let (records, bad) = read(&block(name), dir.path());
    assert!(bad.is_empty(), "{name}: {bad:?}");
    records
}

fn table(pictures: &[(&str, &[u8])], engine: &impl Engine) -> Vec<u8> {
    let line = |(name, bytes): &(&str, &[u8])| format!("{name}\t{}\n", engine.encode(bytes));
    pictures.iter().map(line).collect::<String>().into_bytes()
}

fn first_picture(record: &Record) -> &[u8] {
    record.images[0].bytes()
}

#[test]
fn every_format_is_in_the_guide() {
    let formats: Vec<String> = GUIDE
        .lines()
        .filter_map(|line| line.strip_prefix("format = \""))
        .filter_map(|line| line.split('"').next().map(str::to_string))
        .collect();
    for format in crate::config::format_names() {
        assert!(formats.iter().any(|f| f == format), "{format}");
    }
}

#[test]
fn muge_captions_name_pictures_of_a_table() {
    // Bytes whose base64 differs between the alphabets.
    let (first, second) = (b"\xff\xd8\xff\xfb\xef\xbe".as_slice(), b"second".as_slice());
    let lines = "{\"image_id\": \"007c720f\", \"text\": [\"性感名媛蕾丝裙\", \"尽显优雅气质\"]}\n{\"image_id\": \"8cf9\", \"text\": \"男女童短裤\"}\n";
    let read = records(
        "muge-caption",
        &[
            ("ECommerce-IC/IC_train.jsonl", lines.as_bytes()),
            (
                "ECommerce-IC/IC_train.tsv",
                &table(&[("8cf9", second), ("007c720f", first)], &URL_SAFE),
            ),
        ],
    );
    assert_eq!(read[0].captions, ["性感名媛蕾丝裙", "尽显优雅气质"]);
    assert_eq!(
        (read[0].id.as_str(), first_picture(&read[0])),
        ("007c720f", first)
    );
    assert_eq!(
        (read[1].captions.len(), first_picture(&read[1])),
        (1, second)
    );
}

#[test]
fn muge_text_to_image_joins_two_tables() {
    let read = records(
        "muge-t2i",
        &[
            (
                "ECommerce-T2I/T2I_train.text.tsv",
                "8cf9\t男女童纯棉短裤2021夏季新款\na1\t陶瓷 杯子\n".as_bytes(),
            ),
            (
                "ECommerce-T2I/T2I_train.img.tsv",
                &table(&[("8cf9", b"1"), ("a1", b"2")], &STANDARD),
            ),
        ],
    );
    assert_eq!(read[1].captions, ["陶瓷 杯子"]);
    assert_eq!(
        (first_picture(&read[0]), first_picture(&read[1])),
        (&b"1"[..], &b"2"[..])
    );
}

#[test]
fn muge_queries_become_a_record_for_each_picture() {
    let lines = "{\"query_id\": 8426, \"query_text\": \"胖妹妹松紧腰长裤\", \"item_ids\": [42967, 1000002]}\n{\"query_id\": 8427, \"query_text\": \"大码长款棉麻女衬衫\"}\n";
    let pictures = table(
        &[
            ("1000002", &png(3, 3, 9)),
            ("42967", &png(4, 4, 8)),
            ("7", b"x"),
        ],
        &STANDARD,
    );
    let dir = folder(&[
        (
            "Multimodal_Retrieval/MR_train_queries.jsonl",
            lines.as_bytes(),
        ),
        ("Multimodal_Retrieval/MR_train_imgs.tsv", &pictures),
    ]);
    let config = block("muge-retrieval");
    let mut reader = open(&config, dir.path()).expect("opens");
    let read: Vec<Record> = std::iter::from_fn(|| reader.next())
        .map(|item| item.unwrap_or_else(|bad| panic!("{bad:?}")))
        .collect();
    let ids: Vec<&str> = read.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(ids, ["42967", "1000002"]);
    assert!(
        read.iter()
            .all(|record| record.captions == ["胖妹妹松紧腰长裤"])
    );
    assert_eq!(first_picture(&read[1]), png(3, 3, 9));
    let skipped = reader.skipped();
    assert_eq!(
        (
            skipped["line_without_records"],
            skipped["picture_without_line"]
        ),
        (1, 1)
    );
    let whole = crate::testing::config(
        dir.path(),
        SourceConfig {
            held_out: 0.0,
            ..config
        },
    );
    let summary = prepare(&whole, dir.path()).expect("prepares");
    assert_eq!(summary.sources[0].records, 2);
    assert_eq!(summary.config.sources[0].each.as_deref(), Some("item_ids"));
}

#[test]
fn chinese_clip_and_ofa_have_their_own_forms() {
    let read = records(
        "chinese-clip",
        &[
            ("Flickr30k-CN/train_texts.jsonl", "{\"text_id\": 8428, \"text\": \"高级感托特包斜挎\", \"image_ids\": [1076345, 517602]}\n".as_bytes()),
            ("Flickr30k-CN/train_imgs.tsv", &table(&[("1076345", b"a"), ("517602", b"b")], &STANDARD)),
        ],
    );
    assert_eq!(read.len(), 2);
    assert_eq!(first_picture(&read[1]), b"b");
    let line = format!(
        "162365\t12455\t太阳落在树上\tsky&&tree\t{}\n",
        STANDARD.encode(b"sun")
    );
    let read = records(
        "ofa-caption",
        &[("caption_data/caption_train.tsv", line.as_bytes())],
    );
    assert_eq!(
        (read[0].id.as_str(), first_picture(&read[0])),
        ("12455", &b"sun"[..])
    );
    assert_eq!(read[0].captions, ["太阳落在树上"]);
}

#[test]
fn captions_of_folders_are_joined_by_name_and_picked_by_the_split() {
    let read = records(
        "flickr8k-cn",
        &[
            ("Flicker8k_Dataset/667626_18933d713e.jpg", b"1"),
            ("Flicker8k_Dataset/3637013_c675de7705.jpg", b"2"),
            ("flickr8kcn/data/flickr8kzhc.caption.txt", "667626_18933d713e.jpg#zhc#0 一个穿着泳装的女人躺在海水里。\n3637013_c675de7705.jpg#zhc#0 一对恋人在公园河边拥抱。\n667626_18933d713e.jpg#zhc#1 一个女人。\n".as_bytes()),
            ("flickr8kcn/data/flickr8ktrain.txt", b"667626_18933d713e\n"),
        ],
    );
    assert_eq!(read.len(), 1);
    assert_eq!(
        read[0].captions,
        ["一个穿着泳装的女人躺在海水里。", "一个女人。"]
    );
    assert_eq!(first_picture(&read[0]), b"1");
    let read = records(
        "coco-cn",
        &[
            ("train2014/COCO_train2014_000000000101.jpg", b"1"),
            ("val2014/COCO_val2014_000000000103.jpg", b"2"),
            ("coco-cn-version1805v1.1/imageid.human-written-caption.txt", "COCO_train2014_000000000101#0\t一只猫坐在沙发上\nCOCO_val2014_000000000103#0\t城市 夜景\nCOCO_val2014_000000000103#1\t夜晚的街道\n".as_bytes()),
            ("coco-cn-version1805v1.1/coco-cn_train.txt", b"COCO_val2014_000000000103\nCOCO_train2014_000000000101\n"),
        ],
    );
    assert_eq!(read.len(), 2);
    assert_eq!(read[1].captions, ["城市 夜景", "夜晚的街道"]);
    let read = records(
        "flickr30k-cn",
        &[
            ("flickr30k-images/1000092795.jpg", b"1"),
            (
                "flickr30k_cn_train.txt",
                "1000092795.jpg#0\t两个年轻人在看自己的手\n1000092795.jpg#1 两个男人\n".as_bytes(),
            ),
        ],
    );
    assert_eq!(read[0].captions, ["两个年轻人在看自己的手", "两个男人"]);
}

#[test]
fn ai_challenger_and_fm_iqa_find_their_pictures_in_folders() {
    let caption = json!([{"url": "http://m4.biz.itc.cn/1.jpg", "image_id": "8f00f3d0.jpg", "caption": ["房间里有三个戴着帽子的男人", "三个男人"]}]);
    let read = records(
        "ai-challenger",
        &[
            (
                "ai_challenger_caption_train_20170902/caption_train_annotations_20170902.json",
                caption.to_string().as_bytes(),
            ),
            (
                "ai_challenger_caption_train_20170902/caption_train_images_20170902/8f00f3d0.jpg",
                b"1",
            ),
        ],
    );
    assert_eq!(
        (read[0].captions.len(), first_picture(&read[0])),
        (2, &b"1"[..])
    );
    let questions = json!({
        "train": [{"question_id": "1", "image_id": "25", "Question": "这是什么动物？", "Answer": "长颈鹿。"},
                  {"question_id": "2", "image_id": 30, "Question": "花瓶在哪？", "Answer": "在桌上。"}],
        "val": [{"question_id": "3", "image_id": "42", "Question": "？", "Answer": "。"}]});
    let questions = questions.to_string();
    let files: [(&str, &[u8]); 4] = [
        ("FM-IQA.json", questions.as_bytes()),
        ("train2014/COCO_train2014_000000000025.jpg", b"1"),
        ("train2014/COCO_train2014_000000000030.jpg", b"2"),
        ("val2014/COCO_val2014_000000000042.jpg", b"3"),
    ];
    let read = records("fm-iqa", &files);
    assert_eq!(read.len(), 2);
    assert_eq!(
        (
            read[0].qa[0].question.as_str(),
            read[0].qa[0].answer.as_str()
        ),
        ("这是什么动物？", "长颈鹿。")
    );
    assert_eq!(
        (first_picture(&read[0]), first_picture(&read[1])),
        (&b"1"[..], &b"2"[..])
    );
    let dir = folder(&files);
    let val = SourceConfig {
        each: Some("val".to_string()),
        image_name: Some("COCO_val2014_{:012}.jpg".to_string()),
        images: Fields::from(["val2014"]),
        ..block("fm-iqa")
    };
    let (read, _) = self::read(&val, dir.path());
    assert_eq!((read.len(), first_picture(&read[0])), (1, &b"3"[..]));
}

#[test]
fn reading_sets_give_a_passage_with_its_questions() {
    let squad = json!({"version": "v1.0", "data": [{"id": "TRIAL_800", "title": "泡泡战士", "paragraphs": [
        {"id": "TRIAL_800", "context": "由韩国Nexon开发与发行。", "qas": [
            {"id": "TRIAL_800_QUERY_0", "question": "谁开发的？", "answers": [{"text": "Nexon", "answer_start": 3}, {"text": "韩国Nexon", "answer_start": 1}]},
            {"id": "TRIAL_800_QUERY_1", "question": "哪国的？", "answers": [{"text": "韩国", "answer_start": 1}]}]}]}]});
    for (name, path) in [
        ("cmrc2018", "squad-style-data/cmrc2018_train.json"),
        ("drcd", "DRCD_training.json"),
        ("dureader-robust", "dureader_robust-data/train.json"),
    ] {
        let read = records(name, &[(path, squad.to_string().as_bytes())]);
        assert_eq!((read.len(), read[0].id.as_str()), (1, "TRIAL_800"));
        assert_eq!(read[0].text.as_deref(), Some("由韩国Nexon开发与发行。"));
        let answers: Vec<&str> = read[0].qa.iter().map(|qa| qa.answer.as_str()).collect();
        assert_eq!(answers, ["Nexon", "韩国Nexon", "韩国"], "{name}");
    }
    let original = json!([{"context_id": "TRIAL_800", "context_text": "文", "title": "题", "qas": [{"query_text": "问？", "query_id": "Q", "answers": ["答", "答"]}]}]);
    let read = records(
        "cmrc2018-original",
        &[("data/cmrc2018_train.json", original.to_string().as_bytes())],
    );
    assert_eq!((read[0].text.as_deref(), read[0].qa.len()), (Some("文"), 1));
    let dureader = json!({"question_id": 186358, "question_type": "YES_NO", "question": "可以带吃的进去吗", "fact_or_opinion": "FACT",
        "documents": [{"is_selected": true, "title": "甲", "paragraphs": ["一段", "二段"]}, {"is_selected": false, "title": "乙", "paragraphs": ["别的"]}],
        "answers": ["完全密封的可以。", "可以的。"], "yesno_answers": ["Depends", "Yes"]});
    let line = dureader.to_string();
    let read = records(
        "dureader",
        &[
            ("raw/trainset/search.train.json", line.as_bytes()),
            ("raw/trainset/zhidao.train.json", line.as_bytes()),
        ],
    );
    assert_eq!(
        (read.len(), read[0].id.as_str(), read[0].qa.len()),
        (2, "186358", 2)
    );
    assert_eq!(read[0].text.as_deref(), Some("一段\n二段"));
}

#[test]
fn poems_have_their_title_and_lines_whatever_they_are_called() {
    let tang = json!([{"author": "太宗皇帝", "paragraphs": ["秦川雄帝宅，函谷壯皇居。", "綺殿千尋起，離宮百雉餘。"], "title": "帝京篇十首 一", "id": "3ad6d468"}]);
    let ci =
        json!([{"author": "和岘", "paragraphs": ["气和玉烛，睿化著鸿明。"], "rhythmic": "导引"}]);
    let shijing = json!([{"title": "关雎", "chapter": "国风", "section": "周南", "content": ["关关雎鸠，在河之洲。"]}]);
    let read = records(
        "chinese-poetry",
        &[
            ("全唐诗/poet.tang.0.json", tang.to_string().as_bytes()),
            ("宋词/ci.song.0.json", ci.to_string().as_bytes()),
            ("诗经/shijing.json", shijing.to_string().as_bytes()),
        ],
    );
    let texts: Vec<&str> = read
        .iter()
        .filter_map(|record| record.text.as_deref())
        .collect();
    assert_eq!(
        texts[0],
        "帝京篇十首 一\n秦川雄帝宅，函谷壯皇居。\n綺殿千尋起，離宮百雉餘。"
    );
    assert_eq!(
        texts[1..],
        ["导引\n气和玉烛，睿化著鸿明。", "关雎\n关关雎鸠，在河之洲。"]
    );
    assert_eq!(
        (read[0].id.as_str(), read[1].id.as_str()),
        ("3ad6d468", "ci.song.0:1")
    );
}

#[test]
fn webdataset_pairs_members_of_a_tar() {
    let tar = crate::tarball::tests::build(&[
        ("1.jpg", b"a"),
        ("1.json", r#"{"captions": ["甲", "乙"]}"#.as_bytes()),
        ("2.jpg", b"b"),
        ("2.txt", "丙".as_bytes()),
    ]);
    let read = records("webdataset", &[("shards/0.tar", &tar)]);
    assert_eq!((read[0].captions.len(), read[1].captions.len()), (2, 1));
    assert_eq!(first_picture(&read[1]), b"b");
}

#[test]
fn broken_tables_and_cells_are_bad_records_and_the_rest_is_read() {
    let mut text = "name\ttext\na\t甲\nb\t乙\nc\n".as_bytes().to_vec();
    text.extend(b"\xe4\n");
    let mut pictures = table(&[("a", b"1"), ("a", b"2")], &STANDARD);
    pictures.extend(b"no tab here\n\xff\xfe\tAAAA\nb\t!!!\n");
    let dir = folder(&[("t.tsv", &text), ("p.tsv", &pictures)]);
    let config = SourceConfig {
        captions: Fields::from(["text"]),
        image: Fields::from(["name"]),
        images: Fields::from(["p.tsv"]),
        ..source("s", Kind::Tsv, "t.tsv")
    };
    let (read, bad) = read(&config, dir.path());
    let reasons: Vec<&str> = bad.iter().map(|bad| bad.reason).collect();
    assert_eq!(reasons, ["duplicate", "field", "field", "field", "utf8"]);
    assert!(bad[0].where_.ends_with("p.tsv:2"), "{}", bad[0].where_);
    assert!(
        bad[3].detail.contains("1 cells, expected 2 (name, text)"),
        "{}",
        bad[3].detail
    );
    assert_eq!((read.len(), first_picture(&read[0])), (2, &b"2"[..]));
    assert!(matches!(&read[1].images[0], Picture::Absent(name) if name.contains("no base64")));
    let missing = SourceConfig {
        images: Fields::from(["q.tsv"]),
        ..config
    };
    let error = open(&missing, dir.path()).err().expect("an error");
    assert!(error.to_string().contains("q.tsv"), "{error}");
}

#[test]
fn a_file_without_the_named_records_is_bad_and_names_stay_inside_their_folder() {
    let dir = folder(&[
        ("a.json", br#"{"data": []}"#),
        ("b.jsonl", br#"{"c": "x", "i": "../secret"}"#),
        ("in/x", b""),
        ("secret.jpg", b"s"),
    ]);
    let config = SourceConfig {
        path: Fields::from(["a.json"]),
        ..block("cmrc2018")
    };
    let (_, bad) = read(&config, dir.path());
    assert!(bad.len() == 1 && bad[0].detail.contains("each"), "{bad:?}");
    let config = SourceConfig {
        captions: Fields::from(["c"]),
        image: Fields::from(["i"]),
        images: Fields::from(["in"]),
        ..source("s", Kind::Jsonl, "b.jsonl")
    };
    let (read, _) = read(&config, dir.path());
    assert!(matches!(read[0].images[0], Picture::Absent(_)));
}

#[test]
fn the_real_sets_are_read_whole() {
    let Some(data) = shared_data("the_real_sets_are_read_whole") else {
        return;
    };
    let reading = |path: &str| SourceConfig {
        text: Fields::from(["context"]),
        question: Some("qas.question".to_string()),
        answer: Some("qas.answers".to_string()),
        ..source("qa", Kind::Jsonl, path)
    };
    let named = |format: &str, id: Option<&str>, path: &str| SourceConfig {
        format: Some(format.to_string()),
        id: id.map(str::to_string),
        ..source("s", Kind::World, path)
    };
    let cases = [
        (reading("qa/cmrc2018-dev.jsonl"), 848),
        (reading("qa/drcd-dev-traditional.jsonl"), 1000),
        (named("dureader", Some("id"), "qa/dureader-demo.jsonl"), 98),
        (
            SourceConfig {
                kind: Kind::Jsonl,
                text: Fields::from(["title", "lines"]),
                ..named("chinese-poetry", None, "poetry/poems.jsonl")
            },
            28_384,
        ),
        (
            SourceConfig {
                captions: Fields::from(["captions"]),
                ..source("f", Kind::Webdataset, "flickr8k-cn/val-00000.tar")
            },
            500,
        ),
    ];
    for (config, n) in cases {
        let (records, bad) = read(&config, &data);
        let path = config.path.iter().next().unwrap_or_default();
        assert_eq!((records.len(), bad.len()), (n, 0), "{path}");
        let is_whole =
            |r: &&Record| r.text.is_some() || (!r.captions.is_empty() && !r.images.is_empty());
        // Three questions of DuReader's demo have no answer and no page that one was written from.
        let is_dureader = config.format.as_deref() == Some("dureader");
        let n_bare = if is_dureader { 3 } else { 0 };
        assert_eq!(
            records.iter().filter(is_whole).count(),
            n - n_bare,
            "{path}"
        );
        if config.question.is_some() || is_dureader {
            let n_asked = records
                .iter()
                .filter(|record| !record.qa.is_empty())
                .count();
            assert_eq!(n_asked, n - n_bare, "{path}");
        }
    }
}
