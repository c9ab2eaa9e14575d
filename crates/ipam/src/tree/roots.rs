//! The root prefixes of an address space: disjoint, of both families, and bounded by nothing.

use super::{CHILDREN_MAX, Child, TreeRefused, overlapping};
use crate::address::Cidr;
use ids::ResourceUid;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roots {
    children: BTreeMap<Cidr, ResourceUid>,
    places: BTreeMap<ResourceUid, Cidr>,
}

impl Roots {
    /// The roots as read from their object, in any order.
    ///
    /// # Errors
    /// The first one that overlaps another.
    pub fn from_parts(children: impl IntoIterator<Item = Child>) -> Result<Self, TreeRefused> {
        let mut roots = Self::default();
        for child in children {
            roots.place(child.uid, child.cidr)?;
        }
        Ok(roots)
    }

    /// The roots by address.
    pub fn children(&self) -> impl Iterator<Item = Child> {
        self.children.iter().map(|(cidr, uid)| Child { cidr: *cidr, uid: *uid })
    }

    /// The place of a root.
    pub fn place_of(&self, uid: ResourceUid) -> Option<Cidr> {
        self.places.get(&uid).copied()
    }

    /// Adds a root. Done again, it changes nothing.
    ///
    /// # Errors
    /// Why it cannot be one; then nothing has changed.
    pub fn place(&mut self, uid: ResourceUid, cidr: Cidr) -> Result<Cidr, TreeRefused> {
        if let Some(had) = self.place_of(uid) {
            let had = Child { cidr: had, uid };
            return if had.cidr == cidr {
                Ok(cidr)
            } else {
                Err(TreeRefused::AlreadyPlaced { cidr, had })
            };
        }
        if let Some(other) = overlapping(&self.children, &cidr) {
            return Err(TreeRefused::Overlaps { cidr, other });
        }
        if self.children.len() >= CHILDREN_MAX {
            return Err(TreeRefused::TooManyChildren);
        }
        self.children.insert(cidr, uid);
        self.places.insert(uid, cidr);
        Ok(cidr)
    }

    /// Changes the CIDR of a root.
    ///
    /// # Errors
    /// Why it cannot have it; then nothing has changed.
    pub fn replace(&mut self, uid: ResourceUid, cidr: Cidr) -> Result<Cidr, TreeRefused> {
        let former = self.release(uid);
        match (self.place(uid, cidr), former) {
            (Err(refused), Some(former)) => {
                self.children.insert(former, uid);
                self.places.insert(uid, former);
                Err(refused)
            }
            (outcome, _) => outcome,
        }
    }

    /// Takes a root out; its CIDR, if it had one.
    pub fn release(&mut self, uid: ResourceUid) -> Option<Cidr> {
        let cidr = self.places.remove(&uid)?;
        self.children.remove(&cidr);
        Some(cidr)
    }
}
