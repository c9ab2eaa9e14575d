//! A bounded queue for each tenant, served in turn by weight: deficit round robin.
//!
//! One queue for all lets whoever writes most make everybody wait. Here a tenant's turn brings it credit in proportion to its
//! weight, an item is served when the credit covers its cost, and what is not spent is kept while the tenant has items. So
//! over any stretch of time tenants with work get served in proportion to their weights, whatever others have queued.

use ids::AccountId;
use std::collections::{BTreeMap, VecDeque};

/// The most an item may cost; dearer ones count as this, so that a turn comes to an end.
pub const COST_MAX: u32 = 1_024;
/// The most a tenant may weigh.
pub const WEIGHT_MAX: u32 = 1_000;
/// Credit of one turn for each unit of weight.
const CREDIT_PER_WEIGHT: u32 = 1;

/// A tenant's queue is full; the item comes back and is to be tried again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{length} requests of this tenant wait already; try again later")]
pub struct QueueFull<T> {
    /// How many wait.
    pub length: usize,
    /// What did not fit.
    pub item: T,
}

#[derive(Debug, Clone)]
struct Line<T> {
    weight: u32,
    credit: u32,
    items: VecDeque<(u32, T)>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct FairQueue<T> {
    length_max: usize,
    lines: BTreeMap<AccountId, Line<T>>,
    /// Tenants with items, in the order of their turns.
    turns: VecDeque<AccountId>,
    length: usize,
}

impl<T> FairQueue<T> {
    /// An empty queue that keeps at most `length_max` items for each tenant.
    pub const fn new(length_max: usize) -> Self {
        Self { length_max, lines: BTreeMap::new(), turns: VecDeque::new(), length: 0 }
    }

    /// How many items wait.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many items of a tenant wait.
    pub fn len_of(&self, tenant: AccountId) -> usize {
        self.lines.get(&tenant).map_or(0, |line| line.items.len())
    }

    /// Adds an item behind the tenant's others. `weight`: 1 to [`WEIGHT_MAX`], the last one given counts; `cost`: 1 to
    /// [`COST_MAX`]; both are held within these bounds.
    ///
    /// # Errors
    /// [`QueueFull`] with the item.
    pub fn push(
        &mut self,
        tenant: AccountId,
        weight: u32,
        cost: u32,
        item: T,
    ) -> Result<(), QueueFull<T>> {
        let empty = || Line { weight: 1, credit: 0, items: VecDeque::new() };
        let line = self.lines.entry(tenant).or_insert_with(empty);
        line.weight = weight.clamp(1, WEIGHT_MAX);
        let length = line.items.len();
        if length >= self.length_max {
            return Err(QueueFull { length, item });
        }
        if length == 0 {
            self.turns.push_back(tenant);
        }
        line.items.push_back((cost.clamp(1, COST_MAX), item));
        self.length = self.length.saturating_add(1);
        Ok(())
    }

    /// The next item and whose it is.
    pub fn pop(&mut self) -> Option<(AccountId, T)> {
        loop {
            let tenant = self.turns.front().copied()?;
            let Some(line) = self.lines.get_mut(&tenant) else {
                self.turns.pop_front();
                continue;
            };
            let cost = line.items.front().map_or(0, |(cost, _)| *cost);
            if line.credit < cost {
                line.credit =
                    line.credit.saturating_add(line.weight.saturating_mul(CREDIT_PER_WEIGHT));
                self.turns.rotate_left(1);
                continue;
            }
            line.credit = line.credit.saturating_sub(cost);
            let item = line.items.pop_front();
            if line.items.is_empty() {
                // Credit is for those who wait: nobody saves it up.
                self.lines.remove(&tenant);
                self.turns.pop_front();
            }
            let Some((_, item)) = item else { continue };
            self.length = self.length.saturating_sub(1);
            return Some((tenant, item));
        }
    }

