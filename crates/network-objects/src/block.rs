//! Blocks as objects store them, and as the allocator reads them.

use crate::text::seconds;
use calendar::Instant;
use crds::ObjectName;
use crds::network::{Cidr, IPBlock, IPBlockSpec, IPBlockStatus, Slot, SlotState};
use ids::{AccountId, ResourceUid};
use ipam::address::{self, BlockId};
use ipam::block::{self, Block, BlockRefused};
use std::sync::Arc;

/// Stands where an identity cannot be read; no object has it.
pub const NOBODY: ResourceUid = ResourceUid(uuid::Uuid::nil());

/// Why an object is no block.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not a block's network.
    #[error("spec.cidr: {0} is no block")]
    Cidr(String),
    /// A slot has a value that no writer of ours writes.
    #[error("status.slots: slot {index} has no readable {what}")]
    Slot {
        /// Its index as stored.
        index: i64,
        /// What is wrong.
        what: &'static str,
    },
    /// The slots contradict one another.
    #[error("status.slots")]
    Refused(#[from] BlockRefused),
}

/// The name of a block's object: no second one of the same addresses can exist.
pub fn block_name(space: &str, id: BlockId) -> String {
    format!("{space}-{}", id.name_part())
}

/// The block in an object.
///
/// # Errors
/// What no writer of ours writes.
pub fn read(object: &IPBlock) -> Result<Block, Unreadable> {
    let text = object.spec.cidr.as_str();
    let cidr: Option<address::Cidr> = text.parse().ok();
    let id = cidr.as_ref().and_then(BlockId::from_cidr);
    let id = id.ok_or_else(|| Unreadable::Cidr(text.to_owned()))?;
    let Some(status) = &object.status else { return Ok(Block::new(id)) };
    let generation = status.sequence.and_then(|sequence| sequence.try_into().ok()).unwrap_or(0);
    let tenant = match &status.tenant {
        Some(text) => Some(account(text).ok_or(wrong(-1, "tenant"))?),
        None => None,
    };
    let (mut slots, mut released) = (Vec::new(), Vec::new());
    for slot in &status.slots {
        let index = u8::try_from(slot.index).map_err(|_| wrong(slot.index, "index"))?;
        if slot.state == SlotState::Released {
            released.push((index, number(slot)?));
        } else {
            slots.push((index, read_slot(slot)?));
        }
    }
    Ok(Block::from_parts(id, generation, tenant, slots, released)?)
}

fn read_slot(slot: &Slot) -> Result<block::Slot, Unreadable> {
    let wrong = |what| wrong(slot.index, what);
    let state = match slot.state {
        SlotState::Held => block::SlotState::Held,
        SlotState::Allocated | SlotState::Released => block::SlotState::Allocated,
        SlotState::Quarantined => {
            let until = slot.until.as_ref().ok_or(wrong("until"))?;
            block::SlotState::Quarantined { until: Instant::from_timestamp(until.0) }
        }
    };
    Ok(block::Slot {
        state,
        pool: slot.pool.parse().map_err(|_| wrong("pool"))?,
        owner: slot.uid.parse().map_err(|_| wrong("uid"))?,
        reference: Arc::from(slot.reference.as_str()),
        tenant: account(&slot.tenant).ok_or(wrong("tenant"))?,
        sticky_key: slot.sticky_key.as_deref().map(Arc::from),
        since: Instant::from_timestamp(slot.since.0),
        seq: number(slot)?,
    })
}

fn account(text: &str) -> Option<AccountId> {
    text.parse().ok()
}

fn number(slot: &Slot) -> Result<u64, Unreadable> {
    slot.seq.try_into().map_err(|_| wrong(slot.index, "seq"))
}

const fn wrong(index: i64, what: &'static str) -> Unreadable {
    Unreadable::Slot { index, what }
}

/// A block of which nothing is known but where it is: every slot is somebody's, so none is handed out, and nobody's in
/// particular, so none is given back. None where not even that is known.
pub fn opaque(object: &IPBlock) -> Option<Block> {
    let cidr: address::Cidr = object.spec.cidr.as_str().parse().ok()?;
    let id = BlockId::from_cidr(&cidr)?;
    let slot = block::Slot {
        state: block::SlotState::Allocated,
        pool: NOBODY,
        owner: NOBODY,
        reference: Arc::from(""),
        tenant: AccountId(NOBODY.0),
        sticky_key: None,
        since: Instant::EPOCH,
        seq: 0,
    };
    Block::from_parts(id, 0, None, (0..=u8::MAX).map(|index| (index, slot.clone())), []).ok()
}

