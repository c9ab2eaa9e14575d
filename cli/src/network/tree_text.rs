//! The tree for people, within a hundred columns.
//!
//! A line has what is compared between lines; below it stands what is read, and first of all what is wrong.

use super::bar::{Characters, Glyphs, Use, bar};
use super::names::{number, short};
use super::tree::{BlockNode, PoolNode, PrefixNode, SpaceNode, TreeReport};
use crate::output::plain;
use crds::network::{AddressCounts, PrefixRole};
use ipam::pool::PerMille;
use std::collections::BTreeMap;

/// No line is longer.
const WIDTH: usize = 100;
/// The label is cut where the rest would not fit.
const LABEL_WIDTH_MAX: usize = 58;
/// Sizes of free networks that are listed; JSON and YAML have all.
const SIZES_SHOWN: usize = 6;

/// One line with its details and what is below.
struct Row {
    label: String,
    class: String,
    used: Option<Use>,
    free: String,
    share: String,
    fragmentation: String,
    details: Vec<String>,
    below: Vec<Row>,
}

/// The text.
pub fn text(report: &TreeReport, characters: Characters) -> String {
    let glyphs = characters.glyphs();
    let mut rows: Vec<Row> = report.spaces.iter().map(|space| space_row(space, glyphs)).collect();
    let mut lost: Vec<Row> =
        report.lost_prefixes.iter().map(|prefix| prefix_row(prefix, glyphs)).collect();
    lost.extend(report.lost_pools.iter().map(|pool| pool_row(pool, glyphs)));
    if !lost.is_empty() {
        let details = vec!["! what they name as parent, space or prefix is not there".to_owned()];
        rows.push(Row { details, below: lost, ..bare("in no space".to_owned()) });
    }
    if rows.is_empty() {
        return "There is no address space; examples/network shows how to begin.\n".to_owned();
    }
    let width = rows.iter().map(|row| row.width(0)).max().unwrap_or(0);
    let width = width.clamp(24, LABEL_WIDTH_MAX);
    let mut lines = vec![format!(
        "{:<width$}  CLASS  {:<10} {:>6} {:>7}  {:>5}",
        "SPACE, PREFIX, POOL, BLOCK", "USE", "TAKEN", "FREE", "FRAG"
    )];
    for row in &rows {
        row.write("", "", width, glyphs, &mut lines);
    }
    let (held, other, free) = glyphs.cells;
    lines.push(String::new());
    lines.push(format!(
        "{held} held by claims  {other} given to what is below, or resting  {free} free; FRAG 0 is in one piece"
    ));
    let mut text = String::new();
    for line in lines {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

impl Row {
    fn width(&self, indent: usize) -> usize {
        let below = self.below.iter().map(|row| row.width(indent.saturating_add(3))).max();
        self.label.chars().count().saturating_add(indent).max(below.unwrap_or(0))
    }

    fn write(&self, knot: &str, stem: &str, width: usize, glyphs: Glyphs, lines: &mut Vec<String>) {
        let label = cut(&format!("{knot}{}", self.label), width, glyphs);
        let bar = self.used.map(|used| bar(used, glyphs)).unwrap_or_default();
        lines.push(format!(
            "{label:<width$}  {:<5}  {bar:<10} {:>6} {:>7}  {:>5}",
            self.class, self.share, self.free, self.fragmentation
        ));
        let own = if self.below.is_empty() { "   " } else { glyphs.middle.1 };
        for detail in &self.details {
            let room = WIDTH.saturating_sub(stem.chars().count()).saturating_sub(5);
            for (index, part) in wrapped(detail, room).into_iter().enumerate() {
                let hang = if index == 0 { "" } else { "  " };
                lines.push(format!("{stem}{own}{hang}{part}"));
            }
        }
        for (index, row) in self.below.iter().enumerate() {
            let is_last = index.saturating_add(1) == self.below.len();
            let (knot, below) = if is_last { glyphs.last } else { glyphs.middle };
            row.write(&format!("{stem}{knot}"), &format!("{stem}{below}"), width, glyphs, lines);
        }
    }
}

fn bare(label: String) -> Row {
    Row {
        label,
        class: String::new(),
        used: None,
        free: String::new(),
        share: String::new(),
        fragmentation: String::new(),
        details: Vec::new(),
        below: Vec::new(),
    }
}

fn space_row(space: &SpaceNode, glyphs: Glyphs) -> Row {
    let mut details = trouble(space.state.trouble());
    if let Some(totals) = &space.totals {
        let family = |name: &str, counts: &Option<AddressCounts>| {
            let counts = counts.as_ref()?;
            let part = |text: &String| number(Some(text)).map_or_else(|| plain(text), short);
            Some(format!(
                "{name}: {} of {} held, {} free",
                part(&counts.used),
                part(&counts.total),
                part(&counts.free)
            ))
        };
        let families = [family("IPv4", &totals.ipv4), family("IPv6", &totals.ipv6)];
        let families: Vec<String> = families.into_iter().flatten().collect();
        if !families.is_empty() {
            details.push(families.join("; "));
        }
    }
    let mut below: Vec<Row> =
        space.prefixes.iter().map(|prefix| prefix_row(prefix, glyphs)).collect();
    below.extend(space.blocks.iter().map(|block| {
        let mut row = block_row(block);
        row.details
            .push("! addresses of it are held or rest, but no pool hands out of it".to_owned());
        row
    }));
    Row { details, below, ..bare(format!("vrf {}", plain(&space.name))) }
}

fn prefix_row(prefix: &PrefixNode, glyphs: Glyphs) -> Row {
    let mut details = trouble(prefix.state.trouble());
    let mut words = vec![match prefix.role {
        PrefixRole::Container => "Container".to_owned(),
        PrefixRole::Pool => "Pool".to_owned(),
        PrefixRole::Reserved => "Reserved".to_owned(),
    }];
    words.extend(prefix.zone.iter().map(|zone| format!("zone {}", plain(zone))));
    words.extend(prefix.tenant.iter().map(|tenant| format!("tenant {}", plain(tenant))));
    words.extend(sizes(&prefix.free_by_size, glyphs));
    details.push(words.join(", "));
    let total = number(prefix.total.as_ref());
    let free = number(prefix.free.as_ref());
    let used = total.zip(free).map(|(total, free)| {
        let taken = total.saturating_sub(free);
        let held = number(prefix.used.as_ref()).unwrap_or(0).min(taken);
        Use { held, other: taken.saturating_sub(held), total }
    });
    let cidr = prefix.cidr.as_deref().unwrap_or("(no network yet)");
    let mut below: Vec<Row> =
        prefix.prefixes.iter().map(|child| prefix_row(child, glyphs)).collect();
    below.extend(prefix.pools.iter().map(|pool| pool_row(pool, glyphs)));
    Row {
        label: format!("{} {}", plain(cidr), plain(&prefix.name)),
        class: prefix.class.map(|class| format!("{class:?}")).unwrap_or_default(),
        used,
        free: free.map(short).unwrap_or_default(),
        share: share(used),
        fragmentation: prefix.fragmentation.as_deref().map(plain).unwrap_or_default(),
        details,
        below,
    }
}

fn pool_row(pool: &PoolNode, glyphs: Glyphs) -> Row {
    let mut details = trouble(pool.state.trouble());
    let is_calm = ["HandsOut", "Disabled"].contains(&pool.state.reason.as_str());
    if pool.state.ready && !is_calm {
        details.push(format!("! {}: {}", plain(&pool.state.reason), plain(&pool.state.message)));
    }
    let tenants = pool.allowed_tenants.iter().take(3).map(|name| plain(name)).collect::<Vec<_>>();
    let more = pool.allowed_tenants.len().saturating_sub(tenants.len());
    let whom = match (tenants.join(", "), more) {
        (names, 0) if names.is_empty() => "nobody".to_owned(),
        (names, 0) if names == "*" => "everybody".to_owned(),
        (names, 0) => names,
        (names, more) => format!("{names} and {more} more"),
    };
    let mut words = vec![format!("{} for {whom}", plain(&pool.strategy))];
    if pool.disabled {
        words.push("disabled".to_owned());
    }
    words.extend(pool.zone.iter().map(|zone| format!("zone {}", plain(zone))));
    let count = |text: &Option<String>, word: &str| {
        number(text.as_ref())
            .filter(|count| *count > 0)
            .map(|count| format!("{} {word}", short(count)))
    };
    words.extend(count(&pool.quarantined, "resting"));
    words.extend(count(&pool.excluded, "never handed out"));
    words.extend(count(&pool.out_of_range, "out of range"));
    words.extend(pool.waiting.filter(|count| *count > 0).map(|count| {
        if count == 1 { "1 claim waits".to_owned() } else { format!("{count} claims wait") }
    }));
    let scores = pool.scores.as_ref();
    words.extend(scores.and_then(|scores| sizes(&scores.free_by_size, glyphs)));
    details.push(words.join(", "));
    let used = number(pool.total.as_ref()).map(|total| Use {
        held: number(pool.used.as_ref()).unwrap_or(0),
        other: number(pool.quarantined.as_ref()).unwrap_or(0),
        total: total.saturating_sub(number(pool.excluded.as_ref()).unwrap_or(0)),
    });
    let fragmentation = scores.and_then(|scores| scores.fragmentation.as_deref());
    Row {
        used,
        free: number(pool.free.as_ref()).map(short).unwrap_or_default(),
        share: share(used),
        fragmentation: fragmentation.map(plain).unwrap_or_default(),
        details,
        below: pool.blocks.iter().map(block_row).collect(),
        ..bare(format!("pool {}", plain(&pool.name)))
    }
}

fn block_row(block: &BlockNode) -> Row {
    let tenant = block.tenant.as_ref().map(|tenant| format!(", {} alone", plain(tenant)));
    let label = format!("block {}{}", plain(&block.cidr), tenant.unwrap_or_default());
    if let Some(why) = &block.unreadable {
        let details = vec![format!("! {}: {}", plain(&block.name), plain(why))];
        return Row { details, ..bare(label) };
    }
    let used = Use {
        held: u128::from(block.used),
        other: u128::from(block.quarantined),
        total: u128::from(block.total),
    };
    Row { used: Some(used), free: block.free.to_string(), share: share(Some(used)), ..bare(label) }
}

fn trouble(why: Option<String>) -> Vec<String> {
    why.map(|why| format!("! {why}")).into_iter().collect()
}

fn share(used: Option<Use>) -> String {
    let Some(used) = used else { return String::new() };
    let thousandths = PerMille::of(used.taken(), used.total).thousandths();
    if thousandths == 0 && used.taken() > 0 {
        return "<0.1%".to_owned();
    }
    let (whole, part) = (thousandths.div_euclid(10), thousandths.rem_euclid(10));
    format!("{whole}.{part}%")
}

/// Free networks, the largest first.
fn sizes(free: &BTreeMap<String, String>, glyphs: Glyphs) -> Option<String> {
    let mut sizes: Vec<(u8, &String)> = free
        .iter()
        .filter_map(|(length, count)| Some((length.strip_prefix('/')?.parse().ok()?, count)))
        .collect();
    sizes.sort_unstable();
    let shown: Vec<String> = sizes
        .iter()
        .take(SIZES_SHOWN)
        .map(|(length, count)| format!("{}{}/{length}", plain(count), glyphs.times))
        .collect();
    let more = if sizes.len() > SIZES_SHOWN { " and smaller" } else { "" };
    (!shown.is_empty()).then(|| format!("free {}{more}", shown.join(" ")))
}

fn cut(text: &str, width: usize, glyphs: Glyphs) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + glyphs.cut
}

/// At blanks; a word that is longer than the line stays whole.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count().saturating_add(word.chars().count()) < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::names::State;

    #[test]
    fn a_terminal_shows_boxes_and_blocks() {
        let state = State { ready: true, reason: "Ready".to_owned(), message: String::new() };
        let long = "a-name-that-is-longer-than-the-column-for-names-and-has-to-be-cut";
        let blocks = ["10.0.0.0/24", "10.0.1.0/24"].map(|cidr| BlockNode {
            name: String::new(),
            cidr: cidr.to_owned(),
            total: 256,
            used: 64,
            quarantined: 64,
            free: 128,
            tenant: cidr.ends_with("1.0/24").then(|| long.to_owned()),
            unreadable: None,
        });
        let space = SpaceNode {
            name: "hall\u{1b}[2J".to_owned(),
            state,
            totals: None,
            prefixes: Vec::new(),
            blocks: blocks.into(),
        };
        let report =
            TreeReport { spaces: vec![space], lost_prefixes: Vec::new(), lost_pools: Vec::new() };
        let drawn = text(&report, Characters::Unicode);
        let expected = "\
SPACE, PREFIX, POOL, BLOCK                                  CLASS  USE         TAKEN    FREE   FRAG
vrf hall\u{fffd}[2J
├─ block 10.0.0.0/24                                               ██▒▒▒░░░░░  50.0%     128
│     ! addresses of it are held or rest, but no pool hands out of it
└─ block 10.0.1.0/24, a-name-that-is-longer-than-the-colu…         ██▒▒▒░░░░░  50.0%     128
      ! addresses of it are held or rest, but no pool hands out of it

█ held by claims  ▒ given to what is below, or resting  ░ free; FRAG 0 is in one piece
";
        assert_eq!(drawn, expected);
        assert!(drawn.lines().all(|line| line.chars().count() <= WIDTH), "{drawn}");
    }
}
