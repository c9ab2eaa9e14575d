//! Which part of a parent each child has: the table in the parent's status, changed by compare-and-swap.
//!
//! A parent is a Prefix, or the AddressSpace for roots. A child exists as soon as its row is written; its own status tells
//! it afterwards. The row is found by the child's UID, whatever happened in between.

mod table;

use crds::network::{AddressSpace, BookedPool, BookedPrefix, Prefix};
use ids::{ResourceUid, well_known};
use ipam::address::{AddressRange, Cidr};
use ipam::tree::TreeRefused;
use kube::{Resource, ResourceExt};
use operator_kit::Applier;
use operator_kit::apply::Object;
use operator_kit::cache::Cache;
use operator_kit::group_commit::{CommitError, Decision, GroupCommit, Ledger, Objects, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::Arc;
use table::{Shape, Table};

/// Why a place was not booked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The parent is gone, or has no network yet.
    #[error("the parent {0} is not there or has no network yet")]
    NoParent(String),
    /// The parent is being removed.
    #[error("the parent {0} is being removed; name another")]
    ParentGoes(String),
    /// A space has no network of its own to carve from.
    #[error(
        "the parent {0} is an AddressSpace, from which nothing can be carved; name the network with cidr"
    )]
    NothingToCarve(String),
    /// Not as the tree is.
    #[error("{refused}{}", other.as_ref().map(|name| format!(" (Prefix {name})")).unwrap_or_default())]
    Tree {
        /// Why.
        refused: TreeRefused,
        /// The name of the other one, if there is one.
        other: Option<String>,
    },
    /// A pool's ranges and something else.
    #[error("{range} is taken by {other} already; ranges of a prefix must not overlap")]
    RangeTaken {
        /// What both contain.
        range: AddressRange,
        /// `Prefix x` or `IPPool x`.
        other: String,
    },
    /// The stored table contradicts itself.
    #[error("the table of parent {0} cannot be read; restore the object")]
    Unreadable(String),
}

/// What a child wants of its parent.
#[derive(Debug, Clone)]
pub enum Want {
    /// This network; instead of the one it has, if it has one.
    Place(Cidr),
    /// Any network of this length; the one it has, if it has one.
    Carve(u8),
    /// A pool's ranges.
    Pool(Vec<AddressRange>),
    /// Nothing any more, of whatever parent it has something.
    Release,
    /// To know the parent that it has a network of.
    Find,
}

/// Who wants it.
#[derive(Debug)]
struct Ask {
    parent: String,
    name: String,
    uid: ResourceUid,
    want: Want,
}

type Answer = Result<Option<Place>, Refused>;

/// A network and the parent that has booked it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The network.
    pub cidr: Cidr,
    /// The parent's name.
    pub parent: String,
}

/// The writers of both kinds of parents.
pub struct Tree {
    prefixes: GroupCommit<Tables<Prefix>>,
    spaces: GroupCommit<Tables<AddressSpace>>,
}

/// A parent by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// A Prefix.
    Prefix(String),
    /// The AddressSpace of a root.
    Space(String),
}

impl Tree {
    /// Writes the tables of what is in these caches.
    pub fn new(
        prefixes: Arc<Cache<Prefix>>,
        spaces: Arc<Cache<AddressSpace>>,
        applier: &Applier,
    ) -> Self {
        let manager = well_known::TREE_MANAGER;
        Self {
            prefixes: GroupCommit::new(Tables::new(), prefixes, applier.clone(), manager),
            spaces: GroupCommit::new(Tables::new(), spaces, applier.clone(), manager),
        }
    }

    /// Books or changes the place of `child` in `parent`; its network.
    ///
    /// # Errors
    /// [`CommitError`]; asking again finds by the child's UID what was done.
    pub async fn book<K: Resource<DynamicType = ()>>(
        &self,
        parent: &Parent,
        child: &K,
        uid: ResourceUid,
        want: Want,
    ) -> Result<Answer, CommitError> {
        let ask =
            |parent: &String| Ask { parent: parent.clone(), name: child.name_any(), uid, want };
        match parent {
            Parent::Prefix(name) => self.prefixes.ask(ask(name)).await,
            Parent::Space(name) => self.spaces.ask(ask(name)).await,
        }
    }

    /// The Prefix in which this UID has a place, if one has it: booked, and perhaps never told.
    ///
    /// # Errors
    /// As [`Tree::book`].
    pub async fn parent_of(&self, uid: ResourceUid) -> Result<Option<String>, CommitError> {
        let ask = Ask { parent: String::new(), name: String::new(), uid, want: Want::Find };
        Ok(self.prefixes.ask(ask).await?.ok().flatten().map(|place| place.parent))
    }

