//! The engines as they are built here, and plans for machines that are not.

use std::time::Instant;

use wasmtime::{Instance, Module, Store, UpdateDeadline};

use super::*;

fn plan(machine: Machine) -> EngineReport {
    let config = EngineConfig::default();
    machine.plan(&config).report(&config)
}

#[test]
fn a_machine_without_limits_gets_a_pool() {
    let report = plan(Machine::default());
    assert!(report.pooling && report.advice.is_empty(), "{report:?}");
    assert_eq!(report.max_instances, Some(1000));
    assert_eq!((report.memory_reservation_bytes, report.keep_resident_bytes), (1 << 32, 128 << 10));
}

#[test]
fn strict_accounting_of_memory_forbids_a_pool() {
    let report = plan(Machine { overcommit_memory: Some(2), ..Machine::default() });
    assert!(!report.pooling && report.reason.contains("overcommit"), "{report:?}");
    assert!(report.advice[0].contains("vm.overcommit_memory=0"));
}

#[test]
fn few_mappings_make_a_small_pool() {
    let report = plan(Machine { max_map_count: Some(10_000), ..Machine::default() });
    let instances = report.max_instances.unwrap();
    assert!(report.pooling && (100..500).contains(&instances), "{report:?}");
    assert!(report.reason.contains("of 1000") && report.advice[0].contains("vm.max_map_count="), "{report:?}");
}

#[test]
fn a_limited_address_space_means_small_memories_on_demand() {
    let report = plan(Machine { address_space_bytes: Some(8 << 30), ..Machine::default() });
    assert!(!report.pooling && report.memory_reservation_bytes < 1 << 30, "{report:?}");
    assert!(report.advice[0].contains("ulimit -v"));
}

#[test]
fn little_memory_keeps_nothing_resident() {
    let report = plan(Machine { memory_bytes: Some(512 << 20), ..Machine::default() });
    assert!(report.pooling && report.keep_resident_bytes == 0, "{report:?}");
}

#[test]
fn the_operator_can_forbid_the_pool() {
    let config = EngineConfig { allocator: AllocatorChoice::OnDemand, ..EngineConfig::default() };
    let report = Machine::default().plan(&config).report(&config);
    assert!(!report.pooling && report.reason.contains("configuration"));
}

#[test]
fn engines_of_every_kind_can_be_built_here_and_are_built_once() {
    for allocator in [AllocatorChoice::Auto, AllocatorChoice::OnDemand] {
        let engines = Engines::new(EngineConfig { allocator, ..EngineConfig::default() }).unwrap();
        for kind in [EngineKind::Sync, EngineKind::Concurrent] {
            for types in [TypeFeatures::Standard, TypeFeatures::Experimental] {
                let engine = engines.with_types(kind, types).unwrap();
                assert!(Engine::same(&engine, &engines.with_types(kind, types).unwrap()));
                assert_eq!(
                    Engine::same(&engine, &engines.get(EngineKind::Sync).unwrap()),
                    (kind, types) == (EngineKind::Sync, TypeFeatures::Standard)
                );
            }
        }
    }
}

#[test]
fn small_memories_on_demand_can_still_grow() {
    let config = EngineConfig::default();
    let plan = Machine { address_space_bytes: Some(8 << 30), ..Machine::default() }.plan(&config);
    let engine = build(&config, &plan, EngineKind::Sync, TypeFeatures::Standard).unwrap();
    let module = Module::new(&engine, wat::parse_str(r#"(module (memory (export "m") 1))"#).unwrap()).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    assert!(memory.grow(&mut store, 1000).is_ok());
}

#[test]
fn a_busy_loop_is_interrupted_within_some_ticks() {
    let engines = Engines::new(EngineConfig::default()).unwrap();
    for kind in [EngineKind::Sync, EngineKind::Concurrent] {
        let engine = engines.get(kind).unwrap();
        let module =
            Module::new(&engine, wat::parse_str(r#"(module (func (export "spin") (loop br 0)))"#).unwrap()).unwrap();
        let mut store = Store::new(&engine, 0);
        store.epoch_deadline_callback(|mut store| {
            *store.data_mut() += 1;
            if *store.data() == 3 { Ok(UpdateDeadline::Interrupt) } else { Ok(UpdateDeadline::Continue(1)) }
        });
        store.set_epoch_deadline(1);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let spin = instance.get_typed_func::<(), ()>(&mut store, "spin").unwrap();
        let started = Instant::now();
        assert!(spin.call(&mut store, ()).is_err());
        assert!(started.elapsed() >= TICK, "three ticks cannot pass in less than two of their lengths");
        assert_eq!(*store.data(), 3);
    }
}

#[test]
fn the_clock_ends_with_the_engines() {
    let engines = Engines::new(EngineConfig::default()).unwrap();
    let weak = engines.get(EngineKind::Sync).unwrap().weak();
    drop(engines);
    assert!(weak.upgrade().is_none(), "the thread has ended and holds no engine");
}
