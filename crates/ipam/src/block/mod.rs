//! What one object stores: the slots of 256 addresses that are not free, and the order in which others became free.
//!
//! A block is plain data; [`Space`](crate::space::Space) keeps what follows from it. Everything that is compared later is an
//! identity or a number: the owner's UID, the tenant's account, the sequence number of the slot's last change. Names are
//! carried for people alone.

mod bits;

pub use bits::SlotSet;

use crate::address::{Address, BlockId};
use calendar::Instant;
use ids::{AccountId, ResourceUid};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a slot that is not free is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// Taken for a claim that is not published yet, because it needs other objects too.
    Held,
    /// The claim's.
    Allocated,
    /// Given back and not handed out before `until`, except to the same tenant and sticky key.
    Quarantined {
        /// The first instant at which it is free.
        until: Instant,
    },
}

impl SlotState {
    /// Whether a claim has it: held or allocated.
    pub const fn is_live(self) -> bool {
        match self {
            Self::Held | Self::Allocated => true,
            Self::Quarantined { .. } => false,
        }
    }
}

/// A slot that is not free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// What it is.
    pub state: SlotState,
    /// UID of the pool it was taken from.
    pub pool: ResourceUid,
    /// UID of the claim that has it, or had it.
    pub owner: ResourceUid,
    /// Namespace and name of that claim, for people; decides nothing.
    pub reference: Arc<str>,
    /// Whose claim.
    pub tenant: AccountId,
    /// Under which the tenant gets the same address again while it is in quarantine.
    pub sticky_key: Option<Arc<str>>,
    /// When the state began.
    pub since: Instant,
    /// Number of the change that brought the state about, unique in its block.
    pub seq: u64,
}

/// A slot with its address: what claims, audits and reports speak about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Which.
    pub address: Address,
    /// What is known of it.
    pub slot: Slot,
}

/// Why stored slots are no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockRefused {
    /// One slot twice.
    #[error("block {block} lists slot {index} twice; the object was not written by this program")]
    SlotTwice {
        /// Which block.
        block: BlockId,
        /// Which slot.
        index: u8,
    },
    /// A number that this block has not counted yet.
    #[error(
        "block {block} is at generation {generation} but slot {index} says {seq}; the object was not written by this program"
    )]
    FromTheFuture {
        /// Which block.
        block: BlockId,
        /// Its generation.
        generation: u64,
        /// Which slot.
        index: u8,
        /// The slot's number.
        seq: u64,
    },
}

/// 256 addresses as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    id: BlockId,
    generation: u64,
    tenant: Option<AccountId>,
    slots: BTreeMap<u8, Slot>,
    released: BTreeMap<u8, u64>,
}

impl Block {
    /// A block of which nothing was ever taken.
    pub const fn new(id: BlockId) -> Self {
        Self { id, generation: 0, tenant: None, slots: BTreeMap::new(), released: BTreeMap::new() }
    }

    /// A block as read from its object.
    ///
    /// # Errors
    /// [`BlockRefused`] where no writer of ours can have written this.
    pub fn from_parts(
        id: BlockId,
        generation: u64,
        tenant: Option<AccountId>,
        slots: impl IntoIterator<Item = (u8, Slot)>,
        released: impl IntoIterator<Item = (u8, u64)>,
    ) -> Result<Self, BlockRefused> {
        let mut block = Self { generation, tenant, ..Self::new(id) };
        let future = |index, seq| BlockRefused::FromTheFuture { block: id, generation, index, seq };
        for (index, slot) in slots {
            if slot.seq > generation {
                return Err(future(index, slot.seq));
            }
            if block.slots.insert(index, slot).is_some() {
                return Err(BlockRefused::SlotTwice { block: id, index });
            }
        }
        for (index, seq) in released {
            if seq > generation {
                return Err(future(index, seq));
            }
            if block.released.insert(index, seq).is_some() {
                return Err(BlockRefused::SlotTwice { block: id, index });
            }
        }
        Ok(block)
    }

    /// Which addresses.
    pub const fn id(&self) -> BlockId {
        self.id
    }

    /// The number of the last change; every change raises it.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The tenant that has the block for itself, if one has.
    pub const fn tenant(&self) -> Option<AccountId> {
        self.tenant
    }

    /// The slots that are not free, by index.
    pub const fn slots(&self) -> &BTreeMap<u8, Slot> {
        &self.slots
    }

    /// For slots of pools that hand out the least recently used: the number of the last release.
    pub const fn released(&self) -> &BTreeMap<u8, u64> {
        &self.released
    }

    /// The slots that are not free, with their addresses.
    pub fn holdings(&self) -> impl Iterator<Item = Holding> {
        self.slots
            .iter()
            .map(|(index, slot)| Holding { address: self.id.address(*index), slot: slot.clone() })
    }

    /// Replaces a slot; the former one comes back.
    pub(crate) fn put(&mut self, index: u8, slot: Option<Slot>) -> Option<Slot> {
        match slot {
            Some(slot) => self.slots.insert(index, slot),
            None => self.slots.remove(&index),
        }
    }

    /// Turns a held slot into an allocated one.
    pub(crate) fn allocate(&mut self, index: u8) {
        if let Some(slot) = self.slots.get_mut(&index).filter(|slot| slot.state == SlotState::Held)
        {
            slot.state = SlotState::Allocated;
        }
    }

    /// Remembers when a slot was given back.
    pub(crate) fn remember_release(&mut self, index: u8, seq: u64) {
        self.released.insert(index, seq);
    }

    /// Replaces what is remembered of releases.
    pub(crate) fn set_released(&mut self, released: BTreeMap<u8, u64>) {
        self.released = released;
    }

    /// Sets or lifts the exclusive tenant.
    pub(crate) const fn set_tenant(&mut self, tenant: Option<AccountId>) {
        self.tenant = tenant;
    }

    /// Takes the generation that was read.
    pub(crate) const fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Counts changes up to `generation`.
    pub(crate) fn raise(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
    }
}
