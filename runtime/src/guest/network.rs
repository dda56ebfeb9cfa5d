//! Which addresses guests may connect to: a list of `HOST:PORT`, where a host is an address, a range or a name.
//!
//! Invariant: what reaches this machine alone or its own network segment (loopback, link-local) is permitted only by an
//! entry that names such an address or range, or `localhost`; a wide range does not hold for it, and neither does a name
//! that resolves to it. A name is resolved anew for each connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most entries of one module's list.
pub const MAX_DESTINATIONS: usize = 64;

/// Longest host name.
const MAX_NAME_BYTES: usize = 253;

/// One entry: a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    host: Host,
    /// None for all.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// All addresses that begin with these bits.
    Range { first: IpAddr, bits: u8 },
    /// Whatever it resolves to.
    Name(String),
}

/// An entry cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no destination: {why}; write HOST:PORT, such as 10.0.0.0/8:443, [fd00::]/8:* or api.example.org:443"
)]
pub struct BadDestination {
    text: String,
    why: &'static str,
}

impl FromStr for Destination {
    type Err = BadDestination;

    fn from_str(text: &str) -> Result<Self, BadDestination> {
        let bad = |why| BadDestination { text: text.chars().take(64).collect(), why };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("it has no port"))?;
        let port = match port {
            "*" => None,
            port => Some(
                port.parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or_else(|| bad("its port is no number from 1 to 65535"))?,
            ),
        };
        let (address, bits) = match host.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (host, None),
        };
        let v6 = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = match v6 {
            Some(v6) => v6.parse().map(IpAddr::V6).ok(),
            None => address.parse().map(IpAddr::V4).ok(),
        };
        let host = match (address, bits) {
            (Some(first), bits) => {
                let most = width(first);
                let bits =
                    bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| bad("its range is no number of bits")))?;
                if bits > most {
                    return Err(bad("its range has more bits than an address"));
                }
                if masked(first, bits) != value(first) {
                    return Err(bad("its address has bits behind those of its range: write them as 0"));
                }
                Host::Range { first, bits }
            }
            (None, None) if is_name(host) => Host::Name(host.to_ascii_lowercase()),
            (None, _) => return Err(bad("its host is no address, range or name")),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:")?,
            Host::Range { first, bits } => {
                match first {
                    IpAddr::V4(first) => write!(f, "{first}")?,
                    IpAddr::V6(first) => write!(f, "[{first}]")?,
                }
                match *bits == width(*first) {
                    true => f.write_str(":")?,
                    false => write!(f, "/{bits}:")?,
                }
            }
        }
        match self.port {
            Some(port) => write!(f, "{port}"),
            None => f.write_str("*"),
        }
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The destinations of one module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network(Arc<[Destination]>);

impl Network {
    /// These, and no others.
    pub fn new(destinations: Vec<Destination>) -> Self {
        Self(destinations.into())
    }

    /// All of them.
    pub fn destinations(&self) -> &[Destination] {
        &self.0
    }

    /// Whether there is none: then guests have no sockets at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some are names, for which guests must be able to look up addresses.
    pub fn has_names(&self) -> bool {
        self.0.iter().any(|destination| matches!(destination.host, Host::Name(_)))
    }

    /// Whether a guest may connect to this address. Cancel safe.
    pub async fn permits(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let of_port = || self.0.iter().filter(|to| to.port.is_none_or(|port| port == address.port()));
        if of_port().any(|to| to.host.covers(ip)) {
            return true;
        }
        for destination in of_port() {
            if let Host::Name(name) = &destination.host
                && (!is_near(ip) || name == "localhost")
                && resolves_to(name.clone(), ip).await
            {
                return true;
            }
        }
        false
    }
}

impl Host {
    /// Whether the address is in this range, and as far away as it.
    fn covers(&self, ip: IpAddr) -> bool {
        let Self::Range { first, bits } = self else { return false };
        width(*first) == width(ip) && masked(ip, *bits) == value(*first) && (!is_near(ip) || is_all_near(*first, *bits))
    }
}

/// Looks the name up where the check is made for it, on a task, since the answer of a check may be awaited anywhere.
async fn resolves_to(name: String, ip: IpAddr) -> bool {
    let lookup = tokio::spawn(async move {
        match tokio::net::lookup_host((name.as_str(), 0)).await {
            Ok(addresses) => addresses.into_iter().any(|address| address.ip().to_canonical() == ip),
            Err(error) => {
                tracing::debug!(name, %error, "a destination cannot be resolved");
                false
            }
        }
    });
    lookup.await.unwrap_or(false)
}

