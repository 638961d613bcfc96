//! Kubeconfigs as people and tools write them, with a record of which bytes are what.
//!
//! A file is made of pieces; their texts in order are the file. So a test knows the position of each entry without
//! asking a parser. All choices come from a list of numbers; zeros and a short list make the plainest file, because
//! proptest shrinks towards that.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kubemint::kubeconfig::edit::List;
use serde_json::{Map, Value, json};

/// The role of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text that no edit may touch.
    Other,
    /// A key of the root with its colon, which no edit may touch either.
    Root(String),
    /// An entry, from its dash or brace to its last content byte.
    Item(List, String),
    /// The text of a list without entries: `[]`, `null` or nothing.
    Empty,
    /// The value of `current-context`.
    Context,
}

/// Some bytes.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// The style of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Block,
    Flow,
    Json,
}

/// A file and its content.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) pieces: Vec<Piece>,
    pub(super) form: Form,
    /// Whether an edit may be refused because the last line belongs to a block scalar.
    pub(super) open: bool,
    /// Whether it has comments.
    pub(super) comments: bool,
    /// The entries of each list, in the order of the file.
    pub(super) entries: [Vec<Value>; 3],
    /// The root keys that are not lists.
    pub(super) rest: Map<String, Value>,
}

/// Returns the index of a list in [`File::entries`].
pub(super) fn position(list: List) -> usize {
    List::ALL.iter().position(|known| *known == list).unwrap()
}

/// Returns the key under which an entry of a list has its body.
pub(super) fn body_key(list: List) -> &'static str {
    list.key().trim_end_matches('s')
}

/// Easy names first, then names that are hard for some reader.
const NAMES: [&str; 26] = [
    "prod-eu",
    "dev",
    "a.b_c",
    "gke_acme_europe-west1_blue",
    "admin@prod",
    "größe",
    "кластер",
    "名前",
    "my context",
    "a: b",
    "#x",
    "it's",
    "say \"hi\"",
    "123",
    "1e3",
    "yes",
    "y",
    "null",
    "~",
    "- a",
    "0x1F",
    "{x}",
    "a,b",
    "&anchor",
    "arn:aws:eks:eu-west-1:111122223333:cluster/blue",
    "back\\slash",
];

/// A sequence of choices; zero once it is used up.
#[derive(Debug)]
pub(super) struct Dice<'a> {
    choices: std::slice::Iter<'a, u16>,
}

impl<'a> Dice<'a> {
    pub(super) fn new(choices: &'a [u16]) -> Self {
        Self { choices: choices.iter() }
    }

    /// Returns a number below `sides`.
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        usize::from(self.choices.next().copied().unwrap_or(0)) % sides
    }

    /// Returns true once in `sides` times.
    fn once_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == sides - 1
    }

    pub(super) fn name(&mut self) -> String {
        NAMES[self.roll(NAMES.len())].to_owned()
    }
}

/// The layout, which is the same in the whole file.
struct Layout {
    dash: usize,
    gap: usize,
    step: usize,
    /// Whether the dash stands on a line of its own.
    lonely_dash: bool,
    comments: bool,
}

struct Generator<'a> {
    dice: Dice<'a>,
    pieces: Vec<Piece>,
    layout: Layout,
    entries: [Vec<Value>; 3],
    rest: Map<String, Value>,
    comment: usize,
    /// Whether the last line belongs to a block scalar.
    open: bool,
}

/// Makes a file from some choices.
pub(super) fn file(choices: &[u16]) -> File {
    let mut dice = Dice::new(choices);
    let format = [0, 0, 0, 0, 1, 2, 3][dice.roll(7)];
    let layout = Layout {
        dash: [0, 2, 4, 1][dice.roll(4)],
        gap: [2, 2, 4, 3][dice.roll(4)],
        step: [2, 4, 1][dice.roll(3)],
        lonely_dash: dice.once_in(8),
        comments: dice.roll(3) > 0,
    };
    let (bom, crlf) = (dice.once_in(6), dice.once_in(4));
    let mut generator = Generator {
        dice,
        pieces: vec![],
        layout,
        entries: [vec![], vec![], vec![]],
        rest: Map::new(),
        comment: 0,
        open: false,
    };
    if bom {
        generator.other("\u{feff}");
    }
    match format {
        0 => generator.block_file(),
        1 => generator.flow_file(&Flow { json: true, colon: ":", comma: ",", line: "" }),
        2 => generator.flow_file(&Flow { json: true, colon: ": ", comma: ",", line: "\n" }),
        _ => generator.flow_file(&Flow { json: false, colon: ": ", comma: ", ", line: "" }),
    }
    let open = generator.finish();
    let Generator { mut pieces, entries, rest, comment, .. } = generator;
    if crlf {
        for piece in &mut pieces {
            piece.text = piece.text.replace('\n', "\r\n");
        }
    }
    let form = [Form::Block, Form::Json, Form::Json, Form::Flow][format];
    File { pieces, form, open, comments: comment > 0, entries, rest }
}

