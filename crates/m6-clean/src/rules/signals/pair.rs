//! The numbers of a picture and of a picture with its caption.

use crate::rules::Assets;
use crate::rules::chars::{Class, class};
use crate::rules::columns::{columns, share};

use super::n_visible;

/// Endings that make a caption a file name.
const EXTENSIONS: &[&str] = &[
    ".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".svg", ".heic", ".psd",
];
/// What cameras, phones and programs call a picture; a caption that is one of these and a number says nothing.
const STEMS: &[&str] = &[
    "img",
    "image",
    "dsc",
    "dscn",
    "dscf",
    "pic",
    "picture",
    "photo",
    "pano",
    "screenshot",
    "wechat image",
    "mmexport",
    "untitled",
    "图片",
    "图像",
    "照片",
    "截图",
    "屏幕截图",
    "截屏",
    "微信图片",
    "微信截图",
    "qq图片",
    "qq截图",
    "未标题",
    "未命名",
    "新建",
];

columns! {
    /// The numbers of one picture as its header gives them; what needs pixels is filled in by whoever decodes them.
    ImageSignals {
        /// Width, pixels.
        image_width: u64,
        /// Height, pixels.
        image_height: u64,
        /// Area, pixels.
        image_pixels: u64,
        /// The shorter side, pixels.
        image_min_side: u64,
        /// The longer side, pixels.
        image_max_side: u64,
        /// The longer side over the shorter one, at least 1; 0 for an empty picture.
        image_aspect: f64,
        /// Bytes of the file.
        image_bytes: u64,
        /// Sharpness, as the decoder measures it.
        image_sharpness: Option<f64>,
        /// Share of pixels of the most frequent colour.
        image_flat_share: Option<f64>,
        /// 1 when a QR code fills the picture.
        image_is_qr: Option<u64>,
    }
}

columns! {
    /// The numbers of one picture with one caption.
    PairSignals {
        /// Characters of the caption without white space.
        caption_chars: u64,
        /// Chinese characters of the caption.
        caption_cjk: u64,
        /// Share of Chinese characters.
        caption_cjk_ratio: f64,
        /// How often this caption stands in the corpus, this time included.
        caption_repeats: u64,
        /// 1 when the caption is a file name or a camera's number.
        caption_is_file_name: u64,
        /// Entries of lists of tier 1 in the caption.
        caption_hits_1: u64,
        /// Entries of lists of tier 2 in the caption.
        caption_hits_2: u64,
        /// Entries of lists of tier 3 in the caption.
        caption_hits_3: u64,
        /// Picture and caption agree to this degree, as the project's own model or given vectors say.
        match_score: Option<f64>,
    }
}

impl ImageSignals {
    /// The numbers that a header gives: sides in pixels, and the file's size.
    pub fn of(width: u32, height: u32, n_bytes: u64) -> Self {
        let (width, height) = (u64::from(width), u64::from(height));
        let (min_side, max_side) = (width.min(height), width.max(height));
        Self {
            image_width: width,
            image_height: height,
            image_pixels: width * height,
            image_min_side: min_side,
            image_max_side: max_side,
            image_aspect: share(max_side, min_side),
            image_bytes: n_bytes,
            ..Self::default()
        }
    }
}

impl PairSignals {
    /// Measures a caption that stands `n_repeats` times in the corpus.
    pub fn with(assets: &Assets, caption: &str, n_repeats: u64) -> Self {
        let n_chars = n_visible(caption);
        let n_cjk = caption.chars().filter(|c| class(*c) == Class::Han).count() as u64;
        let [caption_hits_1, caption_hits_2, caption_hits_3] = assets.lists.count(caption);
        Self {
            caption_chars: n_chars,
            caption_cjk: n_cjk,
            caption_cjk_ratio: share(n_cjk, n_chars),
            caption_repeats: n_repeats,
            caption_is_file_name: u64::from(is_file_name(caption)),
            caption_hits_1,
            caption_hits_2,
            caption_hits_3,
            match_score: None,
        }
    }
}

/// True when a caption is a picture's file name, or a program's word for "picture" with nothing but a number.
pub fn is_file_name(caption: &str) -> bool {
    let caption = caption.trim().to_lowercase();
    if EXTENSIONS.iter().any(|ending| caption.ends_with(ending)) {
        return true;
    }
    let is_number = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '_' | '-' | '(' | ')' | ' ' | '.'))
    };
    let numbered = STEMS
        .iter()
        .any(|stem| caption.strip_prefix(stem).is_some_and(is_number));
    // Hashes and camera numbers: no blank, no Chinese, digits in it.
    let is_code = caption.chars().count() >= 8
        && caption
            .chars()
            .all(|c| c.is_ascii_hexdigit() || matches!(c, '_' | '-'))
        && caption.contains(|c: char| c.is_ascii_digit());
    numbered || is_code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_told_from_captions() {
        for (caption, expected) in [
            ("IMG_20200101.JPG", true),
            ("一只猫.png", true),
            ("DSC0042", true),
            ("微信图片_20190807120000", true),
            ("图片1", true),
            ("图片", true),
            ("d41d8cd98f00b204", true),
            ("2020-01-01", true),
            ("图片来自新华社", false),
            ("一只白猫", false),
            ("Image of a cat", false),
            ("", false),
            ("decade", false),
        ] {
            assert_eq!(is_file_name(caption), expected, "{caption}");
        }
    }

    #[test]
    fn sides_give_area_and_aspect() {
        let image = ImageSignals::of(100, 50, 7);
        assert_eq!(
            (
                image.image_pixels,
                image.image_min_side,
                image.image_max_side
            ),
            (5000, 50, 100)
        );
        assert_eq!((image.image_aspect, image.image_bytes), (2.0, 7));
        assert_eq!(ImageSignals::of(0, 5, 0).image_aspect, 0.0);
        assert_eq!(
            ImageSignals::of(u32::MAX, u32::MAX, 0).image_pixels,
            u64::from(u32::MAX) * u64::from(u32::MAX)
        );
    }

    #[test]
    fn a_caption_is_measured() {
        let pair = PairSignals::with(&Assets::default(), "一只 cat", 3);
        assert_eq!(
            (pair.caption_chars, pair.caption_cjk, pair.caption_repeats),
            (5, 2, 3)
        );
        assert_eq!(
            (pair.caption_cjk_ratio, pair.caption_is_file_name),
            (0.4, 0)
        );
    }
}
