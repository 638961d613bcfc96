//! The bytes that change: replacements of entries with the same name, and insertions.
//!
//! All splices refer to the original text, so they can be collected in any order. Pure: no I/O.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::index::{Index, Item, Kind, Root};
use super::render::{
    Style, column, json_for_yaml, key_text, line_end, line_start, ordered, scalar, skip_blank, skip_spaces,
};
use super::{Edit, EditError, List, Ranking, refused};

/// Replaces the bytes `start..end` by `text`.
#[derive(Clone)]
pub(super) struct Splice {
    start: usize,
    end: usize,
    text: String,
}

impl Splice {
    pub(super) fn new(start: usize, end: usize, text: String) -> Self {
        Self { start, end, text }
    }
}

/// Refuses content whose meaning could change when its neighbours change.
pub(super) fn refuse_unsafe(index: &Index) -> Result<(), EditError> {
    if index.documents > 1 {
        return Err(refused("it holds several documents, of which kubectl reads the first"));
    }
    if !matches!(index.kind, None | Some(Kind::BlockMapping | Kind::FlowMapping)) {
        return Err(refused("it is not a mapping"));
    }
    let mut keys = HashSet::new();
    for root in &index.roots {
        if root.key == "<<" {
            return Err(refused("it merges at its root"));
        }
        if !keys.insert(root.key.as_str()) {
            return Err(refused(format!("the key `{}` stands in it twice", root.key)));
        }
        if List::ALL.iter().any(|list| list.key() == root.key) {
            refuse_unsafe_list(index, root)?;
        }
    }
    Ok(())
}

fn refuse_unsafe_list(index: &Index, root: &Root) -> Result<(), EditError> {
    let key = &root.key;
    if !matches!(root.kind, Kind::Null | Kind::BlockSequence | Kind::FlowSequence) {
        return Err(refused(format!("`{key}` is not a list")));
    }
    if root.anchor > 0 && index.aliases.iter().any(|(anchor, _)| *anchor == root.anchor) {
        return Err(refused(format!("`{key}` is used by an alias")));
    }
    let mut names = HashSet::new();
    for item in &root.items {
        if item.kind == Kind::Alias || (item.merges && item.name.is_none()) {
            return Err(refused(format!("an entry of `{key}` is an alias or merges its name")));
        }
        if item.names > 1 {
            return Err(refused(format!("an entry of `{key}` has two names")));
        }
        if let Some(name) = &item.name
            && !names.insert(name)
        {
            return Err(refused(format!("`{key}` has two entries `{name}`")));
        }
    }
    Ok(())
}

/// The state while edits are placed.
struct Splicer<'a> {
    text: &'a str,
    index: &'a Index,
    ranking: &'a dyn Ranking,
    line_end: &'a str,
    flow: bool,
    splices: Vec<Splice>,
    /// The root keys that have to be added.
    tail: Vec<String>,
}

/// Returns the splices that make the edits.
pub(super) fn splices<'a>(
    text: &'a str,
    index: &'a Index,
    edits: &[&'a Edit],
    ranking: &'a dyn Ranking,
) -> Result<Vec<Splice>, EditError> {
    refuse_unsafe(index)?;
    let line_end =
        if text.find('\n').is_some_and(|at| at > 0 && text.as_bytes()[at - 1] == b'\r') { "\r\n" } else { "\n" };
    let flow = index.kind == Some(Kind::FlowMapping);
    let mut splicer = Splicer { text, index, ranking, line_end, flow, splices: vec![], tail: vec![] };
    let mut context = None;
    let mut entries: BTreeMap<List, Vec<&Value>> = BTreeMap::new();
    for edit in edits {
        match edit {
            Edit::Upsert { list, entry } => entries.entry(*list).or_default().push(entry),
            Edit::CurrentContext(name) => context = Some(name),
            Edit::Remove { .. } => {}
        }
    }
    for (list, entries) in entries {
        if entries.iter().any(|entry| has_long_key(entry)) {
            return Err(refused(format!("a key in an entry of `{}` is longer than YAML allows", list.key())));
        }
        splicer.upsert(list, &entries)?;
    }
    if let Some(name) = context {
        splicer.current_context(name)?;
    }
    splicer.add_root_keys()?;
    // Blanks at the end may belong to the scalar's text, and a line after them would change it.
    let at_end = |splice: &Splice| text[splice.end..].trim().is_empty();
    if index.open_block_scalar && !text.ends_with('\n') && splicer.splices.iter().any(at_end) {
        return Err(open_end());
    }
    Ok(splicer.splices)
}

