//! The table of children in the status of both kinds of parents.

use crds::network::{AddressSpace, BookedPool, BookedPrefix, CarvingStrategy, Prefix};
use ids::ResourceUid;
use ipam::address::Cidr;
use ipam::tree::{Carving, Child, Node, Roots, TreeRefused};

/// A parent as the tree's rules see it.
pub enum Shape {
    /// A network.
    Node(Box<Node>),
    /// A space.
    Roots(Roots),
}

impl Shape {
    /// The network of a child.
    pub fn place_of(&self, uid: ResourceUid) -> Option<Cidr> {
        match self {
            Self::Node(node) => node.place_of(uid),
            Self::Roots(roots) => roots.place_of(uid),
        }
    }

    /// Books a network.
    pub fn place(&mut self, uid: ResourceUid, cidr: Cidr) -> Result<Cidr, TreeRefused> {
        match self {
            Self::Node(node) => node.place(uid, cidr),
            Self::Roots(roots) => roots.place(uid, cidr),
        }
    }

    /// Books another network instead.
    pub fn replace(&mut self, uid: ResourceUid, cidr: Cidr) -> Result<Cidr, TreeRefused> {
        match self {
            Self::Node(node) => node.replace(uid, cidr),
            Self::Roots(roots) => roots.replace(uid, cidr),
        }
    }
}

/// An object with a table.
pub trait Table: Clone {
    /// Its children.
    fn children(&self) -> &[BookedPrefix];
    /// Its pools; a space has none.
    fn pools(&self) -> &[BookedPool];
    /// Replaces its children, which counts as a change.
    fn set_children(&mut self, children: Vec<BookedPrefix>);
    /// Replaces its pools, which counts as a change.
    fn set_pools(&mut self, pools: Vec<BookedPool>);
    /// Counts the changes.
    fn sequence(&self) -> i64;
    /// Whether it is being removed: then nothing more is booked in it.
    fn is_going(&self) -> bool;
    /// How it carves.
    fn carving(&self) -> Carving;
    /// The tree's view of it: none while it has no network, an error when its table contradicts itself.
    fn shape(&self) -> Option<Result<Shape, ()>>;
}

fn child(row: &BookedPrefix) -> Option<Child> {
    Some(Child { cidr: row.cidr.parse().ok()?, uid: row.uid.parse().ok()? })
}

impl Table for Prefix {
    fn children(&self) -> &[BookedPrefix] {
        self.status.as_ref().map_or(&[], |status| &status.children)
    }

    fn pools(&self) -> &[BookedPool] {
        self.status.as_ref().map_or(&[], |status| &status.pools)
    }

    fn set_children(&mut self, children: Vec<BookedPrefix>) {
        let sequence = self.sequence().saturating_add(1);
        let status = self.status.get_or_insert_default();
        (status.children, status.sequence) = (children, Some(sequence));
    }

    fn set_pools(&mut self, pools: Vec<BookedPool>) {
        let sequence = self.sequence().saturating_add(1);
        let status = self.status.get_or_insert_default();
        (status.pools, status.sequence) = (pools, Some(sequence));
    }

    fn sequence(&self) -> i64 {
        self.status.as_ref().and_then(|status| status.sequence).unwrap_or(0)
    }

    fn is_going(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    fn carving(&self) -> Carving {
        match self.spec.strategy.unwrap_or(CarvingStrategy::BestFit) {
            CarvingStrategy::BestFit => Carving::BestFit,
            CarvingStrategy::Sequential => Carving::Sequential,
        }
    }

    fn shape(&self) -> Option<Result<Shape, ()>> {
        let cidr: Cidr = self.status.as_ref()?.cidr.as_ref()?.parse().ok()?;
        let children: Option<Vec<Child>> = self.children().iter().map(child).collect();
        let node = children.and_then(|children| Node::from_parts(cidr, children).ok());
        Some(node.map(|node| Shape::Node(Box::new(node))).ok_or(()))
    }
}

impl Table for AddressSpace {
    fn children(&self) -> &[BookedPrefix] {
        self.status.as_ref().map_or(&[], |status| &status.roots)
    }

    fn pools(&self) -> &[BookedPool] {
        &[]
    }

    fn set_children(&mut self, children: Vec<BookedPrefix>) {
        let sequence = self.sequence().saturating_add(1);
        let status = self.status.get_or_insert_default();
        (status.roots, status.sequence) = (children, Some(sequence));
    }

    fn set_pools(&mut self, _: Vec<BookedPool>) {}

    fn sequence(&self) -> i64 {
        self.status.as_ref().and_then(|status| status.sequence).unwrap_or(0)
    }

    fn is_going(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    fn carving(&self) -> Carving {
        Carving::BestFit
    }

    fn shape(&self) -> Option<Result<Shape, ()>> {
        let children: Option<Vec<Child>> = self.children().iter().map(child).collect();
        Some(
            children
                .and_then(|children| Roots::from_parts(children).ok())
                .map(Shape::Roots)
                .ok_or(()),
        )
    }
}
