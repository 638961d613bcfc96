//! Removing entries of ours from a file: those that carry our mark, and that no other context needs.
//!
//! Pure: no I/O, no clock.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::edit::{Edit, List, Unranked, edit};
use super::{Document, MergeError};
use crate::names::{ClusterName, Holder, InventoryName, ProfileName};

/// What names an entry in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct EntryName {
    /// The list that it is in.
    pub list: List,
    /// Its name.
    pub name: String,
}

/// An entry with the mark of an inventory, and what the mark says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Marked {
    /// What names it.
    pub entry: EntryName,
    /// The cluster.
    pub cluster: ClusterName,
    /// The profile; nothing if it is a cluster entry that several grants share.
    pub profile: Option<ProfileName>,
    /// The holder; nothing if it is a cluster entry that several grants share.
    pub holder: Option<Holder>,
    /// The uid of the cluster that it was written for, if it is a cluster entry that says so.
    pub cluster_uid: Option<String>,
    /// Whether it is a user entry that names a token file.
    pub names_token_file: bool,
}

/// What becomes of entries that are wanted away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Removable {
    /// Those that go.
    pub going: Vec<Marked>,
    /// Those that stay, each with a context that refers to it.
    pub needed: Vec<(Marked, String)>,
}

/// Entries of one grant that are removed from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// The inventory that their marks must name.
    pub inventory: InventoryName,
    /// The cluster that their marks must name.
    pub cluster: ClusterName,
    /// The profile that their marks must name, unless they are shared.
    pub profile: ProfileName,
    /// Their names, each once.
    pub entries: Vec<EntryName>,
}

impl Leaving {
    /// Returns whether it includes an entry, by its name and its mark.
    pub(crate) fn includes(&self, marked: &Marked) -> bool {
        self.cluster == marked.cluster
            && marked.profile.as_ref().is_none_or(|profile| *profile == self.profile)
            && self.entries.contains(&marked.entry)
    }
}

impl Document {
    /// Tells which of the entries that are wanted away go: what a context that stays refers to stays too, because removing
    /// it could take somebody's access. What the contexts in `rewritten` refer to does not count.
    pub(crate) fn removable(
        &self,
        inventory: &InventoryName,
        is_wanted: impl Fn(&Marked) -> bool,
        rewritten: &BTreeSet<&str>,
    ) -> Removable {
        let mut wanted = self.marked(inventory);
        wanted.retain(is_wanted);
        let contexts: Vec<String> =
            wanted.iter().filter(|it| it.entry.list == List::Contexts).map(|it| it.entry.name.clone()).collect();
        let contexts: BTreeSet<&str> = contexts.iter().map(String::as_str).chain(rewritten.iter().copied()).collect();
        let mut removable = Removable::default();
        let needs = self.needs(&contexts);
        for marked in wanted {
            let context = needs.get(&(marked.entry.list, marked.entry.name.as_str())).copied();
            match context {
                Some(context) => removable.needed.push((marked, context.to_owned())),
                None => removable.going.push(marked),
            }
        }
        removable
    }
}