/// The style of a flow mapping.
struct Flow {
    json: bool,
    colon: &'static str,
    comma: &'static str,
    line: &'static str,
}

impl Generator<'_> {
    fn push(&mut self, kind: Kind, text: impl Into<String>) {
        self.pieces.push(Piece { kind, text: text.into() });
    }

    fn other(&mut self, text: impl Into<String>) {
        self.push(Kind::Other, text);
    }

    /// Removes the final line end, or adds something at the end.
    fn finish(&mut self) -> bool {
        if self.dice.once_in(4)
            && let Some(last) = self.pieces.last_mut().filter(|piece| piece.kind == Kind::Other)
            && last.text.ends_with('\n')
        {
            last.text.pop();
            return self.open;
        }
        false
    }

    fn a_comment(&mut self) -> String {
        self.comment += 1;
        let texts = ["note", "users:", "- name: x", "größer", "{\"a\": [", "'", "current-context: z"];
        format!("# {} {}", texts[self.dice.roll(texts.len())], self.comment)
    }

    /// Writes comments and blank lines between entries.
    fn interlude(&mut self, deepest: usize) {
        if !self.layout.comments {
            return;
        }
        for _ in 0..self.dice.roll(3) {
            if self.dice.once_in(3) {
                self.other("\n");
                continue;
            }
            // Deeper, it would be text of a block scalar above.
            let deepest = if self.open { 0 } else { deepest + 2 };
            let indent = " ".repeat(self.dice.roll(deepest + 1));
            let comment = self.a_comment();
            self.other(format!("{indent}{comment}\n"));
        }
    }

    /// Returns a comment at the end of a line, or nothing.
    fn trailing(&mut self) -> String {
        if !self.layout.comments || !self.dice.once_in(3) {
            return String::new();
        }
        format!("{}{}", " ".repeat(1 + self.dice.roll(2)), self.a_comment())
    }

    /// Writes text in one of the styles that represent it.
    fn scalar(&mut self, text: &str, flow: bool) -> String {
        let reserved = ["yes", "y", "null", "true", "no", "n", "on", "off", "~"];
        let is_word = text.chars().next().is_some_and(char::is_alphabetic)
            && text.chars().all(|c| c.is_alphanumeric() || "-_.@/+".contains(c) || (!flow && c == ':'))
            && !text.ends_with(':')
            && !reserved.contains(&text);
        // Between quotes, a backslash means something only where they are double.
        match self.dice.roll(3) {
            _ if text.contains('\n') => Value::from(text).to_string(),
            0 if is_word => text.to_owned(),
            1 => format!("'{}'", text.replace('\'', "''")),
            _ => Value::from(text).to_string(),
        }
    }

    fn an_entry(&mut self, list: List) -> Value {
        let mut name = self.dice.name();
        while self.entries[position(list)].iter().any(|entry| entry["name"] == name.as_str()) {
            name.push('x');
        }
        entry(&mut self.dice, list, &name)
    }

    fn block_file(&mut self) {
        self.interlude(0);
        if self.dice.once_in(4) {
            let trailing = self.trailing();
            self.other(format!("---{trailing}\n"));
        }
        let mut keys =
            ["apiVersion", "kind", "clusters", "contexts", "current-context", "users", "preferences", "x-notes"];
        // Any order, and any of them missing.
        for at in 0..keys.len() {
            let other = at + self.dice.roll(keys.len() - at);
            keys.swap(at, other);
        }
        let missing = self.dice.roll(4);
        for key in &keys[missing..] {
            self.open = false;
            match *key {
                "apiVersion" => self.block_scalar_root(key, "v1"),
                "kind" => self.block_scalar_root(key, "Config"),
                "preferences" => self.verbatim_root(key, " {}", json!({})),
                "x-notes" => self.notes(),
                "current-context" => self.block_context(),
                "clusters" => self.block_list(List::Clusters),
                "contexts" => self.block_list(List::Contexts),
                _ => self.block_list(List::Users),
            }
            self.interlude(0);
        }
        if self.pieces.iter().all(|piece| !matches!(piece.kind, Kind::Root(_))) {
            self.block_scalar_root("kind", "Config");
        }
        if self.dice.once_in(6) {
            self.open = false;
            let trailing = self.trailing();
            self.other(format!("...{trailing}\n"));
        }
    }

    fn root_key(&mut self, key: &str) {
        let written = match self.dice.roll(8) {
            6 => format!("'{key}'"),
            7 => format!("\"{key}\""),
            _ => key.to_owned(),
        };
        self.push(Kind::Root(key.to_owned()), format!("{written}:"));
    }

    fn block_scalar_root(&mut self, key: &str, value: &str) {
        self.root_key(key);
        let (scalar, trailing) = (self.scalar(value, false), self.trailing());
        self.other(format!(" {scalar}{trailing}\n"));
        self.rest.insert(key.to_owned(), value.into());
    }

    fn verbatim_root(&mut self, key: &str, text: &str, value: Value) {
        self.root_key(key);
        let trailing = self.trailing();
        self.other(format!("{text}{trailing}\n"));
        self.rest.insert(key.to_owned(), value);
    }

    /// A key that kubectl does not know.
    fn notes(&mut self) {
        match self.dice.roll(4) {
            0 => self.verbatim_root("x-notes", " [1, {a: b}]", json!([1, {"a": "b"}])),
            1 => self.verbatim_root("x-notes", " &n {deep: {er: []}}", json!({"deep": {"er": []}})),
            2 => {
                self.root_key("x-notes");
                self.other(" |\n  users:\n  - name: x\n");
                self.rest.insert("x-notes".to_owned(), "users:\n- name: x\n".into());
                self.open = true;
            }
            _ => {
                self.root_key("x-notes");
                self.other("\n- a\n- users: []\n");
                self.rest.insert("x-notes".to_owned(), json!(["a", {"users": []}]));
            }
        }
    }

    fn block_context(&mut self) {
        self.root_key("current-context");
        let value = match self.dice.roll(4) {
            0 => {
                self.push(Kind::Context, "");
                Value::Null
            }
            1 => {
                self.other(" ");
                self.push(Kind::Context, "null");
                Value::Null
            }
            2 => {
                self.other("  ");
                self.push(Kind::Context, "\"\"");
                "".into()
            }
            _ => {
                let name = self.dice.name();
                let scalar = self.scalar(&name, false);
                self.other(" ");
                self.push(Kind::Context, scalar);
                name.into()
            }
        };
        let trailing = self.trailing();
        self.other(format!("{trailing}\n"));
        self.rest.insert("current-context".to_owned(), value);
    }

    fn block_list(&mut self, list: List) {
        self.root_key(list.key());
        match self.dice.roll(8) {
            0 => self.empty_list(" []"),
            1 => self.empty_list(""),
            2 => {
                let text = [" null", " ~", "  [ ]"][self.dice.roll(3)];
                self.empty_list(text);
            }
            3 => self.flow_list_in_block(list),
            _ => {
                let trailing = self.trailing();
                self.other(format!("{trailing}\n"));
                for _ in 0..=self.dice.roll(4) {
                    let dash = self.layout.dash;
                    self.interlude(dash);
                    self.block_item(list);
                }
                // Comments below the last entry, as deep as its content or not.
                self.interlude(self.layout.dash + 2);
            }
        }
    }

    fn empty_list(&mut self, text: &str) {
        self.push(Kind::Empty, text);
        let trailing = self.trailing();
        self.other(format!("{trailing}\n"));
    }

    fn flow_list_in_block(&mut self, list: List) {
        let is_tall = self.dice.once_in(2);
        self.other(if is_tall { " [\n    " } else { " [" });
        for number in 0..=self.dice.roll(3) {
            if number > 0 {
                self.other(if is_tall { ",\n    " } else { ", " });
            }
            let entry = self.an_entry(list);
            let text = self.flow_value(&entry);
            self.push(Kind::Item(list, name_of(&entry)), text);
            self.entries[position(list)].push(entry);
        }
        let trailing = self.trailing();
        self.other(if is_tall { format!("\n  ]{trailing}\n") } else { format!("]{trailing}\n") });
    }

    fn flow_value(&mut self, value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let fields: Vec<String> =
                    map.iter().map(|(key, value)| format!("{key}: {}", self.flow_value(value))).collect();
                format!("{{{}}}", fields.join(", "))
            }
            Value::String(text) => self.scalar(text, true),
            value => value.to_string(),
        }
    }

    /// Writes an entry line by line, and what follows its last content byte.
    fn block_item(&mut self, list: List) {
        let mut entry = self.an_entry(list);
        let name = name_of(&entry);
        let column = self.layout.dash + self.layout.gap;
        self.open = false;
        self.other(" ".repeat(self.layout.dash));
        if self.dice.once_in(6) {
            let text = format!("-{}{}", " ".repeat(self.layout.gap - 1), self.flow_value(&entry));
            self.push(Kind::Item(list, name), text);
        } else {
            let mut lines = vec![];
            let fields = entry.as_object_mut().unwrap();
            // An anchor is used in its own entry only.
            let anchored = self.dice.once_in(8);
            if anchored {
                fields.insert("x-again".to_owned(), name.clone().into());
            }
            let fields = fields.clone();
            let has_name_first = fields.keys().next().is_some_and(|key| key == "name");
            for (key, value) in &fields {
                self.open = false;
                match key.as_str() {
                    "name" if anchored && has_name_first => {
                        let scalar = self.scalar(&name, false);
                        lines.push(format!("name: &{} {scalar}", list.key()));
                    }
                    "x-again" if has_name_first => lines.push(format!("x-again: *{}", list.key())),
                    key => self.block_field(&mut lines, key, value, 0),
                }
                if self.layout.comments && self.dice.once_in(8) {
                    let comment = self.a_comment();
                    lines.push(comment);
                }
            }
            // What follows the last content line is not the entry's.
            while lines.last().is_some_and(|line| line.trim_start().starts_with('#')) {
                lines.pop();
            }
            let indent = format!("\n{}", " ".repeat(column));
            let start = if self.layout.lonely_dash {
                let trailing = self.trailing();
                format!("-{trailing}{indent}")
            } else {
                format!("-{}", " ".repeat(self.layout.gap - 1))
            };
            let text = format!("{start}{}", lines.join(&indent));
            self.push(Kind::Item(list, name), text);
        }
        // After a block scalar, a comment on the same line would be its text.
        let trailing = if self.open { String::new() } else { self.trailing() };
        self.other(format!("{trailing}\n"));
        self.entries[position(list)].push(entry);
    }

    fn block_field(&mut self, lines: &mut Vec<String>, key: &str, value: &Value, depth: usize) {
        let indent = " ".repeat(depth);
        self.open = false;
        match value {
            Value::Object(map) if !map.is_empty() && !self.dice.once_in(5) => {
                let trailing = self.trailing();
                lines.push(format!("{indent}{key}:{trailing}"));
                for (key, value) in map {
                    self.block_field(lines, key, value, depth + self.layout.step);
                }
            }
            Value::String(text) if text.contains('\n') => {
                let header = if text.ends_with('\n') { "|" } else { "|-" };
                lines.push(format!("{indent}{key}: {header}"));
                lines.extend(text.lines().map(|line| format!("{indent}  {line}")));
                self.open = true;
            }
            Value::String(text) => {
                let scalar = self.scalar(text, false);
                lines.push(format!("{indent}{key}: {scalar}"));
            }
            value => {
                let text = self.flow_value(value);
                lines.push(format!("{indent}{key}: {text}"));
            }
        }
    }

    fn flow_file(&mut self, flow: &Flow) {
        let (comma, line) = (flow.comma, flow.line);
        let indent = if line.is_empty() { "" } else { "  " };
        self.other(format!("{{{line}"));
        let keys = ["apiVersion", "clusters", "contexts", "current-context", "kind", "users", "x-notes"];
        let missing = self.dice.roll(3);
        let mut is_first = true;
        for key in &keys[missing..] {
            if !is_first {
                self.other(format!("{comma}{line}"));
            }
            is_first = false;
            self.other(indent);
            let written = if flow.json { format!("\"{key}\"") } else { (*key).to_owned() };
            self.push(Kind::Root((*key).to_owned()), format!("{written}:"));
            let gap = &flow.colon[1..];
            match *key {
                "clusters" => self.flow_list(flow, List::Clusters),
                "contexts" => self.flow_list(flow, List::Contexts),
                "users" => self.flow_list(flow, List::Users),
                "current-context" => {
                    let value = [Value::Null, "".into(), "dev".into()][self.dice.roll(3)].clone();
                    self.other(gap);
                    self.push(Kind::Context, value.to_string());
                    self.rest.insert((*key).to_owned(), value);
                }
                key => {
                    let value = match key {
                        "apiVersion" => json!("v1"),
                        "kind" => json!("Config"),
                        _ => json!({"a": [1, {"users": []}]}),
                    };
                    self.other(format!("{gap}{value}"));
                    self.rest.insert(key.to_owned(), value);
                }
            }
        }
        self.other(format!("{line}}}\n"));
    }

    fn flow_list(&mut self, flow: &Flow, list: List) {
        let gap = &flow.colon[1..];
        let count = self.dice.roll(4);
        if count == 0 {
            let text = [" []", " null"][self.dice.roll(2)];
            return self.push(Kind::Empty, text);
        }
        let indent = if flow.line.is_empty() { "" } else { "    " };
        self.other(format!("{gap}[{}", flow.line));
        for number in 0..count {
            if number > 0 {
                self.other(format!("{}{}", flow.comma, flow.line));
            }
            self.other(indent);
            let entry = self.an_entry(list);
            let text = match (flow.json, flow.line.is_empty()) {
                (true, true) => entry.to_string(),
                (true, false) => serde_json::to_string_pretty(&entry).unwrap().replace('\n', "\n    "),
                (false, _) => self.flow_value(&entry),
            };
            self.push(Kind::Item(list, name_of(&entry)), text);
            self.entries[position(list)].push(entry);
        }
        self.other(if flow.line.is_empty() { "]" } else { "\n  ]" });
    }
}

