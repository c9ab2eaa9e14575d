//! Billing periods: months from an anchor day, in the tenant's time zone.
//!
//! Boundary i is the anchor plus i months, always counted from the anchor: day 31 becomes 28 in February and 31 again in
//! March, because nothing is ever derived from the month before. A boundary is the first instant of its local day. A
//! midnight that daylight saving skips is therefore the first instant after the hole, and of a doubled midnight the
//! earlier one counts; a day that a zone skips altogether begins with the next one that exists. Since every period
//! ends where the next one begins, periods tile whatever the zone does.

use crate::{Instant, Interval};
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// How the periods of one account are laid out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Layout", into = "Layout")]
pub struct Periods {
    zone: TimeZone,
    layout: Layout,
}

/// What is kept of [`Periods`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Layout {
    time_zone: String,
    anchor_day: i8,
}

/// One billing period.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Period {
    /// From the first instant of the period to the first of the next.
    pub during: Interval,
    /// The local date it begins on, like `2026-11-01`; the period's name in line keys.
    pub name: String,
}

/// Why periods cannot be laid out so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorRefused {
    /// Not in the time zone database.
    #[error("time zone `{name}` is unknown; use an IANA name such as Europe/Berlin, or UTC")]
    UnknownZone {
        /// The name as given.
        name: String,
    },
    /// Not a day of a month.
    #[error("anchor day {day} is not a day of a month; use 1 to 31")]
    AnchorDay {
        /// The day as given.
        day: i64,
    },
    /// So near an end of the calendar that the period has no boundary there.
    #[error("no billing period contains {instant}: it is at the end of the calendar")]
    EndOfCalendar {
        /// The instant asked for.
        instant: Instant,
    },
}

impl TryFrom<Layout> for Periods {
    type Error = AnchorRefused;

    fn try_from(layout: Layout) -> Result<Self, Self::Error> {
        Self::monthly(&layout.time_zone, i64::from(layout.anchor_day))
    }
}

impl From<Periods> for Layout {
    fn from(periods: Periods) -> Self {
        periods.layout
    }
}

impl Periods {
    /// Monthly periods that begin on `anchor_day` (1 to 31) in the IANA zone `time_zone`.
    ///
    /// # Errors
    /// [`AnchorRefused`] for an unknown zone or a day outside of 1 to 31.
    pub fn monthly(time_zone: &str, anchor_day: i64) -> Result<Self, AnchorRefused> {
        let zone = TimeZoneDatabase::bundled()
            .get(time_zone)
            .map_err(|_| AnchorRefused::UnknownZone { name: time_zone.to_owned() })?;
        let day = i8::try_from(anchor_day)
            .ok()
            .filter(|day| (1..=31).contains(day))
            .ok_or(AnchorRefused::AnchorDay { day: anchor_day })?;
        // The database's spelling, so that `europe/berlin` and `Europe/Berlin` are one layout.
        let name = zone.iana_name().unwrap_or(time_zone).to_owned();
        Ok(Self { zone, layout: Layout { time_zone: name, anchor_day: day } })
    }

    /// Monthly periods from the first of the month, UTC: what holds for who has no subscription yet.
    pub fn utc() -> Self {
        let layout = Layout { time_zone: "UTC".to_owned(), anchor_day: 1 };
        Self { zone: TimeZone::UTC, layout }
    }

    /// The zone's IANA name.
    pub fn time_zone(&self) -> &str {
        &self.layout.time_zone
    }

    /// The day of the month, 1 to 31.
    pub fn anchor_day(&self) -> i8 {
        self.layout.anchor_day
    }

    /// The period that `instant` lies in.
    ///
    /// # Errors
    /// [`AnchorRefused::EndOfCalendar`] within a month of the years −9999 or 9999.
    pub fn containing(&self, instant: Instant) -> Result<Period, AnchorRefused> {
        self.search(instant).ok_or(AnchorRefused::EndOfCalendar { instant })
    }

    /// The period that begins where `period` ends.
    ///
    /// # Errors
    /// As [`Periods::containing`].
    pub fn after(&self, period: &Period) -> Result<Period, AnchorRefused> {
        self.containing(period.during.to)
    }

    fn search(&self, instant: Instant) -> Option<Period> {
        let local = instant.to_timestamp().to_zoned(self.zone.clone()).date();
        // Whatever the anchor day and the zone, the period begins in this local month or the one before; a zone that
        // skips a day may push a boundary of "this month" behind the instant, hence two candidates and a comparison.
        let this = (local.year(), local.month());
        let starts = [previous(this)?, this, next(this)?, next(next(this)?)?];
        let dates = starts.map(|month| self.boundary_date(month));
        dates.windows(2).find_map(|pair| {
            let [Some(first), Some(second)] = pair else { return None };
            let during = Interval::new(self.first_instant(*first)?, self.first_instant(*second)?);
            during.contains(instant).then(|| Period { during, name: first.to_string() })
        })
    }

