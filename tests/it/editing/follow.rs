//! Makes one edit and determines, without the editor's help, which bytes it changed.

use std::fmt;

use kubemint::kubeconfig::edit::{Edit, EditError, List, Unranked, edit};
use serde_json::{Map, Value, json};

use super::generator::{File, Form, Kind, Piece, name_of, position};
use super::text;

/// What was wrong.
#[derive(Debug)]
pub(super) enum Failure {
    /// The editor refused.
    Refused(String),
    /// The result is not as intended.
    Wrong(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(text) | Self::Wrong(text)) = self;
        f.write_str(text)
    }
}

/// Makes one edit; returns the edited file.
pub(super) fn follow(before: &File, change: &Edit) -> Result<File, Failure> {
    let bytes =
        edit(text(before).as_bytes(), std::slice::from_ref(change), &Unranked).map_err(|error| match error {
            EditError::Refused(reason) => Failure::Refused(reason),
            error @ EditError::Check(_) => Failure::Wrong(error.to_string()),
        })?;
    let after = String::from_utf8(bytes).map_err(|_| Failure::Wrong("it is not UTF-8".to_owned()))?;
    let mut next = before.clone();
    let pieces = match change {
        Edit::Upsert { list, entry } => {
            let entries = &mut next.entries[position(*list)];
            match entries.iter_mut().find(|known| known["name"] == entry["name"]) {
                Some(known) => *known = entry.clone(),
                None => entries.push(entry.clone()),
            }
            upserted(before, &after, *list, entry)
        }
        Edit::Remove { .. } => unreachable!("removals have a test of their own"),
        Edit::CurrentContext(name) => {
            next.rest.insert("current-context".to_owned(), name.as_str().into());
            context_set(before, &after, name)
        }
    };
    let wrong = |what: &str| Failure::Wrong(format!("{what}; after:\n{after}"));
    next.pieces = pieces.ok_or_else(|| wrong("other bytes changed"))?;
    if text(&next) != after {
        return Err(wrong(&format!("the test lost track:\n{}", text(&next))));
    }
    says(&after, &next).map_err(|error| wrong(&error))?;
    Ok(next)
}

/// Checks that a text has the content that a file's record says, in the same order of entries.
pub(super) fn says(text: &str, file: &File) -> Result<(), String> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    if file.form == Form::Json {
        serde_json::from_str::<Value>(body).map_err(|error| format!("it is no longer JSON: {error}"))?;
    }
    let mut root: Map<String, Value> = parse(body).ok_or("it cannot be read")?;
    for list in List::ALL {
        let found = match root.remove(list.key()).unwrap_or_default() {
            Value::Null => vec![],
            Value::Array(entries) => entries,
            _ => return Err(format!("`{}` is no list", list.key())),
        };
        if found != file.entries[position(list)] {
            return Err(format!("`{}` says {found:?}", list.key()));
        }
    }
    if root == file.rest { Ok(()) } else { Err(format!("the root says {root:?}")) }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_saphyr::from_str(text).ok()
}

fn piece(kind: Kind, text: &str) -> Piece {
    Piece { kind, text: text.to_owned() }
}

fn other(text: &str) -> Piece {
    piece(Kind::Other, text)
}

/// Returns the text before a piece and the text after it.
fn around(file: &File, at: usize) -> (String, String) {
    let join = |pieces: &[Piece]| pieces.iter().map(|piece| piece.text.as_str()).collect::<String>();
    (join(&file.pieces[..at]), join(&file.pieces[at + 1..]))
}

/// Returns the new text of a piece, if everything around it is unchanged.
fn instead(file: &File, after: &str, at: usize) -> Option<String> {
    let (before, behind) = around(file, at);
    let rest = after.strip_prefix(before.as_str())?;
    Some(rest.strip_suffix(behind.as_str())?.to_owned())
}

fn replace(file: &File, at: usize, pieces: Vec<Piece>) -> Vec<Piece> {
    let mut all = file.pieces.clone();
    all.splice(at..=at, pieces);
    all
}

/// Checks that an entry of a list, from its dash or brace on, reads as expected; `column` is where that is.
fn reads_as(text: &str, column: usize, entry: &Value) -> bool {
    if text.starts_with('-') {
        parse::<Value>(&format!("{}{text}", " ".repeat(column))).is_some_and(|value| value == json!([entry]))
    } else {
        parse::<Value>(text).is_some_and(|value| value == *entry)
    }
}

fn column(text: &str) -> usize {
    text.len() - text.rfind('\n').map_or(0, |at| at + 1)
}

fn upserted(file: &File, after: &str, list: List, entry: &Value) -> Option<Vec<Piece>> {
    let item = Kind::Item(list, name_of(entry));
    if let Some(at) = file.pieces.iter().position(|piece| piece.kind == item) {
        let new = instead(file, after, at)?;
        let column = column(&around(file, at).0);
        return reads_as(&new, column, entry).then(|| replace(file, at, vec![piece(item, &new)]));
    }
    let Some(root) = file.pieces.iter().position(|piece| piece.kind == Kind::Root(list.key().to_owned())) else {
        return new_root(file, after, list.key(), &json!([entry]), |text| as_item(text, &item));
    };
    if let Some(empty) = file.pieces.get(root + 1).filter(|piece| piece.kind == Kind::Empty) {
        if file.form == Form::Block {
            return filled(file, after, root + 1, &empty.text, entry, &item);
        }
        let new = instead(file, after, root + 1)?;
        let is_meant = parse::<Value>(&new).is_some_and(|value| value == json!([entry]));
        return is_meant.then(|| replace(file, root + 1, as_item(&new, &item)));
    }
    // After the last entry of the list, and before the next key.
    let last = file.pieces.iter().rposition(|piece| matches!(&piece.kind, Kind::Item(known, _) if *known == list))?;
    let end = file.pieces[last..].iter().position(|piece| matches!(piece.kind, Kind::Root(_)));
    let end = end.map_or(file.pieces.len(), |end| last + end);
    inserted(file, after, last + 1..end, |text| {
        let trimmed = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let blanks = text.len() - trimmed.len();
        reads_as(trimmed.trim_end(), column(&text[..blanks]), entry).then(|| as_item(text, &item))
    })
}

