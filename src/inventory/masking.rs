//! Hides secrets in source lines. A secret may have ended up in an inventory, or another file may have been taken for
//! one, and logs of terminals and CI jobs must not show it. Pure: no I/O, no clock.
//!
//! Masked text keeps its length, so that the location of a problem can still be marked below it.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::failure::looks_like_token;

/// Whether a file is plausibly an inventory, so that its lines may be shown: it has one of an inventory's tables, or a
/// `version`. A token, a kubeconfig or a list of passwords has none of these.
pub(crate) fn looks_like_inventory(table: &DeTable<'_>) -> bool {
    table.iter().any(|(key, value)| match (key.get_ref().as_ref(), value.get_ref()) {
        ("version", DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_)) => true,
        // A version of the wrong type is a usual mistake.
        ("version", DeValue::String(text)) => text.chars().all(|c| c.is_ascii_digit() || c == '.'),
        ("defaults" | "profiles", DeValue::Table(_)) => true,
        ("clusters" | "grants" | "outputs", DeValue::Array(tables)) => {
            tables.iter().any(|table| matches!(table.get_ref(), DeValue::Table(_)))
        }
        _ => false,
    })
}

/// Masks the secrets of a line.
pub(crate) fn hide_secrets(line: &str) -> Cow<'_, str> {
    let mut masked = Cow::Borrowed(line);
    let found = credentials_of_urls(line).chain(values_of_secret_keys(line)).chain(tokens(line));
    for range in found.collect::<Vec<_>>() {
        masked.to_mut().replace_range(range.clone(), &"*".repeat(range.len()));
    }
    masked
}

/// Finds the part `user:password` of URLs.
fn credentials_of_urls(line: &str) -> impl Iterator<Item = Range<usize>> {
    line.match_indices("://").filter_map(|(scheme, mark)| {
        let start = scheme + mark.len();
        let end = line[start..].find(['/', '"', '\'', ' ', '?', '#']).map_or(line.len(), |end| start + end);
        line[start..end].rfind('@').map(|at| start..start + at)
    })
}

/// Finds the values after `password =`, `token:` and the like.
fn values_of_secret_keys(line: &str) -> impl Iterator<Item = Range<usize>> {
    line.match_indices(['=', ':']).filter_map(|(at, mark)| {
        let key = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let start =
            key.rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'))).map_or(0, |before| before + 1);
        // The character before the key may have several bytes.
        let key = key.get(start..).unwrap_or(key);
        if !is_secret(key) {
            return None;
        }
        let rest = &line[at + mark.len()..];
        let value = rest.trim_start();
        let start = line.len() - value.len();
        let end = match value.chars().next()? {
            // A table or list has keys of its own, and each of them is checked; a form of credential is a table.
            '{' | '[' => return None,
            quote @ ('"' | '\'') => {
                let end = value[1..].find(quote).map_or(line.len(), |end| start + 1 + end);
                return Some(start + 1..end);
            }
            _ => start + value.find([',', '}', ']', '#']).unwrap_or(value.len()),
        };
        Some(start..end)
    })
}

/// Whether the value of a key is a secret, by the key's last words.
fn is_secret(key: &str) -> bool {
    const ENDS: [&str; 10] =
        ["token", "password", "passwd", "passphrase", "secret", "keydata", "apikey", "accesskey", "privatekey", "auth"];
    let plain: String = key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    ENDS.iter().any(|end| plain.ends_with(end)) || plain.contains("secret")
}

/// Finds words that contain a token.
fn tokens(line: &str) -> impl Iterator<Item = Range<usize>> {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '=' | ':');
    let mut start = 0;
    line.split(is_end).filter_map(move |word| {
        let range = start..start + word.len();
        start = line[range.end..].chars().next().map_or(range.end, |end| range.end + end.len_utf8());
        looks_like_token(word).then_some(range)
    })
}

/// Returns a message without the tokens in it, and cut to a length that can be read.
pub(crate) fn without_tokens(message: String) -> String {
    /// Long enough for every list of names in a message.
    const LONGEST: usize = 1000;
    let is_end = |c: char| c.is_whitespace() || matches!(c, '`' | '"' | '\'' | ',');
    let mut message = if message.split(is_end).any(looks_like_token) {
        let words = message.split_inclusive(is_end).map(|word| {
            let end = word.strip_suffix(is_end).map_or(word.len(), str::len);
            if looks_like_token(&word[..end]) { format!("[REDACTED]{}", &word[end..]) } else { word.to_owned() }
        });
        words.collect()
    } else {
        message
    };
    if let Some((end, _)) = message.char_indices().nth(LONGEST) {
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_moves() {
        let token = format!("eyJhbGciOi.{}.sig", "p".repeat(60));
        let check = |line: &str, expect: &str| {
            let masked = hide_secrets(line);
            assert_eq!(masked, expect);
            assert_eq!(masked.len(), line.len());
        };
        check("token = \"abc\" # x", "token = \"***\" # x");
        check("password: hunter2", "password: *******");
        check("{\"users\":[{\"token\":\"abc\"}]}", "{\"users\":[{\"token\":\"***\"}]}");
        check("a = { client-key-data = 'QUJD', b = 1 }", "a = { client-key-data = '****', b = 1 }");
        check("aws_secret_access_key = AbC/d", "aws_secret_access_key = *****");
        check("ä_password=ü", "ä_password=**");
        check("proxy-url = \"https://me:pw@host/x\"", "proxy-url = \"https://*****@host/x\"");
        check(&format!("x = \"{token}\""), &format!("x = \"{}\"", "*".repeat(token.len())));
        check(&token, &"*".repeat(token.len()));
        for plain in [
            "token = { ttl = \"1h\", overlap = \"15m\" }",
            "token-file = \"/run/token\"",
            "client-key = \"/etc/key.pem\"",
            "credential = \"token-file\"",
            "server = \"https://a:6443\"",
            "token =",
            "",
        ] {
            check(plain, plain);
        }
    }
}