    /// The anchor day in that month, or the month's last day when it is shorter.
    fn boundary_date(&self, (year, month): (i16, i8)) -> Option<Date> {
        let first = Date::new(year, month, 1).ok()?;
        Date::new(year, month, self.layout.anchor_day.min(first.days_in_month())).ok()
    }

    fn first_instant(&self, date: Date) -> Option<Instant> {
        date.to_zoned(self.zone.clone())
            .ok()
            .map(|zoned| Instant::from_timestamp(zoned.timestamp()))
    }
}

fn next((year, month): (i16, i8)) -> Option<(i16, i8)> {
    if month >= 12 { Some((year.checked_add(1)?, 1)) } else { Some((year, month.checked_add(1)?)) }
}

fn previous((year, month): (i16, i8)) -> Option<(i16, i8)> {
    if month <= 1 { Some((year.checked_sub(1)?, 12)) } else { Some((year, month.checked_sub(1)?)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    fn period(zone: &str, day: i64, instant: &str) -> Period {
        Periods::monthly(zone, day).unwrap().containing(at(instant)).unwrap()
    }

    #[test]
    fn layouts_are_accepted_and_refused() {
        for (zone, day) in [("UTC", 1), ("Europe/Berlin", 31), ("europe/berlin", 15)] {
            assert!(Periods::monthly(zone, day).is_ok(), "{zone} {day}");
        }
        for (zone, day, word) in [
            ("Mars/Olympus", 1, "Mars/Olympus"),
            ("", 1, "time zone"),
            ("UTC", 0, "anchor day 0"),
            ("UTC", 32, "anchor day 32"),
            ("UTC", 257, "anchor day 257"),
        ] {
            let refusal = Periods::monthly(zone, day).unwrap_err().to_string();
            assert!(refusal.contains(word), "{refusal}");
        }
    }

    #[test]
    fn day_31_returns_after_february() {
        let february = period("UTC", 31, "2026-03-01T00:00:00Z");
        assert_eq!(february.name, "2026-02-28");
        assert_eq!(february.during.to, at("2026-03-31T00:00:00Z"));
        assert_eq!(period("UTC", 31, "2028-02-29T00:00:00Z").name, "2028-02-29");
    }

    #[test]
    fn a_skipped_midnight_is_the_first_instant_after_it() {
        // Beirut moved its clocks from 00:00 to 01:00 on 2025-03-30.
        let period = period("Asia/Beirut", 30, "2025-04-01T00:00:00Z");
        assert_eq!(period.during.from, at("2025-03-29T22:00:00Z"));
    }

    #[test]
    fn of_a_doubled_midnight_the_earlier_counts() {
        // Havana set its clocks back from 01:00 to 00:00 on 2025-11-02.
        let period = period("America/Havana", 2, "2025-11-10T00:00:00Z");
        assert_eq!(period.during.from, at("2025-11-02T04:00:00Z"));
    }

    #[test]
    fn a_skipped_day_begins_with_the_next_that_exists() {
        // Samoa had no 2011-12-30.
        let periods = Periods::monthly("Pacific/Apia", 30).unwrap();
        let period = periods.containing(at("2012-01-05T00:00:00Z")).unwrap();
        assert_eq!(period.during.from, at("2011-12-30T10:00:00Z"));
    }

    #[test]
    fn a_layout_survives_its_text() {
        let periods = Periods::monthly("Asia/Kathmandu", 17).unwrap();
        let text = serde_json::to_string(&periods).unwrap();
        assert_eq!(text, r#"{"time_zone":"Asia/Kathmandu","anchor_day":17}"#);
        assert_eq!(serde_json::from_str::<Periods>(&text).unwrap(), periods);
    }

    const ZONES: [&str; 9] = [
        "UTC",
        "Europe/Berlin",
        "America/St_Johns",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Pacific/Kiritimati",
        "Asia/Beirut",
        "America/Havana",
        "Australia/Lord_Howe",
    ];

    proptest! {
        /// C6: no hole and no overlap between periods, over daylight saving, leap days and zone changes.
        #[test]
        fn periods_tile(zone in 0_usize..ZONES.len(), day in 1_i64..=31, seconds in 0_i64..4_102_444_800) {
            let periods = Periods::monthly(ZONES[zone], day).unwrap();
            let instant = Instant::from_microseconds(seconds * 1_000_000).unwrap();
            let period = periods.containing(instant).unwrap();
            prop_assert!(period.during.contains(instant));
            let after = periods.after(&period).unwrap();
            prop_assert_eq!(after.during.from, period.during.to);
            let last = period.during.to.plus_microseconds(-1);
            prop_assert_eq!(&periods.containing(last).unwrap(), &period);
            prop_assert_eq!(&periods.containing(period.during.from).unwrap(), &period);
        }
    }
}
