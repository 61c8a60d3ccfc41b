//! Archives that are broken, cut, or made to hurt.

use proptest::prelude::*;

use super::*;

#[test]
fn raw_damage_costs_what_is_damaged() {
    let [a, b, c] = three();
    let (na, nb) = (a.len(), b.len());
    let with = |middle: Vec<u8>| [a.clone(), middle, c.clone()].concat();
    let edit = |from: &str, to: &str| {
        let text = String::from_utf8(b.clone()).unwrap();
        assert!(text.contains(from));
        with(text.replacen(from, to, 1).into_bytes())
    };
    let at = format!("@{na}");
    let (ok_a, ok_c) = ("http://a/", "http://c/");
    check(
        "garbage",
        &with(b"garbage\r\n\r\n".to_vec()),
        &[ok_a, &at, ok_c],
    );
    check(
        "no length",
        &edit("Content-Length", "Contend-Length"),
        &[ok_a, &at, ok_c],
    );
    check("version", &edit("WARC/1.0", "WARC/?.0"), &[ok_a, &at, ok_c]);
    let long = edit(&length_of(&b), "Content-Length: 40900");
    check(
        "swallows the next",
        &long,
        &[ok_a, "http://b/!length", &at, ok_c],
    );
    let short = edit(&length_of(&b), "Content-Length: 20000");
    check("too short", &short, &[ok_a, "http://b/!length", &at, ok_c]);
    for bytes in [&long, &short] {
        match items(bytes).get(1) {
            Some(Item::Record(record)) => assert_eq!(record.payload.len(), 40_000),
            found => panic!("{found:?}"),
        }
    }
    let vast = edit(&length_of(&b), "Content-Length: 18446744073709551615");
    check("vast", &vast, &[ok_a, "http://b/!length", &at, ok_c]);
    let cut = [a.clone(), b[..nb / 2].to_vec()].concat();
    check("cut", &cut, &[ok_a, "http://b/!end_of_input", &at]);
    check(
        "cut header",
        &[a.clone(), b[..60].to_vec()].concat(),
        &[ok_a, &at],
    );
}

/// The `Content-Length` field of a record, as text.
fn length_of(record: &[u8]) -> String {
    let text = String::from_utf8_lossy(record);
    let line = text.lines().find(|line| line.starts_with("Content-Length"));
    line.unwrap().to_string()
}

#[test]
fn gzip_damage_costs_its_member() {
    let [a, b, c] = three().map(|record| gzip(&record));
    let (na, nb) = (a.len(), b.len());
    let at = format!("@{na}");
    let with = |middle: &[u8]| [a.clone(), middle.to_vec(), c.clone()].concat();
    let flip = |i: usize| {
        let mut bytes = b.clone();
        bytes[i] ^= 0x55;
        with(&bytes)
    };
    let (ok_a, ok_c) = ("http://a/", "http://c/");
    for i in [0, 1, 3, 30, nb / 2, nb - 6, nb - 1] {
        check(&format!("byte {i}"), &flip(i), &[ok_a, &at, ok_c]);
    }
    check(
        "a piece is missing",
        &with(&[&b[..500], &b[900..]].concat()),
        &[ok_a, &at, ok_c],
    );
    check("no end", &with(&b[..nb / 2]), &[ok_a, &at, ok_c]);
    check("garbage", &with(&[7; 5000]), &[ok_a, &at, ok_c]);
    check(
        "cut",
        &[a.clone(), b[..nb / 2].to_vec()].concat(),
        &[ok_a, "http://b/!end_of_input", &at],
    );
    check(
        "cut trailer",
        &[a.clone(), b[..nb - 3].to_vec()].concat(),
        &[ok_a, "http://b/!end_of_input", &at],
    );
    let page = gzip(b"<html> not a record");
    check("another thing", &with(&page), &[ok_a, &at, ok_c]);
}

