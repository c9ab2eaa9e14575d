use super::*;
use proptest::prelude::*;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn range(text: &str) -> AddressRange {
    text.parse().unwrap()
}

#[test]
fn an_accepted_value_is_printed_as_it_was_written() {
    for text in ["10.0.0.1", "0.0.0.0", "2001:db8::1", "::", "255.255.255.255"] {
        assert_eq!(address(text).to_string(), text);
    }
    for text in ["10.0.0.0/8", "10.0.0.0/31", "10.0.0.7/32", "2001:db8::/32", "2001:db8::1/128"] {
        assert_eq!(cidr(text).to_string(), text);
    }
    for text in ["10.0.0.1", "10.0.0.0/24", "10.0.0.1-10.0.0.9", "2001:db8::-2001:db8::5"] {
        assert_eq!(range(text).to_string(), text);
    }
    assert_eq!(range("10.0.0.0-10.0.0.255").to_string(), "10.0.0.0/24");
}

#[test]
fn each_refusal_of_a_prefix_says_what_would_be_right() {
    for (text, message) in [
        ("", "the value is empty; write an address like 10.0.0.1 or 2001:db8::1"),
        ("10.0.0.1/24", "`10.0.0.1/24` has host bits set; write 10.0.0.0/24"),
        ("2001:db8::1/64", "`2001:db8::1/64` has host bits set; write 2001:db8::/64"),
        (
            "010.0.0.0/8",
            "`010.0.0.0` has leading zeros, which some programs read as octal; write 10.0.0.0",
        ),
        (
            "10.00.0.0/8",
            "`10.00.0.0` has leading zeros, which some programs read as octal; write 10.0.0.0",
        ),
        ("10.0.0.0", "`10.0.0.0` has no prefix length; write 10.0.0.0/32 for one address"),
        ("10.0.0.0/", "prefix length `` is not a plain number; write 0 to 32"),
        ("10.0.0.0/024", "prefix length `024` is not a plain number; write 0 to 32"),
        ("10.0.0.0/+8", "prefix length `+8` is not a plain number; write 0 to 32"),
        ("10.0.0.0/33", "prefix length 33 is too long for IPv4; the longest is 32"),
        ("2001:db8::/129", "prefix length 129 is too long for IPv6; the longest is 128"),
        ("10.0.0/8", "`10.0.0` is not an IP address; write it like 10.0.0.1 or 2001:db8::1"),
        ("10/8", "`10` is not an IP address; write it like 10.0.0.1 or 2001:db8::1"),
        (" 10.0.0.0/8", "` 10.0.0.0` is not an IP address; write it like 10.0.0.1 or 2001:db8::1"),
        ("10.0.0.0/255.0.0.0", "prefix length `255.0.0.0` is not a plain number; write 0 to 32"),
        (
            "::ffff:10.0.0.0/104",
            "`::ffff:10.0.0.0/104` is an IPv4 address in IPv6 notation; write 10.0.0.0/8",
        ),
        ("::ffff:0:0/96", "`::ffff:0:0/96` is an IPv4 address in IPv6 notation; write 0.0.0.0/0"),
        (
            "fe80::1%eth0/64",
            "`fe80::1%eth0` names a zone, which means something on one machine only; write fe80::1",
        ),
        ("2001:DB8::/32", "`2001:DB8::` is not the canonical spelling; write 2001:db8::"),
        ("2001:db8:0:0::/64", "`2001:db8:0:0::` is not the canonical spelling; write 2001:db8::"),
        (
            "127.0.0.0/8",
            "127.0.0.0/8 overlaps the loopback addresses (127.0.0.0/8), which is never handed out; write a unicast prefix outside of 127.0.0.0/8",
        ),
        (
            "169.254.1.0/24",
            "169.254.1.0/24 overlaps the link-local addresses (169.254.0.0/16), which is never handed out; write a unicast prefix outside of 169.254.0.0/16",
        ),
        (
            "224.0.0.0/24",
            "224.0.0.0/24 overlaps the multicast addresses (224.0.0.0/4), which is never handed out; write a unicast prefix outside of 224.0.0.0/4",
        ),
        (
            "240.0.0.0/8",
            "240.0.0.0/8 overlaps class E (240.0.0.0/4), which is never handed out; write a unicast prefix outside of 240.0.0.0/4",
        ),
        (
            "fe80::/64",
            "fe80::/64 overlaps the link-local addresses (fe80::/10), which is never handed out; write a unicast prefix outside of fe80::/10",
        ),
        (
            "ff02::/16",
            "ff02::/16 overlaps the multicast addresses (ff00::/8), which is never handed out; write a unicast prefix outside of ff00::/8",
        ),
        (
            "::1/128",
            "::1/128 overlaps the loopback addresses (::/127), which is never handed out; write a unicast prefix outside of ::/127",
        ),
    ] {
        assert_eq!(text.parse::<Cidr>().unwrap_err().to_string(), message, "{text}");
    }
    // What contains a special range is refused like what lies in one.
    for text in ["0.0.0.0/0", "::/0", "126.0.0.0/7", "::/64", "fc00::/6"] {
        assert!(matches!(text.parse::<Cidr>(), Err(AddressRefused::Special { .. })), "{text}");
    }
}

