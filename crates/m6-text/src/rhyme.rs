//! Rhyme and tone of modern Mandarin, from the readings of the crate `pinyin` (MIT; its table is that of pinyin-data).
//!
//! Groups are the 14 of Zhonghua Xinyun (2005). Old verse was made for the sounds of its own time, in which other characters rhyme and
//! the entering tone still counts as oblique: figures by this table are about modern reading.

use pinyin::ToPinyinMulti;

/// What a character may sound like: bit sets over all its readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sound {
    /// Bit `g - 1` for group `g` of the 14.
    pub groups: u16,
    /// Some reading has tone 1 or 2.
    pub level: bool,
    /// Some reading has tone 3 or 4.
    pub oblique: bool,
}

/// The readings of a character; `None` when the table does not have it.
pub fn sound(c: char) -> Option<Sound> {
    let readings = c.to_pinyin_multi()?;
    let mut sound = Sound::default();
    for reading in readings {
        if let Some(group) = group(reading.plain()) {
            sound.groups |= 1 << (group - 1);
        }
        match reading.with_tone_num_end().chars().last() {
            Some('1' | '2') => sound.level = true,
            Some('3' | '4') => sound.oblique = true,
            _ => {}
        }
    }
    Some(sound)
}

/// The group, 1 to 14, of a syllable without its tone.
fn group(syllable: &str) -> Option<u8> {
    let initials = "bpmfdtnlgkhjqxzcsryw";
    let last = syllable.trim_start_matches(|c| initials.contains(c));
    let initial = &syllable[..syllable.len() - last.len()];
    Some(match last {
        "a" | "ia" | "ua" => 1,
        "e" if initial == "y" => 3,
        "o" | "uo" | "e" => 2,
        "ie" | "ue" | "ve" | "üe" | "ê" => 3,
        "ai" | "uai" => 4,
        "ei" | "ui" => 5,
        "ao" | "iao" => 6,
        "ou" | "iu" => 7,
        "an" | "ian" | "uan" | "van" | "üan" => 8,
        "en" | "in" | "un" | "vn" | "ün" => 9,
        "ang" | "iang" | "uang" => 10,
        "eng" | "ing" | "ong" | "iong" => 11,
        "i" if matches!(initial, "zh" | "ch" | "sh" | "r" | "z" | "c" | "s") => 13,
        "i" | "er" | "v" | "ü" => 12,
        "u" if matches!(initial, "j" | "q" | "x" | "y") => 12,
        "u" => 14,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(c: char, expected: u8, level: bool) {
        let sound = sound(c).expect("in the table");
        assert!(sound.groups & (1 << (expected - 1)) != 0, "{c}: {sound:?}");
        assert!(
            if level { sound.level } else { sound.oblique },
            "{c}: {sound:?}"
        );
    }

    #[test]
    fn characters_fall_into_their_groups() {
        let words = "花波月来飞高楼山春霜风衣诗湖";
        for (i, c) in words.chars().enumerate() {
            check(c, i as u8 + 1, c != '月');
        }
        for (c, group) in [
            ('叶', 3),
            ('鱼', 12),
            ('儿', 12),
            ('中', 11),
            ('歌', 2),
            ('水', 5),
            ('五', 14),
        ] {
            check(c, group, matches!(c, '鱼' | '儿' | '中' | '歌'));
        }
        assert_eq!(sound('a'), None);
    }

    #[test]
    fn every_reading_counts() {
        let sound = sound('长').expect("in the table");
        assert!(sound.level && sound.oblique, "chang2 and zhang3");
    }
}
