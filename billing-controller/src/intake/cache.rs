//! What label sets were found to mean, remembered.
//!
//! A fixed number of places: sets of eight, the set chosen by the key, the oldest of a full set making room. So memory is
//! bounded whatever a sender invents, one flood of new series cannot empty the whole, and no lookup walks a tree.
//! Forgetting costs time only. Locks are per stripe of sets, so that requests on several threads seldom meet.

use super::meters::MeterIndex;
use super::protocol::LabelsKey;
use std::sync::{Arc, Mutex, PoisonError};

const STRIPES: usize = 64;
const PLACES_PER_SET: usize = 8;

/// Values by key of a label set, valid for one index of meters.
#[derive(Debug)]
pub struct SeriesCache<V> {
    stripes: Vec<Mutex<Stripe<V>>>,
    sets_per_stripe: usize,
}

#[derive(Debug)]
struct Stripe<V> {
    /// What the values were made from. Kept alive here, so that another index cannot come to lie at its address.
    meters: Option<Arc<MeterIndex>>,
    sets: Vec<Set<V>>,
}

#[derive(Debug)]
struct Set<V> {
    places: Vec<(LabelsKey, V)>,
    oldest: usize,
}

impl<V: Clone> SeriesCache<V> {
    /// Room for about `series_max` label sets.
    pub fn new(series_max: usize) -> Self {
        let sets_per_stripe = series_max.div_ceil(STRIPES * PLACES_PER_SET).max(1);
        let stripe = || Mutex::new(Stripe { meters: None, sets: Vec::new() });
        Self { stripes: std::iter::repeat_with(stripe).take(STRIPES).collect(), sets_per_stripe }
    }

    /// What is remembered of a label set under these meters; else what `find` makes of it, remembered from now on.
    ///
    /// # Errors
    /// Those of `find`; nothing is remembered then.
    pub fn get_or_find<E>(
        &self,
        meters: &Arc<MeterIndex>,
        key: LabelsKey,
        find: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        let (stripe, set) = self.place_of(key);
        let Some(stripe) = self.stripes.get(stripe) else { return find() };
        let mut stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
        if !stripe.meters.as_ref().is_some_and(|known| Arc::ptr_eq(known, meters)) {
            stripe.meters = Some(meters.clone());
            stripe.sets.clear();
            let empty = || Set { places: Vec::new(), oldest: 0 };
            stripe.sets.resize_with(self.sets_per_stripe, empty);
        }
        let Some(set) = stripe.sets.get_mut(set) else { return find() };
        if let Some((_, value)) = set.places.iter().find(|(known, _)| *known == key) {
            return Ok(value.clone());
        }
        let value = find()?;
        if set.places.len() < PLACES_PER_SET {
            set.places.push((key, value.clone()));
        } else if let Some(place) = set.places.get_mut(set.oldest) {
            *place = (key, value.clone());
            set.oldest = (set.oldest + 1) % PLACES_PER_SET;
        }
        Ok(value)
    }

    fn place_of(&self, key: LabelsKey) -> (usize, usize) {
        let part = |bits: u128| usize::try_from(bits & u128::from(u32::MAX)).unwrap_or(0);
        (part(key.0) % STRIPES, part(key.0 >> 32) % self.sets_per_stripe)
    }

    /// How many label sets are remembered.
    pub fn len(&self) -> usize {
        let places = |stripe: &Mutex<Stripe<V>>| {
            let stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            stripe.sets.iter().map(|set| set.places.len()).sum::<usize>()
        };
        self.stripes.iter().map(places).sum()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn never() -> Result<u128, Infallible> {
        panic!("it was remembered")
    }

    #[test]
    fn a_set_is_found_once_until_meters_change() {
        let cache = SeriesCache::new(1000);
        let (first, second) = (Arc::new(MeterIndex::default()), Arc::new(MeterIndex::default()));
        let key = LabelsKey(7 << 40 | 3);
        assert_eq!(cache.get_or_find(&first, key, || Err::<u128, _>("no")), Err("no"));
        assert_eq!(cache.get_or_find(&first, key, || Ok::<_, Infallible>(1)), Ok(1));
        assert_eq!(cache.get_or_find(&first, key, never), Ok(1));
        // Equal, but not the same: whoever changes meters makes a new index.
        assert_eq!(cache.get_or_find(&second, key, || Ok::<_, Infallible>(2)), Ok(2));
        assert_eq!(cache.get_or_find(&second, key, never), Ok(2));
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let cache = SeriesCache::new(1024);
        let meters = Arc::new(MeterIndex::default());
        for number in 0..100_000_u128 {
            // Spread as hashes are.
            let key = LabelsKey(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
            let value = cache.get_or_find(&meters, key, || Ok::<_, Infallible>(number));
            assert_eq!(value, Ok(number));
        }
        assert!((900..=1024).contains(&cache.len()), "{}", cache.len());
    }
}
