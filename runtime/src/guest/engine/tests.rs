//! The engines as they are built here, and plans for machines that are not.

use std::time::Instant;

use wasmtime::{Instance, Module, Store, UpdateDeadline};

use super::*;

fn demand(kind: EngineKind, instances: u32, calls: u32) -> Demand {
    Demand { kind, types: TypeFeatures::Standard, instances, calls }
}

fn wanting(demand: Vec<Demand>) -> EngineConfig {
    EngineConfig { demand, ..EngineConfig::default() }
}

fn plan(machine: Machine) -> EngineReport {
    let config = EngineConfig::default();
    Plan::new(machine, &config).report(&config)
}

fn lodger(name: &str, demand: Demand, memories: u32, tables: u32) -> Lodger {
    Lodger { name: name.to_owned(), demand, memories, tables }
}

#[test]
fn a_machine_without_limits_gets_a_pool() {
    let report = plan(Machine::default());
    assert!(report.pooling && report.advice.is_empty(), "{report:?}");
    assert_eq!(report.max_instances, 9000);
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
    assert!(report.pooling && (500..1000).contains(&report.max_instances), "{report:?}");
    assert!(report.reason.contains("of 1000") && report.advice[0].contains("vm.max_map_count="), "{report:?}");
}

#[test]
fn an_ordinary_machine_has_room_for_the_largest_pool() {
    let machine = Machine { max_map_count: Some(65_530), ..Machine::default() };
    let plan = Plan::new(machine, &wanting(vec![demand(EngineKind::Sync, 4097, 0)]));
    plan.fit(&[lodger("a", demand(EngineKind::Sync, 4097, 0), 1, 2)]).unwrap();
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
    let report = Plan::new(Machine::default(), &config).report(&config);
    assert!(!report.pooling && report.reason.contains("configuration"));
}

#[test]
fn engines_share_what_there_is_and_no_more() {
    for max_map_count in [None, Some(65_530), Some(10_000)] {
        let demands = [(5000, 0), (7, 7 * 1024), (1, 0), (1000, 1_000_000)];
        let kinds = [EngineKind::Sync, EngineKind::Concurrent];
        let all = kinds
            .into_iter()
            .flat_map(|kind| [TypeFeatures::Standard, TypeFeatures::Experimental].map(|types| (kind, types)));
        let all = all.zip(demands).map(|((kind, types), (instances, calls))| Demand { kind, types, instances, calls });
        let config = wanting(all.collect());
        let plan = Plan::new(Machine { max_map_count, ..Machine::default() }, &config);
        let shares: Vec<Share> = config.demand.iter().map(|demand| plan.share_of(demand).unwrap()).collect();
        let sum = |of: fn(&Share) -> u32| shares.iter().map(|share| u64::from(of(share))).sum::<u64>();
        assert!(sum(|share| share.memories) << 32 < 1 << 46, "half of 47 bits");
        let mappings = sum(|share| share.instances) * 4 + sum(|share| share.stacks) * 2;
        assert!(max_map_count.is_none_or(|limit| mappings <= limit * 3 / 4), "{mappings} of {max_map_count:?}");
    }
}

#[test]
fn a_module_that_does_not_fit_beside_the_others_is_named_with_what_to_change() {
    let config = wanting(vec![demand(EngineKind::Sync, 5000, 0)]);
    let plan = Plan::new(Machine { max_map_count: Some(65_530), ..Machine::default() }, &config);
    let fits = |memories, tables| {
        plan.fit(&[
            lodger("small", demand(EngineKind::Sync, 1, 0), 1, 2),
            lodger("large", demand(EngineKind::Sync, 4999, 0), memories, tables),
        ])
    };
    fits(1, 64).unwrap();
    let error = fits(3, 2).unwrap_err().to_string();
    assert!(error.starts_with("module large: its 4999 instances") && !error.contains('\n'), "{error}");
    assert!(error.contains("14997 memories") && error.contains("`concurrency`"), "{error}");
    let error = fits(2, 2).unwrap_err().to_string();
    assert!(error.contains("memory mappings") && error.contains("vm.max_map_count"), "{error}");
}

