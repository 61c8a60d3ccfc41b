//! Checksums and number plans: what tells a number of a person from any other number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Weights of the first 17 digits of an identity card number (ISO 7064 MOD 11-2, GB 11643).
const ID_WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
/// The check character by remainder.
const ID_CHECKS: &[u8; 11] = b"10X98765432";
/// First two digits: the provinces of GB/T 2260, with Taiwan, Hong Kong and Macao (71, 81-83) and foreigners (91).
const ID_REGIONS: &[u32] = &[
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52,
    53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83, 91,
];
/// Years of birth that an 18-digit number can name.
const BIRTH_YEARS: std::ops::RangeInclusive<u32> = 1880..=2099;

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// True for a valid 18-character identity card number: region, date of birth and check character are right.
pub fn is_id_card(id: &[u8]) -> bool {
    let Some((body, check)) = id
        .split_first_chunk::<17>()
        .filter(|(_, rest)| rest.len() == 1)
    else {
        return false;
    };
    if !body.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let region = number(&body[..2]).is_some_and(|region| ID_REGIONS.contains(&region));
    let date = match (
        number(&body[6..10]),
        number(&body[10..12]),
        number(&body[12..14]),
    ) {
        (Some(year), Some(month), Some(day)) => is_date(year, month, day),
        _ => false,
    };
    let sum: u32 = body
        .iter()
        .zip(ID_WEIGHTS)
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    let expected = ID_CHECKS[(sum % 11) as usize];
    region && date && check[0].to_ascii_uppercase() == expected
}

fn is_date(year: u32, month: u32, day: u32) -> bool {
    let is_leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let n_days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    BIRTH_YEARS.contains(&year) && (1..=n_days).contains(&day)
}

/// True when the digits satisfy Luhn's check (ISO/IEC 7812).
pub fn is_luhn(digits: &[u8]) -> bool {
    let mut sum = 0;
    for (place, digit) in digits.iter().rev().enumerate() {
        if !digit.is_ascii_digit() {
            return false;
        }
        let value = u32::from(digit - b'0') * if place % 2 == 1 { 2 } else { 1 };
        sum += value / 10 + value % 10;
    }
    !digits.is_empty() && sum % 10 == 0
}

/// True for a bank card number: 16 to 19 digits of an issuer met in China (UnionPay 62 and 60, 9558, Visa 4, Mastercard 51-55 and
/// 2221-2720, JCB 35), with Luhn's check. Runs of one digit are no card.
pub fn is_bank_card(digits: &[u8]) -> bool {
    if !(16..=19).contains(&digits.len()) {
        return false;
    }
    let Some(prefix) = number(&digits[..4]) else {
        return false;
    };
    let is_issuer = match prefix / 100 {
        60 | 62 => true,
        40..=49 | 51..=55 | 35 => digits.len() == 16,
        _ => prefix == 9558 || ((2221..=2720).contains(&prefix) && digits.len() == 16),
    };
    is_issuer
        && is_luhn(digits)
        && digits
            .iter()
            .any(|digit| *digit != digits[digits.len() - 1])
}

/// True for eleven digits of the mobile plan: 13 to 19, then anything.
pub fn is_mobile(digits: &[u8]) -> bool {
    digits.len() == 11
        && digits[0] == b'1'
        && (b'3'..=b'9').contains(&digits[1])
        && digits.iter().all(u8::is_ascii_digit)
}

/// The address, when it is one that the whole internet can reach: private, loop-back, documentation and reserved ones name nobody.
pub fn public_ip(text: &str) -> Option<IpAddr> {
    match text.parse::<IpAddr>().ok()? {
        IpAddr::V4(ip) => is_public_v4(ip).then_some(IpAddr::V4(ip)),
        IpAddr::V6(ip) => is_public_v6(ip).then_some(IpAddr::V6(ip)),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || is_shared;
    !is_special && (1..224).contains(&a)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    (0x2000..0x4000).contains(&first) && (first, second) != (0x2001, 0x0db8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_cards_need_region_date_and_check() {
        for (id, expected) in [
            ("11010519491231002X", true),
            ("11010519491231002x", true),
            ("440524188001010014", true),
            ("110105194912310021", false),
            ("99010519491231002X", false),
            ("11010519491331002X", false),
            ("11010519490230002X", false),
            ("1101051949123100", false),
            ("11010519491231002XX", false),
            ("1101051949A231002X", false),
            ("", false),
        ] {
            assert_eq!(is_id_card(id.as_bytes()), expected, "{id}");
        }
    }

    #[test]
    fn leap_days_exist_in_leap_years_only() {
        for (year, expected) in [(2000, true), (1900, false), (1996, true), (1999, false)] {
            assert_eq!(is_date(year, 2, 29), expected, "{year}");
        }
    }

    #[test]
    fn cards_need_issuer_length_and_luhn() {
        for (digits, expected) in [
            ("6222021234567890128", is_luhn(b"6222021234567890128")),
            ("4111111111111111", true),
            ("4111111111111112", false),
            ("5555555555554444", true),
            ("3530111333300000", true),
            ("1111111111111117", false),
            ("411111111111111", false),
            ("0000000000000000", false),
            ("6200000000000000000000", false),
            ("", false),
        ] {
            assert_eq!(is_bank_card(digits.as_bytes()), expected, "{digits}");
        }
        assert!(
            is_luhn(b"79927398713")
                && !is_luhn(b"79927398710")
                && !is_luhn(b"7992739871a")
                && !is_luhn(b"")
        );
    }

    #[test]
    fn only_public_addresses_count() {
        for (text, expected) in [
            ("8.8.8.8", true),
            ("114.114.114.114", true),
            ("192.168.1.1", false),
            ("127.0.0.1", false),
            ("100.64.0.1", false),
            ("255.255.255.255", false),
            ("0.1.2.3", false),
            ("1.2.3", false),
            ("256.1.1.1", false),
            ("2400:3200::1", true),
            ("2001:db8::1", false),
            ("::1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(public_ip(text).is_some(), expected, "{text}");
        }
    }
}
