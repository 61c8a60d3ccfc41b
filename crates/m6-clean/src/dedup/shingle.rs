//! Character shingles of a text, as 64-bit hashes (ours; the paper does not say how it removed duplicates).
//!
//! White space is taken out first, so that a text that was wrapped or indented again has the same shingles. Chinese has no blanks
//! between words; windows of characters need no word cutter and are the shingles of every measurement in this project.

/// Longest shingle in characters: six of 21 bits fit a 128-bit word.
pub const MAX_SHINGLE: usize = 6;

/// Bits of one character; `char::MAX` plus one fits.
const CHAR_BITS: usize = 21;

/// Arbitrary words without structure (digits of the golden ratio, of the square root of 2 and of 3).
const SALT: [u64; 3] = [
    0x9E37_79B9_7F4A_7C15,
    0x6A09_E667_F3BC_C909,
    0xBB67_AE85_84CA_A73B,
];

/// Puts `text` without its white space (Unicode `White_Space`) into `into`, which is emptied first.
pub fn strip(text: &str, into: &mut String) {
    into.clear();
    into.reserve(text.len());
    for word in text.split_whitespace() {
        into.push_str(word);
    }
}

/// Puts the hash of every window of `k` characters into `into`, in order and with repeats; `into` is emptied first. Returns the
/// number of characters.
///
/// A text shorter than `k` has one window, the whole; an empty text has none. `k` is held within 1..=[`MAX_SHINGLE`].
pub fn windows(stripped: &str, k: usize, into: &mut Vec<u64>) -> usize {
    into.clear();
    let k = k.clamp(1, MAX_SHINGLE);
    let mask = u128::MAX >> (128 - CHAR_BITS * k);
    let mut window = 0u128;
    let mut n_chars = 0;
    for c in stripped.chars() {
        // Plus one, so that a leading NUL is not the same as no character.
        window = ((window << CHAR_BITS) | u128::from(u32::from(c) + 1)) & mask;
        n_chars += 1;
        if n_chars >= k {
            into.push(mix(window));
        }
    }
    if 0 < n_chars && n_chars < k {
        into.push(mix(window));
    }
    n_chars
}

/// Two rounds of multiply and fold: every bit of the window reaches every bit of the hash.
#[inline]
fn mix(window: u128) -> u64 {
    let (low, high) = (window as u64, (window >> 64) as u64);
    let once = fold(low ^ SALT[0], high ^ SALT[1]);
    fold(once ^ SALT[2], SALT[0])
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

/// The distinct shingles of one text, in ascending order of hash.
///
/// Two different shingles of the texts compared share a 64-bit hash with a chance of about one in 10^13 a pair of pages, so the
/// Jaccard similarity is called exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shingles(Vec<u64>);

impl Shingles {
    /// The distinct shingles of `k` characters of a text, white space left out.
    pub fn of(text: &str, k: usize) -> Self {
        let mut stripped = String::new();
        strip(text, &mut stripped);
        let mut hashes = Vec::with_capacity(stripped.len() / 2);
        windows(&stripped, k, &mut hashes);
        hashes.sort_unstable();
        hashes.dedup();
        // Many are held at a time, and a character of three bytes was given room for more than one.
        hashes.shrink_to_fit();
        Self(hashes)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text had no character but white space.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The distinct shingles in both over those in either, 0 to 1; two empty texts are alike.
    pub fn jaccard(&self, other: &Self) -> f64 {
        let (a, b) = (&self.0, &other.0);
        let (mut i, mut j, mut n_both) = (0, 0, 0usize);
        // Without branches on the data: which of the two is smaller cannot be predicted.
        while i < a.len() && j < b.len() {
            let (x, y) = (a[i], b[j]);
            n_both += usize::from(x == y);
            i += usize::from(x <= y);
            j += usize::from(y <= x);
        }
        let n_either = a.len() + b.len() - n_both;
        if n_either == 0 {
            return 1.0;
        }
        n_both as f64 / n_either as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn naive(text: &str, k: usize) -> BTreeSet<String> {
        let chars: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
        if chars.len() < k {
            let whole: String = chars.iter().collect();
            return BTreeSet::from_iter((!whole.is_empty()).then_some(whole));
        }
        chars.windows(k).map(|w| w.iter().collect()).collect()
    }

    fn check(a: &str, b: &str, expected: f64) {
        let got = Shingles::of(a, 5).jaccard(&Shingles::of(b, 5));
        assert_eq!(got, expected, "{a:?} {b:?}");
    }

    #[test]
    fn jaccard_of_short_texts() {
        check("", "", 1.0);
        check(" \u{3000}\n", "", 1.0);
        check("一", "", 0.0);
        check("一二", "一二", 1.0);
        check("一二三", "一二", 0.0);
        check("\0一二", "一二", 0.0);
        check("一二三四五六", "一二三四五六", 1.0);
        check("一二三四五六", "一二三四五", 0.5);
        check("一二三 四五\u{3000}六", "一二三四\n五六", 1.0);
        check("哈哈哈哈哈哈哈哈", "哈哈哈哈哈", 1.0);
    }

    #[test]
    fn windows_count_characters_and_keep_repeats() {
        let mut hashes = Vec::new();
        assert_eq!(windows("哈哈哈哈哈哈", 5, &mut hashes), 6);
        assert_eq!(hashes.len(), 2);
        assert_eq!(hashes[0], hashes[1]);
        assert_eq!(windows("", 5, &mut hashes), 0);
        assert!(hashes.is_empty());
    }

    #[test]
    fn lengths_out_of_range_are_held_in_it() {
        let mut hashes = Vec::new();
        windows("一二三四五六七八", 99, &mut hashes);
        assert_eq!(hashes.len(), 3);
        windows("一二三", 0, &mut hashes);
        assert_eq!(hashes.len(), 3);
    }

    #[test]
    fn close_windows_have_unlike_hashes() {
        let mut n_bits = 0;
        for c in 0u32..1000 {
            n_bits += (mix(u128::from(c)) ^ mix(u128::from(c + 1))).count_ones();
        }
        let mean = f64::from(n_bits) / 1000.0;
        assert!((30.0..34.0).contains(&mean), "{mean} of 64 bits change");
    }

    proptest! {
        #[test]
        fn counts_and_jaccard_equal_those_of_sets_of_strings(a in "[一-丄 \u{0}a𠀀]{0,40}", b in "[一-丄 \u{0}a𠀀]{0,40}", k in 1usize..=6) {
            let (sa, sb) = (Shingles::of(&a, k), Shingles::of(&b, k));
            let (na, nb) = (naive(&a, k), naive(&b, k));
            prop_assert_eq!(sa.len(), na.len());
            prop_assert_eq!(sa.is_empty(), na.is_empty());
            let union = na.union(&nb).count();
            let expected = if union == 0 { 1.0 } else { na.intersection(&nb).count() as f64 / union as f64 };
            prop_assert_eq!(sa.jaccard(&sb), expected);
        }

        #[test]
        fn white_space_never_counts(text in "\\PC{0,60}") {
            let mut stripped = String::new();
            strip(&text, &mut stripped);
            prop_assert!(!stripped.contains(char::is_whitespace));
            prop_assert_eq!(Shingles::of(&text, 5), Shingles::of(&stripped, 5));
        }
    }
}