#[test]
fn each_refusal_of_an_address_or_a_range_says_what_would_be_right() {
    for (text, message) in [
        ("10.0.0.9-10.0.0.1", "range 10.0.0.9-10.0.0.1 is reversed; write 10.0.0.1-10.0.0.9"),
        (
            "10.0.0.1-2001:db8::1",
            "range 10.0.0.1-2001:db8::1 mixes IPv4 and IPv6; write both ends in one family",
        ),
        ("10.0.0.1-", "range `10.0.0.1-` has only one end; write first-last, or one address alone"),
        ("-10.0.0.1", "range `-10.0.0.1` has only one end; write first-last, or one address alone"),
        ("10.0.0.1-5", "`5` is not an IP address; write it like 10.0.0.1 or 2001:db8::1"),
        ("10.0.0.5/24", "`10.0.0.5/24` has host bits set; write 10.0.0.0/24"),
        (
            "::ffff:10.0.0.1",
            "`::ffff:10.0.0.1` is an IPv4 address in IPv6 notation; write 10.0.0.1",
        ),
        (
            "126.0.0.0-128.0.0.0",
            "126.0.0.0-128.0.0.0 overlaps the loopback addresses (127.0.0.0/8), which is never handed out; write a unicast prefix outside of 127.0.0.0/8",
        ),
    ] {
        assert_eq!(text.parse::<AddressRange>().unwrap_err().to_string(), message, "{text}");
    }
    assert_eq!(
        "10.0.0.0/24".parse::<Address>().unwrap_err().to_string(),
        "`10.0.0.0/24` has a prefix length; write one address without it"
    );
    let long = "a".repeat(100_000).parse::<Cidr>().unwrap_err().to_string();
    assert!(long.len() < 200, "{long}");
    let escape = "\u{1b}[31m10.0.0.1\n".parse::<Address>().unwrap_err().to_string();
    assert!(escape.chars().all(|character| !character.is_control()), "{escape:?}");
}

#[test]
fn a_class_is_printed_by_length_and_accepted_as_one() {
    let classes = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "10.0.0.0/9", "2001:db8::/32"]
        .map(|text| cidr(text).class().map(|class| class.to_string()).unwrap_or_default());
    assert_eq!(classes, ["A", "B", "C", "", ""]);
    assert_eq!(cidr("2001::/16").class(), None);
    let lengths = ["A", "B", "C", "22", "/22", "128"].map(|text| length_from_text(text).unwrap());
    assert_eq!(lengths, [8, 16, 24, 22, 22, 128]);
    for text in ["D", "c", "129", "-1", "024", "", "/"] {
        assert!(length_from_text(text).is_err(), "{text}");
    }
}

#[test]
fn counts_saturate() {
    assert_eq!(cidr("10.0.0.0/8").count(), 1 << 24);
    assert_eq!(cidr("10.0.0.1/32").count(), 1);
    let all = Cidr::containing(address("::"), 0).unwrap();
    assert_eq!((all.count(), all.last().value()), (u128::MAX, u128::MAX));
    assert_eq!(all.range().count(), u128::MAX);
    assert_eq!(all.range().cidrs().collect::<Vec<_>>(), [all]);
    assert_eq!((all.parent(), all.buddy()), (None, None));
    assert_eq!(all.halves().unwrap().1.to_string(), "8000::/1");
    assert_eq!(cidr("10.0.0.1/32").halves(), None);
    assert_eq!(AddressSet::union_of([all.range(), all.range()]).count(), u128::MAX);
}