/// The refusal of a text that nothing can be appended to.
pub(super) fn open_end() -> EditError {
    refused("its last line belongs to a block scalar and has no line end")
}

/// Makes the splices.
pub(super) fn apply(text: &str, splices: Vec<Splice>) -> Result<String, EditError> {
    apply_within(text, splices, vec![]).map(|(edited, _)| edited)
}

/// Makes the splices, and returns also where the text from some places on is now; these are in ascending order. What is
/// inserted at such a place stands before it.
pub(super) fn apply_within(
    text: &str,
    mut splices: Vec<Splice>,
    mut places: Vec<usize>,
) -> Result<(String, Vec<usize>), EditError> {
    splices.sort_by_key(|splice| (splice.start, splice.end));
    let added: usize = splices.iter().map(|splice| splice.text.len()).sum();
    let mut out = String::with_capacity(text.len() + added);
    let mut at = 0;
    let mut following = places.iter_mut().peekable();
    for splice in splices {
        if splice.start < at {
            return Err(refused("two changes overlap"));
        }
        while let Some(place) = following.next_if(|place| **place < splice.end) {
            *place = out.len() + (*place - at);
        }
        out.push_str(&text[at..splice.start]);
        out.push_str(&splice.text);
        at = splice.end;
    }
    following.for_each(|place| *place = out.len() + (*place - at));
    out.push_str(&text[at..]);
    Ok((out, places))
}

/// Whether a key is too long for YAML, which allows 1,024 characters on its line up to the colon (YAML 1.2, 7.4.2); the
/// limit here is a little lower.
fn has_long_key(value: &Value) -> bool {
    // An escaped byte takes six characters at most.
    let is_long = |key: &str| key.len() > 160 && key_text(key).chars().count() > 1000;
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| is_long(key) || has_long_key(value)),
        Value::Array(items) => items.iter().any(has_long_key),
        _ => false,
    }
}

fn name_of(entry: &Value) -> &str {
    entry["name"].as_str().unwrap_or_default()
}

fn json(entry: &Value, name_first: Option<bool>) -> String {
    let fields = ordered(entry, name_first).into_iter().map(|(key, value)| (key.clone(), value.clone()));
    json_for_yaml(&Value::Object(fields.collect()))
}

impl<'a> Splicer<'a> {
    fn push(&mut self, start: usize, end: usize, mut text: String) {
        // The parser also accepts a comment right after a colon. After any other character a blank has to precede it.
        if self.text.as_bytes().get(end) == Some(&b'#') && text.ends_with(|c: char| !c.is_ascii_whitespace()) {
            text.push(' ');
        }
        self.splices.push(Splice { start, end, text });
    }

    /// Inserts whole lines before the line that starts at a position.
    fn push_lines(&mut self, at: usize, mut lines: String) {
        if at > 0 && at == self.text.len() && !self.text.ends_with('\n') {
            // The last line has no line end, so it gets one, and the new last line gets none.
            lines.truncate(lines.len() - self.line_end.len());
            lines.insert_str(0, self.line_end);
        }
        self.push(at, at, lines);
    }

