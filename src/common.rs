//! Values that many clusters of a fleet have in common, so that each is in memory once.
//!
//! A fleet may have ten thousand clusters, and most want the same objects and get the same report. Pure: no I/O, no clock.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Values that were seen before.
#[derive(Debug)]
pub(crate) struct Common<T>(BTreeSet<Arc<T>>);

impl<T: Ord> Common<T> {
    /// Replaces a value by an equal one that was seen before, if there is one.
    pub(crate) fn share(&mut self, value: &mut Arc<T>) {
        match self.0.get(value) {
            Some(known) => *value = Arc::clone(known),
            None => drop(self.0.insert(Arc::clone(value))),
        }
    }
}

impl<T> Default for Common<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_others_are_not() {
        let mut common = Common::default();
        let mut values = ["a", "b", "a"].map(|text| Arc::new(text.to_owned()));
        for value in &mut values {
            common.share(value);
        }
        assert!(Arc::ptr_eq(&values[0], &values[2]) && !Arc::ptr_eq(&values[0], &values[1]));
        assert_eq!(values.map(|value| value.to_string()), ["a", "b", "a"]);
        // Whoever changes one does not change the others.
        let mut one = Arc::new("a".to_owned());
        common.share(&mut one);
        Arc::make_mut(&mut one).push('!');
        let mut another = Arc::new("a".to_owned());
        common.share(&mut another);
        assert_eq!((&**one, &**another), ("a!", "a"));
    }
}
