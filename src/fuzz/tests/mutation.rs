//! Makes new inputs of old ones: bytes, words, lines and nesting are changed, as a list of choices says that begins
//! with a seed. The same seed and the same inputs make the same.

use std::collections::BTreeSet;

/// What no input is longer than: a limit of the targets' time, not of what they read.
const LONGEST: usize = 16 * 1024;

/// What parsers stumble over.
const WORDS: [&str; 56] = [
    "\u{feff}",
    "\u{0}",
    "\u{1b}[2J",
    "\u{1b}[8m",
    "\u{1b}[31m",
    "\u{202e}",
    "\u{200b}",
    "\u{85}",
    "\u{2028}",
    "\r",
    "\r\n",
    "\t",
    "\u{e0041}",
    "é",
    "😀",
    "\u{301}",
    "[",
    "]",
    "{",
    "}",
    "[]",
    "{}",
    "\"",
    "'",
    "\\",
    "\\u0000",
    "\\ud800",
    "|",
    ">-",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "!!str ",
    "---\n",
    "...\n",
    "# ",
    ": ",
    "- ",
    "? ",
    ",",
    "null",
    "~",
    "true",
    "0",
    "-1",
    "9007199254740993",
    "18446744073709551615",
    "-9223372036854775808",
    "1e999",
    ".inf",
    "0x1F",
    "2999-01-01T00:00:00Z",
    "eyJ",
    "..",
    "%00",
];

/// Single bytes that mean something somewhere, and some that are no text.
const BYTES: &[u8] = b" \n\t:,-#'\"[]{}&*!|>%@`~\\/=0\x00\x7f\x80\xff";

pub(super) struct Mutator {
    state: u64,
    words: Vec<Vec<u8>>,
}

impl Mutator {
    /// Knows the words of some inputs, and those that are hard for everybody.
    pub(super) fn new(seed: u64, inputs: &[Vec<u8>]) -> Self {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'@');
        let of_inputs = inputs.iter().flat_map(|input| input.split(|byte| !is_part(byte)));
        let mut words: BTreeSet<Vec<u8>> =
            of_inputs.filter(|word| (1..40).contains(&word.len())).map(<[u8]>::to_vec).collect();
        words.extend(WORDS.iter().map(|word| word.as_bytes().to_vec()));
        Self { state: seed, words: words.into_iter().collect() }
    }

    /// Returns the next number (`SplitMix64`).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below another one, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below one")
    }

    /// Makes an input of the seeds and of what was read so far.
    pub(super) fn mutate(&mut self, seeds: &[Vec<u8>], kept: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.one_of(seeds, kept);
        let changes = [1, 1, 1, 2, 2, 3, 4, 8, 16][self.below(9)];
        for _ in 0..changes {
            self.change(&mut input, seeds, kept);
            input.truncate(LONGEST);
        }
        input
    }

    fn one_of(&mut self, seeds: &[Vec<u8>], kept: &[Vec<u8>]) -> Vec<u8> {
        let of = if kept.is_empty() || self.below(3) == 0 { seeds } else { kept };
        of[self.below(of.len())].clone()
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>], kept: &[Vec<u8>]) {
        match self.below(16) {
            0 if !input.is_empty() => {
                let at = self.below(input.len());
                input[at] ^= 1 << self.below(8);
            }
            1 if !input.is_empty() => {
                let at = self.below(input.len());
                input[at] = BYTES[self.below(BYTES.len())];
            }
            2 | 3 => {
                let at = self.below(input.len() + 1);
                let word = self.word();
                input.splice(at..at, word);
            }
            4 | 5 => {
                let word = self.word();
                let range = self.word_in(input);
                input.splice(range, word);
            }
            6 => drop(input.drain(self.range(input))),
            7 => {
                let part = input[self.range(input)].to_vec();
                let times = [1, 1, 2, 3, 8, 64][self.below(6)];
                let at = self.below(input.len() + 1);
                input.splice(at..at, part.repeat(times));
            }
            8 => {
                let other = self.one_of(seeds, kept);
                let (part, range) = (self.range(&other), self.range(input));
                input.splice(range, other[part].iter().copied());
            }
            9 => {
                let other = self.one_of(seeds, kept);
                let (end, start) = (self.below(input.len() + 1), self.below(other.len() + 1));
                input.truncate(end);
                input.extend_from_slice(&other[start..]);
            }
            10..=13 => self.change_lines(input, seeds, kept),
            14 => {
                let (open, close) =
                    [("[", "]"), ("{\"a\":", "}"), ("- ", ""), ("a: {b: ", "}"), ("((", "))")][self.below(5)];
                let times = [2, 10, 100, 1000][self.below(4)];
                let range = self.word_in(input);
                let word =
                    [open.repeat(times).into_bytes(), input[range.clone()].to_vec(), close.repeat(times).into_bytes()];
                input.splice(range, word.concat());
            }
            _ => input.truncate(self.below(input.len() + 1)),
        }
    }

    /// Moves, repeats, removes, takes over or indents lines.
    fn change_lines(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>], kept: &[Vec<u8>]) {
        let mut lines: Vec<Vec<u8>> = input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.is_empty() {
            return;
        }
        let (from, to) = (self.below(lines.len()), self.below(lines.len()));
        match self.below(8) {
            0 => lines.swap(from, to),
            1 => lines.insert(to, lines[from].clone()),
            2 => drop(lines.remove(from)),
            3 => lines[from].splice(0..0, *b"  ").for_each(drop),
            4 if lines[from].first() == Some(&b' ') => drop(lines[from].drain(..1)),
            5 => {
                let line = &mut lines[from];
                if line.ends_with(b"\r\n") {
                    line.remove(line.len() - 2);
                } else {
                    line.insert(line.len() - 1, b'\r');
                }
            }
            6 => {
                let first = from.min(to);
                let block: Vec<Vec<u8>> = lines[first..=from.max(to)].to_vec();
                lines.splice(first..first, block).for_each(drop);
            }
            _ => {
                let other = self.one_of(seeds, kept);
                let others: Vec<&[u8]> = other.split_inclusive(|byte| *byte == b'\n').collect();
                if let Some(line) = others.get(self.below(others.len().max(1))) {
                    lines.insert(to, line.to_vec());
                }
            }
        }
        *input = lines.concat();
    }

    fn word(&mut self) -> Vec<u8> {
        let position = self.below(self.words.len());
        self.words[position].clone()
    }

    /// Returns where a word of the input is, or nothing somewhere.
    fn word_in(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let at = self.below(input.len() + 1);
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let before = input[..at].iter().rev().take_while(|byte| is_part(byte)).count();
        let after = input[at..].iter().take_while(|byte| is_part(byte)).count();
        at - before..at + after
    }

    /// Returns a range of an input, mostly a short one.
    fn range(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(input.len() + 1);
        let longest = [1, 4, 16, 64, input.len()][self.below(5)].min(input.len() - start);
        start..start + self.below(longest + 1)
    }
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    let seeds = [b"clusters:\n- name: a\n".to_vec(), b"[1, 2]".to_vec()];
    let made = |seed| {
        let mut mutator = Mutator::new(seed, &seeds);
        (0..200).map(|_| mutator.mutate(&seeds, &[])).collect::<Vec<_>>()
    };
    assert_eq!(made(1), made(1));
    assert_ne!(made(1), made(2));
    assert!(made(3).iter().collect::<BTreeSet<_>>().len() > 100, "they differ from each other");
}
