//! A folder of input with everything in it once: good texts, copies, near copies, short ones, damage, pages with pictures.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use m6_image::Rgb8;
use m6_store::rng::Key;

use crate::build::config::{Config, Form, Modality, Paths, SourceConfig};
use crate::build::{Options, Progress, Slice, Summary, run};
use crate::remote::Stores;
use crate::{Result, sources};

/// A text of `n` sentences that share next to nothing with those of another seed.
pub fn text(seed: u64, n: usize) -> String {
    let mut stream = Key::new(seed).child("text").stream();
    let mut out = String::new();
    for at in 0..n {
        for _ in 0..18 {
            // Any of the first thousand characters of the block; no two texts have five of them in a row in common.
            out.push(char::from_u32(0x4e00 + stream.below(1000) as u32).expect("a character"));
        }
        out.push_str(if at % 4 == 3 { "。\n" } else { "。" });
    }
    out.trim_end().to_string()
}

/// A picture of noise in a few colours.
pub fn picture(seed: u64) -> Vec<u8> {
    let mut stream = Key::new(seed).child("picture").stream();
    let (width, height) = (160, 120);
    let mut data = Vec::new();
    let blocks: Vec<[u8; 3]> = (0..48)
        .map(|_| [0; 3].map(|_: u8| stream.below(256) as u8))
        .collect();
    for y in 0..height {
        for x in 0..width {
            let block = blocks[(y / 20) * 8 + x / 20];
            data.extend(block.map(|channel| channel.saturating_add(stream.below(24) as u8)));
        }
    }
    let picture = Rgb8::from_hwc(width, height, data).expect("a picture");
    m6_image::encode_png(&picture, &[]).expect("encodes")
}

/// Writes a file, its folders made.
pub fn put(path: &Path, bytes: &[u8]) {
    let parent = path.parent().expect("a folder");
    m6_store::atomic::create_dir(parent).expect("a folder");
    m6_store::atomic::write_file(path, bytes).expect("written");
}

fn row(id: usize, url: &str, text: &str) -> String {
    let value = serde_json::json!({"id": id.to_string(), "url": url, "title": "一个足够长的标题", "text": text});
    format!("{value}\n")
}

/// Input and configuration in a fresh folder.
pub fn input() -> (tempfile::TempDir, Config) {
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path().join("in");
    let mut lines = String::new();
    for n in 0..40 {
        let url = format!("http://h{}.cn/{n}", n % 5);
        lines.push_str(&row(n, &url, &text(n as u64, 8)));
    }
    let copy = text(3, 8);
    lines.push_str(&row(40, "http://x.cn/copy", &copy));
    let near = copy.replacen('。', "！", 1);
    lines.push_str(&row(41, "http://x.cn/near", &near));
    lines.push_str(&row(42, "http://h0.cn/0", &text(900, 8)));
    lines.push_str(&row(43, "http://x.cn/short", "太短了。"));
    lines.push_str("{\"id\": damaged}\n");
    put(&root.join("a.jsonl"), lines.as_bytes());
    for n in 0..6u64 {
        let menu = "<p>首页 新闻 关于我们 联系方式 版权说明</p>";
        let article = text(500 + n, 8).replace('\n', "</p><p>");
        let image = if n < 4 {
            format!(
                "<figure><img src='/img/{n}.png'><figcaption>一只在树下休息的小花猫{n}</figcaption></figure>"
            )
        } else {
            String::new()
        };
        let page = format!(
            "<html><head><meta charset=utf-8><title>第{n}篇足够长的文章</title></head><body><article>{menu}<p>{article}</p>{image}</article></body></html>"
        );
        put(&root.join(format!("pages/{n}.html")), page.as_bytes());
        // The last two pictures are one.
        put(&root.join(format!("img/{n}.png")), &picture(n.min(2)));
    }
    put(&root.join("pages/note.txt"), b"not a page");
    (dir, config(&root))
}

fn config(root: &Path) -> Config {
    let fields = sources::Fields {
        url: Some("url".to_string()),
        title: Some("title".to_string()),
        text: vec!["text".to_string()],
        ..sources::Fields::default()
    };
    let rows = SourceConfig {
        name: "rows".to_string(),
        category: Some("Forum discussion".to_string()),
        path: Paths::from(["a.jsonl"]),
        fields,
        licence: "test".to_string(),
        ..SourceConfig::default()
    };
    let pages = SourceConfig {
        name: "pages".to_string(),
        kind: Form::Pages,
        path: Paths::from(["pages"]),
        pictures_from: Paths::from(["."]),
        modality: vec![Modality::Text, Modality::Pairs, Modality::Documents],
        ..SourceConfig::default()
    };
    let mut config = Config {
        root: root.to_owned(),
        sources: vec![rows, pages],
        ..Config::default()
    };
    config.rules.pack = "m6".to_string();
    config.mix.held_out = 0.1;
    config
}

/// Builds without being disturbed.
pub fn build(config: &Config, out: &Path) -> Summary {
    build_with(config, out, None, &mut |_| {}).expect("builds")
}

/// Builds, or one slice of it.
pub fn build_with(
    config: &Config,
    out: &Path,
    slice: Option<Slice>,
    watch: &mut (dyn FnMut(Progress) + Send),
) -> Result<Summary> {
    let options = Options {
        mirror: None,
        stores: &Stores::default(),
        slice,
        stop: &AtomicBool::new(false),
    };
    run(config, out, &options, watch)
}

/// Where output goes beside the input.
pub fn out(dir: &tempfile::TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}