/// Splits the text of a new entry, with what surrounds it, into pieces.
fn as_item(text: &str, item: &Kind) -> Vec<Piece> {
    let start = text.find(['-', '{']).unwrap_or(0);
    // A list in brackets ends with one.
    let end = text.trim_end_matches(|c: char| c.is_whitespace() || c == ']').len().max(start);
    vec![other(&text[..start]), piece(item.clone(), &text[start..end]), other(&text[end..])]
}

/// A block list was empty: its `[]` or the like is gone, and the entry is on the next line.
fn filled(file: &File, after: &str, at: usize, empty: &str, entry: &Value, item: &Kind) -> Option<Vec<Piece>> {
    let (before, behind) = around(file, at);
    let rest = after.strip_prefix(before.as_str())?;
    let line = behind.split_inclusive('\n').next().unwrap_or_default();
    let rest = rest.strip_prefix(line)?;
    let new = rest.strip_suffix(&behind[line.len()..])?;
    let start = new.find('-')?;
    let is_meant = reads_as(new[start..].trim_end(), column(&new[..start]), entry) && !empty.contains('#');
    if !is_meant {
        return None;
    }
    let mut pieces = vec![other(line)];
    pieces.extend(as_item(new, item));
    // The first line of what follows moved in front of the entry.
    let mut all = file.pieces[..at].to_vec();
    all.extend(pieces);
    let mut skip = line.len();
    for piece in &file.pieces[at + 1..] {
        let skipped = skip.min(piece.text.len());
        skip -= skipped;
        all.push(Piece { kind: piece.kind.clone(), text: piece.text[skipped..].to_owned() });
    }
    Some(all)
}

/// Some text was inserted into some pieces, and nothing else changed.
fn inserted(
    file: &File,
    after: &str,
    pieces: std::ops::Range<usize>,
    accept: impl Fn(&str) -> Option<Vec<Piece>>,
) -> Option<Vec<Piece>> {
    let before = text(file);
    let added = after.len().checked_sub(before.len())?;
    let mut start: usize = file.pieces[..pieces.start].iter().map(|piece| piece.text.len()).sum();
    for at in pieces {
        let piece = &file.pieces[at];
        if piece.kind == Kind::Other {
            for split in (0..=piece.text.len()).filter(|split| piece.text.is_char_boundary(*split)) {
                let place = start + split;
                let is_there = after.is_char_boundary(place)
                    && after.is_char_boundary(place + added)
                    && before[..place] == after[..place]
                    && before[place..] == after[place + added..];
                if is_there && let Some(new) = accept(&after[place..place + added]) {
                    let mut all = vec![other(&piece.text[..split])];
                    all.extend(new);
                    all.push(other(&piece.text[split..]));
                    return Some(replace(file, at, all));
                }
            }
        }
        start += piece.text.len();
    }
    None
}

/// A new key is at the end of the root.
fn new_root(
    file: &File,
    after: &str,
    key: &str,
    value: &Value,
    pieces: impl Fn(&str) -> Vec<Piece>,
) -> Option<Vec<Piece>> {
    let last = file.pieces.iter().rposition(|piece| matches!(piece.kind, Kind::Root(_)))?;
    let accept = |text: &str| {
        let trimmed = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let written = if file.form == Form::Block { trimmed.to_owned() } else { format!("{{{trimmed}}}") };
        if !parse::<Value>(&written).is_some_and(|found| found == json!({key: value})) {
            return None;
        }
        let colon = text.find(':')? + 1;
        let start = text.len() - trimmed.len();
        let mut all = vec![other(&text[..start]), piece(Kind::Root(key.to_owned()), &text[start..colon])];
        all.extend(pieces(&text[colon..]));
        Some(all)
    };
    // In a flow list or after an entry, the last value may end in a piece that is not `Other`.
    let mut file = file.clone();
    file.pieces.push(other(""));
    let mut spread = vec![];
    for (at, known) in file.pieces.iter().enumerate() {
        spread.push(known.clone());
        if at > last {
            spread.push(other(""));
        }
    }
    file.pieces = spread;
    inserted(&file, after, last + 1..file.pieces.len(), accept)
}

fn context_set(file: &File, after: &str, name: &str) -> Option<Vec<Piece>> {
    let is_meant = |text: &str| parse::<Value>(text).is_some_and(|value| value == name);
    if let Some(at) = file.pieces.iter().position(|piece| piece.kind == Kind::Context) {
        let new = instead(file, after, at)?;
        let trimmed = new.trim_start();
        let pieces = vec![other(&new[..new.len() - trimmed.len()]), piece(Kind::Context, trimmed)];
        return is_meant(trimmed).then(|| replace(file, at, pieces));
    }
    new_root(file, after, "current-context", &name.into(), |text| {
        let value = text.trim();
        let start = text.len() - text.trim_start().len();
        vec![other(&text[..start]), piece(Kind::Context, value), other(&text[start + value.len()..])]
    })
}
