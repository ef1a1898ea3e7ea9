//! Merkle trees as in RFC 6962: leaves are hashed behind a 0x00, nodes behind a 0x01, and a list that is no power of two
//! is split at the largest one below its length (so no leaf is ever doubled).

use super::codec::hash;
use crate::ledger::ProofStep;
use alloy_primitives::B256;

/// The hash of a leaf with these bytes, given in parts.
pub fn leaf(parts: &[&[u8]]) -> B256 {
    let mut all: Vec<&[u8]> = vec![&[0]];
    all.extend_from_slice(parts);
    hash(&all)
}

fn node(left: &B256, right: &B256) -> B256 {
    hash(&[&[1], left.as_slice(), right.as_slice()])
}

/// Where a list of two or more is split.
fn split(leaves: &[B256]) -> (&[B256], &[B256]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

/// The root over hashed leaves.
pub fn root(leaves: &[B256]) -> B256 {
    match leaves {
        [] => hash(&[]),
        [only] => *only,
        _ => {
            let (left, right) = split(leaves);
            node(&root(left), &root(right))
        }
    }
}

/// The siblings from the leaf at `place` up to the root. Empty when there is no such leaf, as for a single one.
pub fn path(leaves: &[B256], place: usize) -> Vec<ProofStep> {
    if leaves.len() < 2 || place >= leaves.len() {
        return Vec::new();
    }
    let (left, right) = split(leaves);
    let (mut path, sibling) = if place < left.len() {
        (self::path(left, place), ProofStep { hash: root(right), left: false })
    } else {
        (self::path(right, place - left.len()), ProofStep { hash: root(left), left: true })
    };
    path.push(sibling);
    path
}

/// The root that a path leads to from a leaf.
pub fn climb(leaf: B256, path: &[ProofStep]) -> B256 {
    path.iter().fold(leaf, |below, step| if step.left { node(&step.hash, &below) } else { node(&below, &step.hash) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves and roots of the certificate transparency project's own tests.
    #[test]
    fn roots_are_those_of_rfc_6962() {
        let leaves =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let hashes: Vec<B256> = leaves.iter().map(|data| leaf(&[&hex::decode(data).unwrap()])).collect();
        for (count, expected) in roots.iter().enumerate() {
            assert_eq!(hex::encode(root(&hashes[..count])), *expected, "root of {count} leaves");
        }
    }

    #[test]
    fn every_path_leads_to_the_root_and_to_no_other_place() {
        for count in 1..34_u32 {
            let leaves: Vec<B256> = (0..count).map(|number| leaf(&[&number.to_be_bytes()])).collect();
            let root = root(&leaves);
            for (place, own) in leaves.iter().enumerate() {
                let path = path(&leaves, place);
                assert_eq!(climb(*own, &path), root);
                for other in leaves.iter().filter(|other| *other != own) {
                    assert_ne!(climb(*other, &path), root);
                }
            }
            assert!(path(&leaves, leaves.len()).is_empty());
        }
    }
}