#[test]
fn gzip_lengths_that_lie_are_seen() {
    let [a, b, c] = three();
    let text = String::from_utf8(b.clone()).unwrap();
    let na = gzip(&a).len();
    let at = format!("@{na}");
    for length in ["50000", "20000"] {
        let wrong = text.replacen(&length_of(&b), &format!("Content-Length: {length}"), 1);
        let bytes = [gzip(&a), gzip(wrong.as_bytes()), gzip(&c)].concat();
        let expected = ["http://a/", "http://b/!length", &at, "http://c/"];
        check(length, &bytes, &expected);
        let one = gzip(&[a.clone(), wrong.into_bytes(), c.clone()].concat());
        let found = sketch(&items(&one));
        assert_eq!(found.first().map(String::as_str), Some("http://a/"));
        assert!(found.iter().any(|item| item.starts_with('@')), "{found:?}");
    }
}

#[test]
fn zstd_damage_costs_its_frame() {
    let [a, b, c] = three().map(|record| zstd_frame(&record));
    let (na, nb) = (a.len(), b.len());
    let at = format!("@{na}");
    let mut flipped = b.clone();
    flipped[nb / 2] ^= 0x55;
    let whole = [a.clone(), b[..nb / 2].to_vec(), c.clone()].concat();
    check("no end", &whole, &["http://a/", &at, "http://c/"]);
    let found = sketch(&items(&[a.clone(), flipped, c.clone()].concat()));
    assert_eq!(found.first().map(String::as_str), Some("http://a/"));
    assert_eq!(found.last().map(String::as_str), Some("http://c/"));
}

#[test]
fn a_bomb_of_a_member_costs_the_limit_in_memory() {
    let zeros = vec![0u8; 64 << 20];
    let bomb = gzip(&[raw("http://a/", "x"), zeros].concat());
    assert!(bomb.len() < 100_000);
    let found = items(&bomb);
    assert_eq!(sketch(&found).len(), 2, "{}", sketch(&found).join(" "));
    let header = "WARC/1.0\r\nWARC-Target-URI: z\r\nContent-Length: 67108864\r\n\r\n";
    let bomb = gzip(&[header.as_bytes().to_vec(), vec![0u8; 64 << 20]].concat());
    match &items(&bomb)[..] {
        [Item::Record(record)] => {
            assert_eq!(record.payload.len(), Limits::default().payload);
            assert_eq!(record.truncated, Some(Truncation::PayloadLimit));
            assert!(record.payload.capacity() <= 4 * Limits::default().payload);
        }
        found => panic!("{}", sketch(found).join(" ")),
    }
}

#[test]
fn claims_alone_reserve_next_to_nothing() {
    let bytes = b"WARC/1.0\r\nContent-Length: 49999999\r\n\r\nabc";
    match &items(bytes)[..] {
        [Item::Record(record), Item::Damage(_)] => {
            assert_eq!(record.payload, b"abc");
            assert!(record.payload.capacity() <= 4 << 20);
        }
        found => panic!("{found:?}"),
    }
}

#[test]
fn hostile_lengths_cost_linear_time() {
    let one = b"WARC/1.0\r\nContent-Length: 999999999\r\n\r\n\r\n\r\n";
    let bytes = one.repeat(60_000);
    let found = items(&bytes);
    assert!(!found.is_empty());
}

#[test]
fn a_broken_member_is_named_the_same_however_it_is_read() {
    // Found by fuzzing: the decoder words one damage in two ways, by how much it is given at once. Here a stored block, then one
    // with a match that reaches back before the first byte.
    let text = "WARC/1.0\r\nContent-Length: 5000\r\n\r\n";
    let length = u16::try_from(text.len()).unwrap();
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0];
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&(!length).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(&[0x03, 0x5e]);
    bytes.extend_from_slice(&[0; 600]);
    let expected = Item::Damage(Damage {
        offset: 0,
        reason: "deflate: the data is damaged".into(),
    });
    assert_eq!(items(&bytes), [expected]);
}