/// Whether an address leads to this machine or no further than its own segment. The unspecified one is this machine too.
fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}

/// Whether all addresses of a range do.
fn is_all_near(first: IpAddr, bits: u8) -> bool {
    let least_bits = match first {
        IpAddr::V4(ip) if ip.is_loopback() => 8,
        IpAddr::V4(ip) if ip.is_link_local() => 16,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 10,
        _ => width(first),
    };
    is_near(first) && bits >= least_bits
}

/// Bits of an address of this kind.
fn width(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address as a number, its first bit on top.
fn value(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The first so many bits of it.
fn masked(ip: IpAddr, bits: u8) -> u128 {
    let rest = 128u32.saturating_sub(u32::from(bits));
    value(ip).checked_shr(rest).and_then(|first| first.checked_shl(rest)).unwrap_or(0)
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    // What has digits and dots alone is an address that was not read as one.
    text.len() <= MAX_NAME_BYTES && text.split('.').all(is_label) && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(entries: &[&str]) -> Network {
        Network::new(entries.iter().map(|entry| entry.parse().unwrap()).collect())
    }

    #[track_caller]
    fn permits(entries: &[&str], address: &str) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(network(entries).permits(address.parse().unwrap()))
    }

    #[test]
    fn an_address_is_permitted_by_its_entry_or_range_and_port() {
        for (entry, address, permitted) in [
            ("10.0.0.0/8:443", "10.1.2.3:443", true),
            ("10.0.0.0/8:443", "10.1.2.3:80", false),
            ("10.0.0.0/8:443", "11.1.2.3:443", false),
            ("10.0.0.0/8:443", "[::ffff:10.1.2.3]:443", true),
            ("10.1.2.3:*", "10.1.2.3:1", true),
            ("10.1.2.3:*", "10.1.2.4:1", false),
            ("[fd00::]/8:443", "[fd12::1]:443", true),
            ("[fd00::]/8:443", "[fe12::1]:443", false),
            ("0.0.0.0/0:*", "8.8.8.8:53", true),
            ("0.0.0.0/0:*", "[fd00::1]:53", false),
        ] {
            assert_eq!(permits(&[entry], address), permitted, "{entry} {address}");
        }
        assert!(!permits(&[], "8.8.8.8:53"));
        assert!(permits(&["1.1.1.1:1", "2.2.2.2:2"], "2.2.2.2:2"));
    }

    #[test]
    fn loopback_and_link_local_are_permitted_only_where_they_are_named() {
        for near in ["127.0.0.1:1", "127.9.9.9:1", "169.254.169.254:1", "0.0.0.0:1", "[::1]:1", "[fe80::1]:1", "[::]:1"]
        {
            assert!(!permits(&["0.0.0.0/0:*", "[::]/0:*", "64.0.0.0/2:*", "[fe00::]/8:*"], near), "{near}");
            assert!(!permits(&["0.0.0.0/0:*"], near), "{near}");
        }
        assert!(!permits(&["0.0.0.0/0:*", "[::]/0:*"], "[::ffff:127.0.0.1]:1"), "a disguise");
        for (entry, near) in [
            ("127.0.0.1:*", "127.0.0.1:1"),
            ("127.0.0.0/8:1", "127.9.9.9:1"),
            ("169.254.0.0/16:1", "169.254.169.254:1"),
            ("[::1]:1", "[::1]:1"),
            ("[fe80::]/10:1", "[fe80::1]:1"),
            ("localhost:1", "127.0.0.1:1"),
        ] {
            assert!(permits(&[entry], near), "{entry} {near}");
        }
    }

    #[test]
    fn an_entry_reads_what_it_shows() {
        for text in
            ["10.0.0.0/8:443", "10.1.2.3:*", "[fd00::]/8:1", "[::1]:65535", "api.example.org:443", "0.0.0.0/0:*"]
        {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_destination_says_why_and_how_to_write_one() {
        for (text, why) in [
            ("", "no port"),
            ("10.0.0.1", "no port"),
            ("10.0.0.1:0", "port is no number from 1"),
            ("10.0.0.1:x", "port is no number"),
            ("10.0.0.1/8:1", "write them as 0"),
            ("10.0.0.0/33:1", "more bits than an address"),
            ("10.0.0.0/x:1", "no number of bits"),
            ("fd00::1:1", "no address, range or name"),
            ("10.0.0.256:1", "no address, range or name"),
            ("*:443", "no address, range or name"),
            ("a b:1", "no address, range or name"),
            ("example.org/8:1", "no address, range or name"),
        ] {
            let error = text.parse::<Destination>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("such as 10.0.0.0/8:443"), "{text}: {error}");
        }
    }
}
