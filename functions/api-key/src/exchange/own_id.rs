//! Keys that are their own ids, as at Algolia. A digest takes the id's place, so that no journal, log or error holds a key.

use aws_lc_rs::digest;
use rotation::encoding::hex;

/// The id of such a key: 128 bits of its SHA-256. Nobody can guess a key, so nobody finds it by its digest.
pub fn id_of(key: &str) -> String {
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    let (id, _) = digest.as_ref().split_at(16);
    format!("sha256-{}", hex(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_tells_nothing_of_the_key() {
        // As `printf %s key | sha256sum` says.
        assert_eq!(id_of("key"), "sha256-2c70e12b7a0646f92279f427c7b38e73");
    }
}
