//! The objects of one simulated cluster.
//!
//! Pure: no I/O, no clock. Objects are shared until they change, so that a thousand clusters hold
//! one copy of the default roles.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::resource::ResourceType;

/// Type, namespace (empty for cluster scope) and name.
type Key = (&'static str, String, String);

/// All objects and the revision of the last write.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    revision: u64,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { objects: BTreeMap::new(), revision: 1 }
    }

    /// Returns the revision of the last write.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn get(&self, resource: &ResourceType, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        // The plurals of the stored types are unique across groups.
        let key = (resource.plural, namespace.to_owned(), name.to_owned());
        self.objects.get(&key)
    }

    /// Returns the objects of a type in the order of namespace and name; all namespaces when
    /// `namespace` is empty.
    pub(crate) fn list(&self, resource: &'static ResourceType, namespace: &str) -> impl Iterator<Item = &Arc<Value>> {
        let plural = resource.plural;
        let first = (plural, namespace.to_owned(), String::new());
        let namespace = namespace.to_owned();
        self.objects
            .range(first..)
            .take_while(move |((other, within, _), _)| {
                *other == plural && (namespace.is_empty() || *within == namespace)
            })
            .map(|(_, object)| object)
    }

    /// Stores `object` under a new resource version and returns it as stored.
    pub(crate) fn put(&mut self, resource: &'static ResourceType, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.insert(resource, Arc::new(object))
    }

    /// Stores an object as it is.
    pub(crate) fn insert(&mut self, resource: &'static ResourceType, object: Arc<Value>) -> Arc<Value> {
        let key = (resource.plural, text(&object, "namespace").to_owned(), text(&object, "name").to_owned());
        self.objects.insert(key, Arc::clone(&object));
        object
    }

    /// Removes an object and what cannot live without it: the content of a namespace, and
    /// whatever names it as its owner.
    pub(crate) fn remove(&mut self, resource: &'static ResourceType, object: &Value) {
        self.revision += 1;
        let (namespace, name) = (text(object, "namespace"), text(object, "name"));
        self.objects.remove(&(resource.plural, namespace.to_owned(), name.to_owned()));
        if resource.plural == "namespaces" {
            self.objects.retain(|(_, within, _), _| within != name);
        }
        self.collect_orphans(text(object, "uid"));
    }

    /// Removes the dependents of a deleted owner, and theirs. Kubernetes does the same a moment
    /// later, in its garbage collector.
    fn collect_orphans(&mut self, owner: &str) {
        let mut owners = vec![owner.to_owned()];
        while let Some(owner) = owners.pop() {
            self.objects.retain(|_, object| {
                let references = object["metadata"]["ownerReferences"].as_array();
                let orphaned = references.into_iter().flatten().any(|r| r["uid"] == owner);
                if orphaned {
                    owners.push(text(object, "uid").to_owned());
                }
                !orphaned
            });
        }
    }
}

/// Returns a text field of an object's metadata, empty when absent.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}
