//! Which IP addresses are public: everything in the special-purpose registries of IANA is refused (RFC 6890 and later).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::config::Network;

/// Blocks of IPv4 that are not the public internet: network, length of the prefix, what it is.
const SPECIAL_V4: [([u8; 4], u32, &str); 17] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared by carriers"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "protocol assignments"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 31, 196, 0], 24, "AS112"),
    ([192, 52, 193, 0], 24, "AMT"),
    ([192, 88, 99, 0], 24, "6to4 relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "benchmarks"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

/// Blocks inside 2000::/3, the only public part of IPv6, that are special all the same.
const SPECIAL_V6: [([u16; 3], u32, &str); 6] = [
    // Teredo, ORCHID, benchmarks: addresses that stand for others or lead nowhere.
    ([0x2001, 0, 0], 23, "protocol assignments"),
    ([0x2001, 0x0db8, 0], 32, "documentation"),
    ([0x2002, 0, 0], 16, "6to4"),
    ([0x2620, 0x004f, 0x8000], 48, "AS112"),
    ([0x3ffe, 0, 0], 16, "6bone"),
    ([0x3fff, 0, 0], 20, "documentation"),
];

/// Whether an address is one of the public internet: no loopback, private, link-local, multicast or otherwise special one,
/// also when it is wrapped in IPv6 (mapped, or translated by NAT64).
pub fn is_public(address: IpAddr) -> bool {
    special(address).is_none()
}

/// Why an address must not be dialled; `None` when it may be.
pub(super) fn refuse(address: IpAddr, network: Network) -> Option<&'static str> {
    match network {
        Network::Public => special(address),
        Network::LoopbackOnly => match address {
            IpAddr::V4(v4) if v4.is_loopback() => None,
            IpAddr::V6(v6) if v6.is_loopback() => None,
            _ => Some("not loopback, in a test"),
        },
    }
}

fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(address);
    SPECIAL_V4.iter().find_map(|&(network, length, name)| {
        let shift = 32 - length;
        (bits >> shift == u32::from(Ipv4Addr::from(network)) >> shift).then_some(name)
    })
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let words = address.segments();
    let inner = || {
        let [a, b] = words[6].to_be_bytes();
        let [c, d] = words[7].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match words {
        // IPv4-mapped, and translated by the well-known prefix of NAT64: what counts is the address within.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x0064, 0xff9b, 0, 0, 0, 0, ..] => {
            return special_v4(inner());
        }
        [0, 0, 0, 0, 0, 0, 0, 1] => return Some("loopback"),
        [0, 0, 0, 0, 0, 0, ..] => return Some("unspecified or IPv4-compatible"),
        _ => {}
    }
    if words[0] >> 13 != 1 {
        return Some("outside the public part of IPv6");
    }
    let bits = u128::from(address);
    SPECIAL_V6.iter().find_map(|&([a, b, c], length, name)| {
        let network = u128::from(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0));
        let shift = 128 - length;
        (bits >> shift == network >> shift).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: bool) {
        assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn the_inside_is_refused_up_to_the_edges_of_each_block() {
        for (inside, outside) in [
            ("0.255.255.255", "1.0.0.0"),
            ("10.0.0.0", "9.255.255.255"),
            ("10.255.255.255", "11.0.0.0"),
            ("100.64.0.0", "100.63.255.255"),
            ("100.127.255.255", "100.128.0.0"),
            ("127.0.0.1", "126.255.255.255"),
            ("169.254.169.254", "169.253.255.255"),
            ("172.16.0.0", "172.15.255.255"),
            ("172.31.255.255", "172.32.0.0"),
            ("192.0.0.8", "192.0.1.0"),
            ("192.168.0.1", "192.167.255.255"),
            ("198.19.255.255", "198.20.0.0"),
            ("203.0.113.77", "203.0.112.255"),
            ("224.0.0.1", "223.255.255.255"),
            ("2001:1ff:ffff::1", "2001:200::1"),
            ("2001:db8::1", "2001:db9::1"),
            ("2002:7f00:1::", "2003::1"),
            ("3fff:fff::1", "3fff:1000::1"),
        ] {
            check(inside, false);
            check(outside, true);
        }
        for inside in [
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "4000::1",
            "5f00::1",
        ] {
            check(inside, false);
        }
    }

    #[test]
    fn what_ipv6_wraps_is_looked_at() {
        check("::ffff:127.0.0.1", false);
        check("::ffff:10.1.2.3", false);
        check("::ffff:8.8.8.8", true);
        check("64:ff9b::169.254.169.254", false);
        check("64:ff9b::8.8.8.8", true);
        check("64:ff9b:1::8.8.8.8", false);
        check("::127.0.0.1", false);
        check("::8.8.8.8", false);
    }

    #[test]
    fn the_test_switch_reaches_loopback_and_nothing_else() {
        let check = |address: &str, expected: bool| {
            let address = address.parse().unwrap();
            assert_eq!(
                refuse(address, Network::LoopbackOnly).is_none(),
                expected,
                "{address}"
            );
        };
        check("127.0.0.1", true);
        check("127.9.9.9", true);
        check("::1", true);
        check("8.8.8.8", false);
        check("192.168.1.1", false);
        check("::ffff:127.0.0.1", false);
    }
}