    /// Gives back whatever this UID has, in whatever parent.
    ///
    /// # Errors
    /// As [`Tree::book`].
    pub async fn release(&self, uid: ResourceUid) -> Result<(), CommitError> {
        let ask = || Ask { parent: String::new(), name: String::new(), uid, want: Want::Release };
        drop(self.prefixes.ask(ask()).await?);
        drop(self.spaces.ask(ask()).await?);
        Ok(())
    }
}

/// The rules of the tables of one kind of parent.
struct Tables<K>(PhantomData<fn() -> K>);

impl<K> Tables<K> {
    const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<K> Ledger for Tables<K>
where
    K: Table + Object + Resource<Scope = kube::core::ClusterResourceScope> + 'static,
{
    type Object = K;
    type Request = Ask;
    type Answer = Answer;

    fn sequence(object: &K) -> i64 {
        object.sequence()
    }

    fn plan(&mut self, objects: &Objects<K>, requests: &[&Ask]) -> Plan<K, Answer> {
        let mut sheet = Sheet { objects, next: BTreeMap::new() };
        // What is given back can be booked by others at once; the rest in the order of asking.
        let mut order: Vec<(usize, &&Ask)> = requests.iter().enumerate().collect();
        order.sort_by_key(|(index, ask)| (!matches!(ask.want, Want::Release), *index));
        let mut decisions: BTreeMap<usize, Decision<Answer>> = BTreeMap::new();
        for (index, ask) in order {
            decisions.insert(index, sheet.serve(ask));
        }
        Plan { next: sheet.next, decisions: decisions.into_values().collect() }
    }
}

/// The planner's own copy of the parents.
struct Sheet<'a, K> {
    objects: &'a Objects<K>,
    next: BTreeMap<String, K>,
}

impl<K: Table> Sheet<'_, K> {
    fn serve(&mut self, ask: &Ask) -> Decision<Answer> {
        match ask.want {
            Want::Release => {
                let rests_on = self.holders(&ask.uid.to_string());
                for name in &rests_on {
                    self.change(name, |parent| release(parent, &ask.uid.to_string()));
                }
                Decision { answer: Ok(None), rests_on: rests_on.into_iter().collect() }
            }
            Want::Find => {
                let uid = ask.uid.to_string();
                let place = self.holders(&uid).into_iter().find_map(|parent| {
                    let row = self.get(&parent)?.children().iter().find(|row| row.uid == uid)?;
                    Some(Place { cidr: row.cidr.parse().ok()?, parent })
                });
                let rests_on = place.iter().map(|place| place.parent.clone()).collect();
                Decision { answer: Ok(place), rests_on }
            }
            Want::Place(_) | Want::Carve(_) | Want::Pool(_) => {
                let answer = self.change(&ask.parent, |parent| decide(parent, ask));
                let answer = answer.unwrap_or(Err(Refused::NoParent(ask.parent.clone())));
                let place = |cidr| Place { cidr, parent: ask.parent.clone() };
                let rests_on = BTreeSet::from([ask.parent.clone()]);
                Decision { answer: answer.map(|cidr| cidr.map(place)), rests_on }
            }
        }
    }

    fn get(&self, name: &str) -> Option<&K> {
        self.next.get(name).or_else(|| self.objects.get(name).map(AsRef::as_ref))
    }

    /// Parents with a row of this UID.
    fn holders(&self, uid: &str) -> Vec<String> {
        let has = |name: &&String| {
            self.get(name).is_some_and(|parent| {
                parent.children().iter().any(|row| row.uid == uid)
                    || parent.pools().iter().any(|row| row.uid == uid)
            })
        };
        self.objects.keys().filter(has).cloned().collect()
    }

    /// Changes a parent that is there; it is written if that counted as a change.
    fn change<T>(&mut self, name: &str, change: impl FnOnce(&mut K) -> T) -> Option<T> {
        let stored = self.objects.get(name)?;
        let mut parent = self.next.remove(name).unwrap_or_else(|| K::clone(stored));
        let result = change(&mut parent);
        if parent.sequence() != stored.sequence() {
            self.next.insert(name.to_owned(), parent);
        }
        Some(result)
    }
}