/// The object of a block: `before` with new slots, or one that was never stored.
pub fn write(space: &str, block: &Block, before: Option<&IPBlock>) -> IPBlock {
    let new = || {
        let spec = IPBlockSpec {
            space_ref: ObjectName::new(space),
            cidr: Cidr::from(block.id().cidr().to_string().as_str()),
        };
        IPBlock::new(&block_name(space, block.id()), spec)
    };
    let mut object = before.cloned().unwrap_or_else(new);
    let mut slots: Vec<Slot> =
        block.slots().iter().map(|(index, slot)| write_slot(*index, slot)).collect();
    let free = block.released().iter().filter(|(index, _)| !block.slots().contains_key(index));
    slots.extend(free.map(|(index, seq)| remembered(*index, *seq)));
    slots.sort_by_key(|slot| slot.index);
    let status = object.status.get_or_insert_with(IPBlockStatus::default);
    status.sequence = i64::try_from(block.generation()).ok();
    status.tenant = block.tenant().map(|tenant| tenant.to_string());
    status.slots = slots;
    object
}

fn write_slot(index: u8, slot: &block::Slot) -> Slot {
    let (state, until) = match slot.state {
        block::SlotState::Held => (SlotState::Held, None),
        block::SlotState::Allocated => (SlotState::Allocated, None),
        block::SlotState::Quarantined { until } => (SlotState::Quarantined, Some(until)),
    };
    Slot {
        index: i64::from(index),
        state,
        pool: slot.pool.to_string(),
        uid: slot.owner.to_string(),
        reference: slot.reference.to_string(),
        tenant: slot.tenant.to_string(),
        sticky_key: slot.sticky_key.as_deref().map(str::to_owned),
        since: seconds(slot.since, false),
        until: until.map(|until| seconds(until, true)),
        seq: i64::try_from(slot.seq).unwrap_or(i64::MAX),
    }
}

/// A slot that is free again and was somebody's.
fn remembered(index: u8, seq: u64) -> Slot {
    Slot {
        index: i64::from(index),
        state: SlotState::Released,
        pool: String::new(),
        uid: String::new(),
        reference: String::new(),
        tenant: String::new(),
        sticky_key: None,
        since: seconds(Instant::EPOCH, false),
        until: None,
        seq: i64::try_from(seq).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn a_block_comes_back_as_it_was_written() {
        let uid = |digit: u8| {
            let text = format!("123e4567-e89b-12d3-a456-42661417400{digit}");
            (text.parse::<ResourceUid>().unwrap(), text.parse::<AccountId>().unwrap())
        };
        let id = BlockId::from_cidr(&"10.1.2.0/24".parse().unwrap()).unwrap();
        let at = |second| Instant::from_timestamp(Timestamp::from_second(second).unwrap());
        let slot = |state, seq| block::Slot {
            state,
            pool: uid(1).0,
            owner: uid(2).0,
            reference: Arc::from("tn-acme-web/a"),
            tenant: uid(3).1,
            sticky_key: Some(Arc::from("a")),
            since: at(5),
            seq,
        };
        let slots = [
            (0, slot(block::SlotState::Held, 7)),
            (9, slot(block::SlotState::Quarantined { until: at(305) }, 8)),
            (255, slot(block::SlotState::Allocated, 9)),
        ];
        let block = Block::from_parts(id, 12, Some(uid(3).1), slots, [(4, 12)]).unwrap();
        let object = write("default", &block, None);
        assert_eq!(object.metadata.name.as_deref(), Some("default-10-1-2-0"));
        assert_eq!(read(&object).unwrap(), block);
        let indices: Vec<i64> =
            object.status.as_ref().unwrap().slots.iter().map(|slot| slot.index).collect();
        assert_eq!(indices, [0, 4, 9, 255]);
    }

    #[test]
    fn what_cannot_be_read_is_full_and_nobodys() {
        let id = BlockId::from_cidr(&"10.1.2.0/24".parse().unwrap()).unwrap();
        let block = opaque(&write("default", &Block::new(id), None)).unwrap();
        assert_eq!(block.id(), id);
        assert_eq!(block.slots().len(), 256);
        assert!(block.slots().values().all(|slot| slot.state.is_live() && slot.owner == NOBODY));
    }

    #[test]
    fn what_nobody_of_ours_wrote_is_refused() {
        let id = BlockId::from_cidr(&"10.1.2.0/24".parse().unwrap()).unwrap();
        let good = write("default", &Block::new(id), None);
        let mut far = good.clone();
        far.status.as_mut().unwrap().slots = vec![Slot { index: 256, ..remembered(0, 0) }];
        assert!(matches!(read(&far), Err(Unreadable::Slot { index: 256, what: "index" })));
        let mut wide = good.clone();
        wide.spec.cidr = Cidr::from("10.0.0.0/16");
        assert!(matches!(read(&wide), Err(Unreadable::Cidr(_))));
        let mut future = good;
        future.status.as_mut().unwrap().slots = vec![remembered(1, 7)];
        assert!(matches!(read(&future), Err(Unreadable::Refused(_))));
    }
}
