//! The positions of the root keys and the list entries in a kubeconfig's text.
//!
//! It makes one pass over the parser's events. The parser tells where scalars and flow collections end; a block
//! collection ends with the last content in it. Pure: no I/O, no clock.

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle};

use super::{EditError, List, refused, render};

/// The kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Scalar,
    Alias,
    BlockSequence,
    FlowSequence,
    BlockMapping,
    FlowMapping,
}

/// A range of anchor numbers; 0 means none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Anchors {
    pub(super) first: usize,
    pub(super) last: usize,
}

/// An entry of a root list.
#[derive(Debug)]
pub(super) struct Item {
    /// The position of a block entry's dash, or of a flow entry's start.
    pub(super) dash: usize,
    /// The start of the value.
    pub(super) start: usize,
    /// The end of the last content byte.
    pub(super) end: usize,
    pub(super) kind: Kind,
    pub(super) name: Option<String>,
    /// How often the key `name` occurs in it.
    pub(super) names: usize,
    /// Whether it has a merge key.
    pub(super) merges: bool,
    /// Whether `name` is the first key.
    pub(super) name_first: Option<bool>,
    /// The column of its keys.
    pub(super) key_column: usize,
    /// The indentation of a mapping in it.
    pub(super) step: usize,
    pub(super) anchors: Anchors,
}

/// A key of the root mapping, with its value.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) key: String,
    pub(super) key_start: usize,
    /// The position after the colon.
    pub(super) colon_end: usize,
    pub(super) value_start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
    /// Whether the value has a tag or an anchor.
    pub(super) has_properties: bool,
    pub(super) items: Vec<Item>,
    pub(super) anchor: usize,
}

/// The positions in the first document.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) kind: Option<Kind>,
    pub(super) column: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) roots: Vec<Root>,
    /// Whether anything has an anchor.
    pub(super) has_anchors: bool,
    /// The anchor number and the position of every alias.
    pub(super) aliases: Vec<(usize, usize)>,
    pub(super) documents: usize,
    /// The end of the document: `...`, or the end of its content.
    pub(super) document_end: usize,
    /// Whether the last scalar is a block scalar whose value depends on the end of the text.
    pub(super) open_block_scalar: bool,
}

impl Index {
    /// Returns where the lines of the lists begin that the text can be cut at, so that each part says by itself what it says
    /// within the whole.
    ///
    /// A key of a block mapping at the beginning of a line is within something else only if that is in quotes or brackets; then
    /// the part before it does not end, and cannot be read. There is no cut before the first key, where nothing says anything.
    pub(super) fn cuts(&self, text: &str) -> Vec<usize> {
        let can_be_cut = self.kind == Some(Kind::BlockMapping) && !self.has_anchors && !text.starts_with('%');
        let is_list = |root: &&Root| List::ALL.iter().any(|list| list.key() == root.key);
        let begins_a_line = |at: &usize| text[..*at].ends_with('\n');
        let lists = self.roots.iter().skip(1).filter(|_| can_be_cut).filter(is_list);
        lists.map(|root| root.key_start).filter(begins_a_line).collect()
    }
}

/// The role of the next node in a collection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Key,
    Value,
    Item,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Document,
    Key,
    Value,
    Item,
}

struct Frame {
    next: Next,
    flow: bool,
    /// Whether this is an entry of a root list.
    is_item: bool,
}

struct Node<'a> {
    kind: Kind,
    text: Option<&'a str>,
    style: Option<ScalarStyle>,
    anchor: usize,
    range: std::ops::Range<usize>,
    tag: Option<std::ops::Range<usize>>,
}

struct Indexer<'a> {
    text: &'a str,
    index: Index,
    stack: Vec<Frame>,
    /// The end of the last content byte so far.
    last: usize,
    /// The role of the last node.
    role: Role,
    root_key: Option<(usize, String)>,
    item_key: Option<String>,
    item_keys: usize,
}

/// Finds the positions.
pub(super) fn index(text: &str) -> Result<Index, EditError> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.emit_anchor_events = true;
    let mut indexer = Indexer {
        text,
        index: Index::default(),
        stack: vec![],
        last: 0,
        role: Role::Document,
        root_key: None,
        item_key: None,
        item_keys: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        // The parser's message may quote the text.
        let (event, span) = event.map_err(|_| refused("it is not valid YAML"))?;
        indexer.event(&event, &span)?;
    }
    Ok(indexer.index)
}

