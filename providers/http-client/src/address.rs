//! Which addresses are of the public internet. Everything else may be a neighbour that trusts
//! whoever reaches it: the gateway itself, its cloud's metadata service, a machine on the plant's
//! network.
//!
//! After the IANA special-purpose registries for IPv4 and IPv6. Addresses that carry an IPv4
//! address (mapped, NAT64, 6to4, Teredo) are judged by it, or refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not public; none when it is.
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let within = |network: [u8; 4], bits: u32| {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        (address.to_bits() ^ Ipv4Addr::from(network).to_bits()) & mask == 0
    };
    let networks: [([u8; 4], u32, &str); 16] = [
        ([0, 0, 0, 0], 8, "this network"),
        ([10, 0, 0, 0], 8, "private"),
        ([100, 64, 0, 0], 10, "carrier-grade NAT"),
        ([127, 0, 0, 0], 8, "loopback"),
        ([169, 254, 0, 0], 16, "link-local"),
        ([172, 16, 0, 0], 12, "private"),
        ([192, 0, 0, 0], 24, "protocol assignments"),
        ([192, 0, 2, 0], 24, "documentation"),
        ([192, 31, 196, 0], 24, "special purpose"),
        ([192, 52, 193, 0], 24, "special purpose"),
        ([192, 88, 99, 0], 24, "6to4 relay"),
        ([192, 168, 0, 0], 16, "private"),
        ([198, 18, 0, 0], 15, "benchmarking"),
        ([198, 51, 100, 0], 24, "documentation"),
        ([203, 0, 113, 0], 24, "documentation"),
        ([224, 0, 0, 0], 3, "multicast or reserved"),
    ];
    networks.into_iter().find(|(network, bits, _)| within(*network, *bits)).map(|(_, _, what)| what)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = address.to_ipv4_mapped() {
        return special_v4(inner);
    }
    let within = |network: [u16; 8], bits: u32| {
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        (address.to_bits() ^ Ipv6Addr::from(network).to_bits()) & mask == 0
    };
    let networks: [([u16; 8], u32, &str); 12] = [
        ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
        // Unspecified, and the old IPv4-compatible form.
        ([0; 8], 96, "unspecified"),
        ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "NAT64"),
        ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "NAT64"),
        ([0x100, 0, 0, 0, 0, 0, 0, 0], 32, "discard"),
        ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol assignments"),
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
        ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),
        ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
        ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing"),
        ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique-local"),
        // Link-local, the old site-local, multicast.
        ([0xfe00, 0, 0, 0, 0, 0, 0, 0], 7, "link-local or multicast"),
    ];
    networks.into_iter().find(|(network, bits, _)| within(*network, *bits)).map(|(_, _, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.128.0.1", "223.255.255.255"] {
            assert_eq!(special(public.parse().unwrap()), None, "{public}");
        }
        for public in ["2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "::ffff:1.1.1.1"] {
            assert_eq!(special(public.parse().unwrap()), None, "{public}");
        }
        let special_ones = [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in special_ones {
            assert!(special(address.parse().unwrap()).is_some(), "{address}");
        }
    }
}