    fn root(&self, key: &str) -> Option<&'a Root> {
        self.index.roots.iter().find(|root| root.key == key)
    }

    fn all_items(&self) -> impl Iterator<Item = &'a Item> {
        let is_list = |root: &&Root| List::ALL.iter().any(|list| list.key() == root.key);
        self.index.roots.iter().filter(is_list).flat_map(|root| &root.items)
    }

    /// Returns the style of the file's first entries.
    fn style(&self) -> Style<'a> {
        let mut block_lists = self.index.roots.iter().filter(|root| root.kind == Kind::BlockSequence);
        let first_dash = block_lists.find_map(|root| root.items.first()).map(|item| column(self.text, item.dash));
        let model = self.all_items().find(|item| item.kind == Kind::BlockMapping);
        Style {
            dash: first_dash.unwrap_or(self.index.column),
            gap: model.map_or(2, |item| item.key_column.saturating_sub(column(self.text, item.dash)).max(2)),
            step: self.all_items().map(|item| item.step).find(|step| *step > 0).unwrap_or(2),
            name_first: None,
            line_end: self.line_end,
        }
    }

    /// Returns the style of one entry, as far as it shows one.
    fn style_of(&self, item: &Item) -> Style<'a> {
        let general = self.style();
        let dash = column(self.text, item.dash);
        let on_one_line = line_start(self.text, item.dash) == line_start(self.text, item.start);
        let shows_gap = item.kind == Kind::BlockMapping && item.key_column > dash && on_one_line;
        Style {
            dash,
            gap: if shows_gap { item.key_column - dash } else { general.gap },
            step: if item.step > 0 { item.step } else { general.step },
            name_first: item.name_first.or(general.name_first),
            ..general
        }
    }

    fn upsert(&mut self, list: List, entries: &[&'a Value]) -> Result<(), EditError> {
        let root = self.root(list.key());
        let items: HashMap<&str, &Item> = root
            .into_iter()
            .flat_map(|root| &root.items)
            .filter_map(|item| Some((item.name.as_deref()?, item)))
            .collect();
        let mut added = vec![];
        for entry in entries {
            match (items.get(name_of(entry)), root) {
                (Some(item), Some(root)) => self.replace(root, item, entry)?,
                _ => added.push(*entry),
            }
        }
        if added.is_empty() {
            return Ok(());
        }
        added.sort_by_key(|entry| self.ranking.rank(list, name_of(entry)).unwrap_or(usize::MAX));
        match root {
            Some(root) if root.kind == Kind::BlockSequence => self.add_to_block(list, root, &added),
            Some(root) if root.kind == Kind::FlowSequence && (self.flow || !root.items.is_empty()) => {
                self.add_to_flow(list, root, &added);
            }
            Some(root) if self.flow => {
                if root.has_properties {
                    return Err(has_properties(root));
                }
                let items: Vec<String> = added.iter().map(|entry| json(entry, None)).collect();
                self.push(root.colon_end, root.end, format!(" [{}]", items.join(", ")));
            }
            Some(root) => self.fill_empty(root, &added)?,
            None if self.flow => {
                let items: Vec<String> = added.iter().map(|entry| json(entry, None)).collect();
                self.tail.push(format!("\"{}\": [{}]", list.key(), items.join(", ")));
            }
            None => {
                let indent = " ".repeat(self.index.column);
                let lines = self.block(self.style(), &added);
                self.tail.push(format!("{indent}{}:{}{lines}", list.key(), self.line_end));
            }
        }
        Ok(())
    }

    fn replace(&mut self, root: &Root, item: &Item, entry: &Value) -> Result<(), EditError> {
        refuse_outside_aliases(self.index, item)?;
        let text = if root.kind == Kind::FlowSequence {
            json(entry, item.name_first)
        } else {
            let mut text = String::new();
            self.style_of(item).item(&mut text, entry);
            if self.text[..item.end].ends_with('\n') {
                text.push_str(self.line_end);
            }
            text
        };
        self.push(item.dash, item.end, text);
        Ok(())
    }

    fn block(&self, style: Style<'_>, entries: &[&Value]) -> String {
        let indent = " ".repeat(style.dash);
        let mut lines = String::new();
        for entry in entries {
            lines.push_str(&indent);
            style.item(&mut lines, entry);
            lines.push_str(self.line_end);
        }
        lines
    }

    /// Groups new entries, which come in the order of their ranks, by the position where they belong.
    fn by_neighbour(&self, list: List, root: &'a Root, entries: &[&'a Value]) -> BTreeMap<usize, Group<'a>> {
        let mut groups: BTreeMap<usize, Group<'a>> = BTreeMap::new();
        let ranks = RankedItems::of(list, root, self.ranking);
        for entry in entries {
            let (after, before) = ranks.neighbour(list, self.ranking, root, entry);
            let key = after.map_or(0, |item| item.end) + before.map_or(0, |item| item.dash);
            groups.entry(key).or_insert_with(|| Group { after, before, entries: vec![] }).entries.push(entry);
        }
        groups
    }

    fn add_to_block(&mut self, list: List, root: &'a Root, entries: &[&'a Value]) {
        for group in self.by_neighbour(list, root, entries).into_values() {
            let (place, model) = match (group.after, group.before) {
                (Some(item), _) => (owned_end(self.text, item), item),
                (None, Some(item)) => (self.owned_start(root, item), item),
                (None, None) => continue,
            };
            let lines = self.block(self.style_of(model), &group.entries);
            self.push_lines(place, lines);
        }
    }

    fn add_to_flow(&mut self, list: List, root: &'a Root, entries: &[&'a Value]) {
        if root.items.is_empty() {
            let items: Vec<String> = entries.iter().map(|entry| json(entry, None)).collect();
            return self.push(root.value_start + 1, root.value_start + 1, items.join(", "));
        }
        for group in self.by_neighbour(list, root, entries).into_values() {
            let Some(model) = group.after.or(group.before) else {
                continue;
            };
            let line = line_start(self.text, model.dash);
            let indent = &self.text[line..model.dash];
            let is_alone = model.dash > line && indent.bytes().all(|byte| matches!(byte, b' ' | b'\t'));
            let separator = if is_alone { format!(",{}{indent}", self.line_end) } else { ", ".to_owned() };
            let items = group.entries.iter().map(|entry| json(entry, model.name_first));
            if group.after.is_some() {
                let text: String = items.map(|item| format!("{separator}{item}")).collect();
                self.push(model.end, model.end, text);
            } else {
                let text: String = items.map(|item| format!("{item}{separator}")).collect();
                self.push(model.dash, model.dash, text);
            }
        }
    }

    /// Turns `[]` or an empty value of a key in a block mapping into a block list.
    fn fill_empty(&mut self, root: &Root, entries: &[&Value]) -> Result<(), EditError> {
        refuse_unfillable(self.text, root)?;
        let rest = skip_spaces(self.text, root.end);
        let line_ends = rest == self.text.len() || matches!(self.text.as_bytes()[rest], b'\n' | b'\r');
        self.push(root.colon_end, if line_ends { rest } else { root.end }, String::new());
        let lines = self.block(self.style(), entries);
        self.push_lines(line_end(self.text, root.end), lines);
        Ok(())
    }

    /// Returns the start of an entry's lines, including the comments right above it.
    fn owned_start(&self, root: &Root, item: &Item) -> usize {
        let mut start = line_start(self.text, item.dash);
        let first = line_end(self.text, root.colon_end);
        while start > first {
            let above = line_start(self.text, start - 1);
            let content = skip_spaces(self.text, above);
            if above < first || self.text.as_bytes().get(content) != Some(&b'#') {
                break;
            }
            start = above;
        }
        start
    }

    fn current_context(&mut self, name: &str) -> Result<(), EditError> {
        let name = Value::String(name.to_owned());
        let value = if self.flow { json_for_yaml(&name) } else { scalar(&name).into_owned() };
        let Some(root) = self.root("current-context") else {
            let indent = " ".repeat(self.index.column);
            self.tail.push(if self.flow {
                format!("\"current-context\": {value}")
            } else {
                format!("{indent}current-context: {value}{}", self.line_end)
            });
            return Ok(());
        };
        if !matches!(root.kind, Kind::Null | Kind::Scalar) || root.anchor > 0 || root.has_properties {
            return Err(refused("`current-context` is not a plain scalar"));
        }
        if root.value_start == root.end {
            self.push(root.colon_end, root.colon_end, format!(" {value}"));
            return Ok(());
        }
        let is_block = matches!(self.text.as_bytes()[skip_blank(self.text, root.colon_end)], b'|' | b'>');
        if is_block || line_start(self.text, root.end) != line_start(self.text, root.colon_end) {
            return Err(refused("`current-context` stands on several lines"));
        }
        self.push(root.value_start, root.end, value);
        Ok(())
    }

    fn add_root_keys(&mut self) -> Result<(), EditError> {
        if self.tail.is_empty() {
            return Ok(());
        }
        let tail = std::mem::take(&mut self.tail);
        if self.flow {
            let Some(last) = self.index.roots.last() else {
                let inside = self.index.end - 1;
                self.push(inside, inside, tail.join(", "));
                return Ok(());
            };
            let line = line_start(self.text, last.key_start);
            let indent = &self.text[line..last.key_start];
            let is_alone = line > 0 && indent.bytes().all(|byte| byte.is_ascii_whitespace());
            let separator = if is_alone { format!(",{}{indent}", self.line_end) } else { ", ".to_owned() };
            if self.text.as_bytes().get(skip_blank(self.text, last.end)) == Some(&b',') {
                return Err(refused("its root ends with a comma"));
            }
            let text = tail.iter().map(|key| format!("{separator}{key}")).collect();
            self.push(last.end, last.end, text);
            return Ok(());
        }
        let marker = self.index.document_end;
        let has_marker = self.text[marker..].starts_with("...") && column(self.text, marker) == 0;
        self.push_lines(if has_marker { marker } else { self.text.len() }, tail.concat());
        Ok(())
    }
}

