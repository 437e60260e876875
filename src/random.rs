//! Random numbers, of the system; of a seed where a simulation asks for that.

use std::cell::Cell;

use crate::error::{Error, Result};

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on what this thread draws follows from `seed`.
pub fn seed(seed: u64) {
    SEED.set(Some(seed));
}

/// 64 random bits.
///
/// # Errors
/// The system has none.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the system for random numbers")]
pub fn number() -> Result<u64> {
    if let Some(seed) = SEED.get() {
        // SplitMix64, whose steps any seed may begin
        let next = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        SEED.set(Some(next));
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        return Ok(mixed ^ (mixed >> 31));
    }
    getrandom::u64().map_err(|e| Error::Internal(format!("no random bytes: {e}")))
}

/// 128 random bits in hex.
///
/// # Errors
/// The system has none.
pub fn token() -> Result<String> {
    Ok(format!("{:016x}{:016x}", number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_seed_come_again_and_those_of_the_system_do_not() {
        let of_system = [number(), number()].map(|number| number.expect("a number"));
        assert_ne!(of_system[0], of_system[1]);
        let of_seed = || {
            seed(7);
            [token(), token()].map(|token| token.expect("a token"))
        };
        assert_eq!(of_seed(), of_seed());
        assert_eq!(of_seed()[0].len(), 32);
    }
}