#[test]
fn what_is_looked_at_after_damage_is_as_much_however_it_is_read() {
    // Found by fuzzing: a member whose header runs on behind what is looked at, up to one that is sound.
    let mut header = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3];
    header.extend_from_slice(&20_000_u16.to_le_bytes());
    header.extend_from_slice(&[0; 20_000]);
    let [a, _, c] = three().map(|record| gzip(&record));
    let body = &a[10..];
    let at = format!("@{}", a.len());
    let bytes = [&a, &[7; 50][..], &header, body, &c].concat();
    check("long header", &bytes, &["http://a/", &at, "http://c/"]);
    let [a, _, c] = three();
    let at = format!("@{}", a.len());
    let bytes = [a, b"x\n\n".to_vec(), c].concat();
    check("empty line", &bytes, &["http://a/", &at, "http://c/"]);
}

#[test]
fn a_frame_gives_what_lies_before_its_damage_however_it_is_read() {
    // Two blocks as they are, without a checksum: one of two records, one of a kind that does not exist.
    let record = [raw("http://a/", "text"), raw("http://b/", "text")].concat();
    let n = u32::try_from(record.len()).unwrap();
    let head = |kind: u32| (n << 3 | kind << 1).to_le_bytes()[..3].to_vec();
    let begin = b"\x28\xb5\x2f\xfd\0\x58";
    let frame = [&begin[..], &head(0), &record, &head(3), &record].concat();
    check("a block", &frame, &["http://a/", "@0"]);
    // A block that is longer than what is decoded at once, and damage right behind it.
    let long = [record, vec![b'x'; 100_000]].concat();
    let n = u32::try_from(long.len()).unwrap();
    let head = |kind: u32| (n << 3 | kind << 1).to_le_bytes()[..3].to_vec();
    let frame = [&begin[..], &head(0), &long, &head(3), &long].concat();
    assert!(items(&frame).len() > 1);
    // The same frame behind other damage: it is found by what its first block has.
    let small = raw("http://a/", "text");
    let n = u32::try_from(small.len()).unwrap();
    let head = |kind: u32| (n << 3 | kind << 1).to_le_bytes()[..3].to_vec();
    let begin_small = b"\x28\xb5\x2f\xfd\0\x58";
    let both = [
        &begin_small[..],
        &head(0),
        &small,
        &head(0),
        &small,
        &head(3),
        &small,
    ]
    .concat();
    let archive = [zstd_frame(&small), vec![7; 50], both].concat();
    let found = sketch(&items(&archive));
    assert_eq!(
        found.iter().filter(|item| *item == "http://a/").count(),
        2,
        "{found:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = items(&bytes);
        let _ = items(&[b"WARC/1.0\r\nContent-Length: ".to_vec(), bytes].concat());
    }

    #[test]
    fn damage_in_one_member_leaves_the_others(
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        packing in 0..2,
    ) {
        let pack = |record: &Vec<u8>| if packing == 0 { gzip(record) } else { record.clone() };
        let [a, b, c] = three();
        let mut middle = pack(&b);
        for (index, value) in hits {
            let i = index.index(middle.len());
            middle[i] = value;
        }
        let found = items(&[pack(&a), middle, pack(&c)].concat());
        let is_there = |url: &str| found.iter().any(|item| {
            matches!(item, Item::Record(record) if record.url.as_deref() == Some(url))
        });
        prop_assert!(is_there("http://a/"), "{:?}", sketch(&found));
        prop_assert!(is_there("http://c/"), "{:?}", sketch(&found));
        let offsets: Vec<u64> = found.iter().map(|item| match item {
            Item::Record(record) => record.place.offset,
            Item::Damage(damage) => damage.offset,
        }).collect();
        // A row about a record follows it, and may name the byte at which its block should have ended.
        prop_assert!(offsets.len() < 50, "{} items", offsets.len());
    }

    #[test]
    fn cut_archives_keep_what_is_whole(cut in any::<prop::sample::Index>()) {
        let records = three().map(|record| gzip(&record));
        let bytes = records.concat();
        let end = cut.index(bytes.len());
        let mut n_whole = 0;
        let mut total = 0;
        for record in &records {
            total += record.len();
            n_whole += usize::from(total <= end);
        }
        let found = items(&bytes[..end]);
        let n_sound = found.iter().filter(|item| {
            matches!(item, Item::Record(record) if record.truncated.is_none())
        }).count();
        prop_assert_eq!(n_sound, n_whole);
    }
}
