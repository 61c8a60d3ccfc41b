//! From pixels to PNG.

use base64::Engine;

use crate::{Error, Result, Rgb8};

/// Encodes a picture as PNG with text entries (`tEXt` for ASCII, `iTXt` in UTF-8 otherwise).
///
/// The same picture and texts give the same bytes.
///
/// # Errors
/// [`Error::WrongLength`] when `data` does not fit the size, [`Error::Encode`] for an empty picture or a
/// keyword that is not 1 to 79 Latin-1 characters.
pub fn encode_png(image: &Rgb8, text: &[(&str, &str)]) -> Result<Vec<u8>> {
    let expected = 3 * image.width * image.height;
    if image.data.len() != expected {
        return Err(Error::WrongLength {
            width: image.width,
            height: image.height,
            expected,
            got: image.data.len(),
        });
    }
    let side = |side: usize| {
        u32::try_from(side).map_err(|_| Error::Encode {
            reason: format!("a side of {side} pixels"),
        })
    };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side(image.width)?, side(image.height)?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    for (keyword, content) in text {
        let (key, value) = ((*keyword).to_owned(), (*content).to_owned());
        let added = if content.is_ascii() && !content.contains('\0') {
            encoder.add_text_chunk(key, value)
        } else {
            encoder.add_itxt_chunk(key, value)
        };
        added.map_err(|error| refused(&format!("the text \"{keyword}\""), &error))?;
    }
    let mut writer = encoder.write_header().map_err(|error| {
        let what = format!(
            "{}x{} pixels with {} texts",
            image.width,
            image.height,
            text.len()
        );
        refused(&what, &error)
    })?;
    let written = writer
        .write_image_data(&image.data)
        .and_then(|()| writer.finish());
    written.map_err(|error| refused("the pixels", &error))?;
    Ok(bytes)
}

/// The picture as `data:image/png;base64,...` for self-contained pages; `data:,` (nothing) when it has no
/// pixels.
pub fn png_data_uri(image: &Rgb8) -> String {
    match encode_png(image, &[]) {
        Ok(bytes) => {
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            format!("data:image/png;base64,{text}")
        }
        Err(_) => "data:,".to_owned(),
    }
}

fn refused(what: &str, error: &png::EncodingError) -> Error {
    Error::Encode {
        reason: format!("{what}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn decoding_gives_the_picture_back(width in 1usize..20, height in 1usize..20, seed: u8) {
            let data = (0..3 * width * height).map(|at| (at as u8).wrapping_mul(seed)).collect();
            let image = Rgb8 { width, height, data };
            let bytes = encode_png(&image, &[("Title", "x")]).unwrap();
            prop_assert_eq!(decode(&bytes, &Limits::default()).unwrap(), image);
        }
    }

    #[test]
    fn texts_can_be_read_again() {
        let image = Rgb8::filled(3, 2, [1, 2, 3]);
        let bytes = encode_png(&image, &[("Software", "m6"), ("Caption", "两个红色的圆")]).unwrap();
        let reader = png::Decoder::new(std::io::Cursor::new(&bytes))
            .read_info()
            .unwrap();
        let info = reader.info();
        assert_eq!(info.uncompressed_latin1_text[0].text, "m6");
        assert_eq!(info.utf8_text[0].keyword, "Caption");
        assert_eq!(info.utf8_text[0].get_text().unwrap(), "两个红色的圆");
    }

    #[test]
    fn refusals_say_what() {
        let image = Rgb8::filled(1, 1, [0; 3]);
        let check = |image: &Rgb8, text: &[(&str, &str)], message: &str| {
            let error = encode_png(image, text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}, not: {message}");
        };
        check(&image, &[("", "x")], "text");
        check(&image, &[(&"k".repeat(80), "x")], "text");
        check(&Rgb8::filled(0, 3, [0; 3]), &[], "0x3 pixels");
        let short = Rgb8 {
            width: 2,
            height: 1,
            data: vec![0; 5],
        };
        check(&short, &[], "6 bytes, got 5");
        assert_eq!(png_data_uri(&Rgb8::filled(0, 0, [0; 3])), "data:,");
        assert!(png_data_uri(&image).starts_with("data:image/png;base64,iVBORw0KGgo"));
    }
}
