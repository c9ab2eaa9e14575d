use super::*;
use crate::address::AddressRange;
use crate::space::free_by_size;
use proptest::prelude::*;
use uuid::Uuid;

fn uid(number: u64) -> ResourceUid {
    ResourceUid(Uuid::from_u64_pair(3, number))
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

#[test]
fn best_fit_keeps_large_blocks_whole() {
    let mut node = Node::new(cidr("10.0.0.0/16"));
    node.place(uid(1), cidr("10.0.0.0/24")).unwrap();
    // 10.0.1.0/24 is the smallest that fits; sequential would take the same, as it is the lowest too.
    assert_eq!(node.carve(uid(2), 26, Carving::BestFit).unwrap(), cidr("10.0.1.0/26"));
    // A /26 is left, then the /25; a /25 comes from the latter, so the /26 stays for a /26.
    assert_eq!(node.carve(uid(3), 25, Carving::BestFit).unwrap(), cidr("10.0.1.128/25"));
    assert_eq!(node.carve(uid(4), 26, Carving::BestFit).unwrap(), cidr("10.0.1.64/26"));
    assert_eq!(node.free_by_size(), (17..=23).map(|length| (length, 1)).collect());
    // A /17 is the largest and 2^15 the largest power of two that is free.
    assert_eq!(node.fragmentation().thousandths(), 0);
    let mut halves = node.clone();
    halves.place(uid(5), cidr("10.0.192.0/18")).unwrap();
    halves.place(uid(6), cidr("10.0.64.0/18")).unwrap();
    // A /18 (2^14) is left, and a little less than another: 32,256 free, of which 2^14 in one piece.
    assert_eq!(halves.fragmentation().thousandths(), 0);
    halves.release(uid(1));
    halves.release(uid(2));
    halves.release(uid(3));
    halves.release(uid(4));
    // 2^15 free, in two pieces.
    assert_eq!(halves.fragmentation().thousandths(), 500);
    node.release(uid(2)).unwrap();
    assert_eq!(node.free_by_size().get(&26), Some(&1));
    for child in [1, 3, 4] {
        node.release(uid(child)).unwrap();
    }
    assert_eq!(node, Node::new(cidr("10.0.0.0/16")), "buddies join again");
    assert_eq!((node.utilisation().thousandths(), node.fragmentation().thousandths()), (0, 0));
}

#[test]
fn best_fit_and_sequential_differ_where_a_small_hole_is_higher() {
    let taken = [(1, "10.0.0.0/25"), (2, "10.0.2.0/25"), (3, "10.0.2.128/26")];
    let children = || taken.map(|(number, text)| Child { cidr: cidr(text), uid: uid(number) });
    let mut best = Node::from_parts(cidr("10.0.0.0/22"), children()).unwrap();
    let mut lowest = best.clone();
    assert_eq!(best.carve(uid(9), 26, Carving::BestFit).unwrap(), cidr("10.0.2.192/26"));
    assert_eq!(lowest.carve(uid(9), 26, Carving::Sequential).unwrap(), cidr("10.0.0.128/26"));
}

#[test]
fn each_refusal_names_what_is_in_the_way() {
    let mut node = Node::new(cidr("10.0.0.0/23"));
    node.place(uid(1), cidr("10.0.0.0/24")).unwrap();
    let mut refused =
        |uid_: u64, text: &str| node.place(uid(uid_), cidr(text)).unwrap_err().to_string();
    assert_eq!(
        refused(2, "10.0.2.0/24"),
        "10.0.2.0/24 is not within its parent 10.0.0.0/23; choose a prefix inside it"
    );
    assert_eq!(
        refused(2, "10.0.0.0/23"),
        "/23 is not longer than its parent 10.0.0.0/23; ask for /24 or longer"
    );
    assert_eq!(
        refused(2, "10.0.0.128/25"),
        "10.0.0.128/25 overlaps 10.0.0.0/24, which is given out already"
    );
    assert_eq!(
        refused(1, "10.0.1.0/24"),
        "the prefix has 10.0.0.0/24 in this parent already; release it before it gets 10.0.1.0/24"
    );
    assert_eq!(node.place(uid(1), cidr("10.0.0.0/24")), Ok(cidr("10.0.0.0/24")));
    assert_eq!(
        node.carve(uid(1), 30, Carving::BestFit),
        Ok(cidr("10.0.0.0/24")),
        "once placed, it stays"
    );
    let carve = |node: &mut Node, length| {
        node.carve(uid(2), length, Carving::BestFit).unwrap_err().to_string()
    };
    assert_eq!(
        carve(&mut node, 23),
        "/23 is not longer than its parent 10.0.0.0/23; ask for /24 or longer"
    );
    assert_eq!(carve(&mut node, 33), "/33 is too long for IPv4; the longest is /32");
    node.place(uid(3), cidr("10.0.1.0/26")).unwrap();
    assert_eq!(carve(&mut node, 24), "10.0.0.0/23 has no free /24; the largest free block is /25");
    let mut shrunk = node.clone();
    assert_eq!(
        shrunk.resize(cidr("10.0.0.0/24")).unwrap_err().to_string(),
        "10.0.0.0/24 leaves out 10.0.0.0/24, 10.0.1.0/26"
    );
    assert_eq!(shrunk, node);
    shrunk.release(uid(1));
    shrunk.resize(cidr("10.0.1.0/24")).unwrap();
    assert_eq!(shrunk.free_by_size(), [(26, 1), (25, 1)].into());
    node.resize(cidr("10.0.0.0/22")).unwrap();
    assert_eq!(node.free_by_size(), [(23, 1), (25, 1), (26, 1)].into());
}

#[test]
fn a_parent_has_a_bounded_number_of_children() {
    let mut node = Node::new(cidr("10.0.0.0/8"));
    for number in 0..1_024 {
        node.carve(uid(number), 24, Carving::Sequential).unwrap();
    }
    assert_eq!(node.carve(uid(5_000), 24, Carving::BestFit), Err(TreeRefused::TooManyChildren));
    assert_eq!(node.place(uid(5_000), cidr("10.9.0.0/24")), Err(TreeRefused::TooManyChildren));
    assert_eq!(node.utilisation().thousandths(), 15);
}

#[test]
fn roots_of_a_space_are_disjoint() {
    let mut roots = Roots::default();
    roots.place(uid(1), cidr("10.0.0.0/8")).unwrap();
    roots.place(uid(2), cidr("2001:db8::/32")).unwrap();
    assert!(matches!(roots.place(uid(3), cidr("10.1.0.0/16")), Err(TreeRefused::Overlaps { .. })));
    assert!(matches!(roots.replace(uid(2), cidr("10.0.0.0/7")), Err(TreeRefused::Overlaps { .. })));
    assert_eq!(roots.place_of(uid(2)), Some(cidr("2001:db8::/32")));
    roots.replace(uid(1), cidr("10.0.0.0/9")).unwrap();
    roots.place(uid(3), cidr("10.128.0.0/9")).unwrap();
    assert_eq!(roots.children().count(), 3);
}

#[derive(Debug, Clone)]
enum Operation {
    Place(u64, u128, u8),
    Carve(u64, u8, bool),
    Release(u64),
    Replace(u64, u128, u8),
    Resize(u8),
}

fn operation() -> impl Strategy<Value = Operation> {
    let child = 0_u64..40;
    prop_oneof![
        (child.clone(), 0_u128..256, 24_u8..=32)
            .prop_map(|(uid, at, length)| Operation::Place(uid, at, length)),
        (child.clone(), 24_u8..=32, any::<bool>())
            .prop_map(|(uid, length, best)| Operation::Carve(uid, length, best)),
        child.clone().prop_map(Operation::Release),
        (child, 0_u128..256, 24_u8..=32)
            .prop_map(|(uid, at, length)| Operation::Replace(uid, at, length)),
        (22_u8..=26).prop_map(Operation::Resize),
    ]
}

proptest! {
    /// Whatever is done, children are disjoint and within, and the free list is that of a fresh count: the fewest aligned
    /// blocks that are everything else.
    #[test]
    fn the_free_list_is_what_is_left(operations in prop::collection::vec(operation(), 1..80), v6 in any::<bool>()) {
        let (base, extra): (Cidr, u8) = if v6 { (cidr("2001:db8::/120"), 96) } else { (cidr("10.0.0.0/24"), 0) };
        let at = |offset: u128, length: u8| {
            let first = crate::address::Address::new(base.family(), base.first().value() + offset).unwrap();
            Cidr::containing(first, length + extra).unwrap()
        };
        let mut node = Node::new(base);
        for operation in operations {
            let before = node.clone();
            let done = match operation {
                Operation::Place(child, offset, length) => node.place(uid(child), at(offset, length)).is_ok(),
                Operation::Carve(child, length, best) => {
                    let carving = if best { Carving::BestFit } else { Carving::Sequential };
                    let done = node.carve(uid(child), length + extra, carving);
                    if let (Ok(cidr), None) = (&done, before.place_of(uid(child))) {
                        let free = before.free_set();
                        let fits = || free.ranges().iter().flat_map(AddressRange::cidrs).filter(|block| block.length() <= length + extra);
                        let expected = if best {
                            fits().min_by_key(|block| (std::cmp::Reverse(block.length()), *block))
                        } else {
                            fits().min()
                        };
                        prop_assert_eq!(Some(cidr.first()), expected.map(|block| block.first()));
                    }
                    done.is_ok()
                }
                Operation::Release(child) => node.release(uid(child)).is_some(),
                Operation::Replace(child, offset, length) => node.replace(uid(child), at(offset, length)).is_ok(),
                Operation::Resize(length) => node.resize(at(0, length)).is_ok(),
            };
            if !done {
                prop_assert_eq!(&node, &before);
            }
            let children: Vec<Child> = node.children().collect();
            let together = AddressSet::union_of(children.iter().map(|child| child.cidr.range()));
            let sum: u128 = children.iter().map(|child| child.cidr.count()).sum();
            prop_assert_eq!(together.count(), sum);
            prop_assert!(children.iter().all(|child| node.cidr().contains_cidr(&child.cidr)));
            let free = node.free_set();
            prop_assert_eq!(node.free_by_size(), free_by_size(&free));
            prop_assert_eq!(node.free_count(), free.count());
            prop_assert_eq!(node.free_count() + sum, node.cidr().count());
            prop_assert_eq!(&Node::from_parts(node.cidr(), children).unwrap(), &node);
        }
    }
}