#[test]
fn more_instances_than_the_machine_has_room_for_do_not_fit_with_or_without_a_pool() {
    for allocator in [AllocatorChoice::Auto, AllocatorChoice::OnDemand] {
        let config = EngineConfig { allocator, ..wanting(vec![demand(EngineKind::Concurrent, 8000, 0)]) };
        let plan = Plan::new(Machine { max_map_count: Some(65_530), ..Machine::default() }, &config);
        let error = plan.fit(&[lodger("a", demand(EngineKind::Concurrent, 8000, 0), 1, 2)]).unwrap_err().to_string();
        assert!(error.contains("8000 instances") && error.contains("vm.max_map_count"), "{error}");
    }
}

#[test]
fn the_most_that_a_component_may_have_is_there_for_each_instance_where_there_are_few() {
    let config = wanting(vec![demand(EngineKind::Sync, 10, 0), demand(EngineKind::Concurrent, 3, 0)]);
    let plan = Plan::new(Machine { max_map_count: Some(65_530), ..Machine::default() }, &config);
    plan.fit(&[
        lodger("a", demand(EngineKind::Sync, 10, 0), MAX_MEMORIES, MAX_TABLES),
        lodger("b", demand(EngineKind::Concurrent, 3, 0), MAX_MEMORIES, MAX_TABLES),
    ])
    .unwrap();
}

#[tokio::test]
async fn what_fits_can_be_made_all_at_once() {
    let (memories, tables) = (MAX_MEMORIES as usize, MAX_TABLES as usize);
    let module = format!("(module {} {})", "(memory 1)".repeat(memories), "(table 1 funcref)".repeat(tables));
    let bytes = wat::parse_str(format!(
        "(component (core {} (core instance (instantiate 0)))",
        module.replacen("(module", "module", 1)
    ))
    .unwrap();
    let demand = demand(EngineKind::Concurrent, 20, 0);
    let engines = Engines::new(wanting(vec![demand.clone()])).unwrap();
    let engine = engines.get(EngineKind::Concurrent).unwrap();
    let component = wasmtime::component::Component::new(&engine, bytes).unwrap();
    let lodger = Lodger::new("a".to_owned(), demand.clone(), &component);
    assert_eq!((lodger.memories, lodger.tables), (MAX_MEMORIES, MAX_TABLES));
    engines.fit(&[lodger]).unwrap();
    let linker = wasmtime::component::Linker::new(&engine);
    let mut stores = Vec::new();
    for _ in 0..20 {
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1000);
        linker.instantiate_async(&mut store, &component).await.unwrap();
        stores.push(store);
    }
}

#[test]
fn calls_at_once_are_fewer_where_there_are_no_stacks_for_all() {
    let machine = Machine { max_map_count: Some(65_530), ..Machine::default() };
    let few = demand(EngineKind::Concurrent, 2, 2048);
    assert_eq!(Plan::new(machine.clone(), &wanting(vec![few.clone()])).calls(&few, 1024), 1024);
    let many = demand(EngineKind::Concurrent, 100, 102_400);
    let plan = Plan::new(machine, &wanting(vec![many.clone()]));
    let calls = plan.calls(&many, 1024);
    assert!((50..200).contains(&calls), "{calls}");
    assert!(calls * 100 <= plan.share_of(&many).unwrap().stacks as usize);
}

#[test]
fn engines_of_every_kind_can_be_built_here_and_are_built_once() {
    for allocator in [AllocatorChoice::Auto, AllocatorChoice::OnDemand] {
        let demand = vec![demand(EngineKind::Concurrent, 3, 1024), demand(EngineKind::Sync, 2, 0)];
        let engines = Engines::new(EngineConfig { allocator, ..wanting(demand) }).unwrap();
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
    let plan = Plan::new(Machine { address_space_bytes: Some(8 << 30), ..Machine::default() }, &config);
    let engine = build(&config, &plan, &demand(EngineKind::Sync, 1, 0)).unwrap();
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
        let _guest = engines.clock().guest();
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