/// Refuses empty lists into which no first entry can be written.
pub(super) fn refuse_unfillable_lists(text: &str, index: &Index) -> Result<(), EditError> {
    let is_list = |root: &&Root| List::ALL.iter().any(|list| list.key() == root.key) && root.items.is_empty();
    for root in index.roots.iter().filter(is_list) {
        match index.kind {
            Some(Kind::BlockMapping) => refuse_unfillable(text, root)?,
            _ if root.kind == Kind::Null && root.has_properties => return Err(has_properties(root)),
            _ => {}
        }
    }
    Ok(())
}

fn has_properties(root: &Root) -> EditError {
    refused(format!("`{}` is empty and has a tag or an anchor", root.key))
}

/// Refuses an empty list of a block mapping that cannot be turned into a block list.
pub(super) fn refuse_unfillable(text: &str, root: &Root) -> Result<(), EditError> {
    let key = &root.key;
    if root.has_properties {
        return Err(has_properties(root));
    }
    let inside = root.value_start + 1;
    let is_bracket = root.kind == Kind::FlowSequence;
    if is_bracket && skip_blank(text, inside) != skip_spaces(text, inside) {
        return Err(refused(format!("`{key}` is empty with a comment or a line end in its brackets")));
    }
    if line_start(text, root.colon_end) != line_start(text, root.end) {
        return Err(refused(format!("the empty value of `{key}` is on another line")));
    }
    Ok(())
}

