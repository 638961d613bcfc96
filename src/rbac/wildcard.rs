//! Which rules allow more than they name.

use super::Rule;
use crate::wording::list;

impl Rule {
    /// Returns what the rule allows by wildcard, as in ``every verb on `jobs` of `batch` ``; nothing without one.
    pub fn wildcard(&self) -> Option<String> {
        let is_wild = |values: &[String]| values.iter().any(|value| value == "*");
        let partly_wild = |value: &String| value.contains('*');
        let shown = |values: &[String]| list(values.iter().map(String::as_str), 5);
        let verbs = if is_wild(&self.verbs) { "every verb".to_owned() } else { shown(&self.verbs) };
        if !self.non_resource_urls.is_empty() {
            let wild = is_wild(&self.verbs) || self.non_resource_urls.iter().any(partly_wild);
            return wild.then(|| format!("{verbs} on the URLs {}", shown(&self.non_resource_urls)));
        }
        if !is_wild(&self.verbs) && !is_wild(&self.api_groups) && !self.resources.iter().any(partly_wild) {
            return None;
        }
        let resources = if is_wild(&self.resources) { "every resource".to_owned() } else { shown(&self.resources) };
        let groups = match is_wild(&self.api_groups) {
            true => "every API group".to_owned(),
            false if self.api_groups.iter().all(String::is_empty) => "the core group".to_owned(),
            false => {
                let named = self.api_groups.iter().filter(|group| !group.is_empty()).map(String::as_str);
                let core = if self.api_groups.iter().any(String::is_empty) { "the core group and " } else { "" };
                format!("{core}{}", list(named, 5))
            }
        };
        Some(format!("{verbs} on {resources} of {groups}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_with_wildcards_are_described() {
        let check = |groups: &[&str], resources: &[&str], verbs: &[&str], urls: &[&str], expect: Option<&str>| {
            let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
            let rule = Rule {
                api_groups: owned(groups),
                resources: owned(resources),
                verbs: owned(verbs),
                resource_names: vec![],
                non_resource_urls: owned(urls),
            };
            assert_eq!(rule.wildcard().as_deref(), expect);
        };
        check(&[""], &["pods"], &["get"], &[], None);
        check(&["batch"], &["jobs"], &["*"], &[], Some("every verb on `jobs` of `batch`"));
        check(&["*"], &["*"], &["get"], &[], Some("`get` on every resource of every API group"));
        check(&["", "a"], &["*/scale"], &["get"], &[], Some("`get` on `*/scale` of the core group and `a`"));
        check(&[], &[], &["get"], &["/healthz"], None);
        check(&[], &[], &["get"], &["/api/*"], Some("`get` on the URLs `/api/*`"));
    }
}