pub(super) fn name_of(entry: &Value) -> String {
    entry["name"].as_str().unwrap().to_owned()
}

/// Makes an entry with fields that kubectl knows and some that it does not.
pub(super) fn entry(dice: &mut Dice<'_>, list: List, name: &str) -> Value {
    let mut body = Map::new();
    match list {
        List::Clusters => {
            if dice.roll(3) > 0 {
                let bytes = "certificate of größe ".repeat(1 + dice.roll(4));
                let mut data = STANDARD.encode(bytes);
                if dice.once_in(2) {
                    // Go's decoder skips line ends; people fold long lines.
                    data = data
                        .as_bytes()
                        .chunks(24)
                        .map(|line| std::str::from_utf8(line).unwrap())
                        .collect::<Vec<_>>()
                        .join("\n");
                    if dice.once_in(2) {
                        data.push('\n');
                    }
                }
                body.insert("certificate-authority-data".to_owned(), data.into());
            }
            body.insert("server".to_owned(), format!("https://10.0.0.{}:6443", dice.roll(255)).into());
        }
        List::Users => {
            if dice.roll(4) < 3 {
                body.insert("token".to_owned(), format!("token-{}", dice.roll(1000)).into());
            }
        }
        List::Contexts => {
            body.insert("cluster".to_owned(), dice.name().into());
            if dice.once_in(2) {
                body.insert("namespace".to_owned(), "team-a".into());
            }
            body.insert("user".to_owned(), dice.name().into());
        }
    }
    if dice.once_in(5) {
        body.insert("x-color".to_owned(), json!({"deep": [1, {"er": "ä"}], "no": false}));
    }
    let mut entry = Map::new();
    let is_first = dice.once_in(2);
    if is_first {
        entry.insert("name".to_owned(), name.into());
    }
    entry.insert(body_key(list).to_owned(), body.into());
    if !is_first {
        entry.insert("name".to_owned(), name.into());
    }
    if dice.once_in(6) {
        entry.insert("x-item".to_owned(), json!(["unknown"]));
    }
    entry.into()
}
