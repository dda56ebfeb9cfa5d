//! The bytes of what travels: what a release has sent must be read by all later ones.

use std::time::Duration;

use daffi_proto::id::{ProcessRef, TenantName};
use daffi_proto::schedule::{Missed, Overlap, Plan, TaskInfo, TaskSpec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sim::{Sim, every, process, spec, time, utc};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, bytes: &str) {
    let encoded = postcard::to_stdvec(value).unwrap();
    assert_eq!(hex(&encoded), bytes);
    assert_eq!(&postcard::from_bytes::<T>(&encoded).unwrap(), value);
}

#[test]
fn plans_and_policies_have_these_bytes() {
    golden(&Plan::Every(Duration::from_millis(1500)), "000180cab5ee01");
    golden(&Plan::At([utc("1970-01-01T00:00:00.0003Z"), utc("1970-01-01T00:00:01Z")].into()), "0102ac02c0843d");
    golden(&Plan::Cron("@daily".parse().unwrap()), "0206406461696c79");
    golden(&[Overlap::Skip, Overlap::QueueOne, Overlap::Parallel], "000102");
    golden(&[Missed::RunOnce, Missed::Skip], "0001");
}

#[test]
fn a_task_to_be_made_has_these_bytes() {
    let creator = Some(ProcessRef { tenant: TenantName::default(), name: process() });
    let spec = TaskSpec { creator, timeout: time("30s"), ..every("5s") };
    let callback = "1564656d6f3a6a6f62732f6a6f6273236261636b7570";
    let fingerprint = "07".repeat(16);
    golden(&spec, &format!("{callback}{fingerprint}04617267730005001e000000010764656661756c74066261636b7570"));
}

const LISTED: &str = "066261636b75708094f096df331564656d6f3a6a6f62732f6a6f6273236261636b75700005001e0000000080a09cdcca9f94\
                      03000180cdfee0ca9f940301c0b6cddeca9f9403000101000001a8becddeca9f940304747261700a6974207472617070656400";

#[test]
fn a_listed_task_has_these_bytes() {
    let mut sim = Sim::new();
    sim.fails = true;
    let id = sim.add(every("5s"));
    sim.pass(time("6s"));
    golden::<TaskInfo>(&sim.info(&id), LISTED);
}

#[test]
fn bytes_that_are_no_plan_are_refused() {
    let bytes = [
        "03",                               // no such kind
        "00ffffffffffffffffff01ffffffff0f", // more than a duration holds
        "0204404c4f4c",                     // a text that is no expression
        "01ffffffff0f01",                   // more times than there are bytes
        "0206406461696c",                   // cut
    ];
    for text in bytes {
        let bytes: Vec<u8> =
            (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect();
        assert!(postcard::from_bytes::<Plan>(&bytes).is_err(), "{text}");
    }
}

#[test]
fn a_time_beyond_the_year_9999_is_cut_to_its_end() {
    let plan: Plan = postcard::from_bytes(&[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).unwrap();
    assert_eq!(spec(plan).plan.to_string(), "at 9999-12-31T23:59:59.999999Z");
}
