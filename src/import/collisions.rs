//! Users who would be one here, since their names, addresses or ids are the same: of a file, and of the store. None of them
//! is chosen silently; all of a group are refused, each with all the others.

use std::collections::{BTreeMap, HashMap};

use super::record::{Read, Refused, shown};
use crate::domain::id::UserId;
use crate::domain::text::{Email, Username};
use crate::store::{Clash, Common};

/// What several users have in common: who of the file, by their places there, and who of the store.
#[derive(Default)]
struct Group {
    of_file: Vec<usize>,
    of_store: Vec<String>,
}

/// Who has a key in common.
type Groups = BTreeMap<(Common, String), Group>;
/// The key of each, by the place.
type Keys = HashMap<(usize, Common), String>;

/// Refuses the users of a file that are in a group with others of it, or clash with those of a store. The clashes name
/// records by their places. Those that are refused stand in the order of their lines, and groups together.
pub fn refuse_collisions(read: Read, clashes: Vec<Clash>) -> Read {
    let Read { records, refused, notes } = read;
    let of_records = records.len();
    let (mut groups, keys) = groups(&records, &refused);
    for Clash { place, common, with } in clashes {
        let key = keys.get(&(place, common)).and_then(|key| groups.get_mut(&(common, key.clone())));
        if let Some(group) = key.filter(|group| !group.of_store.contains(&with)) {
            group.of_store.push(with);
        }
    }
    groups.retain(|(common, key), Group { of_file, of_store }| {
        let records = || of_file.iter().filter_map(|place| records.get(*place));
        let one_of_file = of_file.len() < 2;
        !of_store.is_empty()
            || match common {
                Common::Username | Common::Email | Common::Id => !one_of_file,
                Common::UsernameIsId => {
                    let by_name = records().any(|record| record.user.username.as_str() == key);
                    !one_of_file && by_name && records().any(|record| record.id.is_some_and(|id| id.as_str() == key))
                }
                // In a file that is the same as the one above.
                Common::IdIsUsername => false,
            }
    });

    let line = |place: usize| match records.get(place) {
        Some(record) => (record.line, record.user.username.as_str()),
        None => refused.get(place - of_records).map_or((0, ""), |refused| (refused.line, refused.username.as_str())),
    };
    let mut whys = HashMap::<usize, Vec<String>>::new();
    // With which line those of a group stand together.
    let mut together = HashMap::<usize, usize>::new();
    for ((common, _), Group { of_file, of_store }) in &groups {
        let first = of_file.iter().map(|place| line(*place).0).min().unwrap_or_default();
        for place in of_file {
            let others = of_file.iter().filter(|other| *other != place).map(|other| {
                let (number, username) = line(*other);
                format!("{} (line {number})", shown(username))
            });
            let there = of_store.iter().map(|username| format!("{} (there already)", shown(username)));
            let others = others.chain(there).collect::<Vec<_>>().join(", ");
            let why = match common {
                Common::Username => format!("it is the same username as {others}"),
                Common::Email => format!("it has the same e-mail address as {others}"),
                Common::Id => format!("it has the same id as {others}"),
                Common::UsernameIsId => format!("the username of one is the id of another: this one and {others}"),
                Common::IdIsUsername => format!("its id is the username of {others}"),
            };
            whys.entry(*place).or_default().push(why);
            let with = together.entry(*place).or_insert(first);
            *with = first.min(*with);
        }
    }

    let mut all = Vec::new();
    for (place, mut refused) in (of_records..).zip(refused) {
        refused.why = [vec![refused.why], whys.remove(&place).unwrap_or_default()].concat().join("; ");
        all.push((together.get(&place).copied().unwrap_or(refused.line), refused));
    }
    let mut kept = Vec::new();
    for (place, record) in records.into_iter().enumerate() {
        match whys.remove(&place) {
            None => kept.push(record),
            Some(whys) => {
                let (line, username) = (record.line, record.user.username.as_str().to_owned());
                all.push((
                    together.get(&place).copied().unwrap_or(line),
                    Refused { line, username, why: whys.join("; ") },
                ));
            }
        }
    }
    all.sort_by_key(|(first, refused)| (*first, refused.line));
    Read { records: kept, refused: all.into_iter().map(|(_, refused)| refused).collect(), notes }
}

/// Groups of one and more by what they have in common, and the key of each. A line that is refused for another reason
/// counts, since it may be the one that was meant.
fn groups(records: &[super::Record], refused: &[Refused]) -> (Groups, Keys) {
    let mut found = Vec::new();
    for (place, record) in records.iter().enumerate() {
        found.push((place, Common::Username, record.user.username.key()));
        found.extend(record.user.email.as_ref().map(|email| (place, Common::Email, Email::key(email))));
        found.extend(record.id.map(|id| (place, Common::Id, id.to_string())));
        // Commands name a user by either.
        found.extend(record.id.map(|id| (place, Common::IdIsUsername, id.to_string())));
        let as_id = record.user.username.as_str().parse::<UserId>().ok();
        let ids = record.id.filter(|id| Some(*id) != as_id).into_iter().chain(as_id);
        found.extend(ids.map(|id| (place, Common::UsernameIsId, id.to_string())));
    }
    for (place, refused) in (records.len()..).zip(refused) {
        let username = Username::new(&refused.username).ok();
        found.extend(username.map(|username| (place, Common::Username, username.key())));
    }
    let mut groups = Groups::new();
    let mut keys = Keys::new();
    for (place, common, key) in found {
        groups.entry((common, key.clone())).or_default().of_file.push(place);
        keys.insert((place, common), key);
    }
    (groups, keys)
}
