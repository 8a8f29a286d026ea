//! Makes minisign keys and signatures for tests, apart from the crate that verifies them. The keys are
//! made of fixed seeds and are of no use to anybody.
//!
//! <https://jedisct1.github.io/minisign/#signature-format>; BLAKE2b: RFC 7693.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// A signer whose key is of no use outside tests.
pub struct Signer {
    pair: Ed25519KeyPair,
    id: [u8; 8],
}

impl Signer {
    pub fn new(seed: u8) -> Signer {
        Signer { pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(), id: [seed; 8] }
    }

    /// The line of `minisign.pub`.
    pub fn key(&self) -> String {
        STANDARD.encode([b"Ed", self.id.as_slice(), self.pair.public_key().as_ref()].concat())
    }

    /// `minisign.pub`.
    pub fn key_file(&self) -> String {
        format!("untrusted comment: a key for tests only\n{}\n", self.key())
    }

    /// What `minisign -S` writes.
    pub fn sign(&self, content: &[u8]) -> String {
        self.write(b"ED", &blake2b(content))
    }

    /// What `minisign -Sl` writes: of the old kind, not prehashed.
    pub fn sign_the_old_way(&self, content: &[u8]) -> String {
        self.write(b"Ed", content)
    }

    fn write(&self, kind: &[u8; 2], signed: &[u8]) -> String {
        let comment = "timestamp:1700000000\tfile:a release\thashed";
        let signature = self.pair.sign(signed);
        let global = self.pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        format!(
            "untrusted comment: for tests only\n{}\ntrusted comment: {comment}\n{}\n",
            STANDARD.encode([kind, self.id.as_slice(), signature.as_ref()].concat()),
            STANDARD.encode(global.as_ref()),
        )
    }
}

const IV: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];
const SIGMA: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
/// The columns and diagonals that are mixed in each round.
const LANES: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

/// BLAKE2b-512 without a key.
pub fn blake2b(content: &[u8]) -> [u8; 64] {
    let mut state = IV;
    state[0] ^= 0x0101_0040;
    let mut blocks: Vec<&[u8]> = content.chunks(128).collect();
    if blocks.is_empty() {
        blocks.push(&[]);
    }
    let mut length = 0;
    for (at, block) in blocks.iter().enumerate() {
        length += block.len() as u64;
        let mut padded = [0; 128];
        padded[..block.len()].copy_from_slice(block);
        compress(&mut state, &padded, length, at + 1 == blocks.len());
    }
    let mut digest = [0; 64];
    for (bytes, word) in digest.chunks_mut(8).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

fn compress(state: &mut [u64; 8], block: &[u8; 128], length: u64, last: bool) {
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(block.chunks(8)) {
        *word = u64::from_le_bytes(bytes.try_into().unwrap());
    }
    let mut v = [0; 16];
    v[..8].copy_from_slice(state);
    v[8..].copy_from_slice(&IV);
    v[12] ^= length;
    if last {
        v[14] = !v[14];
    }
    for round in 0..12 {
        let sigma = &SIGMA[round % 10];
        for (lane, [a, b, c, d]) in LANES.into_iter().enumerate() {
            for (word, turn_d, turn_b) in [(sigma[2 * lane], 32, 24), (sigma[2 * lane + 1], 16, 63)] {
                v[a] = v[a].wrapping_add(v[b]).wrapping_add(words[word]);
                v[d] = (v[d] ^ v[a]).rotate_right(turn_d);
                v[c] = v[c].wrapping_add(v[d]);
                v[b] = (v[b] ^ v[c]).rotate_right(turn_b);
            }
        }
    }
    for (word, (low, high)) in state.iter_mut().zip(v[..8].iter().zip(&v[8..])) {
        *word ^= low ^ high;
    }
}