#[test]
fn a_block_is_named_by_its_addresses() {
    let (block, index) = BlockId::of(address("10.1.2.3"));
    assert_eq!((block.to_string(), index), ("10.1.2.0/24".to_owned(), 3));
    assert_eq!((block.address(3), block.name_part().as_str()), (address("10.1.2.3"), "10-1-2-0"));
    let (block, index) = BlockId::of(address("2001:db8::12:3ff"));
    assert_eq!((block.to_string(), index), ("2001:db8::12:300/120".to_owned(), 255));
    assert_eq!(block.name_part(), "20010db80000000000000000001203");
    assert_eq!(BlockId::from_cidr(&cidr("10.1.2.0/25")), None);
    assert_eq!(BlockId::from_cidr(&cidr("10.1.2.0/24")), Some(BlockId::of(address("10.1.2.9")).0));
    assert_eq!(BlockId::new(Family::V4, 1 << 24), None);
}

/// A small universe, so that ranges meet.
fn small_ranges() -> impl Strategy<Value = Vec<AddressRange>> {
    let one = (0_u128..300, 0_u128..40, any::<bool>()).prop_map(|(first, more, high)| {
        // At the very end of the family too, where adding one would overflow.
        let base = if high { Family::V4.value_max() - 400 } else { 0x0a00_0000 };
        let at = |value: u128| Address::new(Family::V4, base + value).unwrap();
        let last = if high && first > 280 { 400 } else { first + more };
        AddressRange::new(at(first), at(last)).unwrap()
    });
    prop::collection::vec(one, 0..8)
}

fn plainly(ranges: &[AddressRange]) -> std::collections::BTreeSet<u128> {
    ranges.iter().flat_map(|range| range.first().value()..=range.last().value()).collect()
}

proptest! {
    #[test]
    fn any_text_is_accepted_in_one_spelling_or_refused(text in "[0-9a-f:./%-]{0,24}|.{0,40}") {
        if let Ok(address) = text.parse::<Address>() {
            prop_assert_eq!(address.to_string(), text.clone());
        }
        if let Ok(cidr) = text.parse::<Cidr>() {
            prop_assert_eq!(cidr.to_string(), text.clone());
        }
        if let Ok(range) = text.parse::<AddressRange>() {
            prop_assert_eq!(range.to_string().parse::<AddressRange>(), Ok(range));
        }
    }

    #[test]
    fn sets_agree_with_sets_of_numbers(left in small_ranges(), right in small_ranges()) {
        let (some, other) = (AddressSet::union_of(left.clone()), AddressSet::union_of(right.clone()));
        let (plain_some, plain_other) = (plainly(&left), plainly(&right));
        prop_assert_eq!(plainly(some.ranges()), plain_some.clone());
        let rest = some.without(&other);
        let plain_rest: std::collections::BTreeSet<u128> = plain_some.difference(&plain_other).copied().collect();
        prop_assert_eq!(rest.count(), plain_rest.len() as u128);
        prop_assert_eq!(plainly(rest.ranges()), plain_rest);
        prop_assert_eq!(&AddressSet::union_of(rest.ranges().to_vec()), &rest);
        prop_assert_eq!(some.common_with(&other).is_some(), !plain_some.is_disjoint(&plain_other));
        for value in plain_some.iter().chain(&plain_other) {
            let address = Address::new(Family::V4, *value).unwrap();
            prop_assert_eq!(some.contains(address), plain_some.contains(value));
        }
    }

    #[test]
    fn prefixes_of_a_range_are_the_range(first in 0_u128..5000, more in 0_u128..5000) {
        let at = |value: u128| Address::new(Family::V4, 0x0a00_0000 + value).unwrap();
        let range = AddressRange::new(at(first), at(first + more)).unwrap();
        let parts: Vec<Cidr> = range.cidrs().collect();
        let together = AddressSet::union_of(parts.iter().map(Cidr::range));
        prop_assert_eq!(together.ranges(), &[range]);
        prop_assert_eq!(parts.iter().map(Cidr::count).sum::<u128>(), range.count());
        // Fewest: no two of them are halves of one.
        for part in &parts {
            prop_assert!(!part.buddy().is_some_and(|buddy| parts.contains(&buddy)));
        }
    }

    #[test]
    fn containing_and_overlapping_agree_with_numbers(
        value in any::<u32>(), other in any::<u32>(), length in 0_u8..=32, longer in 0_u8..=32,
    ) {
        let at = |value: u32| Address::from_ip(Ipv4Addr::from_bits(value).into());
        let (some, another) = (
            Cidr::containing(at(value), length).unwrap(),
            Cidr::containing(at(other), longer).unwrap(),
        );
        prop_assert_eq!(some.contains(at(other)), some.range().contains(at(other)));
        prop_assert_eq!(some.overlaps(&another), some.range().overlaps(&another.range()));
        if let Some((low, high)) = some.halves() {
            prop_assert_eq!((low.parent(), high.buddy()), (Some(some), Some(low)));
        }
    }
}
