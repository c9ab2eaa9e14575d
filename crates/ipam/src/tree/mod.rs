//! The tree of prefixes: what a parent has given to which child, and what is left.
//!
//! A parent keeps a table of its direct children and a list of its free blocks. The free list is the one of a buddy
//! allocator: every free address in the largest aligned block that is wholly free. So it follows from the children alone
//! and is never stored; carving by best fit splits the smallest block that fits and keeps the low half, and a release
//! joins buddies as long as both are free.
//!
//! The writer of the parent's object places a child in the table by compare-and-swap; afterwards the child may exist. For
//! roots the table is that of the address space ([`Roots`]), which has no free list.

mod free;
mod roots;
#[cfg(test)]
mod tests;

pub use roots::Roots;

use crate::address::{AddressSet, Cidr, Family};
use crate::pool::PerMille;
use crate::space::fragmentation;
use free::FreeList;
use ids::ResourceUid;
use std::collections::BTreeMap;

/// Direct children of one prefix; beyond it a level of prefixes belongs in between, as the object would outgrow its size.
pub const CHILDREN_MAX: usize = 1_024;

/// How a child without a CIDR of its own is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carving {
    /// Out of the smallest free block that fits, ties to the lowest: large blocks stay whole.
    BestFit,
    /// At the lowest place that fits.
    Sequential,
}

/// A child in its parent's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Child {
    /// Its addresses.
    pub cidr: Cidr,
    /// UID of its object.
    pub uid: ResourceUid,
}

/// Why a prefix cannot be placed or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeRefused {
    /// Not within the parent.
    #[error("{cidr} is not within its parent {parent}; choose a prefix inside it")]
    OutsideParent {
        /// As asked.
        cidr: Cidr,
        /// The parent.
        parent: Cidr,
    },
    /// The whole parent, or more.
    #[error("/{length} is not longer than its parent {parent}; ask for /{} or longer", parent.length().saturating_add(1))]
    NotLonger {
        /// As asked.
        length: u8,
        /// The parent.
        parent: Cidr,
    },
    /// Longer than an address of the family.
    #[error("/{length} is too long for {family}; the longest is /{}", family.bits())]
    TooLong {
        /// As asked.
        length: u8,
        /// The parent's.
        family: Family,
    },
    /// Somebody has some of it.
    #[error("{cidr} overlaps {}, which is given out already", other.cidr)]
    Overlaps {
        /// As asked.
        cidr: Cidr,
        /// The lowest that it overlaps.
        other: Child,
    },
    /// The child has another CIDR already.
    #[error("the prefix has {} in this parent already; release it before it gets {cidr}", had.cidr)]
    AlreadyPlaced {
        /// As asked.
        cidr: Cidr,
        /// What it has.
        had: Child,
    },
    /// No free block is large enough.
    #[error("{parent} has no free /{length}; the largest free block is {}", largest.map_or_else(|| "none".to_owned(), |cidr| format!("/{}", cidr.length())))]
    NoRoom {
        /// As asked.
        length: u8,
        /// The parent.
        parent: Cidr,
        /// The largest free block.
        largest: Option<Cidr>,
    },
    /// The table is full.
    #[error(
        "the parent has {CHILDREN_MAX} direct children, the most there can be; put a level of prefixes in between"
    )]
    TooManyChildren,
    /// Children would be cut off.
    #[error("{cidr} leaves out {}", in_the_way(children))]
    InTheWay {
        /// As asked.
        cidr: Cidr,
        /// All that would lie outside, ascending.
        children: Vec<Child>,
    },
}

/// Three by name, the rest by number.
fn in_the_way(children: &[Child]) -> String {
    let named: Vec<String> = children.iter().take(3).map(|child| child.cidr.to_string()).collect();
    let more = children.len().saturating_sub(named.len());
    let named = named.join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// One prefix with its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    cidr: Cidr,
    /// By address; disjoint.
    children: BTreeMap<Cidr, ResourceUid>,
    places: BTreeMap<ResourceUid, Cidr>,
    free: FreeList,
}

impl Node {
    /// A prefix without children.
    pub fn new(cidr: Cidr) -> Self {
        let free = FreeList::whole(cidr);
        Self { cidr, children: BTreeMap::new(), places: BTreeMap::new(), free }
    }

    /// A prefix as read from its object, children in any order.
    ///
    /// # Errors
    /// The first child that cannot be one.
    pub fn from_parts(
        cidr: Cidr,
        children: impl IntoIterator<Item = Child>,
    ) -> Result<Self, TreeRefused> {
        let mut node = Self::new(cidr);
        for child in children {
            node.place(child.uid, child.cidr)?;
        }
        Ok(node)
    }

    /// Its addresses.
    pub const fn cidr(&self) -> Cidr {
        self.cidr
    }

    /// Its children, by address.
    pub fn children(&self) -> impl Iterator<Item = Child> {
        self.children.iter().map(|(cidr, uid)| Child { cidr: *cidr, uid: *uid })
    }

    /// The place of a child.
    pub fn place_of(&self, uid: ResourceUid) -> Option<Cidr> {
        self.places.get(&uid).copied()
    }

    /// Gives a child this CIDR. Done again, it changes nothing.
    ///
    /// # Errors
    /// Why it cannot have it; then nothing has changed.
    pub fn place(&mut self, uid: ResourceUid, cidr: Cidr) -> Result<Cidr, TreeRefused> {
        if let Some(had) = self.place_of(uid) {
            let had = Child { cidr: had, uid };
            return if had.cidr == cidr {
                Ok(cidr)
            } else {
                Err(TreeRefused::AlreadyPlaced { cidr, had })
            };
        }
        self.check(&cidr)?;
        self.insert(uid, cidr);
        Ok(cidr)
    }