impl Indexer<'_> {
    fn event(&mut self, event: &Event<'_>, span: &Span) -> Result<(), EditError> {
        let range = span.byte_range().ok_or_else(|| refused("the parser tells no positions"))?;
        let tag = span.tag_span().and_then(|tag| tag.byte_range());
        let node =
            |kind, anchor| Node { kind, text: None, style: None, anchor, range: range.clone(), tag: tag.clone() };
        match event {
            Event::StreamStart | Event::StreamEnd => Ok(()),
            Event::DocumentStart(..) => {
                self.index.documents += 1;
                if self.index.documents == 1 {
                    self.last = range.end;
                }
                Ok(())
            }
            Event::DocumentEnd => {
                if self.index.documents == 1 {
                    self.index.document_end = range.start;
                }
                Ok(())
            }
            // The event comes after its node, which may be empty and end before the anchor.
            Event::Anchor(..) => {
                self.last = self.last.max(range.end);
                self.extend_over_anchor();
                Ok(())
            }
            Event::Alias(anchor) => {
                if self.in_first() {
                    self.index.aliases.push((*anchor, range.start));
                }
                self.node(&node(Kind::Alias, 0))
            }
            Event::Scalar(text, style, anchor, tag_name) => {
                let is_plain = *style == ScalarStyle::Plain;
                let is_null = is_plain
                    && (range.is_empty()
                        || (tag_name.is_none() && matches!(&**text, "null" | "~" | "Null" | "NULL" | "")));
                let kind = if is_null { Kind::Null } else { Kind::Scalar };
                self.node(&Node { text: Some(text), style: Some(*style), ..node(kind, *anchor) })
            }
            Event::SequenceStart(style, anchor, _) => {
                let flow = *style == StructureStyle::Flow;
                self.node(&node(if flow { Kind::FlowSequence } else { Kind::BlockSequence }, *anchor))
            }
            Event::MappingStart(style, anchor, _) => {
                let flow = *style == StructureStyle::Flow;
                self.node(&node(if flow { Kind::FlowMapping } else { Kind::BlockMapping }, *anchor))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.close(range.end);
                Ok(())
            }
            _ => Err(refused("the parser tells something unexpected")),
        }
    }

    fn in_first(&self) -> bool {
        self.index.documents <= 1
    }

    fn close(&mut self, end: usize) {
        let Some(frame) = self.stack.pop() else {
            return;
        };
        if frame.flow {
            self.last = self.last.max(end);
        }
        if !self.in_first() {
            return;
        }
        let last = self.last;
        if frame.is_item
            && let Some(item) = self.current_item()
        {
            item.end = last;
        }
        match self.stack.len() {
            1 => {
                if let Some(root) = self.index.roots.last_mut() {
                    root.end = last;
                }
            }
            0 => self.index.end = last,
            _ => {}
        }
    }

    fn current_item(&mut self) -> Option<&mut Item> {
        self.index.roots.last_mut()?.items.last_mut()
    }

    fn next_role(&mut self) -> Role {
        match self.stack.last_mut() {
            None => Role::Document,
            Some(frame) => match frame.next {
                Next::Key => {
                    frame.next = Next::Value;
                    Role::Key
                }
                Next::Value => {
                    frame.next = Next::Key;
                    Role::Value
                }
                Next::Item => Role::Item,
            },
        }
    }

    fn node(&mut self, node: &Node<'_>) -> Result<(), EditError> {
        let role = self.next_role();
        self.role = role;
        let depth = self.stack.len();
        let before = self.last;
        self.index.open_block_scalar = false;
        self.advance_over_indicator(role, before);
        self.advance(node, before);
        if role == Role::Key && !self.advance_over_colon() && self.in_first() && depth <= 1 {
            return Err(refused("a root key has no colon"));
        }
        if self.in_first() {
            self.place(node, role, depth, before)?;
            self.note_anchor(node, role, depth)?;
        }
        let is_collection =
            matches!(node.kind, Kind::BlockSequence | Kind::FlowSequence | Kind::BlockMapping | Kind::FlowMapping);
        if is_collection {
            let flow = matches!(node.kind, Kind::FlowSequence | Kind::FlowMapping);
            if flow {
                self.last = self.last.max(node.range.end);
            }
            self.stack.push(Frame {
                next: if matches!(node.kind, Kind::BlockMapping | Kind::FlowMapping) { Next::Key } else { Next::Item },
                flow,
                is_item: depth == 2 && role == Role::Item,
            });
        } else if self.in_first() {
            let last = self.last;
            if depth == 1
                && role == Role::Value
                && let Some(root) = self.index.roots.last_mut()
            {
                root.end = last;
            }
            if depth == 0 {
                self.index.end = last;
            }
        }
        Ok(())
    }

    /// Extends a node that consists only of an anchor, so that it ends after the anchor.
    fn extend_over_anchor(&mut self) {
        if self.role == Role::Key {
            self.advance_over_colon();
        }
        if !self.in_first() {
            return;
        }
        let last = self.last;
        match self.stack.len() {
            1 if self.role == Role::Value => {
                if let Some(root) = self.index.roots.last_mut() {
                    root.end = last;
                    root.has_properties = true;
                }
            }
            2 if self.role == Role::Item => {
                if let Some(item) = self.current_item() {
                    item.end = last;
                }
            }
            _ => {}
        }
    }

    /// Moves the end of the last content past the colon after a key; returns whether there is one.
    fn advance_over_colon(&mut self) -> bool {
        let colon = render::skip_blank(self.text, self.last);
        let is_colon = self.text.as_bytes().get(colon) == Some(&b':');
        if is_colon {
            self.last = colon + 1;
        }
        is_colon
    }

    /// Moves the end of the last content past the `-` or `?` before a node, because the node may be empty.
    fn advance_over_indicator(&mut self, role: Role, before: usize) {
        let indicator = match role {
            Role::Item => b'-',
            Role::Key => b'?',
            Role::Document | Role::Value => return,
        };
        if self.stack.last().is_some_and(|frame| frame.flow) {
            return;
        }
        let bytes = self.text.as_bytes();
        let at = render::skip_blank(self.text, before);
        if bytes.get(at) == Some(&indicator) && bytes.get(at + 1).is_none_or(u8::is_ascii_whitespace) {
            self.last = self.last.max(at + 1);
        }
    }

    /// Moves the end of the last content past a node.
    fn advance(&mut self, node: &Node<'_>, before: usize) {
        let bytes = self.text.as_bytes();
        if matches!(node.style, Some(ScalarStyle::Literal | ScalarStyle::Folded)) {
            // The span of a block scalar includes the indentation of the next line.
            let header =
                (before..node.range.start).find(|at| matches!(bytes[*at], b'|' | b'>')).unwrap_or(node.range.start);
            let header_end = (header..bytes.len())
                .find(|at| matches!(bytes[*at], b'\r' | b'\n' | b' ' | b'\t'))
                .unwrap_or(bytes.len());
            let indicator = &bytes[header..header_end];
            let body = &self.text[node.range.clone()];
            self.index.open_block_scalar = !indicator.contains(&b'-');
            let last_line = body.rfind('\n').map_or(0, |at| at + 1);
            let is_kept = indicator.contains(&b'+');
            let end = if body.is_empty() && is_kept {
                // Its text consists of blank lines only, and the parser's span begins after them.
                render::line_start(self.text, node.range.start)
            } else if body.is_empty() {
                0
            } else if is_kept && body[last_line..].trim().is_empty() {
                node.range.start + last_line
            } else {
                node.range.start + body.trim_end().len()
            };
            self.last = self.last.max(header_end).max(end);
            return;
        }
        let is_block = matches!(node.kind, Kind::BlockMapping | Kind::BlockSequence);
        if !is_block && !node.range.is_empty() {
            self.last = self.last.max(node.range.end);
        }
        if let Some(tag) = &node.tag {
            self.last = self.last.max(tag.end);
        }
    }

    fn place(&mut self, node: &Node<'_>, role: Role, depth: usize, before: usize) -> Result<(), EditError> {
        let start = node.tag.as_ref().map_or(node.range.start, |tag| tag.start.min(node.range.start));
        match (depth, role) {
            (0, _) => {
                self.index.kind = Some(node.kind);
                self.index.start = start;
                self.index.end = self.last;
                if node.kind == Kind::BlockMapping {
                    self.index.column = render::column(self.text, node.range.start);
                }
            }
            (1, Role::Key) => {
                let key = node.text.ok_or_else(|| refused("a root key is not a scalar"))?;
                let line = render::line_start(self.text, node.range.start);
                if self.text[line..node.range.start].contains('?') {
                    return Err(refused("a root key is written with `?`"));
                }
                self.root_key = Some((node.range.start, key.to_owned()));
            }
            (1, Role::Value) => self.place_root(node, before)?,
            (2, Role::Item) => self.place_item(node, before)?,
            (3, Role::Key) => {
                self.item_key = node.text.map(str::to_owned);
                self.item_keys += 1;
                let merges = self.item_key.as_deref() == Some("<<");
                if merges && let Some(item) = self.current_item() {
                    item.merges = true;
                }
            }
            (3, Role::Value) => {
                let is_name = self.item_key.as_deref() == Some("name");
                let name_first = self.item_keys == 1;
                let column = render::column(self.text, node.range.start);
                let Some(item) = self.current_item() else {
                    return Ok(());
                };
                if is_name {
                    if node.kind == Kind::Alias {
                        return Err(refused("the name of an entry is an alias"));
                    }
                    item.names += 1;
                    item.name = node.text.map(str::to_owned);
                    item.name_first = Some(name_first);
                } else if node.kind == Kind::BlockMapping {
                    item.step = column.saturating_sub(item.key_column);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn place_root(&mut self, node: &Node<'_>, before: usize) -> Result<(), EditError> {
        let (key_start, key) = self.root_key.take().ok_or_else(|| refused("a root value has no key"))?;
        let value = render::skip_blank(self.text, before);
        let has_anchor = matches!(self.text.as_bytes().get(value), Some(b'&' | b'!')) && node.kind != Kind::Null;
        let is_missing = node.kind == Kind::Null && node.range.is_empty();
        self.index.roots.push(Root {
            key,
            key_start,
            colon_end: before,
            value_start: if is_missing { before } else { node.range.start },
            end: self.last,
            kind: node.kind,
            has_properties: has_anchor || node.tag.is_some(),
            items: vec![],
            anchor: 0,
        });
        Ok(())
    }

    fn place_item(&mut self, node: &Node<'_>, before: usize) -> Result<(), EditError> {
        let bytes = self.text.as_bytes();
        let flow = self.stack.last().is_some_and(|frame| frame.flow);
        let mut dash = render::skip_blank(self.text, before);
        if flow {
            if bytes.get(dash) == Some(&b',') {
                dash = render::skip_blank(self.text, dash + 1);
            }
        } else {
            let line = render::line_start(self.text, dash);
            if bytes.get(dash) != Some(&b'-') || self.text[line..dash].bytes().any(|byte| byte != b' ') {
                return Err(refused("an entry does not begin with a dash on a line of its own"));
            }
        }
        let key_column = if node.kind == Kind::BlockMapping { render::column(self.text, node.range.start) } else { 0 };
        let end = self.last;
        self.item_keys = 0;
        if let Some(root) = self.index.roots.last_mut() {
            root.items.push(Item {
                dash,
                start: node.range.start,
                end,
                kind: node.kind,
                name: None,
                names: 0,
                merges: false,
                name_first: None,
                key_column,
                step: 0,
                anchors: Anchors::default(),
            });
        }
        Ok(())
    }

    fn note_anchor(&mut self, node: &Node<'_>, role: Role, depth: usize) -> Result<(), EditError> {
        if node.anchor == 0 {
            return Ok(());
        }
        self.index.has_anchors = true;
        match (depth, role) {
            (0, _) => Ok(()),
            (1, Role::Key) => Err(refused("a root key has an anchor")),
            (1, _) => {
                if let Some(root) = self.index.roots.last_mut() {
                    root.anchor = node.anchor;
                }
                Ok(())
            }
            _ => {
                if let Some(item) = self.current_item() {
                    if item.anchors.first == 0 {
                        item.anchors.first = node.anchor;
                    }
                    item.anchors.last = node.anchor;
                }
                Ok(())
            }
        }
    }
}
