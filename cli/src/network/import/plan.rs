//! What becomes of each row: judged by `ipam`, beside the other rows and beside what is there.

use super::file::{Kind, Wish, slug};
use super::{Row, Verdict};
use crate::failure::Failure;
use crate::network::reader::Reader;
use crds::ObjectName;
use crds::network::{
    AddressSpace, IPClaim, IPClaimSpec, IPPool, IpAddress, Prefix, PrefixRole, PrefixSpec, VLAN,
    VLANPool, VLANSpec,
};
use ids::ResourceUid;
use ipam::address::{Address, Cidr};
use ipam::vlan::{VlanId, VlanRange};
use kube::ResourceExt;
use network_objects::pool::declared;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// What is there.
pub struct Scene {
    spaces: BTreeSet<String>,
    /// By space and network.
    prefixes: BTreeMap<(String, Cidr), Prefix>,
    pools: Vec<IPPool>,
    claims: Vec<IPClaim>,
    vlan_pools: Vec<VLANPool>,
    vlans: Vec<VLAN>,
}

impl Scene {
    /// Reads it.
    pub async fn read(reader: &Reader) -> Result<Self, Failure> {
        let spaces: Vec<AddressSpace> = reader.list().await?;
        let prefixes: Vec<Prefix> = reader.list().await?;
        let by_name: BTreeMap<String, &Prefix> =
            prefixes.iter().map(|prefix| (prefix.name_any(), prefix)).collect();
        let placed = prefixes.iter().filter_map(|prefix| {
            let cidr: Cidr = prefix.cidr()?.parse().ok()?;
            Some(((space_of(prefix, &by_name)?, cidr), prefix.clone()))
        });
        Ok(Self {
            spaces: spaces.iter().map(ResourceExt::name_any).collect(),
            prefixes: placed.collect(),
            pools: reader.list().await?,
            claims: reader.list().await?,
            vlan_pools: reader.list().await?,
            vlans: reader.list().await?,
        })
    }
}

/// The space at the top; declared ones count before the operator has seen them.
fn space_of(prefix: &Prefix, by_name: &BTreeMap<String, &Prefix>) -> Option<String> {
    let mut at = prefix;
    // No tree is deeper than an address is long.
    for _ in 0..128 {
        if let Some(space) = &at.spec.space_ref {
            return Some(space.name.clone());
        }
        at = by_name.get(at.parent()?)?;
    }
    None
}

/// An object to create.
#[derive(Clone)]
pub enum Object {
    Prefix(Box<Prefix>),
    Claim(Box<IPClaim>),
    Vlan(Box<VLAN>),
}

/// A row with its object, unless that is there or refused.
pub struct Step {
    /// Where it stood in the file.
    pub order: usize,
    pub row: Row,
    pub object: Option<Object>,
}

/// Why a row is refused.
struct Refused(String);

fn refuse(field: &str, value: &str, why: impl Display) -> Refused {
    Refused(if value.is_empty() {
        format!("{field}: {why}")
    } else {
        format!("{field} {value}: {why}")
    })
}

type Judged = Result<(String, Option<Object>), Refused>;

/// Every row, prefixes from the largest to the smallest and before what needs them.
pub fn plan(wishes: Vec<Wish>, scene: &Scene) -> Vec<Step> {
    let mut wishes: Vec<(usize, Wish)> = wishes.into_iter().enumerate().collect();
    wishes.sort_by_key(|(_, wish)| {
        (wish.kind, wish.get("cidr").and_then(|text| text.parse::<Cidr>().ok()))
    });
    let mut planner =
        Planner { scene, names: BTreeMap::new(), networks: BTreeMap::new(), seen: BTreeMap::new() };
    for (_, wish) in wishes.iter().filter(|(_, wish)| wish.kind == Kind::Prefix) {
        planner.note(wish);
    }
    wishes.iter().map(|(order, wish)| planner.step(*order, wish)).collect()
}

struct Planner<'a> {
    scene: &'a Scene,
    /// Places by kind and name.
    names: BTreeMap<(Kind, String), String>,
    /// Networks of the file by space.
    networks: BTreeMap<(String, Cidr), Noted>,
    /// Places by kind and value.
    seen: BTreeMap<(Kind, String), String>,
}