/// Removes entries from a file. Those that lost their mark meanwhile, or belong to another grant now, stay.
///
/// If the current context is removed, none is current.
///
/// # Errors
///
/// If the file cannot be read or edited.
pub(crate) fn remove(before: &[u8], leaving: &[Leaving]) -> Result<Vec<u8>, MergeError> {
    let text = std::str::from_utf8(before).map_err(|_| MergeError::NotText)?;
    let document = Document::parse(text)?;
    let inventories: BTreeSet<&InventoryName> = leaving.iter().map(|leaving| &leaving.inventory).collect();
    let mut edits = vec![];
    for inventory in inventories {
        let of_inventory = || leaving.iter().filter(|leaving| leaving.inventory == *inventory);
        let leaves = |marked: &Marked| of_inventory().any(|leaving| leaving.includes(marked));
        for Marked { entry, .. } in document.removable(inventory, leaves, &BTreeSet::new()).going {
            if entry.list == List::Contexts && document.current_context() == Some(&entry.name) {
                edits.push(Edit::CurrentContext(String::new()));
            }
            edits.push(Edit::Remove { list: entry.list, name: entry.name });
        }
    }
    if edits.is_empty() {
        return Ok(before.to_vec());
    }
    Ok(edit(before, &edits, &Unranked)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubeconfig::{Endpoint, EntryNames, Mark, OurEntries, UserForm};

    fn edited(before: &[u8], grants: &[(&str, &str)]) -> Vec<u8> {
        let entries = grants.iter().flat_map(|(cluster, profile)| {
            let context = format!("{profile}@{cluster}");
            let names = EntryNames {
                user: context.clone(),
                context,
                cluster: (*cluster).to_owned(),
                namespace: None,
                form: UserForm::TokenFile("a.tokens/x".to_owned()),
                shares_cluster: true,
            };
            let mark = Mark {
                inventory: "acme".into(),
                holder: "h".into(),
                cluster: (*cluster).into(),
                profile: (*profile).into(),
            };
            let endpoint = Endpoint { server: format!("https://{cluster}"), ..Endpoint::default() };
            OurEntries::render(&names, &mark, &endpoint, None).into_lists()
        });
        let edits: Vec<Edit> = entries.map(|(list, entry)| Edit::Upsert { list, entry }).collect();
        edit(before, &edits, &Unranked).unwrap()
    }

    fn leaving(profile: &str, lists: &[(List, &str)]) -> Leaving {
        let entries = lists.iter().map(|(list, name)| EntryName { list: *list, name: (*name).to_owned() }).collect();
        Leaving { inventory: "acme".into(), cluster: "eu".into(), profile: profile.into(), entries }
    }

    const CLUSTER: (List, &str) = (List::Clusters, "eu");

    fn of(profile: &str) -> Leaving {
        let name = format!("{profile}@eu");
        leaving(profile, &[CLUSTER, (List::Users, &name), (List::Contexts, &name)])
    }

    #[test]
    fn a_shared_cluster_entry_goes_with_the_last_context_that_needs_it() {
        let before = edited(b"", &[("eu", "reader"), ("eu", "deployer")]);
        let once = remove(&before, &[of("reader")]).unwrap();
        assert_eq!(once, edited(b"", &[("eu", "deployer")]));
        let text = String::from_utf8(remove(&once, &[of("deployer")]).unwrap()).unwrap();
        assert!(!text.contains("name: "), "{text}");
        let both = String::from_utf8(remove(&before, &[of("reader"), of("deployer")]).unwrap()).unwrap();
        assert_eq!(both, text);
    }

    #[test]
    fn what_somebody_elses_context_needs_stays() {
        let mine = json!({"name": "mine", "context": {"cluster": "eu", "user": "reader@eu"}});
        let before =
            edit(&edited(b"", &[("eu", "reader")]), &[Edit::Upsert { list: List::Contexts, entry: mine }], &Unranked)
                .unwrap();
        let after = String::from_utf8(remove(&before, &[of("reader")]).unwrap()).unwrap();
        assert!(after.contains("server: https://eu") && after.contains("tokenFile"), "{after}");
        assert!(!after.contains("name: reader@eu\n  context"), "{after}");
    }

    #[test]
    fn an_entry_that_is_anothers_by_now_stays() {
        let before = edited(b"", &[("eu", "reader")]);
        let text = String::from_utf8(before.clone()).unwrap();
        for (ours, theirs) in [
            ("inventory: acme", "inventory: other"),
            ("profile: reader", "profile: writer"),
            ("cluster: eu\n        profile", "cluster: us\n        profile"),
        ] {
            let altered = text.replace(ours, theirs);
            assert_ne!(altered, text, "{ours}");
            let after = String::from_utf8(remove(altered.as_bytes(), &[of("reader")]).unwrap()).unwrap();
            assert!(after.contains("name: reader@eu\n  user:"), "{after}");
        }
        let marked = Document::parse(&text).unwrap().marked(&"acme".into());
        let tokens: Vec<bool> = marked.iter().map(|marked| marked.names_token_file).collect();
        assert_eq!(tokens, [false, true, false], "clusters, users, contexts");
    }
}
