//! How durations and bytes are written in files that people read. On links they are what serde gives.

/// `1m 24s`.
pub(super) mod duration {
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(&humantime::format_duration(*time)),
            false => time.serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        match deserializer.is_human_readable() {
            true => super::super::parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom),
            false => Duration::deserialize(deserializer),
        }
    }
}

/// Base64.
pub(super) mod bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.serialize_str(&STANDARD.encode(bytes)),
            false => bytes.serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        match deserializer.is_human_readable() {
            true => STANDARD.decode(String::deserialize(deserializer)?).map(Bytes::from).map_err(D::Error::custom),
            false => Bytes::deserialize(deserializer),
        }
    }
}

/// 32 hexadecimal digits.
pub(super) mod fingerprint {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::signature::Fingerprint;

    pub fn serialize<S: Serializer>(fingerprint: &Fingerprint, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(&format_args!("{:032x}", u128::from_be_bytes(fingerprint.0))),
            false => fingerprint.serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fingerprint, D::Error> {
        match deserializer.is_human_readable() {
            true => {
                let text = String::deserialize(deserializer)?;
                // The library takes a sign and fewer digits.
                let plain = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
                let number = u128::from_str_radix(&text, 16).ok().filter(|_| plain);
                number.map(|number| Fingerprint(number.to_be_bytes())).ok_or_else(|| D::Error::custom("no fingerprint"))
            }
            false => Fingerprint::deserialize(deserializer),
        }
    }
}