/// A network of the file, with the name it will have and what holds below it.
struct Noted {
    name: String,
    place: String,
    zone: Option<String>,
    tenant: Option<String>,
}

impl Planner<'_> {
    fn note(&mut self, wish: &Wish) {
        let cidr = wish.get("cidr").and_then(|text| text.parse::<Cidr>().ok());
        if let (Some(space), Some(cidr)) = (wish.get("space"), cidr) {
            let name = prefix_name(wish, space, cidr);
            let text = |field: &str| wish.get(field).map(str::to_owned);
            let (zone, tenant, place) = (text("zone"), text("tenant"), wish.place.clone());
            let noted = Noted { name, place, zone, tenant };
            self.networks.entry((space.to_owned(), cidr)).or_insert(noted);
        }
    }

    fn step(&mut self, order: usize, wish: &Wish) -> Step {
        let judged = match wish.kind {
            Kind::Prefix => self.prefix(wish),
            Kind::Address => self.address(wish),
            Kind::Vlan => self.vlan(wish),
        };
        let place = wish.place.clone();
        let row = |object, verdict, why| Row { place, object, verdict, why };
        match judged {
            Ok((name, Some(object))) => {
                Step { order, row: row(name, Verdict::Create, String::new()), object: Some(object) }
            }
            Ok((name, None)) => {
                Step { order, row: row(name, Verdict::There, String::new()), object: None }
            }
            Err(Refused(why)) => {
                let named =
                    ["name", "cidr", "address", "id"].into_iter().find_map(|field| wish.get(field));
                let object = named.unwrap_or_default().to_owned();
                Step { order, row: row(object, Verdict::Refused, why), object: None }
            }
        }
    }

    /// Refuses what another row has said already.
    fn once(&mut self, kind: Kind, name: &str, value: &str, place: &str) -> Result<(), Refused> {
        let names = self.names.insert((kind, name.to_owned()), place.to_owned());
        let values = self.seen.insert((kind, value.to_owned()), place.to_owned());
        match (names, values) {
            (_, Some(other)) => {
                Err(refuse("row", value, format!("{other} has it already; leave one of them out")))
            }
            (Some(other), None) => {
                Err(refuse("name", name, format!("{other} has it already; choose another")))
            }
            (None, None) => Ok(()),
        }
    }

    fn prefix(&mut self, wish: &Wish) -> Judged {
        let space = required(wish, "space", "name the address space, or give --space")?;
        if !self.scene.spaces.contains(space) {
            return Err(refuse("space", space, "there is no such AddressSpace; create it first"));
        }
        let text = required(wish, "cidr", "write the network")?;
        let cidr: Cidr = text.parse().map_err(|refusal| refuse("cidr", text, refusal))?;
        let name = prefix_name(wish, space, cidr);
        self.once(Kind::Prefix, &name, &format!("{space} {cidr}"), &wish.place)?;
        let full = format!("Prefix {name} {cidr}");
        if let Some(there) = self.scene.prefixes.get(&(space.to_owned(), cidr)) {
            return Ok((format!("Prefix {} {cidr}", there.name_any()), None));
        }
        if let Some(other) = self.scene.prefixes.values().find(|prefix| prefix.name_any() == name) {
            let why = format!(
                "Prefix {name} is there and has {}; choose another name",
                other.cidr().unwrap_or("no network")
            );
            return Err(refuse("name", &name, why));
        }
        self.has_place(space, cidr)?;
        self.inherits(wish, space, cidr)?;
        let parent = self.parent(space, cidr);
        let reference = |field: &str| wish.get(field).map(ObjectName::new);
        let spec = PrefixSpec {
            space_ref: parent.is_none().then(|| ObjectName::new(space)),
            parent_ref: parent.map(|parent| ObjectName::new(&parent)),
            parent_selector: None,
            cidr: Some(crds::network::Cidr::from(cidr.to_string().as_str())),
            length: None,
            class: None,
            strategy: None,
            role: Some(self.role(wish, space, cidr)?),
            zone_ref: reference("zone"),
            tenant_ref: reference("tenant"),
        };
        Ok((full, Some(Object::Prefix(Box::new(Prefix::new(&name, spec))))))
    }

    /// What is there can neither be put below a new prefix, nor hold one unless it is a container.
    fn has_place(&self, space: &str, cidr: Cidr) -> Result<(), Refused> {
        let text = cidr.to_string();
        let others = self.scene.prefixes.iter().filter(|((at, _), _)| at == space);
        for ((_, other), prefix) in others.clone() {
            if cidr.contains_cidr(other) {
                let why = format!(
                    "Prefix {} {other} is there and within it; a prefix keeps its parent: leave the row out",
                    prefix.name_any()
                );
                return Err(refuse("cidr", &text, why));
            }
        }
        let around = others.filter(|((_, other), _)| other.contains_cidr(&cidr));
        match around.max_by_key(|((_, other), _)| other.length()) {
            Some(((_, other), prefix)) if prefix.role() != PrefixRole::Container => {
                let why = format!(
                    "is within Prefix {} {other} of role {:?}, which holds no prefixes; leave the row out",
                    prefix.name_any(),
                    prefix.role()
                );
                Err(refuse("cidr", &text, why))
            }
            _ => Ok(()),
        }
    }

    /// A zone and a tenant hold all the way down, and are never others than above.
    fn inherits(&self, wish: &Wish, space: &str, cidr: Cidr) -> Result<(), Refused> {
        let around = |(at, other): &(String, Cidr)| {
            at == space && *other != cidr && other.contains_cidr(&cidr)
        };
        let name = |reference: &Option<ObjectName>| reference.as_ref().map(|one| one.name.clone());
        let file = self
            .networks
            .iter()
            .filter(|(key, _)| around(key))
            .map(|(_, noted)| (noted.place.clone(), noted.zone.clone(), noted.tenant.clone()));
        let there = self.scene.prefixes.iter().filter(|(key, _)| around(key)).map(|(_, prefix)| {
            let whose = format!("Prefix {}", prefix.name_any());
            (whose, name(&prefix.spec.zone_ref), name(&prefix.spec.tenant_ref))
        });
        for (whose, zone, tenant) in file.chain(there) {
            for (field, above) in [("zone", zone), ("tenant", tenant)] {
                if let (Some(own), Some(above)) = (wish.get(field), above)
                    && own != above
                {
                    let why = format!(
                        "{whose} around it says {above}, which holds all the way down; leave it out"
                    );
                    return Err(refuse(field, own, why));
                }
            }
        }
        Ok(())
    }

    /// The smallest network around it, of the file or there.
    fn parent(&self, space: &str, cidr: Cidr) -> Option<String> {
        let around = |(at, other): &(String, Cidr)| {
            at == space && *other != cidr && other.contains_cidr(&cidr)
        };
        let file = self.networks.iter().filter(|(key, _)| around(key));
        let file = file.map(|((_, cidr), noted)| (cidr.length(), noted.name.clone()));
        let there = self.scene.prefixes.iter().filter(|(key, _)| around(key));
        let there = there.map(|((_, cidr), prefix)| (cidr.length(), prefix.name_any()));
        // At the same length the one that is there comes last, and its name is the right one.
        file.chain(there).max_by_key(|(length, _)| *length).map(|(_, name)| name)
    }

    /// As the row says; else a container of what is within, or a source of addresses.
    fn role(&self, wish: &Wish, space: &str, cidr: Cidr) -> Result<PrefixRole, Refused> {
        let within = |(at, other): &&(String, Cidr)| {
            at == space && *other != cidr && cidr.contains_cidr(other)
        };
        let holds = self.networks.keys().any(|key| within(&key));
        match wish.get("role") {
            Some(other @ ("Pool" | "Reserved")) if holds => {
                let why = "other rows are within it; write Container, or leave them out";
                Err(refuse("role", other, why))
            }
            Some("Reserved") => Ok(PrefixRole::Reserved),
            Some("Container") => Ok(PrefixRole::Container),
            None if holds => Ok(PrefixRole::Container),
            Some("Pool") | None => Ok(PrefixRole::Pool),
            Some(other) => Err(refuse(
                "role",
                other,
                "write Container, Pool or Reserved, or leave the row out",
            )),
        }
    }

    fn address(&mut self, wish: &Wish) -> Judged {
        let namespace =
            required(wish, "namespace", "name the project's namespace, or give --namespace")?;
        let text = required(wish, "address", "write the address")?;
        let address: Address = text.parse().map_err(|refusal| refuse("address", text, refusal))?;
        let pool = self.pool_of(wish, address)?;
        let name = wish
            .get("name")
            .map_or_else(|| format!("ip-{}", slug(&address.to_string())), str::to_owned);
        let full = format!("IPClaim {namespace}/{name} {address}");
        self.once(
            Kind::Address,
            &format!("{namespace}/{name}"),
            &format!("{pool} {address}"),
            &wish.place,
        )?;
        if let Some(there) = self.claim_there(namespace, &name, &pool, address)? {
            return Ok((format!("IPClaim {namespace}/{there} {address}"), None));
        }
        let spec = IPClaimSpec {
            pool_ref: Some(ObjectName::new(&pool)),
            pool_selector: None,
            families: Vec::new(),
            count: None,
            address: Some(IpAddress::from(address.to_string().as_str())),
            sticky_key: None,
            resource_ref: None,
        };
        let mut claim = IPClaim::new(&name, spec);
        claim.metadata.namespace = Some(namespace.to_owned());
        Ok((full, Some(Object::Claim(Box::new(claim)))))
    }

    /// The namespace's claim that has the address already, or asks for it under this name.
    fn claim_there(
        &self,
        namespace: &str,
        name: &str,
        pool: &str,
        address: Address,
    ) -> Result<Option<String>, Refused> {
        let text = address.to_string();
        let has = |claim: &IPClaim| {
            let told = claim.status.iter().flat_map(|status| &status.addresses);
            told.into_iter().any(|one| one.pool == pool && one.address == text)
        };
        let asks = |claim: &IPClaim| {
            let named = claim.spec.address.as_ref().is_some_and(|named| named.as_str() == text);
            named && claim.spec.pool_ref.as_ref().is_some_and(|of| of.name == pool)
        };
        let is_here = |claim: &IPClaim| claim.namespace().as_deref() == Some(namespace);
        let claims = &self.scene.claims;
        if let Some(holder) = claims.iter().find(|claim| has(claim)) {
            if is_here(holder) {
                return Ok(Some(holder.name_any()));
            }
            let whose = format!("{}/{}", holder.namespace().unwrap_or_default(), holder.name_any());
            let why = format!("IPClaim {whose} has it; leave the row out or delete that claim");
            return Err(refuse("address", &text, why));
        }
        match claims.iter().find(|claim| is_here(claim) && claim.name_any() == name) {
            None => Ok(None),
            Some(same) if asks(same) => Ok(Some(name.to_owned())),
            Some(_) => {
                let why = format!(
                    "IPClaim {namespace}/{name} is there and asks for something else; choose another name"
                );
                Err(refuse("name", name, why))
            }
        }
    }

    /// The pool that is named, else the one that hands the address out.
    fn pool_of(&self, wish: &Wish, address: Address) -> Result<String, Refused> {
        let hands_out = |pool: &&IPPool| {
            let prefix = self
                .scene
                .prefixes
                .iter()
                .find(|(_, prefix)| prefix.name_any() == pool.spec.prefix_ref.name);
            let uid: Option<ResourceUid> = pool.uid().and_then(|uid| uid.parse().ok());
            let (Some(((space, cidr), _)), Some(uid)) = (prefix, uid) else { return false };
            wish.get("space").is_none_or(|wanted| wanted == space)
                && cidr.family() == address.family()
                && declared(pool, uid, *cidr)
                    .is_ok_and(|pool| pool.territory(cidr.family()).contains(address))
        };
        let found: Vec<String> =
            self.scene.pools.iter().filter(hands_out).map(ResourceExt::name_any).collect();
        let text = address.to_string();
        match (wish.get("pool"), found.as_slice()) {
            (Some(named), found) if found.iter().any(|one| one == named) => Ok(named.to_owned()),
            (Some(named), _) => Err(refuse(
                "pool",
                named,
                format!("does not hand out {text}; leave the column empty to have the pool found"),
            )),
            (None, [one]) => Ok(one.clone()),
            (None, []) => Err(refuse(
                "address",
                &text,
                "no IPPool hands it out; import the prefixes first and create a pool over it",
            )),
            (None, _) => Err(refuse(
                "address",
                &text,
                format!("pools {} hand it out; name the space or the pool", found.join(", ")),
            )),
        }
    }

    fn vlan(&mut self, wish: &Wish) -> Judged {
        let namespace =
            required(wish, "namespace", "name the project's namespace, or give --namespace")?;
        let text = required(wish, "id", "write the VLAN id")?;
        let number: u16 =
            text.parse().map_err(|_| refuse("id", text, "is no number from 1 to 4094"))?;
        let id = VlanId::new(number).map_err(|refusal| refuse("id", text, refusal))?;
        let pool = self.vlan_pool_of(wish, id)?;
        let name = wish.get("name").map_or_else(|| format!("vlan-{number}"), str::to_owned);
        self.once(
            Kind::Vlan,
            &format!("{namespace}/{name}"),
            &format!("{pool} {number}"),
            &wish.place,
        )?;
        let full = format!("VLAN {namespace}/{name} {number}");
        let wanted = Some(i64::from(number));
        for vlan in &self.scene.vlans {
            let is_same = vlan.namespace().as_deref() == Some(namespace) && vlan.name_any() == name;
            let status = vlan.status.as_ref();
            let has = (vlan.spec.id == wanted
                && vlan.spec.pool_ref.as_ref().is_some_and(|of| of.name == pool))
                || status.is_some_and(|status| {
                    status.id == wanted && status.pool.as_ref() == Some(&pool)
                });
            match (is_same, has) {
                (true, true) => return Ok((full, None)),
                (true, false) => {
                    let why = format!(
                        "VLAN {namespace}/{name} is there and asks for something else; choose another name"
                    );
                    return Err(refuse("name", &name, why));
                }
                (false, true) => {
                    let whose =
                        format!("{}/{}", vlan.namespace().unwrap_or_default(), vlan.name_any());
                    return Err(refuse(
                        "id",
                        text,
                        format!("VLAN {whose} has it; leave the row out or delete that VLAN"),
                    ));
                }
                (false, false) => {}
            }
        }
        let spec = VLANSpec {
            pool_ref: Some(ObjectName::new(&pool)),
            pool_selector: None,
            id: wanted,
            purpose: None,
            prefix_ref: wish.get("prefix").map(ObjectName::new),
        };
        let mut vlan = VLAN::new(&name, spec);
        vlan.metadata.namespace = Some(namespace.to_owned());
        Ok((full, Some(Object::Vlan(Box::new(vlan)))))
    }

    fn vlan_pool_of(&self, wish: &Wish, id: VlanId) -> Result<String, Refused> {
        let holds = |pool: &&VLANPool| {
            let ranges =
                pool.spec.ranges.iter().filter_map(|text| text.as_str().parse::<VlanRange>().ok());
            let mut ranges = ranges;
            ranges.any(|range| range.contains(id))
        };
        let found: Vec<String> =
            self.scene.vlan_pools.iter().filter(holds).map(ResourceExt::name_any).collect();
        let text = id.number().to_string();
        match (wish.get("pool"), found.as_slice()) {
            (Some(named), found) if found.iter().any(|one| one == named) => Ok(named.to_owned()),
            (Some(named), _) => Err(refuse(
                "pool",
                named,
                format!("has no id {text}; leave the column empty to have the pool found"),
            )),
            (None, [one]) => Ok(one.clone()),
            (None, []) => {
                Err(refuse("id", &text, "is in no VLANPool; create one that holds it first"))
            }
            (None, _) => Err(refuse(
                "id",
                &text,
                format!("pools {} hold it; name one in column pool", found.join(", ")),
            )),
        }
    }
}

fn prefix_name(wish: &Wish, space: &str, cidr: Cidr) -> String {
    wish.get("name").map_or_else(|| slug(&format!("{space}-{cidr}")), str::to_owned)
}

fn required<'a>(wish: &'a Wish, field: &str, remedy: &str) -> Result<&'a str, Refused> {
    wish.get(field).ok_or_else(|| refuse(field, "", format!("is missing; {remedy}")))
}
