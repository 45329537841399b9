//! A hash of text that never changes between runs, machines or versions.
//!
//! The standard library's hashers promise none of that, and splits and fingerprints outlive a
//! process.

/// FNV-1a over the bytes, finished with a full avalanche so that every bit of the result is usable.
pub(crate) fn stable_hash(bytes: &[u8]) -> u64 {
    seeded_hash(0, bytes)
}

/// Like [`stable_hash`], with a seed that gives an unrelated value for the same bytes.
pub(crate) fn seeded_hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325 ^ avalanche(seed);
    for &byte in bytes {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    avalanche(state)
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014), without its increment: a bijection
/// that maps 0 to 0.
pub(crate) fn avalanche(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unmixed_hash_is_fnv_1a() {
        // Published test vectors of FNV-1a, 64 bits, passed through the finaliser.
        assert_eq!(stable_hash(b""), avalanche(0xcbf2_9ce4_8422_2325));
        assert_eq!(stable_hash(b"a"), avalanche(0xaf63_dc4c_8601_ec8c));
        assert_eq!(stable_hash(b"foobar"), avalanche(0x8594_4171_f739_67e8));
    }

    #[test]
    fn seeds_give_unrelated_values() {
        let differing = (seeded_hash(1, b"text") ^ seeded_hash(2, b"text")).count_ones();
        assert!((16..=48).contains(&differing), "{differing} of 64 bits");
    }
}