    /// Gives a child a free CIDR of this length. A child that has one keeps it, whatever is asked now.
    ///
    /// # Errors
    /// Why there is none; then nothing has changed.
    pub fn carve(
        &mut self,
        uid: ResourceUid,
        length: u8,
        carving: Carving,
    ) -> Result<Cidr, TreeRefused> {
        if let Some(had) = self.place_of(uid) {
            return Ok(had);
        }
        let family = self.cidr.family();
        if length > family.bits() {
            return Err(TreeRefused::TooLong { length, family });
        }
        if length <= self.cidr.length() {
            return Err(TreeRefused::NotLonger { length, parent: self.cidr });
        }
        if self.children.len() >= CHILDREN_MAX {
            return Err(TreeRefused::TooManyChildren);
        }
        let block = match carving {
            Carving::BestFit => self.free.smallest_with(length),
            Carving::Sequential => self.free.lowest_with(length),
        };
        let cidr = block.and_then(|block| Cidr::new(block.first(), length));
        let largest = self.free.largest();
        let cidr = cidr.ok_or(TreeRefused::NoRoom { length, parent: self.cidr, largest })?;
        self.insert(uid, cidr);
        Ok(cidr)
    }

    /// Takes a child's place back; its CIDR, if it had one. Done again, it changes nothing.
    pub fn release(&mut self, uid: ResourceUid) -> Option<Cidr> {
        let cidr = self.places.remove(&uid)?;
        self.children.remove(&cidr);
        self.free.give_back(cidr, self.cidr);
        Some(cidr)
    }

    /// Changes the place of a child to a wider or narrower one: what the child's own growth or shrinking needs of its
    /// parent. The child's own children are the child's concern ([`Node::resize`] of its own node, first when it shrinks,
    /// last when it grows).
    ///
    /// # Errors
    /// Why it cannot have it; then nothing has changed.
    pub fn replace(&mut self, uid: ResourceUid, cidr: Cidr) -> Result<Cidr, TreeRefused> {
        let former = self.release(uid);
        match (self.place(uid, cidr), former) {
            (Err(refused), Some(former)) => {
                self.insert(uid, former);
                Err(refused)
            }
            (outcome, _) => outcome,
        }
    }

    /// Changes its own CIDR: wider or narrower, or elsewhere while it has no children.
    ///
    /// # Errors
    /// [`TreeRefused::InTheWay`] with every child that would lie outside; then nothing has changed.
    pub fn resize(&mut self, cidr: Cidr) -> Result<(), TreeRefused> {
        let is_out = |child: &Child| !cidr.contains_cidr(&child.cidr) || child.cidr == cidr;
        let children: Vec<Child> = self.children().filter(is_out).collect();
        if !children.is_empty() {
            return Err(TreeRefused::InTheWay { cidr, children });
        }
        self.cidr = cidr;
        self.free = FreeList::whole(cidr);
        for child in self.children.keys() {
            self.free.take(*child);
        }
        Ok(())
    }

    /// Its free blocks by prefix length: how many of each, each free address counted once.
    pub fn free_by_size(&self) -> BTreeMap<u8, u128> {
        self.free.by_size()
    }

    /// Its free addresses, saturating.
    pub fn free_count(&self) -> u128 {
        self.free.count()
    }

    /// 1 − largest free block ÷ largest power of two ≤ free; 0 when nothing is free.
    pub fn fragmentation(&self) -> PerMille {
        fragmentation(self.cidr.family(), self.free.count(), &self.free.by_size())
    }

    /// What children have, of all.
    pub fn utilisation(&self) -> PerMille {
        PerMille::of(self.cidr.count().saturating_sub(self.free.count()), self.cidr.count())
    }

    /// Free addresses, as few ranges as possible.
    pub fn free_set(&self) -> AddressSet {
        let taken = AddressSet::union_of(self.children.keys().map(Cidr::range));
        AddressSet::union_of([self.cidr.range()]).without(&taken)
    }

    fn check(&self, cidr: &Cidr) -> Result<(), TreeRefused> {
        if !self.cidr.contains_cidr(cidr) {
            return Err(TreeRefused::OutsideParent { cidr: *cidr, parent: self.cidr });
        }
        if *cidr == self.cidr {
            return Err(TreeRefused::NotLonger { length: cidr.length(), parent: self.cidr });
        }
        if let Some(other) = overlapping(&self.children, cidr) {
            return Err(TreeRefused::Overlaps { cidr: *cidr, other });
        }
        if self.children.len() >= CHILDREN_MAX {
            return Err(TreeRefused::TooManyChildren);
        }
        Ok(())
    }

    fn insert(&mut self, uid: ResourceUid, cidr: Cidr) {
        self.free.take(cidr);
        self.children.insert(cidr, uid);
        self.places.insert(uid, cidr);
    }
}

/// The lowest of disjoint prefixes that overlaps another.
fn overlapping(children: &BTreeMap<Cidr, ResourceUid>, cidr: &Cidr) -> Option<Child> {
    let before = children.range(..=*cidr).next_back();
    let within = children.range(*cidr..).next();
    let found = before.into_iter().chain(within).find(|(other, _)| other.overlaps(cidr));
    found.map(|(cidr, uid)| Child { cidr: *cidr, uid: *uid })
}