    /// Up to `count` items in order.
    pub fn drain(&mut self, count: usize) -> Vec<(AccountId, T)> {
        std::iter::from_fn(|| self.pop()).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn tenant(number: u64) -> AccountId {
        AccountId(Uuid::from_u64_pair(5, number))
    }

    /// 40 regular tenants with 10 requests each beside 10 greedy ones with 900.
    #[test]
    fn greedy_tenants_do_not_make_others_wait() {
        let mut queue = FairQueue::new(1_000);
        for greedy in 100..110 {
            for item in 0..900 {
                queue.push(tenant(greedy), 1, 1, item).unwrap();
            }
        }
        for regular in 0..40 {
            for item in 0..10 {
                queue.push(tenant(regular), 1, 1, item).unwrap();
            }
        }
        let served = queue.drain(usize::MAX);
        assert_eq!(served.len(), 9_400);
        let last = served.iter().rposition(|(whose, _)| *whose < tenant(40)).unwrap();
        // 50 tenants have 10 turns each until the last regular request is served.
        assert!(last < 500, "the last regular request came {last}th");
    }

    #[test]
    fn weights_decide_shares_and_costs_are_paid() {
        let mut queue = FairQueue::new(1_000);
        for item in 0..300 {
            queue.push(tenant(1), 3, 1, item).unwrap();
            queue.push(tenant(2), 1, 1, item).unwrap();
        }
        let first = queue.drain(200);
        assert_eq!(first.iter().filter(|(whose, _)| *whose == tenant(1)).count(), 150);
        let mut queue = FairQueue::new(1_000);
        for item in 0..300 {
            queue.push(tenant(1), 1, 10, item).unwrap();
            queue.push(tenant(2), 1, 1, item).unwrap();
        }
        let first = queue.drain(110);
        assert_eq!(first.iter().filter(|(whose, _)| *whose == tenant(1)).count(), 10);
    }

    #[test]
    fn a_full_queue_gives_the_item_back() {
        let mut queue = FairQueue::new(1);
        queue.push(tenant(1), 1, 1, "a").unwrap();
        assert_eq!(queue.push(tenant(1), 1, 1, "b"), Err(QueueFull { length: 1, item: "b" }));
        queue.push(tenant(2), 0, 0, "c").unwrap();
        assert_eq!(queue.drain(9).len(), 2);
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    proptest! {
        /// Nothing is lost or doubled, a tenant's order is kept, and while two tenants both have items the service they
        /// got, divided by weight, stays within one turn and one item of each other.
        #[test]
        fn service_is_in_proportion(
            pushes in prop::collection::vec((0_u64..4, 1_u32..20), 1..200),
            weights in prop::collection::vec(1_u32..5, 4),
        ) {
            let mut queue = FairQueue::new(usize::MAX);
            let mut left = [0_u32; 4];
            for (number, (whose, cost)) in pushes.iter().enumerate() {
                let at = usize::try_from(*whose).unwrap();
                queue.push(tenant(*whose), weights[at], *cost, (number, *cost)).unwrap();
                left[at] += 1;
            }
            let mut seen = std::collections::BTreeMap::new();
            let mut paid = [0_u32; 4];
            let total = queue.len();
            for step in 0..total {
                let (whose, (number, cost)) = queue.pop().unwrap();
                prop_assert!(seen.insert(number, whose).is_none());
                let at = (0..4).find(|at| tenant(*at as u64) == whose).unwrap();
                let earlier = seen.iter().filter(|(_, other)| **other == whose).map(|(number, _)| *number).max();
                prop_assert_eq!(earlier, Some(number), "order of one tenant");
                paid[at] += cost;
                left[at] -= 1;
                if left.iter().all(|left| *left > 0) {
                    for other in 0..4 {
                        let (mine, theirs) = (paid[at] * weights[other], paid[other] * weights[at]);
                        let slack = (20 + weights[at]) * weights[other] + (20 + weights[other]) * weights[at];
                        prop_assert!(mine <= theirs + slack, "step {} {:?} {:?}", step, paid, weights);
                    }
                }
            }
            prop_assert!(queue.is_empty());
        }
    }
}