/// Takes the rows of a UID away; that needs no look at the others.
fn release<K: Table>(parent: &mut K, uid: &str) {
    let children: Vec<BookedPrefix> =
        parent.children().iter().filter(|row| row.uid != uid).cloned().collect();
    if children.len() != parent.children().len() {
        parent.set_children(children);
    }
    let pools: Vec<BookedPool> =
        parent.pools().iter().filter(|row| row.uid != uid).cloned().collect();
    if pools.len() != parent.pools().len() {
        parent.set_pools(pools);
    }
}

/// Changes the parent as the child wants, and counts the change; what is as wanted already is left alone.
fn decide<K: Table>(parent: &mut K, ask: &Ask) -> Result<Option<Cidr>, Refused> {
    if parent.is_going() {
        return Err(Refused::ParentGoes(ask.parent.clone()));
    }
    if let Want::Pool(ranges) = &ask.want {
        return book_pool(parent, ask, ranges).map(|()| None);
    }
    let mut shape = match parent.shape() {
        Some(Ok(shape)) => shape,
        Some(Err(())) => return Err(Refused::Unreadable(ask.parent.clone())),
        None => return Err(Refused::NoParent(ask.parent.clone())),
    };
    let named = |refused: TreeRefused| {
        let other = match &refused {
            TreeRefused::Overlaps { other, .. } => {
                let uid = other.uid.to_string();
                parent.children().iter().find(|child| child.uid == uid).map(|one| one.name.clone())
            }
            _ => None,
        };
        Refused::Tree { refused, other }
    };
    let before = shape.place_of(ask.uid);
    let after = match &ask.want {
        Want::Place(cidr) if before.is_none() => Some(shape.place(ask.uid, *cidr).map_err(named)?),
        Want::Place(cidr) => Some(shape.replace(ask.uid, *cidr).map_err(named)?),
        Want::Carve(length) => match &mut shape {
            Shape::Node(node) => {
                Some(node.carve(ask.uid, *length, parent.carving()).map_err(named)?)
            }
            Shape::Roots(_) => return Err(Refused::NothingToCarve(ask.parent.clone())),
        },
        Want::Pool(_) | Want::Release | Want::Find => before,
    };
    if let Some(cidr) = after {
        check_free(&[cidr.range()], booked(&[], parent.pools()))?;
    }
    if before != after {
        let uid = ask.uid.to_string();
        let mut children: Vec<BookedPrefix> =
            parent.children().iter().filter(|child| child.uid != uid).cloned().collect();
        if let Some(cidr) = after {
            let seq = parent.sequence().saturating_add(1);
            children.push(BookedPrefix {
                name: ask.name.clone(),
                uid,
                cidr: cidr.to_string(),
                seq,
            });
        }
        children.sort_by_key(|child| child.cidr.parse::<Cidr>().ok());
        parent.set_children(children);
    }
    Ok(after)
}

/// What rows of a parent have: ranges, and whose they are.
pub fn booked(
    children: &[BookedPrefix],
    pools: &[BookedPool],
) -> impl Iterator<Item = (AddressRange, String)> {
    let children = children.iter().filter_map(|child| {
        Some((child.cidr.parse::<Cidr>().ok()?.range(), format!("Prefix {}", child.name)))
    });
    let pools = pools.iter().flat_map(|pool| {
        let ranges = pool.ranges.iter().filter_map(|text| text.parse::<AddressRange>().ok());
        ranges.map(|range| (range, format!("IPPool {}", pool.name)))
    });
    children.chain(pools)
}

/// Refuses ranges of which somebody has a part.
fn check_free(
    ranges: &[AddressRange],
    mut taken: impl Iterator<Item = (AddressRange, String)>,
) -> Result<(), Refused> {
    let overlap = |(taken, other): (AddressRange, String)| {
        let range = ranges.iter().find_map(|range| range.intersection(&taken))?;
        Some(Refused::RangeTaken { range, other })
    };
    taken.find_map(overlap).map_or(Ok(()), Err)
}

fn book_pool<K: Table>(parent: &mut K, ask: &Ask, ranges: &[AddressRange]) -> Result<(), Refused> {
    let uid = ask.uid.to_string();
    let texts: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    if parent.pools().iter().any(|pool| pool.uid == uid && pool.ranges == texts) {
        return Ok(());
    }
    let others: Vec<BookedPool> =
        parent.pools().iter().filter(|pool| pool.uid != uid).cloned().collect();
    check_free(ranges, booked(parent.children(), &others))?;
    let mut pools = others;
    let seq = parent.sequence().saturating_add(1);
    pools.push(BookedPool { name: ask.name.clone(), uid, ranges: texts, seq });
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    parent.set_pools(pools);
    Ok(())
}

#[cfg(test)]
mod tests;
