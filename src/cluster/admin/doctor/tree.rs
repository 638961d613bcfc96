//! A kubeconfig as a tree with the line of each value. It holds secrets, so it cannot be formatted.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use granit_parser::{Event, Options, Parser, ScalarStyle};

/// A value and where it stands.
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
    /// How deeply values are nested in it, those of aliases included.
    depth: usize,
}

/// The parser bounds the nesting of the text; this bounds the nesting that aliases add. A tree as deep as the file is
/// long would overflow the stack even when it is dropped.
const DEEPEST: usize = 500;

pub(super) enum Value {
    Null,
    Text(String),
    Map(Vec<(Rc<Node>, Rc<Node>)>),
    List(Vec<Rc<Node>>),
}

/// A collection that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<Rc<Node>>,
}

/// Reads the first document. The error is the line from which on it is no YAML.
pub(super) fn parse(text: &str) -> Result<Option<Rc<Node>>, usize> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut open: Vec<Open> = vec![];
    let mut anchors: HashMap<usize, Rc<Node>> = HashMap::new();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| error.marker().line())?;
        let line = span.start.line();
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if is_null { Value::Null } else { Value::Text(text.into_owned()) };
                (Node { line, value, depth: 0 }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                open.push(Open { node: Node { line, value: Value::List(vec![]), depth: 0 }, anchor, key: None });
                continue;
            }
            Event::MappingStart(_, anchor, _) => {
                open.push(Open { node: Node { line, value: Value::Map(vec![]), depth: 0 }, anchor, key: None });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(closed) = open.pop() else { return Err(line) };
                (closed.node, closed.anchor)
            }
            Event::Alias(anchor) => {
                // A value that refers to itself is not complete yet; one that is too deep is refused by the other
                // reader.
                let node = anchors.get(&anchor).filter(|node| node.depth < DEEPEST).cloned();
                let node = node.unwrap_or_else(|| Rc::new(Node { line, value: Value::Null, depth: 0 }));
                match open.last_mut() {
                    Some(parent) => parent.add(node),
                    None => return Ok(Some(node)),
                }
                continue;
            }
            _ => continue,
        };
        let node = Rc::new(node);
        if anchor != 0 {
            anchors.insert(anchor, Rc::clone(&node));
        }
        match open.last_mut() {
            Some(parent) => parent.add(node),
            // kubectl reads the first document only.
            None => return Ok(Some(node)),
        }
    }
    Ok(None)
}

impl Open {
    fn add(&mut self, node: Rc<Node>) {
        self.node.depth = self.node.depth.max(node.depth + 1);
        match (&mut self.node.value, self.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            (_, None) => self.key = Some(node),
            (_, Some(_)) => {}
        }
    }
}

impl Node {
    /// Returns the text, if it is text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the line and the value of a key: the last of that name, as in Go, else a merged one.
    pub(super) fn get(&self, key: &str) -> Option<(usize, &Rc<Self>)> {
        // What is merged is looked at once, however often it is referred to: some hundred bytes can refer to each other
        // a billion times, or in a chain that no stack is deep enough for.
        let mut seen = HashSet::new();
        let mut waiting = vec![self];
        while let Some(node) = waiting.pop() {
            let Value::Map(entries) = &node.value else { continue };
            let named = |name: &str| entries.iter().rev().find(|(entry, _)| entry.text() == Some(name));
            if let Some((key, value)) = named(key) {
                return Some((key.line, value));
            }
            match named("<<") {
                Some((_, merged)) if seen.insert(std::ptr::from_ref(node)) => match &merged.value {
                    Value::List(sources) => waiting.extend(sources.iter().rev().map(|source| &**source)),
                    _ => waiting.push(merged),
                },
                _ => {}
            }
        }
        None
    }

    /// Returns the items of a list.
    pub(super) fn items(&self) -> &[Rc<Self>] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }
}
