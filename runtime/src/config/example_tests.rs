//! Holds `examples/daffi.toml` and what `check` prints to the keys that there are.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use super::effective::Effective;
use super::file::{ModuleTable, RuntimeTable, Tables};
use super::shares::TenantTable;
use super::{RuntimeConfig, resolve};
use crate::cli::args::Cli;
use crate::net::endpoint::Surroundings;

/// Asks a type for the keys of its table.
struct Keys<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Keys<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("it is no table"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = keys;
        Err(Self::Error::custom("only its keys were wanted"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn keys<T: DeserializeOwned>() -> BTreeSet<&'static str> {
    let mut keys: &[&str] = &[];
    assert!(T::deserialize(Keys(&mut keys)).is_err() && !keys.is_empty());
    keys.iter().copied().collect()
}

fn example() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/daffi.toml")).unwrap()
}

fn read(text: &str) -> RuntimeConfig {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daffi.toml");
    std::fs::write(&path, text).unwrap();
    let cli = Cli::try_parse_from(["daffi-runtime", "--config", path.to_str().unwrap()]).unwrap();
    let around = Surroundings {
        daffi_socket: None,
        xdg_runtime_dir: Some("/run/u".into()),
        temp_dir: "/tmp".into(),
        cache_dir: None,
        uid: 1,
    };
    resolve(cli.run, &around).unwrap()
}

/// What `check` prints, but for the folder that the file was read from.
fn effective(config: &RuntimeConfig) -> toml::Table {
    let mut table: toml::Table = toml::from_str(&toml::to_string(&Effective::of(config)).unwrap()).unwrap();
    for module in table["module"].as_array_mut().unwrap() {
        module.as_table_mut().unwrap().insert("path".to_owned(), "app.wasm".into());
    }
    table
}

/// The example with the keys that have no default.
fn with_all_keys() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => setting.to_owned() + "\n",
        _ => line.to_owned() + "\n",
    };
    example().lines().map(line).collect()
}

fn of_table(table: &toml::Value) -> BTreeSet<&str> {
    table.as_table().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let table: toml::Table = toml::from_str(&with_all_keys()).unwrap();
    assert_eq!(of_table(&table["runtime"]), keys::<RuntimeTable>());
    assert_eq!(of_table(&table["module"][0]), keys::<ModuleTable>());
    assert_eq!(of_table(&table["tenant"]["default"]), keys::<TenantTable>());
    // And values that can be used.
    assert_eq!(toml::from_str::<Tables>(&with_all_keys()).err(), None);
}

#[test]
fn the_example_says_the_defaults() {
    let least = "[[module]]\npath = \"app.wasm\"";
    assert_eq!(effective(&read(&example())), effective(&read(least)));
}

#[test]
fn what_check_prints_has_every_key_that_has_a_value_and_gives_the_same_settings() {
    let text = "[runtime]\nname = 'x'\ncontroller = true\ninsecure = true\nmetrics = '127.0.0.1:1'\nlisten = ['tcp://0.0.0.0:1', 'tls://h:1']\n\
                tls-cert = 'c'\ntls-key = 'k'\ntls-ca = 'a'\njoin-token-file = 't'\nstate-dir = 's'\ncache-dir = 'c'\nlog = 'warn'\n\
                [[module]]\npath = 'app.wasm'\ninstances = 'pool:3'\nconcurrency = 5\ncallbacks = ['a*']\n\
                may-call = ['a*', 'x::b#c']\ndeny = ['list']\nenv = { A = '1' }\nfetchers = { 'd:t/a' = 'd:t/b' }\n[[module]]\npath = 'app.wasm'\nname = 'second'\n\
                tenant = 'acme'\nmax-call-time = '90s'\n\
                [tenant.acme]\nweight = 7\nmax-cpu = 0.5\nmax-memory = '1GiB'\nmax-instances = 3\nmax-open-calls = 4\nmax-held = '2MiB'\nmax-queue = 5\n\
                max-concurrency = 6\nmax-call-rate = 7\nmax-open-streams = 8\nmax-stream-bytes = '3MiB'\nmax-handles = 9\nmax-schedules = 10\n\
                max-output-rate = '1MiB'\nexports = [{ callbacks = ['a*'], to = ['x'] }]\nimports = ['x::b#*']";
    let once = effective(&read(text));
    assert_eq!(effective(&read(&toml::to_string(&once).unwrap())), once);
    let mut all = keys::<RuntimeTable>();
    // A controller's modules connect to itself.
    all.remove("connect");
    assert_eq!(of_table(&once["runtime"]), all);
    assert_eq!(of_table(&once["module"][0]), keys::<ModuleTable>());
    assert_eq!(of_table(&once["tenant"]["acme"]), keys::<TenantTable>());
    assert_eq!(once["module"][1]["max-call-time"].as_str(), Some("1m 30s"));
}