/// Refuses an entry whose anchor is referred to from outside of it.
pub(super) fn refuse_outside_aliases(index: &Index, item: &Item) -> Result<(), EditError> {
    let anchors = item.anchors;
    let is_used_outside = |(anchor, place): &(usize, usize)| {
        (anchors.first..=anchors.last).contains(anchor) && !(item.start..item.end).contains(place)
    };
    if anchors.first > 0 && index.aliases.iter().any(is_used_outside) {
        let name = item.name.as_deref().unwrap_or_default();
        return Err(refused(format!("an anchor in the entry `{name}` is used elsewhere")));
    }
    Ok(())
}

/// Returns the end of an entry's lines, including the comments right below it that are indented deeper.
pub(super) fn owned_end(text: &str, item: &Item) -> usize {
    let dash = column(text, item.dash);
    let mut end = line_end(text, item.end);
    loop {
        let start = skip_spaces(text, end);
        if text.as_bytes().get(start) != Some(&b'#') || start - end <= dash {
            return end;
        }
        end = line_end(text, start + 1);
    }
}

/// New entries that go to the same position.
struct Group<'a> {
    after: Option<&'a Item>,
    before: Option<&'a Item>,
    entries: Vec<&'a Value>,
}

/// The ranked entries of a list, sorted, so that thousands of new ones find their positions quickly.
struct RankedItems<'a>(Vec<(usize, &'a Item)>);

impl<'a> RankedItems<'a> {
    fn of(list: List, root: &'a Root, ranking: &dyn Ranking) -> Self {
        let ranked = |item: &'a Item| Some((ranking.rank(list, item.name.as_deref()?)?, item));
        let mut items: Vec<_> = root.items.iter().filter_map(ranked).collect();
        items.sort_by_key(|(rank, _)| *rank);
        Self(items)
    }

    /// Returns the entry after which a new one belongs, or else the one before which it belongs.
    fn neighbour(
        &self,
        list: List,
        ranking: &dyn Ranking,
        root: &'a Root,
        entry: &Value,
    ) -> (Option<&'a Item>, Option<&'a Item>) {
        let Some(rank) = ranking.rank(list, name_of(entry)) else {
            return (root.items.last(), None);
        };
        let position = self.0.partition_point(|(other, _)| *other < rank);
        match (position.checked_sub(1).map(|before| self.0[before].1), self.0.get(position)) {
            (Some(item), _) => (Some(item), None),
            (None, Some((_, item))) => (None, Some(item)),
            (None, None) => (root.items.last(), None),
        }
    }
}
