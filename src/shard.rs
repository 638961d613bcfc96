//! Parts of a fleet that runs of their own work on.
//!
//! Each run decides by a cluster's name alone whether that is its: by rendezvous hashing, so that another number of parts
//! moves few clusters. Pure: no I/O, no clock.

use std::fmt;

use ring::digest;

use crate::names::ClusterName;

/// One of several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Its number, from 0.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

/// The most parts; each cluster's name is compared with all of them.
const MOST: u32 = 10_000;

impl Shard {
    /// Reads `I/N`, with `I` from 0.
    ///
    /// # Errors
    ///
    /// If it has another form, or there is no such part; the error says which.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (index, of) = text.split_once('/').ok_or("it is not `I/N`, such as `0/8`")?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| format!("`{text}` is no number"));
        Self::new(number(index)?, number(of)?)
    }

    /// Makes a part of its number and how many there are.
    ///
    /// # Errors
    ///
    /// If there is no such part.
    pub(crate) fn new(index: u32, of: u32) -> Result<Self, String> {
        match of {
            0 => Err("there is no fleet of 0 parts".to_owned()),
            of if of > MOST => Err(format!("{of} are more than {MOST} parts")),
            of if index >= of => Err(format!("{of} parts are numbered 0 to {}", of - 1)),
            of => Ok(Self { index, of }),
        }
    }

    /// Returns whether a cluster is in this part.
    pub(crate) fn has(self, cluster: &ClusterName) -> bool {
        let digest = digest::digest(&digest::SHA256, cluster.as_str().as_bytes());
        let (name, _) = digest.as_ref().split_at(8);
        let name = u64::from_be_bytes(name.try_into().expect("eight bytes were taken"));
        // The part that scores highest has it. Of equal scores the last counts, in every run alike.
        (0..self.of).max_by_key(|part| score(name, *part)) == Some(self.index)
    }
}

/// Mixes the hash of a name with the number of a part (the finalizer of `SplitMix64`, Steele and others 2014).
fn score(name: u64, part: u32) -> u64 {
    let mut mixed = name ^ (u64::from(part) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard_of(name: &str, of: u32) -> u32 {
        let name = ClusterName::new(name);
        let having: Vec<u32> = (0..of).filter(|index| Shard { index: *index, of }.has(&name)).collect();
        assert_eq!(having.len(), 1, "each cluster is in one part");
        having[0]
    }

    #[test]
    fn parts_are_about_equal_and_another_number_moves_few() {
        let names: Vec<String> = (0..4000).map(|number| format!("prod-eu-{number}")).collect();
        let of = |parts: u32| names.iter().map(|name| shard_of(name, parts)).collect::<Vec<_>>();
        let (eight, nine) = (of(8), of(9));
        for part in 0..8 {
            let size = eight.iter().filter(|shard| **shard == part).count();
            assert!((425..575).contains(&size), "part {part} has {size} of 4000");
        }
        let moved: Vec<(&u32, &u32)> = eight.iter().zip(&nine).filter(|(before, now)| before != now).collect();
        assert!((350..550).contains(&moved.len()), "{} of 4000 moved", moved.len());
        assert!(moved.iter().all(|(_, now)| **now == 8), "they moved to the new part only");
    }

    /// Parts of one fleet may run different versions of kubemint.
    #[test]
    fn a_cluster_never_changes_its_part() {
        let found =
            ["a", "prod-eu", "prod-us", "edge-17", "arn:aws:eks:eu-west-1:1:cluster/x"].map(|name| shard_of(name, 8));
        assert_eq!(found, [6, 2, 2, 1, 2]);
    }

    #[test]
    fn what_is_no_part_is_refused() {
        assert_eq!(Shard::parse("7/8"), Ok(Shard { index: 7, of: 8 }));
        for (text, why) in [
            ("8/8", "8 parts are numbered 0 to 7"),
            ("0/0", "there is no fleet of 0 parts"),
            ("1", "it is not `I/N`, such as `0/8`"),
            ("a/8", "`a` is no number"),
            ("-1/8", "`-1` is no number"),
            ("0/10001", "10001 are more than 10000 parts"),
        ] {
            assert_eq!(Shard::parse(text), Err(why.to_owned()), "{text}");
        }
    }
}
